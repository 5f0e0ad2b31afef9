//! What the client library could not take of a delivery.

use lapin::message::Delivery;
use lapin::types::AMQPValue;

use crate::broker::frames::inbound::{SET_ASIDE_HEADER, number_of, read_names};
use crate::broker::frames::set_aside::SetAside;
use crate::broker::raw_properties::RawProperties;

/// What was set aside of a message.
#[derive(Debug, Default)]
pub(super) struct Unplain {
    pub(super) properties: Option<RawProperties>,
    /// Exchange and routing key.
    pub(super) names: Option<[Name; 2]>,
}

/// A name that need not be a text.
#[derive(Debug)]
pub(super) struct Name {
    pub(super) bytes: Vec<u8>,
    /// For people.
    pub(super) text: String,
}

impl Name {
    fn new(bytes: &[u8]) -> Self {
        Self {
            bytes: bytes.to_vec(),
            text: String::from_utf8_lossy(bytes).into_owned(),
        }
    }
}

impl Unplain {
    /// What was set aside of this delivery.
    pub(super) fn of(delivery: &Delivery, set_aside: &SetAside) -> Self {
        Self {
            properties: raw_properties(delivery, set_aside),
            names: raw_names(delivery, set_aside),
        }
    }

    /// Whether nothing was.
    pub(super) fn is_empty(&self) -> bool {
        self.properties.is_none() && self.names.is_none()
    }
}

fn raw_properties(delivery: &Delivery, set_aside: &SetAside) -> Option<RawProperties> {
    let headers = delivery.properties.headers().as_ref()?;
    let AMQPValue::LongLongInt(number) = *headers.inner().get(SET_ASIDE_HEADER)? else {
        return None;
    };
    Some(RawProperties::new(
        set_aside.take(number).unwrap_or_default(),
    ))
}

fn raw_names(delivery: &Delivery, set_aside: &SetAside) -> Option<[Name; 2]> {
    let names = set_aside.take(number_of(delivery.routing_key.as_str())?)?;
    let (exchange, routing_key) = read_names(&names)?;
    Some([Name::new(exchange), Name::new(routing_key)])
}
