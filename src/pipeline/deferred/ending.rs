//! How it ends for a message that waits: the broker has it, or its request goes back.

use std::sync::Arc;

use tokio::time::Instant;
use tracing::debug;

use super::waiting::WaitingMessage;
use super::{Deferred, OutstandingHandle};
use crate::broker::error::BrokerError;
use crate::broker::receipt::Receipt;
use crate::pipeline::compose::Message;
use crate::pipeline::counts::Counts;

impl Deferred {
    /// The broker has it safe, or nobody will.
    pub(super) async fn finish(&self, message: WaitingMessage) {
        self.begin_settling(&message);
        self.settle(message).await;
    }

    /// Ends the wait of a message that is not settled yet: there is room, and something is to be
    /// done.
    pub(super) fn begin_settling(&self, message: &WaitingMessage) {
        self.waiting().settling += 1;
        self.uncount(message);
    }

    pub(super) fn end_settling(&self) {
        self.waiting().settling -= 1;
        self.room.notify_waiters();
    }

    pub(super) async fn settle(&self, message: WaitingMessage) {
        if let Some(receipt) = message.outstanding.done() {
            self.waiting().requests.remove(&message.request);
            match self.consumer.settle(receipt).await {
                Ok(()) => self.context.settled(&[message.outstanding.arrived_at()]),
                Err(error) => debug!(%error, "what was said could not be acknowledged"),
            }
        }
        self.end_settling();
    }

    pub(super) async fn confirmed(&self, message: WaitingMessage) {
        let mut counts = Counts::default();
        counts.confirmed(message.message.content);
        counts.count(&self.context.recorder.metrics);
        self.finish(message).await;
    }

    /// A lane has done its part of a request. If everything of it is said, it is settled.
    pub async fn lane_done(
        &self,
        handle: OutstandingHandle,
        receipt: Receipt,
    ) -> Result<(), BrokerError> {
        let Some(receipt) = handle.outstanding.lane_done(receipt) else {
            return Ok(());
        };
        self.waiting().requests.remove(&handle.key);
        self.consumer.settle(receipt).await?;
        self.context.settled(&[handle.outstanding.arrived_at()]);
        Ok(())
    }

    /// Gives a request back to the queue, because a message of it has waited for too long.
    pub(super) async fn give_back(self: &Arc<Self>, mut message: WaitingMessage) {
        let Some(receipt) = message.outstanding.end() else {
            if !message.outstanding.is_over() {
                // A lane is still at it.
                message.since = Instant::now();
                return self.push(message);
            }
            return self.uncount(&message);
        };
        self.begin_settling(&message);
        self.mark(&message.outstanding.unmarked()).await;
        self.waiting().requests.remove(&message.request);
        if let Err(error) = self.consumer.give_back(receipt).await {
            debug!(%error, "a request could not be given back to the queue");
        }
        self.end_settling();
    }

    /// A reply that came back goes to the queue that its address means; returns what means none.
    pub(super) fn readdress(self: &Arc<Self>, message: WaitingMessage) -> Option<WaitingMessage> {
        self.send_elsewhere(message, Message::readdress)
    }

    /// A reply goes to the result queue; returns what is none.
    pub(super) fn redirect(self: &Arc<Self>, message: WaitingMessage) -> Option<WaitingMessage> {
        self.send_elsewhere(message, Message::redirect)
    }

    fn send_elsewhere(
        self: &Arc<Self>,
        mut message: WaitingMessage,
        change: impl FnOnce(&mut Message, &str) -> bool,
    ) -> Option<WaitingMessage> {
        self.uncount(&message);
        let is_changed = change(&mut message.message, self.result_queue());
        message.since = Instant::now();
        self.count(&message);
        if is_changed {
            self.push(message);
            None
        } else {
            Some(message)
        }
    }
}
