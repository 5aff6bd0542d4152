//! What the kernel says about our memory.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::memory::field_kib;

/// What the kernel counts times in for `/proc`: USER_HZ, which is 100 on every architecture that we build for.
const TICKS_PER_SECOND: u64 = 100;

/// Anonymous memory that is resident in this process, in bytes: what is lost to others. Mapped files are not in it.
///
/// # Errors
///
/// No `/proc`, as on systems other than Linux.
pub fn anonymous_bytes() -> Result<u64> {
    anonymous_bytes_of(std::process::id())
}

/// The same of any process.
///
/// # Errors
///
/// No such process, or no `/proc`.
pub fn anonymous_bytes_of(process: u32) -> Result<u64> {
    let status = format!("/proc/{process}/status");
    let status = std::fs::read_to_string(status).context("reading /proc")?;
    let kib = field_kib(&status, "RssAnon:").context("no RssAnon in a process's status")?;
    Ok(kib * 1024)
}

/// Anonymous memory of a process and all that descend from it, in bytes. A page that several of them share, as they do after a fork, counts
/// once.
///
/// # Errors
///
/// No such process, or no `/proc`.
pub fn anonymous_bytes_of_tree(root: u32) -> Result<u64> {
    let below = descendants(root).into_iter();
    // One of them may have ended since it was listed.
    let below: u64 = below
        .filter_map(|process| shared_out_bytes(process).ok())
        .sum();
    Ok(shared_out_bytes(root)? + below)
}

/// The processor time that a process and all that descend from it have taken so far; of those that have ended, what was taken until their
/// parent heard of it.
///
/// # Errors
///
/// No such process, or no `/proc`.
pub fn processor_time_of_tree(root: u32) -> Result<Duration> {
    let below = descendants(root).into_iter();
    let below: Duration = below
        .filter_map(|process| processor_time(process).ok())
        .sum();
    Ok(processor_time(root)? + below)
}

fn processor_time(process: u32) -> Result<Duration> {
    let stat = format!("/proc/{process}/stat");
    let stat = std::fs::read_to_string(stat).context("reading /proc")?;
    let ticks = ticks(&stat).context("no times in a process's stat")?;
    Ok(Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
}

/// Fields 14 to 17 of proc_pid_stat(5): its own time and that of its children that have ended, for each as a user and in the kernel.
fn ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let times = fields.split_ascii_whitespace().skip(14 - 3).take(4);
    let times: Vec<u64> = times.map(str::parse).collect::<Result<_, _>>().ok()?;
    (times.len() == 4).then(|| times.iter().sum())
}

fn descendants(root: u32) -> Vec<u32> {
    let mut all = children(root);
    let mut next = 0;
    while let Some(&process) = all.get(next) {
        all.extend(children(process));
        next += 1;
    }
    all
}

/// The anonymous memory of a process, of what it shares with others only its part, in bytes.
fn shared_out_bytes(process: u32) -> Result<u64> {
    let rollup = format!("/proc/{process}/smaps_rollup");
    let rollup = std::fs::read_to_string(rollup).context("reading /proc")?;
    let kib = field_kib(&rollup, "Pss_Anon:").context("no Pss_Anon in a process's smaps_rollup")?;
    Ok(kib * 1024)
}

/// The processes that any thread of `process` has started; none if it has ended.
fn children(process: u32) -> Vec<u32> {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{process}/task")) else {
        return Vec::new();
    };
    let lists = threads
        .filter_map(|thread| std::fs::read_to_string(thread.ok()?.path().join("children")).ok());
    let lists: Vec<String> = lists.collect();
    let numbers = lists.iter().flat_map(|list| list.split_ascii_whitespace());
    numbers.filter_map(|number| number.parse().ok()).collect()
}

/// Minor page faults of this thread so far: one for every page, or run of pages, that it touched first.
///
/// # Errors
///
/// No `/proc`, as on systems other than Linux.
pub fn thread_minor_faults() -> Result<u64> {
    let stat = std::fs::read_to_string("/proc/thread-self/stat").context("reading /proc")?;
    minor_faults(&stat)
}

/// Field 10 of proc_pid_stat(5). Field 2 is a name in parentheses that may hold anything, so counting starts after the last of them.
fn minor_faults(stat: &str) -> Result<u64> {
    stat.rsplit_once(')')
        .and_then(|(_, fields)| fields.split_ascii_whitespace().nth(10 - 3))
        .and_then(|faults| faults.parse().ok())
        .context("no minor faults in /proc/thread-self/stat")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found() {
        let status = "VmRSS:\t  10 kB\nRssAnon:\t  1234 kB\nRssFile:\t 9 kB\n";
        assert_eq!(field_kib(status, "RssAnon:"), Some(1234));
        assert_eq!(field_kib(status, "RssShmem:"), None);
        let stat = "7 (a) b) R 1 2 3 4 5 6 789 10 11";
        assert_eq!(minor_faults(stat).expect("there"), 789);
        assert!(minor_faults("7 (a) R 1").is_err());
        let stat = "7 (a) b) R 1 2 3 4 5 6 7 8 9 10 100 20 3 4 20 0";
        assert_eq!(ticks(stat), Some(127));
        assert_eq!(ticks("7 (a) R 1 2 3 4 5 6 7 8 9 10 100 20 3"), None);
    }

    #[test]
    fn a_tree_is_its_processes() {
        let own = shared_out_bytes(std::process::id()).expect("Linux");
        assert!(own > 0);
        // Two levels of processes, so that the lower one is found through the upper.
        let mut shell = std::process::Command::new("sh")
            .args(["-c", "sleep 60; true"])
            .spawn()
            .expect("a shell");
        let tree = |process: u32| {
            let below = children(process);
            (anonymous_bytes_of_tree(process).unwrap_or(0), below)
        };
        let (mut bytes, mut below) = tree(shell.id());
        for _ in 0..500 {
            if !below.is_empty() && bytes > shared_out_bytes(shell.id()).unwrap_or(0) {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
            (bytes, below) = tree(shell.id());
        }
        assert_eq!(below.len(), 1);
        assert!(children(std::process::id()).contains(&shell.id()));
        assert!(bytes > shared_out_bytes(shell.id()).expect("it runs"));
        let own = processor_time(shell.id()).expect("it runs");
        assert!(processor_time_of_tree(shell.id()).expect("it runs") >= own);
        for process in below {
            let killed = std::process::Command::new("kill")
                .arg(process.to_string())
                .status();
            assert!(killed.expect("kill").success());
        }
        shell.wait().expect("it ends");
        assert!(anonymous_bytes_of_tree(shell.id()).is_err());
    }

    #[test]
    fn touching_memory_shows() {
        let before = thread_minor_faults().expect("Linux");
        let mut pages = vec![0_u8; 64 << 20];
        for page in pages.chunks_mut(4096) {
            page[0] = 1;
        }
        std::hint::black_box(&pages);
        // Huge pages make it few.
        assert!(thread_minor_faults().expect("Linux") > before);
        assert!(anonymous_bytes().expect("Linux") >= 64 << 20);
    }
}
