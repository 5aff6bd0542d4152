//! Jobs: work that nobody waits for at the other end of a connection.
//!
//! ```text
//! job.rs      JSON -> Job       what is to be done, checked
//! report.rs   Report -> JSON    what became of it
//! ```
//!
//! Both are published as JSON Schemas, and the same for every queue: the host's folder, the host's Redis streams, and the components that
//! other hosts' triggers start.
#![cfg_attr(not(target_family = "wasm"), forbid(unsafe_code))]

mod job;
mod report;

pub use job::{Error, Input, Job, MAX_ID, Reply, SCHEMA, Urgency, VERSION, is_below, is_plain};
pub use report::{Answer, Report, SCHEMA as REPORT_SCHEMA, Status};
