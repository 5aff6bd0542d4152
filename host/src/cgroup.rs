//! Control groups: how much memory this process may use, as the kernel's files say, in version 1 and 2 of their layout.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::memory::field;

/// Where groups are mounted: all of them, or those that count memory in version 1.
const MOUNT: &str = "/sys/fs/cgroup";

/// One group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Group {
    folder: PathBuf,
    files: &'static Files,
}

/// What the kernel calls things in one version.
#[derive(Debug, PartialEq, Eq)]
struct Files {
    limit: &'static str,
    used: &'static str,
    most: &'static str,
    /// In `memory.stat`: cached files, which count as used until somebody wants the memory.
    cached: &'static str,
    /// The file that counts what the group could not be given, and the counters in it. Not those that cached files run into as well, which
    /// costs nobody anything.
    hits: (&'static str, &'static [&'static str]),
}

const VERSION_1: Files = Files {
    limit: "memory.limit_in_bytes",
    used: "memory.usage_in_bytes",
    most: "memory.max_usage_in_bytes",
    cached: "total_inactive_file",
    hits: ("memory.oom_control", &["oom_kill"]),
};

const VERSION_2: Files = Files {
    limit: "memory.max",
    used: "memory.current",
    most: "memory.peak",
    cached: "inactive_file",
    hits: ("memory.events", &["high", "oom"]),
};

/// The group that counts this process's memory, and those around it, from the inside out. None where there are no groups.
pub(crate) fn groups() -> Vec<Group> {
    let own = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    groups_of(Path::new(MOUNT), &own)
}

/// By the text of `/proc/self/cgroup`. Where version 1 counts memory, version 2 does not.
fn groups_of(mount: &Path, own: &str) -> Vec<Group> {
    let in_version_1 = |line: &str| {
        let (controllers, path) = line.split_once(':')?.1.split_once(":/")?;
        let counts = controllers.split(',').any(|name| name == "memory");
        counts.then(|| path.to_owned())
    };
    let version_1 = own.lines().find_map(in_version_1);
    let version_2 = own.lines().find_map(|line| line.strip_prefix("0::/"));
    let (root, path, files) = match (version_1, version_2) {
        (Some(path), _) => (mount.join("memory"), path, &VERSION_1),
        (None, Some(path)) => (mount.to_owned(), path.to_owned(), &VERSION_2),
        (None, None) => return Vec::new(),
    };
    let folders = Path::new(&path).ancestors().map(|group| root.join(group));
    folders.map(|folder| Group { folder, files }).collect()
}

impl Group {
    /// Bytes until its limit; `None` without one.
    pub(crate) fn left_bytes(&self) -> Option<u64> {
        let number = |file: &str| self.read(file)?.trim().parse::<u64>().ok();
        // `max` is no number, and no limit.
        let limit = number(self.files.limit)?;
        let used = number(self.files.used)?;
        let stat = self.read("memory.stat").unwrap_or_default();
        let cached = field(&stat, self.files.cached).unwrap_or(0);
        Some(limit.saturating_sub(used.saturating_sub(cached)))
    }

    /// How often it was throttled, or could not be given memory at all.
    pub(crate) fn limit_hits(&self) -> u64 {
        let (file, counters) = self.files.hits;
        let text = self.read(file).unwrap_or_default();
        let counts = counters.iter().filter_map(|name| field(&text, name));
        counts.sum()
    }

    /// Its own pressure stall information, of version 2.
    pub(crate) fn stalls(&self) -> Option<PathBuf> {
        let file = self.folder.join("memory.pressure");
        file.is_file().then_some(file)
    }

    fn read(&self, file: &str) -> Option<String> {
        std::fs::read_to_string(self.folder.join(file)).ok()
    }
}

/// A group with a limit, for one process; it is gone with this value, once that process is.
#[derive(Debug)]
pub struct Limited {
    group: Group,
    limit_bytes: u64,
}

impl Limited {
    /// Makes a group whose processes may take `limit_bytes` in all, without swap.
    ///
    /// # Errors
    ///
    /// Groups that cannot be made here, as for a user who may not, and why.
    pub fn new(limit_bytes: u64) -> Result<Self> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("ephemera-{}-{number}", std::process::id());
        let outer = groups()
            .pop()
            .context("this machine has no control groups")?;
        let folder = outer.folder.join(name);
        std::fs::create_dir(&folder).context("making a control group")?;
        let group = Group {
            folder,
            files: outer.files,
        };
        let limited = Self { group, limit_bytes };
        let limit = limited.group.folder.join(outer.files.limit);
        std::fs::write(limit, limit_bytes.to_string()).context("limiting a control group")?;
        // Kernels that count no swap have no such file.
        let (file, value) = match *outer.files == VERSION_1 {
            true => ("memory.memsw.limit_in_bytes", limit_bytes),
            false => ("memory.swap.max", 0),
        };
        let _ = std::fs::write(limited.group.folder.join(file), value.to_string());
        Ok(limited)
    }

    /// The file that takes the number of a process that is to be in it; 0 is the one that writes.
    pub fn entrance(&self) -> PathBuf {
        self.group.folder.join("cgroup.procs")
    }

    /// Its limit, in bytes.
    pub fn limit_bytes(&self) -> u64 {
        self.limit_bytes
    }

    /// The most that its processes had, cached files included, in bytes.
    pub fn most_bytes(&self) -> Option<u64> {
        self.group.read(self.group.files.most)?.trim().parse().ok()
    }

    /// How many processes the kernel ended in it for want of memory.
    pub fn killed(&self) -> u64 {
        let text = self.group.read(self.group.files.hits.0);
        field(&text.unwrap_or_default(), "oom_kill").unwrap_or(0)
    }
}

impl Drop for Limited {
    fn drop(&mut self) {
        // A process that was just killed leaves a moment later.
        for _ in 0..100 {
            if std::fs::remove_dir(&self.group.folder).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A group of version 2 whose files lie in `folder`.
    pub(crate) fn group_in(folder: &Path) -> Group {
        Group {
            folder: folder.to_owned(),
            files: &VERSION_2,
        }
    }

    /// The least that is left to a group or those around it.
    fn least(mount: &Path, own: &str) -> Option<u64> {
        let groups = groups_of(mount, own);
        groups.iter().filter_map(Group::left_bytes).min()
    }

    #[test]
    fn the_least_of_the_groups_around_a_process_counts() {
        let root = tempfile::tempdir().expect("a folder");
        let write = |group: &str, files: &[(&str, &str)]| {
            let group = root.path().join(group);
            std::fs::create_dir_all(&group).expect("a folder");
            for (file, text) in files {
                std::fs::write(group.join(file), text).expect("a file");
            }
        };
        write("a/b", &[("memory.max", "max\n"), ("memory.current", "7\n")]);
        write(
            "a",
            &[
                ("memory.max", "1000\n"),
                ("memory.current", "700\n"),
                ("memory.stat", "anon 1\ninactive_file 200\nx 9\n"),
                (
                    "memory.events",
                    "low 9\nhigh 1\nmax 20\noom 300\noom_kill 4000\n",
                ),
            ],
        );
        write(
            "memory/c",
            &[
                ("memory.limit_in_bytes", "5000\n"),
                ("memory.usage_in_bytes", "4000\n"),
                ("memory.stat", "inactive_file 1\ntotal_inactive_file 600\n"),
                (
                    "memory.oom_control",
                    "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n",
                ),
            ],
        );
        for (own, expected) in [
            ("0::/a/b\n", Some(500)),
            ("0::/a\n", Some(500)),
            ("0::/\n", None),
            ("0::/none\n", None),
            ("1:cpu:/a\n", None),
            ("4:cpu,memory:/c/d\n0::/a\n", Some(1600)),
            ("4:memory:/\n0::/a\n", None),
            ("", None),
            ("nonsense\n", None),
        ] {
            assert_eq!(least(root.path(), own), expected, "{own}");
        }
        let hits = |own: &str| groups_of(root.path(), own)[0].limit_hits();
        assert_eq!(hits("0::/a\n"), 301);
        assert_eq!(hits("0::/a/b\n"), 0);
        assert_eq!(hits("4:memory:/c\n"), 3);

        write("a", &[("memory.current", "5000\n")]);
        assert_eq!(least(root.path(), "0::/a/b\n"), Some(0), "over its limit");
    }
}
