//! What became of a job, as JSON for whoever asked. `report.schema.json` says the same for others.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::job::{Job, VERSION};

/// The JSON Schema (2020-12) of a report.
pub const SCHEMA: &str = include_str!("report.schema.json");

/// What became of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// [`VERSION`].
    pub version: u32,
    /// The job's.
    pub id: String,
    /// The job's.
    pub function: String,
    /// Whether there is an answer.
    pub status: Status,
    /// What the function answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<Answer>,
    /// Why it was given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How often it was tried, the last time included.
    pub attempts: u32,
    /// When, in seconds since 1970 UTC.
    pub finished: u64,
}

/// Whether there is an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// There is.
    Done,
    /// There is a reason instead.
    Failed,
}

/// What a function answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Its type, as the function said.
    pub media_type: String,
    /// Its bytes, if they are UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Or else in Base64 (RFC 4648, padded).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base64: Option<String>,
}

impl Report {
    /// `job` was done, in its `attempts`-th attempt, and this is its answer.
    pub fn done(job: &Job, answer: Answer, attempts: u32, finished: u64) -> Self {
        Self {
            answer: Some(answer),
            ..Self::of(job, Status::Done, attempts, finished)
        }
    }

    /// `job` was given up for `reason`.
    pub fn failed(job: &Job, reason: &str, attempts: u32, finished: u64) -> Self {
        Self {
            reason: Some(reason.to_owned()),
            ..Self::of(job, Status::Failed, attempts, finished)
        }
    }

    fn of(job: &Job, status: Status, attempts: u32, finished: u64) -> Self {
        Self {
            version: VERSION,
            id: job.id.clone(),
            function: job.function.clone(),
            status,
            answer: None,
            reason: None,
            attempts,
            finished,
        }
    }

    /// What the JSON of every report of the job `id` begins with, and of no other; the id is plain.
    pub fn begins(id: &str) -> String {
        format!(r#"{{"version":{VERSION},"id":"{id}","#)
    }

    /// What it begins with if it says that `function` did the job.
    pub fn done_begins(id: &str, function: &str) -> String {
        let begins = Self::begins(id);
        format!(r#"{begins}"function":"{function}","status":"done""#)
    }

    /// As JSON.
    ///
    /// # Panics
    /// Never: all keys are texts.
    pub fn json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("all keys are texts")
    }
}

impl Answer {
    /// Bytes of a type, as text where they are.
    pub fn new(media_type: &str, bytes: &[u8]) -> Self {
        let text = std::str::from_utf8(bytes).ok().map(str::to_owned);
        let base64 = text.is_none().then(|| STANDARD.encode(bytes));
        Self {
            media_type: media_type.to_owned(),
            text,
            base64,
        }
    }

    /// The bytes.
    ///
    /// # Errors
    /// What is no Base64.
    pub fn bytes(&self) -> Result<Vec<u8>, base64::DecodeError> {
        match (&self.text, &self.base64) {
            (Some(text), _) => Ok(text.clone().into_bytes()),
            (None, Some(base64)) => STANDARD.decode(base64),
            (None, None) => Ok(Vec::new()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job() -> Job {
        let text = r#"{"version":1,"id":"a","function":"ocr","input":{"inline":"eA=="}}"#;
        Job::parse(text.as_bytes()).expect("a job")
    }

    #[test]
    fn answers_are_texts_where_they_are() {
        for (bytes, text, base64) in [
            (&b"caf\xc3\xa9"[..], Some("caf\u{e9}"), None),
            (&b""[..], Some(""), None),
            (&b"\xff\xd8"[..], None, Some("/9g=")),
        ] {
            let answer = Answer::new("x/y", bytes);
            assert_eq!(answer.text.as_deref(), text);
            assert_eq!(answer.base64.as_deref(), base64);
            assert_eq!(answer.bytes().expect("our own"), bytes);
        }
    }

    #[test]
    fn what_was_done_is_told_by_its_beginning() {
        let done = Report::done(&job(), Answer::new("text/plain", b"x"), 1, 5);
        let failed = Report::failed(&job(), r#""status":"done""#, 3, 5);
        for (report, id, function, expected) in [
            (&done, "a", "ocr", true),
            (&done, "b", "ocr", false),
            (&done, "a", "gait", false),
            (&failed, "a", "ocr", false),
        ] {
            let begins = Report::done_begins(id, function);
            let actual = report.json().starts_with(begins.as_bytes());
            assert_eq!(actual, expected, "{id} {function}");
        }
        for (id, expected) in [("a", true), ("ab", false)] {
            let begins = Report::begins(id);
            assert_eq!(failed.json().starts_with(begins.as_bytes()), expected);
        }
    }

    #[test]
    fn reports_come_back_from_json_with_the_fields_of_the_schema() {
        let schema: serde_json::Value = serde_json::from_str(SCHEMA).expect("it is JSON");
        let known = schema["properties"].as_object().expect("properties");
        let answer = Answer::new("text/plain", b"x");
        for report in [
            Report::done(&job(), answer, 1, 5),
            Report::failed(&job(), "because", 3, 5),
        ] {
            let json = report.json();
            assert_eq!(
                serde_json::from_slice::<Report>(&json).expect("ours"),
                report
            );
            let value: serde_json::Value = serde_json::from_slice(&json).expect("JSON");
            let fields = value.as_object().expect("an object");
            assert!(fields.keys().all(|field| known.contains_key(field)));
            let required = schema["required"].as_array().expect("a list");
            let there =
                |field: &serde_json::Value| fields.contains_key(field.as_str().unwrap_or(""));
            assert!(required.iter().all(there));
        }
    }
}
