//! How long the steps of a request took, by a clock that whoever runs the function may give.

use std::time::Duration;

/// Time since some fixed moment, whichever.
pub type Clock<'a> = dyn Fn() -> Duration + 'a;

/// Takes the time of one step after the other.
pub struct Stopwatch<'a> {
    clock: Option<&'a Clock<'a>>,
    last: Duration,
    laps: Vec<(&'static str, Duration)>,
}

impl<'a> Stopwatch<'a> {
    /// Starts. Without a clock nothing is taken.
    pub fn start(clock: Option<&'a Clock<'a>>) -> Stopwatch<'a> {
        Stopwatch {
            clock,
            last: clock.map_or(Duration::ZERO, |clock| clock()),
            laps: Vec::new(),
        }
    }

    /// Ends the step of this name and begins the next one. A step that comes again goes on where it ended.
    pub fn lap(&mut self, step: &'static str) {
        let Some(clock) = self.clock else { return };
        let now = clock();
        let took = now.saturating_sub(self.last);
        self.last = now;
        match self.laps.iter_mut().find(|(known, _)| *known == step) {
            Some((_, sum)) => *sum += took,
            None => self.laps.push((step, took)),
        }
    }

    /// What was taken, in order.
    pub fn laps(&self) -> &[(&'static str, Duration)] {
        &self.laps
    }

    /// The header `Server-Timing` (W3C), durations in milliseconds; `None` without a clock.
    pub fn header(&self) -> Option<(&'static str, String)> {
        self.clock?;
        let steps = self.laps.iter().map(|(step, took)| {
            let tenths = took.as_micros().div_ceil(100);
            format!("{step};dur={}.{}", tenths / 10, tenths % 10)
        });
        let steps: Vec<String> = steps.collect();
        Some(("server-timing", steps.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn steps_follow_each_other() {
        let now = Cell::new(Duration::from_secs(5));
        let clock = || now.get();
        let mut watch = Stopwatch::start(Some(&clock));
        for (step, micros) in [("decode", 1_500), ("detect", 0), ("recognise", 123_401)] {
            now.set(now.get() + Duration::from_micros(micros));
            watch.lap(step);
        }
        // A clock that goes back.
        now.set(Duration::ZERO);
        watch.lap("render");
        let expected = "decode;dur=1.5, detect;dur=0.0, recognise;dur=123.5, render;dur=0.0";
        assert_eq!(watch.header(), Some(("server-timing", expected.to_owned())));
    }

    #[test]
    fn without_a_clock_nothing_is_told() {
        let mut watch = Stopwatch::start(None);
        watch.lap("decode");
        assert_eq!(watch.header(), None);
    }
}
