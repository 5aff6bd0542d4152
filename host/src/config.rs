//! `spin.toml` (manifest version 2) -> [`Project`]: which route leads to which function, and how a function is built and bounded.
//!
//! In: the manifest's text and the folder it lies in. Out: routes and functions, every name checked against the others. What Spin knows
//! and we do not is an error that names the key, so that nothing in the file is silently without effect. Reading models, compiling and
//! serving are left to others; the file's own shape is `manifest`'s.

mod manifest;
mod triggers;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use crate::grants::Grants;
use crate::routes::{Pattern, Routes};
use crate::variables::{self, Templates, Variable};
use crate::{keyvalue, mounts, outbound};

pub use manifest::{BuildCommand, Mount};
use manifest::{Component, Manifest, Tool, Trigger, TriggerRoute};
use triggers::RedisTrigger;
pub use triggers::{Start, Subscription};

/// Memory one request may hold when the manifest says nothing, in MiB: what the smallest edge platform we target grants.
const DEFAULT_MEMORY_MIB: u32 = 128;

/// Time one request may take when the manifest says nothing, in seconds: the same platform's limit.
const DEFAULT_TIMEOUT_S: u32 = 30;

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
    /// Channels of Redis whose messages start functions.
    redis: Vec<RedisTrigger>,
}

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
        let manifest = Manifest::parse(text)?;
        ensure!(
            manifest.spin_manifest_version == 2,
            "spin_manifest_version: expected 2, got {}",
            manifest.spin_manifest_version
        );

        let mut triggers = manifest.trigger;
        let mut starts = triggers::starts(&triggers);
        let functions = manifest
            .component
            .into_iter()
            .map(|(name, component)| {
                let starts = starts.remove(&name).unwrap_or_default();
                let function = component.check(&name, root, starts);
                let function = function.with_context(|| format!("component `{name}`"))?;
                Ok((name, function))
            })
            .collect::<Result<BTreeMap<_, _>>>()?;

        for (name, function) in &functions {
            variables::check(&manifest.variables, &function.variables)
                .with_context(|| format!("component `{name}`"))?;
        }

        let redis = RedisTrigger::all(&manifest.application, &mut triggers)?;
        for trigger in &redis {
            variables::check(&manifest.variables, &trigger.templates()).context("trigger.redis")?;
        }
        let redis_components = redis.iter().map(RedisTrigger::component);
        let commands = triggers.command.iter().map(|t| t.component.as_str());
        for component in redis_components.chain(commands) {
            ensure!(
                functions.contains_key(component),
                "a trigger starts `{component}`: no [component.{component}]"
            );
        }

        let mut routes = Routes::default();
        for trigger in triggers.http {
            let Trigger {
                route, component, ..
            } = trigger;
            ensure!(
                functions.contains_key(&component),
                "route `{}`: no [component.{component}]",
                route.text()
            );
            // A private one is for calls between components, of which there are none here: it is loaded, and no path leads to it.
            if let TriggerRoute::Path(route) = route {
                let pattern: Pattern = route.parse()?;
                routes.add(pattern, component)?;
            } else {
                route.check_private()?;
            }
        }

        Ok(Self {
            root: root.to_owned(),
            name: manifest.application.name,
            routes,
            functions,
            variables: manifest.variables,
            redis,
        })
    }

    /// The folder that `models/` is in and Cargo's workspace: the manifest's if it has a `models/`, or else the nearest one above it that has
    /// that and a `Cargo.toml`. So a manifest of functions that are built from packages may lie below, and says the place of its components'
    /// files relative to itself. What is above other manifests is nothing of theirs.
    pub fn workspace(&self) -> &Path {
        let builds = self.functions.values().any(|f| f.package.is_some());
        if !builds || self.root.join("models").is_dir() {
            return &self.root;
        }
        let mut above = self.root.ancestors().skip(1);
        let workspace = above
            .find(|folder| folder.join("models").is_dir() && folder.join("Cargo.toml").is_file());
        workspace.unwrap_or(&self.root)
    }

    /// What `function` may reach beside its request: its files are looked up, its hosts' templates filled in, its store is opened.
    ///
    /// # Errors
    ///
    /// A required variable that nothing sets, files that are not there or not the project's, hosts that are none, a store that another
    /// process holds.
    pub fn grants_of(&self, function: &Function) -> Result<Grants> {
        let mut grants = self.grants_without_store(function)?;
        if !function.spin.key_value_stores.is_empty() {
            let store = keyvalue::Store::open(&self.root.join(keyvalue::FILE));
            grants.store = Some(store.with_context(|| format!("component `{}`", function.name))?);
        }
        Ok(grants)
    }

    /// The same, but that no file is made or locked.
    pub(crate) fn grants_without_store(&self, function: &Function) -> Result<Grants> {
        let grants = || -> Result<Grants> {
            let keys = &function.spin;
            let environment = |key: &str| std::env::var(key).ok();
            let hosts = keys.allowed_outbound_hosts.iter();
            let hosts = hosts.map(|host| variables::fill(&self.variables, host, environment));
            let hosts = hosts.collect::<Result<Vec<_>>>()?;
            let own = &function.variables;
            Ok(Grants {
                variables: variables::resolve(&self.variables, own, environment)?,
                environment: keys.environment.clone().into_iter().collect(),
                files: mounts::find(&self.root, &keys.files, &keys.exclude_files)?,
                hosts: outbound::Hosts::parse(&hosts)?,
                foreign: function.package.is_none(),
                wide: !function.serves_http(),
                ..Grants::default()
            })
        };
        grants().with_context(|| format!("component `{}`", function.name))
    }

    /// Puts `models` in place of those that the manifest lists for the one function that `names` has.
    ///
    /// # Errors
    ///
    /// Several functions or none, one that is not built from a package, and what is no folder of a model.
    pub fn take_models(&mut self, names: &[String], models: &[String]) -> Result<()> {
        let [name] = names else {
            bail!(
                "--models: expected the name of one component, got {}",
                names.len()
            );
        };
        let folder = self.workspace().join("models");
        for model in models {
            plain_name("model", model)?;
            let there = folder.join(model).join("model.toml").is_file();
            ensure!(there, "--models: there is no model `{model}`");
        }
        let found = self.functions.get_mut(name);
        let function = found.filter(|function| function.package.is_some());
        let function = function
            .with_context(|| format!("--models: `{name}` is no function that is built here"))?;
        function.models = models.to_vec();
        Ok(())
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

impl Component {
    fn check(self, name: &str, root: &Path, starts: Vec<Start>) -> Result<Function> {
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
cpu_s = 5
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
            features: vec![],
            starts: vec![Start::Http],
            models: vec!["detector".into(), "reader".into()],
            limits: Limits {
                memory_bytes: 128 * 1024 * 1024,
                timeout: Duration::from_secs(7),
                cpu: Duration::from_secs(5),
                answer_bytes: 32 << 20,
            },
            variables: [("api_key".to_owned(), "{{ key }}".to_owned())].into(),
            wasi_nn: false,
            spin: SpinKeys {
                build: Some(BuildCommand {
                    command: vec!["make".into()],
                    workdir: None,
                    watch: vec![],
                }),
                ..SpinKeys::default()
            },
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
                by: "name = \"shop\"\n[application.trigger.http]\nbase = \"/\"",
                error: "`application.trigger.http` is not supported",
            },
            Case {
                replace: "route = \"/v1/...\"",
                by: "route = \"/:a b\"",
                error: "route `/:a b`",
            },
            Case {
                replace: "component = \"ocr\"",
                by: "component = \"ocr\"\nexecutor = \"wagi\"",
                error: "`trigger.http.executor` is not supported",
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
                replace: "cpu_s = 5",
                by: "cpu_s = 8",
                error: "cpu_s: expected 1 to 7, which is timeout_s, got 8",
            },
            Case {
                replace: "cpu_s = 5",
                by: "max_answer_mib = 0",
                error: "max_answer_mib: expected 1 to 1024, got 0",
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
                replace: "source = \"target/ocr.wasm\"",
                by: "source = { url = \"https://a.example/b.wasm\", digest = \"sha256:0\" }",
                error: "`source = { digest, url }` is not supported",
            },
            Case {
                replace: "source = \"target/ocr.wasm\"",
                by: "source = \"a.wasm\"\nsqlite_databases = [\"default\"]",
                error: "component `ocr`: `sqlite_databases` is not supported",
            },
            Case {
                replace: "source = \"target/ocr.wasm\"",
                by: "source = \"a.wasm\"\nai_models = [\"llama\"]",
                error: "component `ocr`: `ai_models` is not supported",
            },
            Case {
                replace: "source = \"target/ocr.wasm\"",
                by: "source = \"a.wasm\"\nkey_value_stores = [\"default\"]",
                error: "key_value_stores: a function that is built from a `package` has none",
            },
            Case {
                replace: "source = \"target/ocr.wasm\"",
                by: "source = \"a.wasm\"\nfiles = [\"*\"]",
                error: "files: a function that is built from a `package` has none",
            },
            Case {
                replace: "source = \"target/ocr.wasm\"",
                by: "source = \"a.wasm\"\nallowed_outbound_hosts = [\"http://gait.spin.internal\"]",
                error: "http://gait.spin.internal",
            },
            Case {
                replace: "[[trigger.http]]",
                by: "[[trigger.mqtt]]\ncomponent = \"ocr\"\n[[trigger.http]]",
                error: "`trigger.mqtt` is not supported",
            },
            Case {
                replace: "route = \"/v1/...\"",
                by: "route = { private = false }",
                error: "expected `private = true`",
            },
            Case {
                replace: "[variables]",
                by: "[targets]\n[variables]",
                error: "unknown field `targets`",
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

    /// A component as Spin's templates have it, and the same one behind a second route and a private one.
    const FOREIGN: &str = r#"
spin_manifest_version = 2
[application]
name = "guestbook"
authors = ["A. N. Other"]
[[trigger.http]]
id = "book"
route = "/book/:page"
component = "book"
[[trigger.http]]
route = "/index"
component = "book"
[[trigger.http]]
route = { private = true }
component = "book"
[component.book]
source = "book.wasm"
environment = { PAGES = "7" }
files = ["pages/*.html", { source = "static", destination = "/assets" }]
exclude_files = ["pages/draft-*"]
allowed_outbound_hosts = ["https://*.example.org"]
key_value_stores = ["default"]
[component.book.build]
command = ["make", "make check"]
workdir = "book"
watch = ["book/**/*.c"]
"#;

    #[test]
    fn a_component_of_others_is_taken_as_it_is() {
        let project = Project::parse(FOREIGN, Path::new("/shop")).expect("the manifest is good");
        let book = &project.functions["book"];
        assert_eq!((&book.package, book.models.len()), (&None, 0));
        assert_eq!(book.limits.memory_bytes, 128 << 20);
        assert_eq!(book.spin.environment["PAGES"], "7");
        assert_eq!(
            book.spin.files,
            [
                Mount::Pattern("pages/*.html".into()),
                Mount::Placed {
                    source: "static".into(),
                    destination: "/assets".into()
                }
            ]
        );
        let build = book.spin.build.as_ref().expect("it has a command");
        assert_eq!(build.command, ["make", "make check"]);
        assert_eq!(build.workdir.as_deref(), Some(Path::new("book")));
        for (path, expected) in [
            ("/book/3", Some("book")),
            ("/index/", Some("book")),
            ("/", None),
        ] {
            assert_eq!(project.routes.find(path), expected, "{path}");
        }
        let other = FOREIGN.replace("[\"default\"]", "[\"cache\"]");
        let error = Project::parse(&other, Path::new("/shop")).expect_err("another store");
        let expected = "only the store `default` is supported, got `cache`";
        assert!(format!("{error:#}").contains(expected), "{error:#}");
        let limited = FOREIGN.replace(
            "[component.book.build]",
            "[component.book.tool.ephemera]\nmemory_mib = 16\n[component.book.build]",
        );
        let project = Project::parse(&limited, Path::new("/shop")).expect("still good");
        assert_eq!(project.functions["book"].limits.memory_bytes, 16 << 20);
    }

    #[test]
    fn a_workspace_above_has_models_and_is_cargos() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let below = |path: &str| folder.path().join(path);
        let deep = below("a/b/c");
        std::fs::create_dir_all(&deep)?;
        let workspace = |text: &str| -> Result<PathBuf> {
            Ok(Project::parse(text, &deep)?.workspace().to_owned())
        };
        assert_eq!(workspace(GOOD)?, deep);
        std::fs::create_dir_all(below("a/b/models"))?;
        std::fs::create_dir_all(below("a/models"))?;
        std::fs::write(below("a/Cargo.toml"), "")?;
        assert_eq!(workspace(GOOD)?, below("a"));
        assert_eq!(workspace(FOREIGN)?, deep, "it is built from no package");
        std::fs::create_dir(deep.join("models"))?;
        assert_eq!(workspace(GOOD)?, deep);
        Ok(())
    }

    #[test]
    fn one_component_takes_other_models() -> Result<()> {
        let folder = tempfile::tempdir()?;
        std::fs::create_dir_all(folder.path().join("models/reader"))?;
        std::fs::write(folder.path().join("models/reader/model.toml"), "")?;
        let mut project = Project::parse(GOOD, folder.path())?;
        let names = |names: &[&str]| -> Vec<String> { names.iter().map(|&n| n.into()).collect() };
        for (components, models, error) in [
            (&[][..], "reader", "one component, got 0"),
            (&["ocr", "gait"], "reader", "one component, got 2"),
            (&["gait"], "reader", "`gait` is no function"),
            (&["ocr"], "other", "no model `other`"),
            (&["ocr"], "../models/reader", "model"),
        ] {
            let refused = project.take_models(&names(components), &names(&[models]));
            let refused = refused.expect_err(error).to_string();
            assert!(refused.contains(error), "{refused}");
        }
        project.take_models(&names(&["ocr"]), &names(&["reader"]))?;
        assert_eq!(project.functions["ocr"].models, ["reader"]);
        Ok(())
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
