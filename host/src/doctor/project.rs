//! The project: its manifest, its models, what is built of it, and the address it would be served on.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use anyhow::{Context, Result};

use super::Check;
use crate::build;
use crate::config::{Function, Project};
use crate::keyvalue::Store;
use crate::models;
use crate::progress::Progress;
use crate::runtime::Runtime;

/// Page faults of a start that are no copy, whatever the image's size: stacks, tables and the engine's own.
const FEW_FAULTS: u64 = 256;

/// In bytes; faults are counted in pages of the machine.
const PAGE_BYTES: u64 = 4096;

/// Whether the address is free.
pub(super) fn port(listen: SocketAddr) -> Check {
    match TcpListener::bind(listen) {
        Ok(_) => Check::good("address", format!("{listen} is free")),
        Err(error) => Check::warning(
            "address",
            format!("{listen} cannot be listened on: {error}"),
            "stop what listens there, or pass another address with `--listen`",
        ),
    }
}

pub(super) fn checks(manifest: &Path) -> Vec<Check> {
    let project = match Project::open(manifest) {
        Ok(project) => project,
        Err(error) => {
            return vec![Check::missing(
                "manifest",
                format!("{error:#}"),
                "run this in the project's folder, or name its manifest with `--manifest`",
            )];
        }
    };
    let functions = project.functions.len();
    let mut checks = vec![Check::good(
        "manifest",
        format!("`{}`, {functions} components", project.name),
    )];
    for function in project.functions.values() {
        checks.push(granted(&project, function));
        for model in &function.models {
            checks.push(hash(&project, model));
        }
        checks.push(built(&project, function));
    }
    checks
}

/// Variables that are set, files that are there.
fn granted(project: &Project, function: &Function) -> Check {
    let name = format!("component {}", function.name);
    match project.grants_without_store(function) {
        Ok(_) => Check::good(&name, "its variables and files are there"),
        Err(error) => Check::missing(
            &name,
            format!("{error:#}"),
            "set the variable or mend the entry of the manifest that is named",
        ),
    }
}

fn hash(project: &Project, model: &str) -> Check {
    let name = format!("model {model}");
    match models::read(&project.workspace().join("models").join(model)) {
        Ok(read) => Check::good(
            &name,
            format!("version {}, its hashes are right", read.manifest.version),
        ),
        Err(error) => Check::missing(
            &name,
            format!("{error:#}"),
            "restore the model's folder, for example with `git checkout`, or fetch it again",
        ),
    }
}

fn built(project: &Project, function: &Function) -> Check {
    let name = format!("image of {}", function.name);
    if !function.source.is_file() {
        let fix = format!("run `ephemera build {}`", function.name);
        return Check::warning(&name, "not built yet", fix);
    }
    match faults(project, function) {
        Ok((faults, bytes)) if is_mapped(faults, bytes) => Check::good(
            &name,
            format!(
                "mapped copy-on-write: {faults} page faults a start, {} KiB of data",
                bytes >> 10
            ),
        ),
        Ok((faults, bytes)) => Check::warning(
            &name,
            format!(
                "COPIED at every start: {faults} page faults, {} KiB of data",
                bytes >> 10
            ),
            "put the files on a file system that can be mapped, such as ext4, xfs or tmpfs",
        ),
        Err(error) => Check::missing(
            &name,
            format!("{error:#}"),
            format!("run `ephemera build {}`", function.name),
        ),
    }
}

/// Page faults of a start, after a first one, and the bytes of the image.
fn faults(project: &Project, function: &Function) -> Result<(u64, u64)> {
    let artifact = build::open(function, &Progress::silent())?;
    let runtime = Runtime::new(1)?;
    let mut grants = project.grants_without_store(function)?;
    if !function.spin.key_value_stores.is_empty() {
        grants.store = Some(Store::nowhere()?);
    }
    let loaded = runtime.load(
        &function.name,
        &artifact.precompiled,
        function.limits,
        grants,
    )?;
    let executor = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("starting an executor")?;
    let faults = executor.block_on(async {
        loaded.start_faults().await?;
        loaded.start_faults().await
    })?;
    let images = artifact.report.images.iter();
    Ok((faults, images.map(|image| image.span_bytes).sum()))
}

/// A copy touches every page of the image.
fn is_mapped(faults: u64, image_bytes: u64) -> bool {
    faults < FEW_FAULTS.max(image_bytes / PAGE_BYTES / 4)
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    #[test]
    fn a_copied_image_is_told_from_a_mapped_one() {
        // 20 MiB are 5120 pages.
        for (faults, expected) in [(30, true), (1279, true), (1280, false), (5200, false)] {
            assert_eq!(is_mapped(faults, 20 << 20), expected, "{faults}");
        }
        assert!(is_mapped(40, 1 << 10));
    }

    #[test]
    fn a_port_that_is_taken_is_said() {
        let taken = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let address = taken.local_addr().expect("it listens");
        assert_eq!(port(address).state, State::Warning);
        drop(taken);
        assert_eq!(port(address).state, State::Good);
    }

    #[test]
    fn a_project_is_judged_by_its_files() {
        let folder = tempfile::tempdir().expect("a folder");
        let manifest = folder.path().join("spin.toml");
        let states = || -> Vec<_> {
            let checks = checks(&manifest);
            checks.iter().map(|check| check.state).collect()
        };
        assert_eq!(states(), [State::Missing]);
        let text = "spin_manifest_version = 2\n[application]\nname = \"a\"\n\
             [[trigger.http]]\nroute = \"/\"\ncomponent = \"a\"\n[component.a]\nsource = \"a.wasm\"\n";
        std::fs::write(&manifest, text).expect("a file");
        assert_eq!(states(), [State::Good, State::Good, State::Warning]);
        std::fs::write(folder.path().join("a.wasm"), b"junk").expect("a file");
        assert_eq!(states(), [State::Good, State::Good, State::Missing]);
        let more =
            format!("{text}[component.a.tool.ephemera]\npackage = \"a\"\nmodels = [\"m\"]\n");
        std::fs::write(&manifest, more).expect("a file");
        let expected = [State::Good, State::Good, State::Missing, State::Missing];
        assert_eq!(states(), expected);
    }
}
