//! AMQP properties ⇄ what they mean here: those of a request are read, those of replies, trigger
//! events and dead letters are written.

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};

use super::connection::SMALL_HEADERS_MAX_BYTES;
use super::consumer::Envelope;
use crate::telemetry::context::TraceHeaders;

/// Delivery mode of a message that survives a restart of the broker (AMQP 0-9-1, basic class).
const PERSISTENT: u8 = 2;

/// The name that all our messages carry.
const APP_ID: &str = "profile-worker";

impl Envelope {
    /// The body's format, as the producer declares it.
    pub fn content_type(&self) -> Option<&str> {
        text(self.delivery.properties.content_type())
    }

    /// The producer's name for this request; an empty one is none.
    pub fn message_id(&self) -> Option<&str> {
        text(self.delivery.properties.message_id())
    }

    /// How the producer matches the reply.
    pub fn correlation_id(&self) -> Option<&str> {
        text(self.delivery.properties.correlation_id())
    }

    /// Where the producer wants the reply.
    pub fn reply_to(&self) -> Option<&str> {
        text(self.delivery.properties.reply_to())
    }

    /// A header with a text value. Clients write texts in two of AMQP's types.
    pub fn header(&self, name: &str) -> Option<&str> {
        match self.delivery.properties.headers().as_ref()?.inner().get(name)? {
            AMQPValue::LongString(text) => std::str::from_utf8(text.as_bytes()).ok(),
            AMQPValue::ShortString(text) => Some(text.as_str()),
            _ => None,
        }
    }
}

/// Where RabbitMQ says how often a message was delivered before; what each of them counts differs
/// between its versions, and classic queues have none.
const DELIVERY_COUNTS: [&str; 2] = ["x-delivery-count", "x-acquired-count"];

impl Envelope {
    /// How often it was delivered before, as far as the broker tells.
    pub fn deliveries_before(&self) -> Option<u64> {
        let headers = self.delivery.properties.headers().as_ref()?.inner();
        DELIVERY_COUNTS.iter().filter_map(|name| unsigned(headers.get(*name)?)).max()
    }
}

fn unsigned(value: &AMQPValue) -> Option<u64> {
    match *value {
        AMQPValue::LongLongInt(count) => u64::try_from(count).ok(),
        AMQPValue::LongInt(count) => u64::try_from(count).ok(),
        AMQPValue::LongUInt(count) => Some(u64::from(count)),
        AMQPValue::ShortInt(count) => u64::try_from(count).ok(),
        AMQPValue::ShortUInt(count) => Some(u64::from(count)),
        AMQPValue::ShortShortInt(count) => u64::try_from(count).ok(),
        AMQPValue::ShortShortUInt(count) => Some(u64::from(count)),
        _ => None,
    }
}

fn text(property: &Option<ShortString>) -> Option<&str> {
    property.as_ref().map(ShortString::as_str).filter(|text| !text.is_empty())
}

/// A message on its way out.
#[derive(Debug)]
pub struct Outgoing {
    pub(super) exchange: ShortString,
    pub(super) routing_key: ShortString,
    pub(super) mandatory: bool,
    /// Ours alone, so that a returned message can be told from its neighbours.
    pub(super) message_id: ShortString,
    pub(super) body: Vec<u8>,
    properties: Properties,
}

/// What a message says about itself.
#[derive(Debug)]
enum Properties {
    /// A reply or an event.
    Ours(OurProperties),
    /// Anything else.
    Other(Box<BasicProperties>),
}

/// What makes up the properties of our own messages. AMQP's form of them is some ten allocations,
/// so it is made only when the message is published.
#[derive(Debug)]
struct OurProperties {
    content_type: &'static str,
    kind: &'static str,
    timestamp: u64,
    correlation_id: Option<ShortString>,
    /// The code of a reply.
    error: Option<u16>,
    original_reply_to: Option<ShortString>,
    trace: Vec<(&'static str, LongString)>,
}

impl Outgoing {
    /// A message with whatever properties.
    pub(super) fn other(queue: &str, message_id: &str, body: Vec<u8>, properties: BasicProperties) -> Self {
        Self {
            exchange: ShortString::default(),
            routing_key: short(queue),
            mandatory: true,
            message_id: short(message_id),
            body,
            properties: Properties::Other(Box::new(properties)),
        }
    }

    /// The exchange and routing key that it is published with, for people.
    pub fn destination(&self) -> String {
        match self.exchange.as_str() {
            "" => format!("the queue {}", self.routing_key),
            exchange => format!("a queue behind the exchange {exchange} and the routing key {}", self.routing_key),
        }
    }

    /// The queue of a requester that this reply is on its way to.
    pub fn requester(&self, result_queue: &str) -> Option<&str> {
        let is_reply = matches!(&self.properties, Properties::Ours(ours) if ours.error.is_some());
        Some(self.routing_key.as_str()).filter(|queue| is_reply && *queue != result_queue)
    }

    /// A reply that its requester does not get, to be kept in the result queue. False if it is no
    /// reply, or was on its way there already.
    pub fn redirect(&mut self, result_queue: &str) -> bool {
        match &mut self.properties {
            Properties::Ours(ours) if ours.error.is_some() && self.routing_key.as_str() != result_queue => {
                ours.original_reply_to = Some(std::mem::replace(&mut self.routing_key, short(result_queue)));
                self.mandatory = true;
                true
            }
            _ => false,
        }
    }

    /// Whether its headers may be too large for a small frame. Ours never are.
    pub(super) fn has_large_headers(&self) -> bool {
        match &self.properties {
            Properties::Ours(_) => false,
            Properties::Other(properties) => {
                properties.headers().as_ref().is_some_and(|headers| table_size(headers) > SMALL_HEADERS_MAX_BYTES)
            }
        }
    }

    /// The properties in AMQP's form.
    pub(super) fn properties(&self) -> BasicProperties {
        match &self.properties {
            Properties::Ours(ours) => ours.with_id(self.message_id.clone()),
            Properties::Other(properties) => (**properties).clone(),
        }
    }
}

impl OurProperties {
    fn with_id(&self, message_id: ShortString) -> BasicProperties {
        let mut properties = BasicProperties::default()
            .with_content_type(self.content_type.into())
            .with_delivery_mode(PERSISTENT)
            .with_message_id(message_id)
            .with_timestamp(self.timestamp)
            .with_type(self.kind.into())
            .with_app_id(APP_ID.into());
        if let Some(id) = &self.correlation_id {
            properties = properties.with_correlation_id(id.clone());
        }
        let headers = self.headers();
        if headers.inner().is_empty() { properties } else { properties.with_headers(headers) }
    }

    fn headers(&self) -> FieldTable {
        let mut headers = FieldTable::default();
        if let Some(code) = self.error {
            headers.insert("error".into(), AMQPValue::LongInt(i32::from(code)));
        }
        if let Some(original) = &self.original_reply_to {
            insert_text(&mut headers, "x-original-reply-to", original.as_str());
        }
        for (name, value) in &self.trace {
            headers.insert((*name).into(), AMQPValue::LongString(value.clone()));
        }
        headers
    }
}

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

/// The longest short string of AMQP. A `reply_to` can't be longer, names of ours might.
const SHORT_STRING_MAX_BYTES: usize = 255;

/// Our own texts and names are short; if one is not, its beginning has to do.
fn short(text: &str) -> ShortString {
    ShortString::from(&text[..text.floor_char_boundary(SHORT_STRING_MAX_BYTES)])
}

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

/// Where a dead letter carries our own id for it.
const MATCH_HEADER: &str = "x-dead-letter-id";

/// Our own id of a message that the broker returned.
pub(super) fn our_id(properties: &BasicProperties) -> Option<String> {
    let header = properties.headers().as_ref().and_then(|headers| headers.inner().get(MATCH_HEADER));
    match header {
        Some(AMQPValue::LongString(id)) => Some(String::from_utf8_lossy(id.as_bytes()).into_owned()),
        _ => properties.message_id().as_ref().map(|id| id.as_str().to_owned()),
    }
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

/// The longest trace header that is passed on: what W3C asks everybody to carry.
const TRACE_MAX_BYTES: usize = 512;

impl Envelope {
    /// The request's trace context.
    pub fn trace_headers(&self) -> TraceHeaders<'_> {
        let header = |name| self.header(name).filter(|value| value.len() <= TRACE_MAX_BYTES);
        TraceHeaders { traceparent: header("traceparent"), tracestate: header("tracestate") }
    }

    /// The exchange that it was published to.
    pub fn exchange(&self) -> &str {
        self.delivery.exchange.as_str()
    }

    /// The routing key that it was published with.
    pub fn routing_key(&self) -> &str {
        self.delivery.routing_key.as_str()
    }
}

/// Trace context in AMQP's form.
fn trace(TraceHeaders { traceparent, tracestate }: TraceHeaders<'_>) -> Vec<(&'static str, LongString)> {
    let headers = [("traceparent", traceparent), ("tracestate", tracestate)];
    headers.into_iter().filter_map(|(name, value)| Some((name, LongString::from(value?)))).collect()
}

/// About the bytes of a table in a frame, rather more than less.
fn table_size(table: &FieldTable) -> usize {
    table.inner().iter().map(|(name, value)| name.as_str().len() + value_size(value)).sum()
}

fn value_size(value: &AMQPValue) -> usize {
    const OVERHEAD: usize = 16;
    OVERHEAD
        + match value {
            AMQPValue::ShortString(text) => text.as_str().len(),
            AMQPValue::LongString(text) => text.as_bytes().len(),
            AMQPValue::ByteArray(bytes) => bytes.len(),
            AMQPValue::FieldArray(values) => values.as_slice().iter().map(value_size).sum(),
            AMQPValue::FieldTable(table) => table_size(table),
            _ => 0,
        }
}

fn insert_text(headers: &mut FieldTable, name: &str, value: &str) {
    headers.insert(name.into(), AMQPValue::LongString(value.into()));
}
