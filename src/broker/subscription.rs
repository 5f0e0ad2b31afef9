//! Taking requests in, a batch at a time, and settling them. The only place that acknowledges.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::try_join_all;
use lapin::Channel;
use lapin::options::{BasicAckOptions, BasicNackOptions};
use tokio::sync::{Mutex, Notify, Semaphore};
use tokio::time::Instant;

use super::acks::{Acks, HELD_UP_AFTER, Unsettled};
use super::batch::{AtWork, Batch, BatchLimits, BulkyTurn, Receipt, Share};
use super::connection::Connection;
use super::envelope::Envelope;
use super::error::{ANSWER_MAX, BrokerError, within};
use super::incoming::Incoming;
use super::read_gate::ReadGate;
use super::window::{RESUME_BYTES, Window};
use crate::config::LANES_MAX;

/// What came in over a subscription and is not settled.
#[derive(Debug, Clone, Copy, Default)]
pub struct Held {
    /// Requests.
    pub requests: usize,
    /// Bytes of their bodies.
    pub bytes: usize,
    /// How many requests the broker is asked for now; 0 while nothing more is to come.
    pub asked_for: u16,
}

/// A subscription to the request queue, over one channel or several. The lanes of a session share
/// it.
#[derive(Debug)]
pub struct Subscription {
    channels: Vec<Subscribed>,
    incoming: Mutex<Incoming>,
    /// Each batch that is being worked on has a permit of these, but for those that are held up.
    at_work: std::sync::Mutex<Arc<Semaphore>>,
    /// One permit, for a batch with large bodies; likewise.
    bulky: std::sync::Mutex<Arc<Semaphore>>,
    intake: Arc<ReadGate>,
    has_settled: AtomicBool,
    cancelled: AtomicBool,
    /// Wakes the lane that waits for requests, as there is something else to look at.
    stirred: Notify,
}

/// The outgoing side of a channel.
#[derive(Debug)]
struct Subscribed {
    channel: Channel,
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

/// A batch with so many bytes of bodies takes several times as much memory while it is worked on.
const BULKY_BYTES: usize = 1 << 20;

/// A batch with large bodies that takes so long is held up.
const BULKY_HELD_UP_AFTER: Duration = Duration::from_secs(1);

/// How often it is looked what has come in while all lanes are busy: so that it does not become too
/// much meanwhile.
pub const LOOK_EVERY: Duration = Duration::from_millis(20);

impl Subscription {
    /// Subscribes; at most `prefetch` unsettled requests are handed over, or one more, and fewer if
    /// they are large. `body_max` is how large they may be.
    pub async fn open(connection: &Connection, queue: &str, prefetch: u16, body_max: u64) -> Result<Self, BrokerError> {
        let mut channels = Vec::new();
        for _ in 0..CHANNELS.min(prefetch) {
            channels.push(connection.channel().await?);
        }
        let intake = connection.intake().clone();
        let window = Window::new(prefetch, body_max);
        // One of each channel, and what is read ahead.
        let largest = usize::try_from(body_max).unwrap_or(usize::MAX).saturating_mul(channels.len() + 1);
        intake.expect(largest);
        let incoming = Incoming::new(queue, channels.clone(), intake.clone(), window);
        let outgoing = |channel| Subscribed { channel, unsettled: Default::default(), acknowledging: Mutex::default() };
        let subscription = Self {
            channels: channels.into_iter().map(outgoing).collect(),
            incoming: Mutex::new(incoming),
            at_work: std::sync::Mutex::new(none_at_work()),
            bulky: std::sync::Mutex::new(one_at_work()),
            intake,
            has_settled: AtomicBool::new(false),
            cancelled: AtomicBool::new(false),
            stirred: Notify::new(),
        };
        subscription.look().await?;
        Ok(subscription)
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
        self.take_in(&mut incoming).await?;
        if !incoming.is_large(limits) {
            self.until_none_at_work(&mut incoming).await?;
            self.take_in(&mut incoming).await?;
            while incoming.is_empty() && !self.is_over(&incoming) {
                tokio::select! {
                    came = incoming.wait() => came?,
                    () = self.stirred.notified() => {}
                }
                self.take_in(&mut incoming).await?;
            }
        }
        self.batch(&mut incoming, limits).await
    }

    /// What is ready now, without waiting: `None` if nothing is, or if another lane waits for it.
    /// The same within is the end of the subscription.
    pub async fn ready_batch(&self, limits: BatchLimits) -> Result<Option<Option<Batch>>, BrokerError> {
        let Ok(mut incoming) = self.incoming.try_lock() else {
            return Ok(None);
        };
        self.take_in(&mut incoming).await?;
        Ok(match self.batch(&mut incoming, limits).await? {
            None if !self.is_over(&incoming) => None,
            batch => Some(batch),
        })
    }

    /// Looks at what has come in, if nobody else does, so that it does not become too much.
    pub async fn look(&self) -> Result<(), BrokerError> {
        match self.incoming.try_lock() {
            Ok(mut incoming) => self.take_in(&mut incoming).await,
            Err(_) => Ok(()),
        }
    }

    async fn take_in(&self, incoming: &mut Incoming) -> Result<(), BrokerError> {
        incoming.drain()?;
        if self.cancelled.load(Ordering::Relaxed) {
            incoming.pause()
        } else {
            incoming.adjust(self.has_settled.load(Ordering::Relaxed)).await
        }
    }

    /// A channel that ends unasked is a fault; after [`Self::cancel`] each ends when it has nothing
    /// more.
    fn is_over(&self, incoming: &Incoming) -> bool {
        self.cancelled.load(Ordering::Relaxed) && incoming.is_over()
    }

    /// Waits until no batch is being worked on. Those that are held up do not count any more.
    async fn until_none_at_work(&self, incoming: &mut Incoming) -> Result<(), BrokerError> {
        let at_work = self.at_work().clone();
        let all = tokio::time::timeout(HELD_UP_AFTER, at_work.acquire_many(AT_WORK_MAX));
        let held_up = self.while_looking(incoming, all).await?.is_err();
        if held_up {
            *self.at_work() = none_at_work();
        }
        Ok(())
    }

    /// The first of what is ready.
    async fn batch(&self, incoming: &mut Incoming, limits: BatchLimits) -> Result<Option<Batch>, BrokerError> {
        let (envelopes, bytes) = incoming.first(limits);
        let requests = envelopes.len();
        if envelopes.is_empty() {
            return Ok(None);
        }
        let shares = shares(&envelopes);
        for Share { channel, tags, .. } in &shares {
            self.channels[*channel].unsettled().begin(tags.clone(), Instant::now());
        }
        let one = self.at_work().clone().acquire_owned();
        let one = one.await.map_err(|_| BrokerError::Cancelled)?;
        let bulky = if bytes >= BULKY_BYTES {
            let bulky = unpoisoned(&self.bulky).clone();
            let turn = tokio::time::timeout(BULKY_HELD_UP_AFTER, bulky.acquire_owned());
            let turn = self.while_looking(incoming, turn).await?;
            if turn.is_err() {
                *unpoisoned(&self.bulky) = one_at_work();
            }
            turn.ok().and_then(Result::ok).map(|_permit| BulkyTurn { _permit })
        } else {
            None
        };
        let at_work = AtWork { _one: one, bulky };
        Ok(Some(Batch { envelopes, receipt: Receipt::Batch { shares, requests, bytes, at_work } }))
    }

    /// Waits for something, and looks at what comes in meanwhile.
    async fn while_looking<T>(
        &self,
        incoming: &mut Incoming,
        something: impl Future<Output = T>,
    ) -> Result<T, BrokerError> {
        tokio::pin!(something);
        loop {
            tokio::select! {
                biased;
                done = &mut something => return Ok(done),
                () = tokio::time::sleep(LOOK_EVERY) => self.take_in(incoming).await?,
            }
        }
    }

    fn at_work(&self) -> std::sync::MutexGuard<'_, Arc<Semaphore>> {
        unpoisoned(&self.at_work)
    }

    /// Stops the deliveries. What was delivered before still comes out of [`Self::next_batch`],
    /// then `None`.
    pub async fn cancel(&self) -> Result<(), BrokerError> {
        self.cancelled.store(true, Ordering::Relaxed);
        // The lane that waits for requests lets go of them.
        self.stirred.notify_one();
        let mut incoming = self.incoming.lock().await;
        self.take_in(&mut incoming).await
    }

    /// Acknowledges what was answered. A batch waits until those before it are answered, too, and is
    /// acknowledged together with them; but not for one that is held up.
    pub async fn settle(&self, receipt: Receipt) -> Result<(), BrokerError> {
        let (requests, bytes) = match receipt {
            Receipt::Batch { shares, requests, bytes, at_work } => {
                // The next batch need not wait until this is acknowledged.
                drop(at_work);
                for Share { channel, tags, aside } in shares {
                    self.channels[channel].settle(&tags, aside).await?;
                }
                (requests, bytes)
            }
            Receipt::Single { channel, tag, bytes } => {
                self.channels[channel].settle_single(tag).await?;
                (1, bytes)
            }
        };
        if bytes > 0 {
            // Of a batch whose requests are all set aside nothing is settled yet.
            self.has_settled.store(true, Ordering::Relaxed);
        }
        let held = self.intake.settle(requests, bytes);
        if held > RESUME_BYTES {
            // Perhaps nothing was asked for, and nobody else would notice that it is time to.
            self.stirred.notify_one();
        }
        Ok(())
    }

    /// What came in and is not settled.
    pub fn held(&self) -> Held {
        Held { requests: self.intake.requests(), bytes: self.intake.held(), asked_for: self.intake.asked_for() }
    }

    /// Gives everything that is not answered back to the queue, for others to take.
    pub async fn requeue_all(&self) -> Result<(), BrokerError> {
        {
            // Else what one channel gives back may come to another, and is given back once more.
            let mut incoming = self.incoming.lock().await;
            let _open = self.intake.open();
            within(ANSWER_MAX, "cancel", incoming.until_paused()).await?;
        }
        for channel in &self.channels {
            channel.requeue_all().await?;
        }
        Ok(())
    }
}

fn none_at_work() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(AT_WORK_MAX as usize))
}

fn one_at_work() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(1))
}

/// Nothing behind these locks is left half done by a panic.
fn unpoisoned<T>(lock: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// What of a batch came over which channel; over each in the order of the tags.
fn shares(envelopes: &[Envelope]) -> Vec<Share> {
    let mut shares: Vec<Share> = Vec::new();
    for Envelope { channel, delivery, .. } in envelopes {
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
        unpoisoned(&self.unsettled)
    }

    async fn settle(&self, tags: &RangeInclusive<u64>, aside: Vec<u64>) -> Result<(), BrokerError> {
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

    async fn settle_single(&self, tag: u64) -> Result<(), BrokerError> {
        let _one_at_a_time = self.acknowledging.lock().await;
        self.ack(tag, false).await?;
        self.unsettled().settled_apart(tag);
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
