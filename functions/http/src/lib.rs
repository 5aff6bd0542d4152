//! HTTP as every function has it: what the library of a function needs, and the shell that makes a component of it.
//!
//! ```text
//! message.rs   HttpRequest, HttpAnswer, Surroundings
//! function.rs  HttpRequest      -> HttpAnswer     what frames every route: CORS, request ids, models
//! form.rs      body, query      -> Form           files and texts by name, within limits
//! settings.rs  names, texts     -> numbers, origins, keys
//! timing.rs    steps            -> Server-Timing
//! incoming.rs  pieces           -> a body         as they arrive, within a limit
//! shell.rs     WASI             -> Function -> WASI        only in WebAssembly: the one file that knows the platform
//! ```
//!
//! Left to each function: its routes, its fields, and which status each of its errors has.
#![cfg_attr(not(target_family = "wasm"), forbid(unsafe_code))]

mod cors;
mod form;
mod function;
#[cfg(any(test, target_family = "wasm"))]
mod incoming;
mod message;
pub mod settings;
#[cfg(target_family = "wasm")]
pub mod shell;
mod timing;

pub use form::{Fields, Form, FormError};
pub use function::{Failure, Function, NotReady, handle, key_matches};
pub use message::{Health, HttpAnswer, HttpRequest, Surroundings, shortened};
pub use timing::{Clock, Stopwatch};

/// Largest body where settings do not say another, in bytes. The platform's limit; the host refuses larger ones before an
/// instance starts.
pub const MAX_BODY_BYTES: usize = 10 << 20;
