//! How much memory there is to give out: the machine's, or less where a control group says so.

use std::path::Path;

use anyhow::{Context, Result};

/// Bytes that can be used without pushing anything else out: what the kernel estimates for the machine, and what is left to
/// this process's control group (version 2) and those around it.
///
/// # Errors
///
/// No `/proc`, as on systems other than Linux.
pub fn available_bytes() -> Result<u64> {
    let machine = std::fs::read_to_string("/proc/meminfo").context("reading /proc/meminfo")?;
    let machine =
        field_kib(&machine, "MemAvailable:").context("no MemAvailable in /proc/meminfo")?;
    let group = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let groups = group_left(Path::new("/sys/fs/cgroup"), &group);
    Ok(groups.map_or(machine * 1024, |left| left.min(machine * 1024)))
}

/// A number of bytes as people write it: `512MiB`, `2G`, `1048576`. Prefixes are powers of 1024, with or without `iB` or `B`.
///
/// # Errors
///
/// Anything else, with what is expected.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let wrong = || format!("expected a size such as 512MiB or 2GiB, got `{text}`");
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim().to_ascii_lowercase();
    let prefix = unit
        .strip_suffix("ib")
        .or(unit.strip_suffix('b'))
        .unwrap_or(&unit);
    let shift = match prefix {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    number
        .checked_mul(1 << shift)
        .filter(|&bytes| bytes > 0)
        .ok_or_else(wrong)
}

/// The value of a field of `/proc/meminfo` or `/proc/self/status`, in KiB.
pub(crate) fn field_kib(text: &str, field: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    line?.trim().strip_suffix(" kB")?.parse().ok()
}

/// What is left to the control group that `/proc/self/cgroup` names, and to each one around it: the least of them. `None` without
/// limits.
fn group_left(root: &Path, cgroup: &str) -> Option<u64> {
    let own = cgroup.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let groups = Path::new(own).ancestors().map(|group| root.join(group));
    groups.filter_map(|group| left(&group)).min()
}

fn left(group: &Path) -> Option<u64> {
    let read = |file: &str| std::fs::read_to_string(group.join(file)).ok();
    let number = |file: &str| read(file)?.trim().parse::<u64>().ok();
    // `max` is no number, and no limit.
    let limit = number("memory.max")?;
    let used = number("memory.current")?;
    // Cached files count as used until somebody wants the memory.
    let cached = read("memory.stat").and_then(|stat| {
        let field = |line: &str| line.strip_prefix("inactive_file ")?.parse::<u64>().ok();
        stat.lines().find_map(field)
    });
    Some(limit.saturating_sub(used.saturating_sub(cached.unwrap_or(0))))
}

#[cfg(test)]
mod tests {
    use super::*;

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
            ],
        );
        for (cgroup, expected) in [
            ("0::/a/b\n", Some(500)),
            ("0::/a\n", Some(500)),
            ("0::/\n", None),
            ("0::/none\n", None),
            ("1:cpu:/a\n", None),
            ("", None),
        ] {
            assert_eq!(group_left(root.path(), cgroup), expected, "{cgroup}");
        }
        write("a", &[("memory.current", "5000\n")]);
        assert_eq!(
            group_left(root.path(), "0::/a/b\n"),
            Some(0),
            "over its limit"
        );
    }

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, expected) in [
            ("1048576", Some(1 << 20)),
            ("512MiB", Some(512 << 20)),
            ("512 mb", Some(512 << 20)),
            ("2G", Some(2 << 30)),
            ("1kb", Some(1024)),
            ("0", None),
            ("", None),
            ("MiB", None),
            ("1.5G", None),
            ("-1", None),
            ("1X", None),
            ("99999999999T", None),
        ] {
            assert_eq!(parse_bytes(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn this_machine_has_some() {
        assert!(available_bytes().expect("Linux") > 1 << 20);
    }
}
