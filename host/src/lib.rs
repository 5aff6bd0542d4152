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
mod answer;
mod apart;
pub mod app;
pub mod bench;
pub mod body;
pub mod build;
mod cargo;
pub mod cgroup;
pub mod config;
pub mod digest;
pub mod doctor;
mod epoch;
pub mod failure;
mod files;
mod foreign;
pub mod gpu;
pub mod grants;
pub mod guest;
mod guest_log;
mod guest_stack;
mod http_client;
pub mod image;
pub mod imports;
pub mod inspect;
pub mod jobs;
pub mod keyvalue;
pub mod memory;
pub mod metrics;
pub mod models;
mod module;
pub mod mounts;
pub mod nn;
pub mod outbound;
mod outbound_redis;
pub mod outside;
pub mod pace;
mod pressure;
pub mod procfs;
pub mod progress;
pub mod redis_trigger;
mod request_id;
mod room;
pub mod routes;
pub mod run;
pub mod runtime;
pub mod sample;
pub mod serve;
pub mod shapes;
pub mod snapshot;
mod socket;
mod spin_headers;
mod state;
mod targets;
pub mod telemetry;
pub mod top;
mod turns;
pub mod variables;
pub mod watch;
