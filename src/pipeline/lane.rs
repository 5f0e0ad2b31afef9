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
use super::hold::{GaveUp, Hold, Holding};
use super::job::{Job, failed};
use super::respond::Responder;
use super::shutdown::Stop;
use crate::broker::consumer::{Batch, BatchLimits, Envelope, Subscription};
use crate::broker::error::BrokerError;
use crate::broker::publisher::Publisher;
use crate::config::WorkerConfig;
use crate::domain::directory::Directory;
use crate::domain::identity::IdSource;
use crate::store::directory::DirectoryKeeper;
use crate::store::error::StoreError;
use crate::store::pool::Store;
use crate::wire::Format;

/// Bytes of bodies in one batch. A batch of small requests never comes near it; with large ones it
/// bounds the memory of a batch and the size of its statement.
const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Profiles of requests in the batch form that are stored at a time, before the next batch of other
/// requests gets its turn. With 100 the batch form was a tenth slower, with 500 or more it was hardly
/// faster, and others waited longer (`make bench` has the figures).
const BULK_PART_MAX: usize = 250;

/// What a lane holds of requests in the batch form, in bytes ([`Job::size`]); with more it takes
/// nothing new until some are done. It bounds the memory of what was read but is not stored yet.
const BULK_SIZE_MAX: usize = 64 * 1024 * 1024;

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
}

/// One lane: a loop over the session's subscription.
#[derive(Debug)]
pub struct Lane {
    shared: Arc<Shared>,
    subscription: Arc<Subscription>,
    publisher: Publisher,
    /// Requests in the batch form: they are stored part by part, between batches of the others.
    bulk: VecDeque<Job>,
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

impl Lane {
    /// A lane that has taken nothing yet.
    pub fn new(shared: Arc<Shared>, subscription: Arc<Subscription>, publisher: Publisher) -> Self {
        Self { shared, subscription, publisher, bulk: VecDeque::new() }
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
                Turn::Ended if self.bulk.is_empty() => return Ok(()),
                Turn::Ended => self.work(None).await?,
            }
        }
    }

    /// Waits for requests, unless there is something else to do.
    async fn next_turn(&self) -> Result<Turn, BrokerError> {
        let limits = BatchLimits { requests_max: self.shared.config.batch_max, bytes_max: BATCH_BYTES_MAX };
        let bulk_size: usize = self.bulk.iter().map(Job::size).sum();
        let taken = if self.bulk.is_empty() {
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

    /// A batch, if there is one, and then a part of what takes longer.
    async fn work(&mut self, batch: Option<Batch>) -> Result<(), LaneEnd> {
        if let Some(batch) = batch {
            self.work_on_batch(batch).await?;
        }
        self.work_on_bulk().await
    }

    /// One batch, from the first look to the acknowledgement.
    async fn work_on_batch(&mut self, Batch { envelopes, mut receipt }: Batch) -> Result<(), LaneEnd> {
        let started = Instant::now();
        let shared = self.shared.clone();
        let mut hold = Hold::new(&shared.holding);
        let decisions = self.decide_all(&envelopes, started, &mut hold).await?;
        let mut jobs = Vec::with_capacity(envelopes.len());
        for (envelope, decision) in envelopes.into_iter().zip(decisions) {
            let mut job = Job::new(envelope, decision);
            if job.is_bulk() {
                job.receipt = Some(receipt.set_aside(&job.envelope));
                self.bulk.push_back(job);
            } else {
                jobs.push(job);
            }
        }
        let requests = jobs.len();
        let stored = self.store_and_respond(&mut jobs, usize::MAX, &mut hold).await?;
        self.subscription.settle(receipt).await?;
        self.shared.settled.fetch_add(requests as u64, Ordering::Relaxed);
        debug!(requests, stored, elapsed_us = started.elapsed().as_micros() as u64, "batch");
        Ok(())
    }

    /// One part of the requests in the batch form, the first ones first.
    async fn work_on_bulk(&mut self) -> Result<(), LaneEnd> {
        if self.bulk.is_empty() {
            return Ok(());
        }
        let started = Instant::now();
        let shared = self.shared.clone();
        // Out of the queue while they are worked on; in again before anything else is looked at.
        let mut jobs = std::mem::take(&mut self.bulk);
        let part_max = shared.config.batch_max.min(BULK_PART_MAX);
        let mut hold = Hold::new(&shared.holding);
        let stored = self.store_and_respond(jobs.make_contiguous(), part_max, &mut hold).await?;
        while jobs.front().is_some_and(Job::is_done) {
            if let Some(receipt) = jobs.pop_front().and_then(|job| job.receipt) {
                self.subscription.settle(receipt).await?;
                self.shared.settled.fetch_add(1, Ordering::Relaxed);
            }
        }
        debug!(waiting = jobs.len(), stored, elapsed_us = started.elapsed().as_micros() as u64, "part of bulk");
        self.bulk = jobs;
        Ok(())
    }

    /// Stores what is open of the jobs, at most so many profiles, and says what is to be said then.
    /// Returns how many were stored.
    async fn store_and_respond(&self, jobs: &mut [Job], most: usize, hold: &mut Hold<'_>) -> Result<usize, LaneEnd> {
        let profiles: Vec<_> = jobs.iter().flat_map(Job::open).take(most).collect();
        let stored = profiles.len();
        let mut committed = commit(&self.shared.store, &profiles, hold).await?.into_iter();
        let responder = Responder {
            topology: &self.shared.config.topology,
            worker: &self.shared.worker,
            ids: &self.shared.ids,
            now: Timestamp::now(),
        };
        let mut messages = Vec::with_capacity(jobs.len());
        for job in jobs {
            let announced = job.record(&mut committed, &self.shared.ids);
            let answer = job.answer(announced);
            responder.compose(&answer, &mut messages);
            // The jobs behind this one wait for their turn.
            if answer.reply.is_none() {
                break;
            }
        }
        responder.publish(&self.publisher, messages).await?;
        Ok(stored)
    }

    /// Decides on each message. A "no" that the directory had a part in counts only if the
    /// directory was up to date after the message came in: what was created a moment ago works at
    /// once.
    async fn decide_all(
        &self,
        envelopes: &[Envelope],
        taken_at: Instant,
        hold: &mut Hold<'_>,
    ) -> Result<Vec<Decision>, GaveUp> {
        let keeper = &self.shared.directory;
        let directory = persist(hold, || keeper.recent()).await?;
        let now = now();
        let mut decisions: Vec<_> =
            envelopes.iter().map(|envelope| self.decide_one(envelope, &directory, now)).collect();
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
        catch_unwind(AssertUnwindSafe(|| decide(envelope.body(), &properties, &rules))).unwrap_or_else(|_| {
            let rejection = failed(&self.shared.ids, "a panic, logged just before this line");
            let format = Format::of(properties.content_type, envelope.body());
            Decision { verdict: Verdict::DeadLetter(rejection), format, feedback_id: None, directory_missed: false }
        })
    }
}

/// PostgreSQL keeps microseconds; with more digits a redelivery's event would differ from the first.
fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now)
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
                hold.over();
                return Ok(directory);
            }
            Err(error) => hold.after(&error).await?,
        }
    }
}
