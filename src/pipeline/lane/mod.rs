//! The loop: take what is ready, decide, commit, publish what is to be said, settle; again.

mod answer;
mod end;
mod entries;
mod suspect;

use std::sync::Arc;

use tokio::time::Instant;
use tracing::debug;

pub(crate) use self::end::LaneEnd;
use super::backlog::Backlog;
use super::context::Context;
use super::deferred::{Deferred, OutstandingHandle};
use super::in_flight::InFlight;
use super::lane_publisher::LanePublisher;
use super::shutdown::Stop;
use crate::broker::batch::{Batch, Ready};
use crate::broker::consumer::{LOOK_EVERY, RequestConsumer};
use crate::broker::envelope::Envelope;
use crate::broker::error::BrokerError;
use crate::broker::receipt::{BatchReceipt, Receipt};
use crate::observe::progress::Progress;
use crate::telemetry::labels::{Redelivered, Stage};

/// One lane: a loop over what the session's consumer delivers.
#[derive(Debug)]
pub(crate) struct Lane {
    context: Arc<Context>,
    consumer: Arc<RequestConsumer>,
    publisher: LanePublisher,
    deferred: Arc<Deferred>,
    progress: Arc<Progress>,
    backlog: Backlog,
}

impl Lane {
    /// A lane that has taken nothing yet.
    pub(crate) fn new(
        context: Arc<Context>,
        consumer: Arc<RequestConsumer>,
        publisher: LanePublisher,
        deferred: Arc<Deferred>,
    ) -> Self {
        let progress = Arc::new(Progress::new(context.recorder.clone()));
        Self {
            context,
            consumer,
            publisher,
            deferred,
            progress,
            backlog: Backlog::default(),
        }
    }

    /// Works until the subscription ends, or there is another reason to.
    pub(crate) async fn run(mut self, mut stop: Stop) -> LaneEnd {
        tokio::select! {
            biased;
            end = self.work_until_the_end() => end.map_or_else(|end| end, |()| LaneEnd::Finished),
            // Abandoned halfway: what was stored by then its redelivery will find.
            () = stop.out_of_time() => LaneEnd::OutOfTime,
        }
    }

    async fn work_until_the_end(&mut self) -> Result<(), LaneEnd> {
        loop {
            match self.next().await? {
                Ready::Batch(batch) => self.work(Some(batch)).await?,
                Ready::Ended if self.backlog.is_empty() => return Ok(()),
                Ready::Nothing | Ready::Ended => self.work(None).await?,
            }
        }
    }

    /// Waits for requests, unless there is something else to do.
    async fn next(&self) -> Result<Ready, BrokerError> {
        self.deferred.until_room().await;
        let limits = self.backlog.limits(self.context.config.batch_max);
        if self.backlog.is_empty() {
            self.consumer.next_batch(limits).await
        } else if self.backlog.is_full() {
            Ok(Ready::Nothing)
        } else {
            self.consumer.ready_batch(limits).await
        }
    }

    /// Works, and looks at what comes in meanwhile, so that it does not become too much.
    async fn work(&mut self, batch: Option<Batch>) -> Result<(), LaneEnd> {
        let consumer = self.consumer.clone();
        // Nobody else takes in what comes while all lanes are busy, and the client library has no
        // bound of its own.
        let work = self.work_on(batch);
        tokio::pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            let looking = consumer.look();
            tokio::pin!(looking);
            tokio::select! {
                done = &mut work => {
                    // What it asks of the broker is not left halfway.
                    looking.await?;
                    return done;
                }
                looked = &mut looking => looked?,
            }
        }
    }

    /// A batch, if there is one, then a part of what takes longer, then one that must be alone.
    async fn work_on(&mut self, batch: Option<Batch>) -> Result<(), LaneEnd> {
        if let Some(batch) = batch {
            self.work_on_batch(batch).await?;
            self.progress.finish();
        }
        self.work_on_entries().await?;
        self.progress.finish();
        if let Some((envelope, receipt)) = self.backlog.take_suspect() {
            self.work_on_suspect(envelope, receipt).await?;
            self.progress.finish();
        }
        Ok(())
    }

    /// One batch, from the first look to the acknowledgement.
    async fn work_on_batch(
        &mut self,
        Batch {
            envelopes,
            mut receipt,
        }: Batch,
    ) -> Result<(), LaneEnd> {
        let started = Instant::now();
        let (context, progress) = (self.context.clone(), self.progress.clone());
        let mut retry = context.retry(&progress);
        self.note_deliveries(&envelopes);
        // Whatever may end the process must not have neighbours when it does.
        let envelopes = self.backlog.without_suspects(envelopes, &mut receipt);
        let mut open = envelopes.into_iter();
        let mut stored = 0;
        let mut arrivals = Vec::with_capacity(open.len());
        // As a rule once. Small bodies can say much, so decisions are made up to a limit of bytes.
        while !open.as_slice().is_empty() {
            progress.enter(Stage::Decide);
            let decisions = context
                .decide_some(open.as_slice(), started, &mut retry)
                .await?;
            let mut requests = Vec::with_capacity(decisions.len());
            for (decision, envelope) in decisions.into_iter().zip(open.by_ref()) {
                let mut request = InFlight::new(envelope, decision);
                request.traced = progress.trace(&request.envelope, started);
                if request.has_entries() {
                    // It may have ten thousand profiles, which its neighbours should not wait for.
                    request.receipt = Some(receipt.set_aside(&request.envelope));
                    self.backlog.push(request);
                } else {
                    requests.push(request);
                }
            }
            stored += self
                .store_and_publish(&mut requests, usize::MAX, &mut retry)
                .await?;
            for request in requests {
                match request.handle {
                    Some(handle) => self.leave(&request.envelope, handle, &mut receipt).await?,
                    None => arrivals.push(request.envelope.arrived_at()),
                }
            }
            // Else what is decided on next would come on top of it.
            while self.backlog.is_full() {
                self.work_on_entries().await?;
            }
        }
        // What was taken out of the batch still has its bodies: no other lane begins with more.
        self.backlog.keep_large_body_permit(&mut receipt);
        self.progress.enter(Stage::Settle);
        // Last of all: until here a redelivery does it again, and finds what was done.
        self.consumer.settle_batch(receipt).await?;
        context.settled(&arrivals);
        debug!(
            requests = arrivals.len(),
            stored,
            elapsed_ms = elapsed_ms(started),
            "batch"
        );
        Ok(())
    }

    /// Something of a request is still to be said: it is settled later than its batch.
    async fn leave(
        &self,
        envelope: &Envelope,
        handle: OutstandingHandle,
        receipt: &mut BatchReceipt,
    ) -> Result<(), BrokerError> {
        let mut own = receipt.set_aside(envelope);
        self.consumer.defer(&mut own);
        self.deferred.lane_done(handle, own).await
    }

    fn note_deliveries(&self, envelopes: &[Envelope]) {
        let metrics = &self.context.recorder.metrics;
        let redelivered = envelopes
            .iter()
            .filter(|envelope| envelope.redelivered())
            .count();
        metrics.batch_requests.observe(envelopes.len() as f64);
        metrics
            .deliveries
            .of(Redelivered::Yes)
            .inc_by(redelivered as u64);
        metrics
            .deliveries
            .of(Redelivered::No)
            .inc_by((envelopes.len() - redelivered) as u64);
    }

    /// The lane's part of a request that was taken out of its batch is done.
    async fn finish(
        &self,
        handle: OutstandingHandle,
        mut receipt: Receipt,
    ) -> Result<(), BrokerError> {
        self.consumer.defer(&mut receipt);
        self.deferred.lane_done(handle, receipt).await
    }
}

/// Milliseconds for logs, with decimals: a batch may take less than one.
fn elapsed_ms(since: Instant) -> f64 {
    since.elapsed().as_micros() as f64 / 1000.0
}
