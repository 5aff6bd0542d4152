//! `[pack]` of a `model.toml`: which languages a recogniser of text lines reads.

use serde::Deserialize;

use crate::Error;

/// What a recogniser of text lines reads.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackSpec {
    /// What clients and settings call it: small letters, digits and hyphens. Of two packs with one name the one that is loaded first is
    /// meant.
    pub name: String,
    /// BCP-47, a language (`hi`), or a language in one script (`sa-Latn`); a language alone is read in each of `scripts`.
    pub languages: Vec<String>,
    /// ISO 15924, the main one first: `Deva`, `Latn`.
    pub scripts: Vec<String>,
    /// The narrowest input that the graph takes, in pixels; one step of the width where it is not named.
    #[serde(default)]
    pub min_width_px: usize,
    /// To which mean width of a letter lines may be squeezed before they are read, which takes less time: on an ordinary page, and on a
    /// dense one, in pixels at the input's height. Where it is not named, lines are read as wide as they are.
    #[serde(default)]
    pub letter_px: Option<[f32; 2]>,
}

impl PackSpec {
    /// # Errors
    /// [`Error::Manifest`] where a code has not the form that it is compared in.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let wrong = |what: &str, text: &str| {
            Err(Error::Manifest(format!(
                "pack {:?}: {what}, got {text:?}",
                self.name
            )))
        };
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if self.name.is_empty() || !self.name.chars().all(plain) {
            return wrong(
                "expected a name of small letters, digits and hyphens",
                &self.name,
            );
        }
        if self.scripts.is_empty() || self.languages.is_empty() {
            return wrong("expected a language and a script at least", "none");
        }
        if let Some(script) = self.scripts.iter().find(|script| !is_script(script)) {
            return wrong("expected a script such as \"Deva\"", script);
        }
        if let Some([ordinary, dense]) = self.letter_px
            && !(LETTER_PX.contains(&dense) && dense <= ordinary && LETTER_PX.contains(&ordinary))
        {
            return wrong(
                "expected a letter_px such as [15, 13], of 4 to 48 pixels",
                &format!("[{ordinary}, {dense}]"),
            );
        }
        let is_language = |tag: &&String| {
            let (language, script) = match tag.split_once('-') {
                Some((language, script)) => (language, Some(script)),
                None => (tag.as_str(), None),
            };
            (2..=3).contains(&language.len())
                && language.bytes().all(|b| b.is_ascii_lowercase())
                && script.is_none_or(|script| self.scripts.iter().any(|known| known == script))
        };
        if let Some(tag) = self.languages.iter().find(|tag| !is_language(tag)) {
            return wrong(
                "expected a language such as \"hi\", or \"sa-Latn\" with one of its scripts",
                tag,
            );
        }
        Ok(())
    }
}

/// Letters have at least the pixels of one step of the narrowest networks, and at most those of a square.
const LETTER_PX: std::ops::RangeInclusive<f32> = 4.0..=48.0;

/// Four letters, the first of them a capital.
fn is_script(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() == 4
        && bytes[0].is_ascii_uppercase()
        && bytes[1..].iter().all(u8::is_ascii_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_their_form() {
        let of = |name: &str, languages: &[&str], scripts: &[&str]| {
            let owned = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
            PackSpec {
                name: name.to_owned(),
                languages: owned(languages),
                scripts: owned(scripts),
                min_width_px: 0,
                letter_px: None,
            }
        };
        // (name, languages, scripts, what the error says)
        type Tags = &'static [&'static str];
        let cases: [(&str, Tags, Tags, Option<&str>); 8] = [
            (
                "devanagari",
                &["sa", "sa-Latn", "mai"],
                &["Deva", "Latn"],
                None,
            ),
            ("Latin", &["en"], &["Latn"], Some("a name")),
            ("", &["en"], &["Latn"], Some("a name")),
            ("latin", &[], &["Latn"], Some("at least")),
            ("latin", &["en"], &[], Some("at least")),
            ("latin", &["en"], &["latn"], Some("a script")),
            ("latin", &["EN"], &["Latn"], Some("\"EN\"")),
            ("latin", &["sa-Deva"], &["Latn"], Some("\"sa-Deva\"")),
        ];
        for (name, languages, scripts, expected) in cases {
            let error = of(name, languages, scripts).check().err();
            match (error, expected) {
                (None, None) => {}
                (Some(error), Some(part)) => assert!(error.to_string().contains(part), "{error}"),
                (error, _) => panic!("{name:?} {languages:?} {scripts:?}: {error:?}"),
            }
        }
    }

    #[test]
    fn letters_are_squeezed_within_reason() {
        // (ordinary, dense, whether it is taken)
        let cases = [
            (15.0, 13.0, true),
            (4.0, 4.0, true),
            (48.0, 4.0, true),
            (13.0, 15.0, false),
            (15.0, 3.0, false),
            (49.0, 13.0, false),
            (f32::NAN, 13.0, false),
            (15.0, f32::NAN, false),
        ];
        for (ordinary, dense, taken) in cases {
            let spec = PackSpec {
                name: "p".into(),
                languages: vec!["en".into()],
                scripts: vec!["Latn".into()],
                min_width_px: 0,
                letter_px: Some([ordinary, dense]),
            };
            assert_eq!(spec.check().is_ok(), taken, "{ordinary} {dense}");
        }
    }
}
