//! What a function and a client may do, over HTTP: each limit ends what goes over it, with a sentence, and costs nobody else.
//!
//! The guest is `tests/guests/unruly`, built by the same code as every function.

mod clients;
mod guests;
mod server;
mod wire;
