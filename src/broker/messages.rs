//! Replies, trigger events and dead letters: their properties, and where they go. With
//! `dead_letter` what `broker` knows of the contract.

use lapin::types::{LongString, ShortString};

pub(crate) use super::dead_letter::{DeathNote, dead_letter};
use super::envelope::{Envelope, TraceHeaders};
use super::outgoing::Outgoing;
use super::outgoing_properties::{CorrelationId, OurProperties, Properties, short};
use super::reply_address::{ReplyAddress, TOPIC_EXCHANGE};

/// The routing key of an event that nobody asks for; topic permissions may name others.
pub(super) const NO_EVENT: &str = "profile.added.0";

/// A reply, before it is said where to.
#[derive(Debug)]
pub(crate) struct ReplyMessage<'a> {
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

impl ReplyMessage<'_> {
    /// Makes the message that goes to where the request wants its reply.
    pub(crate) fn for_requester(self, address: ReplyAddress<'_>) -> Outgoing {
        let correlation_id = CorrelationId::of_request(self.request);
        let (exchange, routing_key, correlation_id) = match address {
            ReplyAddress::Queue(name) | ReplyAddress::Direct(name) => ("", name, correlation_id),
            ReplyAddress::Topic(key) => (
                TOPIC_EXCHANGE,
                key,
                correlation_id.map(CorrelationId::for_topic),
            ),
        };
        Outgoing {
            exchange: short(exchange),
            mandatory: address.is_mandatory(),
            ..self.outgoing(routing_key, correlation_id, None)
        }
    }

    /// To the result queue; `original` is the `reply_to` that the reply could not go to, as it
    /// came.
    pub(crate) fn for_result_queue(self, queue: &str, original: Option<&[u8]>) -> Outgoing {
        let correlation_id = CorrelationId::of_request(self.request);
        self.outgoing(queue, correlation_id, original)
    }

    fn outgoing(
        self,
        queue: &str,
        correlation_id: Option<CorrelationId>,
        original_reply_to: Option<&[u8]>,
    ) -> Outgoing {
        let properties = OurProperties {
            content_type: self.content_type,
            kind: "profiles.add.result",
            timestamp: self.timestamp,
            correlation_id,
            error: Some(self.error),
            meant_by: None,
            original_reply_to: original_reply_to.map(LongString::from),
            trace: trace(self.trace),
        };
        Outgoing {
            exchange: ShortString::default(),
            routing_key: short(queue),
            mandatory: true,
            message_id: short(self.message_id),
            body: self.body,
            properties: Properties::Ours(properties),
        }
    }
}

/// A trigger event. Nobody bound to the exchange is no fault, so it is not mandatory.
pub(crate) fn event(
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
        meant_by: None,
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

/// Trace context in AMQP's form.
fn trace(
    TraceHeaders {
        traceparent,
        tracestate,
    }: TraceHeaders<'_>,
) -> Vec<(&'static str, LongString)> {
    let headers = [("traceparent", traceparent), ("tracestate", tracestate)];
    headers
        .into_iter()
        .filter_map(|(name, value)| Some((name, LongString::from(value?))))
        .collect()
}
