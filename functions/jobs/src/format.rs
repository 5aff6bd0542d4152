//! [`Format`]: the shapes of answers, by name.

use std::str::FromStr;

/// The shape of an answer, where a function offers several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// The text alone.
    Text,
    /// The whole answer.
    Json,
    /// As Surya writes its results.
    Surya,
    /// Tab-separated, with Tesseract's columns.
    Tsv,
    /// hOCR 1.2.
    Hocr,
    /// ALTO 4.
    Alto,
    /// The picture with an invisible text over it.
    Pdf,
}

/// A name that is no format's.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("format: expected one of {known}, got `{0}`", known = known())]
pub struct UnknownFormat(String);

impl Format {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Text,
        Self::Json,
        Self::Surya,
        Self::Tsv,
        Self::Hocr,
        Self::Alto,
        Self::Pdf,
    ];

    /// Its name in a request.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
            Self::Surya => "surya",
            Self::Tsv => "tsv",
            Self::Hocr => "hocr",
            Self::Alto => "alto",
            Self::Pdf => "pdf",
        }
    }

    /// What it is, for people who choose one.
    pub const fn about(self) -> &'static str {
        match self {
            Self::Text => "The text alone",
            Self::Json => "The whole answer",
            Self::Surya => "As Surya writes its results",
            Self::Tsv => "Tab-separated, with Tesseract's columns",
            Self::Hocr => "hOCR 1.2",
            Self::Alto => "ALTO 4",
            Self::Pdf => "The picture with an invisible text over it",
        }
    }

    /// The extension of files that hold it.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Text => "txt",
            Self::Json => "json",
            Self::Surya => "surya.json",
            Self::Tsv => "tsv",
            Self::Hocr => "hocr",
            Self::Alto => "alto.xml",
            Self::Pdf => "pdf",
        }
    }
}

fn known() -> String {
    Format::ALL.map(Format::name).join(", ")
}

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Self, UnknownFormat> {
        let mut all = Self::ALL.into_iter();
        let found = all.find(|format| format.name() == name);
        found.ok_or_else(|| UnknownFormat(name.chars().take(40).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_found_by_their_names() {
        for format in Format::ALL {
            assert_eq!(format.name().parse(), Ok(format));
        }
        let error = "odf".parse::<Format>().expect_err("no such format");
        let expected = "format: expected one of text, json, surya, tsv, hocr, alto, pdf, got `odf`";
        assert_eq!(error.to_string(), expected);
    }
}
