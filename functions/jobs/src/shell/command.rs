//! `wasi:cli/run`: jobs as lines of standard input, a report a line on standard output.
//!
//! A job's answer goes to its `reply.file` instead, if it has one. One job is in memory at a time. The exit status is 1 if any job failed.
//! Imported is what plain `wasmtime run` links, and nothing of Spin's.

use std::path::Path;

use ephemera_http::Function;
use ephemera_http::shell::Stdin;
use wasi::cli::environment::get_environment;
use wasi::cli::stdout::get_stdout;
use wasi::io::streams::OutputStream;

use super::folders::Folders;
use super::{Chosen, FUNCTION, now_s, performer, stream};
use crate::lines::{Line, Lines};
use crate::perform::{Outside, Performer};
use crate::{Job, MAX_JOB_BYTES, Reply, Report, Status};

// Generated: the component model's calling convention.
#[allow(unsafe_code)]
mod export {
    struct Command;

    impl ::wasi::exports::cli::run::Guest for Command {
        fn run() -> Result<(), ()> {
            super::run().map_err(|why| eprintln!("{why}"))
        }
    }

    ::wasi::cli::command::export!(Command);
}

/// What a command has: files.
struct World(Folders);

impl Outside for World {
    fn now_s(&self) -> u64 {
        now_s()
    }

    fn file(&mut self, path: &Path, limit_bytes: usize) -> Result<Vec<u8>, String> {
        self.0.read(path, limit_bytes)
    }

    fn url(&mut self, _url: &str, _limit_bytes: usize) -> Result<Vec<u8>, String> {
        Err("a command fetches nothing, expected `inline` or `file`".to_owned())
    }
}

fn run() -> Result<(), String> {
    let function = FUNCTION.get().ok_or("models are not loaded")?;
    let performer = performer(function, settings())?;
    let mut world = World(Folders::opened());
    let mut lines = Lines::new(Stdin::open(), MAX_JOB_BYTES);
    let mut out = get_stdout();
    let (mut number, mut failed) = (0_u64, 0_u64);
    loop {
        let line = lines.next_line();
        let line = match line.map_err(|error| format!("reading standard input: {error}"))? {
            None => break,
            Some(Line::Whole(line)) if line.trim_ascii().is_empty() => continue,
            Some(line) => line,
        };
        number += 1;
        let report = match line {
            Line::Whole(line) => one(&performer, &mut world, line),
            Line::TooLong => Err(format!("longer than {MAX_JOB_BYTES} bytes")),
        };
        match report {
            Ok(Done::Written) => {}
            Ok(Done::Told(report)) => {
                failed += u64::from(report.status == Status::Failed);
                let told = tell(&mut out, &report);
                told.map_err(|error| format!("writing a report: {error}"))?;
            }
            Err(why) => {
                failed += 1;
                eprintln!("job {number}: {why}");
            }
        }
    }
    match failed {
        0 => Ok(()),
        failed => Err(format!("{failed} of {number} jobs failed")),
    }
}

/// What came of a job.
enum Done {
    /// Its answer is in a file.
    Written,
    /// Its report goes to standard output.
    Told(Report),
}

/// Does the job in `line`.
///
/// # Errors
/// It is none, and says not even its id.
fn one(
    performer: &Performer<'_, Chosen>,
    world: &mut World,
    line: Vec<u8>,
) -> Result<Done, String> {
    let job = match Job::parse(&line) {
        Ok(job) => job,
        Err(error) => {
            let job = Job::salvage(&line).ok_or_else(|| error.to_string())?;
            let report = Report::failed(&job, &error.to_string(), 1, now_s());
            return Ok(Done::Told(report));
        }
    };
    // A large input is in it once more.
    drop(line);
    let failed = |why: &str| Report::failed(&job, why, job.attempt.saturating_add(1), now_s());
    let file = match &job.reply {
        None => None,
        Some(Reply::File(file)) => Some(file),
        Some(Reply::Key(_) | Reply::List(_) | Reply::Webhook(_)) => {
            let why = "reply: a command answers on standard output or in a `file`";
            return Ok(Done::Told(failed(why)));
        }
    };
    let report = performer.perform(&job, world, &mut |line| {
        eprintln!("{}: {line}", Chosen::NAME)
    });
    let (Some(file), Some(answer)) = (file, &report.answer) else {
        return Ok(Done::Told(report));
    };
    let bytes = answer.bytes().map_err(|error| error.to_string())?;
    Ok(match world.0.write(file, &bytes) {
        Ok(()) => Done::Written,
        Err(why) => Done::Told(failed(&format!("reply.file: {why}"))),
    })
}

fn tell(out: &mut OutputStream, report: &Report) -> std::io::Result<()> {
    let mut line = report.json();
    line.push(b'\n');
    stream::write(out, &line)
}

/// The operator's settings, from variables of the environment of the same names, in capitals.
fn settings() -> Result<<Chosen as Function>::Settings, ephemera_http::settings::SettingError> {
    type Settings = <Chosen as Function>::Settings;
    let environment = get_environment();
    let pairs = Settings::NAMES.iter().filter_map(|name| {
        let key = name.to_ascii_uppercase();
        let found = environment.iter().find(|(other, _)| *other == key);
        found.map(|(_, value)| (*name, value.as_str()))
    });
    Settings::from_pairs(pairs)
}
