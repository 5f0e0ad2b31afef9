//! The span of an answered request.

use std::time::SystemTime;

use opentelemetry::trace::{Event, SpanId, SpanKind, Status};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use tokio::time::Instant;

use super::Traces;
use super::clock::Clock;
use super::recorded::{BatchTrace, Outline, RequestTrace, link};
use crate::telemetry::names;

impl Traces {
    /// Ends a request that is answered, when the broker has all that was to be said. It was
    /// `stored` in this batch, or in the last of several.
    pub fn end(
        &self,
        traced: &RequestTrace,
        outline: &Outline<'_>,
        stored: Instant,
        batch: &BatchTrace,
    ) {
        let clock = Clock::now();
        let mut events = SpanEvents::default();
        events
            .events
            .push(event(names::DECIDED, clock.at(traced.decided)));
        events
            .events
            .extend((outline.profiles > 0).then(|| event(names::STORED, clock.at(stored))));
        events.events.push(event(names::PUBLISHED, clock.system));
        let mut links = SpanLinks::default();
        links.links.push(link(&batch.context));
        self.spans.end(SpanData {
            parent_span_id: traced.parent.unwrap_or(SpanId::INVALID),
            parent_span_is_remote: traced.parent.is_some(),
            events,
            links,
            status: if outline.has_failed() {
                Status::error("")
            } else {
                Status::Unset
            },
            ..self.span(
                traced.context.clone(),
                SpanKind::Consumer,
                format!("process {}", self.about.request_queue),
                (clock.at(traced.began), clock.system),
                self.about.answered(outline),
            )
        });
    }
}

fn event(name: &'static str, at: SystemTime) -> Event {
    Event::new(name, at, Vec::new(), 0)
}
