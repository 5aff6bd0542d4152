//! The routes, and what the shell and tests know of the function.
//!
//! Native tests, our host and other hosts all go through [`Gait::handle_in`], so that their answers are the same but for
//! the time that they say to have taken.

use std::io::Read;

// Where the models run is decided here, and nowhere else.
#[cfg(not(all(feature = "wasi-nn", target_family = "wasm")))]
use ephemera_engine::bundle;
#[cfg(all(feature = "wasi-nn", target_family = "wasm"))]
use ephemera_nn as bundle;

use ephemera_http::{Failure, Function, Health, HttpAnswer, HttpRequest, key_matches};

use crate::settings::Settings;
use crate::{Error, Gait, Request, Surroundings, response};

/// The path that tells whether requests can be answered.
const READY: &str = "/ready";

impl Gait {
    /// Answers a request with all settings at their defaults. Never fails: what goes wrong becomes a status and a
    /// sentence.
    pub fn handle(&self, request: HttpRequest<'_>) -> HttpAnswer {
        self.handle_in(request, &Surroundings::default())
    }

    /// The same in given surroundings.
    pub fn handle_in(&self, request: HttpRequest<'_>, around: &Surroundings<'_>) -> HttpAnswer {
        ephemera_http::handle(self, request, around)
    }
}

impl Function for Gait {
    const NAME: &'static str = "gait";
    type Settings = Settings;
    type Error = Error;

    fn load(stream: impl Read) -> Result<Gait, Error> {
        Gait::new(bundle::load(stream)?)
    }

    fn models(&self) -> String {
        self.network.manifest.identity()
    }

    fn route(
        &self,
        request: HttpRequest<'_>,
        around: &Surroundings<'_>,
    ) -> Result<HttpAnswer, Error> {
        let settings = &around.settings;
        if let Err(error) = settings.check(&self.network) {
            return Ok(Gait::refuse(&request, &error.into()));
        }
        let expect = |allowed: &'static str| {
            if request.method == allowed {
                Ok(())
            } else {
                Err(Error::Method { allowed })
            }
        };
        match request.path() {
            "/predict" | "/v1/gait" => {
                expect("POST")?;
                let given = request.header("x-api-key").unwrap_or("");
                if let Some(key) = &settings.api_key
                    && !key_matches(key, given)
                {
                    return Err(Error::ApiKey);
                }
                let limit_bytes = settings.max_upload_bytes;
                if request.body.len() > limit_bytes {
                    return Err(Error::BodyTooLarge { limit_bytes });
                }
                self.answer(Request::parse(request, &self.network)?, around)
            }
            "/conditions" => expect("GET").map(|()| response::conditions(&self.network)),
            "/health" => expect("GET").map(|()| HttpAnswer::json(200, &Health::OK)),
            READY => expect("GET").map(|()| response::ready(&self.network)),
            _ => Err(Error::Path),
        }
    }

    /// Every request is told that the function is not set up, and whoever asks whether it is ready, why.
    fn refuse(request: &HttpRequest<'_>, error: &Error) -> HttpAnswer {
        if request.method != "GET" || request.path() != READY {
            return HttpAnswer::error(error);
        }
        let reason = match error {
            Error::Settings(setting) => setting.to_string(),
            other => other.to_string(),
        };
        let mut answer = response::not_ready(reason);
        answer.log = error.causes();
        answer
    }
}
