//! A package -> its core module, or an example of it -> a program, by Cargo, which decides alone what to compile again.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::targets::TARGET;

/// The profile of what runs in the sandbox, from the workspace's `Cargo.toml`.
const PROFILE: &str = "guest";

/// Compiles `package` of the workspace at `root` with `features` on; returns the path of its module.
///
/// # Errors
///
/// Cargo cannot be run or fails (its own words are on standard error), or the package has no library of the type `cdylib`.
pub(crate) fn build(root: &Path, package: &str, features: &[&str]) -> Result<PathBuf> {
    let mut cargo = guest(root);
    cargo
        .args(["--lib", "--package", package])
        .args(features.iter().flat_map(|feature| ["--features", feature]));
    artifact(cargo, "cdylib").with_context(|| format!("building {package}"))
}

/// A `cargo build` for what runs in the sandbox.
pub(crate) fn guest(root: &Path) -> Command {
    let mut cargo = native(root);
    cargo
        .args(["--target", TARGET, "--profile", PROFILE])
        // Flags meant for native code would replace the target features that the workspace sets for its functions.
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS");
    cargo
}

/// A `cargo build` for this machine, in the workspace at `root`.
pub(crate) fn native(root: &Path) -> Command {
    let mut cargo = command();
    cargo.arg("build").current_dir(root);
    cargo
}

/// Cargo: the one that runs us, if one does.
pub(crate) fn command() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Runs `cargo`; returns the path of the last artifact of a target of this kind (`cdylib`, `example`).
///
/// # Errors
///
/// Cargo cannot be run or fails, or makes no such artifact.
pub(crate) fn artifact(mut cargo: Command, kind: &str) -> Result<PathBuf> {
    let mut child = cargo
        .arg("--message-format=json-render-diagnostics")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("running cargo")?;

    let output = child.stdout.take().expect("standard output is piped");
    let mut artifact = None;
    for line in BufReader::new(output).lines() {
        let line = line.context("reading what cargo says")?;
        artifact = artifact_in(&line, kind).or(artifact);
    }
    let status = child.wait().context("waiting for cargo")?;
    ensure!(status.success(), "cargo could not build it ({status})");
    artifact.with_context(|| format!("expected a target of the kind `{kind}`, got none"))
}

/// The part of Cargo's messages that names what it made.
#[derive(Deserialize)]
struct Message {
    reason: String,
    #[serde(default)]
    filenames: Vec<PathBuf>,
    target: Option<Target>,
}

#[derive(Deserialize)]
struct Target {
    kind: Vec<String>,
}

/// The artifact that `line` announces. Cargo compiles dependencies first, so the last one announced is the package's own.
fn artifact_in(line: &str, kind: &str) -> Option<PathBuf> {
    let message: Message = serde_json::from_str(line).ok()?;
    let target = message.target?;
    // Beside a library for Rust lies its module; a native program has no extension.
    let runs = |path: &PathBuf| path.extension().is_none_or(|e| e == "wasm");
    (message.reason == "compiler-artifact" && target.kind.iter().any(|k| k == kind))
        .then(|| message.filenames.into_iter().find(runs))
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_made_is_found_among_cargos_messages() {
        let cases = [
            (
                r#"{"reason":"compiler-artifact","target":{"kind":["rlib","cdylib"]},"filenames":["/t/libf.rlib","/t/f.wasm"]}"#,
                Some("/t/f.wasm"),
            ),
            (
                r#"{"reason":"compiler-artifact","target":{"kind":["lib"]},"filenames":["/t/libf.rlib"]}"#,
                None,
            ),
            (
                r#"{"reason":"compiler-artifact","target":{"kind":["example"]},"filenames":["/t/examples/f"]}"#,
                None,
            ),
            (r#"{"reason":"build-finished","success":true}"#, None),
            ("not JSON", None),
        ];
        for (line, expected) in cases {
            assert_eq!(
                artifact_in(line, "cdylib"),
                expected.map(PathBuf::from),
                "{line}"
            );
        }
        assert_eq!(
            artifact_in(cases[2].0, "example"),
            Some(PathBuf::from("/t/examples/f"))
        );
    }
}
