//! Language codes and the packs that read them.
//!
//! In: whatever a client calls a language: a pack's name, ISO 639-1, 639-2, 639-3, a BCP-47 tag with more behind, or, as
//! Tesseract's users do, several of these joined by plus signs. Out: the BCP-47 tag that blocks carry and the packs that may read,
//! or which packs there are instead. What a pack reads is in its manifest; here is only how codes are written.

mod codes;

use crate::pack::Pack;
pub(crate) use codes::script;

/// A language that a loaded pack reads, or none named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Language {
    /// As the client wrote it; what the answer echoes.
    pub requested: String,
    /// BCP-47: the shortest code of the language, with its script where that is not the usual one (`sa-Latn`); `und` when none was
    /// named, `mul` when several were.
    pub tag: String,
    /// The packs that may read the page, as places among those that are loaded, the first one first; at least one.
    pub packs: Vec<usize>,
}

/// Names for all languages at once.
const ANY: [&str; 3] = ["und", "mul", "auto"];

impl Language {
    /// What holds when the client names none: of each name the pack that was loaded first.
    pub fn any(packs: &[Pack]) -> Language {
        Language {
            requested: "und".to_owned(),
            tag: "und".to_owned(),
            packs: all(packs),
        }
    }

    /// Looks a code up, or several joined by `+`, which is a space where a query was not escaped; `None` when no loaded pack reads one of them.
    pub fn find(code: &str, packs: &[Pack]) -> Option<Language> {
        // Nothing between two signs is no language.
        let codes = code.split('+').flat_map(|part| {
            let nothing = part.trim().is_empty().then_some("");
            part.split_whitespace().chain(nothing)
        });
        let mut found = codes.map(|code| one(code, packs));
        let (mut tag, mut readers) = found.next()??;
        for next in found {
            let (next, more) = next?;
            if tag != next {
                tag = "mul".to_owned();
            }
            readers.extend(more);
        }
        readers.sort_unstable();
        readers.dedup();
        Some(Language {
            requested: code.trim().to_owned(),
            tag,
            packs: readers,
        })
    }

    /// Whether the page is said to be Sanskrit and nothing else.
    pub(crate) fn is_sanskrit(&self) -> bool {
        self.tag.split('-').next() == Some("sa")
    }
}

/// What is loaded, in words for a caller who asked for something else.
pub fn loaded(packs: &[Pack]) -> String {
    let each = packs
        .iter()
        .map(|pack| format!("{} ({})", pack.spec.name, pack.spec.languages.join(" ")));
    each.collect::<Vec<_>>().join(", ")
}

/// Of each name the first pack.
fn all(packs: &[Pack]) -> Vec<usize> {
    let named_before = |i: usize| {
        packs[..i]
            .iter()
            .any(|before| before.spec.name == packs[i].spec.name)
    };
    (0..packs.len()).filter(|&i| !named_before(i)).collect()
}

/// The tag of one code and the packs that may read it.
fn one(code: &str, packs: &[Pack]) -> Option<(String, Vec<usize>)> {
    let lower = code.trim().to_ascii_lowercase();
    if ANY.contains(&lower.as_str()) {
        return Some(("und".to_owned(), all(packs)));
    }
    let named = |pack: &Pack| pack.spec.name == lower || pack.folder() == lower;
    if let Some(pack) = packs.iter().position(named) {
        return Some(("und".to_owned(), vec![pack]));
    }
    let mut parts = lower.split(['-', '_']);
    let language = codes::shortest(parts.next().unwrap_or(""))?;
    // RFC 5646: four letters are a script. Only regions, of two letters or three digits, and variants are passed over.
    let mut scripts =
        parts.filter(|part| part.len() == 4 && part.bytes().all(|b| b.is_ascii_alphabetic()));
    let asked = scripts.next().map(capitalised);
    if scripts.next().is_some() {
        return None;
    }
    let reads = |pack: &Pack| pack.reads(&language, asked.as_deref());
    let pack = packs.iter().position(reads)?;
    let unusual = asked.filter(|asked| Some(asked.as_str()) != script(&language));
    let tag = match unusual {
        Some(script) => format!("{language}-{script}"),
        None => language,
    };
    Some((tag, vec![pack]))
}

/// A script's code as ISO 15924 writes it.
fn capitalised(script: &str) -> String {
    let mut text = script.to_owned();
    if let Some(first) = text.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Fake;

    fn packs() -> Vec<Pack> {
        let latin = "name = \"latin\"\nlanguages = [\"en\", \"de\", \"el\", \"az\", \"pt\"]\nscripts = [\"Latn\", \"Grek\"]";
        let deva = "name = \"devanagari\"\nlanguages = [\"sa\", \"hi\", \"mr\", \"ne\", \"en\"]\nscripts = [\"Deva\", \"Latn\"]";
        let own =
            "name = \"latin\"\nlanguages = [\"en\", \"sa-Latn\", \"fr\"]\nscripts = [\"Latn\"]";
        [
            ("ocr-recogniser-latin", latin),
            ("ocr-recogniser-devanagari", deva),
            ("ocr-recogniser-own", own),
        ]
        .map(|(name, spec)| Fake::pack_of(name, spec, &["a"], vec![]))
        .into()
    }

    /// A tag and the packs that may read.
    type Found = Option<(&'static str, &'static [usize])>;

    #[test]
    fn codes_of_every_kind_find_their_tag_and_packs() {
        let packs = packs();
        let cases: [(&str, Found); 40] = [
            ("en", Some(("en", &[0]))),
            ("eng", Some(("en", &[0]))),
            ("EN-us", Some(("en", &[0]))),
            ("pt_BR", Some(("pt", &[0]))),
            (" deu ", Some(("de", &[0]))),
            ("ger", Some(("de", &[0]))),
            ("el", Some(("el", &[0]))),
            ("ell", Some(("el", &[0]))),
            ("auto", Some(("und", &[0, 1]))),
            ("latin", Some(("und", &[0]))),
            ("Devanagari", Some(("und", &[1]))),
            ("ocr-recogniser-own", Some(("und", &[2]))),
            ("eng+deu", Some(("mul", &[0]))),
            ("eng + en-GB", Some(("en", &[0]))),
            ("eng en-GB", Some(("en", &[0]))),
            ("hin+eng", Some(("mul", &[0, 1]))),
            ("san+hin", Some(("mul", &[1]))),
            ("eng+tam", None),
            ("eng+", None),
            ("az-Latn-AZ", Some(("az", &[0]))),
            ("az-Cyrl", None),
            ("el_Grek", Some(("el", &[0]))),
            ("de-1996", Some(("de", &[0]))),
            ("", None),
            ("-", None),
            ("sa", Some(("sa", &[1]))),
            ("san", Some(("sa", &[1]))),
            ("sa-Deva", Some(("sa", &[1]))),
            ("sa-latn", Some(("sa-Latn", &[1]))),
            ("san-Latn-IN", Some(("sa-Latn", &[1]))),
            ("hi", Some(("hi", &[1]))),
            ("hin", Some(("hi", &[1]))),
            ("mar", Some(("mr", &[1]))),
            ("nep", Some(("ne", &[1]))),
            ("npi", Some(("ne", &[1]))),
            ("fr", Some(("fr", &[2]))),
            ("ta", None),
            ("ru", None),
            ("klingon", None),
            ("हि", None),
        ];
        for (code, expected) in cases {
            let found = Language::find(code, &packs);
            let found = found.as_ref().map(|l| (l.tag.as_str(), l.packs.as_slice()));
            assert_eq!(found, expected, "{code:?}");
        }
        let requested = Language::find(" EN-us ", &packs).map(|l| l.requested);
        assert_eq!(requested.as_deref(), Some("EN-us"));
        assert_eq!(Language::any(&packs).packs, [0, 1]);
    }

    #[test]
    fn what_is_loaded_is_told_from_the_manifests() {
        assert_eq!(
            loaded(&packs()),
            "latin (en de el az pt), devanagari (sa hi mr ne en), latin (en sa-Latn fr)"
        );
    }

    #[test]
    fn sanskrit_is_told_in_both_scripts() {
        for (code, expected) in [
            ("san", true),
            ("sa-Latn", true),
            ("hi", false),
            ("sa+hi", false),
            ("auto", false),
        ] {
            let found = Language::find(code, &packs()).expect("it is read");
            assert_eq!(found.is_sanskrit(), expected, "{code}");
        }
    }
}
