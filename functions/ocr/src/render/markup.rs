//! Text as XML may hold it.
//!
//! All that our two XML formats need of an XML writer; the crates for it leave characters that XML has no place for to
//! their callers.

use std::fmt::{self, Display, Write};

/// Writes text with the five characters that mean something escaped, so that it is safe between tags and in quotes.
/// What XML 1.0 cannot hold, even escaped (its production `Char`), becomes U+FFFD.
pub(super) struct Escaped<'a>(pub(super) &'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                // In attributes these would come back as spaces.
                '\t' | '\n' | '\r' => write!(f, "&#{};", u32::from(c))?,
                '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => {
                    f.write_char(char::REPLACEMENT_CHARACTER)?;
                }
                _ => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// The language of a page as an attribute may hold it; `None` where it is not known.
pub(super) fn known_language(tag: &str) -> Option<&str> {
    (tag != "und").then_some(tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_something_is_escaped() {
        let cases = [
            ("plain ασ 😀", "plain ασ 😀"),
            (
                "<a b=\"c\" d='e'>&amp;",
                "&lt;a b=&quot;c&quot; d=&#39;e&#39;&gt;&amp;amp;",
            ),
            ("a\tb\nc\r", "a&#9;b&#10;c&#13;"),
            (
                "\0\u{1}\u{b}\u{1f}\u{fffe}\u{ffff}",
                "\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}",
            ),
            ("\u{7f}\u{fffd}", "\u{7f}\u{fffd}"),
        ];
        for (text, expected) in cases {
            assert_eq!(Escaped(text).to_string(), expected, "{text:?}");
        }
    }
}
