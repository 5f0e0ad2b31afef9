//! Who may begin a batch: a small one not while another is being worked on, and large bodies one
//! batch at a time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use super::acks::HELD_UP_AFTER;
use crate::sync::lock;

/// The most lanes of a worker.
pub(crate) const LANES_MAX: usize = 64;

/// More batches are not worked on at a time.
const AT_WORK_MAX: u32 = LANES_MAX as u32;

/// The batches that are being worked on. Each has a permit of these, but for those that are held
/// up.
#[derive(Debug)]
pub(super) struct AtWork(Mutex<Arc<Semaphore>>);

impl Default for AtWork {
    fn default() -> Self {
        Self(Mutex::new(nobody()))
    }
}

impl AtWork {
    /// Waits until no batch is being worked on. Those that are held up do not count any more.
    pub(super) async fn until_none(&self) {
        let permits = self.permits().clone();
        let all = tokio::time::timeout(HELD_UP_AFTER, permits.acquire_many(AT_WORK_MAX));
        if all.await.is_err() {
            *self.permits() = nobody();
        }
    }

    /// A batch is begun; it is being worked on as long as there is this.
    pub(super) async fn begin(&self) -> OwnedSemaphorePermit {
        let permits = self.permits().clone();
        match permits.acquire_owned().await {
            Ok(permit) => permit,
            Err(_) => unreachable!("nobody closes the semaphore"),
        }
    }

    fn permits(&self) -> MutexGuard<'_, Arc<Semaphore>> {
        lock(&self.0)
    }
}

fn nobody() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(AT_WORK_MAX as usize))
}

/// Who may work on large bodies: one batch at a time.
#[derive(Debug, Default)]
pub(super) struct LargeBodyPermits {
    is_taken: AtomicBool,
    /// Rung when the turn is free, among other things.
    pub(super) stirred: Notify,
}

impl LargeBodyPermits {
    pub(super) fn is_taken(&self) -> bool {
        self.is_taken.load(Ordering::Relaxed)
    }

    /// The turn, if nobody has it.
    pub(super) fn take(self: &Arc<Self>) -> Option<LargeBodyPermit> {
        if self.is_taken.swap(true, Ordering::Relaxed) {
            None
        } else {
            Some(LargeBodyPermit(self.clone()))
        }
    }
}

/// The turn with large bodies.
#[derive(Debug)]
pub struct LargeBodyPermit(Arc<LargeBodyPermits>);

impl Drop for LargeBodyPermit {
    fn drop(&mut self) {
        self.0.is_taken.store(false, Ordering::Relaxed);
        self.0.stirred.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_batch_waits_for_the_one_before_but_not_for_one_that_is_held_up() {
        let at_work = AtWork::default();
        at_work.until_none().await;
        let first = at_work.begin().await;
        tokio::time::timeout(HELD_UP_AFTER / 2, at_work.until_none())
            .await
            .expect_err("it is being worked on");
        drop(first);
        tokio::time::timeout(HELD_UP_AFTER / 2, at_work.until_none())
            .await
            .expect("it is done");
        let held_up = at_work.begin().await;
        at_work.until_none().await;
        tokio::time::timeout(HELD_UP_AFTER / 2, at_work.until_none())
            .await
            .expect("it does not count any more");
        drop(held_up);
    }

    #[test]
    fn one_batch_has_the_turn_with_large_bodies_and_rings_when_it_is_free() {
        let turns = Arc::new(LargeBodyPermits::default());
        let turn = turns.take().expect("nobody has it");
        assert!(turns.is_taken() && turns.take().is_none());
        drop(turn);
        assert!(!turns.is_taken() && turns.take().is_some());
    }
}
