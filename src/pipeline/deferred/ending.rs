//! How it ends for a message that waits: the broker has it, or its request goes back.

use std::sync::Arc;

use tokio::time::Instant;
use tracing::debug;

use super::waiting::Errand;
use super::{Deferred, Owing};
use crate::broker::error::BrokerError;
use crate::broker::receipt::Receipt;
use crate::pipeline::tally::Tally;

impl Deferred {
    /// The broker has it safe, or nobody will.
    pub(super) async fn finish(&self, errand: Errand) {
        self.begin_settling(&errand);
        self.settle(errand).await;
    }

    /// It does not wait any more, and is not settled yet: there is room, and something is to be
    /// done.
    pub(super) fn begin_settling(&self, errand: &Errand) {
        self.waiting().settling += 1;
        self.uncount(errand);
    }

    pub(super) fn end_settling(&self) {
        self.waiting().settling -= 1;
        self.room.notify_waiters();
    }

    pub(super) async fn settle(&self, errand: Errand) {
        if let Some(receipt) = errand.owed.done() {
            self.waiting().requests.remove(&errand.request);
            match self.subscription.settle(receipt).await {
                Ok(()) => self.context.settled(&[errand.owed.arrived_at()]),
                Err(error) => debug!(%error, "what was said could not be acknowledged"),
            }
        }
        self.end_settling();
    }

    pub(super) async fn confirmed(&self, errand: Errand) {
        let mut tally = Tally::default();
        tally.confirmed(errand.parcel.says);
        tally.count(&self.context.recorder.metrics);
        self.finish(errand).await;
    }

    /// A lane has done its part of a request. If everything of it is said, it is settled.
    pub async fn lane_done(&self, owing: Owing, receipt: Receipt) -> Result<(), BrokerError> {
        let Some(receipt) = owing.owed.lane_done(receipt) else {
            return Ok(());
        };
        self.waiting().requests.remove(&owing.key);
        self.subscription.settle(receipt).await?;
        self.context.settled(&[owing.owed.arrived_at()]);
        Ok(())
    }

    /// It has waited for too long: the request goes back to the queue.
    pub(super) async fn give_back(self: &Arc<Self>, mut errand: Errand) {
        let Some(receipt) = errand.owed.end() else {
            if !errand.owed.is_over() {
                // A lane is still at it.
                errand.since = Instant::now();
                return self.push(errand);
            }
            return self.uncount(&errand);
        };
        self.begin_settling(&errand);
        self.mark(&errand.owed.unmarked()).await;
        self.waiting().requests.remove(&errand.request);
        if let Err(error) = self.subscription.give_back(receipt).await {
            debug!(%error, "a request could not be given back to the queue");
        }
        self.end_settling();
    }

    /// A reply goes to the result queue; returns what is none.
    pub(super) fn redirect(self: &Arc<Self>, mut errand: Errand) -> Option<Errand> {
        self.uncount(&errand);
        let is_redirected = errand.parcel.redirect(self.result_queue());
        errand.since = Instant::now();
        self.count(&errand);
        if is_redirected {
            self.push(errand);
            None
        } else {
            Some(errand)
        }
    }
}
