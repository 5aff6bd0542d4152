//! JSON -> [`Job`]: what is to be done, with every field checked. `job.schema.json` says the same for others.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

/// The only version there is. A field that is added or changes its meaning raises it.
pub const VERSION: u32 = 1;

/// The JSON Schema (2020-12) of a job.
pub const SCHEMA: &str = include_str!("job.schema.json");

/// Characters of an id. It becomes part of file names and keys.
pub const MAX_ID: usize = 128;

/// Characters of a URL.
const MAX_URL: usize = 2048;

/// Characters of a key of Redis.
const MAX_KEY: usize = 512;

/// What keys begin with that are ours.
const OUR_KEYS: &str = "ephemera:";

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
    /// Where the report goes beside the queue's own record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply: Option<Reply>,
    /// Jobs of one batch are counted together. As an id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<String>,
    /// Who goes first.
    #[serde(default)]
    pub priority: Urgency,
    /// When it is no longer wanted, in seconds since 1970 UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<u64>,
    /// How often it was tried before.
    #[serde(default)]
    pub attempt: u32,
}

/// Where the bytes are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Input {
    /// Here, in Base64 (RFC 4648, padded).
    Inline(String),
    /// In a file below a folder that the worker allows, or beside the job where that is a file: a relative path without `..`.
    File(PathBuf),
    /// Behind an `http:` or `https:` URL of a host that the worker allows.
    Url(String),
}

/// Where a report goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Reply {
    /// It becomes the value of a key of Redis.
    Key(String),
    /// It is added at the end of a list of Redis.
    List(String),
    /// The function's answer becomes a file below the folder of results: a relative path without `..`.
    File(PathBuf),
    /// It is posted to a URL of a host that the worker allows, with the job's id as `Idempotency-Key`.
    Webhook(String),
}

/// Who goes first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Urgency {
    /// Before batch jobs.
    Interactive,
    /// After interactive ones.
    #[default]
    Batch,
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
    /// An inline input that is no Base64.
    #[error("input.inline: {0}")]
    Inline(#[source] base64::DecodeError),
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

impl Input {
    /// The bytes of an inline input.
    ///
    /// # Errors
    ///
    /// What is no Base64.
    pub fn decode(text: &str) -> Result<Vec<u8>, Error> {
        STANDARD.decode(text).map_err(Error::Inline)
    }
}

impl Job {
    /// A job that asks for nothing but the function's answer to an input.
    pub fn new(id: String, function: &str, input: Input) -> Self {
        Self {
            version: VERSION,
            id,
            function: function.to_owned(),
            input,
            options: BTreeMap::new(),
            reply: None,
            batch: None,
            priority: Urgency::default(),
            deadline: None,
            attempt: 0,
        }
    }

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

    /// As JSON.
    ///
    /// # Panics
    /// Never: all keys are texts.
    pub fn json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("all keys are texts")
    }

    /// What can be told of a text that is no job: enough to say so to whoever waits for its report. A reply that cannot be used is none.
    /// `None` where not even an id is in it.
    pub fn salvage(text: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Rest {
            id: String,
            #[serde(default)]
            function: serde_json::Value,
            #[serde(default)]
            reply: serde_json::Value,
        }
        let Rest {
            id,
            function,
            reply,
        } = serde_json::from_slice(text).ok()?;
        let function = function.as_str().unwrap_or_default();
        let mut job = Self {
            version: VERSION,
            id,
            function: function.chars().take(MAX_ID).collect(),
            input: Input::Inline(String::new()),
            options: BTreeMap::new(),
            reply: serde_json::from_value(reply).unwrap_or_default(),
            batch: None,
            priority: Urgency::default(),
            deadline: None,
            attempt: 0,
        };
        if job.check_reply().is_err() {
            job.reply = None;
        }
        job.check().is_ok().then_some(job)
    }

    fn check(&self) -> Result<(), Error> {
        if self.version != VERSION {
            return Err(Error::Version(self.version));
        }
        check("id", PLAIN, &self.id, is_plain)?;
        if let Some(batch) = &self.batch {
            check("batch", PLAIN, batch, is_plain)?;
        }
        if self.options.len() > MAX_OPTIONS {
            let actual = self.options.len().to_string();
            return Err(field("options", "at most 32", &actual));
        }
        let short = |text: &str| text.chars().count() <= MAX_OPTION;
        for text in self.options.iter().flat_map(|(name, value)| [name, value]) {
            check("options", "at most 1024 characters each", text, short)?;
        }
        self.check_input()?;
        self.check_reply()
    }

    fn check_input(&self) -> Result<(), Error> {
        match &self.input {
            Input::Inline(_) => Ok(()),
            Input::File(path) => check_path("input.file", path),
            Input::Url(url) => check("input.url", URL, url, is_url),
        }
    }

    fn check_reply(&self) -> Result<(), Error> {
        let expected = "1 to 512 visible ASCII characters, not beginning with `ephemera:`";
        match &self.reply {
            None => Ok(()),
            Some(Reply::Key(key)) => check("reply.key", expected, key, is_key),
            Some(Reply::List(key)) => check("reply.list", expected, key, is_key),
            Some(Reply::File(path)) => check_path("reply.file", path),
            Some(Reply::Webhook(url)) => check("reply.webhook", URL, url, is_url),
        }
    }
}

const PLAIN: &str = "1 to 128 letters, digits, `.`, `_` and `-`, not beginning with `.`";
const URL: &str = "an http: or https: URL of at most 2048 characters";

fn check(
    name: &'static str,
    expected: &str,
    actual: &str,
    holds: impl Fn(&str) -> bool,
) -> Result<(), Error> {
    match holds(actual) {
        true => Ok(()),
        false => Err(field(name, expected, actual)),
    }
}

fn check_path(name: &'static str, path: &Path) -> Result<(), Error> {
    match is_below(path) {
        true => Ok(()),
        false => {
            let actual = path.display().to_string();
            Err(field(name, "a relative path without `..`", &actual))
        }
    }
}

fn field(field: &'static str, expected: &str, actual: &str) -> Error {
    let actual = actual.chars().take(80).collect::<String>();
    Error::Field {
        field,
        expected: expected.to_owned(),
        actual: format!("`{actual}`"),
    }
}

/// Whether `id` can be part of a file's name.
pub fn is_plain(id: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=MAX_ID).contains(&id.len()) && !id.starts_with('.') && id.bytes().all(plain)
}

/// Whether a path stays below where it starts, by its letters; links are another matter.
pub fn is_below(path: &Path) -> bool {
    let plain = |component: Component<'_>| matches!(component, Component::Normal(_));
    path.components().next().is_some() && path.components().all(plain)
}

fn is_url(text: &str) -> bool {
    let rest = text.strip_prefix("https://");
    let rest = rest.or_else(|| text.strip_prefix("http://"));
    text.len() <= MAX_URL && rest.is_some_and(|rest| !rest.is_empty() && is_visible(rest))
}

fn is_key(text: &str) -> bool {
    (1..=MAX_KEY).contains(&text.len()) && is_visible(text) && !text.starts_with(OUR_KEYS)
}

/// Whether there is nothing in it that would mean something to a protocol of lines.
fn is_visible(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_job_is_read_and_checked() {
        let whole = r#"{"version":1,"id":"a-1","function":"ocr","input":{"file":"in/page.png"},
            "options":{"format":"text"},"reply":{"list":"answers"},"batch":"b","priority":"interactive",
            "deadline":1900000000,"attempt":2}"#;
        let job = Job::parse(whole.as_bytes()).expect("it is one");
        assert_eq!(job.input, Input::File("in/page.png".into()));
        assert_eq!(job.reply, Some(Reply::List("answers".to_owned())));
        assert_eq!((job.priority, job.attempt), (Urgency::Interactive, 2));
        assert_eq!(Job::parse(&job.json()).expect("what we write"), job);

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
                with("\"file\"", "\"path\""),
                "not a job: unknown variant `path`",
            ),
            (
                with("\"file\"", "\"url\""),
                "input.url: expected an http: or https: URL of at most 2048 characters, got `in/page.png`",
            ),
            (
                with("{\"file\":\"in/page.png\"", "{\"url\":\"http://a\\r\\nb\""),
                "input.url",
            ),
            (with("{\"list\"", "{\"webhook\""), "reply.webhook"),
            (
                with("{\"list\":\"answers\"", "{\"file\":\"../a\""),
                "reply.file",
            ),
            (with("answers", "a b"), "reply.list: expected 1 to 512"),
            (
                with("answers", "ephemera:report:ocr:b"),
                "not beginning with `ephemera:`, got `ephemera:report:ocr:b`",
            ),
            (with("\"b\"", "\"b/\""), "batch: expected 1 to 128"),
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
    fn of_a_text_that_is_no_job_the_reply_is_known_if_it_can_be_used() {
        let key = || Some(Reply::Key("k".to_owned()));
        for (rest, function, reply) in [
            (
                r#""version":9,"input":5,"reply":{"key":"k"},"more":1"#,
                "",
                key(),
            ),
            (r#""function":"ocr","reply":null"#, "ocr", None),
            (r#""function":["ocr"],"reply":{"key":"k"}"#, "", key()),
            (r#""function":"ocr","reply":{"file":"../b"}"#, "ocr", None),
            (r#""reply":{"key":"ephemera:report:ocr:b"}"#, "", None),
            (r#""reply":{"list":5}"#, "", None),
            (r#""reply":"k""#, "", None),
        ] {
            let text = format!(r#"{{"id":"a",{rest}}}"#);
            let job = Job::salvage(text.as_bytes()).expect(rest);
            assert_eq!((job.id.as_str(), job.function.as_str()), ("a", function));
            assert_eq!(job.reply, reply, "{rest}");
        }
        for text in [r#"{"id":"../a"}"#, r#"{"id":5}"#, "{}", ""] {
            assert_eq!(Job::salvage(text.as_bytes()), None, "{text}");
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
            reply: Some(Reply::Key("c".to_owned())),
            batch: Some("d".to_owned()),
            priority: Urgency::Batch,
            deadline: Some(1),
            attempt: 0,
        };
        let job: serde_json::Value = serde_json::from_slice(&job.json()).expect("JSON");
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
            let _ = Job::salvage(&text);
        }
    }
}
