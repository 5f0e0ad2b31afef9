//! Messages that wait for one destination.

use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};

use super::Deferred;
use super::waiting::{Errand, limit};
use crate::broker::error::BrokerError;
use crate::broker::publisher::{Fate, Published, Publisher};
use crate::pipeline::backoff::Backoff;
use crate::pipeline::destinations::Destination;

/// Publishes what waits for one destination, a batch at a time, over a channel of its own.
struct Tender {
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
    pub(super) async fn tend(self: Arc<Self>, destination: Destination) {
        Tender::new(self, destination).tend().await;
    }
}

impl Tender {
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
    async fn tend(mut self) {
        while let Some(errands) = self.deferred.take(&self.destination) {
            if !self.deferred.lines.is_open() {
                return self.deferred.fail_closed();
            }
            self.publish(errands).await;
        }
        if self.has_told {
            info!("{} takes messages again", self.destination.name());
        }
    }

    async fn publish(&mut self, errands: Vec<Errand>) {
        let deferred = self.deferred.clone();
        let (over, errands): (Vec<_>, Vec<_>) = errands
            .into_iter()
            .partition(|errand| errand.owed.is_over());
        over.iter().for_each(|errand| deferred.uncount(errand));
        let mut publisher = match self.publisher.take() {
            Some(publisher) => publisher,
            None => match Publisher::open(&deferred.lines.publishing).await {
                Ok(publisher) => publisher,
                Err(error) => return self.failed(errands, error).await,
            },
        };
        let oldest = errands
            .iter()
            .map(|errand| errand.since.elapsed())
            .max()
            .unwrap_or_default();
        let patience = self
            .limit
            .saturating_sub(oldest)
            .max(Duration::from_millis(1));
        match publisher.publish(&errands, Some(patience)).await {
            Ok(Published::Confirmed) => {
                deferred.context.destinations.forget(&self.destination);
                self.backoff.reset();
                self.publisher = Some(publisher);
                for errand in errands {
                    deferred.confirmed(errand).await;
                }
            }
            Ok(Published::Partly { fates, .. }) => {
                let mut refused = Vec::new();
                for (errand, fate) in errands.into_iter().zip(fates) {
                    match fate {
                        Fate::Confirmed => deferred.confirmed(errand).await,
                        Fate::Returned => deferred.returned(errand),
                        Fate::Refused => refused.push(errand),
                        Fate::Unconfirmed => deferred.out_of_time(errand).await,
                    }
                }
                if !refused.is_empty() {
                    self.refused(&publisher, refused).await;
                }
            }
            Err(error) => self.failed(errands, error).await,
        }
    }

    /// The queue refuses them. The next attempt has a new channel: of another leader this one would
    /// never hear.
    async fn refused(&mut self, publisher: &Publisher, errands: Vec<Errand>) {
        let open = self.without_those_out_of_time(errands).await;
        if let Destination::Requester(queue) = &self.destination
            && publisher.is_full(queue).await.unwrap_or(false)
        {
            open.into_iter()
                .for_each(|errand| self.deferred.returned(errand));
            return;
        }
        self.wait(open, "is full, or has no leader").await;
    }

    async fn without_those_out_of_time(&self, errands: Vec<Errand>) -> Vec<Errand> {
        let (late, open): (Vec<_>, Vec<_>) = errands
            .into_iter()
            .partition(|errand| errand.since.elapsed() >= self.limit);
        for errand in late {
            self.deferred.out_of_time(errand).await;
        }
        open
    }

    async fn failed(&mut self, errands: Vec<Errand>, error: BrokerError) {
        match error {
            BrokerError::TooLarge(limit) => {
                self.deferred.context.size_limit.learn(limit);
                let (large, fitting): (Vec<_>, Vec<_>) = errands
                    .into_iter()
                    .partition(|errand| errand.parcel.message.body_size() > limit);
                self.deferred.put_back(&self.destination, fitting);
                for errand in large {
                    // It comes again, and is answered with less.
                    self.deferred.give_back(errand).await;
                }
            }
            BrokerError::Refused(_) | BrokerError::Unroutable(_) => {
                self.deferred.put_back(&self.destination, errands);
                self.deferred.fail(error);
                self.backoff.wait().await;
            }
            error => {
                let open = self.without_those_out_of_time(errands).await;
                self.wait(open, &format!("can't be published to: {error}"))
                    .await;
            }
        }
    }

    /// Waits before the next attempt.
    async fn wait(&mut self, errands: Vec<Errand>, why: &str) {
        let is_ours = !self.destination.is_requesters();
        if is_ours && !self.has_told && !errands.is_empty() {
            warn!(
                "{} {why}; what is for it waits, and others do not wait for it",
                self.destination.name()
            );
            self.has_told = true;
        }
        self.deferred.put_back(&self.destination, errands);
        self.backoff.wait().await;
    }
}
