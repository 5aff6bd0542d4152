//! The kernel's files -> memory and processor time of this process, of its control group and of the machine.
//!
//! They are read when somebody asks. What a kernel does not tell is left out.

use std::path::{Path, PathBuf};

use nix::sys::resource::{UsageWho, getrusage};

use super::text::{Kind, Text};
use crate::memory::field_kib;
use crate::telemetry::trail::cpu;

/// Writes all that is known.
pub(super) fn write(text: &mut Text) {
    write_process(text);
    write_usage(text);
    write_machine(text);
    write_processors(text);
    write_group(text);
}

fn write_process(text: &mut Text) {
    let status = read("/proc/self/status");
    let bytes = |field: &str| Some(field_kib(&status, field)? as f64 * 1024.0);
    let kinds = [
        ("anonymous", bytes("RssAnon:")),
        ("file", bytes("RssFile:")),
        ("shared", bytes("RssShmem:")),
    ];
    let mut family = text.family(
        Kind::Gauge,
        "ephemera_resident_bytes",
        "Memory of the process by kind. Only the anonymous kind is lost to others.",
    );
    for (kind, bytes) in kinds {
        if let Some(bytes) = bytes {
            family.sample(&[("kind", kind)], bytes);
        }
    }
    gauge(
        text,
        "process_resident_memory_bytes",
        "Resident memory of the process.",
        bytes("VmRSS:"),
    );
    gauge(
        text,
        "process_virtual_memory_bytes",
        "Address space of the process, nearly all of it reserved for instances and empty.",
        bytes("VmSize:"),
    );
    let descriptors = std::fs::read_dir("/proc/self/fd").map(Iterator::count);
    gauge(
        text,
        "process_open_fds",
        "Open file descriptors.",
        descriptors.ok().map(|count| count as f64),
    );
}

fn write_usage(text: &mut Text) {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) else {
        return;
    };
    text.family(
        Kind::Counter,
        "process_cpu_seconds",
        "Processor time of the process.",
    )
    .sample(&[], cpu(&usage).as_secs_f64());
    let mut family = text.family(
        Kind::Counter,
        "ephemera_process_page_faults",
        "Page faults of the whole process.",
    );
    for (kind, count) in [
        ("minor", usage.minor_page_faults()),
        ("major", usage.major_page_faults()),
    ] {
        family.sample(&[("kind", kind)], count as f64);
    }
}

fn write_machine(text: &mut Text) {
    let memory = read("/proc/meminfo");
    let bytes = |field: &str| Some(field_kib(&memory, field)? as f64 * 1024.0);
    gauge(
        text,
        "ephemera_machine_memory_bytes",
        "Memory that the machine has.",
        bytes("MemTotal:"),
    );
    gauge(
        text,
        "ephemera_machine_memory_available_bytes",
        "Memory that can be had without pushing anything else out.",
        bytes("MemAvailable:"),
    );
    let cores = std::thread::available_parallelism().ok();
    gauge(
        text,
        "ephemera_machine_cores",
        "Processors that the process may use.",
        cores.map(|cores| cores.get() as f64),
    );
}

/// Idle and busy time of all processors together.
fn write_processors(text: &mut Text) {
    let Some((idle, busy)) = processors(&read("/proc/stat")) else {
        return;
    };
    let mut family = text.family(
        Kind::Counter,
        "ephemera_machine_cpu_seconds",
        "Time of the machine's processors, idle or busy for anybody.",
    );
    for (mode, time) in [("idle", idle), ("busy", busy)] {
        family.sample(&[("mode", mode)], time);
    }
}

/// Seconds of the first line of `/proc/stat`: user, nice, system, idle, iowait, irq, softirq, steal, in hundredths on every Linux.
fn processors(stat: &str) -> Option<(f64, f64)> {
    let all = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let times: Vec<f64> = all
        .split_ascii_whitespace()
        .take(8)
        .map_while(|time| time.parse().ok())
        .collect();
    let idle = times.get(3)? + times.get(4)?;
    let sum: f64 = times.iter().sum();
    Some((idle / 100.0, (sum - idle) / 100.0))
}

fn write_group(text: &mut Text) {
    let group = group();
    let number = |file: &str| {
        let text = std::fs::read_to_string(group.as_ref()?.join(file)).ok()?;
        text.trim().parse::<f64>().ok()
    };
    gauge(
        text,
        "ephemera_cgroup_memory_bytes",
        "Memory of the process's control group, cached files included.",
        number("memory.current"),
    );
    // Without a limit the file says `max`.
    gauge(
        text,
        "ephemera_cgroup_memory_limit_bytes",
        "The control group's limit.",
        number("memory.max"),
    );
    let own = group.map(|group| read(group.join("memory.pressure")));
    let machine = || read("/proc/pressure/memory");
    let pressure = own.filter(|own| !own.is_empty()).unwrap_or_else(machine);
    let stalled = crate::pressure::stalled_percent(&pressure);
    gauge(
        text,
        "ephemera_memory_pressure_ratio",
        "Share of the last ten seconds in which something waited for memory, in the control group or else on the machine.",
        stalled.map(|percent| percent / 100.0),
    );
}

/// Of this process, in version 2.
fn group() -> Option<PathBuf> {
    let groups = read("/proc/self/cgroup");
    let own = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    Some(Path::new("/sys/fs/cgroup").join(own))
}

fn gauge(text: &mut Text, name: &str, help: &str, value: Option<f64>) {
    if let Some(value) = value {
        text.family(Kind::Gauge, name, help).sample(&[], value);
    }
}

/// A file of the kernel's; nothing if it is not there.
fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::text::Format;

    #[test]
    fn processors_are_idle_or_busy() {
        let stat = "cpu  100 0 50 800 50 0 0 25 7 7\ncpu0 1 2 3 4 5 6 7 8 9 0\n";
        assert_eq!(processors(stat), Some((8.5, 1.75)));
        assert_eq!(processors("cpu  1 2 3\n"), None);
        assert_eq!(processors(""), None);
    }

    #[test]
    fn this_process_is_described() {
        let mut text = Text::new(Format::Prometheus);
        write(&mut text);
        let text = text.end();
        let value = |name: &str| -> f64 {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            let value = line.unwrap_or_else(|| panic!("{name} in {text}"));
            value.trim().parse().expect("a number")
        };
        let anonymous = value("ephemera_resident_bytes{kind=\"anonymous\"}");
        assert!(anonymous > 65_536.0 && anonymous <= value("process_resident_memory_bytes"));
        assert!(value("ephemera_machine_memory_bytes") > value("process_resident_memory_bytes"));
        assert!(value("process_open_fds") >= 3.0);
        assert!(value("ephemera_process_page_faults_total{kind=\"minor\"}") > 0.0);
        assert!(value("ephemera_machine_cores") >= 1.0);
    }
}
