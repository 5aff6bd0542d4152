//! How much memory there is to give out: the machine's, or less where a control group says so.

use anyhow::{Context, Result};

use crate::cgroup::{self, Group};

/// Bytes that can be used without pushing anything else out: what the kernel estimates for the machine, and what is left to
/// this process's control group and those around it.
///
/// # Errors
///
/// No `/proc`, as on systems other than Linux.
pub fn available_bytes() -> Result<u64> {
    let machine = std::fs::read_to_string("/proc/meminfo").context("reading /proc/meminfo")?;
    let machine =
        field_kib(&machine, "MemAvailable:").context("no MemAvailable in /proc/meminfo")?;
    let groups = cgroup::groups();
    let left = groups.iter().filter_map(Group::left_bytes).min();
    Ok(left.map_or(machine * 1024, |left| left.min(machine * 1024)))
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

/// The value of a line that is a name, a space and a number.
pub(crate) fn field(text: &str, name: &str) -> Option<u64> {
    let value = |line: &str| {
        line.strip_prefix(name)?
            .strip_prefix(' ')?
            .trim()
            .parse()
            .ok()
    };
    text.lines().find_map(value)
}

/// The value of a field of `/proc/meminfo` or `/proc/self/status`, in KiB.
pub(crate) fn field_kib(text: &str, field: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    line?.trim().strip_suffix(" kB")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

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
