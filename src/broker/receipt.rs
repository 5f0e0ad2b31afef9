//! The duty to settle what was taken in, for one request and for a batch.

use std::ops::RangeInclusive;
use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;

use super::consumer_channel::ConsumerChannel;
use super::envelope::Envelope;
use super::turns::LargeBodyPermit;

/// The duty to settle one request.
#[derive(Debug)]
#[must_use = "what is not settled is delivered again when the channel closes"]
pub struct Receipt {
    pub(super) consumer_channel: Arc<ConsumerChannel>,
    /// The delivery tag.
    pub(super) tag: u64,
    /// Of body and headers.
    pub(super) bytes: usize,
    /// It waits beside the lanes, and counts no more for what may come in.
    pub(super) is_deferred: bool,
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
    pub(super) large_body_permit: Option<LargeBodyPermit>,
}

/// What of a batch came over one channel.
#[derive(Debug)]
pub(super) struct Share {
    pub(super) consumer_channel: Arc<ConsumerChannel>,
    /// All that came between the two: a channel counts its deliveries without gaps. Large requests
    /// among them have receipts of their own.
    pub(super) tags: RangeInclusive<u64>,
    /// Those of the batch that have receipts of their own.
    pub(super) aside: Vec<u64>,
}

impl BatchReceipt {
    /// The receipt of small requests, which are settled together.
    pub(super) fn of_small(envelopes: &[Envelope], at_work: OwnedSemaphorePermit) -> Self {
        Self {
            shares: shares(envelopes),
            singles: Vec::new(),
            requests: envelopes.len(),
            bytes: envelopes.iter().map(Envelope::size).sum(),
            at_work: Some(at_work),
            large_body_permit: None,
        }
    }

    /// The receipt of large requests, which are settled one by one.
    pub(super) fn of_large(envelopes: &[Envelope], large_body_permit: LargeBodyPermit) -> Self {
        Self {
            shares: Vec::new(),
            singles: envelopes.iter().map(Receipt::of).collect(),
            requests: 0,
            bytes: 0,
            at_work: None,
            large_body_permit: Some(large_body_permit),
        }
    }

    /// Its small requests are being worked on from now on.
    pub(super) fn begin(&self) {
        for share in &self.shares {
            share.consumer_channel.begin(share.tags.clone());
        }
    }

    /// Takes a request out of the batch: it takes longer, and gets a receipt of its own.
    pub fn set_aside(&mut self, envelope: &Envelope) -> Receipt {
        let receipt = Receipt::of(envelope);
        let is_same = |single: &Receipt| {
            single.tag == receipt.tag
                && Arc::ptr_eq(&single.consumer_channel, &receipt.consumer_channel)
        };
        if let Some(index) = self.singles.iter().position(is_same) {
            return self.singles.swap_remove(index);
        }
        let is_from =
            |share: &&mut Share| Arc::ptr_eq(&share.consumer_channel, &receipt.consumer_channel);
        if let Some(share) = self.shares.iter_mut().find(is_from) {
            share.aside.push(receipt.tag);
            self.requests -= 1;
            self.bytes -= receipt.bytes;
        }
        receipt
    }

    /// The turn that the batch has with large bodies, for what was taken out of it: it goes on
    /// until this is dropped, and not only until the batch is settled.
    pub fn take_large_body_permit(&mut self) -> Option<LargeBodyPermit> {
        self.large_body_permit.take()
    }
}

impl Receipt {
    pub(super) fn of(envelope: &Envelope) -> Self {
        Self {
            consumer_channel: envelope.consumer_channel.clone(),
            tag: envelope.delivery.delivery_tag,
            bytes: envelope.size(),
            is_deferred: false,
        }
    }
}

/// What of a batch came over which channel; over each in the order of the tags.
fn shares(envelopes: &[Envelope]) -> Vec<Share> {
    let mut shares: Vec<Share> = Vec::new();
    for Envelope {
        consumer_channel,
        delivery,
        ..
    } in envelopes
    {
        let tag = delivery.delivery_tag;
        match shares
            .iter_mut()
            .find(|share| Arc::ptr_eq(&share.consumer_channel, consumer_channel))
        {
            Some(share) => share.tags = *share.tags.start()..=tag,
            None => shares.push(Share {
                consumer_channel: consumer_channel.clone(),
                tags: tag..=tag,
                aside: Vec::new(),
            }),
        }
    }
    shares
}
