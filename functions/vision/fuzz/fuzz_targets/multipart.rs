#![no_main]

use ephemera_ocr::{HttpRequest, Request};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    // The first line is the query, the second the boundary, the rest the body.
    let mut parts = data.splitn(3, |&b| b == b'\n');
    let mut line = || String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
    let target = format!("/v1/ocr?{}", line());
    let content_type = format!("multipart/form-data; boundary={}", line());
    let headers = [("content-type".to_owned(), content_type)];
    let body = parts.next().unwrap_or_default().to_vec();
    let length = body.len();
    let request = HttpRequest {
        method: "POST",
        target: &target,
        headers: &headers,
        body,
    };
    if let Ok(request) = Request::parse(request, true) {
        assert!(!request.image.is_empty() && request.image.len() <= length);
    }
});
