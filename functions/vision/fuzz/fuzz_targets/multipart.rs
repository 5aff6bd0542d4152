#![no_main]

use ephemera_http::{Fields, Form};
use ephemera_ocr::{HttpRequest, Request};

const FIELDS: Fields = Fields {
    files: &["image", "frames"],
    max_files: 4,
    texts: &["engine", "language"],
    max_text_bytes: 64,
};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    // The first line is the query, the second the boundary, the rest the body.
    let mut parts = data.splitn(3, |&b| b == b'\n');
    let mut line = || String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
    let target = format!("/v1/ocr?{}", line());
    let content_type = format!("multipart/form-data; boundary={}", line());
    let body = parts.next().unwrap_or_default().to_vec();
    let length = body.len();
    if let Ok(form) = Form::from_multipart(&FIELDS, &content_type, body.clone()) {
        let bytes: usize = form.files.iter().map(Vec::len).sum();
        assert!(form.files.len() <= FIELDS.max_files && bytes <= length);
    }
    let headers = [("content-type".to_owned(), content_type)];
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
