//! Messages that a lane has published, and that the broker has not confirmed in time.

use std::sync::Arc;

use tracing::warn;

use super::Deferred;
use super::waiting::{WaitingMessage, limit};
use crate::broker::error::BrokerError;
use crate::broker::publisher::{Fate, Unconfirmed};
use crate::pipeline::destinations::Known;

impl Deferred {
    pub(super) fn watch(
        self: &Arc<Self>,
        unconfirmed: Box<Unconfirmed>,
        messages: Vec<(usize, WaitingMessage)>,
    ) {
        for (_, message) in &messages {
            self.count(message);
        }
        // What is published is dropped only where nothing older is left that could be.
        self.make_room();
        let mut kept = Vec::with_capacity(messages.len());
        for (index, message) in messages {
            if message.may_be_dropped() && self.waiting().is_full() {
                self.drop_unreadable(message);
            } else {
                kept.push((index, message));
            }
        }
        self.tell_of(&kept);
        let deferred = self.clone();
        self.spawn(async move { deferred.wait_for(unconfirmed, kept).await });
    }

    pub(super) fn tell_of(&self, messages: &[(usize, WaitingMessage)]) {
        let Some((_, first)) = messages.first() else {
            return;
        };
        if let Some(messages) = self
            .context
            .recorder
            .unconfirmed
            .happened(messages.len() as u64)
        {
            let name = self.destination(first).name();
            warn!(
                messages,
                "{name} does not confirm what it is sent; others do not wait for it"
            );
        }
    }

    pub(super) async fn wait_for(
        self: &Arc<Self>,
        unconfirmed: Box<Unconfirmed>,
        messages: Vec<(usize, WaitingMessage)>,
    ) {
        let Some((_, first)) = messages.first() else {
            return;
        };
        // Those of one channel are all for requesters, or none is.
        let limit = limit(&self.destination(first));
        let fates = unconfirmed.settle(limit).await;
        for (index, message) in messages {
            let fate = fates
                .as_ref()
                .ok()
                .and_then(|fates| fates.get(index))
                .copied();
            match fate {
                Some(Fate::Confirmed) => {
                    self.context
                        .destinations
                        .forget(&self.destination(&message));
                    self.confirmed(message).await;
                }
                Some(Fate::Returned) => self.returned(message),
                Some(Fate::Unconfirmed) => self.out_of_time(message).await,
                // It is published again, unless the broker is lost.
                Some(Fate::Refused) | None => self.push(message),
            }
        }
    }

    /// Nobody is behind its address.
    pub(super) fn returned(self: &Arc<Self>, message: WaitingMessage) {
        if let Some(message) = self.readdress(message) {
            self.undeliverable(message);
        }
    }

    /// It is not taken where it was to go.
    pub(super) fn undeliverable(self: &Arc<Self>, message: WaitingMessage) {
        if let Some(message) = self.redirect(message) {
            self.fail(BrokerError::Unroutable(
                message.message.outgoing.routing_key().to_owned(),
            ));
        }
    }

    /// What has waited for so long as it may.
    pub(super) async fn out_of_time(self: &Arc<Self>, message: WaitingMessage) {
        let destination = self.destination(&message);
        if destination.is_requesters() {
            self.context
                .destinations
                .remember(destination, Known::Refuses);
            self.undeliverable(message);
        } else {
            self.give_back(message).await;
        }
    }
}
