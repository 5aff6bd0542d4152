//! The routes, and what the shell and tests know of the function.
//!
//! Native tests, our host and other hosts all go through [`Ocr::handle_in`], so that their answers are the same byte for
//! byte.

use std::io::Read;

// Where the models run is decided here, and nowhere else.
#[cfg(not(all(feature = "wasi-nn", target_family = "wasm")))]
use ephemera_engine::bundle;
#[cfg(all(feature = "wasi-nn", target_family = "wasm"))]
use ephemera_nn as bundle;

use ephemera_http::{Function, Health, HttpAnswer, HttpRequest, key_matches};
use serde::Serialize;

use crate::request::Engine;
use crate::settings::Settings;
use crate::{Error, Ocr, Request, Surroundings};

impl Ocr {
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

impl Function for Ocr {
    const NAME: &'static str = "ocr";
    type Settings = Settings;
    type Error = Error;

    fn load(stream: impl Read) -> Result<Ocr, Error> {
        Ocr::new(bundle::load(stream)?)
    }

    fn models(&self) -> String {
        let packs = self.packs.iter().map(|pack| &pack.network);
        let networks = std::iter::once(&self.detector).chain(packs);
        let identities = networks.map(|network| network.manifest.identity());
        identities.collect::<Vec<_>>().join(", ")
    }

    fn route(
        &self,
        request: HttpRequest<'_>,
        around: &Surroundings<'_>,
    ) -> Result<HttpAnswer, Error> {
        let aliases = around.settings.aliases;
        let expect = |allowed: &'static str| {
            if request.method == allowed {
                Ok(())
            } else {
                Err(Error::Method { allowed })
            }
        };
        if request.path().starts_with("/v1/")
            && let Some(key) = &around.settings.api_key
        {
            let given = request.header("x-api-key").unwrap_or("");
            if !key_matches(key, given) {
                return Err(Error::ApiKey);
            }
        }
        match request.path() {
            "/v1/ocr" => {
                expect("POST")?;
                let limit_bytes = around.settings.max_body_bytes;
                if request.body.len() > limit_bytes {
                    return Err(Error::BodyTooLarge { limit_bytes });
                }
                self.answer(Request::parse(request, aliases, &self.packs)?, around)
            }
            "/v1/engines" => {
                expect("GET")?;
                Ok(HttpAnswer::json(200, &engines(aliases)))
            }
            "/health" => {
                expect("GET")?;
                Ok(HttpAnswer::json(200, &Health::OK))
            }
            _ => Err(Error::Path),
        }
    }
}

fn engines(aliases: bool) -> Engines {
    let offered = Engine::offered(aliases).iter();
    Engines {
        engines: offered.map(|engine| engine.name()).collect(),
    }
}

#[derive(Serialize)]
struct Engines {
    engines: Vec<&'static str>,
}
