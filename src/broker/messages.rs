//! Replies, trigger events and dead letters: their properties, and where they go. The one file of
//! `broker` that knows the contract.

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};

use super::envelope::Envelope;
use super::outgoing::{MATCH_HEADER, OurProperties, Outgoing, PERSISTENT, Properties, insert_text, short};
use crate::telemetry::context::TraceHeaders;

/// A reply, before it is said where to.
#[derive(Debug)]
pub struct ReplyMessage<'a> {
    /// The reply's own id.
    pub message_id: &'a str,
    /// The reply's body.
    pub body: Vec<u8>,
    /// The body's content type.
    pub content_type: &'static str,
    /// The code, so that a consumer can route on it.
    pub error: u16,
    /// Unix seconds.
    pub timestamp: u64,
    /// The request that is answered.
    pub request: &'a Envelope,
    /// The trace that goes on.
    pub trace: TraceHeaders<'a>,
}

/// What the pseudo-queues of RabbitMQ's direct reply-to begin with.
const DIRECT_REPLY_TO: &str = "amq.rabbitmq.reply-to.";

impl ReplyMessage<'_> {
    /// To the queue that the request names.
    ///
    /// Mandatory, so that the broker returns it if nobody is there; but not for direct reply-to:
    /// up to RabbitMQ 4.1 such a reply is returned although it was delivered, from 4.2 on it is
    /// never returned.
    pub fn to_requester(self, reply_to: &str) -> Outgoing {
        let mandatory = !reply_to.starts_with(DIRECT_REPLY_TO);
        self.outgoing(reply_to, mandatory, None)
    }

    /// To the result queue; `original` is the `reply_to` behind which nobody was.
    pub fn to_result_queue(self, queue: &str, original: Option<&str>) -> Outgoing {
        self.outgoing(queue, true, original)
    }

    fn outgoing(self, queue: &str, mandatory: bool, original_reply_to: Option<&str>) -> Outgoing {
        let correlation_id = self.request.correlation_id().or(self.request.message_id());
        let properties = OurProperties {
            content_type: self.content_type,
            kind: "profiles.add.result",
            timestamp: self.timestamp,
            correlation_id: correlation_id.map(short),
            error: Some(self.error),
            original_reply_to: original_reply_to.map(short),
            trace: trace(self.trace),
        };
        Outgoing {
            exchange: ShortString::default(),
            routing_key: short(queue),
            mandatory,
            message_id: short(self.message_id),
            body: self.body,
            properties: Properties::Ours(properties),
        }
    }
}

/// A trigger event. Nobody bound to the exchange is no fault, so it is not mandatory.
pub fn event(
    exchange: &str,
    routing_key: &str,
    message_id: &str,
    body: Vec<u8>,
    timestamp: u64,
    came_of: TraceHeaders<'_>,
) -> Outgoing {
    let properties = OurProperties {
        content_type: "application/json",
        kind: "profile.added",
        timestamp,
        correlation_id: None,
        error: None,
        original_reply_to: None,
        trace: trace(came_of),
    };
    Outgoing {
        exchange: short(exchange),
        routing_key: short(routing_key),
        mandatory: false,
        message_id: short(message_id),
        body,
        properties: Properties::Ours(properties),
    }
}

/// Why a message is dead-lettered.
#[derive(Debug)]
pub struct DeathNote<'a> {
    /// The code of the reply.
    pub error: u16,
    /// The text of the reply.
    pub error_text: &'a str,
    /// Unix seconds.
    pub timestamp: u64,
    /// Which process gave up.
    pub worker: &'a str,
}

/// Properties that would make the broker act on a dead letter as it acts on the original, or
/// refuse it; they are kept as headers named `x-original-…`.
const ROUTING_HEADERS: [&str; 3] = ["CC", "BCC", "x-delivery-count"];

/// The original message with headers that say why it is here; its body untouched, its properties
/// as they were, but for those that would do something:
///
/// - `user_id` is checked against the publisher's (a mismatch closes the channel),
/// - `expiration` would remove the dead letter,
/// - the headers `CC` and `BCC` would send copies elsewhere, perhaps back to us,
/// - `x-delivery-count` is the broker's own count of another queue.
pub fn dead_letter(queue: &str, message_id: String, request: &Envelope, note: &DeathNote<'_>) -> Outgoing {
    let original = &request.delivery.properties;
    let mut headers = FieldTable::default();
    for (name, value) in original.headers().iter().flat_map(FieldTable::inner) {
        if ROUTING_HEADERS.contains(&name.as_str()) {
            headers.insert(short(&format!("x-original-{name}")), value.clone());
        } else {
            headers.insert(name.clone(), value.clone());
        }
    }
    headers.insert("x-error".into(), AMQPValue::LongInt(i32::from(note.error)));
    insert_text(&mut headers, "x-error-text", note.error_text);
    headers.insert("x-error-time".into(), AMQPValue::Timestamp(note.timestamp));
    insert_text(&mut headers, "x-worker", note.worker);
    insert_text(&mut headers, "x-original-exchange", request.exchange());
    insert_text(&mut headers, "x-original-routing-key", request.routing_key());
    for (name, value) in [("x-original-user-id", original.user_id()), ("x-original-expiration", original.expiration())]
    {
        if let Some(value) = value {
            insert_text(&mut headers, name, value.as_str());
        }
    }
    // The id of the dead letter on the wire is the original's, or it would not be "as it was";
    // ours goes along as a header, so that a returned one can be matched.
    insert_text(&mut headers, MATCH_HEADER, &message_id);
    let properties = without_acting_properties(original).with_headers(headers).with_delivery_mode(PERSISTENT);
    Outgoing::other(queue, &message_id, request.body().to_vec(), properties)
}

fn without_acting_properties(original: &BasicProperties) -> BasicProperties {
    let mut kept = BasicProperties::default();
    if let Some(value) = original.content_type() {
        kept = kept.with_content_type(value.clone());
    }
    if let Some(value) = original.content_encoding() {
        kept = kept.with_content_encoding(value.clone());
    }
    if let Some(value) = original.priority() {
        kept = kept.with_priority(*value);
    }
    if let Some(value) = original.correlation_id() {
        kept = kept.with_correlation_id(value.clone());
    }
    if let Some(value) = original.reply_to() {
        kept = kept.with_reply_to(value.clone());
    }
    if let Some(value) = original.message_id() {
        kept = kept.with_message_id(value.clone());
    }
    if let Some(value) = original.timestamp() {
        kept = kept.with_timestamp(*value);
    }
    if let Some(value) = original.kind() {
        kept = kept.with_type(value.clone());
    }
    if let Some(value) = original.app_id() {
        kept = kept.with_app_id(value.clone());
    }
    kept
}

/// Trace context in AMQP's form.
fn trace(TraceHeaders { traceparent, tracestate }: TraceHeaders<'_>) -> Vec<(&'static str, LongString)> {
    let headers = [("traceparent", traceparent), ("tracestate", tracestate)];
    headers.into_iter().filter_map(|(name, value)| Some((name, LongString::from(value?)))).collect()
}
