//! What builds functions: Cargo, its targets, a C compiler; and Python, for the tools around models.

use std::process::{Command, Stdio};

use super::Check;
use crate::cargo;
use crate::targets::TARGET;

/// `rust-version` of the workspace.
const RUST: &str = env!("CARGO_PKG_RUST_VERSION");

pub(super) fn checks() -> Vec<Check> {
    vec![rustup(), rust(), target(), c_compiler(), python()]
}

/// What `command` says on standard output, if it succeeds.
fn said(mut command: Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output();
    let output = output.ok().filter(|output| output.status.success())?;
    let text = String::from_utf8_lossy(&output.stdout);
    Some(text.trim().to_owned())
}

fn version(program: &str) -> Option<String> {
    let mut command = Command::new(program);
    command.arg("--version");
    said(command).map(|text| text.lines().next().unwrap_or_default().to_owned())
}

fn rustup() -> Check {
    match version("rustup") {
        Some(version) => Check::good("rustup", version),
        None => Check::warning(
            "rustup",
            "not found: WebAssembly targets cannot be added by themselves",
            "install it from https://rustup.rs",
        ),
    }
}

fn rust() -> Check {
    let mut command = cargo::command();
    command.arg("--version");
    let Some(version) = said(command) else {
        return Check::missing("cargo", "not found", "install Rust from https://rustup.rs");
    };
    match new_enough(&version, RUST) {
        true => Check::good("cargo", version),
        false => Check::missing(
            "cargo",
            format!("{version}, {RUST} or later is needed"),
            "run `rustup update stable`",
        ),
    }
}

/// Whether the second word of `said`, such as `cargo 1.95.0 (abc 2026-01-01)`, is a version from `least` on.
fn new_enough(said: &str, least: &str) -> bool {
    let numbers = |version: &str| -> Option<Vec<u32>> {
        let version = version.split('-').next()?;
        version.split('.').map(|part| part.parse().ok()).collect()
    };
    let actual = said.split(' ').nth(1).and_then(numbers);
    actual.is_some_and(|actual| Some(actual) >= numbers(least))
}

fn target() -> Check {
    let name = "WebAssembly target";
    let mut command = Command::new("rustup");
    command.args(["target", "list", "--installed"]);
    let fix = format!("run `rustup target add {TARGET}`");
    match said(command) {
        Some(list) if list.lines().any(|line| line == TARGET) => Check::good(name, TARGET),
        Some(_) => Check::missing(name, format!("{TARGET} is not installed"), fix),
        None => Check::warning(name, "rustup does not tell", fix),
    }
}

fn c_compiler() -> Check {
    let found = ["cc", "gcc", "clang"].into_iter().find_map(version);
    match found {
        Some(version) => Check::good("C compiler", version),
        None => Check::missing(
            "C compiler",
            "none of cc, gcc and clang was found",
            "install one, for example `apt-get install gcc libc6-dev`",
        ),
    }
}

fn python() -> Check {
    match version("python3") {
        Some(version) => Check::good("Python", version),
        None => Check::warning(
            "Python",
            "python3 was not found: models cannot be made or compared with other runtimes",
            "install Python 3, for example `apt-get install python3 python3-venv`",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_number() {
        for (said, expected) in [
            ("cargo 1.95.0 (abc 2026-01-01)", true),
            ("cargo 1.100.0", true),
            ("cargo 2.0.0-nightly (abc)", true),
            ("cargo 1.94.1", false),
            ("cargo 1.9.0", false),
            ("cargo", false),
            ("", false),
        ] {
            assert_eq!(new_enough(said, "1.95"), expected, "{said}");
        }
    }

    #[test]
    fn what_compiled_this_is_found() {
        assert_eq!(rust().state, super::super::State::Good, "{:?}", rust());
    }
}
