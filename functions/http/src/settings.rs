//! What an operator sets, as names and texts -> numbers, truths, keys and origins.
//!
//! Where the texts come from is the platform's business: `shell.rs` reads Spin's variables. A wrong text stops every
//! request, so that a service is never open by a slip of the pen.

/// The settings of a function.
pub trait FunctionSettings: Default {
    /// All names, as a platform's manifest declares them.
    const NAMES: &'static [&'static str];

    /// Reads settings from names and their texts; what is not named, or blank, keeps its default.
    ///
    /// # Errors
    /// [`SettingError`]: an unknown name, or a text that means nothing.
    fn from_pairs<'a>(
        pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, SettingError>;

    /// Which web pages' scripts may read answers.
    fn cors_origins(&self) -> &Origins;

    /// Largest body, in bytes.
    fn max_body_bytes(&self) -> usize;
}

/// A setting that means nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("setting {name}: expected {expected}")]
pub struct SettingError {
    /// Which.
    pub name: String,
    /// What it may be. What it is stays untold: it may be secret.
    pub expected: String,
}

/// The origins that cross-origin requests are answered for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origins {
    /// These, each as a browser names it: scheme, host and port, nothing after.
    Listed(Vec<String>),
    /// All.
    Any,
}

impl Default for Origins {
    /// None but the answer's own.
    fn default() -> Origins {
        Origins::Listed(Vec::new())
    }
}

/// A name with its text, which is not blank.
#[derive(Clone, Copy)]
pub struct Setting<'a> {
    name: &'a str,
    text: &'a str,
}

/// Longest key; it travels in a header.
const MAX_KEY_BYTES: usize = 256;

impl<'a> Setting<'a> {
    /// The setting, where `text` is not blank.
    ///
    /// # Errors
    /// [`SettingError`] when `known` has no such name.
    pub fn given(
        name: &'a str,
        text: &'a str,
        known: &[&str],
    ) -> Result<Option<Setting<'a>>, SettingError> {
        let text = text.trim();
        let setting = Setting { name, text };
        if !known.contains(&name) {
            return Err(setting.wrong("no setting of this name"));
        }
        Ok((!text.is_empty()).then_some(setting))
    }

    /// What to say when the text is not `expected`.
    pub fn wrong(&self, expected: impl Into<String>) -> SettingError {
        SettingError {
            name: self.name.to_owned(),
            expected: expected.into(),
        }
    }

    /// A whole number, limits included.
    ///
    /// # Errors
    /// [`SettingError`] for anything else.
    pub fn number(&self, least: u64, most: u64) -> Result<u64, SettingError> {
        let number = self.text.parse().ok();
        let number = number.filter(|number| (least..=most).contains(number));
        number.ok_or_else(|| self.wrong(format!("a whole number from {least} to {most}")))
    }

    /// `true` or `false`, in capitals or not.
    ///
    /// # Errors
    /// [`SettingError`] for anything else.
    pub fn truth(&self) -> Result<bool, SettingError> {
        let text = self.text.to_ascii_lowercase();
        text.parse().map_err(|_| self.wrong("true or false"))
    }

    /// What a header can carry as a key.
    ///
    /// # Errors
    /// [`SettingError`] where it cannot.
    pub fn key(&self) -> Result<String, SettingError> {
        let visible = self.text.bytes().all(|byte| byte.is_ascii_graphic());
        if self.text.len() > MAX_KEY_BYTES || !visible {
            return Err(self.wrong(format!("at most {MAX_KEY_BYTES} visible ASCII characters")));
        }
        Ok(self.text.to_owned())
    }

    /// `*`, or origins parted by commas or spaces.
    ///
    /// # Errors
    /// [`SettingError`] for anything else.
    pub fn origins(&self) -> Result<Origins, SettingError> {
        origins(self.text).ok_or_else(|| self.wrong("*, or origins such as https://example.org"))
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
    use super::*;

    fn setting(text: &str) -> Setting<'_> {
        let setting = Setting::given("x", text, &["x"]);
        setting.expect("a known name").expect("a text")
    }

    #[test]
    fn texts_mean_what_they_say() {
        assert_eq!(setting(" 7 ").number(7, 9), Ok(7));
        assert_eq!(setting("9").number(7, 9), Ok(9));
        assert_eq!(setting("True").truth(), Ok(true));
        assert_eq!(setting("false").truth(), Ok(false));
        assert_eq!(setting(" s3cret! ").key(), Ok("s3cret!".to_owned()));
        assert_eq!(setting("*").origins(), Ok(Origins::Any));
        let listed = ["https://a.org", "http://[::1]:80"].map(str::to_owned);
        assert_eq!(
            setting("https://A.org/, http://[::1]:80").origins(),
            Ok(Origins::Listed(listed.to_vec()))
        );
    }

    #[test]
    fn blanks_keep_the_default_and_strangers_are_refused() {
        assert!(Setting::given("x", " ", &["x"]).expect("known").is_none());
        for text in ["", "1"] {
            let error = Setting::given("y", text, &["x"]).err().expect("unknown");
            assert_eq!(
                error.to_string(),
                "setting y: expected no setting of this name"
            );
        }
    }

    #[test]
    fn what_means_nothing_is_refused() {
        for text in [
            "6",
            "10",
            "-1",
            "7.0",
            "7e0",
            "seven",
            "99999999999999999999",
        ] {
            let error = setting(text).number(7, 9).expect_err(text);
            assert_eq!(
                error.to_string(),
                "setting x: expected a whole number from 7 to 9"
            );
        }
        assert!(setting("yes").truth().is_err());
        assert!(setting("two words").key().is_err());
        assert!(setting(&"k".repeat(257)).key().is_err());
        for text in [
            "a.org",
            "https://a.org/path",
            "https://",
            "https://a.org, *",
        ] {
            assert!(setting(text).origins().is_err(), "{text}");
        }
    }
}
