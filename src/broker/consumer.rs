//! Taking requests in, a batch at a time, and settling them. The only place that acknowledges.

use std::collections::{BTreeSet, VecDeque};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::{select_all, try_join_all};
use futures_util::{FutureExt, StreamExt};
use lapin::Channel;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions};
use lapin::types::{FieldTable, ShortString};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::connection::Connection;
use super::error::{ANSWER_MAX, BrokerError, within};
use crate::config::LANES_MAX;

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
pub struct Envelope {
    /// On the heap, as it is large and handed on several times.
    pub(super) delivery: Box<Delivery>,
    channel: usize,
}

impl Envelope {
    /// The body, untouched.
    pub fn body(&self) -> &[u8] {
        &self.delivery.data
    }

    /// Whether it may have been delivered before.
    pub fn redelivered(&self) -> bool {
        self.delivery.redelivered
    }
}

/// The duty to settle something.
#[derive(Debug)]
#[must_use = "what is not settled is delivered again when the channel closes"]
pub enum Receipt {
    /// Of a batch.
    Batch {
        /// What of it came over which channel.
        shares: Vec<Share>,
        /// As long as there is this, the batch is being worked on.
        at_work: OwnedSemaphorePermit,
    },
    /// Of one request that was taken out of its batch.
    Single {
        /// The place of its channel.
        channel: usize,
        /// Its delivery tag.
        tag: u64,
    },
}

/// What of a batch came over one channel.
#[derive(Debug)]
pub struct Share {
    channel: usize,
    /// All that came between the two: a channel counts its deliveries without gaps.
    tags: RangeInclusive<u64>,
    /// Those of them that have receipts of their own.
    aside: Vec<u64>,
}

impl Receipt {
    /// Takes a request out of the batch: it takes longer, and gets a receipt of its own.
    pub fn set_aside(&mut self, envelope: &Envelope) -> Self {
        let (channel, tag) = (envelope.channel, envelope.delivery.delivery_tag);
        if let Self::Batch { shares, .. } = self
            && let Some(share) = shares.iter_mut().find(|share| share.channel == channel)
        {
            share.aside.push(tag);
        }
        Self::Single { channel, tag }
    }
}

/// A subscription to the request queue, over one channel or several. The lanes of a session share
/// it.
#[derive(Debug)]
pub struct Subscription {
    channels: Vec<Subscribed>,
    incoming: Mutex<Incoming>,
    cancelled: AtomicBool,
}

/// The outgoing side of a channel.
#[derive(Debug)]
struct Subscribed {
    channel: Channel,
    consumer_tag: ShortString,
    /// Locked for a look only: what comes in need not wait for an acknowledgement.
    unsettled: std::sync::Mutex<Unsettled>,
    /// Locked while an acknowledgement is on its way: one that was overtaken by another would name
    /// deliveries that are settled, which costs the channel.
    acknowledging: Mutex<()>,
}

/// Two channels bring a full queue in faster than one, as the broker has a process for each; more do
/// not.
const CHANNELS: u16 = 2;

/// More batches are not worked on at a time.
const AT_WORK_MAX: u32 = LANES_MAX as u32;

/// What is worked on for so long is held up by something, such as a lock in the database: nobody
/// else waits for it.
const HELD_UP_AFTER: Duration = Duration::from_millis(100);

/// A batch of so many requests is worth its cost: in a larger one each costs hardly less.
const LARGE: usize = 200;

impl Subscription {
    /// Subscribes; at most `prefetch` unsettled requests are handed over, or one more.
    pub async fn open(connection: &Connection, queue: &str, prefetch: u16) -> Result<Self, BrokerError> {
        let channels = CHANNELS.min(prefetch.max(1));
        let prefetch = prefetch.div_ceil(channels);
        let channels = usize::from(channels);
        let mut subscribed = Vec::with_capacity(channels);
        let mut streams = Vec::with_capacity(channels);
        for _ in 0..channels {
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
            subscribed.push(Subscribed {
                channel,
                consumer_tag: stream.tag(),
                unsettled: Default::default(),
                acknowledging: Mutex::default(),
            });
            streams.push(Some(stream));
        }
        Ok(Self {
            channels: subscribed,
            incoming: Mutex::new(Incoming {
                streams,
                first: 0,
                gathered: Vec::new(),
                gathered_bytes: 0,
                at_work: none_at_work(),
            }),
            cancelled: AtomicBool::new(false),
        })
    }

    /// Waits for a request and takes all that are ready with it, within the limits. `None` is the
    /// end of the subscription.
    ///
    /// Nobody waits for a batch to fill. But a small one is not begun while another batch is being
    /// worked on: what comes meanwhile gathers by itself, and costs the less for each. So under a
    /// light load there is one batch after the other, and a full queue keeps all lanes busy. A batch
    /// that is held up is not waited for.
    pub async fn next_batch(&self, limits: BatchLimits) -> Result<Option<Batch>, BrokerError> {
        let mut incoming = self.incoming.lock().await;
        incoming.gather(limits)?;
        if !incoming.is_large(limits) {
            incoming.until_none_at_work().await;
            incoming.gather(limits)?;
            while incoming.gathered.is_empty() && !self.has_ended(&incoming) {
                incoming.wait().await?;
                incoming.gather(limits)?;
            }
        }
        Ok(self.batch(&mut incoming).await)
    }

    /// What is ready now, without waiting: `None` if nothing is, or if another lane waits for it.
    /// The same within is the end of the subscription.
    pub async fn ready_batch(&self, limits: BatchLimits) -> Result<Option<Option<Batch>>, BrokerError> {
        let Ok(mut incoming) = self.incoming.try_lock() else {
            return Ok(None);
        };
        incoming.gather(limits)?;
        Ok(match self.batch(&mut incoming).await {
            None if !self.has_ended(&incoming) => None,
            batch => Some(batch),
        })
    }

    /// A channel that ends unasked is a fault, and the others are of no use then. After
    /// [`Self::cancel`] each ends when it has nothing more.
    fn has_ended(&self, incoming: &Incoming) -> bool {
        let mut ended = incoming.streams.iter().map(Option::is_none);
        if self.cancelled.load(Ordering::Relaxed) { ended.all(|ended| ended) } else { ended.any(|ended| ended) }
    }

    /// What was gathered.
    async fn batch(&self, incoming: &mut Incoming) -> Option<Batch> {
        if incoming.gathered.is_empty() {
            return None;
        }
        let at_work = incoming.at_work.clone().acquire_owned().await.ok()?;
        incoming.gathered_bytes = 0;
        let envelopes = std::mem::take(&mut incoming.gathered);
        let shares = shares(&envelopes);
        for Share { channel, tags, .. } in &shares {
            let batch = Unanswered { tags: tags.clone(), since: Instant::now(), is_answered: false };
            self.channels[*channel].unsettled().batches.push_back(batch);
        }
        Some(Batch { envelopes, receipt: Receipt::Batch { shares, at_work } })
    }

    /// Stops the deliveries. What was delivered before still comes out of [`Self::next_batch`],
    /// then `None`.
    pub async fn cancel(&self) -> Result<(), BrokerError> {
        self.cancelled.store(true, Ordering::Relaxed);
        for Subscribed { channel, consumer_tag, .. } in &self.channels {
            let cancelling = channel.basic_cancel(consumer_tag.clone(), BasicCancelOptions::default());
            within(ANSWER_MAX, "cancel", cancelling).await?;
        }
        Ok(())
    }

    /// Acknowledges what was answered. A batch waits until those before it are answered, too, and is
    /// acknowledged together with them; but not for one that is held up.
    pub async fn settle(&self, receipt: Receipt) -> Result<(), BrokerError> {
        match receipt {
            Receipt::Batch { shares, at_work } => {
                // The next batch need not wait until this is acknowledged.
                drop(at_work);
                for Share { channel, tags, aside } in shares {
                    self.channels[channel].settle(&tags, aside).await?;
                }
                Ok(())
            }
            Receipt::Single { channel, tag } => self.channels[channel].settle_single(tag).await,
        }
    }

    /// Gives everything that is not answered back to the queue, for others to take.
    pub async fn requeue_all(&self) -> Result<(), BrokerError> {
        for channel in &self.channels {
            channel.requeue_all().await?;
        }
        Ok(())
    }
}

/// What of a batch came over which channel; over each in the order of the tags.
fn shares(envelopes: &[Envelope]) -> Vec<Share> {
    let mut shares: Vec<Share> = Vec::new();
    for Envelope { channel, delivery } in envelopes {
        let tag = delivery.delivery_tag;
        match shares.iter_mut().find(|share| share.channel == *channel) {
            Some(share) => share.tags = *share.tags.start()..=tag,
            None => shares.push(Share { channel: *channel, tags: tag..=tag, aside: Vec::new() }),
        }
    }
    shares
}

impl Subscribed {
    fn unsettled(&self) -> std::sync::MutexGuard<'_, Unsettled> {
        // Nothing in there is left half done by a panic.
        self.unsettled.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    async fn settle(&self, tags: &RangeInclusive<u64>, aside: Vec<u64>) -> Result<(), BrokerError> {
        let _one_at_a_time = self.acknowledging.lock().await;
        let Acks { up_to, singly } = {
            let mut unsettled = self.unsettled();
            unsettled.set_aside.extend(aside);
            unsettled.answer(tags, Instant::now())
        };
        if let Some(tag) = up_to {
            self.ack(tag, true).await?;
        }
        self.ack_singly(singly).await
    }

    async fn settle_single(&self, tag: u64) -> Result<(), BrokerError> {
        let _one_at_a_time = self.acknowledging.lock().await;
        self.ack(tag, false).await?;
        self.unsettled().set_aside.remove(&tag);
        Ok(())
    }

    async fn requeue_all(&self) -> Result<(), BrokerError> {
        let _one_at_a_time = self.acknowledging.lock().await;
        let overtaken = self.unsettled().take_answered();
        self.ack_singly(overtaken).await?;
        let all = BasicNackOptions { multiple: true, requeue: true };
        within(ANSWER_MAX, "nack", self.channel.basic_nack(0, all)).await
    }

    async fn ack_singly(&self, tags: Vec<u64>) -> Result<(), BrokerError> {
        try_join_all(tags.into_iter().map(|tag| self.ack(tag, false))).await?;
        Ok(())
    }

    async fn ack(&self, tag: u64, multiple: bool) -> Result<(), BrokerError> {
        within(ANSWER_MAX, "ack", self.channel.basic_ack(tag, BasicAckOptions { multiple })).await
    }
}

/// What comes in.
#[derive(Debug)]
struct Incoming {
    /// One of each channel; none where it has ended.
    streams: Vec<Option<lapin::Consumer>>,
    /// The place of the stream whose turn it is to be looked at first.
    first: usize,
    /// What was taken out of the streams and is in no batch yet.
    gathered: Vec<Envelope>,
    gathered_bytes: usize,
    /// Each batch that is being worked on has a permit of these, but for those that are held up.
    at_work: Arc<Semaphore>,
}

fn none_at_work() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(AT_WORK_MAX as usize))
}

impl Incoming {
    /// Waits until no batch is being worked on. Those that are held up do not count any more.
    async fn until_none_at_work(&mut self) {
        let all = self.at_work.acquire_many(AT_WORK_MAX);
        let held_up = tokio::time::timeout(HELD_UP_AFTER, all).await.is_err();
        if held_up {
            self.at_work = none_at_work();
        }
    }

    /// Waits for one delivery, or for one stream to end.
    async fn wait(&mut self) -> Result<(), BrokerError> {
        let places = self.streams.iter_mut().enumerate();
        let next =
            places.filter_map(|(channel, stream)| Some(stream.as_mut()?.next().map(move |next| (channel, next))));
        let ((channel, next), ..) = select_all(next).await;
        self.take(channel, next)
    }

    /// Takes what is ready out of the streams, up to the limits.
    fn gather(&mut self, limits: BatchLimits) -> Result<(), BrokerError> {
        for step in 0..self.streams.len() {
            let channel = (self.first + step) % self.streams.len();
            while !self.is_full(limits)
                && let Some(next) = self.streams[channel].as_mut().and_then(|stream| stream.next().now_or_never())
            {
                self.take(channel, next)?;
            }
        }
        self.first = (self.first + 1) % self.streams.len();
        Ok(())
    }

    fn take(&mut self, channel: usize, next: Option<lapin::Result<Delivery>>) -> Result<(), BrokerError> {
        match next {
            Some(delivery) => {
                let envelope = Envelope { delivery: Box::new(delivery?), channel };
                self.gathered_bytes += envelope.body().len();
                self.gathered.push(envelope);
            }
            // It says so once only, and would be silent for ever after.
            None => self.streams[channel] = None,
        }
        Ok(())
    }

    fn is_full(&self, limits: BatchLimits) -> bool {
        self.gathered.len() >= limits.requests_max || self.gathered_bytes >= limits.bytes_max
    }

    fn is_large(&self, limits: BatchLimits) -> bool {
        self.gathered.len() >= LARGE || self.is_full(limits)
    }
}

/// What came over a channel and is not acknowledged yet.
#[derive(Debug, Default)]
struct Unsettled {
    /// In the order of their deliveries.
    batches: VecDeque<Unanswered>,
    /// The delivery tags of requests that are settled by themselves.
    set_aside: BTreeSet<u64>,
}

/// A batch that is being worked on, or was answered before an earlier one.
#[derive(Debug)]
struct Unanswered {
    tags: RangeInclusive<u64>,
    since: Instant,
    is_answered: bool,
}

/// What to acknowledge. The broker refuses a tag that is acknowledged already, so each of these is
/// of a batch that was not.
#[derive(Debug, Default, PartialEq, Eq)]
struct Acks {
    /// All that came until then ("multiple"): it ends before the first request that is set aside.
    up_to: Option<u64>,
    /// One by one, after that.
    singly: Vec<u64>,
}

impl Unsettled {
    /// Notes that a batch is answered; returns what can be acknowledged now: the batches that are
    /// answered with all before them, and behind one that is held up all that are answered.
    fn answer(&mut self, tags: &RangeInclusive<u64>, now: Instant) -> Acks {
        if let Some(batch) = self.batches.iter_mut().find(|batch| batch.tags == *tags) {
            batch.is_answered = true;
        }
        let mut acks = Acks::default();
        while self.batches.front().is_some_and(|first| first.is_answered)
            && let Some(Unanswered { tags, .. }) = self.batches.pop_front()
        {
            let (first, last) = tags.into_inner();
            match self.set_aside.first().copied().filter(|oldest| *oldest <= last) {
                None => acks.up_to = Some(last),
                Some(oldest) => {
                    if first < oldest {
                        acks.up_to = Some(oldest - 1);
                    }
                    acks.singly.extend(self.singly(first.max(oldest)..=last));
                }
            }
        }
        if self.is_held_up(now) {
            acks.singly.extend(self.take_answered());
        }
        acks
    }

    fn singly(&self, tags: RangeInclusive<u64>) -> impl Iterator<Item = u64> {
        tags.filter(|tag| !self.set_aside.contains(tag))
    }

    /// Whether the first batch keeps others waiting for too long.
    fn is_held_up(&self, now: Instant) -> bool {
        self.batches.front().is_some_and(|first| now - first.since > HELD_UP_AFTER)
    }

    /// Takes out the batches that were answered before an earlier one; the tags to acknowledge.
    fn take_answered(&mut self) -> Vec<u64> {
        let (answered, others): (VecDeque<_>, _) =
            std::mem::take(&mut self.batches).into_iter().partition(|batch| batch.is_answered);
        self.batches = others;
        answered.into_iter().flat_map(|batch| self.singly(batch.tags)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Batches 1 to 3, 4, 5 to 9 and 10 to 12.
    fn four_batches() -> (Unsettled, Instant) {
        let now = Instant::now();
        let batches = [1..=3, 4..=4, 5..=9, 10..=12];
        let batches = batches.map(|tags| Unanswered { tags, since: now, is_answered: false });
        (Unsettled { batches: batches.into(), set_aside: BTreeSet::new() }, now)
    }

    fn acks(up_to: impl Into<Option<u64>>, singly: &[u64]) -> Acks {
        Acks { up_to: up_to.into(), singly: singly.to_vec() }
    }

    #[test]
    fn batches_are_acknowledged_in_the_order_of_their_deliveries() {
        let (mut unsettled, now) = four_batches();
        assert_eq!(unsettled.answer(&(4..=4), now), acks(None, &[]));
        assert_eq!(unsettled.answer(&(1..=3), now), acks(4, &[]));
        assert_eq!(unsettled.answer(&(5..=9), now), acks(9, &[]));
        assert_eq!(unsettled.answer(&(10..=12), now), acks(12, &[]));
        assert!(unsettled.batches.is_empty());
    }

    #[test]
    fn what_is_set_aside_is_left_out() {
        let (mut unsettled, now) = four_batches();
        unsettled.set_aside.extend([2, 7]);
        assert_eq!(unsettled.answer(&(1..=3), now), acks(1, &[3]));
        assert_eq!(unsettled.answer(&(4..=4), now), acks(None, &[4]));
        unsettled.set_aside.remove(&2);
        assert_eq!(unsettled.answer(&(5..=9), now), acks(6, &[8, 9]));
    }

    #[test]
    fn nothing_is_acknowledged_twice_when_a_batch_was_overtaken() {
        let (mut unsettled, now) = four_batches();
        let later = now + HELD_UP_AFTER * 2;
        unsettled.set_aside.insert(4);
        assert_eq!(unsettled.answer(&(4..=4), later), acks(None, &[]));
        unsettled.set_aside.insert(7);
        assert_eq!(unsettled.answer(&(5..=9), later), acks(None, &[5, 6, 8, 9]));
        assert_eq!(unsettled.answer(&(10..=12), now), acks(None, &[]));
        assert_eq!(unsettled.answer(&(1..=3), now), acks(3, &[10, 11, 12]));
        assert!(unsettled.batches.is_empty());
    }
}
