//! A request of which something is still to be said, beside the lanes.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::broker::receipt::Receipt;
use crate::domain::identity::{ProfileId, RequestId};

/// A stored profile whose row does not say which request it is of: database, profile, request.
pub(super) type Unmarked = (i64, ProfileId, RequestId);

/// A request that can be settled once everything of it is said, whoever says the last of it.
#[derive(Debug)]
pub struct Outstanding {
    /// How much is still to be said, the lane's own part included.
    open: AtomicUsize,
    /// There is one once the lane has done its part.
    receipt: Mutex<Option<Receipt>>,
    /// It is back in the queue; whatever was to be said is said when it comes again.
    is_over: AtomicBool,
    /// To be marked before it is given back, so that its redelivery finds them.
    unmarked: Mutex<Vec<Unmarked>>,
    arrived_at: Instant,
    /// Rung when something of it was said.
    said: Notify,
}

impl Outstanding {
    /// The lane's part is open.
    pub fn new(arrived_at: Instant) -> Self {
        Self {
            open: AtomicUsize::new(1),
            receipt: Mutex::default(),
            is_over: AtomicBool::new(false),
            unmarked: Mutex::default(),
            arrived_at,
            said: Notify::new(),
        }
    }

    /// Something more is to be said.
    pub fn add(&self) {
        self.open.fetch_add(1, Ordering::Relaxed);
    }

    /// Something was said. If it was the last of it, the request can be settled.
    pub fn done(&self) -> Option<Receipt> {
        let was_last = self.open.fetch_sub(1, Ordering::AcqRel) == 1;
        self.said.notify_one();
        if was_last { self.take_receipt() } else { None }
    }

    /// The lane has done its part. If nothing else is open, the request can be settled.
    pub fn lane_done(&self, receipt: Receipt) -> Option<Receipt> {
        *self.receipt.lock().unwrap_or_else(PoisonError::into_inner) = Some(receipt);
        self.done()
    }

    /// Waits until nothing but the lane's own part is open.
    pub async fn until_said(&self) {
        while self.open.load(Ordering::Acquire) > 1 {
            self.said.notified().await;
        }
    }

    /// Ends it: it is given back to the queue. `None` if it was settled, or the lane is not done.
    pub fn end(&self) -> Option<Receipt> {
        let receipt = self.take_receipt()?;
        self.is_over.store(true, Ordering::Relaxed);
        Some(receipt)
    }

    /// Whether it was given back.
    pub fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// The rows to be marked before it is given back.
    pub fn unmarked(&self) -> Vec<Unmarked> {
        self.unmarked
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The same as of now: of a request in the batch form more are stored with each part.
    pub fn set_unmarked(&self, unmarked: Vec<Unmarked>) {
        *self.unmarked.lock().unwrap_or_else(PoisonError::into_inner) = unmarked;
    }

    /// When the request came in.
    pub fn arrived_at(&self) -> Instant {
        self.arrived_at
    }

    fn take_receipt(&self) -> Option<Receipt> {
        self.receipt
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}
