//! One request that may have ended a worker, alone.

use std::time::Duration;

use tokio::time::Instant;
use tracing::debug;

use super::Lane;
use super::end::LaneEnd;
use super::entries::PART_PROFILES_MAX;
use crate::broker::envelope::Envelope;
use crate::broker::receipt::Receipt;
use crate::domain::outcome::DeadLetterReason;
use crate::pipeline::deferred::OutstandingHandle;
use crate::pipeline::in_flight::InFlight;
use crate::pipeline::outstanding::Outstanding;
use crate::pipeline::store_retry::StoreRetry;
use crate::telemetry::labels::Stage;

/// How long a suspect is held guilty of whatever ends the process. One that is to blame ends it
/// while our code is at it, in milliseconds; what takes longer is a wait for the database or for a
/// queue, and whoever kills workers meanwhile, an operator or an orchestrator, says nothing about
/// it.
const SUSPECT_PATIENCE: Duration = Duration::from_secs(2);

impl Lane {
    /// One request that may have ended a worker, alone.
    pub(super) async fn work_on_suspect(
        &mut self,
        envelope: Envelope,
        receipt: Receipt,
    ) -> Result<(), LaneEnd> {
        let (context, progress) = (self.context.clone(), self.progress.clone());
        let mut retry = context.retry(&progress);
        let Some(mut guard) = context.suspects.acquire_soon().await else {
            self.backlog.put_back_suspect((envelope, receipt));
            return Ok(());
        };
        progress.enter(Stage::Decide);
        let may_begin = loop {
            match guard.begin(&envelope, &context.store).await {
                Ok(may_begin) => break may_begin,
                Err(error) => retry.after(&error).await?,
            }
        };
        retry.succeeded();
        let handle = self.deferred.open(Outstanding::new(envelope.arrived_at()));
        let mut is_stored = false;
        {
            let storing =
                self.store_and_publish_alone(envelope, may_begin, handle.clone(), &mut retry);
            tokio::pin!(storing);
            let doing = async {
                storing.as_mut().await?;
                is_stored = true;
                handle.outstanding.until_said().await;
                Ok::<_, LaneEnd>(())
            };
            if let Ok(done) = tokio::time::timeout(SUSPECT_PATIENCE, doing).await {
                done?;
            }
            // Before the acknowledgement: what is acknowledged never comes again, and if another
            // lane's request ended the process in between, nobody would cross this one out.
            if let Err(error) = guard.clear(&context.store).await {
                debug!(%error, "to be crossed out with the next one");
            }
            drop(guard);
            if !is_stored {
                storing.await?;
            }
        }
        self.progress.enter(Stage::Settle);
        self.finish(handle, receipt).await?;
        Ok(())
    }

    /// Decides on a suspect, unless it is to be given up, and stores all of it; what is to be said
    /// may cost the connection.
    async fn store_and_publish_alone(
        &mut self,
        envelope: Envelope,
        may_begin: bool,
        handle: OutstandingHandle,
        retry: &mut StoreRetry<'_>,
    ) -> Result<(), LaneEnd> {
        let (context, started) = (self.context.clone(), Instant::now());
        let decision = if may_begin {
            context
                .decide_some(std::slice::from_ref(&envelope), started, retry)
                .await?
                .into_iter()
                .next()
        } else {
            None
        };
        let decision =
            decision.unwrap_or_else(|| context.given_up(&envelope, DeadLetterReason::EndedWorker));
        let mut request = InFlight::new(envelope, decision);
        request.traced = self.progress.trace(&request.envelope, started);
        (request.handle, request.is_alone) = (Some(handle), true);
        loop {
            self.store_and_publish(std::slice::from_mut(&mut request), PART_PROFILES_MAX, retry)
                .await?;
            if request.is_done() {
                return Ok(());
            }
        }
    }
}
