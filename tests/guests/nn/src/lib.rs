//! A guest that abuses wasi-nn: each path one way. What the host says of it is the answer's body, so that a test can read it.
#![cfg(target_family = "wasm")]

mod abuse;

use std::io::Read;
use std::sync::OnceLock;

use ephemera_http::settings::{FunctionSettings, SettingError};
use ephemera_http::{Failure, Function, HttpAnswer, HttpRequest, NotReady, Surroundings, shell};

/// Set once, before the snapshot.
static FUNCTION: OnceLock<Hostile> = OnceLock::new();

// Generated: the component model's calling convention.
#[allow(unsafe_code, missing_docs, unreachable_pub)]
mod snapshot {
    spin_sdk::wit_bindgen::generate!({
        path: "../../../functions/wit/world.wit",
        world: "snapshot",
        runtime_path: "::spin_sdk::wit_bindgen::rt",
    });

    struct Loader;

    impl Guest for Loader {
        fn wizer_initialize() {
            ephemera_http::shell::load(&super::FUNCTION);
        }
    }

    export!(Loader);
}

// Generated, as above.
#[allow(unsafe_code, missing_docs, unreachable_pub)]
mod incoming {
    use spin_sdk::http::{IncomingRequest, ResponseOutparam};

    #[spin_sdk::http_component]
    async fn handle(request: IncomingRequest, response: ResponseOutparam) {
        super::shell::handle(&super::FUNCTION, request, response).await;
    }
}

struct Hostile;

#[derive(Default)]
struct Settings;

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    NotReady(#[from] NotReady),
    #[error(transparent)]
    Model(#[from] ephemera_engine::Error),
    #[error("nothing is served at this path")]
    Path,
}

impl Failure for Error {
    fn status(&self) -> u16 {
        match self {
            Self::NotReady(_) | Self::Model(_) => 500,
            Self::Path => 404,
        }
    }
}

impl FunctionSettings for Settings {
    const NAMES: &'static [&'static str] = &[];

    fn from_pairs<'a>(
        _: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, SettingError> {
        Ok(Self)
    }

    fn cors_origins(&self) -> &ephemera_http::settings::Origins {
        &ephemera_http::settings::Origins::Any
    }

    fn max_body_bytes(&self) -> usize {
        1 << 20
    }
}

impl Function for Hostile {
    const NAME: &'static str = "hostile";
    type Settings = Settings;
    type Error = Error;

    fn load(bundle: impl Read) -> Result<Self, Error> {
        ephemera_nn::load(bundle)?;
        Ok(Self)
    }

    fn models(&self) -> String {
        String::new()
    }

    fn route(
        &self,
        request: HttpRequest<'_>,
        _: &Surroundings<'_, Settings>,
    ) -> Result<HttpAnswer, Error> {
        let said = abuse::by_name(request.path().trim_start_matches('/')).ok_or(Error::Path)?;
        let mut answer = HttpAnswer::document("text/plain", said);
        // Which device it was is not for a guest to say.
        answer
            .headers
            .push(("x-ephemera-device", "mine".to_owned()));
        Ok(answer)
    }
}
