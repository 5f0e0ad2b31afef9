//! Deciding on the messages of a batch, with the directory as it is.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use jiff::Timestamp;
use tokio::time::Instant;

use super::context::Context;
use super::decide::{Decision, Properties, Rules, Verdict, decide};
#[cfg(debug_assertions)]
use super::faults;
use super::in_flight::{self, failed};
use super::store_retry::{GaveUp, StoreRetry};
use crate::broker::envelope::Envelope;
use crate::broker::request_headers::HeaderBytes;
use crate::domain::directory::Directory;
use crate::domain::outcome::DeadLetterReason;
use crate::limits::DECIDED_BYTES_MAX;
use crate::store::error::StoreError;
use crate::wire::Format;

impl Context {
    /// Decides on the first messages, as many as may be kept in memory; on one at least. A "no"
    /// that the directory had a part in counts only if the directory was up to date after the
    /// message came in: what was created a moment ago works at once.
    pub(super) async fn decide_some(
        &self,
        envelopes: &[Envelope],
        taken_at: Instant,
        retry: &mut StoreRetry<'_>,
    ) -> Result<Vec<Decision>, GaveUp> {
        let keeper = &self.directory;
        let directory = persist(retry, || keeper.recent()).await?;
        let now = now();
        let mut decisions = Vec::with_capacity(envelopes.len());
        let mut decided_size = 0;
        for envelope in envelopes {
            let decision = self.decide_one(envelope, &directory, now);
            decided_size += in_flight::size(envelope, &decision);
            decisions.push(decision);
            if decided_size > DECIDED_BYTES_MAX {
                break;
            }
        }
        if decisions.iter().any(|decision| decision.directory_missed) {
            let newer = persist(retry, || keeper.true_since(taken_at)).await?;
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
        let lasting = envelope
            .redelivered()
            .then(|| envelope.lasting_properties());
        let properties = Properties {
            content_type: envelope.content_type(),
            message_type: envelope.kind(),
            content_encoding: envelope.content_encoding(),
            compression: envelope.compression(),
            message_id: envelope.message_id(),
            message_id_header: envelope
                .message_id_header()
                .map(|HeaderBytes { is_text, bytes }| (is_text, bytes)),
            correlation_id: envelope.reply_key(),
            reply_to: envelope.reply_to(),
            authorization: envelope.authorization(),
            redelivered: lasting.as_deref(),
        };
        let rules = Rules {
            directory,
            ids: &self.ids,
            now,
            body_max: self.config.body_max,
            warns: false,
        };
        // Nothing that outlives it is changed: it takes references and returns a value.
        let deciding = AssertUnwindSafe(|| {
            #[cfg(debug_assertions)]
            faults::inject(envelope);
            decide(envelope.body(), &properties, &rules)
        });
        catch_unwind(deciding).unwrap_or_else(|_| self.given_up(envelope, DeadLetterReason::Panic))
    }

    /// A message that we can't do anything with, by a fault of ours.
    pub(super) fn given_up(&self, envelope: &Envelope, reason: DeadLetterReason) -> Decision {
        let cause = match reason {
            DeadLetterReason::EndedWorker => "the worker ended each time that it was begun",
            _ => "a panic, logged just before this line",
        };
        let verdict = Verdict::DeadLetter(reason, failed(envelope, &self.ids, cause));
        let format = Format::of(envelope.content_type(), envelope.body());
        Decision {
            verdict,
            format,
            feedback_id: None,
            warnings: Vec::new(),
            directory_missed: false,
            text_bytes: envelope.body().len(),
        }
    }
}

/// PostgreSQL keeps microseconds; with more digits a redelivery's event would differ from the
/// first.
fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now)
}

/// Asks the directory until it answers.
async fn persist<F, A>(retry: &mut StoreRetry<'_>, ask: F) -> Result<Arc<Directory>, GaveUp>
where
    F: Fn() -> A,
    A: Future<Output = Result<Arc<Directory>, StoreError>>,
{
    loop {
        match ask().await {
            Ok(directory) => {
                retry.succeeded();
                return Ok(directory);
            }
            Err(error) => retry.after(&error).await?,
        }
    }
}
