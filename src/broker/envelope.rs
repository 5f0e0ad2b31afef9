//! One delivered request, and what its properties say.

use lapin::message::Delivery;
use lapin::types::{AMQPValue, ShortString};
use tokio::time::Instant;

use crate::telemetry::context::TraceHeaders;

/// One delivered request: body, properties, and how it came here.
#[derive(Debug)]
pub struct Envelope {
    /// On the heap, as it is large and handed on several times.
    pub(super) delivery: Box<Delivery>,
    pub(super) channel: usize,
    pub(super) arrived_at: Instant,
}

impl Envelope {
    /// The body, untouched.
    pub fn body(&self) -> &[u8] {
        &self.delivery.data
    }

    /// When it came in.
    pub fn arrived_at(&self) -> Instant {
        self.arrived_at
    }

    /// Whether it may have been delivered before.
    pub fn redelivered(&self) -> bool {
        self.delivery.redelivered
    }
}

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
