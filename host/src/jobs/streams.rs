//! A queue in Redis: streams with a group of workers on many machines.
//!
//! ```text
//! layout.rs   the names of keys
//! scripts.rs  the steps, each of them one script (lua/), so that none is done by half
//! broker.rs   the connection, which comes back when Redis does
//! pull.rs     entries to be worked on, and the jobs of the dead
//! work.rs     an entry -> its report stored, put back or given up
//! submit.rs   files -> jobs, and what became of them
//! admin.rs    what is there, once more, and away with it
//! ```
//!
//! A worker has an entry until it lets go of it or says nothing for longer than its lease; then another takes it over. A report is stored
//! once, however often its job is delivered, in the same step that lets go of the entry. A script can be asked for again when its answer
//! was lost with the connection.

pub mod admin;
pub mod broker;
pub mod layout;
mod pull;
pub mod scripts;
pub mod submit;
pub mod work;

pub use broker::Broker;
pub use layout::Layout;
pub use work::{Options, Streams};
