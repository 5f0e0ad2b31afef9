//! What is logged and traced of a request.

use tracing::{Level, debug, enabled};

use super::InFlight;
use crate::domain::outcome::Code;
use crate::telemetry::logs::truncated;
use crate::telemetry::traces::Outline;
use crate::wire::reply::Success;

impl InFlight {
    /// What is told of it once it is answered.
    pub(crate) fn outline(&self) -> Outline<'_> {
        let result = self.reply().result;
        Outline {
            message_id: truncated(self.envelope.message_id()),
            correlation_id: truncated(self.envelope.correlation_id()),
            exchange: self.envelope.exchange(),
            routing_key: self.envelope.routing_key(),
            body_size: self.envelope.body().len(),
            redelivered: self.envelope.redelivered(),
            code: result
                .as_ref()
                .map_or_else(|rejection| rejection.code, |_| Code::Added)
                .number(),
            db_id: self
                .additions()
                .next()
                .map(|addition| addition.profile.db_id),
            profile_id: match result {
                Ok(Success::One(added)) => Some(added.profile_id),
                _ => None,
            },
            profiles: self.outcomes.len(),
        }
    }

    /// Logs what became of it, at the level `debug`.
    pub(crate) fn log(&self) {
        if !enabled!(Level::DEBUG) {
            return;
        }
        let Outline {
            message_id,
            correlation_id,
            db_id,
            code,
            profile_id,
            profiles,
            ..
        } = self.outline();
        let (message_id, correlation_id) = (message_id.as_deref(), correlation_id.as_deref());
        let profile_id = profile_id.map(tracing::field::display);
        debug!(
            message_id,
            correlation_id, db_id, code, profile_id, profiles, "answered"
        );
    }
}
