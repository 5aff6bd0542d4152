//! What is asked of a function about one input -> path, query and type of a request.

use std::collections::BTreeMap;
use std::path::Path;

use form_urlencoded::Serializer;

use crate::format::{Format, UnknownFormat};

/// The parameter that says which shape an answer has, where a function offers several.
const FORMAT: &str = "format";

/// What to ask of each input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    target: String,
    format: Format,
}

/// What cannot be asked.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuestionError {
    /// A format asked of a function that has but one.
    #[error("this function answers in one format, expected no --format")]
    OneFormat,
    /// One that there is not.
    #[error(transparent)]
    UnknownFormat(#[from] UnknownFormat),
}

impl Question {
    /// `path` as it is declared, whose query holds parameters, with `format` and `parameters` in place of its own. An answer without a format
    /// of its own is JSON.
    ///
    /// # Errors
    ///
    /// A format asked of a function that has but one, or a declared format that is none of ours.
    pub fn new(
        path: &str,
        format: Option<Format>,
        parameters: &[(String, String)],
    ) -> Result<Self, QuestionError> {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let declared: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes())
            .into_owned()
            .collect();
        let of_function = declared.iter().find(|(name, _)| name == FORMAT);
        if format.is_some() && of_function.is_none() {
            return Err(QuestionError::OneFormat);
        }
        let of_function = of_function.map(|(_, name)| name.parse::<Format>());
        let of_function = of_function.transpose()?;
        let mut given = parameters.to_vec();
        given.extend(format.map(|format| (FORMAT.to_owned(), format.name().to_owned())));
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

    /// The same for a job's options, `format` among them.
    ///
    /// # Errors
    ///
    /// As [`Question::new`], and a format that there is not.
    pub fn of_options(
        path: &str,
        options: &BTreeMap<String, String>,
    ) -> Result<Self, QuestionError> {
        let format = options.get(FORMAT).map(|name| name.parse::<Format>());
        let others = options.iter().filter(|(name, _)| *name != FORMAT);
        let others = others.map(|(name, value)| (name.clone(), value.clone()));
        Self::new(path, format.transpose()?, &others.collect::<Vec<_>>())
    }

    /// Path and query of the requests.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// The extension of files that hold an answer.
    pub fn extension(&self) -> &'static str {
        self.format.extension()
    }
}

/// The type of a file, by its name's extension; what it really is, the function sees from its content.
pub fn media_type(file: &Path) -> &'static str {
    let extension = file.extension().unwrap_or_default().to_string_lossy();
    match extension.to_ascii_lowercase().as_str() {
        "jpg" | "jpeg" => "image/jpeg",
        "png" => "image/png",
        "tif" | "tiff" => "image/tiff",
        "mp4" => "video/mp4",
        "zip" => "application/zip",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned(parameters: &[(&str, &str)]) -> Vec<(String, String)> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        parameters.iter().map(owned).collect()
    }

    #[test]
    fn what_is_asked_goes_before_what_is_declared() {
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
            let question = Question::new(path, format, &owned(parameters)).expect("it is valid");
            assert_eq!(
                (question.target(), question.extension()),
                (target, extension)
            );
        }
    }

    #[test]
    fn options_are_parameters_and_perhaps_a_format() {
        let options = |pairs: &[(&str, &str)]| owned(pairs).into_iter().collect();
        let ocr = "/v1/ocr?format=text";
        let of = |pairs: &[(&str, &str)]| Question::of_options(ocr, &options(pairs));
        let question = of(&[("format", "tsv"), ("language", "en")]).expect("both are known");
        assert_eq!(question.target(), "/v1/ocr?language=en&format=tsv");
        assert!(of(&[("format", "odf")]).is_err());
        assert_eq!(
            Question::of_options("/p", &options(&[("format", "text")])),
            Err(QuestionError::OneFormat)
        );
        assert!(Question::new("/p?format=odf", None, &[]).is_err());
    }

    #[test]
    fn types_go_by_extensions() {
        for (name, expected) in [
            ("Page.JPG", "image/jpeg"),
            ("page", "application/octet-stream"),
            ("a/b.mp4", "video/mp4"),
        ] {
            assert_eq!(media_type(Path::new(name)), expected);
        }
    }
}
