//! Storing what was decided, and publishing what is to be said of it.

use jiff::Timestamp;
use tracing::debug;

use super::Lane;
use super::end::LaneEnd;
use crate::broker::error::BrokerError;
use crate::pipeline::commit::commit;
use crate::pipeline::compose::{Parcel, Responder};
use crate::pipeline::hold::Hold;
use crate::pipeline::job::Job;
use crate::pipeline::outlets::Left;
use crate::pipeline::owed::Owed;
use crate::pipeline::tally::Tally;
use crate::telemetry::labels::Stage;

/// So often what is said is made shorter; a broker whose limit allows nothing is set up wrongly.
const SHORTENED_MAX: u32 = 3;

impl Lane {
    /// Stores what is open of the jobs, at most so many profiles, and says what is to be said then.
    /// Returns how many were stored.
    pub(super) async fn store_and_publish(
        &mut self,
        jobs: &mut [Job],
        most: usize,
        hold: &mut Hold<'_>,
    ) -> Result<usize, LaneEnd> {
        let context = self.context.clone();
        let profiles: Vec<_> = jobs.iter().flat_map(Job::open).take(most).collect();
        let stored = profiles.len();
        if stored > 0 {
            self.progress.enter(Stage::Store);
        }
        let committed = commit(&context.store, &profiles, hold, &context.recorder.metrics).await?;
        #[cfg(debug_assertions)]
        jobs.iter()
            .filter(|job| !job.is_done())
            .for_each(|job| crate::pipeline::faults::inject_after_commit(&job.envelope));
        self.progress.enter(Stage::Publish);
        let mut committed = committed.into_iter();
        // The jobs behind the first one that is not done wait for their turn; that one may have
        // been begun.
        let mut announced = Vec::with_capacity(jobs.len());
        for job in jobs.iter_mut() {
            announced.push(job.record(&mut committed, &context.ids));
            if !job.is_done() {
                break;
            }
        }
        let begun = announced.len();
        self.publish(&mut jobs[..begun], &announced).await?;
        let answered = jobs[..begun].iter().take_while(|job| job.is_done()).count();
        jobs[..answered].iter().for_each(Job::log);
        let recorded = jobs[..begun].iter().filter_map(|job| {
            let outline = job.is_done().then(|| job.outline());
            Some((job.traced.as_deref()?, job.envelope.arrived_at(), outline))
        });
        self.progress.published(begun, recorded);
        Ok(stored)
    }

    /// Says what is to be said of the jobs, of which so many profiles each have been announced.
    async fn publish(&mut self, jobs: &mut [Job], announced: &[usize]) -> Result<(), BrokerError> {
        let mut tally = Tally::default();
        let mut attempts = 0;
        let left = loop {
            let parcels = self.compose(jobs, announced);
            if jobs.iter().any(|job| job.is_alone) {
                break parcels.into_iter().map(Left::Alone).collect();
            }
            match self.outlets.publish(parcels, &mut tally).await {
                Ok(left) => break left,
                // The broker's limit is known now: what is larger says less.
                Err(BrokerError::TooLarge(limit)) if attempts < SHORTENED_MAX => {
                    debug!(limit, "RabbitMQ takes no larger messages");
                    self.outlets.renew().await?;
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
        tally.count(&self.context.recorder.metrics);
        let deferred = self.deferred.clone();
        let mut owing = |request: usize| {
            let job: &mut Job = &mut jobs[request];
            let owing = job.owing.take();
            let owing =
                owing.unwrap_or_else(|| deferred.open(Owed::new(job.envelope.arrived_at())));
            job.owing.insert(owing).clone()
        };
        for each in left {
            deferred.accept(each, &mut owing);
        }
        for job in jobs.iter() {
            if let Some(owing) = &job.owing {
                owing.owed.set_unmarked(job.unmarked());
            }
        }
        Ok(())
    }

    fn compose(&self, jobs: &[Job], announced: &[usize]) -> Vec<Parcel> {
        let context = &self.context;
        let responder = Responder {
            topology: &context.config.topology,
            worker: &context.worker,
            ids: &context.ids,
            now: Timestamp::now(),
            body_max: context.size_limit.limit(),
        };
        let mut parcels = Vec::with_capacity(2 * jobs.len());
        for (request, (job, announced)) in jobs.iter().zip(announced).enumerate() {
            responder.compose(&job.answer(*announced), request, &mut parcels);
        }
        parcels
    }
}
