//! What goes wrong around a job: full disks, missing rights, inputs that change, claims that are gone. Told, tried again where that helps,
//! and nothing is lost.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::json;

use super::disk::{FullDisk, words};
use super::place::{Place, job_of};
use super::producer::job;
use super::project::page;
use super::slow::SlowDisk;
use super::wait_until;

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
until [ -e "$room" ]; do sleep 0.05; done
rm -f "$disk"/in/*.png
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
    let Some(disk) = FullDisk::new()? else {
        return Ok(());
    };
    let pages = disk.at("pages");
    std::fs::create_dir(&pages)?;
    let (page, _) = page()?;
    let wanted: Vec<String> = (0..8).map(|number| format!("{number}.png")).collect();
    for name in &wanted {
        std::fs::write(pages.join(name), &page)?;
    }
    // Inbox and results are on it: neither results nor claims nor progress can be written.
    let (inbox, out) = (disk.at("disk/in"), disk.at("disk/out"));
    let folders = [("--inbox", inbox.as_path()), ("--out", out.as_path())];
    let said = disk.run(
        FULL_DISK,
        &words(&["--settle-s", "0", "--deaths", "3"], &folders),
    )?;
    let results = super::names(&disk.at("results/out"))?;
    let expected = wanted.iter().map(|name| format!("{name}.txt"));
    let failed = super::names(&disk.at("results/in/failed"))?;
    assert!(failed.is_empty(), "{failed:?}: {said}");
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

#[test]
fn a_pipe_is_told_and_not_waited_for() -> Result<()> {
    let place = Place::new()?;
    let Some(mut crew) = place.crew(&["--max-concurrency", "1", "--attempts", "1"])? else {
        return Ok(());
    };
    let pipe = place.inbox().join("a.png");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
    let described = json!({"version": 1, "id": "a", "function": "ocr", "input": {"file": "a.png"}});
    place.put("a.png.job.json", described.to_string().as_bytes())?;
    place.put_pages(&["b.png"])?;
    crew.once()?;
    assert_eq!(place.results()?, names(["b.png.txt"]));
    let told = place.reason("a.png.job.json")?;
    let reason = told["reason"].as_str().context("a sentence")?;
    assert!(reason.contains("expected a plain file"), "{reason}");
    assert!(pipe.exists());
    Ok(())
}

#[test]
fn a_name_that_somebody_took_meanwhile_stays_theirs() -> Result<()> {
    let place = Place::new()?;
    let Some(disk) = SlowDisk::new(&place.out().canonicalize()?)? else {
        return Ok(());
    };
    let Some(crew) = place.crew(&[])? else {
        return Ok(());
    };
    let mut crew = crew.wrapped(disk.wrapper());
    place.put_pages(&["a.png"])?;
    crew.start()?;
    disk.wait_until_asked()?;
    // Such as a worker of another inbox with the same folder of results.
    std::fs::write(place.out().join("a.png.txt"), "theirs")?;
    disk.hurry()?;
    wait_until("it is done", || Ok(place.waiting()?.is_empty()))?;
    crew.stop()?;
    assert_eq!(place.results()?, names(["a.png.txt", "a.png.1.txt"]));
    let read = |name: &str| std::fs::read_to_string(place.out().join(name));
    assert_eq!(read("a.png.txt")?, "theirs");
    assert_eq!(read("a.png.1.txt")?.trim(), page()?.1);
    Ok(())
}

#[test]
fn what_a_dead_worker_tried_where_a_job_wants_its_result_is_removed() -> Result<()> {
    let place = Place::new()?;
    let Some(mut crew) = place.crew(&[])? else {
        return Ok(());
    };
    let mut wanted = job("a", "ocr")?;
    wanted["reply"] = json!({"file": "sub/b.txt"});
    place.put(&job_of("a"), wanted.to_string().as_bytes())?;
    place.claim_of_the_dead(&job_of("a"), 7)?;
    let folder = place.out().join("sub");
    std::fs::create_dir(&folder)?;
    let theirs = place.folder().join("theirs");
    for path in [
        ".b.txt.7.0.part",
        ".b.txt.8.0.part",
        ".c.txt.7.0.part",
        ".b.txt.7.x.part",
    ] {
        std::fs::write(folder.join(path), "x")?;
    }
    std::fs::write(&theirs, "x")?;
    std::os::unix::fs::symlink(&theirs, folder.join(".b.txt.7.1.part"))?;
    // Somebody lives who has the number, such as in another container.
    let held = std::fs::File::create(folder.join(".b.txt.7.2.part"))?;
    held.lock()?;
    crew.once()?;
    let left = [
        ".b.txt.7.2.part",
        ".b.txt.7.x.part",
        ".b.txt.8.0.part",
        ".c.txt.7.0.part",
        "b.txt",
    ];
    assert_eq!(super::names(&folder)?, names(left));
    assert!(theirs.exists() && folder.join(".b.txt.7.1.part").is_symlink());
    Ok(())
}
