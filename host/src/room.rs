//! Bytes that clients make us hold, all together: bodies that arrive, answers that wait to be read.
//!
//! Who needs more than there is waits. One that holds some already waits only for a moment: if several did so for each other's, none would
//! ever go on.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How long one waits for more that holds some already.
const WAIT_FOR_MORE: Duration = Duration::from_secs(2);

/// A bounded number of bytes.
#[derive(Debug)]
pub(crate) struct Room {
    kib: Arc<Semaphore>,
    all_kib: u32,
    wait_time: Duration,
}

/// A part of a [`Room`], given back when dropped.
#[derive(Debug, Default)]
pub(crate) struct Held(Option<OwnedSemaphorePermit>);

/// It took too long until there was room.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Full;

impl Room {
    /// Of `all_kib`, for which one waits at most `wait_time`.
    pub(crate) fn new(all_kib: u32, wait_time: Duration) -> Self {
        Self {
            kib: Arc::new(Semaphore::new(all_kib as usize)),
            all_kib,
            wait_time,
        }
    }

    /// Makes `held` large enough for `bytes`. More than there is at all is taken for all there is.
    pub(crate) async fn grow(&self, held: &mut Held, bytes: usize) -> Result<(), Full> {
        let needed = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX);
        let needed = needed.min(self.all_kib);
        let has = held.kib();
        if needed <= has {
            return Ok(());
        }
        let kib = Arc::clone(&self.kib);
        let wait_time = match has {
            0 => self.wait_time,
            _ => WAIT_FOR_MORE.min(self.wait_time),
        };
        let more = tokio::time::timeout(wait_time, kib.acquire_many_owned(needed - has));
        let more = more.await.map_err(|_| Full)?;
        let more = more.expect("the semaphore is never closed");
        match &mut held.0 {
            Some(permit) => permit.merge(more),
            none => *none = Some(more),
        }
        Ok(())
    }
}

impl Room {
    /// What is held now, in bytes.
    pub(crate) fn held_bytes(&self) -> u64 {
        let free_kib = self.kib.available_permits() as u64;
        u64::from(self.all_kib).saturating_sub(free_kib) << 10
    }

    /// What there is, in bytes.
    pub(crate) fn all_bytes(&self) -> u64 {
        u64::from(self.all_kib) << 10
    }
}

impl Held {
    fn kib(&self) -> u32 {
        let kib = self.0.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        u32::try_from(kib).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn bytes_held_are_bounded() {
        let room = Room::new(3, Duration::from_millis(20));
        let (mut first, mut second, mut third) = Default::default();
        assert_eq!(room.grow(&mut first, 1025).await, Ok(()), "2 of 3 KiB");
        assert_eq!(room.grow(&mut second, 1).await, Ok(()), "3 of 3 KiB");
        assert_eq!(room.grow(&mut first, 2048).await, Ok(()), "it has them");
        assert_eq!(room.grow(&mut first, 2049).await, Err(Full));
        assert_eq!(room.grow(&mut third, 1).await, Err(Full));
        assert_eq!(room.grow(&mut third, 0).await, Ok(()));
        drop(first);
        assert_eq!(room.grow(&mut second, 3072).await, Ok(()));
        drop(second);
        assert_eq!(
            room.grow(&mut third, usize::MAX).await,
            Ok(()),
            "all there is"
        );
        assert_eq!(room.kib.available_permits(), 0);
        drop(third);
        assert_eq!(room.kib.available_permits(), 3);
    }
}
