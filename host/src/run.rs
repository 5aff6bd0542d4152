//! `ephemera run`: files through a function, each in an instance of its own, without a server.

mod inputs;
mod question;
mod request;

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures_util::StreamExt;
use hyper::Response;
use hyper::body::Bytes;
use indicatif::{ProgressBar, ProgressStyle};

use crate::app::App;
pub(crate) use inputs::takes;
pub use inputs::{Destination, Input, find};
pub use question::{Format, Question};
pub(crate) use request::{MAX_INPUT_BYTES, of_bytes as request_of};

/// Of the memory that is available, how much instances may be given: what they dirty is not all that a request takes.
const MEMORY_SHARE: f64 = 0.8;

/// What is to be done.
#[derive(Debug, Clone)]
pub struct Work {
    /// The files.
    pub inputs: Vec<Input>,
    /// What to ask of each.
    pub question: Question,
    /// Where answers go.
    pub destination: Destination,
    /// Instances at once.
    pub jobs: u32,
}

/// How it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// Files that were read.
    pub read: usize,
    /// Files that were not.
    pub failed: usize,
}

/// How many instances to run at once: `wanted`, or one for each processor; no more than there are processors, since each has a deadline,
/// nor than memory is there for, each taking up to `memory_bytes`.
pub fn jobs(wanted: Option<u32>, memory_bytes: usize, available_bytes: u64) -> u32 {
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32);
    let room = available_bytes as f64 * MEMORY_SHARE / memory_bytes.max(1) as f64;
    wanted.unwrap_or(cores).min(cores).min(room as u32).max(1)
}

/// Sends each file to the function `name`. Answers that are printed go to `out` in the order of the files; what goes wrong with a
/// file is told in `problems`, and the others go on.
///
/// # Errors
///
/// No such function; `out` or `problems` cannot be written to.
pub async fn run(
    app: &Arc<App>,
    name: &str,
    work: Work,
    out: &mut impl Write,
    problems: &mut impl Write,
) -> Result<Summary> {
    let Work {
        inputs,
        question,
        destination,
        jobs,
    } = work;
    app.function(name)?;
    let bar = bar(inputs.len());
    let began = Instant::now();
    let targets = inputs::outputs(&inputs, &destination, question.extension());
    let tasks = inputs.into_iter().zip(targets).map(|(input, target)| {
        let (app, name, question) = (Arc::clone(app), name.to_owned(), question.clone());
        async move {
            let path = input.path.clone();
            let work = async move {
                let answer = ask(&app, &name, &input, &question).await?;
                match &target {
                    Some(target) => write(target, &answer).map(|()| None),
                    None => Ok(Some(answer)),
                }
            };
            // A task of its own: instances run on all processors.
            let done = tokio::spawn(work).await;
            (path, done.context("it broke off").flatten())
        }
    });
    let mut done = futures_util::stream::iter(tasks).buffered(jobs.max(1) as usize);
    let mut summary = Summary { read: 0, failed: 0 };
    while let Some((path, outcome)) = done.next().await {
        match outcome {
            Ok(answer) => {
                summary.read += 1;
                if let Some(answer) = answer {
                    bar.suspend(|| print(&answer, out))?;
                }
            }
            Err(error) => {
                summary.failed += 1;
                bar.suspend(|| writeln!(problems, "{}: {error:#}", path.display()))?;
            }
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    out.flush()?;
    if summary.read + summary.failed > 1 {
        writeln!(problems, "{}", told(summary, began.elapsed()))?;
    }
    Ok(summary)
}

/// One sentence about all files.
fn told(summary: Summary, took: Duration) -> String {
    let Summary { read, failed } = summary;
    let seconds = took.as_secs_f64();
    let rate = read as f64 / seconds.max(1e-3);
    format!("{read} read, {failed} failed in {seconds:.1} s ({rate:.2} a second)")
}

/// On a terminal, how far it is, the rate and the time left.
pub fn bar(files: usize) -> ProgressBar {
    if files < 2 || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {per_sec} {eta} left {msg}");
    let style = style.expect("the template is well formed");
    let bar = ProgressBar::new(files as u64).with_style(style);
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// Texts end with their line, so that the next begins on one of its own.
fn print(answer: &[u8], out: &mut impl Write) -> std::io::Result<()> {
    out.write_all(answer)?;
    if std::str::from_utf8(answer).is_ok() && !answer.ends_with(b"\n") {
        out.write_all(b"\n")?;
    }
    Ok(())
}

/// Writes a whole file or none: it takes its name when it is complete.
fn write(target: &Path, answer: &[u8]) -> Result<()> {
    let writing = || format!("writing {}", target.display());
    let folder = match target.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    std::fs::create_dir_all(folder).with_context(writing)?;
    let mut name = std::ffi::OsString::from(".");
    name.push(target.file_name().unwrap_or_default());
    name.push(".part");
    let part = folder.join(name);
    std::fs::write(&part, answer).with_context(writing)?;
    std::fs::rename(&part, target).with_context(writing)
}

async fn ask(app: &App, name: &str, input: &Input, question: &Question) -> Result<Bytes> {
    let request = request::request(input, &question.target)?;
    let response = app.function(name)?.handle(request).await?;
    ensure!(response.status().is_success(), "{}", refusal(&response));
    Ok(response.into_body())
}

/// The sentence in an error's body, or its status where there is none.
pub(crate) fn refusal(response: &Response<Bytes>) -> String {
    let body: Option<serde_json::Value> = serde_json::from_slice(response.body()).ok();
    body.as_ref()
        .and_then(|body| body.get("detail")?.as_str())
        .map_or_else(|| response.status().to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_its_sentence() {
        let mut response = Response::new(Bytes::from_static(b"{\"detail\":\"not an image\"}"));
        assert_eq!(refusal(&response), "not an image");
        *response.body_mut() = Bytes::from_static(b"oops");
        *response.status_mut() = hyper::StatusCode::BAD_GATEWAY;
        assert_eq!(refusal(&response), "502 Bad Gateway");
    }

    #[test]
    fn memory_and_processors_bound_the_instances() {
        const MIB: u64 = 1 << 20;
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32);
        for (wanted, available, expected) in [
            (Some(1), 1 << 40, 1),
            (Some(1024), 1 << 40, cores),
            (None, 1 << 40, cores),
            (Some(16), 250 * MIB, cores.min(2)),
            (Some(3), 10 * MIB, 1),
            (None, 10 * MIB, 1),
        ] {
            assert_eq!(jobs(wanted, 100 << 20, available), expected, "{wanted:?}");
        }
    }

    #[test]
    fn a_file_is_written_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        let target = folder.path().join("new/page.txt");
        for text in ["one", "two"] {
            write(&target, text.as_bytes()).expect("it is written");
            assert_eq!(std::fs::read_to_string(&target).expect("it is there"), text);
        }
        let files = std::fs::read_dir(folder.path().join("new")).expect("a folder");
        assert_eq!(files.count(), 1, "nothing else is left");
        assert!(write(&target.join("below"), b"x").is_err(), "below a file");
    }
}
