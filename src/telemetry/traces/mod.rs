//! Traces: which requests are recorded, and the spans that are made of them and of their batches.
//!
//! A span is made when what it tells of is over, of the moments that were noted on the way; so a
//! request that is not recorded costs next to nothing, and with no endpoint there is nothing of all
//! this.
//!
//! A request's span continues the trace of its producer, and goes on in what is published of it. A
//! batch has many parents, so it has a trace of its own, which links the spans of its requests.

mod answered;
mod attributes;
mod batch;
mod clock;
mod recorded;
mod sampling;

use std::time::SystemTime;

use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator, SpanData, SpanEvents, SpanLinks};
use tokio::time::Instant;

pub(crate) use self::attributes::{Origin, resource, server};
pub(crate) use self::recorded::{BatchTrace, Outline, RequestTrace, StageSpan};
use self::sampling::Ratio;
use super::context;
use super::otlp::SpanSender;

/// The traces of a worker: what is recorded, and the spans that are made of it.
#[derive(Debug)]
pub struct Traces {
    spans: SpanSender,
    ratio: Ratio,
    ids: RandomIdGenerator,
    scope: InstrumentationScope,
    about: Origin,
}

impl Traces {
    /// Makes traces in which `ratio` of the requests are recorded whose producer has not decided.
    pub fn new(spans: SpanSender, ratio: f64, about: Origin) -> Self {
        let scope = InstrumentationScope::builder("profile-worker")
            .with_version(env!("CARGO_PKG_VERSION"))
            .build();
        Self {
            spans,
            ratio: Ratio(ratio),
            ids: RandomIdGenerator::default(),
            scope,
            about,
        }
    }

    /// Counts the spans that the collector did not take.
    pub fn dropped(&self) -> u64 {
        self.spans.dropped()
    }

    /// Begins with a request that came with these headers, was taken and is decided on. `None` if
    /// it is not recorded: a producer that begins a trace decides for all that comes of it.
    pub fn begin(
        &self,
        traceparent: Option<&str>,
        tracestate: Option<&str>,
        began: Instant,
    ) -> Option<Box<RequestTrace>> {
        let parent = context::parent(traceparent, tracestate);
        let trace_id = match &parent {
            Some(parent) if parent.is_sampled() => parent.trace_id(),
            Some(_) => return None,
            None => Some(self.ids.new_trace_id()).filter(|id| self.ratio.records(*id))?,
        };
        let state = parent
            .as_ref()
            .map(|parent| parent.trace_state().clone())
            .unwrap_or_default();
        let context = SpanContext::new(
            trace_id,
            self.ids.new_span_id(),
            TraceFlags::SAMPLED,
            false,
            state,
        );
        let traceparent = format!("00-{trace_id}-{}-01", context.span_id());
        let parent = parent.map(|parent| parent.span_id());
        Some(Box::new(RequestTrace {
            context,
            parent,
            traceparent,
            began,
            decided: Instant::now(),
        }))
    }

    /// Begins with a batch in which something is recorded.
    pub fn begin_batch(&self) -> BatchTrace {
        let (trace, span) = (self.ids.new_trace_id(), self.ids.new_span_id());
        let context = SpanContext::new(trace, span, TraceFlags::SAMPLED, false, TraceState::NONE);
        BatchTrace {
            context,
            links: SpanLinks::default(),
            arrived: Instant::now(),
        }
    }

    fn span(
        &self,
        context: SpanContext,
        kind: SpanKind,
        name: String,
        (start_time, end_time): (SystemTime, SystemTime),
        attributes: Vec<KeyValue>,
    ) -> SpanData {
        SpanData {
            span_context: context,
            parent_span_id: SpanId::INVALID,
            parent_span_is_remote: false,
            span_kind: kind,
            name: name.into(),
            start_time,
            end_time,
            attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: self.scope.clone(),
        }
    }
}
