//! What was read -> how it is spelt: marks with their letters and in their order, one spelling of each letter, NFC, dandas.
//!
//! A recogniser sees shapes, and one shape can be spelt in several ways: अ and ा are आ, and of two marks on one letter either may come
//! first. From here on a letter with its marks is one glyph, with one place.

use std::borrow::Cow;

use unicode_normalization::UnicodeNormalization;

use super::marks::{is_mark, rank};
use super::words::Glyph;

/// What is looked for beyond the characters themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Custom {
    /// Vertical lines are dandas where the line's letters are Devanagari.
    #[default]
    ByLetters,
    /// The page is said to be Sanskrit, in whatever letters: vertical lines are dandas, quotation marks straight.
    Sanskrit,
}

/// What looks like one letter and is never written as two: the first spelling is read as the second. As in
/// `models/tools/lines/characters.py`, whose lines packs of ours are trained on.
const LIGATURES: [(&str, &str); 11] = [
    ("अा", "आ"),
    ("अो", "ओ"),
    ("अौ", "औ"),
    ("अॉ", "ऑ"),
    ("आे", "ओ"),
    ("आै", "औ"),
    ("आॅ", "ऑ"),
    ("एे", "ऐ"),
    ("ाे", "ो"),
    ("ाै", "ौ"),
    ("ाॅ", "ॉ"),
];

/// Puts marks to their letters and spells both; joins and names dandas.
pub(super) fn spelt<'a>(glyphs: Vec<Glyph<'a>>, custom: Custom) -> Vec<Glyph<'a>> {
    let mut letters = clusters(glyphs);
    for letter in letters.iter_mut().filter(|letter| letter.classes > 1) {
        letter.content = Cow::Owned(canonical(&letter.content));
    }
    if custom == Custom::Sanskrit || is_devanagari(&letters) {
        letters = with_dandas(letters);
    }
    if custom == Custom::Sanskrit {
        for letter in &mut letters {
            if let Some(plain) = straight(&letter.content) {
                letter.content = Cow::Borrowed(plain);
            }
        }
    }
    letters
}

/// The straight form of a quotation mark.
fn straight(quote: &str) -> Option<&'static str> {
    match quote {
        "‘" | "’" => Some("'"),
        "“" | "”" => Some("\""),
        _ => None,
    }
}

/// A text with straight quotation marks, and as many characters.
pub(crate) fn with_straight_quotes(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '‘' | '’' => '\'',
            '“' | '”' => '"',
            _ => c,
        })
        .collect()
}

/// Joins each mark to what it stands on; one behind a space, or at the start, stays by itself.
fn clusters<'a>(glyphs: Vec<Glyph<'a>>) -> Vec<Glyph<'a>> {
    let mut joined: Vec<Glyph<'a>> = Vec::with_capacity(glyphs.len());
    for glyph in glyphs {
        let marks = glyph.content.chars().all(is_mark) && !glyph.content.is_empty();
        match joined.last_mut().filter(|base| marks && !base.is_space()) {
            Some(base) => join(base, &glyph),
            None => joined.push(glyph),
        }
    }
    joined
}

fn join(base: &mut Glyph<'_>, next: &Glyph<'_>) {
    base.content.to_mut().push_str(&next.content);
    base.columns.end = base.columns.end.max(next.columns.end);
    let classes = base.classes + next.classes;
    let sum = base.probability * base.classes as f32 + next.probability * next.classes as f32;
    base.probability = sum / classes as f32;
    base.classes = classes;
}

/// A letter and its marks in their one spelling.
fn canonical(cluster: &str) -> String {
    // A class may stand for several letters: only what follows the last of them are its marks.
    let stem = cluster.trim_end_matches(is_mark);
    let stem = if stem.is_empty() {
        &cluster[..cluster.chars().next().map_or(0, char::len_utf8)]
    } else {
        stem
    };
    let mut text = stem.to_owned();
    let mut marks: Vec<char> = cluster[stem.len()..].chars().collect();
    // Stable: accents stay as they were read.
    marks.sort_by_key(|&mark| rank(mark));
    marks.dedup();
    text.extend(marks);
    for (apart, letter) in LIGATURES {
        text = text.replace(apart, letter);
    }
    text.nfc().collect()
}

/// Whether most letters are Devanagari.
fn is_devanagari(glyphs: &[Glyph<'_>]) -> bool {
    let (mut devanagari, mut others) = (0usize, 0usize);
    for c in glyphs.iter().flat_map(|glyph| glyph.content.chars().next()) {
        match c {
            '\u{904}'..='\u{939}' | '\u{950}' | '\u{958}'..='\u{961}' | '\u{966}'..='\u{97f}' => {
                devanagari += 1;
            }
            c if c.is_alphabetic() => others += 1,
            _ => {}
        }
    }
    devanagari > others
}

/// Vertical lines become dandas, and two dandas without a space between them a double one.
fn with_dandas<'a>(glyphs: Vec<Glyph<'a>>) -> Vec<Glyph<'a>> {
    let mut spelt: Vec<Glyph<'a>> = Vec::with_capacity(glyphs.len());
    for mut glyph in glyphs {
        if glyph.content == "|" {
            glyph.content = Cow::Borrowed("।");
        }
        match spelt.last_mut() {
            Some(last) if last.content == "।" && glyph.content == "।" => {
                join(last, &glyph);
                last.content = Cow::Borrowed("॥");
            }
            _ => spelt.push(glyph),
        }
    }
    spelt
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A class for each character, a step of 4 px each.
    fn read(text: &str) -> Vec<Glyph<'static>> {
        text.chars()
            .enumerate()
            .map(|(i, c)| Glyph {
                content: Cow::Owned(c.to_string()),
                columns: i * 4..i * 4 + 4,
                probability: 0.5,
                classes: 1,
            })
            .collect()
    }

    fn content(glyphs: &[Glyph<'_>]) -> String {
        glyphs.iter().map(|glyph| glyph.content.as_ref()).collect()
    }

    #[test]
    fn letters_have_one_spelling() {
        // (what was read, what it is)
        let cases = [
            ("अाअोअौएे", "आओऔऐ"),
            ("काे काै", "को कौ"),
            // Out of order: the sign before the nukta, the anusvara before the sign.
            ("ड\u{93f}\u{93c}", "ड\u{93c}\u{93f}"),
            ("क\u{902}\u{940}", "क\u{940}\u{902}"),
            ("क\u{94d}\u{93c}ष", "क\u{93c}\u{94d}ष"),
            // Read twice.
            ("क\u{93f}\u{93f}", "क\u{93f}"),
            // NFC: composed where there is a letter, apart where Unicode excludes it.
            ("न\u{93c}", "\u{929}"),
            ("\u{915}\u{93c}", "\u{915}\u{93c}"),
            ("a\u{301}m\u{310}r\u{325}", "\u{e1}m\u{310}r\u{325}"),
            ("r\u{304}\u{323}", "ṝ"),
            // Accents stay in their order.
            ("अ\u{952}ग्नि\u{951}ः", "अ\u{952}ग्नि\u{951}ः"),
            // Marks without a letter.
            ("\u{93f}क \u{902}", "\u{93f}क \u{902}"),
            ("plain text", "plain text"),
            ("", ""),
        ];
        for (text, expected) in cases {
            assert_eq!(
                content(&spelt(read(text), Custom::ByLetters)),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn marks_are_where_their_letters_are() {
        let letters = spelt(read("कि ग"), Custom::ByLetters);
        let spans: Vec<_> = letters
            .iter()
            .map(|glyph| (glyph.columns.clone(), glyph.classes))
            .collect();
        assert_eq!(spans, [(0..8, 2), (8..12, 1), (12..16, 1)]);
    }

    #[test]
    fn vertical_lines_are_dandas_in_devanagari_and_in_sanskrit() {
        use Custom::{ByLetters, Sanskrit};
        let cases = [
            ("धर्मः |", ByLetters, "धर्मः ।"),
            ("धर्मः || १ ||", ByLetters, "धर्मः ॥ १ ॥"),
            ("धर्मः ।। १", ByLetters, "धर्मः ॥ १"),
            ("‘धर्म’ |", ByLetters, "‘धर्म’ ।"),
            ("“धर्म” ‘’", Sanskrit, "\"धर्म\" ''"),
            ("dharmaḥ || 1 |", Sanskrit, "dharmaḥ ॥ 1 ।"),
            ("a | b || c", ByLetters, "a | b || c"),
            ("|", ByLetters, "|"),
            ("|||", Sanskrit, "॥।"),
        ];
        for (text, custom, expected) in cases {
            assert_eq!(content(&spelt(read(text), custom)), expected, "{text}");
        }
        assert_eq!(with_straight_quotes("‘अ’ “आ”"), "'अ' \"आ\"");
    }

    proptest! {
        #[test]
        fn spelling_twice_changes_nothing(text in "[क-नाि-ौं-ःअएआ़्|।॥ a-c]{0,24}") {
            let once = content(&spelt(read(&text), Custom::ByLetters));
            let twice = content(&spelt(read(&once), Custom::ByLetters));
            prop_assert_eq!(&once, &twice);
            let nfc: String = once.nfc().collect();
            prop_assert_eq!(&once, &nfc);
        }
    }
}
