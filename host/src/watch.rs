//! Whether anything that a project is made of has changed: sources, models, files and the manifest.
//!
//! Files are looked at by their modification times and sizes, once in a while. That works on every file system, network and container
//! mounts included, where the kernel tells no one of changes, and some hundred files take a millisecond.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::SystemTime;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::cargo;
use crate::config::{Function, Mount, Project};

/// What to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watch {
    patterns: BTreeSet<String>,
}

/// How it was at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen(BTreeMap<PathBuf, (Option<SystemTime>, u64)>);

impl Watch {
    /// The manifest, and what the functions of `project` are made of: the files that `build.watch` names, or else the sources of their
    /// packages and of those that these depend on, or the component itself; the models; and what they may read.
    ///
    /// # Errors
    ///
    /// Cargo does not know a package.
    pub fn new(manifest: &Path, project: &Project) -> Result<Self> {
        let mut watch = Self::manifest(manifest);
        let mut packages = None;
        for function in project.functions.values() {
            if let Some(package) = &function.package {
                if packages.is_none() {
                    packages = Some(Packages::of(project.workspace())?);
                }
                let packages = packages.as_ref().context("they were just listed")?;
                watch.add_sources(package, packages)?;
            }
            watch.add(project, function);
        }
        Ok(watch)
    }

    /// The manifest alone, for when it cannot be read.
    pub fn manifest(path: &Path) -> Self {
        let patterns = [escaped(path)].into();
        Self { patterns }
    }

    fn add(&mut self, project: &Project, function: &Function) {
        let root = escaped(&project.root);
        for model in &function.models {
            let workspace = escaped(project.workspace());
            self.patterns
                .insert(format!("{workspace}/models/{model}/*"));
        }
        for mount in &function.spin.files {
            match mount {
                Mount::Pattern(pattern) => {
                    self.patterns.insert(format!("{root}/{pattern}"));
                }
                Mount::Placed { source, .. } => {
                    let source = escaped(source);
                    self.patterns.insert(format!("{root}/{source}"));
                    self.patterns.insert(format!("{root}/{source}/**/*"));
                }
            }
        }
        let build = function.spin.build.as_ref();
        let watched = build
            .map(|build| build.watch.as_slice())
            .unwrap_or_default();
        // What a command of its own makes is no source.
        if build.is_none() && function.package.is_none() {
            self.patterns.insert(escaped(&function.source));
        }
        let folder = build.and_then(|build| build.workdir.as_deref());
        let folder = folder.map_or(root, |folder| escaped(&project.root.join(folder)));
        let watched = watched.iter().map(|pattern| format!("{folder}/{pattern}"));
        self.patterns.extend(watched);
    }

    fn add_sources(&mut self, package: &str, packages: &Packages) -> Result<()> {
        for folder in packages.folders(package)? {
            let folder = escaped(&folder);
            for pattern in ["src/**/*", "Cargo.toml", "build.rs"] {
                self.patterns.insert(format!("{folder}/{pattern}"));
            }
        }
        Ok(())
    }

    /// How all of it is now. What cannot be read counts as not there: it may be about to be written.
    pub fn look(&self) -> Seen {
        let paths = self.patterns.iter().flat_map(|pattern| glob::glob(pattern));
        let files = paths.flatten().flatten().filter_map(|path| {
            let file = path.metadata().ok().filter(|file| file.is_file())?;
            Some((path, (file.modified().ok(), file.len())))
        });
        Seen(files.collect())
    }
}

impl Seen {
    /// A file that is not as it was in `before`, if there is any.
    pub fn changed_since<'a>(&'a self, before: &'a Self) -> Option<&'a Path> {
        let other = |path: &&PathBuf| self.0.get(*path) != before.0.get(*path);
        // A file that was removed is in the earlier one alone.
        let mut paths = self.0.keys().chain(before.0.keys());
        paths.find(other).map(PathBuf::as_path)
    }
}

fn escaped(path: &Path) -> String {
    glob::Pattern::escape(&path.to_string_lossy())
}

/// The packages of a workspace, and which of them each depends on.
struct Packages(BTreeMap<String, Package>);

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    manifest_path: PathBuf,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    path: Option<PathBuf>,
}

impl Packages {
    fn of(root: &Path) -> Result<Self> {
        let output = cargo::command()
            .args(["metadata", "--no-deps", "--format-version", "1"])
            .current_dir(root)
            .stderr(Stdio::inherit())
            .output()
            .context("running cargo")?;
        ensure!(output.status.success(), "cargo lists no packages");
        let metadata: Metadata =
            serde_json::from_slice(&output.stdout).context("reading what cargo lists")?;
        let packages = metadata.packages.into_iter();
        Ok(Self(packages.map(|one| (one.name.clone(), one)).collect()))
    }

    /// The folders of `package` and of all that it depends on in the workspace.
    fn folders(&self, package: &str) -> Result<Vec<PathBuf>> {
        ensure!(
            self.0.contains_key(package),
            "no package `{package}` in the workspace"
        );
        let mut found = BTreeSet::new();
        let mut open = vec![package];
        while let Some(name) = open.pop() {
            let Some(package) = self.0.get(name) else {
                continue;
            };
            if found.insert(package.manifest_path.with_file_name("")) {
                let local = package.dependencies.iter().filter(|one| one.path.is_some());
                open.extend(local.map(|one| one.name.as_str()));
            }
        }
        Ok(found.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = r#"
spin_manifest_version = 2
[application]
name = "a"
[[trigger.http]]
route = "/..."
component = "a"
[component.a]
source = "a.wasm"
files = ["static/*", { source = "docs", destination = "/" }]
[component.a.build]
command = "make"
workdir = "c"
watch = ["*.c"]
"#;

    #[test]
    fn changes_of_what_a_project_is_made_of_are_seen() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path();
        let write = |path: &str, text: &str| {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            std::fs::write(path, text).expect("a file");
        };
        for file in ["spin.toml", "c/a.c", "c/a.o", "static/x.css", "docs/d/e.md"] {
            write(file, "1");
        }
        let project = Project::parse(MANIFEST, root).expect("a manifest");
        let watch = Watch::new(&root.join("spin.toml"), &project).expect("no packages");
        // By size: modification times may be too coarse for a test.
        for (file, seen) in [
            ("spin.toml", true),
            ("c/a.c", true),
            ("c/b.c", true),
            ("c/a.o", false),
            ("static/x.css", true),
            ("docs/d/e.md", true),
            ("other", false),
            ("a.wasm", false),
        ] {
            let before = watch.look();
            assert_eq!(watch.look().changed_since(&before), None);
            write(file, &format!("{file} changed"));
            let after = watch.look();
            assert_eq!(
                after.changed_since(&before),
                seen.then(|| root.join(file)).as_deref(),
                "{file}"
            );
        }
        let before = watch.look();
        std::fs::remove_file(root.join("c/b.c")).expect("removed");
        let changed = watch.look();
        assert_eq!(
            changed.changed_since(&before),
            Some(root.join("c/b.c").as_path())
        );
    }

    #[test]
    fn a_packages_own_packages_are_watched() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .expect("in the repository");
        let packages = Packages::of(root).expect("a workspace");
        let folders = packages.folders("ephemera-gait").expect("a package");
        for (folder, expected) in [
            ("functions/gait", true),
            ("functions/video", true),
            ("functions/vision", true),
            ("functions/ocr", false),
        ] {
            assert_eq!(folders.contains(&root.join(folder)), expected, "{folder}");
        }
        assert!(packages.folders("none").is_err());
    }
}
