//! Storing what was decided, and publishing what is to be said of it.

use jiff::Timestamp;
use tracing::debug;

use super::Lane;
use super::end::LaneEnd;
use crate::broker::error::BrokerError;
use crate::pipeline::commit::commit;
use crate::pipeline::compose::{Message, Responder};
use crate::pipeline::counts::Counts;
use crate::pipeline::in_flight::InFlight;
use crate::pipeline::lane_publisher::Unpublished;
use crate::pipeline::outstanding::Outstanding;
use crate::pipeline::store_retry::StoreRetry;
use crate::telemetry::labels::Stage;

/// So often what is said is made shorter; a broker whose limit allows nothing is set up wrongly.
const SHORTENED_MAX: u32 = 3;

impl Lane {
    /// Stores what is open of these requests, at most so many profiles, and publishes what is to
    /// be said then. Returns how many were stored.
    pub(super) async fn store_and_publish(
        &mut self,
        requests: &mut [InFlight],
        most: usize,
        retry: &mut StoreRetry<'_>,
    ) -> Result<usize, LaneEnd> {
        let context = self.context.clone();
        let profiles: Vec<_> = requests
            .iter()
            .flat_map(InFlight::open)
            .take(most)
            .collect();
        let stored = profiles.len();
        if stored > 0 {
            self.progress.enter(Stage::Store);
        }
        let committed = commit(&context.store, &profiles, retry, &context.recorder.metrics).await?;
        #[cfg(debug_assertions)]
        requests
            .iter()
            .filter(|request| !request.is_done())
            .for_each(|request| crate::pipeline::faults::inject_after_commit(&request.envelope));
        self.progress.enter(Stage::Publish);
        let mut committed = committed.into_iter();
        // The requests behind the first one that is not done wait for their turn; that one may have
        // been begun.
        let mut announced = Vec::with_capacity(requests.len());
        for request in requests.iter_mut() {
            announced.push(request.record(&mut committed, &context.ids));
            if !request.is_done() {
                break;
            }
        }
        let begun = announced.len();
        // After the commit and before the acknowledgement: a crash in between leads to the same
        // messages once more, never to none.
        self.publish(&mut requests[..begun], &announced).await?;
        let answered = requests[..begun]
            .iter()
            .take_while(|request| request.is_done())
            .count();
        requests[..answered].iter().for_each(InFlight::log);
        let recorded = requests[..begun].iter().filter_map(|request| {
            let outline = request.is_done().then(|| request.outline());
            Some((
                request.traced.as_deref()?,
                request.envelope.arrived_at(),
                outline,
            ))
        });
        self.progress.published(begun, recorded);
        Ok(stored)
    }

    /// Publishes what is to be said of these requests, of which so many profiles each have been
    /// announced.
    async fn publish(
        &mut self,
        requests: &mut [InFlight],
        announced: &[usize],
    ) -> Result<(), BrokerError> {
        let mut counts = Counts::default();
        let mut attempts = 0;
        let unpublished = loop {
            let messages = self.compose(requests, announced);
            // A suspect's message may be what ends the connection, so it has one of its own.
            if requests.iter().any(|request| request.is_alone) {
                break messages.into_iter().map(Unpublished::Alone).collect();
            }
            match self.publisher.publish(messages, &mut counts).await {
                Ok(unpublished) => break unpublished,
                // The broker's limit is known now: what is larger says less.
                Err(BrokerError::TooLarge(limit)) if attempts < SHORTENED_MAX => {
                    debug!(limit, "RabbitMQ takes no larger messages");
                    self.publisher.renew().await?;
                    attempts += 1;
                }
                Err(BrokerError::TooLarge(limit)) => {
                    return Err(BrokerError::Refused(format!(
                        "RabbitMQ takes no messages over {limit} bytes (its max_message_size), which is too few for \
                         any answer: raise it"
                    )));
                }
                Err(error) => return Err(error),
            }
        };
        // What is left is counted by whoever publishes it.
        counts.count(&self.context.recorder.metrics);
        let deferred = self.deferred.clone();
        let mut handle_of = |index: usize| {
            let request: &mut InFlight = &mut requests[index];
            let arrived_at = request.envelope.arrived_at();
            let handle = request
                .handle
                .take()
                .unwrap_or_else(|| deferred.open(Outstanding::new(arrived_at)));
            request.handle.insert(handle).clone()
        };
        for each in unpublished {
            deferred.accept(each, &mut handle_of);
        }
        // If it is given back before it is settled, its redelivery finds the rows by this.
        for request in requests.iter() {
            if let Some(handle) = &request.handle {
                handle.outstanding.set_unmarked(request.unmarked());
            }
        }
        Ok(())
    }

    fn compose(&self, requests: &[InFlight], announced: &[usize]) -> Vec<Message> {
        let context = &self.context;
        let responder = Responder {
            topology: &context.config.topology,
            worker: &context.worker,
            ids: &context.ids,
            now: Timestamp::now(),
            body_max: context.size_limit.limit(),
        };
        let mut messages = Vec::with_capacity(2 * requests.len());
        for (index, (request, announced)) in requests.iter().zip(announced).enumerate() {
            responder.compose(&request.answer(*announced), index, &mut messages);
        }
        messages
    }
}
