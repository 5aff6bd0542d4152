//! Requests over `wasi:http`, one at a time: inputs that are at a URL, and webhooks. The host decides where they may go.

use wasi::http::outgoing_handler;
use wasi::http::types::{
    ErrorCode, Fields, IncomingResponse, Method, OutgoingBody, OutgoingRequest, Scheme,
};

use super::stream;

/// The first `limit_bytes` of what is at `url`. Redirections are not followed: each would be another host to allow.
///
/// # Errors
/// Why it cannot be had, as a sentence.
pub(super) fn get(url: &str, limit_bytes: usize) -> Result<Vec<u8>, String> {
    let answer = send(&Method::Get, url, &[], &[])?;
    check(&answer)?;
    let body = answer.consume().map_err(|()| UNREADABLE)?;
    let content = body.stream().map_err(|()| UNREADABLE)?;
    stream::read(&content, 0, limit_bytes).map_err(|_| UNREADABLE.to_owned())
}

/// Posts `body` to `url`.
///
/// # Errors
/// Why it was not taken, as a sentence.
pub(super) fn post(url: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<(), String> {
    check(&send(&Method::Post, url, headers, body)?)
}

const UNREADABLE: &str = "its answer cannot be read";

fn check(answer: &IncomingResponse) -> Result<(), String> {
    match answer.status() {
        200..=299 => Ok(()),
        status => Err(format!("it answered {status}")),
    }
}

fn send(
    method: &Method,
    url: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Result<IncomingResponse, String> {
    let wrong = || "expected an http: or https: URL".to_owned();
    let fields: Vec<(String, Vec<u8>)> = headers
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()))
        .chain((!body.is_empty()).then(|| {
            let length = body.len().to_string().into_bytes();
            ("content-length".to_owned(), length)
        }))
        .collect();
    let fields = Fields::from_list(&fields).map_err(|_| wrong())?;
    let request = OutgoingRequest::new(fields);
    let (scheme, authority, path) = parts(url).ok_or_else(wrong)?;
    let set = request
        .set_method(method)
        .and_then(|()| request.set_scheme(Some(&scheme)))
        .and_then(|()| request.set_authority(Some(authority)))
        .and_then(|()| request.set_path_with_query(Some(&path)));
    set.map_err(|()| wrong())?;
    let outgoing = request.body().map_err(|()| wrong())?;
    let answer = outgoing_handler::handle(request, None).map_err(told)?;
    let mut content = outgoing.write().map_err(|()| wrong())?;
    // If the other end stops reading, its answer says why.
    let _ = stream::write(&mut content, body);
    drop(content);
    // The same.
    let finished = OutgoingBody::finish(outgoing, None);
    answer.subscribe().block();
    match answer.get() {
        Some(Ok(Ok(answer))) => Ok(answer),
        Some(Ok(Err(code))) => Err(told(finished.err().unwrap_or(code))),
        Some(Err(())) | None => Err(UNREADABLE.to_owned()),
    }
}

fn told(code: ErrorCode) -> String {
    match code {
        ErrorCode::HttpRequestDenied | ErrorCode::DestinationIpProhibited => {
            "its host is not allowed".to_owned()
        }
        other => {
            eprintln!("a request failed: {other:?}");
            "it cannot be reached".to_owned()
        }
    }
}

/// Scheme, authority, and path with query.
fn parts(url: &str) -> Option<(Scheme, &str, String)> {
    let (scheme, rest) = url.split_once("://")?;
    let scheme = match scheme {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        _ => return None,
    };
    let rest = rest.split('#').next()?;
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    // A name and a password before the host would only be there to be misread.
    if authority.is_empty() || authority.contains('@') {
        return None;
    }
    let path = match path.starts_with('/') {
        true => path.to_owned(),
        false => format!("/{path}"),
    };
    Some((scheme, authority, path))
}
