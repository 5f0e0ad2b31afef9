//! From the broker to the library: what the library can't take is set aside.
//!
//! In the place of properties that can't be parsed there is one header with the number under which
//! they were set aside, in the place of a routing key that is no text a text with such a number.
//! Both are short, so a frame never grows beyond what a connection allows.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use super::filter::{MethodId, Rules};
use super::properties::{Properties, Value, Writer, bit, is_plain};
use super::set_aside::SetAside;
use super::{RESERVED, is_text, push_short, push_text, short, take};

/// The header with the number of the properties that were set aside.
pub(in crate::broker) const SET_ASIDE_HEADER: &str = "x-profile-worker-internal-set-aside";

const CONNECTION_CLOSE: MethodId = (10, 50);
const CHANNEL_CLOSE: MethodId = (20, 40);
const BASIC_RETURN: MethodId = (60, 50);
const BASIC_DELIVER: MethodId = (60, 60);

/// Class, weight and size of the body, before the properties.
const BEFORE_PROPERTIES_BYTES: usize = 12;

/// The rules for what comes in over one connection.
#[derive(Debug)]
pub struct Inbound {
    set_aside: Arc<SetAside>,
    /// Channels on which the next content is a message of ours that comes back.
    returning: BTreeSet<u16>,
}

impl Inbound {
    /// What can't pass is put there.
    pub fn new(set_aside: Arc<SetAside>) -> Self {
        Self {
            set_aside,
            returning: BTreeSet::new(),
        }
    }
}

impl Rules for Inbound {
    fn wants(&self, method: MethodId) -> bool {
        [BASIC_DELIVER, BASIC_RETURN, CHANNEL_CLOSE, CONNECTION_CLOSE].contains(&method)
    }

    fn method(
        &mut self,
        channel: u16,
        id: MethodId,
        payload: &[u8],
    ) -> io::Result<Option<Vec<u8>>> {
        match id {
            BASIC_DELIVER => self.deliver(payload),
            BASIC_RETURN => {
                self.returning.insert(channel);
                Ok(with_texts(payload, 3))
            }
            // The broker cuts its own text at 252 bytes, wherever that is in a name.
            _ => Ok(with_texts(payload, 1)),
        }
    }

    fn header(&mut self, channel: u16, payload: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let is_returned = self.returning.remove(&channel);
        let Some((before, list)) = payload.split_at_checked(BEFORE_PROPERTIES_BYTES) else {
            return Ok(None);
        };
        if is_plain(list) {
            return Ok(None);
        }
        // A message of ours is known by its id, and nobody asks for the rest.
        let mended = if is_returned {
            only_id(list)
        } else {
            numbered(self.set_aside.put(list)?)
        };
        Ok(Some([before, &mended].concat()))
    }
}

impl Inbound {
    fn deliver(&self, payload: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let Some((before, exchange, routing_key)) = names(payload) else {
            return Ok(None);
        };
        let is_plain = is_text(exchange)
            && is_text(routing_key)
            && !routing_key.starts_with(RESERVED.as_bytes());
        if is_plain {
            return Ok(None);
        }
        let names = &payload[before.len()..];
        let number = self.set_aside.put(names)?;
        let mut mended = before.to_vec();
        push_short(&mut mended, b"");
        push_text(&mut mended, &format!("{RESERVED}{number}"));
        Ok(Some(mended))
    }
}

/// The number in a routing key that stands for names which were set aside.
pub(in crate::broker) fn number_of(routing_key: &str) -> Option<i64> {
    routing_key.strip_prefix(RESERVED)?.parse().ok()
}

/// Exchange and routing key of what was set aside for a delivery.
pub(in crate::broker) fn read_names(mut names: &[u8]) -> Option<(&[u8], &[u8])> {
    Some((short(&mut names)?, short(&mut names)?))
}

/// What stands before the names of a delivery, and both names.
fn names(payload: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let mut rest = payload;
    take(&mut rest, 4)?;
    short(&mut rest)?;
    // Number and "redelivered".
    take(&mut rest, 8 + 1)?;
    let before = &payload[..payload.len() - rest.len()];
    let (exchange, routing_key) = (short(&mut rest)?, short(&mut rest)?);
    rest.is_empty().then_some((before, exchange, routing_key))
}

/// The payload with each of its first `count` short strings, behind the method and a code, as a
/// text; none if they are.
fn with_texts(payload: &[u8], count: usize) -> Option<Vec<u8>> {
    let mut rest = payload;
    let mut mended = take(&mut rest, 4 + 2)?.to_vec();
    let mut is_plain = true;
    for _ in 0..count {
        let bytes = short(&mut rest)?;
        is_plain &= is_text(bytes);
        push_text(&mut mended, &String::from_utf8_lossy(bytes));
    }
    mended.extend_from_slice(rest);
    (!is_plain).then_some(mended)
}

fn only_id(list: &[u8]) -> Vec<u8> {
    let mut writer = Writer::new();
    let id = Properties::of(list).find(|(number, _)| *number == bit::MESSAGE_ID);
    if let Some((number, value @ Value::Short(id))) = id
        && is_text(id)
    {
        writer.push(number, value);
    }
    writer.into_bytes()
}

fn numbered(number: i64) -> Vec<u8> {
    let mut table = Vec::new();
    push_text(&mut table, SET_ASIDE_HEADER);
    table.push(b'l');
    table.extend_from_slice(&number.to_be_bytes());
    let mut writer = Writer::new();
    writer.push(bit::HEADERS, Value::Table(&table));
    writer.into_bytes()
}
