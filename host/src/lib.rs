//! The host: builds functions with their models inside, and runs each request in a fresh instance of one.
//!
//! ```text
//! build:   models/ -> models (lowered), functions/ -> cargo -> module; both -> snapshot -> image, imports -> .wasm, .cwasm
//! request: bytes -> serve (route, limits, queue) -> runtime (one instance) -> response
//! ```
//!
//! The binary `ephemera` is a thin layer over this library; tests use the library directly. What a function does with a request is the
//! function's own business, and no instance is alive between two requests.

pub mod admission;
pub mod app;
pub mod bench;
pub mod body;
pub mod build;
mod cargo;
pub mod config;
pub mod digest;
mod epoch;
pub mod failure;
mod files;
pub mod gpu;
mod guest_log;
pub mod image;
pub mod imports;
pub mod inspect;
pub mod memory;
pub mod models;
mod module;
pub mod nn;
mod pressure;
pub mod procfs;
pub mod progress;
mod request_id;
pub mod routes;
pub mod run;
pub mod runtime;
pub mod sample;
pub mod serve;
pub mod shapes;
pub mod snapshot;
mod state;
mod targets;
pub mod variables;
