//! What an operator sets, as names and texts -> [`Settings`].
//!
//! Where the texts come from is the platform's business. A wrong text stops every request, so that a service is never open
//! by a slip of the pen.

use ephemera_http::MAX_BODY_BYTES;
use ephemera_http::settings::Setting;
pub use ephemera_http::settings::{FunctionSettings, Origins, SettingError};
use ephemera_vision::Limits;

use crate::page::{MAX_PAGE_SIDE_PX, MAX_STRIP_RATIO};

/// What an operator sets.
#[derive(Clone, PartialEq, Eq)]
pub struct Settings {
    /// Whether the function answers to the names of the engines that it stands in for. Default: yes.
    pub aliases: bool,
    /// What `X-API-Key` must be on every path under `/v1/`. Default: none is asked for.
    pub api_key: Option<String>,
    /// Which web pages' scripts may read answers. Default: none but those of the same origin.
    pub cors_origins: Origins,
    /// Largest body in bytes; at most [`MAX_BODY_BYTES`], which the platform enforces itself.
    pub max_body_bytes: usize,
    /// Longest side of the picture that is read, in pixels: larger pages are shrunk to it.
    pub max_page_side_px: usize,
    /// Longest side of a strip, more than twice as long as wide. Who sets the side of pages sets this to the same.
    pub max_strip_side_px: usize,
    /// Bounds on pictures.
    pub limits: Limits,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            aliases: true,
            api_key: None,
            cors_origins: Origins::default(),
            max_body_bytes: MAX_BODY_BYTES,
            max_page_side_px: MAX_PAGE_SIDE_PX,
            max_strip_side_px: MAX_PAGE_SIDE_PX * MAX_STRIP_RATIO,
            limits: Limits::default(),
        }
    }
}

impl std::fmt::Debug for Settings {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("aliases", &self.aliases)
            .field("api_key", &self.api_key.as_ref().map(|_| "set"))
            .field("cors_origins", &self.cors_origins)
            .field("max_body_bytes", &self.max_body_bytes)
            .field("max_page_side_px", &self.max_page_side_px)
            .field("max_strip_side_px", &self.max_strip_side_px)
            .field("limits", &self.limits)
            .finish()
    }
}

impl Settings {
    /// All names, as a platform's manifest declares them.
    pub const NAMES: [&str; 9] = [
        "aliases",
        "api_key",
        "cors_origins",
        "max_body_bytes",
        "max_page_side_px",
        "max_image_side_px",
        "max_image_pixels",
        "max_decode_bytes",
        // What the service that this one stands in for calls `max_page_side_px`.
        "surya_max_image_size",
    ];

    /// Reads settings from names and their texts; what is not named, or empty, keeps its default.
    ///
    /// `aliases`: `true` or `false`. `api_key`: visible ASCII. `cors_origins`: `*`, or origins parted by commas or spaces.
    /// The others: whole numbers; values over their limits would pass what the platform gives.
    ///
    /// # Errors
    /// [`SettingError`]: an unknown name, or a text that is none of these.
    pub fn from_pairs<'a>(
        pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Settings, SettingError> {
        let mut settings = Settings::default();
        for (name, text) in pairs {
            let Some(setting) = Setting::given(name, text, &Settings::NAMES)? else {
                continue;
            };
            let number = |least, most| setting.number(least, most);
            match name {
                "aliases" => settings.aliases = setting.truth()?,
                "api_key" => settings.api_key = Some(setting.key()?),
                "cors_origins" => settings.cors_origins = setting.origins()?,
                "max_body_bytes" => {
                    settings.max_body_bytes = number(1, MAX_BODY_BYTES as u64)? as usize;
                }
                "max_page_side_px" | "surya_max_image_size" => {
                    settings.max_page_side_px = number(64, 8192)? as usize;
                    settings.max_strip_side_px = settings.max_page_side_px;
                }
                "max_image_side_px" => settings.limits.max_side_px = number(1, 100_000)? as u32,
                "max_image_pixels" => settings.limits.max_pixels = number(1, 1_000_000_000)?,
                "max_decode_bytes" => settings.limits.max_decode_bytes = number(1, 100 << 20)?,
                _ => return Err(setting.wrong("no setting of this name")),
            }
        }
        Ok(settings)
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
        self.max_body_bytes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn texts_become_settings() {
        let listed = |origins: &[&str]| {
            Origins::Listed(origins.iter().map(|&origin| origin.to_owned()).collect())
        };
        let of = |pairs: &[(&'static str, &'static str)]| {
            Settings::from_pairs(pairs.iter().copied()).expect("valid")
        };
        let default = Settings::default();
        assert_eq!(of(&[]), default);
        assert_eq!(of(&Settings::NAMES.map(|name| (name, " "))), default);
        assert!(default.aliases && default.api_key.is_none());
        assert_eq!(default.cors_origins, listed(&[]));

        assert!(!of(&[("aliases", "false")]).aliases);
        assert_eq!(
            of(&[("api_key", " s3cret! ")]).api_key.as_deref(),
            Some("s3cret!")
        );
        let cases = [
            ("*", Origins::Any),
            ("https://a.org", listed(&["https://a.org"])),
            (
                "https://A.org/, http://localhost:3000 http://[::1]:80",
                listed(&["https://a.org", "http://localhost:3000", "http://[::1]:80"]),
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(
                of(&[("cors_origins", text)]).cors_origins,
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn numbers_become_limits() {
        let names = Settings::NAMES[3..].iter().copied();
        let numbers = ["1000", "1024", "5000", "2000000", "3000000"];
        let settings = Settings::from_pairs(names.zip(numbers)).expect("valid");
        assert_eq!(
            (settings.max_body_bytes, settings.max_page_side_px),
            (1000, 1024)
        );
        let expected = Limits {
            max_side_px: 5000,
            max_pixels: 2_000_000,
            max_decode_bytes: 3_000_000,
        };
        assert_eq!(settings.limits, expected);
        let settings = Settings::from_pairs([("surya_max_image_size", "1500")]).expect("valid");
        assert_eq!(settings.max_page_side_px, 1500);
    }

    #[test]
    fn what_means_nothing_is_refused_and_not_told() {
        let long = "k".repeat(257);
        let cases = [
            ("aliases", "yes", "true or false"),
            ("api_key", "two words", "visible ASCII"),
            ("api_key", "ключ", "visible ASCII"),
            ("api_key", long.as_str(), "at most 256"),
            ("cors_origins", "a.org", "https://example.org"),
            ("cors_origins", "https://a.org/path", "https://example.org"),
            ("cors_origins", "https://", "https://example.org"),
            ("cors_origins", "https://a.org, *", "https://example.org"),
            ("max_body_bytes", "0", "a whole number from 1 to 10485760"),
            (
                "max_body_bytes",
                "10485761",
                "a whole number from 1 to 10485760",
            ),
            ("max_page_side_px", "many", "a whole number from 64 to 8192"),
            ("max_image_pixels", "-1", "a whole number"),
            ("max_decode_bytes", "1e3", "a whole number"),
            ("api_keys", "x", "no setting of this name"),
            ("api_keys", "", "no setting of this name"),
        ];
        for (name, text, expected) in cases {
            let error = Settings::from_pairs([(name, text)]).expect_err(text);
            let message = error.to_string();
            assert!(
                message.contains(expected) && message.contains(name),
                "{message}"
            );
        }
        let secret = Settings::from_pairs([("api_key", "s3cret")]).expect("valid");
        assert!(!format!("{secret:?}").contains("s3cret"));
    }

    proptest! {
        #[test]
        fn no_text_makes_trouble(name in "(aliases|api_key|cors_origins|.{0,5})", text in ".{0,60}") {
            if let Ok(settings) = Settings::from_pairs([(name.as_str(), text.as_str())])
                && let Origins::Listed(origins) = settings.cors_origins
            {
                prop_assert!(origins.iter().all(|origin| origin.bytes().all(|b| b.is_ascii_graphic())));
            }
        }
    }
}
