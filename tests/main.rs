//! The whole path: request bytes in, answer bytes out, through native code, our host and `wasmtime serve`.
//!
//! The components are built once, by the same code as `ephemera build`; a second run finds them unchanged.

mod batch;
mod binary;
mod bits;
mod budget;
mod cases;
mod crowd;
mod deploy;
mod gait;
mod image;
mod infer;
mod jobs;
mod metrics;
mod models;
mod networks;
mod nn;
mod outside;
mod packs;
mod queue;
mod redis;
mod rejected;
mod runners;
mod sample;
mod samples;
mod spin_manifest;
mod telemetry;
mod triggers;
mod variables;
mod wasm_units;
mod watch;
