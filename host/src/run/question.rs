//! What the command line asks of each file -> a path with its query.

use std::str::FromStr;

use anyhow::{Result, ensure};
use clap::ValueEnum;
use form_urlencoded::Serializer;

use crate::config::FileRequests;

/// The parameter that says which shape an answer has, where a function offers several.
const FORMAT: &str = "format";

/// The shape of the answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
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

impl Format {
    /// Its name in a request.
    fn name(self) -> String {
        let value = self.to_possible_value();
        value.expect("no format is hidden").get_name().to_owned()
    }

    /// The extension of files that hold it.
    fn extension(self) -> &'static str {
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

impl FromStr for Format {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> Result<Self> {
        let known = || {
            let all = Self::value_variants().iter().map(|format| format.name());
            all.collect::<Vec<_>>().join(", ")
        };
        <Self as ValueEnum>::from_str(name, false)
            .map_err(|_| anyhow::anyhow!("format: expected one of {}, got `{name}`", known()))
    }
}

/// What to ask of each file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Path and query of the requests.
    pub(super) target: String,
    /// The shape of the answers.
    format: Format,
}

impl Question {
    /// What `run` declares, with `format` and `parameters` in place of its own. An answer without a format of its own is JSON.
    ///
    /// # Errors
    ///
    /// A format asked of a function that has but one, or a declared format that is none of ours.
    pub fn new(
        run: &FileRequests,
        format: Option<Format>,
        parameters: &[(String, String)],
    ) -> Result<Self> {
        let (path, query) = run.path.split_once('?').unwrap_or((&run.path, ""));
        let declared: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes())
            .into_owned()
            .collect();
        let of_function = declared.iter().find(|(name, _)| name == FORMAT);
        ensure!(
            format.is_none() || of_function.is_some(),
            "this function answers in one format, expected no --format"
        );
        let of_function = of_function.map(|(_, name)| <Format as FromStr>::from_str(name));
        let of_function = of_function.transpose()?;
        let mut given = parameters.to_vec();
        given.extend(format.map(|format| (FORMAT.to_owned(), format.name())));
        let kept = declared
            .iter()
            .filter(|(name, _)| !given.iter().any(|(other, _)| other == name));
        let pairs: Vec<_> = kept.chain(&given).collect();
        let mut target = path.to_owned();
        if !pairs.is_empty() {
            let query = Serializer::new(String::new()).extend_pairs(pairs).finish();
            target = format!("{path}?{query}");
        }
        Ok(Self {
            target,
            format: format.or(of_function).unwrap_or(Format::Json),
        })
    }

    /// Path and query of the requests.
    pub(crate) fn target(&self) -> &str {
        &self.target
    }

    /// The extension of files that hold an answer.
    pub(crate) fn extension(&self) -> &'static str {
        self.format.extension()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Takes;

    fn question(
        path: &str,
        format: Option<Format>,
        parameters: &[(&str, &str)],
    ) -> Result<Question> {
        let run = FileRequests {
            path: path.into(),
            takes: Takes::Pictures,
        };
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let parameters: Vec<_> = parameters.iter().map(owned).collect();
        Question::new(&run, format, &parameters)
    }

    #[test]
    fn the_command_line_goes_before_the_manifest() {
        let ocr = "/v1/ocr?format=text";
        for (path, format, parameters, target, extension) in [
            (ocr, None, &[][..], "/v1/ocr?format=text", "txt"),
            (
                ocr,
                Some(Format::Alto),
                &[("language", "pt-BR+en")],
                "/v1/ocr?language=pt-BR%2Ben&format=alto",
                "alto.xml",
            ),
            ("/p", None, &[], "/p", "json"),
            (
                "/p",
                None,
                &[("a", "b c&d=é")],
                "/p?a=b+c%26d%3D%C3%A9",
                "json",
            ),
            ("/p?a=1&b=2", None, &[("a", "3")], "/p?b=2&a=3", "json"),
        ] {
            let question = question(path, format, parameters).expect("it is valid");
            assert_eq!(
                (question.target.as_str(), question.extension()),
                (target, extension)
            );
        }
    }

    #[test]
    fn a_function_with_one_format_has_no_other() {
        let error = question("/p", Some(Format::Text), &[]).expect_err("one format");
        assert!(error.to_string().contains("one format"), "{error}");
        assert!(question("/p?format=odf", None, &[]).is_err());
    }
}
