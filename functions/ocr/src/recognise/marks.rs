//! Characters that stand on another: which they are, and in which order they follow it.

/// Whether a character is a mark on the one before it: of Latin letters, of Devanagari, of the Vedas. Source: general categories Mn and
/// Mc of Unicode 16, the blocks that packs have characters of.
pub(crate) fn is_mark(c: char) -> bool {
    matches!(c,
        '\u{300}'..='\u{36f}'
        | '\u{900}'..='\u{903}' | '\u{93a}'..='\u{93c}' | '\u{93e}'..='\u{94f}' | '\u{951}'..='\u{957}' | '\u{962}' | '\u{963}'
        | '\u{1cd0}'..='\u{1cd2}' | '\u{1cd4}'..='\u{1ce8}' | '\u{1ced}' | '\u{1cf4}' | '\u{1cf7}'..='\u{1cf9}'
        | '\u{a8e0}'..='\u{a8f1}' | '\u{a8ff}')
}

/// The place of a mark among those of its letter, as the Unicode standard has it for Devanagari (section 12.1): the nukta, the virama,
/// the vowel sign, then what nasalises and accents in the order that they are read in.
pub(super) fn rank(mark: char) -> u8 {
    match mark {
        '\u{93c}' => 0,
        '\u{94d}' => 1,
        '\u{93a}'
        | '\u{93b}'
        | '\u{93e}'..='\u{94f}'
        | '\u{955}'..='\u{957}'
        | '\u{962}'
        | '\u{963}' => 2,
        _ => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_and_signs_are_no_marks() {
        for c in "aḥकॐ।॥ऽ१|\u{1cf5}\u{904}ॲ".chars() {
            assert!(!is_mark(c), "{c:?}");
        }
        for c in "\u{301}\u{310}\u{325}\u{93c}\u{94d}\u{93f}\u{902}\u{903}\u{951}\u{1cda}".chars() {
            assert!(is_mark(c), "{c:?}");
        }
    }
}
