//! A walking clip and a clinical condition in, a probability for each class of gait out.
//!
//! ```text
//! http.rs      method, path       -> route          one function for every runner
//! request.rs   body bytes         -> Request        files, condition
//! clip.rs      Request's files    -> Input          which frames, decoded, resized and laid out one at a time
//! classify.rs  Input, condition   -> Scores         one probability a class
//! response.rs  Scores             -> bytes          JSON
//! settings.rs  names, values      -> Settings       what the operator wants
//! deadline.rs  clock, Settings    -> Deadline       when a request has had its time
//! component.rs the shell around it all              (the crate ephemera-http)
//! ```
//!
//! Everything but `component.rs` runs natively and as Wasm, with the same bits: it knows neither Spin nor WASI, reads no
//! clock and no file. The model comes in through [`ephemera_engine::Model`]; its weights are the engine's business.
//!
//! This is research software. What it answers is what a network makes of pixels, no statement about a person's health.
#![cfg_attr(not(target_family = "wasm"), forbid(unsafe_code))]

pub mod classify;
pub mod clip;
#[cfg(all(target_family = "wasm", feature = "component"))]
mod component;
mod deadline;
mod error;
mod http;
mod network;
pub mod request;
mod response;
pub mod settings;

use ephemera_engine::{Manifest, Model};
use ephemera_http::Stopwatch;

pub use deadline::Deadline;
pub use ephemera_http::{Clock, HttpAnswer, HttpRequest, MAX_BODY_BYTES};
pub use error::{Error, UnexpectedOutput};
pub use network::Network;
pub use request::Request;
pub use settings::Settings;

use clip::Input;

/// What a runner knows and a request does not say.
pub type Surroundings<'a> = ephemera_http::Surroundings<'a, Settings>;

/// The function with its model.
pub struct Gait {
    /// Tells classes from pixels and a condition.
    pub network: Network,
}

impl Gait {
    /// The function with its one model, as a bundle has it, wherever it runs.
    ///
    /// # Errors
    /// [`Error::Model`] when there is not one, or not one that [`Network::new`] takes.
    pub fn new<M: Model + 'static>(models: Vec<(Manifest, M)>) -> Result<Gait, Error> {
        let count = models.len();
        let one: Result<[(Manifest, M); 1], _> = models.try_into();
        let [(manifest, model)] = one.map_err(|_| {
            ephemera_engine::Error::Bundle(format!("expected one model, got {count}"))
        })?;
        let network = Network::new(manifest, Box::new(model))?;
        Ok(Gait { network })
    }

    /// Classifies a clip and writes the answer, under the operator's settings, with the time of each step where there is a
    /// clock.
    ///
    /// # Errors
    /// [`Error::Clip`], [`Error::Timeout`], [`Error::Model`], [`Error::Output`].
    fn answer(&self, request: Request, around: &Surroundings<'_>) -> Result<HttpAnswer, Error> {
        let mut watch = Stopwatch::start(around.clock);
        let deadline = Deadline::start(around.clock, around.settings.timeout);
        let shape = self.network.clip_shape();
        let input = Input::read(request.files, shape, &around.settings.limits, &deadline)?;
        watch.lap("frames");
        deadline.check()?;
        let scores = classify::classify(&self.network, input, request.condition)?;
        watch.lap("model");
        let mut answer = response::prediction(&self.network, &scores, watch.laps());
        answer.headers.extend(watch.header());
        Ok(answer)
    }
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
