//! `[component.<name>]` and its `tool.ephemera` -> [`Function`]: how it is built, what starts it, what one request of it may take.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use serde::Deserialize;

use super::manifest::{BuildCommand, Component, Mount, Tool};
use super::triggers::{self, Start};
use crate::variables::Templates;
use crate::{keyvalue, outbound};

/// Memory one request may hold when the manifest says nothing, in MiB: what the smallest edge platform we target grants.
pub(super) const DEFAULT_MEMORY_MIB: u32 = 128;

/// Time one request may take when the manifest says nothing, in seconds: the same platform's limit.
pub(super) const DEFAULT_TIMEOUT_S: u32 = 30;

/// A 32-bit linear memory cannot be larger, in MiB.
const MAX_MEMORY_MIB: u32 = 4096;

/// Beyond an hour a request is a job, and wants a queue.
const MAX_TIMEOUT_S: u32 = 3600;

/// A command works through all that it is given; a week is that of a large archive.
const MAX_COMMAND_S: u32 = 7 * 24 * 3600;

/// A function's answer is text about one request, or a PDF with its page; the host holds it whole. In MiB.
const DEFAULT_ANSWER_MIB: u32 = 32;

/// Larger answers want a place to be fetched from, in MiB.
const MAX_ANSWER_MIB: u32 = 1024;

/// One `[component.<name>]` with its `[component.<name>.tool.ephemera]`, if it has one: one that has not is anybody's Spin component,
/// built by its own command and served as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    /// Its name in the manifest.
    pub name: String,
    /// Where the finished component lies; the precompiled file lies beside it.
    pub source: PathBuf,
    /// The Cargo package that compiles to its core module; without one, `source` is what is served.
    pub package: Option<String>,
    /// Features of the package that make it this function.
    pub features: Vec<String>,
    /// What starts it, in order; nothing is taken for HTTP.
    pub starts: Vec<Start>,
    /// Folders under `models/`, in the order in which the function reads them.
    pub models: Vec<String>,
    /// What one request may do.
    pub limits: Limits,
    /// What it may ask its host for.
    pub variables: Templates,
    /// What else Spin's keys give it.
    pub spin: SpinKeys,
    /// Whether its package has a feature `wasi-nn`: a build whose models run on a device of the host's.
    pub wasi_nn: bool,
    /// What `ephemera run` does with files, for functions that take some.
    pub run: Option<FileRequests>,
    /// A command to try it with, in the manifest's folder; `{url}` stands for where it is served.
    pub example: Option<String>,
}

/// What the keys of Spin that are not ours say of a component, as the manifest has them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SpinKeys {
    /// Variables of its environment.
    pub environment: BTreeMap<String, String>,
    /// Files that it may read.
    pub files: Vec<Mount>,
    /// Patterns of files that are not among them.
    pub exclude_files: Vec<String>,
    /// Where its requests may go; texts in which `{{ name }}` stands for a variable of the application.
    pub allowed_outbound_hosts: Vec<String>,
    /// Stores of keys and values that it may open.
    pub key_value_stores: Vec<String>,
    /// How it is built, and what it is built of.
    pub build: Option<BuildCommand>,
}

/// How files become requests of a function.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileRequests {
    /// Where each is posted to. A query holds parameters that hold unless the command line says otherwise.
    pub path: String,
    /// What becomes a request.
    pub takes: Takes,
}

/// What one request of a function is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Takes {
    /// One picture.
    Pictures,
    /// One clip: a film, an archive or a folder of frames.
    Clips,
}

/// What one request may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Linear memory of one instance, in bytes.
    pub memory_bytes: usize,
    /// From the start of the instance to the last byte of its answer.
    pub timeout: Duration,
    /// Of that, how long the guest itself may compute.
    pub cpu: Duration,
    /// The longest answer, in bytes.
    pub answer_bytes: usize,
}

impl Default for Limits {
    /// Those of a manifest that says nothing.
    fn default() -> Self {
        let timeout = Duration::from_secs(DEFAULT_TIMEOUT_S.into());
        Self {
            memory_bytes: mib(DEFAULT_MEMORY_MIB),
            timeout,
            cpu: timeout,
            answer_bytes: mib(DEFAULT_ANSWER_MIB),
        }
    }
}

impl Function {
    /// Whether requests start it.
    pub fn serves_http(&self) -> bool {
        self.starts.is_empty() || self.starts.contains(&Start::Http)
    }

    /// Whether it is a command, which runs once and is started by nothing else.
    pub fn is_command(&self) -> bool {
        self.starts == [Start::Command]
    }
}

fn mib(mib: u32) -> usize {
    mib as usize * 1024 * 1024
}

impl Component {
    /// The function called `name`, whose paths are relative to `root`; `starts` is what triggers it.
    ///
    /// # Errors
    ///
    /// A value out of its range, and a key that would be without effect.
    pub(super) fn check(self, name: &str, root: &Path, starts: Vec<Start>) -> Result<Function> {
        plain_name("component", name)?;
        let source = root.join(self.source.path()?);
        let ours = self.tool.and_then(|tools| tools.ephemera);
        let Tool {
            package,
            features,
            models,
            memory_mib,
            timeout_s,
            cpu_s,
            max_answer_mib,
            wasi_nn,
            run,
            example,
        } = ours.unwrap_or_default();
        if let Some(package) = &package {
            plain_name("package", package)?;
        }
        for feature in &features {
            plain_name("feature", feature)?;
        }
        for model in &models {
            plain_name("model", model)?;
        }
        ensure!(
            !wasi_nn || package.is_some(),
            "tool.ephemera.wasi_nn: only a function that is built from a `package` has two builds"
        );
        triggers::check(&starts, package.is_some())?;
        let http = starts.is_empty() || starts.contains(&Start::Http);
        let command = starts == [Start::Command];
        for (key, given) in [
            ("environment", !command && !self.environment.is_empty()),
            ("files", http && !self.files.is_empty()),
            ("key_value_stores", !self.key_value_stores.is_empty()),
            (
                "allowed_outbound_hosts",
                command && !self.allowed_outbound_hosts.is_empty(),
            ),
        ] {
            // A function's world is `wasi:http/proxy` and Spin's variables, so that it runs the same under every host. One that messages start
            // has Redis and files, too, and a command what `wasmtime run` has.
            ensure!(
                package.is_none() || !given,
                "{key}: a function that is built from a `package` has none"
            );
        }
        for (key, given) in [
            ("max_answer_mib", max_answer_mib.is_some()),
            ("run", run.is_some()),
            ("example", example.is_some()),
        ] {
            ensure!(
                http || !given,
                "tool.ephemera.{key}: expected a function that answers requests"
            );
        }
        let max_answer_mib = max_answer_mib.unwrap_or(DEFAULT_ANSWER_MIB);
        let max_timeout_s = match command {
            true => MAX_COMMAND_S,
            false => MAX_TIMEOUT_S,
        };
        ensure!(
            (1..=MAX_MEMORY_MIB).contains(&memory_mib),
            "memory_mib: expected 1 to {MAX_MEMORY_MIB}, got {memory_mib}"
        );
        ensure!(
            (1..=max_timeout_s).contains(&timeout_s),
            "timeout_s: expected 1 to {max_timeout_s}, got {timeout_s}"
        );
        let cpu_s = cpu_s.unwrap_or(timeout_s);
        ensure!(
            (1..=timeout_s).contains(&cpu_s),
            "cpu_s: expected 1 to {timeout_s}, which is timeout_s, got {cpu_s}"
        );
        ensure!(
            (1..=MAX_ANSWER_MIB).contains(&max_answer_mib),
            "max_answer_mib: expected 1 to {MAX_ANSWER_MIB}, got {max_answer_mib}"
        );
        if let Some(run) = &run {
            ensure!(
                run.path.starts_with('/'),
                "run.path: expected `/...`, got `{}`",
                run.path
            );
        }
        for store in &self.key_value_stores {
            ensure!(
                store == keyvalue::LABEL,
                "key_value_stores: only the store `{}` is supported, got `{store}`",
                keyvalue::LABEL
            );
        }
        // Those with variables are checked when the variables are known.
        let plain = self.allowed_outbound_hosts.iter();
        let plain: Vec<_> = plain.filter(|host| !host.contains("{{")).collect();
        outbound::Hosts::parse(&plain)?;
        Ok(Function {
            source,
            name: name.to_owned(),
            package,
            features,
            starts,
            models,
            limits: Limits {
                memory_bytes: mib(memory_mib),
                timeout: Duration::from_secs(timeout_s.into()),
                cpu: Duration::from_secs(cpu_s.into()),
                answer_bytes: mib(max_answer_mib),
            },
            variables: self.variables,
            wasi_nn,
            spin: SpinKeys {
                environment: self.environment,
                files: self.files,
                exclude_files: self.exclude_files,
                allowed_outbound_hosts: self.allowed_outbound_hosts,
                key_value_stores: self.key_value_stores,
                build: self.build,
            },
            run,
            example,
        })
    }
}

/// Names become parts of paths and of command lines, so they are plain words.
pub(super) fn plain_name(what: &str, name: &str) -> Result<()> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if name.is_empty() || name.starts_with('-') || !name.bytes().all(plain) {
        bail!("{what} `{name}`: expected letters, digits, `-` and `_`");
    }
    Ok(())
}
