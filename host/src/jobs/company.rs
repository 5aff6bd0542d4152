//! Who runs beside whom: all together, but what may be what workers die of alone, so that no other dies with it.

use std::sync::Arc;

use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

/// What runs in this worker.
#[derive(Debug, Default)]
pub struct Companies(Arc<RwLock<()>>);

/// The right to run, until dropped.
#[derive(Debug)]
pub enum Company {
    /// Nothing else runs meanwhile.
    Alone(OwnedRwLockWriteGuard<()>),
    /// Others may.
    Together(OwnedRwLockReadGuard<()>),
}

/// Whether to run something alone of which workers died so often, if `limit` deaths are too many. Whoever was under way beside it at those
/// deaths is as suspect, until it has had a turn of its own.
pub fn is_suspect(deaths: u64, limit: u64) -> bool {
    deaths > 0 && deaths >= limit / 2
}

impl Companies {
    /// The right to run, if it can be had now.
    pub fn at_once(&self, alone: bool) -> Option<Company> {
        let all = Arc::clone(&self.0);
        match alone {
            true => all.try_write_owned().map(Company::Alone).ok(),
            false => all.try_read_owned().map(Company::Together).ok(),
        }
    }

    /// The right to run, as soon as it can be had, in the order of asking.
    pub async fn wait(&self, alone: bool) -> Company {
        let all = Arc::clone(&self.0);
        match alone {
            true => Company::Alone(all.write_owned().await),
            false => Company::Together(all.read_owned().await),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suspects_run_alone() {
        let all = Companies::default();
        let first = all.at_once(false).expect("nobody runs");
        let second = all.at_once(false).expect("both may");
        assert!(all.at_once(true).is_none());
        drop((first, second));
        let alone = all.at_once(true).expect("nobody runs");
        assert!(all.at_once(false).is_none());
        assert!(all.at_once(true).is_none());
        drop(alone);
        assert!(all.at_once(false).is_some());
    }

    #[test]
    fn half_of_the_deaths_make_a_suspect() {
        for (deaths, limit, expected) in [
            (0, 1, false),
            (1, 2, true),
            (1, 3, true),
            (4, 10, false),
            (5, 10, true),
        ] {
            assert_eq!(is_suspect(deaths, limit), expected, "{deaths} of {limit}");
        }
    }
}
