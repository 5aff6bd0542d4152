//! What the kernel says about our memory.

use anyhow::{Context, Result};

use crate::memory::field_kib;

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
