//! How much may come in: a connection is not read from while too much of what came is not settled.
//! Then the broker waits, as TCP makes it.
//!
//! The window ([`super::prefetch_window`]) asks for few requests where they are large. But what it
//! asked for while they were small keeps coming when large ones follow, for as long as the broker
//! has not heard otherwise, and the client library takes in whatever comes.

use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use crate::limits::UNSETTLED_BYTES_MAX;
use futures_util::task::AtomicWaker;

/// What came in over one connection.
#[derive(Debug, Default)]
pub(super) struct ReadGate {
    /// Bytes of bodies that came in and are not settled.
    held: AtomicUsize,
    /// How many requests that is.
    requests: AtomicUsize,
    /// How many the broker is asked for now.
    asked_for: AtomicU16,
    /// Bytes that were read, whatever they are, and that nobody has looked at.
    unseen: AtomicUsize,
    /// How many wait for an answer of the broker that may stand behind all that.
    waiting: AtomicUsize,
    /// What the largest requests take that the window asks for in any case.
    largest: AtomicUsize,
    reader: AtomicWaker,
}

/// As long as there is this, everything is read.
#[derive(Debug)]
pub(super) struct Open<'i>(&'i ReadGate);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl ReadGate {
    /// Bytes of bodies that came in and are not settled.
    pub(super) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// How many requests came in and are not settled.
    pub(super) fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }

    /// How many requests the broker is asked for now.
    pub(super) fn asked_for(&self) -> u16 {
        self.asked_for.load(Ordering::Relaxed)
    }

    /// The broker is asked for so many from now on.
    pub(super) fn ask_for(&self, prefetch: u16) {
        self.asked_for.store(prefetch, Ordering::Relaxed);
    }

    /// What was read and not looked at so far: to be given to [`Self::looked_at`] after the look.
    pub(super) fn unseen(&self) -> usize {
        self.unseen.load(Ordering::Relaxed)
    }

    /// The deliveries among so many bytes are accounted for, but for what has not come in as a
    /// whole.
    pub(super) fn looked_at(&self, bytes: usize) {
        self.unseen.fetch_sub(bytes, Ordering::Relaxed);
        self.reader.wake();
    }

    /// Lets so many bytes in at once, whatever is held.
    pub(super) fn expect(&self, bytes: usize) {
        self.largest.store(bytes, Ordering::Relaxed);
    }

    /// A body came in.
    pub(super) fn take(&self, bytes: usize) {
        self.held.fetch_add(bytes, Ordering::Relaxed);
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// So many requests are settled, with so many bytes of bodies; how many bytes were held until
    /// now.
    pub(super) fn settle(&self, requests: usize, bytes: usize) -> usize {
        self.requests.fetch_sub(requests, Ordering::Relaxed);
        let held = self.held.fetch_sub(bytes, Ordering::Relaxed);
        self.reader.wake();
        held
    }

    /// Reads everything for a while: there will be an answer.
    pub(super) fn open(&self) -> Open<'_> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        self.reader.wake();
        Open(self)
    }

    /// While nothing is held somebody waits for what comes, however much it is.
    fn is_full(&self) -> bool {
        let waiting = self.waiting.load(Ordering::Relaxed);
        let most = self
            .largest
            .load(Ordering::Relaxed)
            .max(UNSETTLED_BYTES_MAX);
        waiting == 0 && self.held() > 0 && self.held() + self.unseen() > most
    }
}

impl ReadGate {
    /// Ready as long as there is room for more.
    pub(super) fn poll_room(&self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.is_full() {
            return Poll::Ready(());
        }
        self.reader.register(cx.waker());
        // It may have changed in between.
        if self.is_full() {
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    }

    /// Notes that so many bytes were read.
    pub(super) fn read(&self, bytes: usize) {
        self.unseen.fetch_add(bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_more_is_read_while_too_much_is_held_or_unseen() {
        let gate = ReadGate::default();
        gate.read(2 * UNSETTLED_BYTES_MAX);
        assert!(!gate.is_full(), "nothing is held: somebody waits for this");
        gate.looked_at(2 * UNSETTLED_BYTES_MAX);
        gate.take(UNSETTLED_BYTES_MAX);
        assert!(!gate.is_full());
        gate.read(1);
        assert!(gate.is_full());
        gate.settle(1, UNSETTLED_BYTES_MAX);
        assert!(!gate.is_full());
        assert_eq!((gate.held(), gate.requests()), (0, 0));
    }

    #[test]
    fn everything_is_read_while_an_answer_is_waited_for() {
        let gate = ReadGate::default();
        gate.take(UNSETTLED_BYTES_MAX + 1);
        assert!(gate.is_full());
        let open = gate.open();
        assert!(!gate.is_full());
        drop(open);
        assert!(gate.is_full());
    }

    #[test]
    fn what_the_largest_requests_take_is_always_let_in() {
        let gate = ReadGate::default();
        gate.expect(3 * UNSETTLED_BYTES_MAX);
        gate.take(2 * UNSETTLED_BYTES_MAX);
        assert!(!gate.is_full());
        gate.take(2 * UNSETTLED_BYTES_MAX);
        assert!(gate.is_full());
    }
}
