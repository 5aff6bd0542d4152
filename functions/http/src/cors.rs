//! Whether scripts of a web page from elsewhere may read an answer (the Fetch standard's CORS protocol).

use crate::message::{HttpAnswer, HttpRequest};
use crate::settings::Origins;

/// Methods of all routes.
const METHODS: &str = "GET, POST";
/// Request headers that mean something here, and that scripts must ask for.
const REQUEST_HEADERS: &str = "content-type, x-api-key, x-priority, x-request-id";
/// Answer headers that scripts may read beside those they always may.
const ANSWER_HEADERS: &str =
    "server-timing, x-ephemera-models, x-ephemera-peak-memory, x-request-id";
/// How long a browser may remember a permission, in seconds: two hours, the longest that one of them does.
const MAX_AGE_S: &str = "7200";

/// The answer to a preflight request of an origin that may; `None` for every other request.
pub(crate) fn preflight(request: &HttpRequest<'_>, origins: &Origins) -> Option<HttpAnswer> {
    let asks =
        request.method == "OPTIONS" && request.header("access-control-request-method").is_some();
    if !asks || allowed(request, origins).is_none() {
        return None;
    }
    Some(HttpAnswer {
        status: 204,
        headers: vec![
            ("access-control-allow-methods", METHODS.to_owned()),
            ("access-control-allow-headers", REQUEST_HEADERS.to_owned()),
            ("access-control-max-age", MAX_AGE_S.to_owned()),
        ],
        body: Vec::new(),
        log: None,
    })
}

/// What every answer to this request says about it.
pub(crate) fn headers(request: &HttpRequest<'_>, origins: &Origins) -> Vec<(&'static str, String)> {
    let mut headers = Vec::new();
    if let Some(origin) = allowed(request, origins) {
        headers.push(("access-control-allow-origin", origin.to_owned()));
        headers.push(("access-control-expose-headers", ANSWER_HEADERS.to_owned()));
    }
    // A cache must not give one origin's answer to another, and not one without these headers to any.
    if matches!(origins, Origins::Listed(listed) if !listed.is_empty()) {
        headers.push(("vary", "Origin".to_owned()));
    }
    headers
}

/// What to call the origin of a request that may read the answer.
fn allowed<'a>(request: &HttpRequest<'_>, origins: &'a Origins) -> Option<&'a str> {
    let origin = request.header("origin")?;
    match origins {
        Origins::Any => Some("*"),
        Origins::Listed(listed) => {
            let mut listed = listed.iter().map(String::as_str);
            listed.find(|listed| listed.eq_ignore_ascii_case(origin))
        }
    }
}
