//! JSON -> [`Job`]: what is to be done, with every field checked. `job.schema.json` says the same for others.

use std::collections::BTreeMap;
use std::path::{Component, PathBuf};

use serde::{Deserialize, Serialize};

use crate::admission::Priority;

/// The only version there is. A field that is added or changes its meaning raises it.
pub const VERSION: u32 = 1;

/// The JSON Schema (2020-12) of a job.
pub const SCHEMA: &str = include_str!("job.schema.json");

/// Characters of an id. It becomes part of file names and keys.
const MAX_ID: usize = 128;

/// Options of one job; a function has some ten parameters.
const MAX_OPTIONS: usize = 32;

/// Characters of an option's value.
const MAX_OPTION: usize = 1024;

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// [`VERSION`].
    pub version: u32,
    /// Names the job: whoever delivers it twice gets one result. 1 to 128 of letters, digits, `.`, `_` and `-`, not beginning with `.`.
    pub id: String,
    /// A component of the manifest that takes files.
    pub function: String,
    /// What the function gets.
    pub input: Input,
    /// Parameters of the function, such as `language`, `format` and `clinical_condition`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
    /// Who goes first.
    #[serde(default)]
    pub priority: Urgency,
    /// When it is no longer wanted, in seconds since 1970 UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<u64>,
}

/// Where the bytes are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Input {
    /// Here, in Base64 (RFC 4648, padded).
    Inline(String),
    /// In a file below the folder that the job lies in: a relative path without `..`.
    File(PathBuf),
}

/// As [`Priority`], by its names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Urgency {
    /// Before batch jobs.
    Interactive,
    /// After interactive ones.
    #[default]
    Batch,
}

impl From<Urgency> for Priority {
    fn from(urgency: Urgency) -> Self {
        match urgency {
            Urgency::Interactive => Self::Interactive,
            Urgency::Batch => Self::Batch,
        }
    }
}

/// Why a text is no job.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No JSON, a field that is missing, unknown or of another type.
    #[error("not a job: {0}")]
    Json(#[from] serde_json::Error),
    /// Of another version.
    #[error("version: expected {VERSION}, got {0}")]
    Version(u32),
    /// A field out of its range.
    #[error("{field}: expected {expected}, got {actual}")]
    Field {
        /// Its name.
        field: &'static str,
        /// What it may be.
        expected: String,
        /// What it is.
        actual: String,
    },
}

impl Job {
    /// Reads and checks a job.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub fn parse(text: &[u8]) -> Result<Self, Error> {
        let job: Self = serde_json::from_slice(text)?;
        job.check()?;
        Ok(job)
    }

    fn check(&self) -> Result<(), Error> {
        if self.version != VERSION {
            return Err(Error::Version(self.version));
        }
        let field = |field, expected: &str, actual: &str| {
            let actual = actual.chars().take(80).collect::<String>();
            Err(Error::Field {
                field,
                expected: expected.to_owned(),
                actual: format!("`{actual}`"),
            })
        };
        if !is_plain(&self.id) {
            let expected = "1 to 128 letters, digits, `.`, `_` and `-`, not beginning with `.`";
            return field("id", expected, &self.id);
        }
        if self.options.len() > MAX_OPTIONS {
            let actual = self.options.len().to_string();
            return field("options", "at most 32", &actual);
        }
        let long = |text: &String| text.chars().count() > MAX_OPTION;
        if let Some((name, _)) = self.options.iter().find(|(n, v)| long(n) || long(v)) {
            return field("options", "at most 1024 characters each", name);
        }
        if let Input::File(path) = &self.input
            && !is_below(path)
        {
            let expected = "a relative path without `..`";
            return field("input.file", expected, &path.display().to_string());
        }
        Ok(())
    }
}

/// Whether `id` can be part of a file's name.
fn is_plain(id: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=MAX_ID).contains(&id.len()) && !id.starts_with('.') && id.bytes().all(plain)
}

/// Whether a path stays below where it starts, by its letters; links are another matter.
fn is_below(path: &std::path::Path) -> bool {
    let plain = |component: Component<'_>| matches!(component, Component::Normal(_));
    path.components().next().is_some() && path.components().all(plain)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_job_is_read_and_checked() {
        let whole = r#"{"version":1,"id":"a-1","function":"ocr","input":{"file":"in/page.png"},
            "options":{"format":"text"},"priority":"interactive","deadline":1900000000}"#;
        let job = Job::parse(whole.as_bytes()).expect("it is one");
        assert_eq!(job.input, Input::File("in/page.png".into()));
        assert_eq!(Priority::from(job.priority), Priority::Interactive);
        let again = serde_json::to_vec(&job).expect("JSON");
        assert_eq!(Job::parse(&again).expect("what we write"), job);

        let with = |from: &str, to: &str| whole.replacen(from, to, 1);
        let long = "x".repeat(129);
        for (text, says) in [
            (
                with("\"version\":1", "\"version\":2"),
                "version: expected 1, got 2",
            ),
            (with("a-1", ""), "id: expected 1 to 128"),
            (with("a-1", "../a"), "got `../a`"),
            (with("a-1", ".a"), "id: expected"),
            (with("a-1", &long), "id: expected"),
            (
                with("in/page.png", "/etc/passwd"),
                "input.file: expected a relative path",
            ),
            (with("in/page.png", "in/../../x"), "input.file"),
            (with("in/page.png", ""), "input.file"),
            (
                with("\"file\"", "\"url\""),
                "not a job: unknown variant `url`",
            ),
            (
                with("\"function\"", "\"funktion\""),
                "unknown field `funktion`",
            ),
            (with("interactive", "urgent"), "unknown variant `urgent`"),
            ("[]".to_owned(), "not a job"),
            (String::new(), "not a job"),
        ] {
            let error = Job::parse(text.as_bytes()).expect_err(&text).to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn the_schema_names_the_same_fields() {
        let schema: serde_json::Value = serde_json::from_str(SCHEMA).expect("it is JSON");
        let mut fields: Vec<_> = schema["properties"]
            .as_object()
            .expect("properties")
            .keys()
            .cloned()
            .collect();
        let job = Job {
            version: VERSION,
            id: "a".to_owned(),
            function: "ocr".to_owned(),
            input: Input::Inline("eA==".to_owned()),
            options: BTreeMap::from([("a".to_owned(), "b".to_owned())]),
            priority: Urgency::Batch,
            deadline: Some(1),
        };
        let job = serde_json::to_value(job).expect("JSON");
        let mut ours: Vec<_> = job
            .as_object()
            .expect("an object")
            .keys()
            .cloned()
            .collect();
        fields.sort();
        ours.sort();
        assert_eq!(fields, ours);
        assert_eq!(schema["additionalProperties"], false);
        assert_eq!(schema["properties"]["version"]["const"], VERSION);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Job::parse(&text);
        }
    }
}
