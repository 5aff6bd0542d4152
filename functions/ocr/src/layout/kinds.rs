//! Groups of a column -> what they are: by size, place and first words.

use super::extent::median;
use super::paragraphs::Group;
use super::piece::{Piece, is_digit};
use super::{Kind, ReadLine};

/// A heading's letters are at least so many times as high as the body's; boxes of equal letters reach 1.2.
const HEADING: f32 = 1.32;
/// A subheading's letters are so many times as high or as wide as the body's.
const SUBHEADING_HEIGHT: f32 = 1.12;
const SUBHEADING_WIDTH: f32 = 1.12;
/// Or it is further from what is above than this many times the usual distance of rows.
const SUBHEADING_DISTANCE: f32 = 1.35;
const MAX_HEADING_ROWS: usize = 3;
const MAX_SUBHEADING_CHARACTERS: usize = 80;
const MAX_CAPTION_ROWS: usize = 8;
/// A footnote's letters are at most so many times as high or as wide as the body's.
const FOOTNOTE_HEIGHT: f32 = 0.9;
const FOOTNOTE_WIDTH: f32 = 0.9;
/// And it is further from the text than this many times the usual distance of rows.
const FOOTNOTE_DISTANCE: f32 = 1.25;
/// Shorter lines do not tell how wide their letters are.
const MIN_CHARACTERS: usize = 8;
/// A box is wider than its text by this, in line heights.
const BOX_MARGIN: f32 = 0.5;

/// What begins a caption, in the languages that the recogniser reads, before its number.
const CAPTION_WORDS: [&str; 46] = [
    "figure",
    "fig",
    "table",
    "tab",
    "plate",
    "chart",
    "photo",
    "image",
    "map",
    "abbildung",
    "abb",
    "bild",
    "tabelle",
    "karte",
    "tableau",
    "carte",
    "figura",
    "tabla",
    "cuadro",
    "gráfico",
    "lámina",
    "tabella",
    "tavola",
    "tav",
    "quadro",
    "tabela",
    "rysunek",
    "rys",
    "obrázek",
    "obr",
    "tabulka",
    "obraz",
    "kuva",
    "taulukko",
    "figur",
    "tabell",
    "tabel",
    "afbeelding",
    "ábra",
    "ΣΧΗΜΑ",
    "ΠΙΝΑΚΑΣ",
    "ΕΙΚΟΝΑ",
    "चित्र",
    "तालिका",
    "सारणी",
    "आकृति",
];

/// What holds for the whole page.
pub(super) struct Scale {
    /// Height of the body's lines, in pixels.
    pub(super) body: f32,
    /// Width of a character of the body, in pixels.
    letter: f32,
    /// Where the lower half of the page's text begins.
    middle: f32,
}

impl Scale {
    pub(super) fn new(pieces: &[Piece], body: f32) -> Scale {
        let letters = pieces.iter().filter_map(letter).collect();
        let top = pieces.iter().map(|p| p.extent.top).fold(f32::MAX, f32::min);
        let bottom = pieces
            .iter()
            .map(|p| p.extent.bottom)
            .fold(f32::MIN, f32::max);
        Scale {
            body,
            letter: median(letters).unwrap_or(body),
            middle: (top + bottom) / 2.0,
        }
    }
}

/// Mean width of a line's characters, in pixels.
fn letter(piece: &Piece) -> Option<f32> {
    let width = piece.extent.width() - BOX_MARGIN * piece.thickness;
    (piece.characters >= MIN_CHARACTERS).then(|| width / piece.characters as f32)
}

/// What the groups of one column are.
pub(super) fn kinds(
    lines: &[ReadLine],
    pieces: &[Piece],
    scale: &Scale,
    groups: &[Group],
) -> Vec<Kind> {
    let mut kinds: Vec<Kind> = Vec::with_capacity(groups.len());
    for (i, group) in groups.iter().enumerate() {
        let view = View::new(lines, pieces, scale, group);
        let last = i + 1 == groups.len();
        let after_note = kinds.last() == Some(&Kind::Footnote);
        let kind = if group.grid {
            Kind::Table
        } else if is_caption(&view.text) && view.rows <= MAX_CAPTION_ROWS {
            Kind::Caption
        } else if view.is_footnote(group, after_note) {
            Kind::Footnote
        } else if view.is_heading() {
            Kind::Heading
        } else if !last && view.is_subheading(group, &groups[i + 1]) {
            Kind::Subheading
        } else {
            Kind::Paragraph
        };
        kinds.push(kind);
    }
    kinds
}

struct View {
    text: String,
    rows: usize,
    has_letters: bool,
    /// In multiples of the body's.
    height: f32,
    width: Option<f32>,
    low: bool,
}

impl View {
    fn new(lines: &[ReadLine], pieces: &[Piece], scale: &Scale, group: &Group) -> View {
        let all = || group.rows.iter().flatten().copied();
        let text = all()
            .map(|line| lines[line].text.content.as_str())
            .collect::<Vec<_>>()
            .join(" ");
        let height = median(all().map(|line| pieces[line].thickness).collect());
        let width = median(all().filter_map(|line| letter(&pieces[line])).collect());
        View {
            has_letters: text.chars().filter(|c| c.is_alphabetic()).count() >= 2,
            text,
            rows: group.rows.len(),
            height: height.unwrap_or(scale.body) / scale.body,
            width: width.map(|width| width / scale.letter),
            low: all().all(|line| pieces[line].extent.top > scale.middle),
        }
    }

    fn is_footnote(&self, group: &Group, after_note: bool) -> bool {
        let small =
            self.height <= FOOTNOTE_HEIGHT || self.width.is_some_and(|w| w <= FOOTNOTE_WIDTH);
        let apart = group.distance_above >= FOOTNOTE_DISTANCE || group.distance_above == 0.0;
        self.low && small && has_note_mark(&self.text) && (apart || after_note)
    }

    fn is_heading(&self) -> bool {
        self.height >= HEADING
            && self.rows <= MAX_HEADING_ROWS
            && self.has_letters
            && !ends_verse(&self.text)
    }

    fn is_subheading(&self, group: &Group, next: &Group) -> bool {
        let larger =
            self.height >= SUBHEADING_HEIGHT || self.width.is_some_and(|w| w >= SUBHEADING_WIDTH);
        let apart = group.distance_above >= SUBHEADING_DISTANCE;
        let first = group.distance_above == 0.0;
        let begins = self.text.chars().find(|c| c.is_alphanumeric());
        let like_title = begins.is_some_and(|c| !c.is_lowercase())
            && self
                .text
                .ends_with(|c: char| c.is_alphanumeric() || "?!)".contains(c))
            && self.has_letters
            && self.text.chars().count() <= MAX_SUBHEADING_CHARACTERS;
        let belongs = next.distance_above <= group.distance_above.max(SUBHEADING_DISTANCE);
        like_title
            && self.rows <= MAX_HEADING_ROWS
            && ((apart && belongs && self.rows <= 2) || (larger && (apart || first)))
    }
}

/// Whether a text ends as a half verse does, or a verse with its number; `॥ इति ॥` may be a title.
fn ends_verse(text: &str) -> bool {
    let text = text.trim_end();
    let numbered = |text: &str| text.trim_end().ends_with(is_digit);
    text.ends_with('।') || text.strip_suffix('॥').is_some_and(numbered)
}

/// Whether a text begins like `Figure 3.`, `Tab. 2:` or `Table 4` and no more; `Figure 3 shows` is a sentence.
fn is_caption(text: &str) -> bool {
    let mut words = text.split_whitespace();
    let (Some(first), Some(second)) = (words.next(), words.next()) else {
        return false;
    };
    let first = first.trim_end_matches('.').to_lowercase();
    if !CAPTION_WORDS
        .iter()
        .any(|word| word.to_lowercase() == first)
    {
        return false;
    }
    let number = second.trim_end_matches(['.', ':', ')', '–', '—', '-']);
    let numbered = number.starts_with(|c: char| is_digit(c) || "IVX".contains(c))
        && number.chars().count() <= 6;
    let third = words.next();
    numbered
        && (number.len() < second.len()
            || third.is_none_or(|word| !word.starts_with(char::is_lowercase)))
}

/// Whether a text begins with the mark of a note: a small number, an asterisk, a dagger.
fn has_note_mark(text: &str) -> bool {
    let digits = text.chars().take_while(|&c| is_digit(c));
    let (count, bytes) = digits.fold((0, 0), |(count, bytes), c| {
        (count + 1, bytes + c.len_utf8())
    });
    match count {
        0 => text.starts_with(['*', '†', '‡', '¹', '²', '³', '§']),
        1 | 2 => {
            let rest = &text[bytes..];
            rest.starts_with([' ', ')', '.']) || rest.starts_with(char::is_alphabetic)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn captions_begin_with_their_number() {
        let cases = [
            ("Figure 3. The harbour", true),
            ("Fig. 3 The harbour", true),
            ("Tabelle 1: Werte", true),
            ("Table IV", true),
            ("ΣΧΗΜΑ 2. ΛΙΜΑΝΙ", true),
            ("चित्र ३. नदी", true),
            ("Figure 3 shows the yield", false),
            ("Figures are rare", false),
            ("Table", false),
            ("The table 1.", false),
        ];
        for (text, expected) in cases {
            assert_eq!(is_caption(text), expected, "{text}");
        }
    }

    #[test]
    fn verses_end_in_dandas() {
        let cases = [
            ("युयुत्सवः ।", true),
            ("सञ्जय ॥ १ ॥", true),
            ("सञ्जय ॥१२॥ ", true),
            ("॥ इति ॥", false),
            ("अध्याय १", false),
            ("", false),
        ];
        for (text, expected) in cases {
            assert_eq!(ends_verse(text), expected, "{text}");
        }
    }

    #[test]
    fn notes_have_marks() {
        let cases = [
            ("1 See page 3.", true),
            ("12) See", true),
            ("1See", true),
            ("१२ इति", true),
            ("१८७४ में", false),
            ("* See", true),
            ("† See", true),
            ("1874 was", false),
            ("1,5 m", false),
            ("See", false),
            ("", false),
        ];
        for (text, expected) in cases {
            assert_eq!(has_note_mark(text), expected, "{text}");
        }
    }
}
