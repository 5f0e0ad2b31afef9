//! The bound to what waits: what nobody could read makes room.

use std::sync::Arc;

use tracing::error;

use super::Deferred;
use super::waiting::WaitingMessage;
use crate::limits::{DEFERRED_BYTES_MAX, DEFERRED_MESSAGES_MAX};
use crate::pipeline::destinations::Destination;

impl Deferred {
    /// The oldest dead letters of what could not be read make room; a request with a good token
    /// never does.
    pub(super) fn make_room(self: &Arc<Self>) {
        let dead_letters =
            Destination::DeadLetters(self.context.config.topology.dead_letter_queue.clone());
        let mut dropped = Vec::new();
        {
            let mut waiting = self.waiting();
            let mut excess = waiting.messages.saturating_sub(DEFERRED_MESSAGES_MAX - 1);
            let mut excess_bytes = waiting.bytes.saturating_sub(DEFERRED_BYTES_MAX - 1);
            let Some(queue) = waiting.queues.get_mut(&dead_letters) else {
                return;
            };
            while excess > 0 || excess_bytes > 0 {
                let Some(index) = queue.iter().position(WaitingMessage::may_be_dropped) else {
                    break;
                };
                let Some(message) = queue.remove(index) else {
                    break;
                };
                excess = excess.saturating_sub(1);
                excess_bytes = excess_bytes.saturating_sub(message.message.outgoing.size());
                dropped.push(message);
            }
        }
        for message in dropped {
            self.drop_unreadable(message);
        }
    }

    pub(super) fn drop_unreadable(self: &Arc<Self>, message: WaitingMessage) {
        let recorder = &self.context.recorder;
        recorder.metrics.dead_letters_dropped.inc();
        if let Some(messages) = recorder.dropped.happened(1) {
            error!(
                messages,
                queue = self.context.config.topology.dead_letter_queue,
                "the dead-letter queue has had no room for long: unreadable messages are answered and dropped, the \
                 oldest first; make room in it"
            );
        }
        // At once, else the next look would find as little room, and drop as many more.
        self.begin_settling(&message);
        let deferred = self.clone();
        self.spawn(async move { deferred.settle(message).await });
    }
}
