//! The deployment files: a unit that systemd takes, a container file without complaints, manifests that fit, and a server that writes nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use anyhow::{Context, Result, ensure};

use crate::binary::{self, Running, has, skip};
use crate::runners::{self, Asked, over_http};

mod kubernetes;

/// What `systemd-analyze security` may find exposed, of 100; a unit without any hardening has 96.
const MAX_EXPOSURE: &str = "20";

fn deploy(file: &str) -> PathBuf {
    runners::root().join("host/deploy").join(file)
}

/// Runs a checker; what it says is part of the failure.
fn passes(command: &mut Command) -> Result<()> {
    let output = command.output().context("running the checker")?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    ensure!(output.status.success(), "{command:?}: {said}");
    Ok(())
}

#[test]
fn the_unit_is_valid_and_hardened() -> Result<()> {
    if !has("systemd-analyze") {
        return skip("systemd-analyze is not here");
    }
    let folder = tempfile::tempdir()?;
    let unit = folder.path().join("ephemera.service");
    // It is checked that the binary can be run, which this one is not yet.
    let text = std::fs::read_to_string(deploy("ephemera.service"))?;
    std::fs::write(&unit, text.replace("/usr/local/bin/ephemera", "/bin/true"))?;
    passes(
        Command::new("systemd-analyze")
            .args(["verify", "--man=no"])
            .arg(&unit),
    )?;
    let threshold = format!("--threshold={MAX_EXPOSURE}");
    let security = ["security", "--offline=true", "--no-pager", &threshold];
    passes(Command::new("systemd-analyze").args(security).arg(&unit))
}

#[test]
fn the_container_file_has_no_complaints() -> Result<()> {
    let ours = runners::root().join("target/formats/bin/hadolint");
    let linter = if ours.is_file() {
        ours
    } else {
        "hadolint".into()
    };
    if !has(&linter.to_string_lossy()) {
        return skip("hadolint is not here");
    }
    passes(Command::new(linter).arg(deploy("Containerfile")))
}

/// All files below `folder`, and when they were changed.
fn files(folder: &Path) -> Result<BTreeMap<PathBuf, SystemTime>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(&path)?);
        } else {
            let changed = path.metadata()?.modified()?;
            found.insert(path, changed);
        }
    }
    Ok(found)
}

#[test]
fn the_server_runs_as_nobody_with_a_read_only_root_and_writes_nothing() -> Result<()> {
    let Some(binary) = binary::path() else {
        return skip("the binary is not built: run `cargo build`");
    };
    if !has("bwrap") {
        return skip("bubblewrap is not here");
    }
    let namespaces = Command::new("bwrap")
        .args(["--ro-bind", "/", "/", "--unshare-user", "true"])
        .status()?;
    if !namespaces.success() {
        // A setting of the machine's, and nothing that could be installed.
        eprintln!("skipped: this machine has no user namespaces for bubblewrap");
        return Ok(());
    }
    // What the container file and the unit's description put together.
    let folder = tempfile::tempdir()?;
    let built = folder.path().join("target/ephemera");
    std::fs::create_dir_all(&built)?;
    std::fs::copy(
        runners::root().join("spin.toml"),
        folder.path().join("spin.toml"),
    )?;
    for artifact in runners::artifacts() {
        let path = &artifact.component;
        std::fs::copy(path, built.join(path.file_name().context("a name")?))?;
    }
    let serve = ["up", "--no-build", "--listen", "127.0.0.1:0"];
    // Compiles for this processor, as the image's build and the unit's installation do.
    let mut command = Command::new(&binary);
    command.args(serve);
    drop(Running::start(command, folder.path())?);
    let before = files(folder.path())?;

    let mut command = Command::new("bwrap");
    command
        .args(["--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"])
        .args(["--unshare-user", "--uid", "65532", "--gid", "65532"])
        .args(["--cap-drop", "ALL", "--die-with-parent", "--"])
        .arg(binary)
        .args(serve);
    let mut running = Running::start(command, folder.path())?;
    let health = Asked {
        method: "GET",
        target: "/health".to_owned(),
        headers: vec![],
        body: vec![],
    };
    assert_eq!(over_http(&running.address, &health)?.status, 200);
    let word = runners::root().join("tests/cases/ocr/single-word/request.png");
    let asked = Asked::file(&word, "text/plain")?;
    assert_eq!(over_http(&running.address, &asked)?.status, 200);
    let said = running.said();
    assert!(!said.contains("ERROR") && !said.contains("WARN"), "{said}");
    drop(running);
    assert_eq!(files(folder.path())?, before);
    Ok(())
}
