//! `spin.toml` (manifest version 2) -> [`Project`]: which route leads to which function, and how a function is built and bounded.
//!
//! In: the manifest's text and the folder it lies in. Out: routes and functions, every name checked against the others. What Spin knows
//! and we do not is an error that names the key, so that nothing in the file is silently without effect. Reading models, compiling and
//! serving are left to others.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use crate::routes::{Pattern, Routes};
use crate::variables::{self, Templates, Values, Variable};

/// Memory one request may hold when the manifest says nothing, in MiB: what the smallest edge platform we target grants.
const DEFAULT_MEMORY_MIB: u32 = 128;

/// Time one request may take when the manifest says nothing, in seconds: the same platform's limit.
const DEFAULT_TIMEOUT_S: u32 = 30;

/// A 32-bit linear memory cannot be larger, in MiB.
const MAX_MEMORY_MIB: u32 = 4096;

/// Beyond an hour a request is a job, and wants a queue.
const MAX_TIMEOUT_S: u32 = 3600;

/// A manifest, checked, and the folder that its paths are relative to.
#[derive(Debug)]
pub struct Project {
    /// The folder of `spin.toml`, absolute.
    pub root: PathBuf,
    /// `[application] name`.
    pub name: String,
    /// Path -> function name.
    pub routes: Routes,
    /// By name, in alphabetical order.
    pub functions: BTreeMap<String, Function>,
    /// What the application may be set to.
    pub variables: BTreeMap<String, Variable>,
}

/// One `[component.<name>]` with its `[component.<name>.tool.ephemera]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    /// Its name in the manifest.
    pub name: String,
    /// Where the finished component lies; the precompiled file lies beside it.
    pub source: PathBuf,
    /// The Cargo package that compiles to its core module; `None` for a component that is there and is not built here.
    pub package: Option<String>,
    /// Folders under `models/`, in the order in which the function reads them.
    pub models: Vec<String>,
    /// What one request may do.
    pub limits: Limits,
    /// What it may ask its host for.
    pub variables: Templates,
    /// What `ephemera run` does with files, for functions that take some.
    pub run: Option<FileRequests>,
    /// A command to try it with, in the manifest's folder; `{url}` stands for where it is served.
    pub example: Option<String>,
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
}

impl Project {
    /// Reads and checks the manifest at `path`.
    ///
    /// # Errors
    ///
    /// An unreadable file, and everything [`Project::parse`] refuses.
    pub fn open(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("reading the manifest {}", path.display()))?;
        let path = path
            .canonicalize()
            .with_context(|| format!("resolving {}", path.display()))?;
        let root = path.parent().expect("a file has a folder");
        Self::parse(&text, root).with_context(|| format!("in {}", path.display()))
    }

    /// Checks `text`, whose paths are relative to `root`.
    ///
    /// # Errors
    ///
    /// A key we do not know, a value out of its range, a trigger without its component or a route given twice.
    pub fn parse(text: &str, root: &Path) -> Result<Self> {
        let manifest: Manifest = toml::from_str(text)?;
        ensure!(
            manifest.spin_manifest_version == 2,
            "spin_manifest_version: expected 2, got {}",
            manifest.spin_manifest_version
        );

        let functions = manifest
            .component
            .into_iter()
            .map(|(name, component)| Ok((name.clone(), component.check(name, root)?)))
            .collect::<Result<BTreeMap<_, _>>>()?;

        for (name, function) in &functions {
            variables::check(&manifest.variables, &function.variables)
                .with_context(|| format!("component `{name}`"))?;
        }

        let mut routes = Routes::default();
        for trigger in manifest.trigger.http {
            let Trigger { route, component } = trigger;
            ensure!(
                functions.contains_key(&component),
                "route `{route}`: no [component.{component}]"
            );
            let pattern: Pattern = route.parse()?;
            routes.add(pattern, component)?;
        }

        Ok(Self {
            root: root.to_owned(),
            name: manifest.application.name,
            routes,
            functions,
            variables: manifest.variables,
        })
    }

    /// The values of `function`'s variables, the environment's `SPIN_VARIABLE_*` before the manifest's defaults.
    ///
    /// # Errors
    ///
    /// A required variable that nothing sets.
    pub fn variables_of(&self, function: &Function) -> Result<Values> {
        let environment = |key: &str| std::env::var(key).ok();
        variables::resolve(&self.variables, &function.variables, environment)
            .with_context(|| format!("component `{}`", function.name))
    }

    /// The functions named, or all of them when none is.
    ///
    /// # Errors
    ///
    /// A name that the manifest does not have.
    pub fn select(&self, names: &[String]) -> Result<Vec<&Function>> {
        if names.is_empty() {
            return Ok(self.functions.values().collect());
        }
        names.iter().map(|name| self.function(name)).collect()
    }

    /// The function called `name`.
    ///
    /// # Errors
    ///
    /// A name that the manifest does not have.
    pub fn function(&self, name: &str) -> Result<&Function> {
        let known = || self.functions.keys().cloned().collect::<Vec<_>>();
        self.functions.get(name).with_context(|| {
            format!(
                "no component `{name}`, the manifest has: {}",
                known().join(", ")
            )
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    spin_manifest_version: u32,
    application: Application,
    #[serde(default)]
    variables: BTreeMap<String, Variable>,
    trigger: Triggers,
    component: BTreeMap<String, Component>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Application {
    name: String,
    // Spin requires or shows these; they change nothing here.
    #[serde(rename = "version")]
    _version: Option<String>,
    #[serde(rename = "description")]
    _description: Option<String>,
    #[serde(rename = "authors")]
    _authors: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Triggers {
    http: Vec<Trigger>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Trigger {
    route: String,
    component: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Component {
    source: PathBuf,
    #[serde(rename = "description")]
    _description: Option<String>,
    // For `spin build` alone: it calls us, and we call Cargo.
    #[serde(rename = "build")]
    _build: Option<Build>,
    #[serde(default)]
    variables: Templates,
    tool: Tools,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Build {
    #[serde(rename = "command")]
    _command: String,
    #[serde(rename = "watch")]
    _watch: Option<Vec<String>>,
}

// Tables of other tools are theirs, hence no `deny_unknown_fields`.
#[derive(Deserialize)]
struct Tools {
    ephemera: Tool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Tool {
    package: Option<String>,
    models: Vec<String>,
    #[serde(default = "default_memory_mib")]
    memory_mib: u32,
    #[serde(default = "default_timeout_s")]
    timeout_s: u32,
    run: Option<FileRequests>,
    example: Option<String>,
}

fn default_memory_mib() -> u32 {
    DEFAULT_MEMORY_MIB
}

fn default_timeout_s() -> u32 {
    DEFAULT_TIMEOUT_S
}

impl Component {
    fn check(self, name: String, root: &Path) -> Result<Function> {
        let Tool {
            package,
            models,
            memory_mib,
            timeout_s,
            run,
            example,
        } = self.tool.ephemera;
        plain_name("component", &name)?;
        if let Some(package) = &package {
            plain_name("package", package)?;
        }
        for model in &models {
            plain_name("model", model)?;
        }
        ensure!(
            (1..=MAX_MEMORY_MIB).contains(&memory_mib),
            "component `{name}`: memory_mib: expected 1 to {MAX_MEMORY_MIB}, got {memory_mib}"
        );
        ensure!(
            (1..=MAX_TIMEOUT_S).contains(&timeout_s),
            "component `{name}`: timeout_s: expected 1 to {MAX_TIMEOUT_S}, got {timeout_s}"
        );
        if let Some(run) = &run {
            ensure!(
                run.path.starts_with('/'),
                "component `{name}`: run.path: expected `/...`, got `{}`",
                run.path
            );
        }
        Ok(Function {
            source: root.join(self.source),
            name,
            package,
            models,
            limits: Limits {
                memory_bytes: memory_mib as usize * 1024 * 1024,
                timeout: Duration::from_secs(timeout_s.into()),
            },
            variables: self.variables,
            run,
            example,
        })
    }
}

/// Names become parts of paths and of command lines, so they are plain words.
fn plain_name(what: &str, name: &str) -> Result<()> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if name.is_empty() || name.starts_with('-') || !name.bytes().all(plain) {
        bail!("{what} `{name}`: expected letters, digits, `-` and `_`");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
spin_manifest_version = 2
[application]
name = "shop"
[variables]
key = { required = true, secret = true }
[[trigger.http]]
route = "/v1/..."
component = "ocr"
[component.ocr]
source = "target/ocr.wasm"
[component.ocr.build]
command = "make"
[component.ocr.variables]
api_key = "{{ key }}"
[component.ocr.tool.other]
anything = 1
[component.ocr.tool.ephemera]
package = "shop-ocr"
models = ["detector", "reader"]
timeout_s = 7
run = { path = "/v1/ocr?format=text", takes = "pictures" }
"#;

    #[test]
    fn a_manifest_becomes_routes_and_functions() {
        let project = Project::parse(GOOD, Path::new("/shop")).expect("the manifest is good");
        assert_eq!(project.name, "shop");
        assert_eq!(project.routes.find("/v1/x"), Some("ocr"));
        let expected = Function {
            name: "ocr".into(),
            source: "/shop/target/ocr.wasm".into(),
            package: Some("shop-ocr".into()),
            models: vec!["detector".into(), "reader".into()],
            limits: Limits {
                memory_bytes: 128 * 1024 * 1024,
                timeout: Duration::from_secs(7),
            },
            variables: [("api_key".to_owned(), "{{ key }}".to_owned())].into(),
            run: Some(FileRequests {
                path: "/v1/ocr?format=text".into(),
                takes: Takes::Pictures,
            }),
            example: None,
        };
        assert_eq!(project.functions["ocr"], expected);
    }

    #[test]
    fn what_is_not_supported_is_named() {
        struct Case {
            replace: &'static str,
            by: &'static str,
            error: &'static str,
        }
        let cases = [
            Case {
                replace: "spin_manifest_version = 2",
                by: "spin_manifest_version = 1",
                error: "expected 2, got 1",
            },
            Case {
                replace: "name = \"shop\"",
                by: "name = \"shop\"\ntrigger = 1",
                error: "unknown field `trigger`",
            },
            Case {
                replace: "route = \"/v1/...\"",
                by: "route = \"/:name\"",
                error: "route `/:name`",
            },
            Case {
                replace: "component = \"ocr\"",
                by: "component = \"ocr\"\nexecutor = \"wagi\"",
                error: "unknown field `executor`",
            },
            Case {
                replace: "component = \"ocr\"",
                by: "component = \"gait\"",
                error: "no [component.gait]",
            },
            Case {
                replace: "api_key = \"{{ key }}\"",
                by: "api_key = \"{{ b }}\"",
                error: "no variable `b`",
            },
            Case {
                replace: "timeout_s = 7",
                by: "timeout_s = 0",
                error: "expected 1 to 3600, got 0",
            },
            Case {
                replace: "timeout_s = 7",
                by: "memory_mib = 5000",
                error: "expected 1 to 4096, got 5000",
            },
            Case {
                replace: "timeout_s = 7",
                by: "memory = 5",
                error: "unknown field `memory`",
            },
            Case {
                replace: "/v1/ocr?",
                by: "v1/ocr?",
                error: "run.path: expected `/...`, got `v1/ocr?format=text`",
            },
            Case {
                replace: "\"pictures\"",
                by: "\"sounds\"",
                error: "unknown variant `sounds`",
            },
            Case {
                replace: "\"detector\"",
                by: "\"../detector\"",
                error: "model `../detector`",
            },
            Case {
                replace: "package = \"shop-ocr\"",
                by: "package = \"--config\"",
                error: "package `--config`",
            },
            Case {
                replace: "[component.ocr.tool.ephemera]",
                by: "[component.ocr.tool.elsewhere]",
                error: "missing field `ephemera`",
            },
        ];
        for case in cases {
            let text = GOOD.replacen(case.replace, case.by, 1);
            let error = Project::parse(&text, Path::new("/shop")).expect_err(case.by);
            let error = format!("{error:#}");
            assert!(
                error.contains(case.error),
                "{}: expected `{}` in: {error}",
                case.by,
                case.error
            );
        }
    }

    #[test]
    fn functions_are_selected_by_name() {
        let project = Project::parse(GOOD, Path::new("/shop")).expect("the manifest is good");
        assert_eq!(project.select(&[]).expect("all").len(), 1);
        assert_eq!(project.select(&["ocr".into()]).expect("one").len(), 1);
        let error = project.select(&["gait".into()]).expect_err("none");
        assert_eq!(
            error.to_string(),
            "no component `gait`, the manifest has: ocr"
        );
    }
}
