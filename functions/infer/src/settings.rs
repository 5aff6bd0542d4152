//! What an operator sets, as names and texts -> [`Settings`].

use ephemera_http::MAX_BODY_BYTES;
use ephemera_http::settings::Setting;
pub use ephemera_http::settings::{FunctionSettings, Origins, SettingError};

/// What an operator sets.
#[derive(Clone, PartialEq, Eq)]
pub struct Settings {
    /// `MAX_UPLOAD_SIZE`: largest body in bytes; at most [`MAX_BODY_BYTES`], which the platform enforces itself.
    pub max_upload_bytes: usize,
    /// `CORS_ORIGINS`: which web pages' scripts may read answers. Default: none but those of the same origin.
    pub cors_origins: Origins,
    /// What `X-API-Key` must be to run a model. Default: none is asked for.
    pub api_key: Option<String>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            max_upload_bytes: MAX_BODY_BYTES,
            cors_origins: Origins::default(),
            api_key: None,
        }
    }
}

impl FunctionSettings for Settings {
    const NAMES: &'static [&'static str] = &["max_upload_size", "cors_origins", "api_key"];

    fn from_pairs<'a>(
        pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Settings, SettingError> {
        let mut settings = Settings::default();
        for (name, text) in pairs {
            let Some(setting) = Setting::given(name, text, Self::NAMES)? else {
                continue;
            };
            match name {
                "max_upload_size" => {
                    settings.max_upload_bytes = setting.number(1, MAX_BODY_BYTES as u64)? as usize;
                }
                "cors_origins" => settings.cors_origins = setting.origins()?,
                "api_key" => settings.api_key = Some(setting.key()?),
                _ => return Err(setting.wrong("no setting of this name")),
            }
        }
        Ok(settings)
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

    #[test]
    fn texts_become_settings() {
        let pairs = [
            ("max_upload_size", "1000"),
            ("api_key", "k"),
            ("cors_origins", "*"),
        ];
        let settings = Settings::from_pairs(pairs).expect("valid");
        assert_eq!(settings.max_body_bytes(), 1000);
        assert_eq!(settings.api_key.as_deref(), Some("k"));
        assert_eq!(settings.cors_origins(), &Origins::Any);
        assert!(Settings::from_pairs([("max_upload_size", "0")]).is_err());
        assert!(Settings::from_pairs([("workers", "2")]).is_err());
        assert!(Settings::from_pairs([]).is_ok_and(|settings| settings == Settings::default()));
    }
}
