//! The properties of what we publish.

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};

use super::envelope::Envelope;
use super::frames::outbound::CORRELATION_ID_HEADER;
use super::header_names;
use super::properties_size::entry_size;
use super::request_headers::HeaderBytes;

/// Delivery mode of a message that survives a restart of the broker (AMQP 0-9-1, basic class).
pub(super) const PERSISTENT: u8 = 2;

/// The name that all our messages carry.
const APP_ID: &str = "profile-worker";

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
    pub(super) correlation_id: Option<CorrelationId>,
    /// The code of a reply.
    pub(super) error: Option<u16>,
    /// The address of a reply, as it came, while it is on its way to the queue that this means.
    pub(super) meant_by: Option<ShortString>,
    pub(super) original_reply_to: Option<LongString>,
    pub(super) trace: Vec<(&'static str, LongString)>,
}

/// How the producer matches a reply, as it came.
#[derive(Debug)]
pub(super) enum CorrelationId {
    Text(ShortString),
    /// What is no text, which the client library can't write: see [`super::frames::outbound`].
    Bytes(LongString),
    /// What came in a header, and goes back in one.
    Header(AMQPValue),
}

impl CorrelationId {
    pub(super) fn of(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Text(short(text)),
            Err(_) => Self::Bytes(bytes.into()),
        }
    }

    /// By what the sender of a request knows its reply, in the order of the contract.
    pub(super) fn of_request(request: &Envelope) -> Option<Self> {
        if let Some(id) = request.correlation_id() {
            return Some(Self::of(id));
        }
        let Some(HeaderBytes { is_text, bytes }) = request.reply_id_header() else {
            return request.message_id().map(Self::of);
        };
        Some(Self::Header(if is_text {
            AMQPValue::LongString(bytes.into())
        } else {
            AMQPValue::ByteArray(bytes.into())
        }))
    }

    /// As the header of MQTT's clients is always written, where it is one: the connection of a
    /// client is lost if RabbitMQ 4.0 is to deliver it another type.
    pub(super) fn for_topic(self) -> Self {
        match self {
            Self::Header(AMQPValue::ByteArray(bytes)) => {
                Self::Header(AMQPValue::LongString(bytes.as_slice().into()))
            }
            other => other,
        }
    }
}

/// Our own headers of a dead letter begin like this.
const OUR_HEADERS: [&str; 3] = [
    header_names::ERROR,
    header_names::WORKER,
    header_names::DEAD_LETTER_ID,
];

/// Leaves of a dead letter's properties only those that are ours.
pub(super) fn bare(properties: &BasicProperties) -> BasicProperties {
    let mut headers = FieldTable::default();
    for (name, value) in properties.headers().iter().flat_map(FieldTable::inner) {
        if OUR_HEADERS
            .iter()
            .any(|ours| name.as_str().starts_with(ours))
        {
            headers.insert(name.clone(), value.clone());
        }
    }
    BasicProperties::default()
        .with_delivery_mode(PERSISTENT)
        .with_headers(headers)
}

impl OurProperties {
    /// Leaves out what came with the request; false if nothing is left of it.
    pub(super) fn strip(&mut self) -> bool {
        let is_less = self.correlation_id.is_some()
            || self.original_reply_to.is_some()
            || !self.trace.is_empty();
        (self.correlation_id, self.original_reply_to) = (None, None);
        self.trace.clear();
        is_less
    }

    /// Bytes of the one header that may be large.
    pub(super) fn header_size(&self) -> usize {
        match &self.correlation_id {
            Some(CorrelationId::Header(id)) => entry_size(header_names::CORRELATION_ID, id),
            _ => 0,
        }
    }

    pub(super) fn with_id(&self, message_id: ShortString) -> BasicProperties {
        let mut properties = BasicProperties::default()
            .with_content_type(self.content_type.into())
            .with_delivery_mode(PERSISTENT)
            .with_message_id(message_id)
            .with_timestamp(self.timestamp)
            .with_type(self.kind.into())
            .with_app_id(APP_ID.into());
        if let Some(CorrelationId::Text(id)) = &self.correlation_id {
            properties = properties.with_correlation_id(id.clone());
        }
        let headers = self.headers();
        if headers.inner().is_empty() {
            properties
        } else {
            properties.with_headers(headers)
        }
    }

    fn headers(&self) -> FieldTable {
        let mut headers = FieldTable::default();
        if let Some(code) = self.error {
            headers.insert("error".into(), AMQPValue::LongInt(i32::from(code)));
        }
        if let Some(original) = &self.original_reply_to {
            insert_bytes(
                &mut headers,
                header_names::ORIGINAL_REPLY_TO,
                original.as_bytes(),
            );
        }
        if let Some(CorrelationId::Bytes(id)) = &self.correlation_id {
            insert_bytes(&mut headers, CORRELATION_ID_HEADER, id.as_bytes());
        }
        if let Some(CorrelationId::Header(id)) = &self.correlation_id {
            headers.insert(header_names::CORRELATION_ID.into(), id.clone());
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

/// Our own id of a message that the broker returned.
pub(super) fn our_id(properties: &BasicProperties) -> Option<String> {
    let header = properties
        .headers()
        .as_ref()
        .and_then(|headers| headers.inner().get(header_names::DEAD_LETTER_ID));
    match header {
        Some(AMQPValue::LongString(id)) => {
            Some(String::from_utf8_lossy(id.as_bytes()).into_owned())
        }
        _ => properties
            .message_id()
            .as_ref()
            .map(|id| id.as_str().to_owned()),
    }
}

pub(super) fn insert_text(headers: &mut FieldTable, name: &str, value: &str) {
    headers.insert(name.into(), AMQPValue::LongString(value.into()));
}

pub(super) fn insert_bytes(headers: &mut FieldTable, name: &str, value: &[u8]) {
    headers.insert(name.into(), AMQPValue::LongString(value.into()));
}
