//! Runs that nobody waits for any more: they cannot be broken off, and go on. Their memory stays a part of the budget until they end.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::admission::{Admission, Hold};

/// What is known to both ends of a run.
#[derive(Debug, Default)]
struct State {
    has_ended: bool,
    held: Option<Hold>,
}

#[derive(Debug, Default)]
struct Shared(Mutex<State>);

/// Who waits for a run. Dropped before that has ended, the run counts in the budget from then on.
pub(super) struct Waits {
    shared: Arc<Shared>,
    admission: Option<Arc<Admission>>,
    bytes: usize,
}

/// A run; it has ended when this is dropped.
pub(super) struct Runs(Arc<Shared>);

/// Both ends of a run that takes so many bytes of the budget of `admission`, if there is one.
pub(super) fn ends(admission: Option<Arc<Admission>>, bytes: usize) -> (Waits, Runs) {
    let shared = Arc::new(Shared::default());
    let waits = Waits {
        shared: Arc::clone(&shared),
        admission,
        bytes,
    };
    (waits, Runs(shared))
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Both fields are whole even if a holder panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        if let (false, Some(admission)) = (state.has_ended, &self.admission) {
            state.held = Some(admission.hold_abandoned(self.bytes as u64));
        }
    }
}

impl Drop for Runs {
    fn drop(&mut self) {
        let held = {
            let mut state = self.0.state();
            state.has_ended = true;
            state.held.take()
        };
        drop(held);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::admission::Budget;

    #[test]
    fn what_goes_on_is_counted_until_it_ends() {
        let admission = Arc::new(Admission::new(Budget {
            memory_bytes: 100,
            instances: 1,
            waiting: 1,
            wait_time: Duration::ZERO,
        }));
        let held = || admission.load().abandoned_bytes;
        let begin = || ends(Some(Arc::clone(&admission)), 7);
        let (waits, runs) = begin();
        assert_eq!(held(), 0, "its request has a slot");
        drop(waits);
        assert_eq!(held(), 7);
        drop(runs);
        assert_eq!(held(), 0);
        let (waits, runs) = begin();
        drop(runs);
        drop(waits);
        assert_eq!(held(), 0, "it was waited for");
        drop(ends(None, 7));
    }
}
