//! Requests in the batch form, part by part between the batches of the others.

use tokio::time::Instant;
use tracing::debug;

use super::end::LaneEnd;
use super::{Lane, elapsed_ms};
use crate::pipeline::in_flight::InFlight;
use crate::telemetry::labels::Stage;

/// Profiles of requests in the batch form that are stored at a time, before the next batch of other
/// requests gets its turn. With 100 the batch form was a tenth slower, with 500 or more it was
/// hardly faster, and others waited longer (`make bench` has the figures).
pub(super) const PART_PROFILES_MAX: usize = 250;

impl Lane {
    /// One part of the requests in the batch form, the first ones first.
    pub(super) async fn work_on_entries(&mut self) -> Result<(), LaneEnd> {
        // Out of the backlog while they are worked on; in again before anything else is looked at.
        let mut requests = self.backlog.take_entries();
        if requests.is_empty() {
            return Ok(());
        }
        let started = Instant::now();
        let (context, progress) = (self.context.clone(), self.progress.clone());
        let part_max = context.config.batch_max.min(PART_PROFILES_MAX);
        let mut retry = context.retry(&progress);
        let stored = self
            .store_and_publish(requests.make_contiguous(), part_max, &mut retry)
            .await?;
        while requests.front().is_some_and(InFlight::is_done) {
            let Some(InFlight {
                envelope,
                receipt: Some(receipt),
                handle,
                ..
            }) = requests.pop_front()
            else {
                unreachable!("whoever put it into the backlog gave it a receipt of its own");
            };
            self.progress.enter(Stage::Settle);
            match handle {
                Some(handle) => self.finish(handle, receipt).await?,
                None => {
                    self.consumer.settle(receipt).await?;
                    context.settled(&[envelope.arrived_at()]);
                }
            }
        }
        debug!(
            waiting = requests.len(),
            stored,
            elapsed_ms = elapsed_ms(started),
            "a part of requests in the batch form"
        );
        self.backlog.put_back(requests);
        Ok(())
    }
}
