//! One channel that requests come over, and what of them is not settled.

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use futures_util::future::try_join_all;
use lapin::Channel;
use lapin::options::{BasicAckOptions, BasicNackOptions};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::acks::{Acks, SingleAcks, Unsettled};
use super::error::{ANSWER_MAX, BrokerError, within};
use crate::sync::lock;

/// One channel. It is closed when the last request that came over it is settled and nothing more is
/// asked for over it.
pub(super) struct ConsumerChannel {
    pub(super) channel: Channel,
    /// Locked for a look only: what comes in need not wait for an acknowledgement.
    unsettled: std::sync::Mutex<Unsettled>,
    /// Locked while an acknowledgement is on its way: one that was overtaken by another would name
    /// deliveries that are settled, which costs the channel.
    acknowledging: Mutex<()>,
    /// What all channels of a subscription have sent one by one: the queue takes it for all of
    /// them.
    single_acks: Arc<std::sync::Mutex<SingleAcks>>,
    /// Requests that wait beside the lanes.
    deferred: AtomicUsize,
}

impl fmt::Debug for ConsumerChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConsumerChannel({})", self.channel.id())
    }
}

impl ConsumerChannel {
    pub(super) fn new(channel: Channel, single_acks: Arc<std::sync::Mutex<SingleAcks>>) -> Self {
        Self {
            channel,
            unsettled: Default::default(),
            acknowledging: Mutex::default(),
            single_acks,
            deferred: AtomicUsize::new(0),
        }
    }

    /// How many requests of this channel wait beside the lanes. Until they are settled nothing that
    /// came after them can be acknowledged together.
    pub(super) fn deferred(&self) -> usize {
        self.deferred.load(Ordering::Relaxed)
    }

    pub(super) fn defer_one(&self) {
        self.deferred.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn end_deferred(&self) {
        self.deferred.fetch_sub(1, Ordering::Relaxed);
    }

    fn unsettled(&self) -> MutexGuard<'_, Unsettled> {
        lock(&self.unsettled)
    }

    /// A batch is begun.
    pub(super) fn begin(&self, tags: RangeInclusive<u64>) {
        self.unsettled().begin(tags, Instant::now());
    }

    /// A request is settled by itself, whatever batches come before and after it.
    pub(super) fn set_aside(&self, tag: u64) {
        self.unsettled().set_aside(vec![tag]);
    }

    /// A batch is answered, but for those that were set aside.
    pub(super) async fn settle(
        &self,
        tags: &RangeInclusive<u64>,
        aside: Vec<u64>,
    ) -> Result<(), BrokerError> {
        let _one_at_a_time = self.acknowledging.lock().await;
        let Acks { up_to, singly } = {
            let mut unsettled = self.unsettled();
            unsettled.set_aside(aside);
            unsettled.answer(tags, Instant::now())
        };
        if let Some(tag) = up_to {
            self.ack(tag, true).await?;
        }
        self.ack_singly(singly).await
    }

    pub(super) async fn settle_single(&self, tag: u64) -> Result<(), BrokerError> {
        let _one_at_a_time = self.acknowledging.lock().await;
        self.ack(tag, false).await?;
        self.single_acks().sent(1, Instant::now());
        self.unsettled().settled_apart(tag);
        Ok(())
    }

    /// How long the channel had better stay open after what is settled: a quorum queue forgets
    /// acknowledgements that it has not come to when it is closed, and delivers their requests
    /// again.
    pub(super) fn keep_open(&self) -> Duration {
        self.single_acks().keep_open(Instant::now())
    }

    fn single_acks(&self) -> MutexGuard<'_, SingleAcks> {
        lock(&self.single_acks)
    }

    /// Gives one request back to the queue.
    pub(super) async fn give_back(&self, tag: u64) -> Result<(), BrokerError> {
        let _one_at_a_time = self.acknowledging.lock().await;
        let one = BasicNackOptions {
            multiple: false,
            requeue: true,
        };
        within(ANSWER_MAX, "nack", self.channel.basic_nack(tag, one)).await?;
        self.unsettled().settled_apart(tag);
        Ok(())
    }

    /// Gives all that is not answered back to the queue.
    pub(super) async fn give_back_all(&self) -> Result<(), BrokerError> {
        let _one_at_a_time = self.acknowledging.lock().await;
        let overtaken = self.unsettled().take_answered();
        self.ack_singly(overtaken).await?;
        let all = BasicNackOptions {
            multiple: true,
            requeue: true,
        };
        within(ANSWER_MAX, "nack", self.channel.basic_nack(0, all)).await
    }

    async fn ack_singly(&self, tags: Vec<u64>) -> Result<(), BrokerError> {
        if tags.is_empty() {
            return Ok(());
        }
        self.single_acks().sent(tags.len(), Instant::now());
        try_join_all(tags.into_iter().map(|tag| self.ack(tag, false))).await?;
        Ok(())
    }

    async fn ack(&self, tag: u64, multiple: bool) -> Result<(), BrokerError> {
        within(
            ANSWER_MAX,
            "ack",
            self.channel.basic_ack(tag, BasicAckOptions { multiple }),
        )
        .await
    }
}
