//! The property list of a content header: flags, and the values of those that are set, in the order
//! of their bits, from the highest down (AMQP 0-9-1, 4.2.6.1).

use super::table::plain_values;
use super::{is_text, long, octet, push_short, short, take};

/// The bits of the properties of the class basic in their flags.
pub(crate) mod bit {
    pub(crate) const CONTENT_TYPE: u8 = 15;
    pub(crate) const CONTENT_ENCODING: u8 = 14;
    pub(crate) const HEADERS: u8 = 13;
    pub(crate) const DELIVERY_MODE: u8 = 12;
    pub(crate) const PRIORITY: u8 = 11;
    pub(crate) const CORRELATION_ID: u8 = 10;
    pub(crate) const REPLY_TO: u8 = 9;
    pub(crate) const MESSAGE_ID: u8 = 7;
    pub(crate) const TIMESTAMP: u8 = 6;
    pub(crate) const TYPE: u8 = 5;
    /// The last one. What is below says that more flags follow, which nobody uses.
    pub(crate) const CLUSTER_ID: u8 = 2;
}

/// The value of a property.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    /// A short string, which need not be a text.
    Short(&'a [u8]),
    /// The headers.
    Table(&'a [u8]),
    /// A small number.
    Octet(u8),
    /// A timestamp.
    Long([u8; 8]),
}

/// A property list being read. After one that can't be read there are no more.
#[derive(Debug, Clone)]
pub(crate) struct Properties<'a> {
    flags: u16,
    rest: &'a [u8],
}

impl<'a> Properties<'a> {
    /// Of a list without flags there are none.
    pub(crate) fn of(list: &'a [u8]) -> Self {
        match list.split_first_chunk() {
            Some((flags, rest)) => Self {
                flags: u16::from_be_bytes(*flags),
                rest,
            },
            None => Self {
                flags: 0,
                rest: list,
            },
        }
    }

    fn value(&mut self, number: u8) -> Option<Value<'a>> {
        let rest = &mut self.rest;
        Some(match number {
            bit::HEADERS => Value::Table(long(rest)?),
            bit::DELIVERY_MODE | bit::PRIORITY => Value::Octet(octet(rest)?),
            bit::TIMESTAMP => Value::Long(*take(rest, 8)?.first_chunk()?),
            _ => Value::Short(short(rest)?),
        })
    }
}

impl<'a> Iterator for Properties<'a> {
    type Item = (u8, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let highest = u8::try_from(self.flags.checked_ilog2()?).ok()?;
        if highest < bit::CLUSTER_ID {
            return None;
        }
        // The flag stays set for one that can't be read, by which `is_plain` knows.
        let value = self.value(highest)?;
        self.flags &= !(1 << highest);
        Some((highest, value))
    }
}

/// Whether the library can parse a property list, and may.
pub(crate) fn is_plain(list: &[u8]) -> bool {
    let mut properties = Properties::of(list);
    let each_is_plain = properties.by_ref().all(|(_, value)| match value {
        Value::Short(bytes) => is_text(bytes),
        Value::Table(table) => plain_values(table).is_some(),
        Value::Octet(_) | Value::Long(_) => true,
    });
    each_is_plain && list.len() >= 2 && properties.flags == 0 && properties.rest.is_empty()
}

/// A property list being written, in the order of the wire.
#[derive(Debug)]
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    pub(crate) fn new() -> Self {
        Self(vec![0, 0])
    }

    pub(crate) fn push(&mut self, number: u8, value: Value<'_>) {
        let [high, low] = (1_u16 << number).to_be_bytes();
        self.0[0] |= high;
        self.0[1] |= low;
        match value {
            Value::Short(text) => push_short(&mut self.0, text),
            Value::Table(table) => push_long(&mut self.0, table),
            Value::Octet(number) => self.0.push(number),
            Value::Long(bytes) => self.0.extend_from_slice(&bytes),
        }
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

/// Appends a long string, byte array or table. Nothing in a frame reaches 4 GiB.
pub(crate) fn push_long(bytes: &mut Vec<u8>, value: &[u8]) {
    bytes.extend_from_slice(&u32::try_from(value.len()).unwrap_or(u32::MAX).to_be_bytes());
    bytes.extend_from_slice(value);
}
