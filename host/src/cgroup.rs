//! Control groups: how much memory this process may use, as the kernel's files say, in version 1 and 2 of their layout.

use std::path::{Path, PathBuf};

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
    /// In `memory.stat`: cached files, which count as used until somebody wants the memory.
    cached: &'static str,
    /// The file that counts what the group could not be given, and the counters in it. Not those that cached files run into as well, which
    /// costs nobody anything.
    hits: (&'static str, &'static [&'static str]),
}

const VERSION_1: Files = Files {
    limit: "memory.limit_in_bytes",
    used: "memory.usage_in_bytes",
    cached: "total_inactive_file",
    hits: ("memory.oom_control", &["oom_kill"]),
};

const VERSION_2: Files = Files {
    limit: "memory.max",
    used: "memory.current",
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
