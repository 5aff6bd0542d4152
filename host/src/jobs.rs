//! Jobs: work that nobody waits for at the other end of a connection, done by the same functions in fresh instances.
//!
//! ```text
//! perform.rs  Job          -> answer       admission, one instance, and whose fault a failure is
//! claim.rs    who works on what, safe against the death of anyone
//! inbox.rs    a folder     -> items        what is there, complete and to be done
//! folder.rs   item         -> result       the steps of one item, each safe to repeat
//! worker.rs   items, one after the other, until a signal
//! progress.rs how far all workers are, as a file
//! ```
//!
//! At least once, and stored once: every step leaves on disk what the next worker needs, and is safe to repeat. Between jobs nothing is
//! held.

pub mod claim;
pub mod folder;
pub mod inbox;
pub mod perform;
pub mod progress;
pub mod worker;
