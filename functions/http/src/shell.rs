//! The shell between the platform and a function, and nothing else.
//!
//! While the snapshot is made, `wizer-initialize` loads the models from standard input into a static. Every request then
//! starts in a fresh copy of that memory: read the body up to the limit, hand it to [`crate::handle`], send the answer.
//! [`component!`](crate::component) makes a component of a [`Function`].

use std::sync::OnceLock;
use std::time::Duration;

use futures_util::StreamExt;
use spin_sdk::http::{Headers, IncomingRequest, Method, OutgoingResponse, ResponseOutparam};

use crate::incoming::Incoming;
use crate::settings::FunctionSettings;
use crate::{Failure, Function, HttpAnswer, HttpRequest, NotReady, Surroundings};

/// Loads a function of this type into a static `FUNCTION` while the snapshot is made.
///
/// The crate needs `spin-sdk`, whose macros name it, and lies in a folder beside `wit/`.
#[macro_export]
macro_rules! snapshot {
    ($function:ty) => {
        /// Set once, before the snapshot.
        static FUNCTION: ::std::sync::OnceLock<$function> = ::std::sync::OnceLock::new();

        // Generated: the component model's calling convention.
        #[allow(unsafe_code)]
        mod snapshot {
            ::spin_sdk::wit_bindgen::generate!({
                path: "../wit/world.wit",
                world: "snapshot",
                runtime_path: "::spin_sdk::wit_bindgen::rt",
            });

            struct Loader;

            impl Guest for Loader {
                fn wizer_initialize() {
                    $crate::shell::load(&super::FUNCTION);
                }
            }

            export!(Loader);
        }
    };
}

/// Makes the crate that it stands in a component: exports what the host calls, around one function of this type.
///
/// Needs what [`snapshot!`](crate::snapshot) needs.
#[macro_export]
macro_rules! component {
    ($function:ty) => {
        $crate::snapshot!($function);

        // Generated: the component model's calling convention.
        #[allow(unsafe_code)]
        mod incoming {
            use ::spin_sdk::http::{IncomingRequest, ResponseOutparam};

            #[::spin_sdk::http_component]
            async fn handle(request: IncomingRequest, response: ResponseOutparam) {
                $crate::shell::handle(&super::FUNCTION, request, response).await;
            }
        }
    };
}

/// Size of one page of linear memory, in bytes.
const WASM_PAGE_BYTES: usize = 65_536;

/// Standard input by its WASI 0.2 handle, given back when this is dropped. `std::io::stdin` would keep handles of all
/// three streams, which no instance made from the snapshot has.
pub struct Stdin(wasi::io::streams::InputStream);

impl Stdin {
    /// That of this instance.
    pub fn open() -> Self {
        Self(wasi::cli::stdin::get_stdin())
    }
}

/// A read makes a list of this size in the guest's memory, which never shrinks.
const READ_BYTES: usize = 64 << 10;

impl std::io::Read for Stdin {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let most = buffer.len().min(READ_BYTES);
        std::io::Read::read(&mut self.0, &mut buffer[..most])
    }
}

/// Loads the models into `function`. A failure ends the build of the artefact, with its message on standard error.
///
/// # Panics
/// When the stream has not the function's models, or this is called twice.
pub fn load<F: Function>(function: &OnceLock<F>) {
    // The adapter between WASI's previews takes a page for its state when it is first asked for something, here a random
    // number: better below the models than behind all that loading needs.
    std::hint::black_box(std::hash::RandomState::new());
    let stream = Stdin::open();
    let loaded = F::load(stream).unwrap_or_else(|error| panic!("{}", describe(&error)));
    assert!(function.set(loaded).is_ok(), "models are loaded once");
}

fn describe(error: &impl Failure) -> String {
    error.causes().unwrap_or_else(|| error.to_string())
}

/// Answers one request.
pub async fn handle<F: Function>(
    function: &OnceLock<F>,
    request: IncomingRequest,
    response: ResponseOutparam,
) {
    let method = name(&request.method());
    let target = request.path_with_query().unwrap_or_default();
    let headers: Vec<(String, String)> = request
        .headers()
        .entries()
        .into_iter()
        .map(|(name, value)| (name, String::from_utf8_lossy(&value).into_owned()))
        .collect();
    let mut head = HttpRequest {
        method: &method,
        target: &target,
        headers: &headers,
        body: Vec::new(),
    };
    let ready = settings::<F>().and_then(|settings| {
        let function = function.get().ok_or(NotReady::NotLoaded)?;
        Ok((function, settings))
    });
    let mut answer = match ready {
        Ok((function, settings)) => {
            let announced = head.header("content-length");
            let announced = announced.and_then(|length| length.parse().ok());
            head.body = read_body(request, announced.unwrap_or(0), settings.max_body_bytes()).await;
            let around = Surroundings {
                settings,
                clock: Some(&since_start),
                request_id: Some(request_id()),
            };
            crate::handle(function, head, &around)
        }
        Err(error) => F::refuse(&head, &error.into()),
    };
    let peak_bytes = core::arch::wasm32::memory_size(0) * WASM_PAGE_BYTES;
    answer
        .headers
        .push(("x-ephemera-peak-memory", peak_bytes.to_string()));
    if let Some(log) = &answer.log {
        eprintln!("{}: {log}", F::NAME);
    }
    send(response, answer, F::NAME).await;
}

/// The operator's settings, from Spin's variables of the same names.
///
/// # Errors
/// A text that means nothing, or variables that cannot be read, which the log tells.
#[cfg(feature = "variables")]
pub fn settings<F: Function>() -> Result<F::Settings, NotReady> {
    use spin_sdk::variables;

    let mut pairs = Vec::new();
    for &name in F::Settings::NAMES {
        match variables::get(name) {
            Ok(text) => pairs.push((name, text)),
            // Not declared in the manifest: the default holds.
            Err(variables::Error::Undefined(_)) => {}
            Err(error) => {
                eprintln!("{}: reading variable {name}: {error}", F::NAME);
                return Err(NotReady::NotLoaded);
            }
        }
    }
    let pairs = pairs.iter().map(|(name, text)| (*name, text.as_str()));
    Ok(F::Settings::from_pairs(pairs)?)
}

/// The defaults: hosts other than Spin have no variables to read.
///
/// # Errors
/// None.
#[cfg(not(feature = "variables"))]
pub fn settings<F: Function>() -> Result<F::Settings, NotReady> {
    Ok(F::Settings::default())
}

/// What libraries take for a clock.
pub fn since_start() -> Duration {
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
    let mut body = Incoming::new(announced_bytes, limit_bytes);
    let mut stream = std::pin::pin!(request.into_body_stream());
    while let Some(Ok(piece)) = stream.next().await {
        if !body.take(&piece) {
            break;
        }
    }
    body.into_bytes()
}

async fn send(out: ResponseOutparam, answer: HttpAnswer, function: &str) {
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
        eprintln!("{function}: sending the answer: {error}");
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
