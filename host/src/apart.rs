//! Work of a guest's that holds a thread: so much of it at once, and each counts until it has ended.
//!
//! A thread cannot be taken from what waits for a disk or a resolver. A guest that is gone, or that asked for little time, leaves its work
//! behind; if that counted no more, one request after the other would take another thread, until none is left for anybody.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinError;

/// Threads for one kind of work.
#[derive(Debug, Clone)]
pub(crate) struct Threads(Arc<Semaphore>);

/// For what one function, or one store, has to wait for.
impl Default for Threads {
    fn default() -> Self {
        Self::new(8)
    }
}

impl Threads {
    /// At most so many.
    pub(crate) fn new(count: usize) -> Self {
        Self(Arc::new(Semaphore::new(count)))
    }

    /// Does `work` when there is a thread for it. Who does not wait for that leaves nothing behind; once it has begun it goes on.
    ///
    /// # Errors
    ///
    /// It panicked.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, JoinError> {
        let permit = Arc::clone(&self.0).acquire_owned().await;
        let permit = permit.expect("the semaphore is never closed");
        let run = move || {
            let _permit = permit;
            work()
        };
        tokio::task::spawn_blocking(run).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc::{Receiver, channel};
    use std::time::Duration;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn work_that_nobody_waits_for_counts_until_it_ends() {
        let threads = Threads::new(1);
        let (begin, begun) = channel();
        let (end, ends) = channel::<()>();
        let ends = Arc::new(Mutex::new(ends));
        let start = |name: &'static str| {
            let (threads, begin, ends) = (threads.clone(), begin.clone(), Arc::clone(&ends));
            tokio::spawn(async move {
                let work = move || {
                    begin.send(name).expect("the test listens");
                    let ends: &Receiver<()> = &ends.lock().expect("nobody panics with it");
                    ends.recv().expect("the test says when");
                };
                threads.run(work).await
            })
        };
        let first = start("first");
        assert_eq!(begun.recv_timeout(PATIENCE), Ok("first"));
        first.abort();
        assert!(first.await.is_err_and(|error| error.is_cancelled()));
        let second = start("second");
        let third = start("third");
        let early = begun.recv_timeout(Duration::from_millis(50));
        assert!(early.is_err(), "{early:?} while the first goes on");
        // One that has not begun leaves nothing.
        second.abort();
        assert!(second.await.is_err_and(|error| error.is_cancelled()));
        end.send(()).expect("the first goes on");
        assert_eq!(begun.recv_timeout(PATIENCE), Ok("third"));
        end.send(()).expect("the third goes on");
        assert!(third.await.expect("it was not given up").is_ok());
        let panicked = threads.run(|| panic!("as asked")).await;
        assert!(panicked.is_err_and(|error: JoinError| error.is_panic()));
        assert_eq!(threads.0.available_permits(), 1);
    }
}
