//! The routes, and what the shell and tests know of the function.
//!
//! Native tests, our host and other hosts all go through [`Infer::handle_in`], so that their answers are the same.

use std::io::Read;

use ephemera_http::{Function, Health, HttpAnswer, HttpRequest, Stopwatch, key_matches};
use serde::Serialize;

use crate::catalogue::{Metadata, Server};
use crate::settings::Settings;
use crate::{Catalogue, Error, Hosted, Infer, Request, Surroundings, response};

/// Activations of an integer program that a run may hold at once, in bytes: what the smallest platform's 128 MiB leave beside the
/// models, the body and the answer.
const MAX_ACTIVATION_BYTES: usize = 64 << 20;

impl Infer {
    /// Answers a request with all settings at their defaults. Never fails: what goes wrong becomes a status and a sentence.
    pub fn handle(&self, request: HttpRequest<'_>) -> HttpAnswer {
        self.handle_in(request, &Surroundings::default())
    }

    /// The same in given surroundings.
    pub fn handle_in(&self, request: HttpRequest<'_>, around: &Surroundings<'_>) -> HttpAnswer {
        ephemera_http::handle(self, request, around)
    }

    fn answer(
        &self,
        request: HttpRequest<'_>,
        around: &Surroundings<'_>,
    ) -> Result<HttpAnswer, Error> {
        let path = request.path().to_owned();
        let route = Route::of(&path).ok_or(Error::Path)?;
        let allowed = match route {
            Route::Model(_, _, Of::Infer) => "POST",
            _ => "GET",
        };
        if request.method != allowed {
            return Err(Error::Method { allowed });
        }
        match route {
            Route::Server => Ok(HttpAnswer::json(200, &Server::OURS)),
            Route::Health => Ok(HttpAnswer::json(200, &Health::OK)),
            Route::Live => Ok(HttpAnswer::json(200, &Live { live: true })),
            Route::Ready => Ok(HttpAnswer::json(200, &Ready::server(true))),
            Route::Model(name, version, of) => {
                let model = self.catalogue.find(name, version)?;
                match of {
                    Of::Metadata => Ok(HttpAnswer::json(200, &Metadata::from(model))),
                    Of::Ready => Ok(HttpAnswer::json(200, &Ready::model(&model.name))),
                    Of::Infer => infer(model, request, around),
                }
            }
        }
    }
}

/// Runs `model` on what the request holds.
fn infer(
    model: &Hosted,
    request: HttpRequest<'_>,
    around: &Surroundings<'_>,
) -> Result<HttpAnswer, Error> {
    let mut watch = Stopwatch::start(around.clock);
    let settings = &around.settings;
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
    let Request {
        id,
        tensors,
        outputs,
    } = Request::read(request, &model.inputs, &model.outputs)?;
    watch.lap("read");
    let actual = model.graph.raw_arena_bytes(&tensors)?;
    if actual > MAX_ACTIVATION_BYTES {
        let limit = MAX_ACTIVATION_BYTES;
        return Err(Error::ActivationsTooLarge { actual, limit });
    }
    let results = model.graph.run_raw(tensors)?;
    watch.lap("model");
    let mut answer = response::answer(model, id, results, &outputs)?;
    watch.lap("write");
    answer.headers.extend(watch.header());
    Ok(answer)
}

impl Function for Infer {
    const NAME: &'static str = "infer";
    type Settings = Settings;
    type Error = Error;

    fn load(stream: impl Read) -> Result<Infer, Error> {
        let catalogue = Catalogue::load(stream)?;
        Ok(Infer { catalogue })
    }

    fn models(&self) -> String {
        self.catalogue.identity()
    }

    /// Never an error: the protocol has a form of its own for them.
    fn route(
        &self,
        request: HttpRequest<'_>,
        around: &Surroundings<'_>,
    ) -> Result<HttpAnswer, Error> {
        let answer = self.answer(request, around);
        Ok(answer.unwrap_or_else(|error| error.answer()))
    }

    /// Who asks whether it is ready is told that it is not; it is alive all the same.
    fn refuse(request: &HttpRequest<'_>, error: &Error) -> HttpAnswer {
        let mut answer = match Route::of(request.path()) {
            Some(Route::Live) if request.method == "GET" => {
                HttpAnswer::json(200, &Live { live: true })
            }
            Some(Route::Ready) if request.method == "GET" => {
                HttpAnswer::json(503, &Ready::server(false))
            }
            _ => return error.answer(),
        };
        answer.log = error.answer().log;
        answer
    }
}

/// What a path asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Route<'p> {
    /// What every function of ours answers to; a manifest need not route it.
    Health,
    Server,
    Live,
    Ready,
    /// Name, version.
    Model(&'p str, Option<&'p str>, Of),
}

/// What is asked of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    Metadata,
    Ready,
    Infer,
}

impl<'p> Route<'p> {
    fn of(path: &'p str) -> Option<Route<'p>> {
        match path {
            "/health" => return Some(Route::Health),
            "/ready" => return Some(Route::Ready),
            _ => {}
        }
        let rest = path.strip_prefix("/v2")?;
        // Some clients ask for `/v2/`.
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let segments: Vec<&str> = rest.split('/').skip(1).collect();
        let of = |rest: &[&str]| match rest {
            [] => Some(Of::Metadata),
            ["ready"] => Some(Of::Ready),
            ["infer"] => Some(Of::Infer),
            _ => None,
        };
        match segments.as_slice() {
            [] if rest.is_empty() => Some(Route::Server),
            ["health", "live"] => Some(Route::Live),
            ["health", "ready"] => Some(Route::Ready),
            ["models", name, "versions", version, rest @ ..] => {
                Some(Route::Model(name, Some(version), of(rest)?))
            }
            ["models", name, rest @ ..] => Some(Route::Model(name, None, of(rest)?)),
            _ => None,
        }
    }
}

#[derive(Serialize)]
struct Live {
    live: bool,
}

#[derive(Serialize)]
struct Ready<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    ready: bool,
}

impl<'a> Ready<'a> {
    fn server(ready: bool) -> Ready<'a> {
        Ready { name: None, ready }
    }

    /// Who is in the catalogue is in the image, whose build has compared the hash.
    fn model(name: &'a str) -> Ready<'a> {
        let name = Some(name);
        Ready { name, ready: true }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_routes_or_none() {
        let model = |version, of| Some(Route::Model("m", version, of));
        for (path, route) in [
            ("/v2", Some(Route::Server)),
            ("/v2/", Some(Route::Server)),
            ("/v2/health/live", Some(Route::Live)),
            ("/v2/health/ready", Some(Route::Ready)),
            ("/v2/models/m", model(None, Of::Metadata)),
            ("/v2/models/m/ready", model(None, Of::Ready)),
            ("/v2/models/m/infer", model(None, Of::Infer)),
            ("/v2/models/m/versions/1", model(Some("1"), Of::Metadata)),
            ("/v2/models/m/versions/1/ready", model(Some("1"), Of::Ready)),
            ("/v2/models/m/versions/1/infer", model(Some("1"), Of::Infer)),
            ("/v2/models/m/versions", None),
            ("/v2/models", None),
            ("/v2/models/m/config", None),
            ("/v2//", None),
            ("/v2x", None),
            ("/health", Some(Route::Health)),
            ("/ready", Some(Route::Ready)),
            ("/v1", None),
            ("", None),
        ] {
            assert_eq!(Route::of(path), route, "{path}");
        }
    }
}
