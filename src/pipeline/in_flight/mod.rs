//! A request on its way through a lane: what was decided, what has been stored of it so far, and
//! what is to be said.

mod answer;
mod outline;

use std::cell::OnceCell;

use jiff::Timestamp;
use tracing::error;

use super::commit::Committed;
use super::decide::{Addition, Decision, Verdict, identity_of_unnamed};
use super::deferred::OutstandingHandle;
use super::outstanding::Unmarked;
use crate::broker::envelope::Envelope;
use crate::broker::receipt::Receipt;
use crate::domain::email::Email;
use crate::domain::identity::{IdSource, ProfileId};
use crate::domain::outcome::{Code, Rejection};
use crate::domain::profile::NewProfile;
use crate::store::profiles::Stored;
use crate::telemetry::logs::truncated;
use crate::telemetry::traces::RequestTrace;

/// A request on its way.
#[derive(Debug)]
pub(crate) struct InFlight {
    /// The request as it came.
    pub envelope: Envelope,
    /// To settle it by, if that is not done together with its batch.
    pub receipt: Option<Receipt>,
    /// If it is recorded.
    pub traced: Option<Box<RequestTrace>>,
    /// If something of it is still to be said, beside the lanes.
    pub handle: Option<OutstandingHandle>,
    /// What is to be said of it may cost the connection.
    pub is_alone: bool,
    decision: Decision,
    /// What became of its additions, as far as they are stored.
    outcomes: Vec<Result<StoredProfile, Rejection>>,
}

/// What one decided entry takes besides its texts.
const ENTRY_SIZE: usize = size_of::<Result<Addition, Rejection>>() + 64;

/// About the memory that a request takes which was decided on.
pub(crate) fn size(envelope: &Envelope, decision: &Decision) -> usize {
    // Texts were copied out of the body, or of what it unpacks to, at most once.
    let entries = match &decision.verdict {
        Verdict::AddEntries(entries) => entries.len(),
        _ => 1,
    };
    envelope.body().len() + decision.text_bytes + entries * ENTRY_SIZE
}

/// A profile that stands in the database.
#[derive(Debug, Clone, Copy)]
struct StoredProfile {
    id: ProfileId,
    added_at: Timestamp,
}

impl InFlight {
    /// A request that was decided on.
    pub(crate) fn new(envelope: Envelope, decision: Decision) -> Self {
        Self {
            envelope,
            receipt: None,
            traced: None,
            handle: None,
            is_alone: false,
            decision,
            outcomes: Vec::new(),
        }
    }

    /// Whether it is the batch form, which may have more profiles than its neighbours should wait
    /// for.
    pub(crate) fn has_entries(&self) -> bool {
        matches!(self.decision.verdict, Verdict::AddEntries(_))
    }

    /// About the memory that it takes.
    pub(crate) fn size(&self) -> usize {
        size(&self.envelope, &self.decision)
    }

    /// The profiles that are still to be stored.
    pub(crate) fn open(&self) -> impl Iterator<Item = &NewProfile> {
        self.additions()
            .skip(self.outcomes.len())
            .map(|addition| &addition.profile)
    }

    /// Whether everything of it is stored.
    pub(crate) fn is_done(&self) -> bool {
        self.open().next().is_none()
    }

    fn additions(&self) -> impl Iterator<Item = &Addition> {
        self.indexed().map(|(_, addition)| addition)
    }

    /// What is to be added, each with its index in the request.
    fn indexed(&self) -> impl Iterator<Item = (u32, &Addition)> {
        let (one, many) = match &self.decision.verdict {
            Verdict::Add(addition) => (Some(&**addition), &[][..]),
            Verdict::AddEntries(additions) => (None, &additions[..]),
            Verdict::Refuse(_) | Verdict::DeadLetter(..) => (None, &[][..]),
        };
        let many = (0..)
            .zip(many)
            .filter_map(|(index, entry)| Some((index, entry.as_ref().ok()?)));
        one.into_iter().map(|addition| (0, addition)).chain(many)
    }

    /// Takes what became of the next ones of [`Self::open`], as many as there are; returns how many
    /// were stored before.
    pub(crate) fn record(
        &mut self,
        committed: &mut impl Iterator<Item = Committed>,
        ids: &IdSource,
    ) -> usize {
        let before = self.outcomes.len();
        let outcomes: Vec<_> = self
            .open()
            .zip(committed)
            .map(|(profile, committed)| self.stored(profile, committed, ids))
            .collect();
        self.outcomes.extend(outcomes);
        before
    }

    /// Its profiles in the database of which no row says whose they are: a redelivery would not
    /// find them, and store them again.
    pub(crate) fn unmarked(&self) -> Vec<Unmarked> {
        if self.envelope.is_named() {
            return Vec::new();
        }
        let identity = OnceCell::new();
        let stored =
            self.indexed()
                .zip(&self.outcomes)
                .filter_map(|((index, addition), outcome)| {
                    let (profile, stored) = (&addition.profile, outcome.as_ref().ok()?);
                    if profile.request_id.is_some() {
                        return None;
                    }
                    let lasting = || {
                        identity_of_unnamed(
                            &self.envelope.lasting_properties(),
                            self.envelope.body(),
                        )
                    };
                    Some((
                        profile.db_id,
                        stored.id,
                        identity.get_or_init(lasting).profile(index),
                    ))
                });
        stored.collect()
    }

    /// What became of a profile.
    fn stored(
        &self,
        profile: &NewProfile,
        committed: Committed,
        ids: &IdSource,
    ) -> Result<StoredProfile, Rejection> {
        match committed {
            Committed::Stored(Stored::Added) => Ok(StoredProfile {
                id: profile.id,
                added_at: profile.added_at,
            }),
            Committed::Stored(Stored::AddedBefore { id, added_at }) => {
                Ok(StoredProfile { id, added_at })
            }
            Committed::Stored(Stored::EmailTaken) => Err(Rejection::email_taken(
                profile.email.as_ref().map_or("", Email::address),
            )),
            Committed::Poison(code) => Err(failed(
                &self.envelope,
                ids,
                &format!("PostgreSQL refuses it with SQLSTATE {code}"),
            )),
        }
    }
}

/// The 500 of a message, and the log line that its reference leads to.
pub(crate) fn failed(envelope: &Envelope, ids: &IdSource, cause: &str) -> Rejection {
    let reference = ids.next(Timestamp::now().as_second()).to_string();
    error!(
        reference,
        cause,
        message_id = truncated(envelope.message_id()).as_deref(),
        correlation_id = truncated(envelope.correlation_id()).as_deref(),
        code = Code::Failed.number(),
        "a request can't be stored; it was answered with 500 and dead-lettered"
    );
    Rejection::failed(&reference)
}
