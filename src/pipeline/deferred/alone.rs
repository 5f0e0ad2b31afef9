//! Messages that are published alone, as they may cost the connection: one at a time, over one of
//! their own.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::warn;

use super::Deferred;
use super::waiting::{WaitingMessage, limit};
use crate::broker::error::BrokerError;
use crate::broker::publisher::{Fate, Published, Publisher};
use crate::pipeline::backoff::Backoff;
use crate::pipeline::destinations::{Destination, Known};

/// How long a message that is published alone keeps others waiting that must be published alone.
const ALONE_PATIENCE: Duration = Duration::from_secs(1);

/// How long it takes until the loss of the broker shows on all connections.
const SHOWS_AFTER: Duration = Duration::from_millis(100);

/// So often a connection may be lost over a message without the broker saying that it is to blame.
const ATTEMPTS_MAX: u32 = 3;

impl Deferred {
    pub(super) async fn publish_all_alone(self: &Arc<Self>) {
        let mut publisher = None;
        while let Some(message) = self.take_alone() {
            if !self.connections.is_open() {
                return self.fail_closed();
            }
            self.publish_alone(&mut publisher, message).await;
        }
    }

    fn take_alone(&self) -> Option<WaitingMessage> {
        let mut waiting = self.waiting();
        let message = waiting.alone.pop_front();
        waiting.alone_has_task = message.is_some();
        message
    }

    async fn publish_alone(
        self: &Arc<Self>,
        publisher: &mut Option<Publisher>,
        message: WaitingMessage,
    ) {
        if message.outstanding.is_over() {
            return self.uncount(&message);
        }
        let opened = match publisher.take() {
            Some(opened) => Ok(opened),
            None => self.connections.apart.publisher().await,
        };
        let mut opened = match opened {
            Ok(opened) => opened,
            // The broker may have a limit for connections. That is no reason to end a session.
            Err(error) => {
                if self.context.recorder.unconfirmed.happened(1).is_some() {
                    warn!(%error, "the connection for what is published alone can't be opened; what needs it waits");
                }
                return self.try_alone_later(message).await;
            }
        };
        match opened
            .publish(std::slice::from_ref(&message), Some(ALONE_PATIENCE))
            .await
        {
            Ok(Published::Confirmed) => {
                *publisher = Some(opened);
                self.confirmed(message).await;
            }
            Ok(Published::Partly {
                unconfirmed: Some(unconfirmed),
                ..
            }) => {
                let deferred = self.clone();
                self.spawn(async move { deferred.wait_for(unconfirmed, vec![(0, message)]).await });
            }
            Ok(Published::Partly {
                fates,
                unconfirmed: None,
            }) if fates.first() == Some(&Fate::Returned) => {
                self.returned(message);
            }
            Ok(Published::Partly { .. }) => self.try_alone_later(message).await,
            Err(error) => self.lost_alone(message, error).await,
        }
    }

    /// Its queue is full, or the connection can't be opened.
    async fn try_alone_later(self: &Arc<Self>, message: WaitingMessage) {
        if message.since.elapsed() >= limit(&self.destination(&message)) {
            return self.out_of_time(message).await;
        }
        let deferred = self.clone();
        self.spawn(async move {
            Backoff::default().wait().await;
            deferred.push_alone(message);
        });
    }

    /// The connection, or its channel, was lost over this message.
    async fn lost_alone(self: &Arc<Self>, mut message: WaitingMessage, error: BrokerError) {
        if let BrokerError::TooLarge(limit) = error {
            self.context.size_limit.learn(limit);
            return self.give_back(message).await;
        }
        if error.is_setup() {
            if let Destination::Topic(_) = self.destination(&message) {
                return self.refused_topic(message, &error);
            }
            self.fail(error);
            return self.push_alone(message);
        }
        tokio::time::sleep(SHOWS_AFTER).await;
        if !self.connections.is_open() {
            return self.push_alone(message);
        }
        message.attempts += 1;
        if !error.accuses() && message.attempts < ATTEMPTS_MAX {
            return self.push_alone(message);
        }
        warn!(%error, "a message cost the connection that it was published on; it is published with less");
        let destination = self.destination(&message);
        if destination.is_requesters() {
            self.context
                .destinations
                .remember(destination, Known::Refuses);
        }
        self.uncount(&message);
        let is_less = message.message.redirect(self.result_queue())
            || message.message.outgoing.strip(self.result_queue());
        (message.attempts, message.since) = (0, Instant::now());
        self.count(&message);
        if is_less {
            self.push_alone(message);
        } else {
            self.give_back(message).await;
        }
    }

    /// There is no exchange for topics, or the worker may not publish to it. Nobody but those who
    /// want their replies there is told.
    fn refused_topic(self: &Arc<Self>, message: WaitingMessage, error: &BrokerError) {
        let destination = match error {
            BrokerError::RefusedTopic { .. } => self.destination(&message),
            _ => Destination::Topics,
        };
        if self.context.recorder.returned.happened(1).is_some() {
            let name = destination.name();
            warn!(%error, "{name} can't be published to; replies for it go to the result queue");
        }
        self.context
            .destinations
            .remember(destination, Known::Refuses);
        self.undeliverable(message);
    }
}
