//! Language codes and the packs that read them.
//!
//! In: whatever a client calls a language: a pack's name, ISO 639-1, 639-2, 639-3, a BCP-47 tag with more behind, or, as
//! Tesseract's users do, several of these joined by plus signs. Out: the BCP-47 tag that blocks carry, or which packs
//! there are instead.

/// A language that a loaded pack reads, or none named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Language {
    /// As the client wrote it; what the answer echoes.
    pub requested: String,
    /// BCP-47: the shortest code of the language, `und` when none was named, `mul` when several were.
    pub tag: &'static str,
}

/// What is loaded, in words for a caller who asked for something else.
pub const PACKS: &str = "latin (languages in Latin script, and Greek)";

impl Language {
    /// What holds when the client names none: the pack reads all its languages at once.
    pub fn any() -> Language {
        Language {
            requested: "und".to_owned(),
            tag: "und",
        }
    }

    /// Looks a code up, or several joined by `+`, which is a space where a query was not escaped; `None` when no loaded pack reads one of them.
    pub fn find(code: &str) -> Option<Language> {
        // Nothing between two signs is no language.
        let codes = code.split('+').flat_map(|part| {
            let nothing = part.trim().is_empty().then_some("");
            part.split_whitespace().chain(nothing)
        });
        let mut tags = codes.map(tag);
        let first = tags.next()??;
        let tag = tags.try_fold(first, |tag, next| {
            let next = next?;
            Some(if tag == next { tag } else { "mul" })
        })?;
        Some(Language {
            requested: code.trim().to_owned(),
            tag,
        })
    }
}

/// The tag of one language, or nothing where it is not read, or not in the script that its tag names.
fn tag(code: &str) -> Option<&'static str> {
    let lower = code.trim().to_ascii_lowercase();
    let mut parts = lower.split(['-', '_']);
    let primary = parts.next().unwrap_or("");
    // RFC 5646: four letters are a script. Only regions, of two letters or three digits, and variants are passed over.
    let mut scripts =
        parts.filter(|part| part.len() == 4 && part.bytes().all(|b| b.is_ascii_alphabetic()));
    if !scripts.all(|script| matches!(script, "latn" | "grek")) {
        return None;
    }
    Some(LATIN.iter().find(|codes| codes.contains(&primary))?[0])
}

/// Languages written with the characters of the `latin` pack: the BCP-47 tag, then other codes for the same (ISO 639-3,
/// 639-2/B where it differs). Source: the IANA language subtag registry.
const LATIN: &[&[&str]] = &[
    &["und", "mul", "auto", "latin"],
    &["af", "afr"],
    &["ay", "aym"],
    &["az", "aze"],
    &["br", "bre"],
    &["bs", "bos"],
    &["ca", "cat"],
    &["ceb"],
    &["co", "cos"],
    &["cs", "ces", "cze"],
    &["cy", "cym", "wel"],
    &["da", "dan"],
    &["de", "deu", "ger"],
    &["el", "ell", "gre"],
    &["en", "eng"],
    &["eo", "epo"],
    &["es", "spa"],
    &["et", "est", "ekk"],
    &["eu", "eus", "baq"],
    &["fi", "fin"],
    &["fil"],
    &["fo", "fao"],
    &["fr", "fra", "fre"],
    &["fy", "fry"],
    &["ga", "gle"],
    &["gd", "gla"],
    &["gl", "glg"],
    &["gn", "grn"],
    &["ha", "hau"],
    &["hr", "hrv"],
    &["ht", "hat"],
    &["hu", "hun"],
    &["id", "ind"],
    &["is", "isl", "ice"],
    &["it", "ita"],
    &["jv", "jav"],
    &["ku", "kur"],
    &["la", "lat"],
    &["lb", "ltz"],
    &["lt", "lit"],
    &["lv", "lav"],
    &["mg", "mlg"],
    &["mi", "mri", "mao"],
    &["ms", "msa", "may"],
    &["mt", "mlt"],
    &["nb", "nob"],
    &["nl", "nld", "dut"],
    &["nn", "nno"],
    &["no", "nor"],
    &["oc", "oci"],
    &["pl", "pol"],
    &["pt", "por"],
    &["qu", "que"],
    &["rm", "roh"],
    &["ro", "ron", "rum"],
    &["sk", "slk", "slo"],
    &["sl", "slv"],
    &["sm", "smo"],
    &["so", "som"],
    &["sq", "sqi", "alb"],
    &["su", "sun"],
    &["sv", "swe"],
    &["sw", "swa"],
    &["tl", "tgl"],
    &["to", "ton"],
    &["tr", "tur"],
    &["uz", "uzb"],
    &["vi", "vie"],
    &["xh", "xho"],
    &["yo", "yor"],
    &["zu", "zul"],
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_every_kind_find_their_tag() {
        let cases = [
            ("en", Some("en")),
            ("eng", Some("en")),
            ("EN-us", Some("en")),
            ("pt_BR", Some("pt")),
            (" deu ", Some("de")),
            ("ger", Some("de")),
            ("el", Some("el")),
            ("ell", Some("el")),
            ("auto", Some("und")),
            ("latin", Some("und")),
            ("eng+deu", Some("mul")),
            ("eng + en-GB", Some("en")),
            ("eng en-GB", Some("en")),
            ("eng+hin", None),
            ("eng+", None),
            ("az-Latn-AZ", Some("az")),
            ("az-Cyrl", None),
            ("el_Grek", Some("el")),
            ("de-1996", Some("de")),
            ("", None),
            ("-", None),
            ("sa", None),
            ("san", None),
            ("hi", None),
            ("hin", None),
            ("mr", None),
            ("ne", None),
            ("klingon", None),
        ];
        for (code, tag) in cases {
            assert_eq!(Language::find(code).map(|l| l.tag), tag, "{code:?}");
        }
        assert_eq!(
            Language::find(" EN-us ").map(|l| l.requested).as_deref(),
            Some("EN-us")
        );
    }

    #[test]
    fn no_code_is_listed_twice() {
        let mut all: Vec<&str> = LATIN
            .iter()
            .flat_map(|codes| codes.iter().copied())
            .collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }
}
