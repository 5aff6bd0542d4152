//! Latin letters that stand for Greek ones of the same shape -> those Greek ones.
//!
//! A recogniser tells letters by their shape alone, and fourteen capitals and the small o have the same in both alphabets: it
//! reads ΚΑΙΡΟΣ as Latin letters and one sigma. Where a line has Greek words, words that can be Greek are.

/// Latin letters and the Greek ones of the same shape.
const TWINS: [(char, char); 16] = [
    ('A', 'Α'),
    ('B', 'Β'),
    ('E', 'Ε'),
    ('Z', 'Ζ'),
    ('H', 'Η'),
    ('I', 'Ι'),
    ('K', 'Κ'),
    ('M', 'Μ'),
    ('N', 'Ν'),
    ('O', 'Ο'),
    ('P', 'Ρ'),
    ('T', 'Τ'),
    ('Y', 'Υ'),
    ('X', 'Χ'),
    ('o', 'ο'),
    // No letter, but what the recogniser takes a narrow pi for.
    ('∩', 'Π'),
];
/// The one that is small, as most letters are: in a word of twins alone it is no sign of Greek (No, To).
const SMALL: char = 'o';
/// Fewer letters than this are rather a formula's: ΔT.
const MIN_LETTERS: usize = 4;

/// A line's text with its Greek words in Greek letters only; as many characters as before.
pub(crate) fn greek(text: &str) -> String {
    let surely = |word: &str| could_be_greek(word) && word.chars().any(is_greek);
    let letters: usize = text
        .split(' ')
        .filter(|word| surely(word))
        .map(|word| word.chars().filter(|c| c.is_alphabetic()).count())
        .sum();
    let others: usize = text
        .split(' ')
        .filter(|word| !could_be_greek(word) || !surely(word) && word.contains(SMALL))
        .map(|word| word.chars().filter(|c| c.is_alphabetic()).count())
        .sum();
    if letters < MIN_LETTERS {
        return text.to_owned();
    }
    let words: Vec<String> = text
        .split(' ')
        .map(|word| {
            // A word of twins alone is whatever the line is.
            let undecided = could_be_greek(word) && !word.contains(SMALL);
            if surely(word) || undecided && others < letters {
                word.chars().map(twin).collect()
            } else {
                word.to_owned()
            }
        })
        .collect();
    words.join(" ")
}

fn is_greek(c: char) -> bool {
    ('\u{370}'..='\u{3ff}').contains(&c)
}

/// Whether every letter of a word is Greek or has a Greek twin.
fn could_be_greek(word: &str) -> bool {
    word.chars()
        .filter(|c| c.is_alphabetic())
        .all(|c| is_greek(c) || TWINS.iter().any(|&(latin, _)| latin == c))
}

fn twin(c: char) -> char {
    let found = TWINS.iter().find(|&&(latin, _)| latin == c);
    found.map_or(c, |&(_, greek)| greek)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_greek_lines_change() {
        let cases = [
            // Latin twins and Greek letters in; Greek letters only out.
            ("KAIPOΣ", "ΚΑΙΡΟΣ"),
            ("ΣTIΣ E∩OMENEΣ", "ΣΤΙΣ ΕΠΟΜΕΝΕΣ"),
            ("Kόσμoς", "Κόσμος"),
            ("O ΦAPOΣ KAI TO NEPO, 1874", "Ο ΦΑΡΟΣ ΚΑΙ ΤΟ ΝΕΡΟ, 1874"),
            ("No ΦAPOΣ To Aθήνα", "No ΦΑΡΟΣ To Αθήνα"),
            ("THE HOTEL AT TEN", "THE HOTEL AT TEN"),
            (
                "the change ΔT of HEAT in the μ range",
                "the change ΔT of HEAT in the μ range",
            ),
            (
                "the word ΦAPOΣ means A TOY light",
                "the word ΦΑΡΟΣ means A TOY light",
            ),
            ("", ""),
        ];
        for (text, expected) in cases {
            assert_eq!(greek(text), expected);
            assert_eq!(expected.chars().count(), text.chars().count());
        }
    }
}
