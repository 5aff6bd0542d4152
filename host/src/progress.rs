//! What a build is doing, on standard error: a spinner on a terminal, plain lines elsewhere.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// Where steps are reported.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    spinner: bool,
    silent: bool,
}

/// A step under way.
pub struct Step {
    what: String,
    since: Instant,
    bar: Option<ProgressBar>,
    silent: bool,
}

impl Progress {
    /// Reports to standard error.
    pub fn stderr() -> Self {
        Self {
            spinner: std::io::stderr().is_terminal(),
            silent: false,
        }
    }

    /// Reports nothing, for tests.
    pub fn silent() -> Self {
        Self {
            spinner: false,
            silent: true,
        }
    }

    /// Prints a line.
    pub fn note(&self, line: &str) {
        if !self.silent {
            say(line);
        }
    }

    /// Starts the step `what`, such as `ocr: loading models`.
    pub fn step(&self, what: impl Into<String>) -> Step {
        let what = what.into();
        let bar = self.spinner.then(|| {
            let style = ProgressStyle::with_template("{spinner} {msg} {elapsed}")
                .expect("the template is well formed");
            let bar = ProgressBar::new_spinner().with_style(style);
            bar.set_message(what.clone());
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        Step {
            what,
            since: Instant::now(),
            bar,
            silent: self.silent,
        }
    }
}

impl Step {
    /// Ends the step, with what came of it.
    pub fn done(self, outcome: &str) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        if !self.silent {
            let seconds = self.since.elapsed().as_secs_f64();
            say(&format!("{}: {outcome} ({seconds:.1} s)", self.what));
        }
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        // A step that failed leaves no spinner behind; the error says the rest.
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn say(line: &str) {
    // Progress that nobody can read is not worth failing for.
    let _ = writeln!(std::io::stderr(), "{line}");
}
