//! What is to be said of a request: its reply, its events, its dead letter.

use super::{InFlight, StoredProfile};
use crate::broker::envelope::TraceHeaders;
use crate::domain::outcome::{DeadLetterReason, Rejection};
use crate::pipeline::compose::{Announcement, Answer};
use crate::pipeline::decide::{Addition, Verdict};
use crate::wire::reply::{Added, Reply, Success};

impl InFlight {
    /// What is to be said now, when the first `announced` of its profiles have been announced.
    pub(crate) fn answer(&self, announced: usize) -> Answer<'_> {
        let stored = self.additions().zip(&self.outcomes).skip(announced);
        let events = stored.filter_map(|(addition, outcome)| match outcome {
            Ok(StoredProfile { id, added_at }) if !addition.skip_triggers => Some(Announcement {
                id: *id,
                added_at: *added_at,
                profile: &addition.profile,
            }),
            _ => None,
        });
        let events = events.collect();
        let reply = self.is_done().then(|| self.reply());
        let dead_letter = if reply.is_some() {
            self.dead_letter()
        } else {
            None
        };
        let came = self.envelope.trace_headers();
        let trace = match &self.traced {
            Some(traced) => TraceHeaders {
                traceparent: Some(traced.traceparent()),
                tracestate: came.tracestate.filter(|_| traced.has_parent()),
            },
            None => came,
        };
        Answer {
            envelope: &self.envelope,
            format: self.decision.format,
            trace,
            reply,
            events,
            dead_letter,
        }
    }

    pub(super) fn reply(&self) -> Reply<'_> {
        let mut outcomes = self.outcomes.iter();
        let result = match &self.decision.verdict {
            Verdict::Refuse(rejection) | Verdict::DeadLetter(_, rejection) => Err(rejection),
            Verdict::Add(addition) => one(addition, outcomes.next()).map(Success::One),
            Verdict::AddEntries(additions) => {
                let each = additions.iter().map(|addition| match addition {
                    Ok(addition) => one(addition, outcomes.next()),
                    Err(rejection) => Err(rejection),
                });
                Ok(Success::Many(each.collect()))
            }
        };
        Reply {
            result,
            feedback_id: self.decision.feedback_id.as_deref(),
            warnings: &self.decision.warnings,
        }
    }

    /// Why the message is kept for somebody to look at.
    fn dead_letter(&self) -> Option<(DeadLetterReason, &Rejection)> {
        if let Verdict::DeadLetter(reason, rejection) = &self.decision.verdict {
            return Some((*reason, rejection));
        }
        let mut refused = self
            .outcomes
            .iter()
            .filter_map(|outcome| outcome.as_ref().err());
        let failed = refused.find(|rejection| rejection.is_failure())?;
        Some((DeadLetterReason::Unstorable, failed))
    }
}

fn one<'j>(
    addition: &'j Addition,
    outcome: Option<&'j Result<StoredProfile, Rejection>>,
) -> Result<Added<'j>, &'j Rejection> {
    match outcome {
        Some(Ok(stored)) => Ok(Added {
            profile_id: stored.id,
            skipped: &addition.skipped,
        }),
        Some(Err(rejection)) => Err(rejection),
        None => unreachable!("a reply is made when everything is stored"),
    }
}
