//! Names and values -> [`Settings`]: what an operator may change without building the function anew.

use ephemera_vision::Limits;

use crate::page::MAX_PAGE_SIDE_PX;
use crate::request::MAX_BODY_BYTES;

/// What requests may take. The defaults keep within the limits of the platforms that run components.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Largest body in bytes; at most [`MAX_BODY_BYTES`], which the platform enforces itself.
    pub max_body_bytes: usize,
    /// Longest side of the picture that is read, in pixels: larger pages are shrunk to it.
    pub max_page_side_px: usize,
    /// Bounds on pictures.
    pub limits: Limits,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            max_body_bytes: MAX_BODY_BYTES,
            max_page_side_px: MAX_PAGE_SIDE_PX,
            limits: Limits::default(),
        }
    }
}

/// Why a setting was not taken.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("setting {name}: expected a whole number from {least} to {most}, got {actual:?}")]
pub struct SettingsError {
    /// Which setting.
    pub name: &'static str,
    /// Smallest value.
    pub least: u64,
    /// Largest value.
    pub most: u64,
    /// What was given, shortened.
    pub actual: String,
}

impl Settings {
    /// The names, each with its least and largest value. Values over these would pass what the platform gives.
    pub const NAMES: [(&'static str, u64, u64); 6] = [
        ("max_body_bytes", 1, MAX_BODY_BYTES as u64),
        ("max_page_side_px", 64, 8192),
        // What the service that this one stands in for calls it.
        ("surya_max_image_size", 64, 8192),
        ("max_image_side_px", 1, 100_000),
        ("max_image_pixels", 1, 1_000_000_000),
        ("max_decode_bytes", 1, 100 << 20),
    ];

    /// The defaults with these values in their place, the last one where a name comes twice. Names are in any case, and
    /// names that are not known are passed over: they may be another
    /// version's.
    ///
    /// # Errors
    /// [`SettingsError`] for the first value that is no number in its range.
    pub fn from_pairs<'a>(
        pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Settings, SettingsError> {
        let mut settings = Settings::default();
        for (name, value) in pairs {
            let known = Settings::NAMES
                .into_iter()
                .find(|known| known.0.eq_ignore_ascii_case(name));
            let Some((name, least, most)) = known else {
                continue;
            };
            let number = value.trim().parse::<u64>().ok();
            let number = number.filter(|number| (least..=most).contains(number));
            let number = number.ok_or_else(|| SettingsError {
                name,
                least,
                most,
                actual: value.chars().take(40).collect(),
            })?;
            match name {
                "max_body_bytes" => settings.max_body_bytes = number as usize,
                "max_page_side_px" | "surya_max_image_size" => {
                    settings.max_page_side_px = number as usize
                }
                "max_image_side_px" => settings.limits.max_side_px = number as u32,
                "max_image_pixels" => settings.limits.max_pixels = number,
                _ => settings.limits.max_decode_bytes = number,
            }
        }
        Ok(settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_sets_one_value() {
        let numbers = ["1000", "999", "1024", "5000", "2000000", "3000000"];
        let pairs = Settings::NAMES.map(|(name, ..)| name);
        let pairs = pairs.into_iter().zip(numbers);
        let expected = Settings {
            max_body_bytes: 1000,
            max_page_side_px: 1024,
            limits: Limits {
                max_side_px: 5000,
                max_pixels: 2_000_000,
                max_decode_bytes: 3_000_000,
            },
        };
        assert_eq!(Settings::from_pairs(pairs), Ok(expected));
        let none = Settings::from_pairs([("unknown", "x")]);
        assert_eq!(none, Ok(Settings::default()));
    }

    #[test]
    fn values_out_of_range_are_refused() {
        for value in ["", "0", "many", "-1", "10485761", "1e3"] {
            let error = Settings::from_pairs([("max_body_bytes", value)]).expect_err(value);
            assert_eq!(
                error.to_string(),
                format!(
                    "setting max_body_bytes: expected a whole number from 1 to 10485760, got {value:?}"
                )
            );
        }
    }
}
