//! `spin.toml` (manifest version 2) -> [`Project`]: which route leads to which function, and how a function is built and bounded.
//!
//! In: the manifest's text and the folder it lies in. Out: routes and functions, every name checked against the others. What Spin knows
//! and we do not is an error that names the key, so that nothing in the file is silently without effect. Reading models, compiling and
//! serving are left to others; the file's own shape is `manifest`'s.

mod function;
mod manifest;
mod triggers;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use crate::grants::Grants;
use crate::routes::{Pattern, Routes};
use crate::variables::{self, Variable};
use crate::{keyvalue, mounts, outbound};

use function::plain_name;
pub use function::{FileRequests, Function, Limits, SpinKeys, Takes};
pub use manifest::{BuildCommand, Mount};
use manifest::{Manifest, Trigger, TriggerRoute};
use triggers::RedisTrigger;
pub use triggers::{Start, Subscription};

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

#[cfg(test)]
mod tests;
