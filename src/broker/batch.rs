//! What is taken in at once, and the duty to settle it.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{Notify, OwnedSemaphorePermit};

use super::envelope::Envelope;
use super::subscribed::Subscribed;

/// How much may be taken at once.
#[derive(Debug, Clone, Copy)]
pub struct BatchLimits {
    /// Requests.
    pub requests_max: usize,
    /// Bytes of bodies of a batch of small ones; the request that reaches the limit is the last
    /// one.
    pub bytes_max: usize,
    /// The same of a batch of large ones; 0 if none is to be taken now.
    pub large_bytes_max: usize,
}

/// What there is to be taken.
#[derive(Debug)]
pub enum Ready {
    /// These.
    Batch(Batch),
    /// Nothing at this moment.
    Nothing,
    /// Nothing any more: the subscription has ended.
    Ended,
}

/// Requests that were ready at one moment, in the order of their delivery.
#[derive(Debug)]
pub struct Batch {
    /// At least one.
    pub envelopes: Vec<Envelope>,
    /// To be used once all of them are answered.
    pub receipt: BatchReceipt,
}

/// The duty to settle one request.
#[derive(Debug)]
#[must_use = "what is not settled is delivered again when the channel closes"]
pub struct Receipt {
    pub(super) subscribed: Arc<Subscribed>,
    /// The delivery tag.
    pub(super) tag: u64,
    /// Of body and headers.
    pub(super) bytes: usize,
    /// It waits beside the lanes, and counts no more for what may come in.
    pub(super) is_beside: bool,
}

/// The duty to settle a batch.
#[derive(Debug)]
#[must_use = "what is not settled is delivered again when the channel closes"]
pub struct BatchReceipt {
    /// What of it came over which channel.
    pub(super) shares: Vec<Share>,
    /// Its large requests, which are settled one by one.
    pub(super) singles: Vec<Receipt>,
    /// How many requests the shares have.
    pub(super) requests: usize,
    /// Of their bodies and headers.
    pub(super) bytes: usize,
    /// As long as there is this, the batch is being worked on.
    pub(super) at_work: Option<OwnedSemaphorePermit>,
    pub(super) large_turn: Option<LargeTurn>,
}

/// What of a batch came over one channel.
#[derive(Debug)]
pub(super) struct Share {
    pub(super) subscribed: Arc<Subscribed>,
    /// All that came between the two: a channel counts its deliveries without gaps. Large requests
    /// among them have receipts of their own.
    pub(super) tags: RangeInclusive<u64>,
    /// Those of the batch that have receipts of their own.
    pub(super) aside: Vec<u64>,
}

impl BatchReceipt {
    /// Takes a request out of the batch: it takes longer, and gets a receipt of its own.
    pub fn set_aside(&mut self, envelope: &Envelope) -> Receipt {
        let receipt = Receipt::of(envelope);
        let is_same = |single: &Receipt| {
            single.tag == receipt.tag && Arc::ptr_eq(&single.subscribed, &receipt.subscribed)
        };
        if let Some(place) = self.singles.iter().position(is_same) {
            return self.singles.swap_remove(place);
        }
        let is_from = |share: &&mut Share| Arc::ptr_eq(&share.subscribed, &receipt.subscribed);
        if let Some(share) = self.shares.iter_mut().find(is_from) {
            share.aside.push(receipt.tag);
            self.requests -= 1;
            self.bytes -= receipt.bytes;
        }
        receipt
    }

    /// The turn that the batch has with large bodies, for what was taken out of it: it goes on
    /// until this is dropped, and not only until the batch is settled.
    pub fn take_large_turn(&mut self) -> Option<LargeTurn> {
        self.large_turn.take()
    }
}

impl Receipt {
    pub(super) fn of(envelope: &Envelope) -> Self {
        Self {
            subscribed: envelope.subscribed.clone(),
            tag: envelope.delivery.delivery_tag,
            bytes: envelope.size(),
            is_beside: false,
        }
    }
}

/// Who may work on large bodies: one batch at a time.
#[derive(Debug, Default)]
pub(super) struct LargeTurns {
    is_taken: AtomicBool,
    /// Rung when the turn is free, among other things.
    pub(super) stirred: Notify,
}

impl LargeTurns {
    pub(super) fn is_taken(&self) -> bool {
        self.is_taken.load(Ordering::Relaxed)
    }

    /// The turn, if nobody has it.
    pub(super) fn take(self: &Arc<Self>) -> Option<LargeTurn> {
        if self.is_taken.swap(true, Ordering::Relaxed) {
            None
        } else {
            Some(LargeTurn(self.clone()))
        }
    }
}

/// The turn with large bodies.
#[derive(Debug)]
pub struct LargeTurn(Arc<LargeTurns>);

impl Drop for LargeTurn {
    fn drop(&mut self) {
        self.0.is_taken.store(false, Ordering::Relaxed);
        self.0.stirred.notify_one();
    }
}
