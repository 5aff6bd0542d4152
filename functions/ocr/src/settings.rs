//! What an operator sets, as names and texts -> [`Settings`].
//!
//! Where the texts come from is the platform's business: `component.rs` reads Spin's variables. A wrong text stops every
//! request, so that a service is never open by a slip of the pen.

/// What an operator sets.
#[derive(Clone, PartialEq, Eq)]
pub struct Settings {
    /// Whether the function answers to the names of the engines that it stands in for. Default: yes.
    pub aliases: bool,
    /// What `X-API-Key` must be on every path under `/v1/`. Default: none is asked for.
    pub api_key: Option<String>,
    /// Which web pages' scripts may read answers. Default: none but those of the same origin.
    pub cors_origins: Origins,
}

/// The origins that cross-origin requests are answered for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origins {
    /// These, each as a browser names it: scheme, host and port, nothing after.
    Listed(Vec<String>),
    /// All.
    Any,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            aliases: true,
            api_key: None,
            cors_origins: Origins::Listed(Vec::new()),
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
            .finish()
    }
}

/// A setting that means nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("setting {name}: expected {expected}")]
pub struct SettingError {
    /// Which.
    pub name: String,
    /// What it may be. What it is stays untold: it may be secret.
    pub expected: &'static str,
}

/// Longest key; it travels in a header.
const MAX_KEY_BYTES: usize = 256;

impl Settings {
    /// All names, as a platform's manifest declares them.
    pub const NAMES: [&str; 3] = ["aliases", "api_key", "cors_origins"];

    /// Reads settings from names and their texts; what is not named, or empty, keeps its default.
    ///
    /// `aliases`: `true` or `false`. `api_key`: visible ASCII. `cors_origins`: `*`, or origins parted by commas or spaces.
    ///
    /// # Errors
    /// [`SettingError`]: an unknown name, or a text that is none of these.
    pub fn from_pairs<'a>(
        pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Settings, SettingError> {
        let mut settings = Settings::default();
        for (name, text) in pairs {
            let wrong = |expected| SettingError {
                name: name.to_owned(),
                expected,
            };
            let text = text.trim();
            if text.is_empty() && Settings::NAMES.contains(&name) {
                continue;
            }
            match name {
                "aliases" => {
                    settings.aliases = text.parse().map_err(|_| wrong("true or false"))?;
                }
                "api_key" => {
                    let usable = text.len() <= MAX_KEY_BYTES
                        && text.bytes().all(|byte| byte.is_ascii_graphic());
                    if !usable {
                        return Err(wrong("at most 256 visible ASCII characters"));
                    }
                    settings.api_key = Some(text.to_owned());
                }
                "cors_origins" => {
                    let origins = origins(text);
                    settings.cors_origins = origins
                        .ok_or_else(|| wrong("*, or origins such as https://example.org"))?;
                }
                _ => return Err(wrong("no setting of this name")),
            }
        }
        Ok(settings)
    }
}

fn origins(text: &str) -> Option<Origins> {
    if text == "*" {
        return Some(Origins::Any);
    }
    let listed = text
        .split([',', ' '])
        .filter(|origin| !origin.is_empty())
        .map(|origin| {
            let origin = origin.strip_suffix('/').unwrap_or(origin);
            let host = origin
                .strip_prefix("https://")
                .or_else(|| origin.strip_prefix("http://"))?;
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-.:[]".contains(&byte);
            (!host.is_empty() && host.bytes().all(plain)).then(|| origin.to_ascii_lowercase())
        });
    Some(Origins::Listed(listed.collect::<Option<_>>()?))
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
