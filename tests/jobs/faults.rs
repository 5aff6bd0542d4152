//! What goes wrong around a job: full disks, missing rights, inputs that change, claims that are gone. Told, tried again where that helps,
//! and nothing is lost.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::place::{Place, job_of};
use super::project::{Built, page};
use super::wait_until;
use crate::binary::{has, skip};

/// Starts what follows without the rights of root.
const WITHOUT_RIGHTS: [&str; 6] = [
    "setpriv",
    "--bounding-set",
    "-all",
    "--inh-caps",
    "-all",
    "--",
];

/// Fills the disk `$1` when it is in use, and makes room when the file `$2` is there; its results are copied to `$3` in the end.
const FULL_DISK: &str = r#"
disk=$1 room=$2 results=$3
shift 3
mkdir "$disk/in" "$disk/out"
"$@" &
worker=$!
trap 'kill "$worker"' TERM
until [ -e "$disk/in/progress.json" ]; do sleep 0.05; done
cat /dev/zero > "$disk/filler" 2>/dev/null
cp -r "$disk/../pages/." "$disk/in/" 2>/dev/null
touch "$room.full"
until [ -e "$room" ]; do sleep 0.05; done
rm "$disk/filler"
cp -r "$disk/../pages/." "$disk/in/"
while compgen -G "$disk/in/*.png" >/dev/null; do sleep 0.05; done
kill "$worker"
wait "$worker"
cp -r "$disk/." "$results/"
"#;

pub(super) fn set_mode(path: &Path, mode: u32) -> Result<()> {
    let permissions = std::fs::Permissions::from_mode(mode);
    Ok(std::fs::set_permissions(path, permissions)?)
}

/// What workers are started by so that the modes of files mean something to them.
pub(super) fn without_rights() -> Result<Vec<OsString>> {
    let root = std::fs::metadata("/proc/self")?.uid() == 0;
    let words = WITHOUT_RIGHTS.iter().filter(|_| root);
    Ok(words.map(OsString::from).collect())
}

/// Whether a disk of a test's own can be had; if not, with a word about it.
pub(super) fn can_mount() -> Result<bool> {
    if !has("bwrap") {
        skip("bubblewrap is not here")?;
        return Ok(false);
    }
    let tried = Command::new("bwrap")
        .args(["--bind", "/", "/", "--unshare-user", "true"])
        .status()?;
    if !tried.success() {
        // A setting of the machine's, and nothing that could be installed.
        eprintln!("skipped: this machine has no user namespaces for bubblewrap");
    }
    Ok(tried.success())
}

fn names<const N: usize>(names: [&str; N]) -> BTreeSet<String> {
    names.map(str::to_owned).into()
}

#[test]
fn results_wait_until_they_may_be_written() -> Result<()> {
    let place = Place::new()?;
    let Some(crew) = place.crew(&["--attempts", "1"])? else {
        return Ok(());
    };
    let mut crew = crew.wrapped(without_rights()?);
    set_mode(&place.out(), 0o555)?;
    place.put_pages(&["a.png", "b.png"])?;
    crew.start()?;
    wait_until("it says what is wrong", || {
        let problem = place.progress().ok().and_then(|told| {
            let problem = told["problem"].as_str()?;
            Some(problem.contains("Permission denied"))
        });
        Ok(problem == Some(true))
    })?;
    assert_eq!(place.waiting()?, names(["a.png", "b.png"]));
    set_mode(&place.out(), 0o755)?;
    wait_until("all is done", || Ok(place.waiting()?.is_empty()))?;
    crew.stop()?;
    assert_eq!(place.results()?, names(["a.png.txt", "b.png.txt"]));
    assert_eq!(place.names("failed")?, names([]));
    assert_eq!(place.progress()?["problem"], json!(null));
    Ok(())
}

#[test]
fn what_cannot_be_read_is_tried_again_and_told() -> Result<()> {
    let place = Place::new()?;
    let Some(crew) = place.crew(&["--attempts", "3"])? else {
        return Ok(());
    };
    let mut crew = crew.wrapped(without_rights()?);
    place.put_pages(&["late.png.hold", "never.png.hold"])?;
    for name in ["late.png", "never.png"] {
        let held = place.inbox().join(format!("{name}.hold"));
        set_mode(&held, 0)?;
        std::fs::rename(held, place.inbox().join(name))?;
    }
    // What it describes comes after it.
    let described = json!({"version": 1, "id": "d", "function": "ocr", "input": {"file": "d.png"}});
    place.put("d.png.job.json", described.to_string().as_bytes())?;
    crew.start()?;
    wait_until("both are tried", || {
        let said = crew.all_said()?;
        Ok(said.contains("late.png: again in") && said.contains("d.png.job.json: again in"))
    })?;
    set_mode(&place.inbox().join("late.png"), 0o644)?;
    place.put_pages(&["d.png"])?;
    wait_until("all has an end", || Ok(place.waiting()?.is_empty()))?;
    crew.stop()?;
    assert_eq!(place.results()?, names(["d.png.txt", "late.png.txt"]));
    let told = place.reason("never.png")?;
    let reason = told["reason"].as_str().context("a sentence")?;
    assert!(reason.contains("Permission denied"), "{reason}");
    assert_eq!(told["failures"], 3);
    assert_eq!(
        place.names("failed")?,
        names(["never.png", "never.png.reason.json"])
    );
    Ok(())
}

#[test]
fn a_full_disk_loses_nothing() -> Result<()> {
    if !can_mount()? {
        return Ok(());
    }
    let Some(built) = Built::new()? else {
        return Ok(());
    };
    // Inbox and results are on it: neither results nor claims nor progress can be written.
    let folder = tempfile::tempdir()?;
    let at = |name: &str| folder.path().join(name);
    for name in ["disk", "pages", "results"] {
        std::fs::create_dir(at(name))?;
    }
    let (page, _) = page()?;
    let wanted: Vec<String> = (0..8).map(|number| format!("{number}.png")).collect();
    for name in &wanted {
        std::fs::write(at("pages").join(name), &page)?;
    }
    let log = std::fs::File::create(at("log"))?;
    let mut sandboxed = Command::new("bwrap")
        .args(["--bind", "/", "/", "--dev", "/dev", "--proc", "/proc"])
        .args(["--unshare-user", "--die-with-parent", "--size", "131072"])
        .arg("--tmpfs")
        .arg(at("disk"))
        .args(["--", "bash", "-c", FULL_DISK, "bash"])
        .args([at("disk"), at("room"), at("results")])
        .arg(&built.program)
        .arg("--manifest")
        .arg(built.manifest())
        .args(["jobs", "--no-build", "--settle-s", "0", "--deaths", "3"])
        .arg("--inbox")
        .arg(at("disk").join("in"))
        .arg("--out")
        .arg(at("disk").join("out"))
        .env("EPHEMERA_LOG", "info")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()?;
    let said = || Ok::<_, anyhow::Error>(std::fs::read_to_string(at("log"))?);
    let ended = (|| {
        wait_until("the disk is full", || Ok(at("room.full").exists()))?;
        wait_until("it says so several times", || {
            Ok(said()?.matches("No space left on device").count() > 5)
        })?;
        std::fs::write(at("room"), "")?;
        wait_until("it ends", || Ok(sandboxed.try_wait()?.is_some()))
    })();
    // It may have ended by itself.
    let _ = sandboxed.kill();
    let status = sandboxed.wait()?;
    ended.with_context(|| said().unwrap_or_default())?;
    ensure!(status.success(), "{status}: {}", said()?);
    let results = super::names(&at("results").join("out"))?;
    let expected = wanted.iter().map(|name| format!("{name}.txt"));
    let failed = super::names(&at("results").join("in/failed"))?;
    assert!(failed.is_empty(), "{failed:?}: {}", said()?);
    assert_eq!(results, expected.collect::<BTreeSet<_>>());
    Ok(())
}

#[test]
fn what_is_deleted_or_replaced_while_it_is_worked_on() -> Result<()> {
    let place = Place::new()?;
    let Some(mut crew) = place.crew(&["--max-concurrency", "2"])? else {
        return Ok(());
    };
    let (deleted, replaced) = (job_of("deleted"), job_of("replaced"));
    place.put_job("deleted", "sleeping")?;
    place.put_job("replaced", "sleeping")?;
    crew.start()?;
    wait_until("both are worked on", || {
        Ok(place.holder(&deleted)?.is_some() && place.holder(&replaced)?.is_some())
    })?;
    // Claimed comes before read.
    std::thread::sleep(Duration::from_millis(500));
    std::fs::remove_file(place.inbox().join(&deleted))?;
    let (picture, word) = page()?;
    let job = json!({"version": 1, "id": "r", "function": "ocr", "input": {"file": "replaced"}});
    // Beside the description that is worked on, and so not an item.
    std::fs::write(place.inbox().join("replaced"), picture)?;
    place.put(&replaced, job.to_string().as_bytes())?;
    wait_until("all has an end", || {
        Ok(place.waiting()?.is_empty() && place.reason(&deleted).is_ok())
    })
    .with_context(|| crew.all_said().unwrap_or_default())?;
    crew.stop()?;
    let told = place.reason(&deleted)?;
    assert_eq!(told["reason"], "it was deleted while it was worked on");
    let text = std::fs::read_to_string(place.out().join("replaced.txt"))?;
    assert_eq!(text.trim(), word);
    let said = crew.all_said()?;
    assert!(said.contains("it changed meanwhile"), "{said}");
    assert_eq!(
        place.names("done")?,
        names(["replaced", "replaced.job.json"])
    );
    assert_eq!(place.names(".ephemera/claims")?, names([]));
    Ok(())
}

#[test]
fn claims_that_somebody_removed_are_made_anew() -> Result<()> {
    let place = Place::new()?;
    let Some(mut crew) = place.crew(&["--max-concurrency", "1", "--attempts", "1"])? else {
        return Ok(());
    };
    let slow = job_of("slow");
    place.put_job("slow", "sleeping")?;
    crew.start()?;
    crew.start()?;
    wait_until("it is worked on", || Ok(place.holder(&slow)?.is_some()))?;
    std::fs::remove_dir_all(place.inbox().join(".ephemera"))?;
    place.put_pages(&["a.png", "b.png"])?;
    wait_until("all has an end", || Ok(place.waiting()?.is_empty()))?;
    crew.stop()?;
    assert_eq!(place.results()?, names(["a.png.txt", "b.png.txt"]));
    let told = place.reason(&slow)?;
    let reason = told["reason"].as_str().context("a sentence")?;
    assert!(reason.contains("took longer than 3 s"), "{reason}");
    assert_eq!(
        place.names("failed")?.len(),
        2,
        "{:?}",
        place.names("failed")?
    );
    Ok(())
}

#[test]
fn an_item_of_another_machine_is_taken_when_its_lease_ends() -> Result<()> {
    let place = Place::new()?;
    let Some(mut crew) = place.crew(&[])? else {
        return Ok(());
    };
    place.put_pages(&["a.png", "b.png"])?;
    let expires = place.claim_elsewhere("b.png", 5)?;
    crew.start()?;
    wait_until("both are done", || Ok(place.waiting()?.is_empty()))?;
    crew.stop()?;
    assert_eq!(place.results()?, names(["a.png.txt", "b.png.txt"]));
    assert!(place.written("b.png.txt")? >= expires, "it was another's");
    Ok(())
}
