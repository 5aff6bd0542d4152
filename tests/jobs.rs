//! `ephemera jobs`: files that are dropped into a folder, with workers that are killed at any moment.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::{binary, runners};

const PAGES: usize = 40;
const KILLS: usize = 20;

/// Numbers that look random, from a seed that is printed.
struct Dice(u64);

impl Dice {
    fn thrown() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let seed = since.map_or(1, |since| since.as_nanos() as u64) | 1;
        println!("seed {seed}");
        Self(seed)
    }

    fn below(&mut self, limit: u64) -> u64 {
        // Marsaglia's xorshift64.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// A worker, which adds to a log of its own.
fn worker(program: &Path, folder: &Path, number: usize, more: &[&str]) -> Result<Child> {
    let log = std::fs::File::create(folder.join(format!("{number}.log")))?;
    Command::new(program)
        .arg("--manifest")
        .arg(runners::root().join("spin.toml"))
        .args(["jobs", "--no-build", "--settle-s", "0", "--deaths", "100"])
        .arg("--inbox")
        .arg(folder.join("in"))
        .arg("--out")
        .arg(folder.join("out"))
        .args(more)
        .env("EPHEMERA_LOG", "info")
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .context("starting a worker")
}

/// Names below `folder` and what is in the files.
fn files(folder: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            let name = entry.file_name().to_string_lossy().into_owned();
            found.insert(name, std::fs::read(entry.path())?);
        }
    }
    Ok(found)
}

#[test]
fn every_file_has_one_result_whoever_dies() -> Result<()> {
    let Some(program) = binary::path() else {
        return binary::skip("`ephemera` is not built: test the whole workspace");
    };
    runners::artifacts();
    let folder = tempfile::tempdir()?;
    let inbox = folder.path().join("in");
    std::fs::create_dir(&inbox)?;
    let page = std::fs::read(runners::root().join("tests/cases/ocr/single-word/request.png"))?;
    for number in 0..PAGES {
        std::fs::write(inbox.join(format!("{number:03}.png")), &page)?;
    }
    std::fs::write(inbox.join("broken.png"), "no picture")?;
    let described = json!({"version": 1, "id": "d", "function": "ocr", "input": {"file": "described.png"},
        "options": {"format": "json"}});
    std::fs::write(inbox.join("described.png"), &page)?;
    std::fs::write(inbox.join("described.png.job.json"), described.to_string())?;
    std::fs::write(inbox.join("odd.job.json"), "{\"version\": 1, \"idd\": 2}")?;

    let mut dice = Dice::thrown();
    let mut workers = vec![
        worker(&program, folder.path(), 0, &[])?,
        worker(&program, folder.path(), 1, &[])?,
    ];
    for kill in 0..KILLS {
        std::thread::sleep(Duration::from_millis(50 + dice.below(700)));
        let which = dice.below(2) as usize;
        workers[which].kill()?;
        workers[which].wait()?;
        workers[which] = worker(&program, folder.path(), 2 + kill, &[])?;
    }
    for mut worker in workers {
        worker.kill()?;
        worker.wait()?;
    }
    // What is left, by one that ends when there is nothing more.
    let last = worker(&program, folder.path(), 2 + KILLS, &["--once"])?.wait()?;
    ensure!(last.success(), "the last worker ended with {last}");

    let out = files(&folder.path().join("out"))?;
    let names: Vec<&String> = out.keys().collect();
    assert_eq!(out.len(), PAGES + 1, "{names:?}");
    let first = &out["000.png.txt"];
    assert!(!first.is_empty());
    for number in 0..PAGES {
        let name = format!("{number:03}.png.txt");
        assert_eq!(out.get(&name), Some(first), "{name}");
    }
    let answer: Value = serde_json::from_slice(&out["described.png.json"])?;
    assert_eq!(answer["page_width"].as_u64().map(|w| w > 0), Some(true));

    // Whoever stored a result said so, unless it died just then; nobody said it of the same file twice.
    let mut told = BTreeMap::<String, usize>::new();
    for (name, log) in files(folder.path())? {
        for line in String::from_utf8_lossy(&log).lines() {
            assert!(!line.contains("panicked"), "{name}: {line}");
            if let Some(before) = line.strip_suffix(": stored") {
                let item = before.rsplit(' ').next().unwrap_or_default();
                *told.entry(item.to_owned()).or_default() += 1;
            }
        }
    }
    assert!(told.values().all(|&times| times == 1), "{told:?}");
    assert!(told.len() > PAGES / 2, "{told:?}");

    let done = files(&inbox.join("done"))?;
    assert_eq!(done.len(), PAGES + 2, "{:?}", done.keys());
    let failed = files(&inbox.join("failed"))?;
    let reason = |name: &str| -> Result<String> {
        let told: Value = serde_json::from_slice(failed.get(name).context("a reason")?)?;
        Ok(told["reason"].as_str().context("a sentence")?.to_owned())
    };
    assert_eq!(failed.len(), 4, "{:?}", failed.keys());
    assert!(!reason("broken.png.reason.json")?.is_empty());
    assert!(reason("odd.job.json.reason.json")?.contains("unknown field `idd`"));
    let left = files(&inbox)?;
    assert_eq!(left.keys().collect::<Vec<_>>(), ["progress.json"]);
    assert!(files(&inbox.join(".ephemera/claims"))?.is_empty());
    Ok(())
}
