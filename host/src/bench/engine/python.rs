//! onnxruntime, and the tools that make networks: Python programs in `models/tools`.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail};
use serde::Serialize;

use super::cases::Case;
use super::{Measured, Runner};
use crate::progress::Progress;

/// An interpreter that has what the tools need.
pub(super) struct Python {
    program: PathBuf,
    tools: PathBuf,
}

/// What `bench_ort.py` is asked.
#[derive(Debug, Serialize)]
pub(super) struct Job {
    case: String,
    runner: Runner,
    model: PathBuf,
    /// Shapes in the graph.
    inputs: BTreeMap<String, Vec<usize>>,
    runs: u32,
}

impl Job {
    /// `graph`: the ONNX file.
    pub(super) fn new(case: &Case, runner: Runner, graph: &Path) -> Self {
        let inputs = case.shapes().into_iter();
        Self {
            case: case.name(),
            runner,
            model: graph.to_owned(),
            inputs: inputs.map(|shape| (shape.name, shape.extents)).collect(),
            runs: case.runs,
        }
    }
}

impl Python {
    /// The interpreter `given`, or the tools' own environment, which is made if it is not there.
    ///
    /// # Errors
    ///
    /// No interpreter, or one without the packages, and the packages cannot be installed.
    pub(super) fn find(root: &Path, given: Option<&Path>, progress: &Progress) -> Result<Self> {
        let tools = root.join("models/tools");
        let program = match given {
            Some(program) => program.to_owned(),
            None => {
                let program = tools.join(".venv/bin/python");
                if !program.is_file() {
                    progress.note("installing onnxruntime and its like into models/tools/.venv");
                }
                let output = Command::new("sh").arg(tools.join("venv.sh")).output();
                said(output.context("running models/tools/venv.sh")?)
                    .context("models/tools/venv.sh failed")?;
                program
            }
        };
        let python = Self { program, tools };
        let mut imports = Command::new(&python.program);
        imports.args(["-c", "import onnx, onnxruntime"]);
        let output = imports
            .output()
            .with_context(|| format!("running {}", python.program.display()))?;
        said(output)
            .with_context(|| format!("{} has not what the tools need", python.program.display()))?;
        Ok(python)
    }

    /// Writes `<name>.f32.onnx` and, for networks that are not shipped, `<name>.int8.onnx` and `<name>.toml` into `folder`.
    ///
    /// # Errors
    ///
    /// The tool fails; what it said last is in the error.
    pub(super) fn make_models(&self, folder: &Path, names: &[&str]) -> Result<()> {
        let output = self
            .tool("bench_models.py")
            .arg(folder)
            .args(names)
            .output();
        said(output.context("running bench_models.py")?).context("bench_models.py failed")?;
        Ok(())
    }

    /// Runs one graph in a process of its own.
    ///
    /// # Errors
    ///
    /// onnxruntime fails.
    pub(super) fn measure(&self, job: &Job) -> Result<Measured> {
        let mut child = self
            .tool("bench_ort.py")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("running bench_ort.py")?;
        let mut input = child.stdin.take().expect("standard input is piped");
        // A child that has already ended says why on its standard error.
        let _ = input.write_all(&serde_json::to_vec(&[job])?);
        drop(input);
        let output = child
            .wait_with_output()
            .context("waiting for bench_ort.py")?;
        let answer = said(output).context("bench_ort.py failed")?;
        serde_json::from_slice(&answer).context("reading what bench_ort.py says")
    }

    fn tool(&self, script: &str) -> Command {
        let mut command = Command::new(&self.program);
        command
            .arg(self.tools.join(script))
            // The tools' folder is part of the project; nothing is left in it.
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::null());
        command
    }
}

/// What a program wrote, or, if it failed, its last words.
fn said(output: Output) -> Result<Vec<u8>> {
    if output.status.success() {
        return Ok(output.stdout);
    }
    let words = String::from_utf8_lossy(&output.stderr);
    let last = words.lines().rfind(|line| !line.trim().is_empty());
    bail!("{}: {}", output.status, last.unwrap_or("no message"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_fails_is_known_by_its_last_words() {
        let output = |script| Command::new("sh").args(["-c", script]).output();
        let good = said(output("echo yes").expect("a shell")).expect("it succeeds");
        assert_eq!(good, b"yes\n");
        let script = "echo first >&2; echo last >&2; echo >&2; exit 3";
        let error = said(output(script).expect("a shell")).expect_err("it fails");
        assert_eq!(error.to_string(), "exit status: 3: last");
    }

    #[test]
    fn an_interpreter_that_is_not_there_is_an_error() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let absent = folder.path().join("python");
        let found = Python::find(folder.path(), Some(&absent), &Progress::silent());
        let error = found.err().expect("it is not there");
        assert!(format!("{error:#}").contains("python"), "{error:#}");
    }
}
