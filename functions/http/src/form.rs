//! `multipart/form-data` (RFC 7578) and query strings -> files and texts by name.
//!
//! A function says which fields it reads; others are passed over. Files stay in the memory that the body came in.

use std::convert::Infallible;
use std::ops::Range;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use futures_util::Stream;
use multer::Multipart;
use multer::bytes::Bytes;

/// The fields that a function reads.
#[derive(Debug, Clone, Copy)]
pub struct Fields {
    /// Names of the fields that hold files; only forms have them.
    pub files: &'static [&'static str],
    /// Most files, of all these names together. With one, a second is [`FormError::Duplicate`].
    pub max_files: usize,
    /// Names of the fields that hold texts; each is given once at most.
    pub texts: &'static [&'static str],
    /// Longest text, in bytes of UTF-8, spaces around it included.
    pub max_text_bytes: usize,
}

/// What was given.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Form {
    /// As they came, in order, empty ones too.
    pub files: Vec<Vec<u8>>,
    texts: Vec<(&'static str, String)>,
}

/// Why a form or a query is not what a function reads.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormError {
    /// Broken framing.
    #[error("multipart body: {0}")]
    Framing(String),
    /// Which of two values is meant cannot be known.
    #[error("field {0:?} is given more than once")]
    Duplicate(&'static str),
    /// A text that is none, or longer than any that means something.
    #[error("field {name:?} is longer than {limit_bytes} bytes or not UTF-8")]
    BadText {
        /// The field.
        name: &'static str,
        /// What is accepted.
        limit_bytes: usize,
    },
    /// More files than the function takes.
    #[error("more than {limit} files")]
    TooManyFiles {
        /// What is accepted.
        limit: usize,
    },
}

impl FormError {
    /// The HTTP status that tells whose fault it is.
    pub fn status(&self) -> u16 {
        match self {
            FormError::Framing(_) | FormError::Duplicate(_) | FormError::BadText { .. } => 400,
            FormError::TooManyFiles { .. } => 413,
        }
    }
}

/// Pieces that a body is fed to the parser in: it copies what it has not yet handed on.
const PIECE_BYTES: usize = 64 << 10;

/// The pieces of a body, one at a time. The parser takes all that it can get before it looks at any of it, so this makes it wait after
/// each: else it would hold a copy of the whole body, in a buffer that grew by doubling.
struct Paced<I> {
    pieces: I,
    given: bool,
}

impl<I> Paced<I> {
    fn new(pieces: I) -> Self {
        Self {
            pieces,
            given: false,
        }
    }
}

impl<I: Iterator<Item = Bytes> + Unpin> Stream for Paced<I> {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if std::mem::take(&mut self.given) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.given = true;
        Poll::Ready(self.pieces.next().map(Ok))
    }
}

impl Form {
    /// The texts of a query string.
    ///
    /// # Errors
    /// [`FormError::Duplicate`], [`FormError::BadText`].
    pub fn from_query(fields: &Fields, query: &str) -> Result<Form, FormError> {
        let mut form = Form::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            if let Some(name) = one_of(fields.texts, &name) {
                form.set(fields, name, value.as_bytes())?;
            }
        }
        Ok(form)
    }

    /// Takes a form apart.
    ///
    /// The whole body is in memory already, so the parser's asynchronous interface has nothing to wait for but its own turn.
    ///
    /// # Errors
    /// Every [`FormError`].
    pub fn from_multipart(
        fields: &Fields,
        content_type: &str,
        body: Vec<u8>,
    ) -> Result<Form, FormError> {
        let boundary = multer::parse_boundary(content_type).map_err(framing)?;
        let body = Body::new(body);
        let parser = Multipart::new(Paced::new(body.clone().pieces()), boundary);
        let (mut form, ranges) = pollster::block_on(read(fields, parser, &body))?;
        form.files = body.split(&ranges);
        Ok(form)
    }

    /// Takes out the text of this field, without the spaces around it.
    pub fn text(&mut self, name: &str) -> Option<String> {
        let at = self.texts.iter().position(|(known, _)| *known == name)?;
        Some(self.texts.swap_remove(at).1)
    }

    /// This form, and where a text is not given, the other's.
    pub fn or(mut self, other: Form) -> Form {
        for (name, value) in other.texts {
            if self.texts.iter().all(|(given, _)| *given != name) {
                self.texts.push((name, value));
            }
        }
        self
    }

    fn set(&mut self, fields: &Fields, name: &'static str, value: &[u8]) -> Result<(), FormError> {
        if self.texts.iter().any(|(given, _)| *given == name) {
            return Err(FormError::Duplicate(name));
        }
        let text = std::str::from_utf8(value)
            .ok()
            .filter(|text| text.len() <= fields.max_text_bytes);
        let text = text.ok_or(FormError::BadText {
            name,
            limit_bytes: fields.max_text_bytes,
        })?;
        self.texts.push((name, text.trim().to_owned()));
        Ok(())
    }
}

fn one_of(known: &'static [&'static str], name: &str) -> Option<&'static str> {
    known.iter().copied().find(|known| *known == name)
}

/// The texts of a form, and where in `body` its files are now.
async fn read(
    fields: &Fields,
    mut parser: Multipart<'_>,
    body: &Body,
) -> Result<(Form, Vec<Range<usize>>), FormError> {
    let mut form = Form::default();
    let mut ranges: Vec<Range<usize>> = Vec::new();
    while let Some(mut field) = parser.next_field().await.map_err(framing)? {
        let name = field.name().unwrap_or("").to_owned();
        if let Some(name) = one_of(fields.files, &name) {
            if ranges.len() == fields.max_files {
                return Err(match fields.max_files {
                    1 => FormError::Duplicate(name),
                    limit => FormError::TooManyFiles { limit },
                });
            }
            let start = ranges.last().map_or(0, |before| before.end);
            let mut end = start;
            while let Some(piece) = field.chunk().await.map_err(framing)? {
                end = body.keep(end, &piece);
            }
            ranges.push(start..end);
        } else if let Some(name) = one_of(fields.texts, &name) {
            let mut value = Vec::new();
            while let Some(piece) = field.chunk().await.map_err(framing)? {
                // One byte over the limit is enough to know.
                let room = (fields.max_text_bytes + 1).saturating_sub(value.len());
                value.extend_from_slice(&piece[..piece.len().min(room)]);
            }
            form.set(fields, name, &value)?;
        }
    }
    Ok((form, ranges))
}

/// A body that is read from its start and whose files are moved to its start on the way: they are never longer than what
/// was read, so one piece of memory serves for both.
#[derive(Clone)]
struct Body(Arc<Mutex<Vec<u8>>>);

impl Body {
    fn new(bytes: Vec<u8>) -> Body {
        Body(Arc::new(Mutex::new(bytes)))
    }

    /// Nobody panics while it is held, and nobody else waits for it: the parser wants what is shared to be thread-safe.
    fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Copies of its bytes, piece after piece.
    fn pieces(self) -> impl Iterator<Item = Bytes> {
        let length = self.bytes().len();
        let starts = (0..length).step_by(PIECE_BYTES);
        starts.map(move |at| {
            let end = length.min(at + PIECE_BYTES);
            Bytes::copy_from_slice(&self.bytes()[at..end])
        })
    }

    /// Puts `piece` at `start`; returns its end.
    fn keep(&self, start: usize, piece: &[u8]) -> usize {
        let end = start + piece.len();
        self.bytes()[start..end].copy_from_slice(piece);
        end
    }

    /// The files at `ranges`, which lie one behind the other from the start.
    fn split(&self, ranges: &[Range<usize>]) -> Vec<Vec<u8>> {
        let mut bytes = std::mem::take(&mut *self.bytes());
        bytes.truncate(ranges.last().map_or(0, |last| last.end));
        let mut files: Vec<Vec<u8>> = ranges
            .iter()
            .skip(1)
            .rev()
            .map(|range| bytes.split_off(range.start))
            .collect();
        if !files.is_empty() {
            bytes.shrink_to_fit();
        }
        if !ranges.is_empty() {
            files.push(bytes);
        }
        files.reverse();
        files
    }
}

fn framing(error: multer::Error) -> FormError {
    let text = error.to_string();
    let mut characters = text.chars();
    // House style: messages start in lower case. The rest may quote a field's name, which is bounded here.
    let text = characters.next().map(|c| {
        c.to_lowercase()
            .chain(characters)
            .take(160)
            .collect::<String>()
    });
    FormError::Framing(text.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FIELDS: Fields = Fields {
        files: &["video", "frame"],
        max_files: 3,
        texts: &["condition", "words"],
        max_text_bytes: 12,
    };
    const TYPE: &str = "multipart/form-data; boundary=edge";

    fn multipart(parts: &[(&str, &[u8])]) -> Vec<u8> {
        let mut body = Vec::new();
        for (name, content) in parts {
            let head = format!("--edge\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n");
            body.extend(head.into_bytes());
            body.extend_from_slice(content);
            body.extend(b"\r\n");
        }
        body.extend(b"--edge--\r\n");
        body
    }

    fn read(parts: &[(&str, &[u8])]) -> Result<Form, FormError> {
        Form::from_multipart(&FIELDS, TYPE, multipart(parts))
    }

    #[test]
    fn files_come_in_order_and_texts_by_name() {
        let mut form = read(&[
            ("frame", b"1"),
            ("words", b" yes "),
            ("other", b"skipped"),
            ("video", b"22\r\n2"),
            ("frame", b""),
        ])
        .expect("valid");
        assert_eq!(form.files, [b"1".to_vec(), b"22\r\n2".to_vec(), vec![]]);
        assert_eq!(form.text("words").as_deref(), Some("yes"));
        assert_eq!((form.text("words"), form.text("condition")), (None, None));
    }

    #[test]
    fn files_larger_than_a_piece_arrive_whole() {
        let long: Vec<u8> = (0..3 * PIECE_BYTES + 17).map(|i| (i % 251) as u8).collect();
        let short = long[..PIECE_BYTES - 3].to_vec();
        let form = read(&[("frame", &short), ("frame", &long), ("video", b"end")]);
        assert_eq!(form.expect("valid").files, [short, long, b"end".to_vec()]);
    }

    #[test]
    fn a_single_file_is_not_copied() {
        let long = vec![7; 2 * PIECE_BYTES];
        let body = multipart(&[("words", b"x"), ("video", &long)]);
        let place = body.as_ptr();
        let form = Form::from_multipart(&FIELDS, TYPE, body).expect("valid");
        assert_eq!((form.files[0].as_ptr(), &form.files[0]), (place, &long));
    }

    #[test]
    fn what_the_form_does_not_say_the_query_does() {
        let query = Form::from_query(&FIELDS, "words=a+b&condition=%20x%20&video=none");
        let form = read(&[("words", b"form")]).expect("valid");
        let mut both = form.or(query.expect("valid"));
        assert_eq!(both.text("words").as_deref(), Some("form"));
        assert_eq!(both.text("condition").as_deref(), Some("x"));
        assert!(both.files.is_empty());
    }

    #[test]
    fn what_is_too_much_is_refused() {
        let one = Fields {
            max_files: 1,
            ..FIELDS
        };
        let twice = multipart(&[("frame", b"1"), ("video", b"2")]);
        assert_eq!(
            Form::from_multipart(&one, TYPE, twice),
            Err(FormError::Duplicate("video"))
        );
        assert_eq!(
            read(&[("frame", b"1".as_slice()); 4]),
            Err(FormError::TooManyFiles { limit: 3 })
        );
        assert_eq!(
            read(&[("words", b"1"), ("words", b"1")]),
            Err(FormError::Duplicate("words"))
        );
        let bad = FormError::BadText {
            name: "words",
            limit_bytes: 12,
        };
        for text in [b"thirteen byte".as_slice(), b"\xff"] {
            assert_eq!(read(&[("words", text)]), Err(bad.clone()));
        }
        assert_eq!(read(&[("words", b"twelve bytes")]).map(drop), Ok(()));
        assert_eq!(
            Form::from_query(&FIELDS, "words=1&words=2"),
            Err(FormError::Duplicate("words"))
        );
    }

    #[test]
    fn broken_framing_says_so_in_lower_case() {
        for (content_type, body) in [
            ("multipart/form-data", b"".as_slice()),
            (TYPE, b""),
            (TYPE, b"--edge"),
            (
                TYPE,
                b"--edge\r\nContent-Disposition: form-data; name=\"video\"\r\n\r\nabc",
            ),
        ] {
            let error = Form::from_multipart(&FIELDS, content_type, body.to_vec());
            let text = error.expect_err("broken").to_string();
            let said = text.strip_prefix("multipart body: ").expect("framing");
            assert!(said.starts_with(char::is_lowercase), "{said}");
        }
    }

    proptest! {
        #[test]
        fn files_come_out_as_they_went_in(
            files in proptest::collection::vec(
                (any::<bool>(), proptest::collection::vec(any::<u8>(), 0..50), 0..3usize),
                0..4,
            ),
        ) {
            // Lengths around that of a piece, where a file's parts meet the parser's buffers.
            let files: Vec<(bool, Vec<u8>)> = files
                .into_iter()
                .map(|(video, seed, pieces)| {
                    let mut bytes = seed;
                    bytes.resize(bytes.len() + pieces * (PIECE_BYTES - 40), 9);
                    (video, bytes)
                })
                .collect();
            let parts: Vec<(&str, &[u8])> = files
                .iter()
                .map(|(video, bytes)| (if *video { "video" } else { "frame" }, bytes.as_slice()))
                .collect();
            prop_assume!(files.iter().all(|(_, bytes)| !bytes.windows(4).any(|w| w == b"edge")));
            match read(&parts) {
                Ok(form) => {
                    let sent: Vec<Vec<u8>> = files.into_iter().map(|(_, bytes)| bytes).collect();
                    prop_assert_eq!(form.files, sent);
                }
                Err(error) => prop_assert_eq!(error, FormError::TooManyFiles { limit: 3 }),
            }
        }

        #[test]
        fn no_bytes_make_trouble(
            content_type in prop_oneof![Just(TYPE.to_owned()), ".{0,40}"],
            body in prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..200),
                "(--edge\r\n[A-Za-z-]{0,20}: form-data; name=\"(video|words)?\"\r\n\r\n.{0,20}\r\n){0,3}(--edge--)?"
                    .prop_map(String::into_bytes),
            ],
        ) {
            let length = body.len();
            if let Ok(form) = Form::from_multipart(&FIELDS, &content_type, body) {
                prop_assert!(form.files.iter().map(Vec::len).sum::<usize>() <= length);
            }
        }
    }
}
