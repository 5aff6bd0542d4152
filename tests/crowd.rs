//! Two hundred pages at once, sent to a server with a small budget in a control group that is not much larger.

use anyhow::{Context, Result};
use ephemera::bench::soak::{Options, soak};
use ephemera::cgroup::Limited;

use crate::{binary, runners};

const CROWD: u32 = 200;
const BUDGET: &str = "512MiB";
const GROUP_BYTES: u64 = 768 << 20;

/// What a server may have when nothing runs.
const IDLE_BYTES: u64 = 32 << 20;

#[test]
fn two_hundred_pages_at_once_end_nothing_and_leave_nothing() -> Result<()> {
    if let Err(error) = Limited::new(GROUP_BYTES) {
        // The right to make one is not a tool that could be installed.
        eprintln!("skipped: no control group can be made here: {error:#}");
        return Ok(());
    }
    let Some(program) = binary::path() else {
        return binary::skip("`ephemera` is not built: test the whole workspace");
    };
    runners::artifacts();
    let root = runners::root();
    let options = Options {
        requests: CROWD,
        clients: CROWD,
        file: Some(root.join("tests/cases/ocr/clean-page/request.png")),
        path: "/v1/ocr".to_owned(),
        memory_limit: Some(GROUP_BYTES),
        arguments: vec!["--memory-budget".to_owned(), BUDGET.to_owned()],
        out: None,
    };
    let soak = soak(&program, &root.join("spin.toml"), &options)?;
    let mut shown = Vec::new();
    soak.print(false, &mut shown)?;
    println!("{}", String::from_utf8_lossy(&shown));

    let answers = &soak.answers;
    assert_eq!(answers.ok + answers.busy, CROWD, "{answers:?}");
    // How many depends on the machine: whoever waits too long is told to come back.
    assert!(answers.ok > 0, "{answers:?}");
    let group = soak.group.as_ref().context("its group")?;
    assert_eq!(group.killed, 0);
    assert!(soak.idle_bytes <= IDLE_BYTES, "{} idle", soak.idle_bytes);
    assert!(
        soak.last_bytes <= IDLE_BYTES,
        "{} at the end",
        soak.last_bytes
    );
    Ok(())
}
