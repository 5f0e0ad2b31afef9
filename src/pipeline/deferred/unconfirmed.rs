//! Messages that a lane has published, and that the broker has not confirmed in time.

use std::sync::Arc;

use tracing::warn;

use super::Deferred;
use super::waiting::{Errand, limit};
use crate::broker::error::BrokerError;
use crate::broker::publisher::{Fate, Unconfirmed};
use crate::pipeline::destinations::Known;

impl Deferred {
    pub(super) fn watch(
        self: &Arc<Self>,
        unconfirmed: Box<Unconfirmed>,
        errands: Vec<(usize, Errand)>,
    ) {
        for (_, errand) in &errands {
            self.count(errand);
        }
        // What is published is dropped only where nothing older is left that could be.
        self.make_room();
        let mut kept = Vec::with_capacity(errands.len());
        for (index, errand) in errands {
            if errand.may_be_dropped() && self.waiting().is_full() {
                self.drop_unreadable(errand);
            } else {
                kept.push((index, errand));
            }
        }
        self.tell_of(&kept);
        let deferred = self.clone();
        self.spawn(async move { deferred.wait_for(unconfirmed, kept).await });
    }

    pub(super) fn tell_of(&self, errands: &[(usize, Errand)]) {
        let Some((_, first)) = errands.first() else {
            return;
        };
        if let Some(messages) = self
            .context
            .recorder
            .unconfirmed
            .happened(errands.len() as u64)
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
        errands: Vec<(usize, Errand)>,
    ) {
        let Some((_, first)) = errands.first() else {
            return;
        };
        // Those of one channel are all for requesters, or none is.
        let limit = limit(&self.destination(first));
        let fates = unconfirmed.settle(limit).await;
        for (index, errand) in errands {
            let fate = fates
                .as_ref()
                .ok()
                .and_then(|fates| fates.get(index))
                .copied();
            match fate {
                Some(Fate::Confirmed) => {
                    self.context.destinations.forget(&self.destination(&errand));
                    self.confirmed(errand).await;
                }
                Some(Fate::Returned) => self.returned(errand),
                Some(Fate::Unconfirmed) => self.out_of_time(errand).await,
                // It is published again, unless the broker is lost.
                Some(Fate::Refused) | None => self.push(errand),
            }
        }
    }

    pub(super) fn returned(self: &Arc<Self>, errand: Errand) {
        if let Some(errand) = self.redirect(errand) {
            self.fail(BrokerError::Unroutable(
                errand.parcel.message.routing_key().to_owned(),
            ));
        }
    }

    /// What has waited for so long as it may.
    pub(super) async fn out_of_time(self: &Arc<Self>, errand: Errand) {
        let destination = self.destination(&errand);
        if destination.is_requesters() {
            self.context
                .destinations
                .remember(destination, Known::Refuses);
            self.returned(errand);
        } else {
            self.give_back(errand).await;
        }
    }
}
