//! The loop: take what is ready, decide, commit, respond, settle; again.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use tokio::time::Instant;
use tracing::debug;

use super::commit::commit;
use super::decide::{Decision, Properties, Rules, Verdict, decide};
#[cfg(debug_assertions)]
use super::faults;
use super::hold::{GaveUp, Hold, Holding};
use super::job::{self, Job, failed};
use super::progress::Progress;
use super::respond::{Outbox, Responder};
use super::shutdown::Stop;
use super::suspects::{Suspects, is_suspect};
use super::vitals::Vitals;
use crate::broker::batch::{Batch, BatchLimits, BulkyTurn, Receipt};
use crate::broker::envelope::Envelope;
use crate::broker::error::BrokerError;
use crate::broker::publisher::Publisher;
use crate::broker::subscription::{LOOK_EVERY, Subscription};
use crate::config::WorkerConfig;
use crate::domain::directory::Directory;
use crate::domain::identity::IdSource;
use crate::domain::outcome::DeadLetterReason;
use crate::store::directory::DirectoryKeeper;
use crate::store::error::StoreError;
use crate::store::pool::Store;
use crate::telemetry::labels::{Redelivered, Stage};
use crate::wire::Format;

/// Bytes of bodies in one batch. A batch of small requests never comes near it; with large ones it
/// bounds the memory of a batch and the size of its statement.
const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Profiles of requests in the batch form that are stored at a time, before the next batch of other
/// requests gets its turn. With 100 the batch form was a tenth slower, with 500 or more it was hardly
/// faster, and others waited longer (`make bench` has the figures).
const BULK_PART_MAX: usize = 250;

/// What a lane holds of requests in the batch form, in bytes ([`Job::size`]); with more it takes
/// nothing new until some are done. It bounds the memory of what was read but is not stored yet. One
/// request as large as the default `BODY_MAX` is less.
const BULK_SIZE_MAX: usize = 24 * 1024 * 1024;

/// With more than so much of them it takes small batches only, and no other lane takes large ones.
const BULK_SIZE_ENOUGH: usize = BULK_SIZE_MAX / 3;

/// Bytes of bodies in a small batch.
const SMALL_BATCH_BYTES_MAX: usize = 256 * 1024;

/// Of a batch, requests of this size ([`Job::size`]) are decided on at a time and stored before the
/// rest. Small bodies may say much: ten thousand empty profiles are 30 KB.
const DECIDED_SIZE_MAX: usize = 8 * 1024 * 1024;

/// What all lanes of a worker share.
#[derive(Debug)]
pub struct Shared {
    /// The settings.
    pub config: WorkerConfig,
    /// The database.
    pub store: Store,
    /// Who may do what.
    pub directory: DirectoryKeeper,
    /// Where ids come from.
    pub ids: IdSource,
    /// This process's name in dead letters.
    pub worker: String,
    /// Requests settled so far.
    pub settled: AtomicU64,
    /// Who waits for the database.
    pub holding: Holding,
    /// Requests that may have ended a worker.
    pub suspects: Suspects,
    /// What can be seen of the worker from outside.
    pub vitals: Arc<Vitals>,
}

/// One lane: a loop over the session's subscription.
#[derive(Debug)]
pub struct Lane {
    shared: Arc<Shared>,
    subscription: Arc<Subscription>,
    publisher: Publisher,
    progress: Arc<Progress>,
    /// Requests in the batch form: they are stored part by part, between batches of the others.
    bulk: VecDeque<Job>,
    /// As long as much of `bulk` is left of a batch with large bodies.
    bulky_turn: Option<BulkyTurn>,
    /// Requests to be taken alone, one between two batches of the others.
    suspects: VecDeque<(Envelope, Receipt)>,
}

/// What a lane does next.
#[derive(Debug)]
enum Turn {
    /// Work on a batch, if there is one, and on what takes longer.
    Work(Option<Batch>),
    /// The subscription has ended.
    Ended,
}

/// Why a lane ended. Whatever it held and did not settle is given back by its session, or by the
/// broker when the connection closes.
#[derive(Debug)]
pub enum LaneEnd {
    /// The subscription has ended, and everything that came over it is finished.
    Finished,
    /// It was asked to, but its time ran out first.
    OutOfTime,
    /// The database is away for so long that others should have its requests.
    Parked,
    /// The broker is lost.
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

impl Shared {
    fn hold<'h>(&'h self, progress: &'h Progress) -> Hold<'h> {
        Hold::new(&self.holding, &self.vitals, progress, self.config.park_after)
    }

    /// Requests are acknowledged.
    fn settled(&self, arrivals: &[Instant]) {
        self.settled.fetch_add(arrivals.len() as u64, Ordering::Relaxed);
        let now = Instant::now();
        for arrived_at in arrivals {
            self.vitals.metrics.request_duration.observe((now - *arrived_at).as_secs_f64());
        }
    }
}

impl Lane {
    /// A lane that has taken nothing yet.
    pub fn new(shared: Arc<Shared>, subscription: Arc<Subscription>, publisher: Publisher) -> Self {
        let progress = Arc::new(Progress::new(shared.vitals.clone()));
        Self {
            shared,
            subscription,
            publisher,
            progress,
            bulk: VecDeque::new(),
            bulky_turn: None,
            suspects: VecDeque::new(),
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
            match self.next_turn().await? {
                Turn::Work(batch) => self.work(batch).await?,
                Turn::Ended if !self.has_more() => return Ok(()),
                Turn::Ended => self.work(None).await?,
            }
        }
    }

    /// Waits for requests, unless there is something else to do.
    async fn next_turn(&self) -> Result<Turn, BrokerError> {
        let bulk_size = self.bulk_size();
        let (bytes_max, first_bytes_max) = if bulk_size > BULK_SIZE_ENOUGH {
            (SMALL_BATCH_BYTES_MAX, SMALL_BATCH_BYTES_MAX)
        } else {
            (BATCH_BYTES_MAX, usize::MAX)
        };
        let limits = BatchLimits { requests_max: self.shared.config.batch_max, bytes_max, first_bytes_max };
        let taken = if !self.has_more() {
            self.subscription.next_batch(limits).await?
        } else if bulk_size > BULK_SIZE_MAX {
            return Ok(Turn::Work(None));
        } else {
            match self.subscription.ready_batch(limits).await? {
                Some(taken) => taken,
                None => return Ok(Turn::Work(None)),
            }
        };
        Ok(match taken {
            Some(batch) => Turn::Work(Some(batch)),
            None => Turn::Ended,
        })
    }

    /// Whether it has something to do without another batch.
    fn has_more(&self) -> bool {
        !self.bulk.is_empty() || !self.suspects.is_empty()
    }

    fn bulk_size(&self) -> usize {
        self.bulk.iter().map(Job::size).sum()
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
        if let Some((envelope, receipt)) = self.suspects.pop_front() {
            self.work_on_suspect(envelope, receipt).await?;
            self.progress.finish();
        }
        Ok(())
    }

    /// One batch, from the first look to the acknowledgement.
    async fn work_on_batch(&mut self, Batch { envelopes, mut receipt }: Batch) -> Result<(), LaneEnd> {
        let started = Instant::now();
        let (shared, progress) = (self.shared.clone(), self.progress.clone());
        let mut hold = shared.hold(&progress);
        self.note_deliveries(&envelopes);
        let envelopes = self.without_suspects(envelopes, &mut receipt);
        let mut open = envelopes.into_iter();
        let mut stored = 0;
        let mut arrivals = Vec::with_capacity(open.len());
        while !open.as_slice().is_empty() {
            let decisions = self.decide_some(open.as_slice(), started, &mut hold).await?;
            let mut jobs = Vec::with_capacity(decisions.len());
            for (decision, envelope) in decisions.into_iter().zip(open.by_ref()) {
                let mut job = Job::new(envelope, decision);
                job.traced = progress.trace(&job.envelope, started);
                if job.is_bulk() {
                    job.receipt = Some(receipt.set_aside(&job.envelope));
                    self.bulk.push_back(job);
                } else {
                    arrivals.push(job.envelope.arrived_at());
                    jobs.push(job);
                }
            }
            stored += self.store_and_respond(&mut jobs, usize::MAX, &mut hold).await?;
            while self.bulk_size() > BULK_SIZE_MAX {
                self.work_on_bulk().await?;
            }
        }
        if self.bulk_size() > BULK_SIZE_ENOUGH {
            self.bulky_turn = receipt.take_bulky_turn().or(self.bulky_turn.take());
        }
        self.settle(receipt).await?;
        shared.settled(&arrivals);
        debug!(requests = arrivals.len(), stored, elapsed_ms = elapsed_ms(started), "batch");
        Ok(())
    }

    fn note_deliveries(&self, envelopes: &[Envelope]) {
        let metrics = &self.shared.vitals.metrics;
        let redelivered = envelopes.iter().filter(|envelope| envelope.redelivered()).count();
        metrics.batch_requests.observe(envelopes.len() as f64);
        metrics.deliveries.of(Redelivered::Yes).inc_by(redelivered as u64);
        metrics.deliveries.of(Redelivered::No).inc_by((envelopes.len() - redelivered) as u64);
    }

    async fn settle(&self, receipt: Receipt) -> Result<(), BrokerError> {
        self.progress.enter(Stage::Settle);
        self.subscription.settle(receipt).await
    }

    /// Sets suspects aside.
    fn without_suspects(&mut self, envelopes: Vec<Envelope>, receipt: &mut Receipt) -> Vec<Envelope> {
        if !envelopes.iter().any(is_suspect) {
            return envelopes;
        }
        let (suspects, others): (Vec<_>, _) = envelopes.into_iter().partition(is_suspect);
        self.suspects.extend(suspects.into_iter().map(|envelope| {
            let own = receipt.set_aside(&envelope);
            (envelope, own)
        }));
        others
    }

    /// One request that may have ended a worker, alone.
    async fn work_on_suspect(&mut self, envelope: Envelope, receipt: Receipt) -> Result<(), LaneEnd> {
        let (shared, progress) = (self.shared.clone(), self.progress.clone());
        let mut hold = shared.hold(&progress);
        let arrived_at = envelope.arrived_at();
        let Some(mut turn) = shared.suspects.turn_soon().await else {
            self.suspects.push_front((envelope, receipt));
            return Ok(());
        };
        let started = Instant::now();
        progress.enter(Stage::Decide);
        let may_begin = loop {
            match turn.begin(&envelope, &shared.store).await {
                Ok(may_begin) => break may_begin,
                Err(error) => hold.after(&error).await?,
            }
        };
        hold.succeeded();
        let decision = if may_begin {
            let decisions = self.decide_some(std::slice::from_ref(&envelope), started, &mut hold).await?;
            decisions.into_iter().next()
        } else {
            None
        };
        let decision = decision.unwrap_or_else(|| self.given_up(&envelope, DeadLetterReason::EndedWorker));
        let mut job = Job::new(envelope, decision);
        job.traced = progress.trace(&job.envelope, started);
        loop {
            self.store_and_respond(std::slice::from_mut(&mut job), BULK_PART_MAX, &mut hold).await?;
            if job.is_done() {
                break;
            }
        }
        // Before the acknowledgement: what is acknowledged never comes again, and if another lane's request
        // ended the process in between, nobody would cross this one out.
        if let Err(error) = turn.clear(&shared.store).await {
            debug!(%error, "to be crossed out with the next one");
        }
        self.settle(receipt).await?;
        shared.settled(&[arrived_at]);
        Ok(())
    }

    /// One part of the requests in the batch form, the first ones first.
    async fn work_on_bulk(&mut self) -> Result<(), LaneEnd> {
        if self.bulk.is_empty() {
            return Ok(());
        }
        let started = Instant::now();
        let (shared, progress) = (self.shared.clone(), self.progress.clone());
        // Out of the queue while they are worked on; in again before anything else is looked at.
        let mut jobs = std::mem::take(&mut self.bulk);
        let part_max = shared.config.batch_max.min(BULK_PART_MAX);
        let mut hold = shared.hold(&progress);
        let stored = self.store_and_respond(jobs.make_contiguous(), part_max, &mut hold).await?;
        while jobs.front().is_some_and(Job::is_done) {
            let Some(Job { envelope, receipt: Some(receipt), .. }) = jobs.pop_front() else { continue };
            self.settle(receipt).await?;
            shared.settled(&[envelope.arrived_at()]);
        }
        debug!(waiting = jobs.len(), stored, elapsed_ms = elapsed_ms(started), "part of bulk");
        self.bulk = jobs;
        if self.bulk_size() <= BULK_SIZE_ENOUGH {
            self.bulky_turn = None;
        }
        Ok(())
    }

    /// Stores what is open of the jobs, at most so many profiles, and says what is to be said then.
    /// Returns how many were stored.
    async fn store_and_respond(&self, jobs: &mut [Job], most: usize, hold: &mut Hold<'_>) -> Result<usize, LaneEnd> {
        let profiles: Vec<_> = jobs.iter().flat_map(Job::open).take(most).collect();
        let stored = profiles.len();
        if stored > 0 {
            self.progress.enter(Stage::Store);
        }
        let committed = commit(&self.shared.store, &profiles, hold, &self.shared.vitals.metrics).await?;
        self.progress.enter(Stage::Publish);
        let mut committed = committed.into_iter();
        let responder = Responder {
            topology: &self.shared.config.topology,
            worker: &self.shared.worker,
            ids: &self.shared.ids,
            now: Timestamp::now(),
            vitals: &self.shared.vitals,
        };
        let mut outbox = Outbox::default();
        let mut answered = 0;
        for job in jobs.iter_mut() {
            let announced = job.record(&mut committed, &self.shared.ids);
            let answer = job.answer(announced);
            responder.compose(&answer, &mut outbox);
            // The jobs behind this one wait for their turn.
            if answer.reply.is_none() {
                break;
            }
            answered += 1;
        }
        responder.publish(&self.publisher, outbox).await?;
        jobs.iter().take(answered).for_each(Job::log);
        // The one behind those that are done may have been begun.
        self.progress.published(&jobs[..jobs.len().min(answered + 1)], answered);
        Ok(stored)
    }

    /// Decides on the first messages, as many as may be kept in memory; on one at least. A "no" that
    /// the directory had a part in counts only if the directory was up to date after the message came
    /// in: what was created a moment ago works at once.
    async fn decide_some(
        &self,
        envelopes: &[Envelope],
        taken_at: Instant,
        hold: &mut Hold<'_>,
    ) -> Result<Vec<Decision>, GaveUp> {
        self.progress.enter(Stage::Decide);
        let keeper = &self.shared.directory;
        let directory = persist(hold, || keeper.recent()).await?;
        let now = now();
        let mut decisions = Vec::with_capacity(envelopes.len());
        let mut decided_size = 0;
        for envelope in envelopes {
            let decision = self.decide_one(envelope, &directory, now);
            decided_size += job::size(envelope, &decision);
            decisions.push(decision);
            if decided_size > DECIDED_SIZE_MAX {
                break;
            }
        }
        if decisions.iter().any(|decision| decision.directory_missed) {
            let newer = persist(hold, || keeper.true_since(taken_at)).await?;
            if newer.version != directory.version {
                for (decision, envelope) in decisions.iter_mut().zip(envelopes) {
                    if decision.directory_missed {
                        *decision = self.decide_one(envelope, &newer, now);
                    }
                }
            }
        }
        Ok(decisions)
    }

    /// Decides on one message. A panic is this message's fault alone: it ends as a 500.
    fn decide_one(&self, envelope: &Envelope, directory: &Directory, now: Timestamp) -> Decision {
        let properties = Properties {
            content_type: envelope.content_type(),
            message_id: envelope.message_id(),
            correlation_id: envelope.correlation_id(),
            reply_to: envelope.reply_to(),
            authorization: envelope.header("authorization"),
            redelivered: envelope.redelivered(),
        };
        let rules = Rules { directory, ids: &self.shared.ids, now, body_max: self.shared.config.body_max };
        let deciding = AssertUnwindSafe(|| {
            #[cfg(debug_assertions)]
            faults::inject(envelope);
            decide(envelope.body(), &properties, &rules)
        });
        catch_unwind(deciding).unwrap_or_else(|_| self.given_up(envelope, DeadLetterReason::Panic))
    }

    /// A message that we can't do anything with, by a fault of ours.
    fn given_up(&self, envelope: &Envelope, reason: DeadLetterReason) -> Decision {
        let cause = match reason {
            DeadLetterReason::EndedWorker => "the worker ended each time that it was begun",
            _ => "a panic, logged just before this line",
        };
        let verdict = Verdict::DeadLetter(reason, failed(envelope, &self.shared.ids, cause));
        let format = Format::of(envelope.content_type(), envelope.body());
        Decision { verdict, format, feedback_id: None, directory_missed: false }
    }
}

/// PostgreSQL keeps microseconds; with more digits a redelivery's event would differ from the first.
fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now)
}

/// For logs; a batch may take less than one.
fn elapsed_ms(since: Instant) -> f64 {
    since.elapsed().as_micros() as f64 / 1000.0
}

/// Asks the directory until it answers.
async fn persist<F, A>(hold: &mut Hold<'_>, ask: F) -> Result<Arc<Directory>, GaveUp>
where
    F: Fn() -> A,
    A: Future<Output = Result<Arc<Directory>, StoreError>>,
{
    loop {
        match ask().await {
            Ok(directory) => {
                hold.succeeded();
                return Ok(directory);
            }
            Err(error) => hold.after(&error).await?,
        }
    }
}
