//! Jobs: work that nobody waits for at the other end of a connection.
//!
//! ```text
//! job.rs       JSON -> Job               what is to be done, checked
//! question.rs  options -> Question       path and query of the request          (format.rs)
//! perform.rs   Job, Function -> Report   by a function in this program
//! report.rs    Report -> JSON            what became of it
//! lines.rs     bytes -> lines            jobs, one after the other
//! folders.rs   path -> folder, rest      which of the folders that are there a file is in
//! shell.rs     WASI -> the above         only in WebAssembly: the components    (shell/)
//! ```
//!
//! Job and report are published as JSON Schemas, and the same for every queue: the host's folder, the host's Redis streams, and the
//! components that triggers start. Everything but `shell` runs natively and as WebAssembly, and knows no platform.
#![cfg_attr(not(target_family = "wasm"), forbid(unsafe_code))]

pub mod folders;
mod format;
mod job;
pub mod lines;
pub mod perform;
mod question;
mod report;
#[cfg(all(target_family = "wasm", any(feature = "ocr", feature = "gait")))]
mod shell;

pub use format::{Format, UnknownFormat};
pub use job::{Error, Input, Job, MAX_ID, Reply, SCHEMA, Urgency, VERSION, is_below, is_plain};
pub use question::{Question, QuestionError, media_type};
pub use report::{Answer, Report, SCHEMA as REPORT_SCHEMA, Status};

/// Functions that components of jobs are made of, and where their requests go: what `spin.toml` has as `run.path` of each.
pub const PATHS: [(&str, &str); 2] = [("ocr", "/v1/ocr?format=text"), ("gait", "/v1/gait")];

/// Longest job as JSON, in bytes: the largest body of a request, in Base64, and what is around it.
pub const MAX_JOB_BYTES: usize = ephemera_http::MAX_BODY_BYTES / 3 * 4 + (64 << 10);
