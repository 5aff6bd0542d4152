#![no_main]

use std::path::Path;

use ephemera_jobs::{Answer, Input, Job, PATHS, Question, Reply, Report, is_below, is_plain, media_type};

// A text that is a job, or none: what is read of it comes back from its own JSON, and nothing in it leads out of where it may.
libfuzzer_sys::fuzz_target!(|text: &[u8]| {
    let job = match Job::parse(text) {
        Ok(job) => job,
        Err(error) => {
            if let Some(job) = Job::salvage(text) {
                told(&Report::failed(&job, &error.to_string(), 1, 0));
            }
            return;
        }
    };
    let again = Job::parse(&job.json()).expect("it was one");
    assert_eq!(again, job);
    assert!(is_plain(&job.id));
    match &job.input {
        Input::Inline(text) => drop(Input::decode(text)),
        Input::File(path) => inside(path),
        Input::Url(url) => assert!(url.starts_with("http")),
    }
    match &job.reply {
        Some(Reply::File(path)) => inside(path),
        Some(Reply::Key(key) | Reply::List(key)) => assert!(!key.contains(char::is_whitespace)),
        Some(Reply::Webhook(url)) => assert!(url.starts_with("http")),
        None => {}
    }
    for (_, path) in PATHS {
        if let Ok(question) = Question::of_options(path, &job.options) {
            let target = question.target();
            assert!(target.starts_with('/') && target.bytes().all(|byte| byte.is_ascii_graphic()));
        }
    }
    told(&Report::done(&job, Answer::new("text/plain", text), 1, 0));
});

fn inside(path: &Path) {
    assert!(is_below(path));
    assert!(Path::new("/folder").join(path).starts_with("/folder"));
    let _ = media_type(path);
}

/// Whoever reads it back has the same, and knows by its beginning whose it is.
fn told(report: &Report) {
    let json = report.json();
    let again: Report = serde_json::from_slice(&json).expect("it is ours");
    assert_eq!(again, *report);
    assert!(json.starts_with(Report::begins(&report.id).as_bytes()));
}
