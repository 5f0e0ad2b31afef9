//! A message on its way out: its form in AMQP, and what may be done with it on the way.

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};

use super::connection::SMALL_HEADERS_MAX_BYTES;

/// Delivery mode of a message that survives a restart of the broker (AMQP 0-9-1, basic class).
pub(super) const PERSISTENT: u8 = 2;

/// The name that all our messages carry.
const APP_ID: &str = "profile-worker";

/// A message on its way out.
#[derive(Debug)]
pub struct Outgoing {
    pub(super) exchange: ShortString,
    pub(super) routing_key: ShortString,
    pub(super) mandatory: bool,
    /// Ours alone, so that a returned message can be told from its neighbours.
    pub(super) message_id: ShortString,
    pub(super) body: Vec<u8>,
    pub(super) properties: Properties,
}

/// What a message says about itself.
#[derive(Debug)]
pub(super) enum Properties {
    /// A reply or an event.
    Ours(OurProperties),
    /// Anything else.
    Other(Box<BasicProperties>),
}

/// What makes up the properties of our own messages. AMQP's form of them is some ten allocations,
/// so it is made only when the message is published.
#[derive(Debug)]
pub(super) struct OurProperties {
    pub(super) content_type: &'static str,
    pub(super) kind: &'static str,
    pub(super) timestamp: u64,
    pub(super) correlation_id: Option<ShortString>,
    /// The code of a reply.
    pub(super) error: Option<u16>,
    pub(super) original_reply_to: Option<ShortString>,
    pub(super) trace: Vec<(&'static str, LongString)>,
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

/// The longest short string of AMQP. A `reply_to` can't be longer, names of ours might.
const SHORT_STRING_MAX_BYTES: usize = 255;

/// Our own texts and names are short; if one is not, its beginning has to do.
pub(super) fn short(text: &str) -> ShortString {
    ShortString::from(&text[..text.floor_char_boundary(SHORT_STRING_MAX_BYTES)])
}

/// Where a dead letter carries our own id for it.
pub(super) const MATCH_HEADER: &str = "x-dead-letter-id";

/// Our own id of a message that the broker returned.
pub(super) fn our_id(properties: &BasicProperties) -> Option<String> {
    let header = properties.headers().as_ref().and_then(|headers| headers.inner().get(MATCH_HEADER));
    match header {
        Some(AMQPValue::LongString(id)) => Some(String::from_utf8_lossy(id.as_bytes()).into_owned()),
        _ => properties.message_id().as_ref().map(|id| id.as_str().to_owned()),
    }
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

pub(super) fn insert_text(headers: &mut FieldTable, name: &str, value: &str) {
    headers.insert(name.into(), AMQPValue::LongString(value.into()));
}
