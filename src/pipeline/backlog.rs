//! What a lane still owes, besides the batch at hand: requests in the batch form, which are stored
//! part by part, and suspects, which are taken alone.

use std::collections::VecDeque;

use super::job::Job;
use super::suspects::is_suspect;
use crate::broker::batch::{BatchLimits, BatchReceipt, LargeTurn, Receipt};
use crate::broker::envelope::Envelope;

/// Bytes of bodies in one batch of small requests; it bounds the memory of a batch and the size of
/// its statement.
const SMALL_BATCH_BYTES_MAX: usize = 1024 * 1024;

/// The same while the lane holds much of the batch form.
const BUSY_BATCH_BYTES_MAX: usize = 256 * 1024;

/// Bytes of bodies in one batch of large requests; the request that reaches the limit is the last
/// one.
const LARGE_BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;

/// What a lane holds of requests in the batch form, in bytes ([`Job::size`]); with more it takes
/// nothing new until some are done. It bounds the memory of what was read but is not stored yet.
/// One request as large as the default `BODY_MAX` is less.
const ENTRIES_SIZE_MAX: usize = 24 * 1024 * 1024;

/// With more than so much of them it takes small batches only, and no other lane takes large ones.
const ENTRIES_SIZE_ENOUGH: usize = ENTRIES_SIZE_MAX / 3;

/// What a lane still owes.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    /// Requests in the batch form: they are stored part by part, between batches of the others.
    entries: VecDeque<Job>,
    /// As long as much of `entries` is left of a batch with large bodies.
    large_turn: Option<LargeTurn>,
    /// Requests to be taken alone, one between two batches of the others.
    suspects: VecDeque<(Envelope, Receipt)>,
}

impl Backlog {
    /// Whether nothing is owed.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.suspects.is_empty()
    }

    /// Whether there is so much that nothing new may be taken.
    pub(super) fn is_full(&self) -> bool {
        self.entries_size() > ENTRIES_SIZE_MAX
    }

    fn is_much(&self) -> bool {
        self.entries_size() > ENTRIES_SIZE_ENOUGH
    }

    fn entries_size(&self) -> usize {
        self.entries.iter().map(Job::size).sum()
    }

    /// How much more may be taken.
    pub(super) fn limits(&self, requests_max: usize) -> BatchLimits {
        let (bytes_max, large_bytes_max) = if self.is_much() {
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

    /// Adds a request in the batch form.
    pub(super) fn push(&mut self, job: Job) {
        self.entries.push_back(job);
    }

    /// Keeps the turn with large bodies of a batch, if much of it is owed.
    pub(super) fn keep_large_turn(&mut self, receipt: &mut BatchReceipt) {
        if self.is_much() {
            self.large_turn = receipt.take_large_turn().or(self.large_turn.take());
        }
    }

    /// The requests in the batch form, to be worked on; they come back by [`Self::put_back`].
    pub(super) fn take_entries(&mut self) -> VecDeque<Job> {
        std::mem::take(&mut self.entries)
    }

    /// What is left of them.
    pub(super) fn put_back(&mut self, entries: VecDeque<Job>) {
        self.entries = entries;
        if !self.is_much() {
            self.large_turn = None;
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

    /// It is not its turn yet.
    pub(super) fn put_back_suspect(&mut self, suspect: (Envelope, Receipt)) {
        self.suspects.push_front(suspect);
    }
}
