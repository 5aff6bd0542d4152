//! A job -> its report, by a function that is in this program.
//!
//! The request that the function gets is the one that `ephemera run` and the host's queues make of the same input and options, so that the
//! answers are the same.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ephemera_http::settings::FunctionSettings;
use ephemera_http::{Function, HttpAnswer, HttpRequest, Surroundings, handle};

use crate::job::{Input, Job};
use crate::question::{Question, media_type};
use crate::report::{Answer, Report};

/// What a job may ask for beside the function.
pub trait Outside {
    /// Seconds since 1970 UTC.
    fn now_s(&self) -> u64;

    /// The first `limit_bytes` of a file below a folder that is allowed.
    ///
    /// # Errors
    /// Why it cannot be had, as a sentence that names no path.
    fn file(&mut self, path: &Path, limit_bytes: usize) -> Result<Vec<u8>, String>;

    /// The first `limit_bytes` of what is at an allowed URL.
    ///
    /// # Errors
    /// Why it cannot be had, as a sentence.
    fn url(&mut self, url: &str, limit_bytes: usize) -> Result<Vec<u8>, String>;
}

/// Answers jobs for one function.
pub struct Performer<'a, F: Function> {
    /// The function, loaded.
    pub function: &'a F,
    /// Where its requests go, with the parameters that hold unless a job says otherwise.
    pub path: &'a str,
    /// What the operator set.
    pub around: Surroundings<'a, F::Settings>,
}

impl<F: Function> Performer<'_, F> {
    /// Does `job`. What went wrong is in the report; `log` gets what only the operator should know.
    pub fn perform(
        &self,
        job: &Job,
        outside: &mut impl Outside,
        log: &mut impl FnMut(&str),
    ) -> Report {
        let attempts = job.attempt.saturating_add(1);
        let answer = self.answer(job, outside, log);
        let finished = outside.now_s();
        match answer {
            Ok(answer) => Report::done(job, answer, attempts, finished),
            Err(reason) => Report::failed(job, &reason, attempts, finished),
        }
    }

    fn answer(
        &self,
        job: &Job,
        outside: &mut impl Outside,
        log: &mut impl FnMut(&str),
    ) -> Result<Answer, String> {
        if job.function != F::NAME {
            return Err(format!(
                "function: expected {}, got `{}`",
                F::NAME,
                job.function
            ));
        }
        if job
            .deadline
            .is_some_and(|deadline| outside.now_s() >= deadline)
        {
            return Err("its deadline has passed".to_owned());
        }
        let question = Question::of_options(self.path, &job.options);
        let question = question.map_err(|error| error.to_string())?;
        let (name, body) = self.input(&job.input, outside)?;
        let headers = [
            ("host".to_owned(), "localhost".to_owned()),
            ("content-type".to_owned(), media_type(name).to_owned()),
        ];
        let request = HttpRequest {
            method: "POST",
            target: question.target(),
            headers: &headers,
            body,
        };
        let answer = handle(self.function, request, &self.around);
        if let Some(text) = &answer.log {
            log(text);
        }
        match answer.status {
            200..=299 => Ok(of_http(&answer)),
            _ => Err(refusal(&answer)),
        }
    }

    /// What the input is called, for its type, and its bytes: one more than the function takes is enough for it to refuse them.
    fn input<'j>(
        &self,
        input: &'j Input,
        outside: &mut impl Outside,
    ) -> Result<(&'j Path, Vec<u8>), String> {
        let limit_bytes = self.around.settings.max_body_bytes().saturating_add(1);
        match input {
            Input::Inline(text) => {
                let bytes = STANDARD.decode(text);
                let bytes = bytes.map_err(|error| format!("input.inline: {error}"))?;
                Ok((Path::new(""), bytes))
            }
            Input::File(path) => {
                let bytes = outside.file(path, limit_bytes);
                Ok((path, bytes.map_err(|why| format!("input.file: {why}"))?))
            }
            Input::Url(url) => {
                let bytes = outside.url(url, limit_bytes);
                let bytes = bytes.map_err(|why| format!("input.url: {why}"))?;
                let path = url.split(['?', '#']).next().unwrap_or_default();
                Ok((Path::new(path), bytes))
            }
        }
    }
}

fn of_http(answer: &HttpAnswer) -> Answer {
    let media_type = answer
        .headers
        .iter()
        .find(|(name, _)| *name == "content-type");
    let media_type = media_type.map_or("application/octet-stream", |(_, value)| value);
    Answer::new(media_type, &answer.body)
}

/// The sentence in an error's body.
fn refusal(answer: &HttpAnswer) -> String {
    let body: Option<serde_json::Value> = serde_json::from_slice(&answer.body).ok();
    body.as_ref()
        .and_then(|body| body.get("detail")?.as_str())
        .map_or_else(|| format!("status {}", answer.status), str::to_owned)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use ephemera_http::settings::{Origins, SettingError};
    use ephemera_http::{Failure, NotReady};

    use super::*;
    use crate::report::Status;

    /// Answers with what it was asked.
    struct Echo;

    #[derive(Default)]
    struct EchoSettings;

    impl FunctionSettings for EchoSettings {
        const NAMES: &'static [&'static str] = &[];

        fn from_pairs<'a>(
            _pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
        ) -> Result<Self, SettingError> {
            Ok(Self)
        }

        fn max_body_bytes(&self) -> usize {
            8
        }

        fn cors_origins(&self) -> &Origins {
            static NONE: Origins = Origins::Listed(Vec::new());
            &NONE
        }
    }

    #[derive(Debug, thiserror::Error)]
    enum EchoError {
        #[error("larger than 8 bytes")]
        Large,
        #[error("not ready")]
        NotReady(#[from] NotReady),
    }

    impl Failure for EchoError {
        fn status(&self) -> u16 {
            match self {
                Self::Large => 413,
                Self::NotReady(_) => 500,
            }
        }
    }

    impl Function for Echo {
        const NAME: &'static str = "echo";
        type Settings = EchoSettings;
        type Error = EchoError;

        fn load(_bundle: impl Read) -> Result<Self, EchoError> {
            Ok(Self)
        }

        fn models(&self) -> String {
            String::new()
        }

        fn route(
            &self,
            request: HttpRequest<'_>,
            around: &Surroundings<'_, EchoSettings>,
        ) -> Result<HttpAnswer, EchoError> {
            if request.body.len() > around.settings.max_body_bytes() {
                return Err(EchoError::Large);
            }
            let HttpRequest { target, body, .. } = &request;
            let body = String::from_utf8_lossy(body);
            let said = format!("{target} {} {body}", request.content_type());
            Ok(HttpAnswer::document("text/plain", said))
        }
    }

    /// It is the second 100; every file has its own path in it, every URL is refused.
    struct World;

    impl Outside for World {
        fn now_s(&self) -> u64 {
            100
        }

        fn file(&mut self, path: &Path, limit_bytes: usize) -> Result<Vec<u8>, String> {
            let mut bytes = path.to_string_lossy().into_owned().into_bytes();
            bytes.truncate(limit_bytes);
            Ok(bytes)
        }

        fn url(&mut self, _url: &str, _limit_bytes: usize) -> Result<Vec<u8>, String> {
            Err("no host is allowed".to_owned())
        }
    }

    #[test]
    fn a_job_becomes_the_request_and_its_answer_a_report() {
        let performer = Performer {
            function: &Echo,
            path: "/echo?format=text",
            around: Surroundings::default(),
        };
        for (rest, expected) in [
            (
                r#""input":{"inline":"aGk="}"#,
                Ok("/echo?format=text application/octet-stream hi"),
            ),
            (
                r#""input":{"file":"a.png"},"options":{"format":"tsv","b":"c"}"#,
                Ok("/echo?b=c&format=tsv image/png a.png"),
            ),
            (
                r#""input":{"file":"a/b/c.png"}"#,
                Err("larger than 8 bytes"),
            ),
            (r#""input":{"inline":"?"}"#, Err("input.inline: Invalid")),
            (
                r#""input":{"url":"http://a/b"}"#,
                Err("input.url: no host is allowed"),
            ),
            (
                r#""input":{"inline":""},"options":{"format":"odf"}"#,
                Err("format: expected one of text"),
            ),
            (
                r#""input":{"inline":""},"deadline":100"#,
                Err("its deadline has passed"),
            ),
        ] {
            let text = format!(r#"{{"version":1,"id":"i","function":"echo","attempt":1,{rest}}}"#);
            let job = Job::parse(text.as_bytes()).expect("a job");
            let report = performer.perform(&job, &mut World, &mut |_| ());
            assert_eq!((report.attempts, report.finished), (2, 100), "{rest}");
            match expected {
                Ok(said) => {
                    let expected = Answer::new("text/plain", said.as_bytes());
                    assert_eq!(report.answer, Some(expected), "{rest}");
                }
                Err(says) => {
                    assert_eq!(report.status, Status::Failed, "{rest}");
                    let reason = report.reason.unwrap_or_default();
                    assert!(reason.contains(says), "{rest}: {reason}");
                }
            }
        }
    }

    #[test]
    fn another_functions_job_is_refused() {
        let text = r#"{"version":1,"id":"i","function":"gait","input":{"inline":""}}"#;
        let job = Job::parse(text.as_bytes()).expect("a job");
        let performer = Performer {
            function: &Echo,
            path: "/echo",
            around: Surroundings::default(),
        };
        let report = performer.perform(&job, &mut World, &mut |_| ());
        let expected = "function: expected echo, got `gait`";
        assert_eq!(report.reason.as_deref(), Some(expected));
    }
}
