//! What is taken in at once, and the duty to settle it.

use std::ops::RangeInclusive;

use tokio::sync::OwnedSemaphorePermit;

use super::envelope::Envelope;

/// How much may be taken at once.
#[derive(Debug, Clone, Copy)]
pub struct BatchLimits {
    /// Requests.
    pub requests_max: usize,
    /// Bytes of their bodies; the request that reaches the limit is the last one.
    pub bytes_max: usize,
    /// If the first one has more, there is no batch for now.
    pub first_bytes_max: usize,
}

/// Requests that were ready at one moment, in the order of their delivery.
#[derive(Debug)]
pub struct Batch {
    /// At least one.
    pub envelopes: Vec<Envelope>,
    /// To be used once all of them are answered.
    pub receipt: Receipt,
}

/// The duty to settle something.
#[derive(Debug)]
#[must_use = "what is not settled is delivered again when the channel closes"]
pub enum Receipt {
    /// Of a batch.
    Batch {
        /// What of it came over which channel.
        shares: Vec<Share>,
        /// How many requests.
        requests: usize,
        /// Of the bodies.
        bytes: usize,
        /// As long as there is this, the batch is being worked on.
        at_work: AtWork,
    },
    /// Of one request that was taken out of its batch.
    Single {
        /// The place of its channel.
        channel: usize,
        /// Its delivery tag.
        tag: u64,
        /// Of the body.
        bytes: usize,
    },
}

/// What of a batch came over one channel.
#[derive(Debug)]
pub struct Share {
    pub(super) channel: usize,
    /// All that came between the two: a channel counts its deliveries without gaps.
    pub(super) tags: RangeInclusive<u64>,
    /// Those of them that have receipts of their own.
    pub(super) aside: Vec<u64>,
}

/// The permits of a batch that is being worked on.
#[derive(Debug)]
pub struct AtWork {
    pub(super) _one: OwnedSemaphorePermit,
    pub(super) bulky: Option<BulkyTurn>,
}

/// The turn with large bodies: only one batch with such is worked on at a time.
#[derive(Debug)]
pub struct BulkyTurn {
    pub(super) _permit: OwnedSemaphorePermit,
}

impl Receipt {
    /// Takes a request out of the batch: it takes longer, and gets a receipt of its own.
    pub fn set_aside(&mut self, envelope: &Envelope) -> Self {
        let (channel, tag, size) = (envelope.channel, envelope.delivery.delivery_tag, envelope.body().len());
        if let Self::Batch { shares, requests, bytes, .. } = self
            && let Some(share) = shares.iter_mut().find(|share| share.channel == channel)
        {
            share.aside.push(tag);
            *requests -= 1;
            *bytes -= size;
        }
        Self::Single { channel, tag, bytes: size }
    }

    /// The turn that the batch has with large bodies, for what was taken out of it: it goes on until this
    /// is dropped, and not only until the batch is settled.
    pub fn take_bulky_turn(&mut self) -> Option<BulkyTurn> {
        match self {
            Self::Batch { at_work, .. } => at_work.bulky.take(),
            Self::Single { .. } => None,
        }
    }
}
