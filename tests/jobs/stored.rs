//! How often each result was stored, as the kernel saw it: a result takes its name by a rename, and every rename is counted.

use std::collections::BTreeMap;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Mutex};

use anyhow::{Result, ensure};
use rustix::fs::inotify::{CreateFlags, ReadFlags, Reader, WatchFlags, add_watch, init};

/// Counts what gets a name in one folder.
pub(super) struct Stored {
    counts: Arc<Mutex<Counts>>,
}

#[derive(Default)]
struct Counts {
    times: BTreeMap<String, usize>,
    lost: bool,
}

impl Stored {
    /// Counts from now on.
    pub(super) fn into(folder: &Path) -> Result<Self> {
        let watch = init(CreateFlags::CLOEXEC)?;
        add_watch(&watch, folder, WatchFlags::MOVED_TO)?;
        let counts = Arc::new(Mutex::new(Counts::default()));
        let ours = Arc::clone(&counts);
        // It ends with the folder, or with the tests.
        std::thread::spawn(move || count(watch, &ours));
        Ok(Self { counts })
    }

    /// How often so far, by name.
    pub(super) fn times(&self) -> Result<BTreeMap<String, usize>> {
        let counts = self.counts.lock().expect("nobody panics with it");
        ensure!(!counts.lost, "the kernel had more to tell than it can hold");
        Ok(counts.times.clone())
    }
}

fn count(watch: OwnedFd, counts: &Mutex<Counts>) {
    let mut space = [MaybeUninit::uninit(); 4096];
    let mut events = Reader::new(watch, &mut space);
    while let Ok(event) = events.next() {
        let mut counts = counts.lock().expect("nobody panics with it");
        if event.events().contains(ReadFlags::QUEUE_OVERFLOW) {
            counts.lost = true;
        }
        if event.events().contains(ReadFlags::IGNORED) {
            return;
        }
        if let Some(name) = event.file_name() {
            let name = name.to_string_lossy().into_owned();
            *counts.times.entry(name).or_default() += 1;
        }
    }
}
