//! When a request has had its time, by a clock that whoever runs the function may give.

use std::time::Duration;

use ephemera_http::Clock;

use crate::Error;

/// The end of a request's time. Without a clock, or a limit, it never comes.
pub struct Deadline<'a> {
    running: Option<(&'a Clock<'a>, Duration)>,
    limit: Duration,
}

impl<'a> Deadline<'a> {
    /// Starts now.
    pub fn start(clock: Option<&'a Clock<'a>>, limit: Option<Duration>) -> Deadline<'a> {
        let running = clock.zip(limit);
        Deadline {
            running: running.map(|(clock, limit)| (clock, clock().saturating_add(limit))),
            limit: limit.unwrap_or(Duration::MAX),
        }
    }

    /// Whether there is time left.
    ///
    /// # Errors
    /// [`Error::Timeout`] when there is not.
    pub fn check(&self) -> Result<(), Error> {
        match self.running {
            Some((clock, end)) if clock() > end => Err(Error::Timeout {
                limit_s: self.limit.as_secs(),
            }),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn time_runs_out_once_the_limit_is_passed() {
        let now = Cell::new(Duration::from_secs(100));
        let clock = || now.get();
        let limited = Deadline::start(Some(&clock), Some(Duration::from_secs(3)));
        let unlimited = Deadline::start(Some(&clock), None);
        for (at, over) in [(100, false), (103, false), (104, true)] {
            now.set(Duration::from_secs(at));
            assert_eq!(limited.check().is_err(), over, "{at}");
            assert!(unlimited.check().is_ok());
        }
        assert!(Deadline::start(None, Some(Duration::ZERO)).check().is_ok());
    }
}
