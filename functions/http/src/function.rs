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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Origins, Setting};

    /// Answers with what it was asked, but for one path.
    struct Echo;

    #[derive(Default)]
    struct EchoSettings {
        origins: Origins,
    }

    #[derive(Debug, thiserror::Error)]
    enum EchoError {
        #[error("no such path")]
        Path,
        #[error("the function is not set up")]
        NotReady(#[from] NotReady),
    }

    impl Failure for EchoError {
        fn status(&self) -> u16 {
            match self {
                EchoError::Path => 404,
                EchoError::NotReady(_) => 500,
            }
        }

        fn headers(&self) -> Vec<(&'static str, String)> {
            vec![("retry-after", "1".to_owned())]
        }
    }

    impl FunctionSettings for EchoSettings {
        const NAMES: &'static [&'static str] = &["cors_origins"];

        fn from_pairs<'a>(
            pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
        ) -> Result<EchoSettings, SettingError> {
            let mut settings = EchoSettings::default();
            for (name, text) in pairs {
                if let Some(setting) = Setting::given(name, text, Self::NAMES)? {
                    settings.origins = setting.origins()?;
                }
            }
            Ok(settings)
        }

        fn cors_origins(&self) -> &Origins {
            &self.origins
        }

        fn max_body_bytes(&self) -> usize {
            10
        }
    }

    impl Function for Echo {
        const NAME: &'static str = "echo";
        type Settings = EchoSettings;
        type Error = EchoError;

        fn load(_: impl Read) -> Result<Echo, EchoError> {
            Ok(Echo)
        }

        fn models(&self) -> String {
            "m@1+0".to_owned()
        }

        fn route(
            &self,
            request: HttpRequest<'_>,
            _: &Surroundings<'_, EchoSettings>,
        ) -> Result<HttpAnswer, EchoError> {
            match request.path() {
                "/echo" => Ok(HttpAnswer::document("text/plain", request.body)),
                _ => Err(EchoError::Path),
            }
        }
    }

    fn answer(method: &str, target: &str, headers: &[(&str, &str)], origins: &str) -> HttpAnswer {
        let headers: Vec<(String, String)> = headers
            .iter()
            .map(|&(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let request = HttpRequest {
            method,
            target,
            headers: &headers,
            body: b"hello".to_vec(),
        };
        let settings = EchoSettings::from_pairs([("cors_origins", origins)]);
        let around = Surroundings {
            settings: settings.expect("valid"),
            clock: None,
            request_id: Some("ours".to_owned()),
        };
        handle(&Echo, request, &around)
    }

    /// Names and values, as a list that can be compared.
    fn headers(pairs: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
        let owned = pairs.iter().map(|&(name, value)| (name, value.to_owned()));
        owned.collect()
    }

    #[test]
    fn every_answer_is_framed_alike() {
        let found = answer("POST", "/echo?a=1", &[("X-Request-Id", "theirs")], "");
        assert_eq!((found.status, found.body.as_slice()), (200, &b"hello"[..]));
        let expected = [
            ("content-type", "text/plain"),
            ("x-ephemera-models", "m@1+0"),
            ("x-request-id", "theirs"),
        ];
        assert_eq!(found.headers, headers(&expected));

        let missing = answer("POST", "/", &[("x-request-id", "two words")], "");
        let body = br#"{"detail":"no such path"}"#;
        assert_eq!((missing.status, missing.body.as_slice()), (404, &body[..]));
        let expected = [
            ("content-type", "application/json"),
            ("retry-after", "1"),
            ("x-ephemera-models", "m@1+0"),
            ("x-request-id", "ours"),
        ];
        assert_eq!((missing.headers, missing.log), (headers(&expected), None));
    }

    #[test]
    fn a_preflight_reaches_no_route() {
        let asked = [
            ("Origin", "https://a.org"),
            ("Access-Control-Request-Method", "POST"),
        ];
        let allowed = answer("OPTIONS", "/", &asked, "https://a.org");
        assert_eq!((allowed.status, allowed.body.len()), (204, 0));
        let refused = answer("OPTIONS", "/", &asked, "https://b.org");
        assert_eq!(refused.status, 404);
        assert!(refused.headers.contains(&("vary", "Origin".to_owned())));
    }

    #[test]
    fn what_is_not_set_up_is_explained_in_the_log_only() {
        let error = EchoSettings::from_pairs([("cors_origins", "a.org")]).err();
        let error = EchoError::from(NotReady::from(error.expect("no origin")));
        let request = HttpRequest {
            method: "GET",
            target: "/echo",
            headers: &[],
            body: Vec::new(),
        };
        let answer = Echo::refuse(&request, &error);
        let body = br#"{"detail":"the function is not set up"}"#;
        assert_eq!((answer.status, answer.body.as_slice()), (500, &body[..]));
        let log = "the function is not set up: setting cors_origins: expected *, or origins such as https://example.org";
        assert_eq!(answer.log.as_deref(), Some(log));
    }

    #[test]
    fn keys_match_whole_or_not() {
        for (expected, actual, same) in [
            ("s3cret", "s3cret", true),
            ("s3cret", "s3creT", false),
            ("s3cret", "s3cret1", false),
            ("s3cret", "", false),
        ] {
            assert_eq!(key_matches(expected, actual), same, "{actual}");
        }
    }
}
