//! What waits for a disk, on a thread behind which nobody waits: whoever renews a lease goes on meanwhile.

use anyhow::{Context, Result};

/// What `work` comes to. It goes on to its end even if nobody waits for that any more.
///
/// # Errors
///
/// It panicked.
pub(super) async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.context("it broke off")
}
