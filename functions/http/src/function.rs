//! What a function is to the shell and to tests, and what frames each of its answers.

use std::io::Read;

use subtle::ConstantTimeEq;

use crate::cors;
use crate::message::{HttpAnswer, HttpRequest, Surroundings};
use crate::settings::{FunctionSettings, SettingError};

/// A function: models that are loaded once, and routes.
pub trait Function: Sized + Send + Sync + 'static {
    /// What lines in the log begin with.
    const NAME: &'static str;
    /// What its operator sets.
    type Settings: FunctionSettings;
    /// What can go wrong, and whose fault it is.
    type Error: Failure + From<NotReady>;

    /// Loads the models from a bundle's stream, once, while the artefact is built.
    ///
    /// # Errors
    /// Whatever makes the stream no bundle, or not one of this function's models.
    fn load(bundle: impl Read) -> Result<Self, Self::Error>;

    /// The models, each as `name@version+hash`, the hash in 12 hex digits: what the header `x-ephemera-models` says.
    fn models(&self) -> String;

    /// Answers a request for one of its paths.
    ///
    /// # Errors
    /// Becomes the answer that [`HttpAnswer::error`] makes of it.
    fn route(
        &self,
        request: HttpRequest<'_>,
        around: &Surroundings<'_, Self::Settings>,
    ) -> Result<HttpAnswer, Self::Error>;

    /// What every request is answered when the function cannot work. `request` is without its body.
    fn refuse(_request: &HttpRequest<'_>, error: &Self::Error) -> HttpAnswer {
        HttpAnswer::error(error)
    }
}

/// What went wrong, as answers and logs need it.
pub trait Failure: std::error::Error {
    /// The HTTP status that tells whose fault it is.
    fn status(&self) -> u16;

    /// What this status asks for beside the sentence. Names in lower case.
    fn headers(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// The chain of causes, for the operator's log: only for what is our fault.
    fn causes(&self) -> Option<String> {
        if self.status() < 500 {
            return None;
        }
        let mut text = self.to_string();
        let mut source = self.source();
        while let Some(error) = source {
            text.push_str(": ");
            text.push_str(&error.to_string());
            source = error.source();
        }
        Some(text)
    }
}

/// Why no request can be answered.
#[derive(Debug, thiserror::Error)]
pub enum NotReady {
    /// The instance was started without its models.
    #[error("models are not loaded")]
    NotLoaded,
    /// A setting means nothing. Transparent: it is the cause itself.
    #[error(transparent)]
    Settings(#[from] SettingError),
}

/// Answers a request. Never fails: what goes wrong becomes a status and a sentence.
pub fn handle<F: Function>(
    function: &F,
    request: HttpRequest<'_>,
    around: &Surroundings<'_, F::Settings>,
) -> HttpAnswer {
    let origins = around.settings.cors_origins();
    let cors = cors::headers(&request, origins);
    let id = request
        .header("x-request-id")
        .filter(|id| can_be_echoed(id))
        .map(str::to_owned)
        .or_else(|| around.request_id.clone());
    let preflight = cors::preflight(&request, origins);
    let mut answer = preflight.unwrap_or_else(|| {
        function
            .route(request, around)
            .unwrap_or_else(|error| HttpAnswer::error(&error))
    });
    answer.headers.extend(cors);
    answer
        .headers
        .push(("x-ephemera-models", function.models()));
    answer.headers.extend(id.map(|id| ("x-request-id", id)));
    answer
}

/// Whether a request's key is the one that is set. Takes as long for a wrong key as for the right one, whichever byte is
/// wrong. Its length is no secret.
pub fn key_matches(expected: &str, actual: &str) -> bool {
    bool::from(expected.as_bytes().ct_eq(actual.as_bytes()))
}

/// Longest request id that is echoed; a UUID has 36.
const MAX_REQUEST_ID_BYTES: usize = 128;

/// Whether a request's id can stand in a header and in a line of a log.
fn can_be_echoed(id: &str) -> bool {
    (1..=MAX_REQUEST_ID_BYTES).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())
}
