//! One delivered request, and what its properties say.

mod unplain;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use lapin::BasicProperties;
use lapin::message::Delivery;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use tokio::time::Instant;

use self::unplain::{Name, Unplain};
use super::consumer_channel::ConsumerChannel;
use super::frames::properties::bit;
use super::frames::set_aside::SetAside;
use super::properties_size::{properties_list, table_size};
use super::raw_properties::{self, RawProperties};

/// One delivered request: body, properties, and how it came here.
#[derive(Debug)]
pub struct Envelope {
    /// On the heap, as it is large and handed on several times.
    pub(super) delivery: Box<Delivery>,
    /// The channel that it came over.
    pub(super) consumer_channel: Arc<ConsumerChannel>,
    pub(super) arrived_at: Instant,
    frame_max: usize,
    /// Bytes of body and headers.
    size: usize,
    /// What the client library could not take, of the few messages that have such a thing.
    unplain: Option<Box<Unplain>>,
}

impl Envelope {
    /// A delivery over a channel of a connection with frames of up to `frame_max` bytes,
    /// with what was set aside of it.
    pub(super) fn new(
        delivery: Delivery,
        consumer_channel: Arc<ConsumerChannel>,
        frame_max: usize,
        set_aside: &SetAside,
    ) -> Self {
        let unplain = Unplain::of(&delivery, set_aside);
        let headers = match &unplain.properties {
            Some(raw) => raw.as_bytes().len(),
            None => delivery.properties.headers().as_ref().map_or(0, table_size),
        };
        let size = delivery.data.len() + headers;
        Self {
            delivery: Box::new(delivery),
            consumer_channel,
            arrived_at: Instant::now(),
            frame_max,
            size,
            unplain: (!unplain.is_empty()).then(|| Box::new(unplain)),
        }
    }

    /// The body as it came.
    pub fn body(&self) -> &[u8] {
        &self.delivery.data
    }

    /// Bytes of body and headers: what counts for how much may come in.
    pub fn size(&self) -> usize {
        self.size
    }

    /// The largest frame of the connection that it came over, in bytes. Its dead letter is
    /// published over one whose frames are as large.
    pub fn frame_max(&self) -> usize {
        self.frame_max
    }

    /// When it came in.
    pub fn arrived_at(&self) -> Instant {
        self.arrived_at
    }

    /// Whether it may have been delivered before.
    pub fn redelivered(&self) -> bool {
        // With RabbitMQ 4.3 what was given back may carry a count and no flag.
        self.delivery.redelivered || self.deliveries_before().is_some_and(|count| count > 0)
    }

    /// The body's format, as the producer declares it; none if that is no text.
    pub fn content_type(&self) -> Option<&str> {
        let bytes = self.short(bit::CONTENT_TYPE, BasicProperties::content_type)?;
        std::str::from_utf8(bytes).ok()
    }

    /// How the body is packed, or its character set, as the producer declares it; none if that is
    /// no text.
    pub fn content_encoding(&self) -> Option<&str> {
        let bytes = self.short(bit::CONTENT_ENCODING, BasicProperties::content_encoding)?;
        std::str::from_utf8(bytes).ok()
    }

    /// The header by which kombu says how it has packed the body. It writes a content encoding in
    /// any case, without which nobody pays for the look.
    pub fn compression(&self) -> Option<&str> {
        self.content_encoding()?;
        self.header("compression")
    }

    /// The producer's name for this request; an empty one is none.
    pub fn message_id(&self) -> Option<&[u8]> {
        self.short(bit::MESSAGE_ID, BasicProperties::message_id)
    }

    /// How the producer matches the reply.
    pub fn correlation_id(&self) -> Option<&[u8]> {
        self.short(bit::CORRELATION_ID, BasicProperties::correlation_id)
    }

    /// Where the producer wants the reply, as it came: see [`Self::reply_address`].
    pub fn reply_to(&self) -> Option<&[u8]> {
        self.short(bit::REPLY_TO, BasicProperties::reply_to)
    }

    /// What the message says that it is.
    pub fn kind(&self) -> Option<&[u8]> {
        self.short(bit::TYPE, BasicProperties::kind)
    }

    /// A property that is a short string; an empty one is none.
    fn short<'e>(
        &'e self,
        number: u8,
        of: impl FnOnce(&'e BasicProperties) -> &'e Option<ShortString>,
    ) -> Option<&'e [u8]> {
        let bytes = match self.raw() {
            Some(raw) => raw.short(number),
            None => of(&self.delivery.properties)
                .as_ref()
                .map(|text| text.as_str().as_bytes()),
        };
        bytes.filter(|bytes| !bytes.is_empty())
    }

    pub(super) fn raw(&self) -> Option<&RawProperties> {
        self.unplain.as_ref()?.properties.as_ref()
    }

    pub(super) fn headers(&self) -> Option<&FieldTable> {
        self.delivery.properties.headers().as_ref()
    }

    /// The properties as far as the client library can carry them, and the whole list if that is
    /// not all.
    pub(super) fn carriable(&self) -> (Cow<'_, BasicProperties>, Option<&[u8]>) {
        match self.raw() {
            Some(raw) => (Cow::Owned(raw.carriable()), Some(raw.as_bytes())),
            None => (Cow::Borrowed(&self.delivery.properties), None),
        }
    }
}

/// Where RabbitMQ says how often a message was delivered before; what each of them counts differs
/// between its versions, and classic queues have none.
pub(super) const DELIVERY_COUNTS: [&str; 2] = ["x-delivery-count", "x-acquired-count"];

impl Envelope {
    /// How often it was delivered before, as far as the broker tells.
    pub fn deliveries_before(&self) -> Option<u64> {
        let count = |name: &&str| match self.raw() {
            Some(raw) => raw_properties::unsigned(raw.header(name)?),
            None => unsigned(self.headers()?.inner().get(*name)?),
        };
        DELIVERY_COUNTS.iter().filter_map(count).max()
    }

    /// All properties as bytes, but for what the broker adds when it delivers a message again:
    /// equal for deliveries of the same message, and for others only if their properties are equal.
    pub fn lasting_properties(&self) -> Vec<u8> {
        match self.raw() {
            Some(raw) => raw.without_headers(&DELIVERY_COUNTS),
            None => properties_list(&without_counts(&self.delivery.properties)),
        }
    }
}

fn without_counts(properties: &BasicProperties) -> BasicProperties {
    let Some(headers) = properties.headers() else {
        return properties.clone();
    };
    let lasting = headers
        .into_iter()
        .filter(|(name, _)| !DELIVERY_COUNTS.contains(&name.as_str()));
    let lasting: BTreeMap<_, _> = lasting
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    properties.clone().with_headers(lasting.into())
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

/// The trace context of a message: W3C's headers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TraceHeaders<'a> {
    /// Which trace, which span, and whether it is recorded.
    pub traceparent: Option<&'a str>,
    /// What others keep with it.
    pub tracestate: Option<&'a str>,
}

/// The longest trace header that is passed on: what W3C asks everybody to carry.
const TRACE_MAX_BYTES: usize = 512;

impl Envelope {
    /// The request's trace context.
    pub fn trace_headers(&self) -> TraceHeaders<'_> {
        let header = |name| {
            self.header(name)
                .filter(|value| value.len() <= TRACE_MAX_BYTES)
        };
        TraceHeaders {
            traceparent: header("traceparent"),
            tracestate: header("tracestate"),
        }
    }

    /// The exchange that it was published to, for people.
    pub fn exchange(&self) -> &str {
        self.names()
            .map_or(self.delivery.exchange.as_str(), |[exchange, _]| {
                &exchange.text
            })
    }

    /// The routing key that it was published with, for people.
    pub fn routing_key(&self) -> &str {
        self.names()
            .map_or(self.delivery.routing_key.as_str(), |[_, routing_key]| {
                &routing_key.text
            })
    }

    /// Exchange and routing key as they came.
    pub(super) fn raw_names(&self) -> [&[u8]; 2] {
        match self.names() {
            Some([exchange, routing_key]) => [&exchange.bytes, &routing_key.bytes],
            None => [self.exchange().as_bytes(), self.routing_key().as_bytes()],
        }
    }

    fn names(&self) -> Option<&[Name; 2]> {
        self.unplain.as_ref()?.names.as_ref()
    }
}
