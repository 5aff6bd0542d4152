//! The shell between the platform and the jobs of one function: what makes components of this crate.
//!
//! While the snapshot is made, `wizer-initialize` loads the models, as in every function's component. The handles that a job needs are
//! taken from WASI 0.2 directly: the standard library would keep its own in the memory that is frozen.
//!
//! ```text
//! redis.rs     fermyon:spin/inbound-redis     a message, a job      (fetch.rs: URLs and webhooks; store.rs: what is stored once)
//! command.rs   wasi:cli/run                   lines of standard input, jobs
//! folders.rs   wasi:filesystem                the folders that are there (stream.rs)
//! ```

#[cfg(feature = "command")]
mod command;
#[cfg(feature = "redis")]
mod fetch;
mod folders;
#[cfg(feature = "redis")]
mod redis;
#[cfg(feature = "redis")]
mod store;
mod stream;

use std::fmt::Display;

use ephemera_http::{Function, Surroundings};

use crate::perform::Performer;

#[cfg(all(feature = "ocr", feature = "gait"))]
compile_error!("a component is of one function: expected the feature `ocr` or `gait`, got both");

#[cfg(feature = "gait")]
type Chosen = ephemera_gait::Gait;
#[cfg(all(feature = "ocr", not(feature = "gait")))]
type Chosen = ephemera_ocr::Ocr;

ephemera_http::snapshot!(Chosen);

/// Who does jobs with `function`, as the operator's `settings` have it.
///
/// # Errors
/// The settings'.
fn performer<E: Display>(
    function: &Chosen,
    settings: Result<<Chosen as Function>::Settings, E>,
) -> Result<Performer<'_, Chosen>, String> {
    Ok(Performer {
        function,
        path: path(),
        around: Surroundings {
            settings: settings.map_err(|error| error.to_string())?,
            clock: Some(&ephemera_http::shell::since_start),
            request_id: None,
        },
    })
}

/// Where the function's requests go.
fn path() -> &'static str {
    let known = crate::PATHS.iter().find(|(name, _)| *name == Chosen::NAME);
    known.map_or("/", |(_, path)| path)
}

/// Seconds since 1970 UTC.
fn now_s() -> u64 {
    wasi::clocks::wall_clock::now().seconds
}
