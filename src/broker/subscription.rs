//! Taking requests in, a batch at a time, and settling them. The only place that acknowledges.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, Semaphore};

use super::acks::HELD_UP_AFTER;
use super::batch::{Batch, BatchLimits, BatchReceipt, LargeTurns, Ready, Receipt, Share};
use super::connection::Connection;
use super::envelope::Envelope;
use super::error::{ANSWER_MAX, BrokerError, within};
use super::incoming::Incoming;
use super::read_gate::ReadGate;
use super::window::Window;
use crate::limits::WINDOW_RESUME_BYTES;

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

/// A subscription to the request queue, over several channels. The lanes of a session share it.
#[derive(Debug)]
pub struct Subscription {
    incoming: Mutex<Incoming>,
    /// Each batch that is being worked on has a permit of these, but for those that are held up.
    at_work: std::sync::Mutex<Arc<Semaphore>>,
    large: Arc<LargeTurns>,
    gate: Arc<ReadGate>,
    has_settled: AtomicBool,
    cancelled: AtomicBool,
}

/// More batches are not worked on at a time.
const AT_WORK_MAX: u32 = LANES_MAX as u32;

/// The most lanes of a worker.
pub(crate) const LANES_MAX: usize = 64;

/// How often it is looked what has come in while all lanes are busy: so that it does not become too
/// much meanwhile.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A connection is not kept open for longer than this after the last acknowledgement.
const KEPT_OPEN_MAX: Duration = Duration::from_secs(2);

impl Subscription {
    /// Subscribes; at most `prefetch` unsettled requests are handed over, or one more, and fewer if
    /// they are large. `body_max` is how large they may be.
    pub async fn open(
        connection: &Connection,
        queue: &str,
        prefetch: u16,
        body_max: u64,
    ) -> Result<Self, BrokerError> {
        let gate = connection.gate().clone();
        let window = Window::new(prefetch, body_max);
        let incoming = Incoming::open(connection, queue, window).await?;
        // One of each channel, and what is read ahead.
        let largest = usize::try_from(body_max)
            .unwrap_or(usize::MAX)
            .saturating_mul(incoming.channels() + 1);
        gate.expect(largest);
        let subscription = Self {
            incoming: Mutex::new(incoming),
            at_work: std::sync::Mutex::new(none_at_work()),
            large: Arc::default(),
            gate,
            has_settled: AtomicBool::new(false),
            cancelled: AtomicBool::new(false),
        };
        subscription.look().await?;
        Ok(subscription)
    }

    /// Waits for a request and takes all that are ready with it, within the limits.
    ///
    /// Nobody waits for a batch to fill. But a small one is not begun while another batch is being
    /// worked on: what comes meanwhile gathers by itself, and costs the less for each. So under a
    /// light load there is one batch after the other, and a full queue keeps all lanes busy. A
    /// batch that is held up is not waited for.
    pub async fn next_batch(&self, limits: BatchLimits) -> Result<Ready, BrokerError> {
        let mut incoming = self.incoming.lock().await;
        self.take_in(&mut incoming).await?;
        loop {
            if let Some(batch) = self.large_batch(&mut incoming, limits) {
                return Ok(Ready::Batch(batch));
            }
            if !incoming.is_worthwhile(limits) {
                self.until_none_at_work(&mut incoming).await?;
                self.take_in(&mut incoming).await?;
            }
            if let Some(batch) = self.small_batch(&mut incoming, limits).await? {
                return Ok(Ready::Batch(batch));
            }
            if self.is_over(&incoming) {
                return Ok(Ready::Ended);
            }
            if incoming.has_large(limits) && !self.large.is_taken() {
                continue;
            }
            tokio::select! {
                came = incoming.wait() => came?,
                () = self.large.stirred.notified() => {}
            }
            self.take_in(&mut incoming).await?;
        }
    }

    /// What is ready now, without waiting; nothing, if another lane waits for it.
    pub async fn ready_batch(&self, limits: BatchLimits) -> Result<Ready, BrokerError> {
        let Ok(mut incoming) = self.incoming.try_lock() else {
            return Ok(Ready::Nothing);
        };
        self.take_in(&mut incoming).await?;
        if let Some(batch) = self.large_batch(&mut incoming, limits) {
            return Ok(Ready::Batch(batch));
        }
        Ok(match self.small_batch(&mut incoming, limits).await? {
            Some(batch) => Ready::Batch(batch),
            None if self.is_over(&incoming) => Ready::Ended,
            None => Ready::Nothing,
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
            incoming
                .adjust(self.has_settled.load(Ordering::Relaxed))
                .await
        }
    }

    /// A channel that ends unasked is a fault; after [`Self::cancel`] each ends when it has nothing
    /// more.
    fn is_over(&self, incoming: &Incoming) -> bool {
        self.cancelled.load(Ordering::Relaxed) && incoming.is_over()
    }

    /// Waits until no batch is being worked on, and looks at what comes in meanwhile. Those that
    /// are held up do not count any more.
    async fn until_none_at_work(&self, incoming: &mut Incoming) -> Result<(), BrokerError> {
        let at_work = self.at_work().clone();
        let all = tokio::time::timeout(HELD_UP_AFTER, at_work.acquire_many(AT_WORK_MAX));
        tokio::pin!(all);
        loop {
            tokio::select! {
                biased;
                none_at_work_any_more = &mut all => {
                    if none_at_work_any_more.is_err() {
                        *self.at_work() = none_at_work();
                    }
                    return Ok(());
                }
                () = tokio::time::sleep(LOOK_EVERY) => self.take_in(incoming).await?,
            }
        }
    }

    /// The first of the small requests that are ready.
    async fn small_batch(
        &self,
        incoming: &mut Incoming,
        limits: BatchLimits,
    ) -> Result<Option<Batch>, BrokerError> {
        let (envelopes, bytes) = incoming.first_small(limits);
        if envelopes.is_empty() {
            return Ok(None);
        }
        let shares = shares(&envelopes);
        for Share {
            subscribed, tags, ..
        } in &shares
        {
            subscribed.begin(tags.clone());
        }
        let at_work = self.at_work().clone().acquire_owned();
        let at_work = Some(at_work.await.map_err(|_| BrokerError::Cancelled)?);
        let requests = envelopes.len();
        let receipt = BatchReceipt {
            shares,
            singles: Vec::new(),
            requests,
            bytes,
            at_work,
            large_turn: None,
        };
        Ok(Some(Batch { envelopes, receipt }))
    }

    /// The first of the large ones, if it is their turn and nobody else has it.
    fn large_batch(&self, incoming: &mut Incoming, limits: BatchLimits) -> Option<Batch> {
        if !incoming.is_turn_of_large(limits) {
            return None;
        }
        let large_turn = Some(self.large.take()?);
        let envelopes = incoming.first_large(limits);
        let singles = envelopes.iter().map(Receipt::of).collect();
        let receipt = BatchReceipt {
            shares: Vec::new(),
            singles,
            requests: 0,
            bytes: 0,
            at_work: None,
            large_turn,
        };
        Some(Batch { envelopes, receipt })
    }

    fn at_work(&self) -> std::sync::MutexGuard<'_, Arc<Semaphore>> {
        // Nothing behind it is left half done by a panic.
        self.at_work
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Stops the deliveries. What was delivered before still comes out of [`Self::next_batch`],
    /// then the end.
    pub async fn cancel(&self) -> Result<(), BrokerError> {
        self.cancelled.store(true, Ordering::Relaxed);
        // The lane that waits for requests lets go of them.
        self.large.stirred.notify_one();
        let mut incoming = self.incoming.lock().await;
        self.take_in(&mut incoming).await
    }

    /// Acknowledges a batch that was answered. It waits until those before it are answered, too,
    /// and is acknowledged together with them; but not for one that is held up.
    pub async fn settle_batch(&self, receipt: BatchReceipt) -> Result<(), BrokerError> {
        let BatchReceipt {
            shares,
            singles,
            requests,
            bytes,
            at_work,
            large_turn,
        } = receipt;
        // The next batch need not wait until this is acknowledged.
        drop((at_work, large_turn));
        for Share {
            subscribed,
            tags,
            aside,
        } in shares
        {
            subscribed.settle(&tags, aside).await?;
        }
        self.settled(requests, bytes);
        for single in singles {
            self.settle(single).await?;
        }
        Ok(())
    }

    /// Acknowledges one request that was taken out of its batch.
    pub async fn settle(&self, receipt: Receipt) -> Result<(), BrokerError> {
        let Receipt {
            subscribed,
            tag,
            bytes,
            is_beside,
        } = receipt;
        subscribed.settle_single(tag).await?;
        self.settled_one(&subscribed, bytes, is_beside);
        Ok(())
    }

    /// A request waits beside the lanes from now on, for something that it alone needs. It does not
    /// count for how much may come in any more.
    pub fn leave_beside(&self, receipt: &mut Receipt) {
        if !receipt.is_beside {
            receipt.is_beside = true;
            receipt.subscribed.left_beside();
            self.settled(1, receipt.bytes);
        }
    }

    /// Gives one request back to the queue.
    pub async fn give_back(&self, receipt: Receipt) -> Result<(), BrokerError> {
        let Receipt {
            subscribed,
            tag,
            bytes,
            is_beside,
        } = receipt;
        subscribed.give_back(tag).await?;
        self.settled_one(&subscribed, bytes, is_beside);
        Ok(())
    }

    fn settled_one(
        &self,
        subscribed: &super::subscribed::Subscribed,
        bytes: usize,
        is_beside: bool,
    ) {
        if is_beside {
            subscribed.no_more_beside();
        } else {
            self.settled(1, bytes);
        }
    }

    fn settled(&self, requests: usize, bytes: usize) {
        if bytes > 0 {
            // Of a batch whose requests are all set aside nothing is settled yet.
            self.has_settled.store(true, Ordering::Relaxed);
        }
        let held = self.gate.settle(requests, bytes);
        if held > WINDOW_RESUME_BYTES {
            // Perhaps nothing was asked for, and nobody else would notice that it is time to.
            self.large.stirred.notify_one();
        }
    }

    /// What came in and is not settled, but for what waits beside the lanes.
    pub fn held(&self) -> Held {
        Held {
            requests: self.gate.requests(),
            bytes: self.gate.held(),
            asked_for: self.gate.asked_for(),
        }
    }

    /// Waits until the broker has come to what was acknowledged, as far as we can tell.
    pub async fn until_acks_are_taken(&self) {
        let open = self
            .incoming
            .lock()
            .await
            .all_channels()
            .map(|subscribed| subscribed.keep_open())
            .max();
        tokio::time::sleep(open.unwrap_or_default().min(KEPT_OPEN_MAX)).await;
    }

    /// Gives everything that is not answered back to the queue, for others to take.
    pub async fn give_back_all(&self) -> Result<(), BrokerError> {
        // Else what one channel gives back may come to another, and is given back once more.
        let mut incoming = self.incoming.lock().await;
        {
            let _open = self.gate.open();
            within(ANSWER_MAX, "cancel", incoming.until_paused()).await?;
        }
        for subscribed in incoming.all_channels() {
            subscribed.give_back_all().await?;
        }
        Ok(())
    }
}

fn none_at_work() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(AT_WORK_MAX as usize))
}

/// What of a batch came over which channel; over each in the order of the tags.
fn shares(envelopes: &[Envelope]) -> Vec<Share> {
    let mut shares: Vec<Share> = Vec::new();
    for Envelope {
        subscribed,
        delivery,
        ..
    } in envelopes
    {
        let tag = delivery.delivery_tag;
        match shares
            .iter_mut()
            .find(|share| Arc::ptr_eq(&share.subscribed, subscribed))
        {
            Some(share) => share.tags = *share.tags.start()..=tag,
            None => shares.push(Share {
                subscribed: subscribed.clone(),
                tags: tag..=tag,
                aside: Vec::new(),
            }),
        }
    }
    shares
}
