//! Taking requests in, a batch at a time, and settling them. The only place that acknowledges.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use futures_util::future::try_join_all;
use futures_util::{FutureExt, StreamExt};
use lapin::Channel;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions};
use lapin::types::FieldTable;

use super::connection::Connection;
use super::error::{ANSWER_MAX, BrokerError, within};

/// How much may be taken at once.
#[derive(Debug, Clone, Copy)]
pub struct BatchLimits {
    /// Requests.
    pub requests_max: usize,
    /// Bytes of their bodies; the request that reaches the limit is the last one.
    pub bytes_max: usize,
}

/// Requests that were ready at one moment, in the order of their delivery.
#[derive(Debug)]
pub struct Batch {
    /// At least one.
    pub envelopes: Vec<Envelope>,
    /// To be used once all of them are answered.
    pub receipt: Receipt,
}

/// One delivered request: body, properties, and how it came here.
#[derive(Debug)]
pub struct Envelope(pub(super) Delivery);

impl Envelope {
    /// The body, untouched.
    pub fn body(&self) -> &[u8] {
        &self.0.data
    }

    /// Whether it may have been delivered before.
    pub fn redelivered(&self) -> bool {
        self.0.redelivered
    }
}

/// The duty to settle a batch.
#[derive(Debug)]
#[must_use = "a batch that is not settled is delivered again when the channel closes"]
pub struct Receipt {
    /// All that came between the two, on a channel that counts them without gaps.
    tags: RangeInclusive<u64>,
}

/// A subscription to the request queue on a channel of its own.
#[derive(Debug)]
pub struct Consumer {
    channel: Channel,
    stream: lapin::Consumer,
    /// The stream has ended. It says so once only, and is silent for ever after.
    ended: bool,
    /// The delivery tags of requests that are settled by themselves.
    set_aside: BTreeSet<u64>,
}

impl Consumer {
    /// Subscribes; at most `prefetch` unsettled requests are handed over.
    pub async fn subscribe(connection: &Connection, queue: &str, prefetch: u16) -> Result<Self, BrokerError> {
        let channel = connection.channel().await?;
        // Before the subscription: the library keeps deliveries in a queue that has no other bound.
        within(ANSWER_MAX, "qos", channel.basic_qos(prefetch, BasicQosOptions { global: false })).await?;
        let consuming =
            channel.basic_consume(queue.into(), "".into(), BasicConsumeOptions::default(), FieldTable::default());
        let stream = within(ANSWER_MAX, "consume", consuming).await.map_err(|error| match error {
            BrokerError::Refused(text) => BrokerError::Refused(format!(
                "can't take requests from the queue {queue}: {text}; make it, or start with TOPOLOGY=declare"
            )),
            other => other,
        })?;
        Ok(Self { channel, stream, ended: false, set_aside: BTreeSet::new() })
    }

    /// Waits for a request and takes all that are ready with it, within the limits.
    ///
    /// Nobody waits for a batch to fill: while one is being worked on, the next one gathers by
    /// itself. `None` is the end of the subscription.
    pub async fn next_batch(&mut self, limits: BatchLimits) -> Result<Option<Batch>, BrokerError> {
        if self.ended {
            return Ok(None);
        }
        let Some(first) = self.stream.next().await else {
            self.ended = true;
            return Ok(None);
        };
        let mut last = Envelope(first?);
        let first_tag = last.0.delivery_tag;
        let mut bytes = last.body().len();
        let mut envelopes = Vec::new();
        while envelopes.len() + 1 < limits.requests_max && bytes < limits.bytes_max {
            let Some(ready) = self.stream.next().now_or_never() else {
                break;
            };
            let Some(delivery) = ready else {
                self.ended = true;
                break;
            };
            let next = Envelope(delivery?);
            bytes += next.body().len();
            envelopes.push(std::mem::replace(&mut last, next));
        }
        let receipt = Receipt { tags: first_tag..=last.0.delivery_tag };
        envelopes.push(last);
        Ok(Some(Batch { envelopes, receipt }))
    }

    /// What is ready now, without waiting: `None` if nothing is.
    pub fn ready_batch(&mut self, limits: BatchLimits) -> Option<Result<Option<Batch>, BrokerError>> {
        self.next_batch(limits).now_or_never()
    }

    /// Takes a request out of its batch: it takes longer, and is settled by
    /// [`Self::settle_set_aside`].
    pub fn set_aside(&mut self, envelope: &Envelope) {
        self.set_aside.insert(envelope.0.delivery_tag);
    }

    /// Acknowledges a batch, but for what was set aside: with one frame, if nothing was.
    pub async fn settle(&self, receipt: Receipt) -> Result<(), BrokerError> {
        let (first, last) = receipt.tags.into_inner();
        let Some(&oldest) = self.set_aside.first().filter(|oldest| **oldest <= last) else {
            return self.ack(last, true).await;
        };
        // "Multiple" means everything up to a tag, so it must end before the first that stays.
        if first < oldest {
            self.ack(oldest - 1, true).await?;
        }
        let singly = (first.max(oldest)..=last).filter(|tag| !self.set_aside.contains(tag));
        try_join_all(singly.map(|tag| self.ack(tag, false))).await?;
        Ok(())
    }

    /// Acknowledges a request that was set aside.
    pub async fn settle_set_aside(&mut self, envelope: &Envelope) -> Result<(), BrokerError> {
        let tag = envelope.0.delivery_tag;
        self.ack(tag, false).await?;
        self.set_aside.remove(&tag);
        Ok(())
    }

    async fn ack(&self, tag: u64, multiple: bool) -> Result<(), BrokerError> {
        within(ANSWER_MAX, "ack", self.channel.basic_ack(tag, BasicAckOptions { multiple })).await
    }

    /// Stops the deliveries. What was delivered before still comes out of [`Self::next_batch`],
    /// then `None`.
    pub async fn cancel(&self) -> Result<(), BrokerError> {
        let cancelling = self.channel.basic_cancel(self.stream.tag(), BasicCancelOptions::default());
        within(ANSWER_MAX, "cancel", cancelling).await
    }

    /// Gives everything unsettled back to the queue, for others to take.
    pub async fn requeue_all(&self) -> Result<(), BrokerError> {
        let all = BasicNackOptions { multiple: true, requeue: true };
        within(ANSWER_MAX, "nack", self.channel.basic_nack(0, all)).await
    }
}
