//! `X-Request-Id`: the caller's, or one of ours, on every answer of a function or of the host. What is no HTTP is refused before it has one.

use std::hash::{BuildHasher, Hasher, RandomState};

use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};

/// The header, on requests and on answers.
const NAME: HeaderName = HeaderName::from_static("x-request-id");

/// Longest id that is taken from a caller; a UUID has 36.
const MAX_BYTES: usize = 128;

/// The id of the request that has `headers`. Without one that can stand in a log's line, a new one is put there, for the function to see.
pub(crate) fn of_request(headers: &mut HeaderMap) -> HeaderValue {
    let given = headers.get(&NAME).filter(|id| can_be_echoed(id.as_bytes()));
    let id = given.cloned().unwrap_or_else(random);
    headers.insert(NAME, id.clone());
    id
}

/// Puts `id` on an answer that has none: the host's own.
pub(crate) fn on_answer(headers: &mut HeaderMap, id: HeaderValue) {
    headers.entry(NAME).or_insert(id);
}

fn can_be_echoed(id: &[u8]) -> bool {
    (1..=MAX_BYTES).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic)
}

/// 128 bits in hex. They tell requests apart and guard nothing, so the keys of the standard library's hash tables will do.
fn random() -> HeaderValue {
    let half = || RandomState::new().build_hasher().finish();
    let text = format!("{:016x}{:016x}", half(), half());
    HeaderValue::from_str(&text).expect("hex digits make a header")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_kept_or_made() {
        let long = "x".repeat(129);
        for (given, kept) in [
            (Some("a-1"), true),
            (Some(&long[1..]), true),
            (Some(&*long), false),
            (Some("a b"), false),
            (Some(""), false),
            (None, false),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(given) = given {
                headers.insert(NAME, given.parse().expect("a header"));
            }
            let id = of_request(&mut headers);
            assert_eq!(
                Some(id.to_str().expect("ASCII")) == given,
                kept,
                "{given:?}"
            );
            assert_eq!(headers[NAME], id, "the function sees it");
            assert!(can_be_echoed(id.as_bytes()));
            assert_ne!(id, of_request(&mut HeaderMap::new()));
        }
    }

    #[test]
    fn a_function_has_the_last_word() {
        let mut headers = HeaderMap::new();
        on_answer(&mut headers, HeaderValue::from_static("ours"));
        on_answer(&mut headers, HeaderValue::from_static("again"));
        assert_eq!(headers[NAME], "ours");
    }
}
