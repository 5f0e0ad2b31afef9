//! What a lane has yet to do, besides the batch at hand: requests in the batch form, which are
//! stored part by part, and suspects, which are taken alone.

use std::collections::VecDeque;

use super::in_flight::InFlight;
use super::suspects::is_suspect;
use crate::broker::batch::BatchLimits;
use crate::broker::envelope::Envelope;
use crate::broker::receipt::{BatchReceipt, Receipt};
use crate::broker::turns::LargeBodyPermit;
use crate::limits::{
    BUSY_BATCH_BYTES_MAX, ENTRIES_BYTES_ENOUGH, ENTRIES_BYTES_MAX, LARGE_BATCH_BYTES_MAX,
    SMALL_BATCH_BYTES_MAX,
};

/// What a lane has yet to do.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    /// Requests in the batch form: they are stored part by part, between batches of the others.
    entries: VecDeque<InFlight>,
    /// As long as much of `entries` is left of a batch with large bodies.
    large_body_permit: Option<LargeBodyPermit>,
    /// Requests to be taken alone, one between two batches of the others.
    suspects: VecDeque<(Envelope, Receipt)>,
}

impl Backlog {
    /// Whether nothing is left to do.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.suspects.is_empty()
    }

    /// Whether there is so much that nothing new may be taken.
    pub(super) fn is_full(&self) -> bool {
        self.entries_size() > ENTRIES_BYTES_MAX
    }

    fn is_much(&self) -> bool {
        self.entries_size() > ENTRIES_BYTES_ENOUGH
    }

    fn entries_size(&self) -> usize {
        self.entries.iter().map(InFlight::size).sum()
    }

    /// How much more may be taken.
    pub(super) fn limits(&self, requests_max: usize) -> BatchLimits {
        limits(requests_max, self.is_much())
    }

    /// Adds a request in the batch form.
    pub(super) fn push(&mut self, request: InFlight) {
        self.entries.push_back(request);
    }

    /// Keeps the permit for large bodies of a batch, if much of it is still to be done.
    pub(super) fn keep_large_body_permit(&mut self, receipt: &mut BatchReceipt) {
        if self.is_much() {
            self.large_body_permit = receipt
                .take_large_body_permit()
                .or(self.large_body_permit.take());
        }
    }

    /// The requests in the batch form, to be worked on; they come back by [`Self::put_back`].
    pub(super) fn take_entries(&mut self) -> VecDeque<InFlight> {
        std::mem::take(&mut self.entries)
    }

    /// What is left of them.
    pub(super) fn put_back(&mut self, entries: VecDeque<InFlight>) {
        self.entries = entries;
        if !self.is_much() {
            self.large_body_permit = None;
        }
    }

    /// Sets suspects aside; returns the others.
    pub(super) fn without_suspects(
        &mut self,
        envelopes: Vec<Envelope>,
        receipt: &mut BatchReceipt,
    ) -> Vec<Envelope> {
        if !envelopes.iter().any(is_suspect) {
            return envelopes;
        }
        let (suspects, others): (Vec<_>, _) = envelopes.into_iter().partition(is_suspect);
        self.suspects.extend(suspects.into_iter().map(|envelope| {
            let own = receipt.set_aside(&envelope);
            (envelope, own)
        }));
        others
    }

    /// The next suspect.
    pub(super) fn take_suspect(&mut self) -> Option<(Envelope, Receipt)> {
        self.suspects.pop_front()
    }

    /// Puts a suspect back whose turn has not come.
    pub(super) fn put_back_suspect(&mut self, suspect: (Envelope, Receipt)) {
        self.suspects.push_front(suspect);
    }
}

/// How much may be taken by a lane that has much to do, or has not.
fn limits(requests_max: usize, has_much: bool) -> BatchLimits {
    let (bytes_max, large_bytes_max) = if has_much {
        (BUSY_BATCH_BYTES_MAX, 0)
    } else {
        (SMALL_BATCH_BYTES_MAX, LARGE_BATCH_BYTES_MAX)
    };
    BatchLimits {
        requests_max,
        bytes_max,
        large_bytes_max,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_that_has_much_to_do_takes_little_and_nothing_large() {
        let (idle, busy) = (limits(500, false), limits(500, true));
        assert_eq!((idle.requests_max, busy.requests_max), (500, 500));
        assert!(busy.bytes_max < idle.bytes_max);
        assert!(busy.large_bytes_max == 0 && idle.large_bytes_max > 0);
    }

    #[test]
    fn nothing_to_do_is_neither_full_nor_much() {
        let backlog = Backlog::default();
        assert!(backlog.is_empty() && !backlog.is_full() && !backlog.is_much());
    }
}
