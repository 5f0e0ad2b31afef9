//! Traces: which requests are recorded, and the spans that are made of them and of their batches.
//!
//! A span is made when what it tells of is over, of the moments that were noted on the way; so a
//! request that is not recorded costs next to nothing, and with no endpoint there is nothing of all
//! this.
//!
//! A request's span continues the trace of its producer, and goes on in what is published of it. A
//! batch has many parents, so it has a trace of its own, which links the spans of its requests.

use std::borrow::Cow;
use std::time::SystemTime;

use opentelemetry::trace::{
    Event, Link, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::TelemetryResourceDetector;
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator, SpanData, SpanEvents, SpanLinks};
use tokio::time::Instant;

use super::context;
use super::labels::Stage;
use super::names;
use super::otlp::Spans;
use crate::domain::identity::ProfileId;

/// So many requests are linked by their batch, as with other clients; each links its batch anyway.
const LINKS_MAX: usize = 128;

/// What all spans of a worker say.
#[derive(Debug)]
pub struct About {
    /// The queue that requests come from.
    pub request_queue: String,
    /// Host and port of the broker.
    pub broker: Option<(String, i64)>,
    /// Host and port of the database.
    pub database: Option<(String, i64)>,
    /// Its name.
    pub database_name: Option<String>,
}

/// Decides what is recorded, and makes spans.
#[derive(Debug)]
pub struct Traces {
    spans: Spans,
    ratio: f64,
    ids: RandomIdGenerator,
    scope: InstrumentationScope,
    about: About,
}

/// A request that is recorded.
#[derive(Debug)]
pub struct Traced {
    context: SpanContext,
    /// Its producer's span, if it named one.
    parent: Option<SpanId>,
    traceparent: String,
    began: Instant,
    decided: Instant,
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
    /// Of its reply.
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
    context: SpanContext,
    links: SpanLinks,
    arrived: Instant,
}

/// A stage that a batch has passed through.
#[derive(Debug, Clone, Copy)]
pub struct Passed {
    /// Which.
    pub stage: Stage,
    /// When it began.
    pub from: Instant,
    /// When it ended.
    pub to: Instant,
}

/// Who says so, for the collector.
pub(crate) fn resource(service_name: &str, worker: &str) -> Resource {
    Resource::builder_empty()
        .with_detector(Box::new(TelemetryResourceDetector))
        .with_service_name(service_name.to_owned())
        .with_attribute(KeyValue::new(
            names::SERVICE_VERSION,
            env!("CARGO_PKG_VERSION"),
        ))
        .with_attribute(KeyValue::new(names::SERVICE_INSTANCE, worker.to_owned()))
        .build()
}

impl Traces {
    /// Of requests whose producer has not decided, `ratio` are recorded.
    pub fn new(spans: Spans, ratio: f64, about: About) -> Self {
        let scope = InstrumentationScope::builder("profile-worker")
            .with_version(env!("CARGO_PKG_VERSION"))
            .build();
        Self {
            spans,
            ratio,
            ids: RandomIdGenerator::default(),
            scope,
            about,
        }
    }

    /// Spans that the collector did not take.
    pub fn dropped(&self) -> u64 {
        self.spans.dropped()
    }

    /// A request that came with these headers was taken and is decided on. `None` if it is not
    /// recorded: a producer that begins a trace decides for all that comes of it.
    pub fn begin(
        &self,
        traceparent: Option<&str>,
        tracestate: Option<&str>,
        began: Instant,
    ) -> Option<Box<Traced>> {
        let parent = context::parent(traceparent, tracestate);
        let trace_id = match &parent {
            Some(parent) if parent.is_sampled() => parent.trace_id(),
            Some(_) => return None,
            None => Some(self.ids.new_trace_id()).filter(|id| self.records(*id))?,
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
        Some(Box::new(Traced {
            context,
            parent,
            traceparent,
            began,
            decided: Instant::now(),
        }))
    }

    /// As the SDK's own sampler does, so that others who see the same id agree.
    fn records(&self, id: TraceId) -> bool {
        let bytes = id.to_bytes();
        let (_, low) = bytes.split_at(8);
        let low = low.iter().fold(0, |low, byte| low << 8 | u64::from(*byte)) >> 1;
        (low as f64) < self.ratio * (1_u64 << 63) as f64
    }

    /// A batch in which something is recorded.
    pub fn begin_batch(&self) -> BatchTrace {
        let (trace, span) = (self.ids.new_trace_id(), self.ids.new_span_id());
        let context = SpanContext::new(trace, span, TraceFlags::SAMPLED, false, TraceState::NONE);
        BatchTrace {
            context,
            links: SpanLinks::default(),
            arrived: Instant::now(),
        }
    }

    /// A request is answered, and the broker has all that was to be said. It was `stored` in this
    /// batch, or in the last of several.
    pub fn end(&self, traced: &Traced, outline: &Outline<'_>, stored: Instant, batch: &BatchTrace) {
        let Outline {
            message_id,
            correlation_id,
            ..
        } = outline;
        let Outline {
            exchange,
            routing_key,
            body_size,
            redelivered,
            code,
            db_id,
            profiles,
            ..
        } = *outline;
        let clock = Clock::now();
        let destination = destination(exchange, routing_key, &self.about.request_queue);
        let mut attributes = self.messaging("process", "process", destination);
        attributes.push(KeyValue::new(names::ROUTING_KEY, routing_key.to_owned()));
        attributes.extend(
            message_id
                .as_deref()
                .map(|id| KeyValue::new(names::MESSAGE_ID, id.to_owned())),
        );
        attributes.extend(
            correlation_id
                .as_deref()
                .map(|id| KeyValue::new(names::CONVERSATION_ID, id.to_owned())),
        );
        attributes.push(KeyValue::new(names::BODY_SIZE, number(body_size)));
        attributes.extend(redelivered.then(|| KeyValue::new(names::REDELIVERED, true)));
        attributes.push(KeyValue::new(names::CODE, i64::from(code)));
        attributes.extend(db_id.map(|id| KeyValue::new(names::DB_ID, id)));
        attributes.push(KeyValue::new(names::PROFILES, number(profiles)));
        // A "no" is an answer like any other; only what can't be stored is a fault.
        let failed = code >= 500;
        attributes.extend(failed.then(|| KeyValue::new(names::ERROR_TYPE, code.to_string())));
        let mut events = SpanEvents::default();
        events
            .events
            .push(event(names::DECIDED, clock.at(traced.decided)));
        events
            .events
            .extend((profiles > 0).then(|| event(names::STORED, clock.at(stored))));
        events.events.push(event(names::PUBLISHED, clock.system));
        let mut links = SpanLinks::default();
        links.links.push(link(&batch.context));
        self.spans.end(SpanData {
            parent_span_id: traced.parent.unwrap_or(SpanId::INVALID),
            parent_span_is_remote: traced.parent.is_some(),
            events,
            links,
            status: if failed {
                Status::error("")
            } else {
                Status::Unset
            },
            ..self.span(
                traced.context.clone(),
                SpanKind::Consumer,
                format!("process {}", self.about.request_queue),
                (clock.at(traced.began), clock.system),
                attributes,
            )
        });
    }

    /// A batch of so many requests is settled.
    pub fn end_batch(&self, batch: BatchTrace, requests: usize, stages: &[Passed]) {
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
        let mut attributes = self.messaging("process_batch", "process", queue.clone());
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
            let mut attributes = self.messaging("receive", "receive", queue.clone());
            attributes.push(count);
            child(
                format!("receive {queue}"),
                SpanKind::Client,
                times,
                attributes,
            );
        }
        for Passed { stage, from, to } in stages {
            let (name, kind, attributes) = match stage {
                Stage::Idle => continue,
                Stage::Decide => ("decide".to_owned(), SpanKind::Internal, Vec::new()),
                Stage::Hold => ("hold".to_owned(), SpanKind::Internal, Vec::new()),
                Stage::Store => (
                    "INSERT profiles".to_owned(),
                    SpanKind::Client,
                    self.storing(),
                ),
                Stage::Publish => (
                    "publish".to_owned(),
                    SpanKind::Client,
                    self.operation("publish", "send"),
                ),
                Stage::Settle => (
                    format!("ack {queue}"),
                    SpanKind::Client,
                    self.messaging("ack", "settle", queue.clone()),
                ),
            };
            child(name, kind, (*from, *to), attributes);
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

    fn messaging(
        &self,
        operation: &'static str,
        kind: &'static str,
        destination: String,
    ) -> Vec<KeyValue> {
        let mut attributes = self.operation(operation, kind);
        attributes.push(KeyValue::new(names::DESTINATION, destination));
        attributes
    }

    fn operation(&self, operation: &'static str, kind: &'static str) -> Vec<KeyValue> {
        let mut attributes = vec![
            KeyValue::new(names::SYSTEM, names::RABBITMQ),
            KeyValue::new(names::OPERATION_NAME, operation),
            KeyValue::new(names::OPERATION_TYPE, kind),
        ];
        attributes.extend(server_attributes(self.about.broker.as_ref()));
        attributes
    }

    fn storing(&self) -> Vec<KeyValue> {
        let mut attributes = vec![
            KeyValue::new(names::DB_SYSTEM, names::POSTGRESQL),
            KeyValue::new(names::DB_OPERATION, "INSERT"),
            KeyValue::new(names::DB_COLLECTION, "profiles"),
            KeyValue::new(names::DB_SUMMARY, "INSERT profiles"),
        ];
        attributes.extend(
            self.about
                .database_name
                .clone()
                .map(|name| KeyValue::new(names::DB_NAMESPACE, name)),
        );
        attributes.extend(server_attributes(self.about.database.as_ref()));
        attributes
    }
}

impl Traced {
    /// What messages carry that come of it: our span is their parent.
    pub fn traceparent(&self) -> &str {
        &self.traceparent
    }

    /// Whether it goes on with a producer's trace: then what others keep with that goes on, too.
    pub fn has_parent(&self) -> bool {
        self.parent.is_some()
    }
}

impl BatchTrace {
    /// A request of it is recorded.
    pub fn link(&mut self, traced: &Traced, arrived: Instant) {
        self.arrived = self.arrived.min(arrived);
        if self.links.links.len() < LINKS_MAX {
            self.links.links.push(link(&traced.context));
        } else {
            self.links.dropped_count += 1;
        }
    }
}

/// Exchange, routing key and queue, without what is empty or said twice.
fn destination(exchange: &str, routing_key: &str, queue: &str) -> String {
    let routing_key = if routing_key == queue {
        ""
    } else {
        routing_key
    };
    let parts = [exchange, routing_key, queue]
        .into_iter()
        .filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join(":")
}

/// Host and port of `host:port`. Of several servers it is not known here which one is spoken to.
pub(crate) fn server(address: &str) -> Option<(String, i64)> {
    let (host, port) = address
        .rsplit_once(':')
        .filter(|(host, _)| !host.contains(','))?;
    Some((host.to_owned(), port.parse().ok()?))
}

fn server_attributes(address: Option<&(String, i64)>) -> impl Iterator<Item = KeyValue> {
    address.into_iter().flat_map(|(host, port)| {
        [
            KeyValue::new(names::SERVER_ADDRESS, host.clone()),
            KeyValue::new(names::SERVER_PORT, *port),
        ]
    })
}

fn link(context: &SpanContext) -> Link {
    Link::new(context.clone(), Vec::new(), 0)
}

fn event(name: &'static str, at: SystemTime) -> Event {
    Event::new(name, at, Vec::new(), 0)
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Moments of this process as the rest of the world counts them.
struct Clock {
    system: SystemTime,
    instant: Instant,
}

impl Clock {
    fn now() -> Self {
        Self {
            system: SystemTime::now(),
            instant: Instant::now(),
        }
    }

    fn at(&self, moment: Instant) -> SystemTime {
        self.system - self.instant.saturating_duration_since(moment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_names_nothing_twice() {
        assert_eq!(
            destination("", "profiles.add", "profiles.add"),
            "profiles.add"
        );
        assert_eq!(
            destination("crm", "add", "profiles.add"),
            "crm:add:profiles.add"
        );
        assert_eq!(destination("crm", "", "profiles.add"), "crm:profiles.add");
    }
}
