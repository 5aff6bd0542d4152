//! What an operator sets, as names and texts -> [`Settings`].
//!
//! The names are those of the service that this one stands in for, in lower case as Spin has variables. A wrong text stops
//! every request, and so does one that the model was not made for: a service that runs does what its settings say.

use std::time::Duration;

use ephemera_http::MAX_BODY_BYTES;
use ephemera_http::settings::Setting;
pub use ephemera_http::settings::{FunctionSettings, Origins, SettingError};
use ephemera_video::Limits;

use crate::network::Network;

/// What an operator sets.
#[derive(Clone, PartialEq, Eq)]
pub struct Settings {
    /// `NUM_FRAMES`: frames that the model looks at. Default: whatever it was made for, and nothing else will do.
    pub num_frames: Option<usize>,
    /// `FRAME_SIZE`: their width and height in pixels. Default: whatever the model was made for, and nothing else will do.
    pub frame_size: Option<usize>,
    /// `MAX_UPLOAD_SIZE`: largest body in bytes; at most [`MAX_BODY_BYTES`], which the platform enforces itself.
    pub max_upload_bytes: usize,
    /// `TIMEOUT`: what a request may take from when its body is read, looked at before each frame and before the model
    /// runs. Default: no limit beside the host's own.
    pub timeout: Option<Duration>,
    /// `CORS_ORIGINS`: which web pages' scripts may read answers. Default: none but those of the same origin.
    pub cors_origins: Origins,
    /// What `X-API-Key` must be to send a clip. Default: none is asked for.
    pub api_key: Option<String>,
    /// Bounds on clips.
    pub limits: Limits,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            num_frames: None,
            frame_size: None,
            max_upload_bytes: MAX_BODY_BYTES,
            timeout: None,
            cors_origins: Origins::default(),
            api_key: None,
            limits: Limits::default(),
        }
    }
}

impl std::fmt::Debug for Settings {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("num_frames", &self.num_frames)
            .field("frame_size", &self.frame_size)
            .field("max_upload_bytes", &self.max_upload_bytes)
            .field("timeout", &self.timeout)
            .field("cors_origins", &self.cors_origins)
            .field("api_key", &self.api_key.as_ref().map(|_| "set"))
            .field("limits", &self.limits)
            .finish()
    }
}

/// Most frames, and most pixels a side, that a setting may name: far more than any model is made for.
const MAX_EXTENT: u64 = 65_536;
/// Longest time that may be set, in seconds: what a host may grant at most.
const MAX_TIMEOUT_S: u64 = 3600;

impl Settings {
    /// All names, as a platform's manifest declares them.
    pub const NAMES: [&str; 9] = [
        "num_frames",
        "frame_size",
        "max_upload_size",
        "timeout",
        "cors_origins",
        "api_key",
        "chunk_size",
        "disable_gpu",
        "workers",
    ];

    /// Reads settings from names and their texts; what is not named, or blank, keeps its default.
    ///
    /// `cors_origins`: `*`, or origins parted by commas or spaces. `api_key`: visible ASCII. `disable_gpu`: `true` or `false`.
    /// The others: whole numbers. Three are checked and change nothing here: `chunk_size`, the bytes that the old service read
    /// an upload in, because the host hands a body over in pieces of its own; `disable_gpu`, because an instance has no GPU;
    /// `workers`, because the host starts an instance for each request.
    ///
    /// # Errors
    /// [`SettingError`]: an unknown name, or a text that is none of these. It names the setting in capitals, as operators know
    /// it.
    pub fn from_pairs<'a>(
        pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Settings, SettingError> {
        Settings::read(pairs).map_err(|error| SettingError {
            name: error.name.to_ascii_uppercase(),
            ..error
        })
    }

    fn read<'a>(
        pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Settings, SettingError> {
        let mut settings = Settings::default();
        for (name, text) in pairs {
            let Some(setting) = Setting::given(name, text, &Settings::NAMES)? else {
                continue;
            };
            let number = |least, most| setting.number(least, most);
            match name {
                "num_frames" => settings.num_frames = Some(number(1, MAX_EXTENT)? as usize),
                "frame_size" => settings.frame_size = Some(number(1, MAX_EXTENT)? as usize),
                "max_upload_size" => {
                    settings.max_upload_bytes = number(1, MAX_BODY_BYTES as u64)? as usize;
                }
                "timeout" => {
                    let seconds = number(1, MAX_TIMEOUT_S)?;
                    settings.timeout = Some(Duration::from_secs(seconds));
                }
                "cors_origins" => settings.cors_origins = setting.origins()?,
                "api_key" => settings.api_key = Some(setting.key()?),
                "chunk_size" => {
                    number(1, u64::from(u32::MAX))?;
                }
                "workers" => {
                    number(1, MAX_EXTENT)?;
                }
                "disable_gpu" => {
                    setting.truth()?;
                }
                _ => return Err(setting.wrong("no setting of this name")),
            }
        }
        Ok(settings)
    }

    /// Whether the model was made for what is set.
    ///
    /// # Errors
    /// [`SettingError`] where it was not.
    pub fn check(&self, network: &Network) -> Result<(), SettingError> {
        let made_for = network.clip_shape();
        let extents = [
            ("NUM_FRAMES", self.num_frames, made_for.frames),
            ("FRAME_SIZE", self.frame_size, made_for.side_px),
        ];
        for (name, set, expected) in extents {
            if set.is_some_and(|set| set != expected) {
                return Err(SettingError {
                    name: name.to_owned(),
                    expected: format!(
                        "{expected}, which {} was made for",
                        network.manifest.title()
                    ),
                });
            }
        }
        Ok(())
    }
}

impl FunctionSettings for Settings {
    const NAMES: &'static [&'static str] = &Settings::NAMES;

    fn from_pairs<'a>(
        pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Settings, SettingError> {
        Settings::from_pairs(pairs)
    }

    fn cors_origins(&self) -> &Origins {
        &self.cors_origins
    }

    fn max_body_bytes(&self) -> usize {
        self.max_upload_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&str, &str)]) -> Settings {
        Settings::from_pairs(pairs.iter().copied()).expect("valid")
    }

    #[test]
    fn texts_become_settings() {
        let default = Settings::default();
        assert_eq!(of(&[]), default);
        assert_eq!(of(&Settings::NAMES.map(|name| (name, " "))), default);
        // What means nothing inside an instance changes nothing.
        assert_eq!(
            of(&[
                ("chunk_size", "8192"),
                ("disable_gpu", "True"),
                ("workers", "4")
            ]),
            default
        );
        let set = of(&[
            ("num_frames", "16"),
            ("frame_size", "224"),
            ("max_upload_size", "1000"),
            ("timeout", "25"),
            ("cors_origins", "*"),
            ("api_key", "s3cret"),
        ]);
        let expected = Settings {
            num_frames: Some(16),
            frame_size: Some(224),
            max_upload_bytes: 1000,
            timeout: Some(Duration::from_secs(25)),
            cors_origins: Origins::Any,
            api_key: Some("s3cret".to_owned()),
            limits: Limits::default(),
        };
        assert_eq!(set, expected);
        assert!(!format!("{set:?}").contains("s3cret"));
    }

    #[test]
    fn what_means_nothing_is_refused() {
        let cases = [
            ("num_frames", "0", "a whole number from 1 to 65536"),
            ("frame_size", "224x224", "a whole number from 1 to 65536"),
            (
                "max_upload_size",
                "10485761",
                "a whole number from 1 to 10485760",
            ),
            ("timeout", "0", "a whole number from 1 to 3600"),
            ("timeout", "3601", "a whole number from 1 to 3600"),
            ("chunk_size", "0", "a whole number from 1 to 4294967295"),
            ("disable_gpu", "maybe", "true or false"),
            ("workers", "0", "a whole number from 1 to 65536"),
            (
                "cors_origins",
                "a.org",
                "origins such as https://example.org",
            ),
            ("api_key", "two words", "visible ASCII"),
            ("NUM_FRAMES", "16", "no setting of this name"),
            ("seed", "1", "no setting of this name"),
        ];
        for (name, text, expected) in cases {
            let error = Settings::from_pairs([(name, text)]).expect_err(name);
            let message = error.to_string();
            let named = format!("setting {}: expected ", name.to_ascii_uppercase());
            assert!(
                message.starts_with(&named) && message.contains(expected),
                "{message}"
            );
        }
    }
}
