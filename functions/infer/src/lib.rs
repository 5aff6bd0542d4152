//! Tensors in, tensors out: the models of an image by the Open Inference Protocol v2 and its binary tensor data extension.
//!
//! ```text
//! http.rs       method, path         -> route          one function for every runner
//! catalogue.rs  bundle               -> models by name, and what is said of them
//! request.rs    body bytes           -> Request        tensors, and which outputs in which form
//!   head.rs     JSON                 -> Head           names, shapes, types; no data
//!   data.rs     JSON numbers         -> elements as bytes
//! response.rs   Request, tensors     -> bytes          JSON, and binary data behind it
//! datatype.rs   the protocol's names of types
//! settings.rs   names, values        -> Settings       what the operator wants
//! component.rs  the shell around it all                (the crate ephemera-http)
//! ```
//!
//! Everything but `component.rs` runs natively and as Wasm, with the same bits: it knows neither Spin nor WASI, reads no clock and no
//! file. Where the models run is decided by `catalogue.rs` alone. A model's inputs are the graph's own; only one whose manifest says how pixels become its input takes pixels.
//!
//! The protocol: <https://github.com/kserve/open-inference-protocol>, `specification/protocol/inference_rest.md`. The extension:
//! Triton's `extension_binary_data.md`.
#![cfg_attr(not(target_family = "wasm"), forbid(unsafe_code))]

mod catalogue;
#[cfg(target_family = "wasm")]
mod component;
mod datatype;
mod error;
mod http;
pub mod request;
mod response;
pub mod settings;

pub use catalogue::{Catalogue, Hosted};
pub use ephemera_http::{HttpAnswer, HttpRequest, MAX_BODY_BYTES};
pub use error::Error;
pub use request::Request;
pub use settings::Settings;

/// What a runner knows and a request does not say.
pub type Surroundings<'a> = ephemera_http::Surroundings<'a, Settings>;

/// The function with its models.
pub struct Infer {
    /// By name.
    pub catalogue: Catalogue,
}

#[cfg(test)]
mod tests;
