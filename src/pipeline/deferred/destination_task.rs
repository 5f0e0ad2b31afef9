//! Messages that wait for one destination.

use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};

use super::Deferred;
use super::waiting::{WaitingMessage, limit};
use crate::broker::error::BrokerError;
use crate::broker::publisher::{Fate, Published, Publisher};
use crate::pipeline::backoff::Backoff;
use crate::pipeline::destinations::Destination;

/// Publishes what waits for one destination, a batch at a time, over a channel of its own.
struct DestinationTask {
    deferred: Arc<Deferred>,
    destination: Destination,
    /// How long its messages may wait.
    limit: Duration,
    publisher: Option<Publisher>,
    backoff: Backoff,
    has_told: bool,
}

impl Deferred {
    /// Publishes what waits for this destination, until nothing does.
    pub(super) async fn publish_to(self: Arc<Self>, destination: Destination) {
        DestinationTask::new(self, destination).run().await;
    }
}

impl DestinationTask {
    /// Nothing is published yet.
    fn new(deferred: Arc<Deferred>, destination: Destination) -> Self {
        let limit = limit(&destination);
        Self {
            deferred,
            destination,
            limit,
            publisher: None,
            backoff: Backoff::default(),
            has_told: false,
        }
    }

    /// Publishes until nothing waits.
    async fn run(mut self) {
        while let Some(messages) = self.deferred.take(&self.destination) {
            if !self.deferred.connections.is_open() {
                return self.deferred.fail_closed();
            }
            self.publish(messages).await;
        }
        if self.has_told {
            info!("{} takes messages again", self.destination.name());
        }
    }

    async fn publish(&mut self, messages: Vec<WaitingMessage>) {
        let deferred = self.deferred.clone();
        let (over, messages): (Vec<_>, Vec<_>) = messages
            .into_iter()
            .partition(|message| message.outstanding.is_over());
        over.iter().for_each(|message| deferred.uncount(message));
        let mut publisher = match self.publisher.take() {
            Some(publisher) => publisher,
            None => match Publisher::open(&deferred.connections.publishing).await {
                Ok(publisher) => publisher,
                Err(error) => return self.failed(messages, error).await,
            },
        };
        let oldest = messages
            .iter()
            .map(|message| message.since.elapsed())
            .max()
            .unwrap_or_default();
        let patience = self
            .limit
            .saturating_sub(oldest)
            .max(Duration::from_millis(1));
        match publisher.publish(&messages, Some(patience)).await {
            Ok(Published::Confirmed) => {
                deferred.context.destinations.forget(&self.destination);
                self.backoff.reset();
                self.publisher = Some(publisher);
                for message in messages {
                    deferred.confirmed(message).await;
                }
            }
            Ok(Published::Partly { fates, .. }) => {
                let mut refused = Vec::new();
                for (message, fate) in messages.into_iter().zip(fates) {
                    match fate {
                        Fate::Confirmed => deferred.confirmed(message).await,
                        Fate::Returned => deferred.returned(message),
                        Fate::Refused => refused.push(message),
                        Fate::Unconfirmed => deferred.out_of_time(message).await,
                    }
                }
                if !refused.is_empty() {
                    self.refused(&publisher, refused).await;
                }
            }
            Err(error) => self.failed(messages, error).await,
        }
    }

    /// The queue refuses them. The next attempt has a new channel: of another leader this one would
    /// never hear.
    async fn refused(&mut self, publisher: &Publisher, messages: Vec<WaitingMessage>) {
        let open = self.without_those_out_of_time(messages).await;
        if let Destination::Requester(queue) = &self.destination
            && publisher.is_full(queue).await.unwrap_or(false)
        {
            open.into_iter()
                .for_each(|message| self.deferred.undeliverable(message));
            return;
        }
        self.wait(open, "is full, or has no leader").await;
    }

    async fn without_those_out_of_time(
        &self,
        messages: Vec<WaitingMessage>,
    ) -> Vec<WaitingMessage> {
        let (late, open): (Vec<_>, Vec<_>) = messages
            .into_iter()
            .partition(|message| message.since.elapsed() >= self.limit);
        for message in late {
            self.deferred.out_of_time(message).await;
        }
        open
    }

    async fn failed(&mut self, messages: Vec<WaitingMessage>, error: BrokerError) {
        match error {
            BrokerError::TooLarge(limit) => {
                self.deferred.context.size_limit.learn(limit);
                let (large, fitting): (Vec<_>, Vec<_>) = messages
                    .into_iter()
                    .partition(|message| message.message.outgoing.body_size() > limit);
                self.deferred.put_back(&self.destination, fitting);
                for message in large {
                    // It comes again, and is answered with less.
                    self.deferred.give_back(message).await;
                }
            }
            BrokerError::Refused(_) | BrokerError::Unroutable(_) => {
                self.deferred.put_back(&self.destination, messages);
                self.deferred.fail(error);
                self.backoff.wait().await;
            }
            error => {
                let open = self.without_those_out_of_time(messages).await;
                self.wait(open, &format!("can't be published to: {error}"))
                    .await;
            }
        }
    }

    /// Waits before the next attempt.
    async fn wait(&mut self, messages: Vec<WaitingMessage>, why: &str) {
        let is_ours = !self.destination.is_requesters();
        if is_ours && !self.has_told && !messages.is_empty() {
            warn!(
                "{} {why}; what is for it waits, and others do not wait for it",
                self.destination.name()
            );
            self.has_told = true;
        }
        self.deferred.put_back(&self.destination, messages);
        self.backoff.wait().await;
    }
}
