//! ONNX in, logits out.
//!
//! A quantised ONNX model is imported by tract, rewritten into a flat int8 [`program`](Graph) with its weights packed in
//! one dense region, and run. The same integers come out on every target: what is not integer arithmetic is plain IEEE
//! arithmetic in a fixed order.
//!
//! ```text
//! bundle.rs    tar stream     -> (Manifest, Graph)
//! import.rs    ONNX bytes     -> tract's typed model, quantisation kept as operators of our own
//! lower/       typed model    -> Program       float expressions resolved to integer steps
//! program/     Program, input -> output        shapes, arena, steps
//! kernels/     the inner loops, one file per instruction set
//! raw.rs       bytes, types -> bytes         the border for callers that know no model
//! float.rs     ONNX bytes     -> tract in f32, for graphs that the lowering does not cover
//! real.rs      ONNX bytes     -> tract without quantisation, for devices that are quicker with reals
//! ```
//!
//! Importing and lowering need tract, and are for whoever builds a function (feature `tract`). The function itself starts
//! from the lowered program ([`Graph::parts`]) and links none of it.
//!
//! The engine never reads a file, a clock or the environment.

// What only the lowering makes stands beside what a function runs.
#![cfg_attr(not(feature = "tract"), allow(dead_code, unused_imports))]

pub mod bundle;
mod error;
#[cfg(feature = "tract")]
mod float;
mod graph;
#[cfg(feature = "tract")]
mod import;
mod kernels;
#[cfg(feature = "tract")]
mod lower;
mod manifest;
mod pack;
mod program;
mod raw;
#[cfg(feature = "tract")]
mod real;
mod table;
mod tensor;

pub use error::Error;
pub use graph::{Graph, Parts};
#[cfg(feature = "tract")]
pub use import::{External, Signature, inline_external};
pub use kernels::Isa;
pub use manifest::{ChannelOrder, Dim, InputSpec, Manifest, OutputSpec};
pub use pack::PackSpec;
pub use program::{FloatStep, StepReport};
pub use raw::{Datatype, Named, Port, RawModel, RawTensor, ordered};
#[cfg(feature = "tract")]
pub use real::{Precision, RealGraph};
pub use table::Table;
pub use tensor::{Data, Tensor};

/// A model that is ready to run.
///
/// The one thing a function knows of inference: whether the graph runs in this instance, natively in a test, or on the
/// other side of wasi-nn is decided by who makes the value.
pub trait Model: Send + Sync {
    /// Runs the graph once.
    ///
    /// `inputs`: each by its name in the manifest. An image input is `[1, H, W, 3] u8`, RGB, top row first, a clip
    /// `[1, T, H, W, 3] u8`, oldest frame first; any other input is f32 in the graph's own shape.
    /// Returns every output by name, in the manifest's order, f32.
    ///
    /// # Errors
    /// [`Error::Input`] when a name, shape or type is not the manifest's; [`Error::Run`] when the graph itself fails.
    fn run(&self, inputs: &[(&str, Tensor)]) -> Result<Vec<(String, Tensor)>, Error>;
}
