//! Codes of languages: their shortest form and the script that they are usually written in.

/// A script (ISO 15924), and languages that are usually written in it: the BCP-47 tag, then other codes for the same (ISO 639-3, 639-2/B
/// where it differs). A code that is not here stands for itself.
type Codes = (&'static str, &'static [&'static [&'static str]]);

/// The shortest code of a language; `None` for what has not the form of one.
pub(super) fn shortest(code: &str) -> Option<String> {
    let known = CODES
        .iter()
        .flat_map(|(_, languages)| languages.iter())
        .find(|codes| codes.contains(&code));
    let is_code = (2..=3).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_lowercase());
    known
        .map(|codes| codes[0].to_owned())
        .or_else(|| is_code.then(|| code.to_owned()))
}

/// The script that a language is usually written in, by its shortest code; `None` where that is not known here.
pub(crate) fn script(language: &str) -> Option<&'static str> {
    CODES
        .iter()
        .find(|(_, languages)| languages.iter().any(|codes| codes[0] == language))
        .map(|(script, _)| *script)
}

/// Source: the IANA language subtag registry.
const CODES: &[Codes] = &[
    (
        "Deva",
        &[
            &["sa", "san"],
            &["hi", "hin"],
            &["mr", "mar"],
            // Nepali proper and the macrolanguage are not told apart.
            &["ne", "nep", "npi"],
            &["kok", "gom", "knn"],
            &["mai"],
            &["bho"],
            &["awa"],
            &["mag"],
            &["hne"],
            &["bgc"],
            &["raj"],
            &["doi", "dgo"],
            &["pi", "pli"],
        ],
    ),
    ("Grek", &[&["el", "ell", "gre"]]),
    (
        "Latn",
        &[
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
        ],
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_code_is_listed_twice() {
        let mut all: Vec<&str> = CODES
            .iter()
            .flat_map(|(_, languages)| languages.iter())
            .flat_map(|codes| codes.iter().copied())
            .collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }

    #[test]
    fn codes_have_a_shortest_form_and_a_script() {
        for (code, expected, in_script) in [
            ("nep", Some("ne"), Some("Deva")),
            ("cym", Some("cy"), Some("Latn")),
            ("ta", Some("ta"), None),
            ("tamil", None, None),
            ("t1", None, None),
            ("", None, None),
        ] {
            let found = shortest(code);
            assert_eq!(found.as_deref(), expected, "{code}");
            assert_eq!(found.and_then(|found| script(&found)), in_script, "{code}");
        }
    }
}
