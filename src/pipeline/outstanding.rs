//! A request of which something is still to be said, beside the lanes.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::broker::receipt::Receipt;
use crate::domain::identity::{ProfileId, RequestId};
use crate::sync::lock;

/// A stored profile whose row does not say which request it is of: database, profile, request.
pub(super) type Unmarked = (i64, ProfileId, RequestId);

/// A request that can be settled once everything of it is said, whoever says the last of it.
#[derive(Debug)]
pub struct Outstanding<R = Receipt> {
    /// How much is still to be said, the lane's own part included.
    open: AtomicUsize,
    /// There is one once the lane has done its part.
    receipt: Mutex<Option<R>>,
    /// It is back in the queue; whatever was to be said is said when it comes again.
    is_over: AtomicBool,
    /// To be marked before it is given back, so that its redelivery finds them.
    unmarked: Mutex<Vec<Unmarked>>,
    arrived_at: Instant,
    /// Rung when something of it was said.
    said: Notify,
}

impl<R> Outstanding<R> {
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
    pub fn done(&self) -> Option<R> {
        let was_last = self.open.fetch_sub(1, Ordering::AcqRel) == 1;
        self.said.notify_one();
        if was_last { self.take_receipt() } else { None }
    }

    /// The lane has done its part. If nothing else is open, the request can be settled.
    pub fn lane_done(&self, receipt: R) -> Option<R> {
        *lock(&self.receipt) = Some(receipt);
        self.done()
    }

    /// Waits until nothing but the lane's own part is open.
    pub async fn until_said(&self) {
        while self.open.load(Ordering::Acquire) > 1 {
            self.said.notified().await;
        }
    }

    /// Ends it, to be given back to the queue. `None` if it was settled, or the lane is not done.
    pub fn end(&self) -> Option<R> {
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
        lock(&self.unmarked).clone()
    }

    /// Replaces the rows to be marked: of the batch form more are stored with each part.
    pub fn set_unmarked(&self, unmarked: Vec<Unmarked>) {
        *lock(&self.unmarked) = unmarked;
    }

    /// When the request came in.
    pub fn arrived_at(&self) -> Instant {
        self.arrived_at
    }

    fn take_receipt(&self) -> Option<R> {
        lock(&self.receipt).take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> Outstanding<&'static str> {
        Outstanding::new(Instant::now())
    }

    #[test]
    fn whoever_says_the_last_of_it_settles_it() {
        let lane_last = request();
        lane_last.add();
        assert_eq!(lane_last.done(), None);
        assert_eq!(lane_last.lane_done("receipt"), Some("receipt"));
        let message_last = request();
        message_last.add();
        message_last.add();
        assert_eq!(message_last.lane_done("receipt"), None);
        assert_eq!(message_last.done(), None);
        assert_eq!(message_last.done(), Some("receipt"));
    }

    #[test]
    fn what_is_given_back_is_not_settled_any_more() {
        let request = request();
        request.add();
        assert_eq!(request.end(), None, "the lane is still at it");
        assert!(!request.is_over());
        assert_eq!(request.lane_done("receipt"), None);
        assert_eq!(request.end(), Some("receipt"));
        assert!(request.is_over());
        assert_eq!((request.done(), request.end()), (None, None));
    }

    #[tokio::test]
    async fn a_lane_can_wait_until_only_its_own_part_is_open() {
        let request = request();
        request.add();
        let waiting = tokio::time::Duration::from_millis(20);
        let said = tokio::time::timeout(waiting, request.until_said()).await;
        assert!(said.is_err());
        assert_eq!(request.done(), None);
        request.until_said().await;
    }
}
