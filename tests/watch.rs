//! `ephemera up --watch`: what changes is built and served, and what does not build is not.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::binary::{self, Running, skip};
use crate::runners::{Asked, over_http};
use crate::spin_manifest::READER;

const MANIFEST: &str = r#"
spin_manifest_version = 2
[application]
name = "watched"
[[trigger.http]]
route = "/..."
component = "reader"
[component.reader]
source = "built.wasm"
key_value_stores = ["default"]
environment = { VERSION = "1" }
[component.reader.build]
command = "cp source.wasm built.wasm"
watch = ["source.wasm"]
"#;

fn version(running: &Running) -> Result<String> {
    let asked = Asked {
        method: "GET",
        target: "/?env=VERSION".to_owned(),
        headers: vec![],
        body: vec![],
    };
    let answer = over_http(&running.address, &asked)?;
    ensure!(answer.status == 200, "{}", answer.status);
    Ok(String::from_utf8_lossy(&answer.body).into_owned())
}

/// Asks until the answer is `expected`; every answer on the way is one of the old version's.
fn becomes(running: &Running, old: &str, expected: &str) -> Result<()> {
    let until = Instant::now() + Duration::from_secs(120);
    loop {
        let now = version(running)?;
        if now == expected {
            return Ok(());
        }
        ensure!(now == old, "expected {old} or {expected}, got {now}");
        ensure!(Instant::now() < until, "it is still {now}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn changes_are_served_and_failures_are_not() -> Result<()> {
    let Some(binary) = binary::path() else {
        return skip("the binary is not built: run `cargo build`");
    };
    for device in ["guest", "cpu"] {
        watched(&binary, device).with_context(|| device.to_owned())?;
    }
    Ok(())
}

/// With models on `device`.
fn watched(binary: &Path, device: &str) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let write = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes);
    write("spin.toml", MANIFEST.as_bytes())?;
    write("source.wasm", &READER)?;
    let mut command = Command::new(binary);
    command.args([
        "up",
        "--watch",
        "--listen",
        "127.0.0.1:0",
        "--device",
        device,
    ]);
    let mut running = Running::start(command, folder.path())?;
    assert_eq!(version(&running)?, "1");
    running.wait_for("watching for changes")?;

    write("source.wasm", b"not WebAssembly")?;
    running.wait_for("still serving what was built before")?;
    assert_eq!(version(&running)?, "1");

    write("source.wasm", &READER)?;
    running.wait_for("serving what was built")?;
    let second = MANIFEST.replace("VERSION = \"1\"", "VERSION = \"2\", MORE = \"x\"");
    write("spin.toml", second.as_bytes())?;
    becomes(&running, "1", "2")?;

    write("spin.toml", b"not a manifest")?;
    running.wait_for("still serving what was built before")?;
    assert_eq!(version(&running)?, "2");
    write("spin.toml", MANIFEST.as_bytes())?;
    becomes(&running, "2", "1")
}
