//! Text -> the language it is written in, as a BCP-47 tag.
//!
//! Greek and Devanagari are told by their letters, the languages of Devanagari in identify/devanagari.rs, and Sanskrit in Latin letters by
//! its dotted ones. Of the other languages in Latin letters ten are told by their small words, where a text has
//! enough of them and another language has hardly any; everything else is `und`, as are languages too close to their
//! neighbours. What the caller says of the page wins
//! over small words, not over letters.

mod devanagari;

use crate::language::script;
use devanagari::is_devanagari;

/// Fewer small words of a language than this do not tell it.
const MIN_WORDS: usize = 3;
/// The next language has at most one in so many.
const LEAD: usize = 3;
/// Letters of Greek and Coptic in Unicode, but for the signs that formulas use: a text in them is mostly these.
const GREEK: std::ops::RangeInclusive<char> = '\u{370}'..='\u{3ff}';

/// So many of the letters that only transliteration has tell it.
const MIN_DOTTED: usize = 2;

/// The tag of a text. `requested`: the tag of the page as its sender has it, `und` if none.
pub fn language<'a>(text: &str, requested: &'a str) -> &'a str {
    let (mut greek, mut indic, mut letters) = (0, 0, 0);
    for c in text.chars().filter(|c| c.is_alphabetic()) {
        greek += usize::from(GREEK.contains(&c));
        indic += usize::from(is_devanagari(c));
        letters += 1;
    }
    if 2 * greek > letters {
        return "el";
    }
    // What the caller says of the page holds for text in the script of that language.
    let named = !matches!(requested, "und" | "mul");
    let usual = named.then(|| script_of(requested)).flatten();
    if 2 * indic > letters {
        return match usual {
            Some("Deva") => requested,
            _ => devanagari::language(text),
        };
    }
    match usual {
        // Latin letters on a page that is said to be in others.
        Some("Deva" | "Grek") if letters > 0 => latin(text),
        _ if named => requested,
        _ => latin(text),
    }
}

/// The script of a tag: its own, else the usual one of its language.
fn script_of(tag: &str) -> Option<&str> {
    match tag.split_once('-') {
        Some((_, script)) => Some(script),
        None => script(tag),
    }
}

/// Sanskrit in the letters of IAST.
const TRANSLITERATED: &str = "sa-Latn";

/// Whether a letter is one of IAST's that hardly any language is written in.
fn is_dotted(c: char) -> bool {
    matches!(
        c.to_lowercase().next(),
        Some('ṛ' | 'ṝ' | 'ḷ' | 'ḹ' | 'ṃ' | 'ṁ' | 'ḥ' | 'ṅ' | 'ṇ' | 'ṭ' | 'ḍ' | 'ṣ')
    )
}

/// Whether a letter is one of IAST's that neither transliterated Arabic nor Yoruba has.
fn is_indic(c: char) -> bool {
    matches!(
        c.to_lowercase().next(),
        Some('ṛ' | 'ṝ' | 'ḷ' | 'ḹ' | 'ṃ' | 'ṁ' | 'ṅ' | 'ṇ' | 'ś')
    )
}

/// The language that a text in Latin letters has most small words of, or `und`.
fn latin(text: &str) -> &'static str {
    // A dotted letter in an English sentence is a name's.
    let words = text.split_whitespace();
    let (dotted, words) = words.fold((0, 0), |(dotted, words), word| {
        (dotted + usize::from(word.contains(is_dotted)), words + 1)
    });
    if dotted >= MIN_DOTTED && 4 * dotted >= words && text.contains(is_indic) {
        return TRANSLITERATED;
    }
    let mut counts = [0usize; SMALL_WORDS.len()];
    for word in text.split(|c: char| !c.is_alphabetic()) {
        if word.is_empty() || word.chars().count() > 6 {
            continue;
        }
        let word = word.to_lowercase();
        for (count, (_, words)) in counts.iter_mut().zip(SMALL_WORDS) {
            *count += usize::from(words.split(' ').any(|known| known == word));
        }
    }
    let most = counts.iter().copied().max().unwrap_or(0);
    let mut leading = counts
        .iter()
        .enumerate()
        .filter(|&(_, &count)| count * LEAD > most);
    match (leading.next(), leading.next()) {
        (Some((i, _)), None) if most >= MIN_WORDS => SMALL_WORDS[i].0,
        _ => "und",
    }
}

/// Articles, pronouns, prepositions, conjunctions and forms of to be, as few as possible of them in other languages too.
const SMALL_WORDS: &[(&str, &str)] = &[
    (
        "en",
        "the of and to that with is was were had have this which from by it he she they but than who are been would could into",
    ),
    (
        "de",
        "der die das und ist dem den des ein eine einer nicht mit von zu auf für wurde war sich auch wie dass als bei nach im zum aus",
    ),
    (
        "fr",
        "les des et est une dans qui pour pas sur avec aux du été cette ils nous vous mais où sont était au ces leurs par ont",
    ),
    (
        "es",
        "el los las y por para es su más pero está sus fue muy sin también cuando había al quién hay desde aunque año",
    ),
    (
        "it",
        "il gli che di è della dei nel alla per non delle anche più sono dal dalla nei negli ha ai questo",
    ),
    (
        "pt",
        "os uma não dos das em ao com mais foi são também pelo pela um é já há nas ou sua seu",
    ),
    (
        "nl",
        "het een van en de dat niet te voor op zijn met ook aan er maar om hij bij naar uit dan nog wordt heeft werd is was",
    ),
    (
        "pl",
        "w się nie że jest przez dla był była która który są przed oraz tylko bardzo ze przy kto jego",
    ),
    (
        "cs",
        "je že jsou byl byla která který jako už pro ve při však jeho ještě podle jen nebo když si",
    ),
    (
        "sv",
        "och att är inte av från ett när där vid över också hade eller efter mycket",
    ),
    // Danish and Norwegian.
    (
        "und",
        "og at ikke af til fra ved hun når så jeg et blev efter der skal",
    ),
    // Romanian.
    (
        "und",
        "și în cu nu din că este care mai sunt pentru lui sau era după către să",
    ),
    // Catalan.
    (
        "und",
        "amb els és dels més són pels als però aquest aquesta també",
    ),
    // Slovak, Croatian and their neighbours.
    (
        "und",
        "ktorý ktorá bol bola ako sú alebo koji koja što bio bila kao nije ali iz će sam je bi su",
    ),
    // Hungarian, Finnish, Turkish.
    (
        "und",
        "és hogy nem az egy volt van meg csak ja ei oli että mutta ve bir bu için ile",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_come_before_what_was_asked_and_that_before_small_words() {
        let cases = [
            ("ΤΟ ΧΕΙΜΩΝΑ Ο ΦΑΡΟΣ", "und", "el"),
            ("ΤΟ ΧΕΙΜΩΝΑ Ο ΦΑΡΟΣ", "en", "el"),
            ("μ and λ are both of the Greek letters that", "und", "en"),
            ("the keeper of the lamp and the boat", "de", "de"),
            ("the keeper of the lamp and the boat", "el", "en"),
            ("the keeper of the lamp and the boat", "und", "en"),
            (
                "Der Bäcker öffnet früh, weil die Straße dann voll ist.",
                "und",
                "de",
            ),
            (
                "Les filets et les paniers étaient dans une cave",
                "und",
                "fr",
            ),
            ("El faro y los barcos del puerto", "und", "es"),
            (
                "Il faro e gli uomini della barca sono nel porto",
                "und",
                "it",
            ),
            ("Harbour 1874", "und", "und"),
            ("Harbour 1874", "en", "en"),
            ("", "und", "und"),
            ("17", "el", "el"),
            ("17", "sa", "sa"),
            ("धर्मः", "sa", "sa"),
            ("धर्मः", "hi", "hi"),
            ("धर्मः", "und", "und-Deva"),
            ("धर्मः", "en", "und-Deva"),
            ("यह एक गाँव है", "mul", "hi"),
            ("यह एक गाँव है", "sa-Latn", "hi"),
            ("kṛṣṇaḥ śaraṇaṃ mama", "sa", "sa-Latn"),
            ("kṛṣṇaḥ śaraṇaṃ mama", "und", "sa-Latn"),
            ("dharma", "sa-Latn", "sa-Latn"),
            ("the keeper of the lamp and the boat", "sa", "en"),
            (
                "The songs of Kṛṣṇa and of Arjuna were sung by the men of the village",
                "und",
                "en",
            ),
            // Neighbours of the languages above.
            (
                "Færgen sejler ikke, når blæsten er så hård, og der er en grøn bænk ved åen, som de har malet.",
                "und",
                "und",
            ),
            (
                "Čovjek je gledao čamac na pučini, a sutra će biti svježe i po moru se neće ploviti do otoka.",
                "und",
                "und",
            ),
            (
                "Bătrânul își plimbă câinele în fiecare dimineață și la prânz se întoarce cu o pâine din sat.",
                "und",
                "und",
            ),
            (
                "El vell porta el gos a passejar i torna amb el pa del poble, que és a la vora del riu i no és lluny.",
                "und",
                "und",
            ),
            (
                "Starý pán je na lavičke a pri ňom sa hrá pes, ktorý nie je jeho, ale od suseda z dediny.",
                "und",
                "und",
            ),
            (
                "Pan učitel se vrátil do vesnice a řekl, že je to jen tak, protože byl v lese a co si o tom myslel.",
                "und",
                "cs",
            ),
            (
                "Hösten är kort och det är kallt på ön, men båten går inte när det blåser från norr och är vid bryggan.",
                "und",
                "sv",
            ),
            // One language's words, but as many of another's.
            ("the of and der die das", "und", "und"),
        ];
        for (text, requested, expected) in cases {
            assert_eq!(language(text, requested), expected, "{text}");
        }
    }
}
