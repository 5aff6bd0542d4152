//! An inbox and its folder of results, as who drops files into it sees them.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use ephemera::jobs::claim::{Identity, Record, now};
use ephemera::jobs::inbox::{Inbox, Item};
use serde_json::{Value, json};

use super::crew::Crew;
use super::names;
use super::project::{Built, page};

/// Both, in a folder that goes with it.
pub(super) struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    pub(super) fn new() -> Result<Self> {
        let place = Self {
            folder: tempfile::tempdir()?,
        };
        std::fs::create_dir(place.inbox())?;
        std::fs::create_dir(place.out())?;
        Ok(place)
    }

    /// Where both are.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(super) fn inbox(&self) -> PathBuf {
        self.folder.path().join("in")
    }

    pub(super) fn out(&self) -> PathBuf {
        self.folder.path().join("out")
    }

    /// Its workers, none yet; `None`, with a word about it, if they cannot be built.
    pub(super) fn crew(&self, more: &[&str]) -> Result<Option<Crew>> {
        let Some(built) = Built::new()? else {
            return Ok(None);
        };
        let mut arguments: Vec<OsString> = ["--settle-s", "0", "--inbox"].map(Into::into).into();
        arguments.extend([self.inbox().into(), "--out".into(), self.out().into()]);
        arguments.extend(more.iter().map(Into::into));
        Crew::new(built, arguments).map(Some)
    }

    /// Drops a file in, as careful producers do it: under another name until it is whole.
    pub(super) fn put(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let part = self.inbox().join(format!("{name}.part"));
        std::fs::write(&part, bytes)?;
        Ok(std::fs::rename(part, self.inbox().join(name))?)
    }

    /// Drops in pages with one word.
    pub(super) fn put_pages(&self, names: &[&str]) -> Result<()> {
        let (picture, _) = page()?;
        names.iter().try_for_each(|name| self.put(name, &picture))
    }

    /// Drops in `name.job.json`, by which `function` gets an empty input.
    pub(super) fn put_job(&self, name: &str, function: &str) -> Result<()> {
        let job =
            json!({"version": 1, "id": name, "function": function, "input": {"inline": "eA=="}});
        self.put(&job_of(name), job.to_string().as_bytes())
    }

    /// Whether there is something to be done.
    pub(super) fn has(&self, item: &str) -> bool {
        self.inbox().join(item).exists()
    }

    /// Names in a folder below the inbox.
    pub(super) fn names(&self, folder: &str) -> Result<BTreeSet<String>> {
        names(&self.inbox().join(folder))
    }

    /// Items that are not done, by name.
    pub(super) fn waiting(&self) -> Result<BTreeSet<String>> {
        let mut names = self.names("")?;
        names.retain(|name| name != "progress.json" && !name.starts_with('.'));
        Ok(names)
    }

    /// Names of results.
    pub(super) fn results(&self) -> Result<BTreeSet<String>> {
        let mut names = names(&self.out())?;
        names.retain(|name| !name.starts_with('.'));
        Ok(names)
    }

    /// What is told of an item that was given up.
    pub(super) fn reason(&self, item: &str) -> Result<Value> {
        let name = format!("{item}.reason.json");
        let told = std::fs::read(self.inbox().join("failed").join(&name));
        Ok(serde_json::from_slice(&told.context(name)?)?)
    }

    /// How far all workers say that they are.
    pub(super) fn progress(&self) -> Result<Value> {
        let told = std::fs::read(self.inbox().join("progress.json"))?;
        Ok(serde_json::from_slice(&told)?)
    }

    /// What its workers know of an item, if it has ever been begun and is still there.
    pub(super) fn record(&self, item: &str) -> Result<Option<Record>> {
        let Some(path) = self.claim(item)? else {
            return Ok(None);
        };
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let line = text.lines().next().unwrap_or_default();
        Ok(serde_json::from_str(line).ok())
    }

    /// The file of its claim; `None` if it is gone.
    fn claim(&self, item: &str) -> Result<Option<PathBuf>> {
        let Ok(metadata) = std::fs::metadata(self.inbox().join(item)) else {
            return Ok(None);
        };
        let item = Item {
            below: item.into(),
            identity: Identity::of(&metadata),
        };
        let inbox = Inbox::open(&self.inbox(), Duration::ZERO)?;
        Ok(Some(inbox.claim_of(&item)))
    }

    /// The process that works on an item now.
    pub(super) fn holder(&self, item: &str) -> Result<Option<u32>> {
        let record = self.record(item)?;
        Ok(record.and_then(|record| (record.expires > 0).then_some(record.process)))
    }

    /// Claims an item for another machine, for `lease_s` seconds; when that ends, in seconds since 1970 UTC.
    pub(super) fn claim_elsewhere(&self, item: &str, lease_s: u64) -> Result<u64> {
        let record = Record {
            machine: "another".to_owned(),
            process: 1,
            expires: now() + lease_s,
            lease_s,
            ..Record::default()
        };
        let path = self.claim(item)?.context("an item")?;
        std::fs::write(path, serde_json::to_vec(&record)?)?;
        Ok(record.expires)
    }

    /// Leaves the claim of a process of this machine that died with an item.
    pub(super) fn claim_of_the_dead(&self, item: &str, process: u32) -> Result<()> {
        let there = std::fs::metadata(self.inbox().join(item))?;
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
        let record = Record {
            item: Some(Identity::of(&there)),
            machine: boot.trim().to_owned(),
            process,
            expires: now() + 60,
            ..Record::default()
        };
        let path = self.claim(item)?.context("an item")?;
        Ok(std::fs::write(path, serde_json::to_vec(&record)?)?)
    }

    /// When a result was written, in seconds since 1970 UTC.
    pub(super) fn written(&self, result: &str) -> Result<u64> {
        let metadata = std::fs::metadata(self.out().join(result))?;
        Ok(u64::try_from(metadata.mtime())?)
    }
}

/// The name of the description of a job.
pub(super) fn job_of(name: &str) -> String {
    format!("{name}.job.json")
}
