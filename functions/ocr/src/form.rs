//! `multipart/form-data` (RFC 7578) and query strings -> the fields of an OCR request.

use std::convert::Infallible;

use futures_util::stream;
use multer::Multipart;
use multer::bytes::Bytes;

use crate::Error;

/// Names given beside the image, as they were written; `None` where not given.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Fields {
    pub(crate) engine: Option<String>,
    pub(crate) language: Option<String>,
    pub(crate) format: Option<String>,
    pub(crate) page: Option<String>,
    pub(crate) region: Option<String>,
    pub(crate) words: Option<String>,
}

/// Longest value of a field other than the image; no engine, language or format has a longer name.
const MAX_FIELD_BYTES: usize = 64;
/// Pieces that a body is fed to the parser in: it copies what it has not yet handed on.
const PIECE_BYTES: usize = 64 << 10;

impl Fields {
    pub(crate) fn from_query(query: &str) -> Result<Fields, Error> {
        let mut fields = Fields::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            if let Some((name, slot)) = fields.slot(&name) {
                set(name, slot, value.as_bytes())?;
            }
        }
        Ok(fields)
    }

    /// These fields, and where one is not given, the other's.
    pub(crate) fn or(self, other: Fields) -> Fields {
        Fields {
            engine: self.engine.or(other.engine),
            language: self.language.or(other.language),
            format: self.format.or(other.format),
            page: self.page.or(other.page),
            region: self.region.or(other.region),
            words: self.words.or(other.words),
        }
    }

    fn slot(&mut self, name: &str) -> Option<(&'static str, &mut Option<String>)> {
        match name {
            "engine" => Some(("engine", &mut self.engine)),
            "language" => Some(("language", &mut self.language)),
            "format" => Some(("format", &mut self.format)),
            "page" => Some(("page", &mut self.page)),
            "region" => Some(("region", &mut self.region)),
            "words" => Some(("words", &mut self.words)),
            _ => None,
        }
    }
}

fn set(name: &'static str, slot: &mut Option<String>, value: &[u8]) -> Result<(), Error> {
    if slot.is_some() {
        return Err(Error::DuplicateField(name));
    }
    let text = std::str::from_utf8(value)
        .ok()
        .filter(|text| text.len() <= MAX_FIELD_BYTES);
    let text = text.ok_or(Error::BadField {
        name,
        limit_bytes: MAX_FIELD_BYTES,
    })?;
    *slot = Some(text.trim().to_owned());
    Ok(())
}

/// Takes a form apart: the bytes of field `image`, and the names beside it. Fields of other names are passed over.
///
/// The whole body is in memory already, so the parser's asynchronous interface never has to wait.
pub(crate) fn read(content_type: &str, body: Vec<u8>) -> Result<(Vec<u8>, Fields), Error> {
    let boundary = multer::parse_boundary(content_type).map_err(framing)?;
    let body = Bytes::from(body);
    let length = body.len();
    let pieces = (0..length)
        .step_by(PIECE_BYTES)
        .map(move |at| Ok::<Bytes, Infallible>(body.slice(at..length.min(at + PIECE_BYTES))));
    pollster::block_on(read_fields(
        Multipart::new(stream::iter(pieces), boundary),
        length,
    ))
}

async fn read_fields(
    mut form: Multipart<'_>,
    body_bytes: usize,
) -> Result<(Vec<u8>, Fields), Error> {
    let mut image: Option<Vec<u8>> = None;
    let mut fields = Fields::default();
    while let Some(mut field) = form.next_field().await.map_err(framing)? {
        let name = field.name().unwrap_or("").to_owned();
        if name == "image" {
            if image.is_some() {
                return Err(Error::DuplicateField("image"));
            }
            // The image is nearly all of the body: room for it at once, instead of doubling on the way.
            let mut bytes = Vec::with_capacity(body_bytes);
            while let Some(piece) = field.chunk().await.map_err(framing)? {
                bytes.extend_from_slice(&piece);
            }
            image = Some(bytes);
        } else if let Some((name, slot)) = fields.slot(&name) {
            let mut value = Vec::new();
            while let Some(piece) = field.chunk().await.map_err(framing)? {
                // One byte over the limit is enough to know.
                let room = (MAX_FIELD_BYTES + 1).saturating_sub(value.len());
                value.extend_from_slice(&piece[..piece.len().min(room)]);
            }
            set(name, slot, &value)?;
        }
    }
    Ok((image.ok_or(Error::MissingField("image"))?, fields))
}

fn framing(error: multer::Error) -> Error {
    let text = error.to_string();
    let mut characters = text.chars();
    // House style: messages start in lower case. The rest may quote a field's name, which is bounded here.
    let text = characters.next().map(|c| {
        c.to_lowercase()
            .chain(characters)
            .take(160)
            .collect::<String>()
    });
    Error::Multipart(text.unwrap_or_default())
}
