//! The shell between the platform and the function, and nothing else.
//!
//! While the snapshot is made, `wizer-initialize` loads the models from standard input into a static. Every request then
//! starts in a fresh copy of that memory: read the body up to the limit, hand it to [`Ocr::handle_in`], send the answer.

use std::sync::OnceLock;
use std::time::Duration;

use ephemera_engine::bundle;
use futures_util::StreamExt;
use spin_sdk::http::{Headers, IncomingRequest, Method, OutgoingResponse, ResponseOutparam};

use crate::settings::Settings;
use crate::{Error, HttpAnswer, HttpRequest, Ocr, Surroundings};

/// Set once, before the snapshot.
static OCR: OnceLock<Ocr> = OnceLock::new();

/// Size of one page of linear memory, in bytes.
const WASM_PAGE_BYTES: usize = 65_536;

#[expect(
    unsafe_code,
    reason = "generated: the component model's calling convention"
)]
mod snapshot {
    spin_sdk::wit_bindgen::generate!({
        path: "../wit/world.wit",
        world: "snapshot",
        runtime_path: "::spin_sdk::wit_bindgen::rt",
    });

    struct Loader;

    impl Guest for Loader {
        fn wizer_initialize() {
            super::load();
        }
    }

    export!(Loader);
}

#[expect(
    unsafe_code,
    reason = "generated: the component model's calling convention"
)]
mod incoming {
    use spin_sdk::http::{IncomingRequest, ResponseOutparam};
    use spin_sdk::http_component;

    #[http_component]
    async fn handle(request: IncomingRequest, response: ResponseOutparam) {
        super::handle(request, response).await;
    }
}

/// Standard input by its WASI 0.2 handle, given back when this is dropped. `std::io::stdin` would keep handles of all
/// three streams, which no instance made from the snapshot has.
struct ModelStream(wasi::io::streams::InputStream);

/// A read makes a list of this size in the guest's memory, which never shrinks.
const READ_BYTES: usize = 64 << 10;

impl std::io::Read for ModelStream {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let most = buffer.len().min(READ_BYTES);
        std::io::Read::read(&mut self.0, &mut buffer[..most])
    }
}

/// Loads the models. A failure ends the build of the artefact, with its message on standard error.
fn load() {
    // The adapter between WASI's previews takes a page for its state when it is first asked for something, here a random
    // number: better below the models than behind all that loading needs.
    std::hint::black_box(std::hash::RandomState::new());
    let stream = ModelStream(wasi::cli::stdin::get_stdin());
    let ocr = bundle::load(stream)
        .map_err(Error::from)
        .and_then(Ocr::new)
        .unwrap_or_else(|error| panic!("{}", describe(&error)));
    assert!(OCR.set(ocr).is_ok(), "models are loaded once");
}

fn describe(error: &Error) -> String {
    error.cause().unwrap_or_else(|| error.to_string())
}

async fn handle(request: IncomingRequest, response: ResponseOutparam) {
    let method = name(&request.method());
    let target = request.path_with_query().unwrap_or_default();
    let headers: Vec<(String, String)> = request
        .headers()
        .entries()
        .into_iter()
        .map(|(name, value)| (name, String::from_utf8_lossy(&value).into_owned()))
        .collect();
    let mut answer = match (OCR.get(), settings()) {
        (Some(ocr), Ok(settings)) => {
            let announced = headers
                .iter()
                .find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
            let announced = announced
                .and_then(|(_, value)| value.parse().ok())
                .unwrap_or(0);
            let body = read_body(request, announced, settings.max_body_bytes).await;
            let request = HttpRequest {
                method: &method,
                target: &target,
                headers: &headers,
                body,
            };
            let around = Surroundings {
                settings,
                clock: Some(&since_start),
                request_id: Some(request_id()),
            };
            ocr.handle_in(request, &around)
        }
        (_, Err(error)) => HttpAnswer::error(&error),
        (None, _) => HttpAnswer::error(&Error::NotLoaded),
    };
    let peak_bytes = core::arch::wasm32::memory_size(0) * WASM_PAGE_BYTES;
    answer
        .headers
        .push(("x-ephemera-peak-memory", peak_bytes.to_string()));
    if let Some(log) = &answer.log {
        eprintln!("ocr: {log}");
    }
    send(response, answer).await;
}

/// The operator's settings, from Spin's variables of the same names.
#[cfg(feature = "variables")]
fn settings() -> Result<Settings, Error> {
    use spin_sdk::variables;

    let mut pairs = Vec::new();
    for name in Settings::NAMES {
        match variables::get(name) {
            Ok(text) => pairs.push((name, text)),
            // Not declared in the manifest: the default holds.
            Err(variables::Error::Undefined(_)) => {}
            Err(error) => {
                eprintln!("ocr: reading variable {name}: {error}");
                return Err(Error::NotLoaded);
            }
        }
    }
    let pairs = pairs.iter().map(|(name, text)| (*name, text.as_str()));
    Ok(Settings::from_pairs(pairs)?)
}

/// The defaults: hosts other than Spin have no variables to read.
#[cfg(not(feature = "variables"))]
fn settings() -> Result<Settings, Error> {
    Ok(Settings::default())
}

fn since_start() -> Duration {
    Duration::from_nanos(wasi::clocks::monotonic_clock::now())
}

/// 128 random bits in hex.
fn request_id() -> String {
    let half = wasi::random::random::get_random_u64;
    format!("{:016x}{:016x}", half(), half())
}

/// Reads the body, at most one byte over the limit, which is enough to know. A body that breaks off is as short as it
/// came: the framing or the image's own format tells that it is incomplete.
async fn read_body(
    request: IncomingRequest,
    announced_bytes: usize,
    limit_bytes: usize,
) -> Vec<u8> {
    // Room for all of it at once: growing would copy, and memory that was used is never given back.
    let mut body = Vec::with_capacity(announced_bytes.min(limit_bytes + 1));
    let mut stream = std::pin::pin!(request.into_body_stream());
    while let Some(Ok(piece)) = stream.next().await {
        let room = limit_bytes + 1 - body.len();
        body.extend_from_slice(&piece[..piece.len().min(room)]);
        if body.len() > limit_bytes {
            break;
        }
    }
    body
}

async fn send(out: ResponseOutparam, answer: HttpAnswer) {
    let headers: Vec<(String, Vec<u8>)> = answer
        .headers
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.into_bytes()))
        .collect();
    let headers = Headers::from_list(&headers).expect("our header names and values are valid");
    let response = OutgoingResponse::new(headers);
    response
        .set_status_code(answer.status)
        .expect("our status codes are valid");
    if let Err(error) = out.set_with_body(response, answer.body).await {
        eprintln!("ocr: sending the answer: {error}");
    }
}

fn name(method: &Method) -> String {
    match method {
        Method::Get => "GET".to_owned(),
        Method::Head => "HEAD".to_owned(),
        Method::Post => "POST".to_owned(),
        Method::Put => "PUT".to_owned(),
        Method::Delete => "DELETE".to_owned(),
        Method::Connect => "CONNECT".to_owned(),
        Method::Options => "OPTIONS".to_owned(),
        Method::Trace => "TRACE".to_owned(),
        Method::Patch => "PATCH".to_owned(),
        Method::Other(other) => other.clone(),
    }
}
