//! The loop: take what is ready, decide, commit, say what is to be said, settle; again.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;
use tracing::debug;

use super::backlog::Backlog;
use super::commit::commit;
use super::compose::{Parcel, Responder};
use super::context::Context;
use super::deferred::{Deferred, Owing};
use super::hold::{GaveUp, Hold};
use super::job::Job;
use super::outlets::{Left, Outlets};
use super::owed::Owed;
use super::shutdown::Stop;
use super::tally::Tally;
use crate::broker::batch::{Batch, BatchReceipt, Ready, Receipt};
use crate::broker::envelope::Envelope;
use crate::broker::error::BrokerError;
use crate::broker::subscription::{LOOK_EVERY, Subscription};
use crate::domain::outcome::DeadLetterReason;
use crate::observe::progress::Progress;
use crate::telemetry::labels::{Redelivered, Stage};

/// Profiles of requests in the batch form that are stored at a time, before the next batch of other
/// requests gets its turn. With 100 the batch form was a tenth slower, with 500 or more it was
/// hardly faster, and others waited longer (`make bench` has the figures).
const BULK_PART_MAX: usize = 250;

/// How long a suspect is held guilty of whatever ends the process. One that is to blame ends it
/// while our code is at it, in milliseconds; what takes longer is a wait for the database or for a
/// queue, and whoever kills workers meanwhile, an operator or an orchestrator, says nothing about
/// it.
const SUSPECT_PATIENCE: Duration = Duration::from_secs(2);

/// So often what is said is made shorter; a broker whose limit allows nothing is set up wrongly.
const SHORTENED_MAX: u32 = 3;

/// One lane: a loop over the session's subscription.
#[derive(Debug)]
pub struct Lane {
    context: Arc<Context>,
    subscription: Arc<Subscription>,
    outlets: Outlets,
    deferred: Arc<Deferred>,
    progress: Arc<Progress>,
    backlog: Backlog,
}

/// Why a lane ended. Whatever it held and did not settle is given back by its session, or by the
/// broker when the connection closes.
#[derive(Debug)]
pub enum LaneEnd {
    /// The subscription has ended, and everything that came over it is finished.
    Finished,
    /// It was asked to, but its time ran out first.
    OutOfTime,
    /// The database is away for so long that others should have its requests, or its setup is at
    /// fault.
    Parked,
    /// The broker is lost, or something that the worker needs of it is missing.
    Lost(BrokerError),
}

impl From<BrokerError> for LaneEnd {
    fn from(error: BrokerError) -> Self {
        Self::Lost(error)
    }
}

impl From<GaveUp> for LaneEnd {
    fn from(GaveUp: GaveUp) -> Self {
        Self::Parked
    }
}

impl Lane {
    /// A lane that has taken nothing yet.
    pub fn new(
        context: Arc<Context>,
        subscription: Arc<Subscription>,
        outlets: Outlets,
        deferred: Arc<Deferred>,
    ) -> Self {
        let progress = Arc::new(Progress::new(context.recorder.clone()));
        Self {
            context,
            subscription,
            outlets,
            deferred,
            progress,
            backlog: Backlog::default(),
        }
    }

    /// Works until the subscription ends, or there is another reason to.
    pub async fn run(mut self, mut stop: Stop) -> LaneEnd {
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
            self.subscription.next_batch(limits).await
        } else if self.backlog.is_full() {
            Ok(Ready::Nothing)
        } else {
            self.subscription.ready_batch(limits).await
        }
    }

    /// Works, and looks at what comes in meanwhile, so that it does not become too much.
    async fn work(&mut self, batch: Option<Batch>) -> Result<(), LaneEnd> {
        let subscription = self.subscription.clone();
        let work = self.work_on(batch);
        tokio::pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            let looking = subscription.look();
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
        self.work_on_bulk().await?;
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
        let mut hold = context.hold(&progress);
        self.note_deliveries(&envelopes);
        let envelopes = self.backlog.without_suspects(envelopes, &mut receipt);
        let mut open = envelopes.into_iter();
        let mut stored = 0;
        let mut arrivals = Vec::with_capacity(open.len());
        while !open.as_slice().is_empty() {
            progress.enter(Stage::Decide);
            let decisions = context
                .decide_some(open.as_slice(), started, &mut hold)
                .await?;
            let mut jobs = Vec::with_capacity(decisions.len());
            for (decision, envelope) in decisions.into_iter().zip(open.by_ref()) {
                let mut job = Job::new(envelope, decision);
                job.traced = progress.trace(&job.envelope, started);
                if job.is_bulk() {
                    job.receipt = Some(receipt.set_aside(&job.envelope));
                    self.backlog.push(job);
                } else {
                    jobs.push(job);
                }
            }
            stored += self.store_and_say(&mut jobs, usize::MAX, &mut hold).await?;
            for job in jobs {
                match job.owing {
                    Some(owing) => self.leave(&job.envelope, owing, &mut receipt).await?,
                    None => arrivals.push(job.envelope.arrived_at()),
                }
            }
            while self.backlog.is_full() {
                self.work_on_bulk().await?;
            }
        }
        self.backlog.keep_large_turn(&mut receipt);
        self.progress.enter(Stage::Settle);
        self.subscription.settle_batch(receipt).await?;
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
        owing: Owing,
        receipt: &mut BatchReceipt,
    ) -> Result<(), BrokerError> {
        let mut own = receipt.set_aside(envelope);
        self.subscription.leave_beside(&mut own);
        self.deferred.lane_done(owing, own).await
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

    /// One request that may have ended a worker, alone.
    async fn work_on_suspect(
        &mut self,
        envelope: Envelope,
        receipt: Receipt,
    ) -> Result<(), LaneEnd> {
        let (context, progress) = (self.context.clone(), self.progress.clone());
        let mut hold = context.hold(&progress);
        let Some(mut turn) = context.suspects.turn_soon().await else {
            self.backlog.put_back_suspect((envelope, receipt));
            return Ok(());
        };
        progress.enter(Stage::Decide);
        let may_begin = loop {
            match turn.begin(&envelope, &context.store).await {
                Ok(may_begin) => break may_begin,
                Err(error) => hold.after(&error).await?,
            }
        };
        hold.succeeded();
        let owing = self.deferred.open(Owed::new(envelope.arrived_at()));
        let mut is_stored = false;
        {
            let storing = self.store_and_say_alone(envelope, may_begin, owing.clone(), &mut hold);
            tokio::pin!(storing);
            let doing = async {
                storing.as_mut().await?;
                is_stored = true;
                owing.owed.until_said().await;
                Ok::<_, LaneEnd>(())
            };
            if let Ok(done) = tokio::time::timeout(SUSPECT_PATIENCE, doing).await {
                done?;
            }
            // Before the acknowledgement: what is acknowledged never comes again, and if another
            // lane's request ended the process in between, nobody would cross this one out.
            if let Err(error) = turn.clear(&context.store).await {
                debug!(%error, "to be crossed out with the next one");
            }
            drop(turn);
            if !is_stored {
                storing.await?;
            }
        }
        self.progress.enter(Stage::Settle);
        self.finish(owing, receipt).await?;
        Ok(())
    }

    /// Decides on a suspect, unless it is to be given up, and stores all of it; what is to be said
    /// may cost the connection.
    async fn store_and_say_alone(
        &mut self,
        envelope: Envelope,
        may_begin: bool,
        owing: Owing,
        hold: &mut Hold<'_>,
    ) -> Result<(), LaneEnd> {
        let (context, started) = (self.context.clone(), Instant::now());
        let decision = if may_begin {
            context
                .decide_some(std::slice::from_ref(&envelope), started, hold)
                .await?
                .into_iter()
                .next()
        } else {
            None
        };
        let decision =
            decision.unwrap_or_else(|| context.given_up(&envelope, DeadLetterReason::EndedWorker));
        let mut job = Job::new(envelope, decision);
        job.traced = self.progress.trace(&job.envelope, started);
        (job.owing, job.is_alone) = (Some(owing), true);
        loop {
            self.store_and_say(std::slice::from_mut(&mut job), BULK_PART_MAX, hold)
                .await?;
            if job.is_done() {
                return Ok(());
            }
        }
    }

    /// The lane's part of a request that was taken out of its batch is done.
    async fn finish(&self, owing: Owing, mut receipt: Receipt) -> Result<(), BrokerError> {
        self.subscription.leave_beside(&mut receipt);
        self.deferred.lane_done(owing, receipt).await
    }

    /// One part of the requests in the batch form, the first ones first.
    async fn work_on_bulk(&mut self) -> Result<(), LaneEnd> {
        // Out of the backlog while they are worked on; in again before anything else is looked at.
        let mut jobs = self.backlog.take_bulk();
        if jobs.is_empty() {
            return Ok(());
        }
        let started = Instant::now();
        let (context, progress) = (self.context.clone(), self.progress.clone());
        let part_max = context.config.batch_max.min(BULK_PART_MAX);
        let mut hold = context.hold(&progress);
        let stored = self
            .store_and_say(jobs.make_contiguous(), part_max, &mut hold)
            .await?;
        while jobs.front().is_some_and(Job::is_done) {
            let Some(Job {
                envelope,
                receipt: Some(receipt),
                owing,
                ..
            }) = jobs.pop_front()
            else {
                continue;
            };
            self.progress.enter(Stage::Settle);
            match owing {
                Some(owing) => self.finish(owing, receipt).await?,
                None => {
                    self.subscription.settle(receipt).await?;
                    context.settled(&[envelope.arrived_at()]);
                }
            }
        }
        debug!(
            waiting = jobs.len(),
            stored,
            elapsed_ms = elapsed_ms(started),
            "part of bulk"
        );
        self.backlog.put_back(jobs);
        Ok(())
    }

    /// Stores what is open of the jobs, at most so many profiles, and says what is to be said then.
    /// Returns how many were stored.
    async fn store_and_say(
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
            .for_each(|job| super::faults::inject_after_commit(&job.envelope));
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
        self.say(&mut jobs[..begun], &announced).await?;
        let answered = jobs[..begun].iter().take_while(|job| job.is_done()).count();
        jobs[..answered].iter().for_each(Job::log);
        let recorded = jobs[..begun].iter().enumerate().filter_map(|(index, job)| {
            let arrived_at = job.envelope.arrived_at();
            Some((index, job.traced.as_deref()?, arrived_at, job.outline()))
        });
        self.progress.published(begun, answered, recorded);
        Ok(stored)
    }

    /// Says what is to be said of the jobs, of which so many profiles each have been announced.
    async fn say(&mut self, jobs: &mut [Job], announced: &[usize]) -> Result<(), BrokerError> {
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

/// For logs; a batch may take less than one.
fn elapsed_ms(since: Instant) -> f64 {
    since.elapsed().as_micros() as f64 / 1000.0
}
