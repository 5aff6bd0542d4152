//! Jobs: work that nobody waits for at the other end of a connection, done by the same functions in fresh instances.
//!
//! ```text
//! queue.rs    what a worker needs to know of a queue
//! worker.rs   items of a queue, several at once, until a signal
//! adaptive.rs how many at once: what pays, within memory
//! company.rs  who runs beside whom
//! inputs.rs   how many inputs may be in hand
//! perform.rs  a job or a file -> answer     admission, one instance, and whose fault a failure is
//! reach.rs    URLs of inputs and replies
//! results.rs  the folder of results
//! aside.rs    what waits for a disk, and keeps nobody waiting
//!
//! folder.rs   a queue: a folder that files are dropped into
//!   inbox.rs    what is there, complete and to be done
//!   claim.rs    who works on what, safe against the death of anyone
//!   progress.rs how far all workers are, as a file
//! streams.rs  a queue: Redis streams
//! ```
//!
//! Jobs and reports as JSON are described in `functions/jobs`. At least once, and stored once: every step leaves what the next worker needs
//! where it finds it, and is safe to repeat. Between jobs nothing is held.

pub mod adaptive;
mod aside;
pub mod claim;
pub mod company;
pub mod folder;
pub mod gate;
pub mod inbox;
mod inputs;
pub mod perform;
pub mod progress;
pub mod queue;
pub mod reach;
pub(crate) mod results;
pub mod streams;
pub mod submission;
pub mod worker;
