//! Address space, and what a control group allows.

use std::path::Path;

use super::{Check, read};

/// What a pool of one instance for each core reserves at least, in bytes: 4 GiB of linear memory, its guards and a second's.
const ADDRESS_BYTES: u64 = 16 << 30;

/// A control group with less than this cannot run one request of the default ceiling beside the host.
const LEAST_MEMORY_BYTES: u64 = 192 << 20;

pub(super) fn checks() -> Vec<Check> {
    let groups = read("/proc/self/cgroup").unwrap_or_default();
    vec![
        overcommit(read("/proc/sys/vm/overcommit_memory").as_deref()),
        address_space(read("/proc/self/limits").as_deref()),
        control_group(Path::new("/sys/fs/cgroup"), &groups),
    ]
}

fn overcommit(text: Option<&str>) -> Check {
    let name = "overcommit";
    match text.map(str::trim) {
        Some("2") => Check::missing(
            name,
            "vm.overcommit_memory is 2: reserved address space counts as memory",
            "run `sysctl vm.overcommit_memory=0` as root",
        ),
        Some(mode) => Check::good(name, format!("vm.overcommit_memory is {mode}")),
        None => Check::note(name, "the kernel does not tell"),
    }
}

/// The soft limit of the line `Max address space` of `/proc/self/limits`.
fn address_space(limits: Option<&str>) -> Check {
    let name = "address space";
    let line = limits.and_then(|text| {
        let mut lines = text.lines();
        lines.find_map(|line| line.strip_prefix("Max address space"))
    });
    let soft = line.and_then(|line| line.split_whitespace().next());
    match soft.map(|soft| (soft, soft.parse::<u64>())) {
        Some((_, Ok(bytes))) if bytes < ADDRESS_BYTES => Check::missing(
            name,
            format!("limited to {} MiB", bytes >> 20),
            "run `ulimit -v unlimited`, or LimitAS=infinity in a unit: instances reserve gigabytes and use megabytes",
        ),
        Some((soft, _)) => Check::good(name, soft),
        None => Check::note(name, "the kernel does not tell"),
    }
}

/// The memory limit of the group that `/proc/self/cgroup` names, below the file system at `root`.
fn control_group(root: &Path, groups: &str) -> Check {
    let name = "control group";
    let number = |path: &Path| {
        std::fs::read_to_string(path)
            .ok()?
            .trim()
            .parse::<u64>()
            .ok()
    };
    let unified = groups.lines().find_map(|line| line.strip_prefix("0::/"));
    if let Some(own) = unified.filter(|_| root.join("cgroup.controllers").is_file()) {
        let group = root.join(own);
        let least = group.ancestors().take_while(|path| path.starts_with(root));
        let least = least
            .filter_map(|path| number(&path.join("memory.max")))
            .min();
        let controllers = std::fs::read_to_string(group.join("cgroup.controllers"));
        let controllers = controllers.unwrap_or_default();
        let memory = controllers.split_whitespace().any(|one| one == "memory");
        return match least {
            Some(bytes) if bytes < LEAST_MEMORY_BYTES => small(name, bytes),
            Some(bytes) => Check::good(name, format!("version 2, {} MiB", bytes >> 20)),
            None if memory => Check::good(name, "version 2, no limit of memory"),
            None => Check::note(
                name,
                "version 2, without the memory controller: the machine's memory is what counts",
            ),
        };
    }
    let memory = groups.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let controllers = fields.next()?;
        let mut named = controllers.split(',');
        named.any(|one| one == "memory").then(|| fields.next())?
    });
    let Some(own) = memory else {
        return Check::note(name, "none that limits memory");
    };
    // A container sees its own group as the root, whatever the path.
    let base = root.join("memory");
    let limit = |path: &str| number(&base.join(path).join("memory.limit_in_bytes"));
    let limit = limit(own.trim_start_matches('/')).or_else(|| limit(""));
    match limit {
        // No limit is the largest number of pages.
        Some(bytes) if bytes < 1 << 50 => Check::warning(
            name,
            format!(
                "version 1, {} MiB: only version 2 is read by itself",
                bytes >> 20
            ),
            format!("pass `--memory-budget {}MiB`", (bytes >> 20) / 4 * 3),
        ),
        _ => Check::good(name, "version 1, no limit of memory"),
    }
}

fn small(name: &str, bytes: u64) -> Check {
    Check::warning(
        name,
        format!(
            "{} MiB of memory are less than one request and the host may take",
            bytes >> 20
        ),
        "raise memory.max (MemoryMax= of a unit, --memory of a container) to 256 MiB or more",
    )
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    #[test]
    fn limits_of_address_space_are_judged() {
        let limits = |soft: &str| {
            format!("Limit Soft Hard Units\nMax address space {soft} unlimited bytes\n")
        };
        for (soft, expected) in [
            ("unlimited", State::Good),
            ("1073741824", State::Missing),
            ("1099511627776", State::Good),
        ] {
            assert_eq!(address_space(Some(&limits(soft))).state, expected, "{soft}");
        }
        assert_eq!(address_space(None).state, State::Note);
        assert_eq!(overcommit(Some("2\n")).state, State::Missing);
        assert_eq!(overcommit(Some("0\n")).state, State::Good);
    }

    #[test]
    fn both_versions_of_control_groups_are_read() {
        let root = tempfile::tempdir().expect("a folder");
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            std::fs::write(path, text).expect("a file");
        };
        let check = |groups| control_group(root.path(), groups);
        assert_eq!(check("").state, State::Note);

        write("memory/a/memory.limit_in_bytes", "536870912\n");
        write("memory/memory.limit_in_bytes", "9223372036854771712\n");
        let limited = check("5:cpu,memory:/a\n0::/\n");
        assert_eq!(limited.state, State::Warning);
        assert_eq!(
            limited.fix.as_deref(),
            Some("pass `--memory-budget 384MiB`")
        );
        assert_eq!(check("5:memory:/elsewhere\n").state, State::Good);

        write("cgroup.controllers", "cpu memory\n");
        write("s/memory.max", "1073741824\n");
        write("s/u/memory.max", "max\n");
        write("s/u/cgroup.controllers", "memory\n");
        for (groups, state, found) in [
            ("0::/s/u\n", State::Good, "version 2, 1024 MiB"),
            ("0::/\n", State::Good, "version 2, no limit of memory"),
            ("0::/t\n", State::Note, "without the memory controller"),
        ] {
            let check = check(groups);
            assert!(
                check.state == state && check.found.contains(found),
                "{check:?}"
            );
        }
        write("s/memory.max", "104857600\n");
        assert_eq!(check("0::/s/u\n").state, State::Warning);
    }
}
