//! Whether the machine is short of memory: the kernel's own signs -> how much of the budget to give out.
//!
//! In: pressure stall information, of the machine and of this process's control group, and how often the group ran into its limits. Out: a
//! share of 0 to 1 that halves while there is pressure and grows back when it has gone.

use std::path::{Path, PathBuf};

use crate::cgroup::{self, Group};

/// Percentage of the last ten seconds in which something waited for memory, from which on it counts as pressure. Below it reclaim keeps up.
const STALLED_PERCENT: f64 = 10.0;

/// The share grows by so much with every look that finds no pressure.
const GROWTH: f64 = 0.1;

/// And does not get smaller than this: one request runs in any case.
const LEAST: f64 = 1.0 / 16.0;

/// After halving, so many looks pass before it halves again: the kernel's mean over ten seconds still holds what was.
const REST: u32 = 10;

/// Looks at the kernel's files, and remembers what it saw.
#[derive(Debug)]
pub(crate) struct Gauge {
    stalls: PathBuf,
    group: Option<Group>,
    limit_hits: u64,
    share: f64,
    rest: u32,
}

impl Gauge {
    /// Of this process.
    pub(crate) fn new() -> Self {
        let own = cgroup::groups().into_iter().next();
        Self::of(Path::new("/proc/pressure/memory"), own)
    }

    /// Of a control group, if there is one that tells, else of the machine: what others suffer is not ours to mend.
    fn of(machine: &Path, group: Option<Group>) -> Self {
        let own = group.as_ref().and_then(Group::stalls);
        Self {
            stalls: own.unwrap_or(machine.to_owned()),
            limit_hits: group.as_ref().map_or(0, Group::limit_hits),
            group,
            share: 1.0,
            rest: 0,
        }
    }

    /// Looks again: the share of the budget to give out from now on.
    pub(crate) fn look(&mut self) -> f64 {
        let text = std::fs::read_to_string(&self.stalls).unwrap_or_default();
        let stalled = stalled_percent(&text).is_some_and(|percent| percent >= STALLED_PERCENT);
        let hits = self.group.as_ref().map_or(0, Group::limit_hits);
        let pressed = stalled || hits > self.limit_hits;
        self.limit_hits = hits;
        self.rest = self.rest.saturating_sub(1);
        if !pressed {
            self.share = (self.share + GROWTH).min(1.0);
        } else if self.rest == 0 {
            self.share = (self.share / 2.0).max(LEAST);
            self.rest = REST;
        }
        self.share
    }
}

/// `avg10` of the line `some` of a pressure file: in how much of the last ten seconds at least one task was stalled, in percent.
pub(crate) fn stalled_percent(text: &str) -> Option<f64> {
    let some = text.lines().find_map(|line| line.strip_prefix("some "))?;
    let mean = some
        .split(' ')
        .find_map(|field| field.strip_prefix("avg10="))?;
    mean.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::tests::group_in;

    const STALLED: &str = "some avg10=12.50 avg60=1.00 avg300=0.10 total=9\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n";
    const CALM: &str = "some avg10=9.99 avg60=50.00 avg300=50.00 total=9\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n";

    #[test]
    fn the_kernels_files_are_read() {
        assert_eq!(stalled_percent(STALLED), Some(12.5));
        assert_eq!(stalled_percent("full avg10=3.0\n"), None);
        assert_eq!(stalled_percent(""), None);
    }

    #[test]
    fn the_share_halves_under_pressure_and_grows_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |file: &str, text: &str| {
            std::fs::write(folder.path().join(file), text).expect("written");
        };
        write("machine", CALM);
        write("memory.events", "high 7\nmax 7\n");
        let mut gauge = Gauge::of(
            &folder.path().join("machine"),
            Some(group_in(folder.path())),
        );
        assert_eq!(gauge.look(), 1.0, "hits from before do not count");
        write("memory.events", "high 7\nmax 9\n");
        assert_eq!(gauge.look(), 1.0, "nor do cached files");
        write("machine", STALLED);
        let shares: Vec<f64> = (0..11).map(|_| gauge.look()).collect();
        assert_eq!((shares[0], shares[9], shares[10]), (0.5, 0.5, 0.25));
        write("machine", CALM);
        assert_eq!(gauge.look(), 0.35);
        write("memory.events", "high 8\nmax 9\n");
        for _ in 0..9 {
            gauge.look();
        }
        write("memory.events", "high 9\nmax 9\n");
        let before = gauge.share;
        assert_eq!(gauge.look(), before / 2.0);
        let shares: Vec<f64> = (0..20).map(|_| gauge.look()).collect();
        assert!(
            shares.is_sorted() && shares.last() == Some(&1.0),
            "{shares:?}"
        );
    }

    #[test]
    fn a_groups_own_pressure_counts_for_the_machines() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |file: &str, text: &str| {
            std::fs::write(folder.path().join(file), text).expect("written");
        };
        write("machine", STALLED);
        write("memory.pressure", CALM);
        let mut gauge = Gauge::of(
            &folder.path().join("machine"),
            Some(group_in(folder.path())),
        );
        assert_eq!(gauge.look(), 1.0);
        write("memory.pressure", STALLED);
        assert_eq!(gauge.look(), 0.5);
    }

    #[test]
    fn without_the_files_there_is_no_pressure() {
        let mut gauge = Gauge::of(Path::new("/nothing/here"), None);
        assert_eq!(gauge.look(), 1.0);
    }
}
