//! What is known of a request or a batch that is recorded, until its span is made.

use std::borrow::Cow;

use opentelemetry::trace::{Link, SpanContext, SpanId};
use opentelemetry_sdk::trace::SpanLinks;
use tokio::time::Instant;

use crate::domain::identity::ProfileId;
use crate::telemetry::labels::Stage;

/// So many requests are linked by their batch, as with other clients; each links its batch anyway.
const LINKS_MAX: usize = 128;

/// A request that is recorded.
#[derive(Debug)]
pub struct RequestTrace {
    /// What its span is known by.
    pub(super) context: SpanContext,
    /// Its producer's span, if it named one.
    pub(super) parent: Option<SpanId>,
    /// Its span as a header.
    pub(super) traceparent: String,
    /// When it was taken up.
    pub(super) began: Instant,
    /// When it was decided on.
    pub(super) decided: Instant,
}

/// What is told of an answered request.
#[derive(Debug)]
pub struct Outline<'a> {
    /// The producer's name for it, cut.
    pub message_id: Option<Cow<'a, str>>,
    /// How the producer matches the reply, cut.
    pub correlation_id: Option<Cow<'a, str>>,
    /// The exchange that it was published to.
    pub exchange: &'a str,
    /// The routing key that it was published with.
    pub routing_key: &'a str,
    /// Bytes of its body.
    pub body_size: usize,
    /// Whether it may have been delivered before.
    pub redelivered: bool,
    /// The code of its reply.
    pub code: u16,
    /// The database, if it got so far.
    pub db_id: Option<i64>,
    /// The profile that was added, if it was a single one.
    pub profile_id: Option<ProfileId>,
    /// Profiles that were stored, or could not be.
    pub profiles: usize,
}

/// A batch that has requests which are recorded.
#[derive(Debug)]
pub struct BatchTrace {
    /// What its span is known by.
    pub(super) context: SpanContext,
    /// The requests of it that are recorded.
    pub(super) links: SpanLinks,
    /// When the first of them came in.
    pub(super) arrived: Instant,
}

/// A stage that a batch has passed through.
#[derive(Debug, Clone, Copy)]
pub struct StageSpan {
    /// Which.
    pub stage: Stage,
    /// When it began.
    pub from: Instant,
    /// When it ended.
    pub to: Instant,
}

impl RequestTrace {
    /// Returns what messages carry that come of it: our span is their parent.
    pub fn traceparent(&self) -> &str {
        &self.traceparent
    }

    /// Tells whether it goes on with a producer's trace: then what others keep with that goes on,
    /// too.
    pub fn has_parent(&self) -> bool {
        self.parent.is_some()
    }
}

impl Outline<'_> {
    /// Tells whether it is a fault. A "no" is an answer like any other; only what can't be stored
    /// is one.
    pub(super) fn has_failed(&self) -> bool {
        self.code >= 500
    }
}

impl BatchTrace {
    /// Links a request of it that is recorded.
    pub fn link(&mut self, traced: &RequestTrace, arrived: Instant) {
        self.arrived = self.arrived.min(arrived);
        if self.links.links.len() < LINKS_MAX {
            self.links.links.push(link(&traced.context));
        } else {
            self.links.dropped_count += 1;
        }
    }
}

/// Makes a link to the span of this context.
pub(super) fn link(context: &SpanContext) -> Link {
    Link::new(context.clone(), Vec::new(), 0)
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::{TraceFlags, TraceId, TraceState};

    use super::*;

    #[test]
    fn a_batch_links_128_requests_and_counts_the_others() {
        let context = SpanContext::new(
            TraceId::from(1),
            SpanId::from(1),
            TraceFlags::SAMPLED,
            false,
            TraceState::NONE,
        );
        let now = Instant::now();
        let traced = RequestTrace {
            context: context.clone(),
            parent: None,
            traceparent: String::new(),
            began: now,
            decided: now,
        };
        let mut batch = BatchTrace {
            context,
            links: SpanLinks::default(),
            arrived: now,
        };
        for _ in 0..LINKS_MAX + 2 {
            batch.link(&traced, now);
        }
        assert_eq!(batch.links.links.len(), LINKS_MAX);
        assert_eq!(batch.links.dropped_count, 2);
    }
}
