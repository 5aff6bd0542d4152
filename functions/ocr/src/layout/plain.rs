//! Printed rows -> running text without the hyphens of broken words.

/// The hyphens that break words: hyphen-minus, hyphen, soft hyphen, and the logical not that some fonts' hyphens look like.
const HYPHENS: [char; 4] = ['-', '\u{2010}', '\u{ad}', '¬'];

/// Joins the rows of a block. A word that a hyphen breaks is put together on its first row; other row ends stay.
///
/// The hyphen is the word's own where what follows begins with a capital or a digit, and where no letter precedes it.
pub(super) fn unhyphenated(rows: &[String]) -> String {
    let mut text = String::new();
    for row in rows {
        let mut rest = row.as_str();
        if let Some(end) = broken(&text).filter(|_| rest.starts_with(char::is_lowercase)) {
            let (part, tail) = rest.split_once(' ').unwrap_or((rest, ""));
            text.truncate(end);
            text.push_str(part);
            rest = tail;
            if rest.is_empty() {
                continue;
            }
        }
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(rest);
    }
    text
}

/// Where the hyphen at the end of a broken word is; `None` where there is none.
fn broken(text: &str) -> Option<usize> {
    let before = text.strip_suffix(HYPHENS)?;
    before
        .ends_with(char::is_alphabetic)
        .then_some(before.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_words_are_joined_on_their_first_row() {
        let cases: [(&[&str], &str); 9] = [
            (&["a mea-", "surement of it"], "a measurement\nof it"),
            (&["a mea-", "sure-", "ment of it"], "a measurement\nof it"),
            (&["the mea-", "surement"], "the measurement"),
            // The word's own hyphens.
            (&["Baden-", "Baden lies"], "Baden-\nBaden lies"),
            (
                &["between 1914-", "1918 there"],
                "between 1914-\n1918 there",
            ),
            (&["he said -", "and left"], "he said -\nand left"),
            (&["mots œuvre\u{2010}", "ment"], "mots œuvrement"),
            (&["last-"], "last-"),
            (&[], ""),
        ];
        for (rows, expected) in cases {
            let rows: Vec<String> = rows.iter().map(|&row| row.to_owned()).collect();
            assert_eq!(unhyphenated(&rows), expected);
        }
    }
}
