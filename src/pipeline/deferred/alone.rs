//! Messages that are published alone, as they may cost the connection: one at a time, over one of
//! their own.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::warn;

use super::Deferred;
use super::waiting::{Errand, limit};
use crate::broker::error::BrokerError;
use crate::broker::publisher::{Fate, Published, Publisher};
use crate::pipeline::backoff::Backoff;
use crate::pipeline::destinations::Known;

/// How long a message that is published alone keeps others waiting that must be published alone.
const ALONE_PATIENCE: Duration = Duration::from_secs(1);

/// How long it takes until the loss of the broker shows on all connections.
const SHOWS_AFTER: Duration = Duration::from_millis(100);

/// So often a connection may be lost over a message without the broker saying that it is to blame.
const ATTEMPTS_MAX: u32 = 3;

impl Deferred {
    pub(super) async fn tend_alone(self: &Arc<Self>) {
        let mut publisher = None;
        while let Some(errand) = self.take_alone() {
            if !self.lines.is_open() {
                return self.fail_closed();
            }
            self.publish_alone(&mut publisher, errand).await;
        }
    }

    fn take_alone(&self) -> Option<Errand> {
        let mut waiting = self.waiting();
        let errand = waiting.alone.pop_front();
        waiting.alone_is_tended = errand.is_some();
        errand
    }

    async fn publish_alone(self: &Arc<Self>, publisher: &mut Option<Publisher>, errand: Errand) {
        if errand.owed.is_over() {
            return self.uncount(&errand);
        }
        let opened = match publisher.take() {
            Some(opened) => Ok(opened),
            None => self.lines.apart.publisher().await,
        };
        let mut opened = match opened {
            Ok(opened) => opened,
            // The broker may have a limit for connections. That is no reason to end a session.
            Err(error) => {
                if self.context.recorder.unconfirmed.happened(1).is_some() {
                    warn!(%error, "the connection for what is published alone can't be opened; what needs it waits");
                }
                return self.try_alone_later(errand).await;
            }
        };
        match opened
            .publish(std::slice::from_ref(&errand), Some(ALONE_PATIENCE))
            .await
        {
            Ok(Published::Confirmed) => {
                *publisher = Some(opened);
                self.confirmed(errand).await;
            }
            Ok(Published::Partly {
                unconfirmed: Some(unconfirmed),
                ..
            }) => {
                let deferred = self.clone();
                self.spawn(async move { deferred.wait_for(unconfirmed, vec![(0, errand)]).await });
            }
            Ok(Published::Partly {
                fates,
                unconfirmed: None,
            }) if fates.first() == Some(&Fate::Returned) => {
                self.returned(errand);
            }
            Ok(Published::Partly { .. }) => self.try_alone_later(errand).await,
            Err(error) => self.lost_alone(errand, error).await,
        }
    }

    /// Its queue is full, or the connection can't be opened.
    async fn try_alone_later(self: &Arc<Self>, errand: Errand) {
        if errand.since.elapsed() >= limit(&self.destination(&errand)) {
            return self.out_of_time(errand).await;
        }
        let deferred = self.clone();
        self.spawn(async move {
            Backoff::default().wait().await;
            deferred.push_alone(errand);
        });
    }

    /// The connection, or its channel, was lost over this message.
    async fn lost_alone(self: &Arc<Self>, mut errand: Errand, error: BrokerError) {
        if let BrokerError::TooLarge(limit) = error {
            self.context.size_limit.learn(limit);
            return self.give_back(errand).await;
        }
        if error.is_setup() {
            self.fail(error);
            return self.push_alone(errand);
        }
        tokio::time::sleep(SHOWS_AFTER).await;
        if !self.lines.is_open() {
            return self.push_alone(errand);
        }
        errand.attempts += 1;
        if !error.accuses() && errand.attempts < ATTEMPTS_MAX {
            return self.push_alone(errand);
        }
        warn!(%error, "a message cost the connection that it was published on; it is published with less");
        let destination = self.destination(&errand);
        if destination.is_requesters() {
            self.context
                .destinations
                .remember(destination, Known::Refuses);
        }
        self.uncount(&errand);
        let is_less = errand.parcel.redirect(self.result_queue())
            || errand.parcel.message.strip(self.result_queue());
        (errand.attempts, errand.since) = (0, Instant::now());
        self.count(&errand);
        if is_less {
            self.push_alone(errand);
        } else {
            self.give_back(errand).await;
        }
    }
}
