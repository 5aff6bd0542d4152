//! A function's package -> its core module, by Cargo, which decides alone what to compile again.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use crate::targets::TARGET;

/// The profile of what runs in the sandbox, from the workspace's `Cargo.toml`.
const PROFILE: &str = "guest";

/// Compiles `package` of the workspace at `root`; returns the path of its module.
///
/// # Errors
///
/// Cargo cannot be run or fails (its own words are on standard error), or the package has no library of the type `cdylib`.
pub(crate) fn build(root: &Path, package: &str) -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut child = Command::new(cargo)
        .args(["build", "--lib", "--package", package])
        .args(["--target", TARGET, "--profile", PROFILE])
        .arg("--message-format=json-render-diagnostics")
        .current_dir(root)
        // Flags meant for native code would replace the target features that the workspace sets for its functions.
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("running cargo")?;

    let output = child.stdout.take().expect("standard output is piped");
    let mut module = None;
    for line in BufReader::new(output).lines() {
        let line = line.context("reading what cargo says")?;
        module = module_in(&line).or(module);
    }
    let status = child.wait().context("waiting for cargo")?;
    ensure!(
        status.success(),
        "cargo could not build {package} ({status})"
    );
    match module {
        Some(module) => Ok(module),
        None => bail!("package {package}: expected a library with crate-type `cdylib`"),
    }
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
    crate_types: Vec<String>,
}

/// The module that `line` announces. Cargo compiles dependencies first, so the last one announced is the package's own.
fn module_in(line: &str) -> Option<PathBuf> {
    let message: Message = serde_json::from_str(line).ok()?;
    let target = message.target?;
    let is_module = |path: &PathBuf| path.extension().is_some_and(|e| e == "wasm");
    (message.reason == "compiler-artifact" && target.crate_types.iter().any(|t| t == "cdylib"))
        .then(|| message.filenames.into_iter().find(is_module))
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_module_is_found_among_cargos_messages() {
        let cases = [
            (
                r#"{"reason":"compiler-artifact","target":{"crate_types":["rlib","cdylib"]},"filenames":["/t/libf.rlib","/t/f.wasm"]}"#,
                Some("/t/f.wasm"),
            ),
            (
                r#"{"reason":"compiler-artifact","target":{"crate_types":["lib"]},"filenames":["/t/libf.rlib"]}"#,
                None,
            ),
            (r#"{"reason":"build-finished","success":true}"#, None),
            ("not JSON", None),
        ];
        for (line, expected) in cases {
            assert_eq!(module_in(line), expected.map(PathBuf::from), "{line}");
        }
    }
}
