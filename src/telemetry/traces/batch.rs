//! The spans of a settled batch: one of the batch, and one of each stage in it.

use opentelemetry::KeyValue;
use opentelemetry::trace::{SpanContext, SpanKind, TraceFlags, TraceState};
use opentelemetry_sdk::trace::{IdGenerator, SpanData};

use super::Traces;
use super::attributes::number;
use super::clock::Clock;
use super::recorded::{BatchTrace, StageSpan};
use crate::telemetry::labels::Stage;
use crate::telemetry::names;

impl Traces {
    /// Ends a batch of so many requests that is settled.
    pub fn end_batch(&self, batch: BatchTrace, requests: usize, stages: &[StageSpan]) {
        let (Some(first), Some(last)) = (stages.first(), stages.last()) else {
            return;
        };
        let clock = Clock::now();
        let queue = &self.about.request_queue;
        // What is left of a large request was received long ago, in another batch.
        let received =
            (first.stage == Stage::Decide).then_some((batch.arrived.min(first.from), first.from));
        let from = received.map_or(first.from, |(arrived, _)| arrived);
        let count = KeyValue::new(names::MESSAGE_COUNT, number(requests));
        let mut attributes = self
            .about
            .messaging("process_batch", "process", queue.clone());
        attributes.push(count.clone());
        let name = format!("process_batch {queue}");
        let times = (clock.at(from), clock.at(last.to));
        let root = self.span(
            batch.context.clone(),
            SpanKind::Consumer,
            name,
            times,
            attributes,
        );
        self.spans.end(SpanData {
            links: batch.links,
            ..root
        });
        let child = |name: String, kind, (from, to), attributes| {
            let flags = TraceFlags::SAMPLED;
            let context = SpanContext::new(
                batch.context.trace_id(),
                self.ids.new_span_id(),
                flags,
                false,
                TraceState::NONE,
            );
            let span = self.span(
                context,
                kind,
                name,
                (clock.at(from), clock.at(to)),
                attributes,
            );
            self.spans.end(SpanData {
                parent_span_id: batch.context.span_id(),
                ..span
            });
        };
        if let Some(times) = received {
            let mut attributes = self.about.messaging("receive", "receive", queue.clone());
            attributes.push(count);
            child(
                format!("receive {queue}"),
                SpanKind::Client,
                times,
                attributes,
            );
        }
        for StageSpan { stage, from, to } in stages {
            let (name, kind, attributes) = match stage {
                Stage::Idle => continue,
                Stage::Decide => ("decide".to_owned(), SpanKind::Internal, Vec::new()),
                Stage::Hold => ("hold".to_owned(), SpanKind::Internal, Vec::new()),
                Stage::Store => (
                    "INSERT profiles".to_owned(),
                    SpanKind::Client,
                    self.about.storing(),
                ),
                Stage::Publish => (
                    "publish".to_owned(),
                    SpanKind::Client,
                    self.about.operation("publish", "send"),
                ),
                Stage::Settle => (
                    format!("ack {queue}"),
                    SpanKind::Client,
                    self.about.messaging("ack", "settle", queue.clone()),
                ),
            };
            child(name, kind, (*from, *to), attributes);
        }
    }
}
