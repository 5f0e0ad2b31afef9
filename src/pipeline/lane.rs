//! The loop: take what is ready, decide, commit, respond, settle; again.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use jiff::Timestamp;
use tokio::time::Instant;
use tracing::{debug, error};

use super::commit::{Committed, commit};
use super::decide::{Addition, Decision, Properties, Rules, Verdict, decide};
use super::hold::{GaveUp, Hold};
use super::respond::{Addressed, Answer, Responder};
use super::shutdown::Stop;
use crate::broker::consumer::{Batch, BatchLimits, Consumer, Envelope};
use crate::broker::error::BrokerError;
use crate::broker::publisher::Publisher;
use crate::config::WorkerConfig;
use crate::domain::directory::Directory;
use crate::domain::identity::IdSource;
use crate::domain::outcome::Rejection;
use crate::store::directory::DirectoryKeeper;
use crate::store::error::StoreError;
use crate::store::pool::Store;
use crate::store::profiles::Stored;

/// Bytes of bodies in one batch. A batch of small requests never comes near it; with large ones it
/// bounds the memory of a batch and the size of its statement.
const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;

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
}

/// One lane: a loop over one subscription.
#[derive(Debug)]
pub struct Lane {
    /// What it shares with the others.
    pub shared: Arc<Shared>,
    /// Where its requests come from.
    pub consumer: Consumer,
    /// Where its answers go.
    pub publisher: Publisher,
    /// When to stop.
    pub stop: Stop,
}

/// Why a lane ended. Whatever it held is back in the queue, or is put there by the broker when the
/// connection closes.
#[derive(Debug)]
pub enum LaneEnd {
    /// It was asked to, and finished what it held.
    Stopped,
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
    /// Works until there is a reason to end.
    pub async fn run(mut self) -> LaneEnd {
        let end = match self.work_until_stopped().await {
            Ok(()) => self.drain().await.map_or_else(|end| end, |()| LaneEnd::Stopped),
            Err(end) => end,
        };
        if !matches!(end, LaneEnd::Lost(_))
            && let Err(error) = self.give_back().await
        {
            debug!(%error, "could not give back what was held; the broker does it when the connection closes");
        }
        end
    }

    async fn work_until_stopped(&mut self) -> Result<(), LaneEnd> {
        let limits = self.limits();
        loop {
            let batch = tokio::select! {
                biased;
                () = self.stop.requested() => return Ok(()),
                batch = self.consumer.next_batch(limits) => batch?,
            };
            let batch = batch.ok_or(BrokerError::Cancelled)?;
            self.work_in_time(batch).await?;
        }
    }

    /// Takes nothing new, and finishes what the broker had handed over already.
    async fn drain(&mut self) -> Result<(), LaneEnd> {
        self.consumer.cancel().await?;
        let limits = self.limits();
        loop {
            let batch = tokio::select! {
                biased;
                () = self.stop.out_of_time() => return Err(LaneEnd::OutOfTime),
                batch = self.consumer.next_batch(limits) => batch?,
            };
            let Some(batch) = batch else {
                return Ok(());
            };
            self.work_in_time(batch).await?;
        }
    }

    /// One batch, abandoned halfway if time runs out: what was stored of it by then its redelivery
    /// will find.
    async fn work_in_time(&self, batch: Batch) -> Result<(), LaneEnd> {
        let mut stop = self.stop.clone();
        tokio::select! {
            biased;
            done = self.work(batch) => done,
            () = stop.out_of_time() => Err(LaneEnd::OutOfTime),
        }
    }

    async fn give_back(&mut self) -> Result<(), BrokerError> {
        self.consumer.cancel().await?;
        self.consumer.requeue_all().await
    }

    fn limits(&self) -> BatchLimits {
        BatchLimits { requests_max: self.shared.config.batch_max, bytes_max: BATCH_BYTES_MAX }
    }

    /// One batch, from the first look to the acknowledgement.
    async fn work(&self, batch: Batch) -> Result<(), LaneEnd> {
        let started = Instant::now();
        let mut hold = Hold::default();
        let envelopes = &batch.envelopes;
        let decisions = self.decide_all(envelopes, started, &mut hold).await?;
        let profiles: Vec<_> = decisions.iter().filter_map(addition).map(|addition| &addition.profile).collect();
        let committed = commit(&self.shared.store, &profiles, &mut hold).await?;
        let answers = answers(&decisions, committed, &self.shared.ids);
        let responder = Responder {
            topology: &self.shared.config.topology,
            worker: &self.shared.worker,
            ids: &self.shared.ids,
            now: Timestamp::now(),
        };
        responder.respond(&self.publisher, envelopes, &answers).await?;
        let requests = envelopes.len();
        batch.receipt.ack().await?;
        debug!(requests, stored = profiles.len(), elapsed_us = started.elapsed().as_micros() as u64, "batch");
        Ok(())
    }

    /// Decides on each message. A "no" that the directory had a part in counts only if the
    /// directory was up to date after the message came in: what was created a moment ago works at
    /// once.
    async fn decide_all<'e>(
        &self,
        envelopes: &'e [Envelope],
        taken_at: Instant,
        hold: &mut Hold,
    ) -> Result<Vec<Decision<'e>>, GaveUp> {
        let keeper = &self.shared.directory;
        let directory = persist(hold, || keeper.recent()).await?;
        let mut decisions: Vec<_> = envelopes.iter().map(|envelope| self.decide_one(envelope, &directory)).collect();
        if decisions.iter().any(|decision| decision.directory_missed) {
            let newer = persist(hold, || keeper.true_since(taken_at)).await?;
            if newer.version != directory.version {
                for (decision, envelope) in decisions.iter_mut().zip(envelopes) {
                    if decision.directory_missed {
                        *decision = self.decide_one(envelope, &newer);
                    }
                }
            }
        }
        Ok(decisions)
    }

    /// Decides on one message. A panic is this message's fault alone: it ends as a 500.
    fn decide_one<'e>(&self, envelope: &'e Envelope, directory: &Directory) -> Decision<'e> {
        let properties = Properties {
            content_type: envelope.content_type(),
            message_id: envelope.message_id(),
            correlation_id: envelope.correlation_id(),
            reply_to: envelope.reply_to(),
            authorization: envelope.header("authorization"),
            redelivered: envelope.redelivered(),
        };
        let rules = Rules { directory, ids: &self.shared.ids, now: now(), body_max: self.shared.config.body_max };
        catch_unwind(AssertUnwindSafe(|| decide(envelope.body(), &properties, &rules))).unwrap_or_else(|_| {
            let rejection = failed(&self.shared.ids, "a panic, logged just before this line");
            Decision { verdict: Verdict::DeadLetter(rejection), feedback_id: None, directory_missed: false }
        })
    }
}

/// PostgreSQL keeps microseconds; with more digits a redelivery's event would differ from the first.
fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now)
}

/// Asks the directory until it answers.
async fn persist<F, A>(hold: &mut Hold, ask: F) -> Result<Arc<Directory>, GaveUp>
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

fn addition<'d, 'e>(decision: &'d Decision<'e>) -> Option<&'d Addition<'e>> {
    match &decision.verdict {
        Verdict::Add(addition) => Some(addition),
        Verdict::Refuse(_) | Verdict::DeadLetter(_) => None,
    }
}

/// What to say about each request; `committed` has an entry for each that is to be added.
fn answers<'d>(decisions: &'d [Decision<'d>], committed: Vec<Committed>, ids: &IdSource) -> Vec<Answer<'d>> {
    let mut committed = committed.into_iter();
    let mut answers = Vec::with_capacity(decisions.len());
    for decision in decisions {
        answers.push(match &decision.verdict {
            Verdict::Refuse(rejection) => Answer::refusal(decision, rejection.clone(), false),
            Verdict::DeadLetter(rejection) => Answer::refusal(decision, rejection.clone(), true),
            Verdict::Add(addition) => match committed.next() {
                Some(committed) => answer(decision, addition, committed, ids),
                None => unreachable!("commit has an outcome for every profile"),
            },
        });
    }
    answers
}

fn answer<'d>(
    decision: &'d Decision<'d>,
    addition: &'d Addition<'d>,
    committed: Committed,
    ids: &IdSource,
) -> Answer<'d> {
    let profile = &addition.profile;
    let (id, added_at) = match committed {
        Committed::Stored(Stored::Added) => (profile.id, profile.added_at),
        Committed::Stored(Stored::AddedBefore { id, added_at }) => (id, added_at),
        Committed::Stored(Stored::EmailTaken) => {
            let rejection = Rejection::email_taken(profile.email.as_deref().unwrap_or_default());
            return Answer::refusal(decision, rejection, false);
        }
        Committed::Poison(code) => {
            let rejection = failed(ids, &format!("PostgreSQL refuses it with SQLSTATE {code}"));
            return Answer::refusal(decision, rejection, true);
        }
    };
    Answer {
        result: Ok(Addressed {
            id,
            added_at,
            profile,
            skipped: &addition.skipped,
            skip_triggers: addition.skip_triggers,
        }),
        feedback_id: decision.feedback_id.as_deref(),
        dead_letter: false,
    }
}

/// The 500 of a message, and the log line that its reference leads to.
fn failed(ids: &IdSource, cause: &str) -> Rejection {
    let reference = ids.next(Timestamp::now().as_second()).to_string();
    error!(reference, cause, "a request can't be stored; it was answered with 500 and dead-lettered");
    Rejection::failed(&reference)
}
