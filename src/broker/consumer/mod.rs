//! Taking requests in, a batch at a time. What was taken in is settled in [`settle`].

mod settle;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;

use super::batch::{Batch, BatchLimits, Ready};
use super::connection::Connection;
use super::error::BrokerError;
use super::incoming::Incoming;
use super::prefetch_window::PrefetchWindow;
use super::read_gate::ReadGate;
use super::receipt::BatchReceipt;
use super::turns::{AtWork, LargeBodyPermits};

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
pub struct RequestConsumer {
    incoming: Mutex<Incoming>,
    at_work: AtWork,
    large: Arc<LargeBodyPermits>,
    gate: Arc<ReadGate>,
    has_settled: AtomicBool,
    cancelled: AtomicBool,
}

/// How often it is looked what has come in while all lanes are busy: so that it does not become too
/// much meanwhile.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(20);

impl RequestConsumer {
    /// Subscribes; at most `prefetch` unsettled requests are handed over, or one more, and fewer if
    /// they are large. `body_max` is how large they may be.
    pub async fn open(
        connection: &Connection,
        queue: &str,
        prefetch: u16,
        body_max: u64,
    ) -> Result<Self, BrokerError> {
        let gate = connection.gate().clone();
        let window = PrefetchWindow::new(prefetch, body_max);
        let incoming = Incoming::open(connection, queue, window).await?;
        // One of each channel, and what is read ahead.
        let largest = usize::try_from(body_max)
            .unwrap_or(usize::MAX)
            .saturating_mul(incoming.channels() + 1);
        gate.expect(largest);
        let subscription = Self {
            incoming: Mutex::new(incoming),
            at_work: AtWork::default(),
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
            // A batch of few costs each of them more, and another lane is at work anyway: what
            // comes meanwhile joins them.
            if !incoming.ready.is_worthwhile(limits) {
                self.until_none_at_work(&mut incoming).await?;
                self.take_in(&mut incoming).await?;
            }
            if let Some(batch) = self.small_batch(&mut incoming, limits).await {
                return Ok(Ready::Batch(batch));
            }
            if self.is_over(&incoming) {
                return Ok(Ready::Ended);
            }
            if incoming.ready.has_large(limits) && !self.large.is_taken() {
                // The permit came back while we looked for small ones.
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
        // Whoever has the lock waits for a batch of its own, and takes what is ready.
        let Ok(mut incoming) = self.incoming.try_lock() else {
            return Ok(Ready::Nothing);
        };
        self.take_in(&mut incoming).await?;
        if let Some(batch) = self.large_batch(&mut incoming, limits) {
            return Ok(Ready::Batch(batch));
        }
        Ok(match self.small_batch(&mut incoming, limits).await {
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

    /// Waits until no batch is being worked on, and looks at what comes in meanwhile.
    async fn until_none_at_work(&self, incoming: &mut Incoming) -> Result<(), BrokerError> {
        let none = self.at_work.until_none();
        tokio::pin!(none);
        loop {
            tokio::select! {
                biased;
                () = &mut none => return Ok(()),
                () = tokio::time::sleep(LOOK_EVERY) => self.take_in(incoming).await?,
            }
        }
    }

    /// The first of the small requests that are ready.
    async fn small_batch(&self, incoming: &mut Incoming, limits: BatchLimits) -> Option<Batch> {
        let envelopes = incoming.ready.first_small(limits);
        if envelopes.is_empty() {
            return None;
        }
        let receipt = BatchReceipt::of_small(&envelopes, self.at_work.begin().await);
        receipt.begin();
        Some(Batch { envelopes, receipt })
    }

    /// The first of the large ones, if it is their turn and nobody else has it.
    fn large_batch(&self, incoming: &mut Incoming, limits: BatchLimits) -> Option<Batch> {
        if !incoming.ready.is_turn_of_large(limits) {
            return None;
        }
        let large_body_permit = self.large.take()?;
        let envelopes = incoming.ready.first_large(limits);
        let receipt = BatchReceipt::of_large(&envelopes, large_body_permit);
        Some(Batch { envelopes, receipt })
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

    /// What came in and is not settled, but for what waits beside the lanes.
    pub fn held(&self) -> Held {
        Held {
            requests: self.gate.requests(),
            bytes: self.gate.held(),
            asked_for: self.gate.asked_for(),
        }
    }
}
