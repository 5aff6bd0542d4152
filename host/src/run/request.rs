//! A file, or a folder of frames -> a request with its bytes.

use std::path::Path;

use anyhow::{Context, Result};
use ephemera_jobs::media_type;
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request};

use super::Input;
use crate::body::Pieces;
use crate::files;

/// Larger inputs are not even opened: no function has memory for them.
pub(crate) const MAX_INPUT_BYTES: u64 = 128 << 20;

/// The form field of each frame.
const FRAMES: &str = "frames";

/// Between the frames. 24 characters of the alphabet that Base64 has: no picture holds them but on purpose, and who makes one
/// on purpose spoils a request of their own.
const BOUNDARY: &str = "ephemera-Rk9tQ2xpcHNUb0Zy";

pub(super) fn request(input: &Input, target: &str) -> Result<Request<Pieces>> {
    if input.path.is_dir() {
        let form = format!("multipart/form-data; boundary={BOUNDARY}");
        return posted(target, &form, frames(&input.frames)?.into());
    }
    let mut room = MAX_INPUT_BYTES;
    let body = read(&input.path, &mut room)?;
    posted(target, media_type(&input.path), body.into())
}

/// A request with `body`, which came from a file called `name`.
pub(crate) fn of_bytes(name: &str, body: Bytes, target: &str) -> Result<Request<Pieces>> {
    posted(target, media_type(Path::new(name)), body)
}

fn posted(target: &str, content_type: &str, body: Bytes) -> Result<Request<Pieces>> {
    Request::builder()
        .method(Method::POST)
        .uri(target)
        .header(HOST, "localhost")
        .header(CONTENT_TYPE, content_type)
        .body(Pieces::from(body))
        .context("making the request")
}

/// `multipart/form-data` (RFC 7578), one part a frame.
fn frames(files: &[std::path::PathBuf]) -> Result<Vec<u8>> {
    let mut room = MAX_INPUT_BYTES;
    let mut body = vec![];
    for (index, file) in files.iter().enumerate() {
        let kind = media_type(file);
        let head = format!(
            "--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"{FRAMES}\"; filename=\"{index}\"\r\ncontent-type: {kind}\r\n\r\n"
        );
        body.extend_from_slice(head.as_bytes());
        body.extend(read(file, &mut room).with_context(|| format!("frame {index}"))?);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
    Ok(body)
}

fn read(file: &Path, room: &mut u64) -> Result<Vec<u8>> {
    let bytes = files::read_at_most(file, *room).context("cannot be read")?;
    *room -= bytes.len() as u64;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_becomes_a_request() {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, expected) in [
            ("Page.JPG", "image/jpeg"),
            ("page", "application/octet-stream"),
            ("a.mp4", "video/mp4"),
        ] {
            let path = folder.path().join(name);
            std::fs::write(&path, "x").expect("written");
            let input = Input {
                path,
                frames: vec![],
                below: name.into(),
            };
            let request = request(&input, "/p?a=b").expect("it is valid");
            assert_eq!(request.uri(), "/p?a=b");
            assert_eq!(request.headers()[CONTENT_TYPE], expected);
        }
    }

    #[test]
    fn frames_become_a_form_in_their_order() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = |name: &str| folder.path().join(name);
        std::fs::write(file("2.png"), "two").expect("written");
        std::fs::write(file("1.jpg"), "one").expect("written");
        let body = frames(&[file("2.png"), file("1.jpg")]).expect("both are there");
        let body = String::from_utf8(body).expect("it is text");
        let parts: Vec<&str> = body.split(&format!("--{BOUNDARY}")).collect();
        assert_eq!(parts.len(), 4);
        assert!(parts[1].contains("name=\"frames\"") && parts[1].contains("image/png"));
        assert!(parts[1].ends_with("\r\n\r\ntwo\r\n"), "{body}");
        assert!(parts[2].ends_with("\r\n\r\none\r\n"), "{body}");
        assert_eq!(parts[3], "--\r\n");
        assert!(frames(&[file("none.png")]).is_err());
    }

    #[test]
    fn what_no_function_has_memory_for_is_not_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a");
        std::fs::write(&path, "four").expect("written");
        assert!(read(&path, &mut 4).is_ok());
        assert!(read(&path, &mut 3).is_err());
    }
}
