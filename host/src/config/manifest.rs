//! The shape of `spin.toml`, and what of Spin's shape is not supported, by name.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};
use serde::{Deserialize, Deserializer};
use toml::{Table, Value};

use super::function::{DEFAULT_MEMORY_MIB, DEFAULT_TIMEOUT_S, FileRequests};
use crate::variables::{Templates, Variable};

/// Keys of a component that Spin knows and we do not, and what there is instead.
const COMPONENT: [(&str, &str); 6] = [
    ("sqlite_databases", "there is no SQLite here"),
    (
        "ai_models",
        "models belong into a function's own memory image, by `tool.ephemera`",
    ),
    (
        "dependencies",
        "compose the component beforehand, with `wac` or `spin build`",
    ),
    (
        "dependencies_inherit_configuration",
        "there are no component dependencies here",
    ),
    ("allowed_http_hosts", "use `allowed_outbound_hosts`"),
    ("profile", "there are no build profiles here"),
];

/// The kinds of triggers.
const STARTS: [&str; 3] = ["http", "redis", "command"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    pub(super) spin_manifest_version: u32,
    pub(super) application: Application,
    #[serde(default)]
    pub(super) variables: BTreeMap<String, Variable>,
    pub(super) trigger: Triggers,
    pub(super) component: BTreeMap<String, Component>,
}

impl Manifest {
    /// # Errors
    ///
    /// What is not supported, by name, and what is not a manifest at all.
    pub(super) fn parse(text: &str) -> Result<Self> {
        refuse_unsupported(&toml::from_str(text)?)?;
        // From the text again, so that an error shows its line.
        Ok(toml::from_str(text)?)
    }
}

/// Ends with a sentence where Spin would have done something that we do not.
fn refuse_unsupported(manifest: &Table) -> Result<()> {
    let table = |key: &str| manifest.get(key).and_then(Value::as_table);
    let common = table("application").and_then(|table| table.get("trigger")?.as_table());
    for kind in common.into_iter().flat_map(Table::keys) {
        ensure!(
            kind == "redis",
            "`application.trigger.{kind}` is not supported: only `redis` has something in common"
        );
    }
    for (kind, triggers) in table("trigger").into_iter().flatten() {
        ensure!(
            STARTS.contains(&kind.as_str()),
            "`trigger.{kind}` is not supported: {} start a component",
            STARTS.join(", ")
        );
        let triggers = triggers.as_array().into_iter().flatten();
        for trigger in triggers.filter_map(Value::as_table) {
            ensure!(
                !trigger.contains_key("executor"),
                "`trigger.{kind}.executor` is not supported: components are of WASI 0.2"
            );
        }
    }
    for (name, component) in table("component").into_iter().flatten() {
        for (key, instead) in COMPONENT {
            ensure!(
                component.get(key).is_none(),
                "component `{name}`: `{key}` is not supported: {instead}"
            );
        }
    }
    Ok(())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Application {
    pub(super) name: String,
    // Spin requires or shows these; they change nothing here.
    #[serde(rename = "version")]
    _version: Option<String>,
    #[serde(rename = "description")]
    _description: Option<String>,
    #[serde(rename = "authors")]
    _authors: Option<Vec<String>>,
    pub(super) trigger: Option<CommonTriggers>,
}

/// What triggers of a kind have in common.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CommonTriggers {
    pub(super) redis: Option<CommonRedis>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CommonRedis {
    pub(super) address: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Triggers {
    #[serde(default)]
    pub(super) http: Vec<Trigger>,
    #[serde(default)]
    pub(super) redis: Vec<RedisMessages>,
    #[serde(default)]
    pub(super) command: Vec<Command>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RedisMessages {
    #[serde(rename = "id")]
    _id: Option<String>,
    pub(super) address: Option<String>,
    pub(super) channel: String,
    pub(super) component: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Command {
    #[serde(rename = "id")]
    _id: Option<String>,
    pub(super) component: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Trigger {
    // Spin names triggers in its logs.
    #[serde(rename = "id")]
    _id: Option<String>,
    pub(super) route: TriggerRoute,
    pub(super) component: String,
}

/// `route = "/path"` or `route = { private = true }`.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a route's path or { private = true }")]
pub(super) enum TriggerRoute {
    Path(String),
    Private(Private),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Private {
    private: bool,
}

impl TriggerRoute {
    /// As messages name it.
    pub(super) fn text(&self) -> &str {
        match self {
            Self::Path(path) => path,
            Self::Private(_) => "{ private = true }",
        }
    }

    pub(super) fn check_private(&self) -> Result<()> {
        match self {
            Self::Private(Private { private: false }) => {
                bail!("route: expected `private = true` or a path, got `private = false`")
            }
            _ => Ok(()),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Component {
    pub(super) source: Source,
    #[serde(rename = "description")]
    _description: Option<String>,
    pub(super) build: Option<BuildCommand>,
    #[serde(default)]
    pub(super) variables: Templates,
    #[serde(default)]
    pub(super) environment: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) files: Vec<Mount>,
    #[serde(default)]
    pub(super) exclude_files: Vec<String>,
    #[serde(default)]
    pub(super) allowed_outbound_hosts: Vec<String>,
    #[serde(default)]
    pub(super) key_value_stores: Vec<String>,
    pub(super) tool: Option<Tools>,
}

/// `source = "path"`, or a table of a place elsewhere.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a path of the project")]
pub(super) enum Source {
    Path(PathBuf),
    Elsewhere(Table),
}

impl Source {
    pub(super) fn path(&self) -> Result<&Path> {
        match self {
            Self::Path(path) => Ok(path),
            Self::Elsewhere(table) => {
                let keys: Vec<_> = table.keys().map(String::as_str).collect();
                bail!(
                    "`source = {{ {} }}` is not supported: nothing is downloaded, so fetch the file and name its path",
                    keys.join(", ")
                )
            }
        }
    }
}

/// `[component.<name>.build]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BuildCommand {
    /// Lines for the shell, run one after the other.
    #[serde(deserialize_with = "one_or_many")]
    pub command: Vec<String>,
    /// Where they run, below the project's folder.
    pub workdir: Option<PathBuf>,
    /// Patterns of the files that the component is built of, from `workdir`.
    #[serde(default)]
    pub watch: Vec<String>,
}

fn one_or_many<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected a command or a list of commands")]
    enum Commands {
        One(String),
        Many(Vec<String>),
    }
    Ok(match Commands::deserialize(from)? {
        Commands::One(command) => vec![command],
        Commands::Many(commands) => commands,
    })
}

/// An entry of `files`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(
    untagged,
    deny_unknown_fields,
    expecting = "expected a pattern or { source, destination }"
)]
pub enum Mount {
    /// Files of the project, which keep their paths.
    Pattern(String),
    /// A folder or a file of the project, at another place.
    Placed {
        /// Below the project's folder.
        source: PathBuf,
        /// From the component's root.
        destination: String,
    },
}

// Tables of other tools are theirs, hence no `deny_unknown_fields`.
#[derive(Deserialize)]
pub(super) struct Tools {
    pub(super) ephemera: Option<Tool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Tool {
    pub(super) package: Option<String>,
    pub(super) features: Vec<String>,
    pub(super) models: Vec<String>,
    pub(super) memory_mib: u32,
    pub(super) timeout_s: u32,
    /// As much as `timeout_s` if not given.
    pub(super) cpu_s: Option<u32>,
    pub(super) max_answer_mib: Option<u32>,
    pub(super) wasi_nn: bool,
    pub(super) run: Option<FileRequests>,
    pub(super) example: Option<String>,
}

impl Default for Tool {
    fn default() -> Self {
        Self {
            package: None,
            features: Vec::new(),
            models: Vec::new(),
            memory_mib: DEFAULT_MEMORY_MIB,
            timeout_s: DEFAULT_TIMEOUT_S,
            cpu_s: None,
            max_answer_mib: None,
            wasi_nn: false,
            run: None,
            example: None,
        }
    }
}
