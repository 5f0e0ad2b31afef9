//! How many bytes properties take on the wire, exactly: a content header is never split, so what is
//! larger than a frame can't be published.

use lapin::BasicProperties;
use lapin::protocol::basic::gen_properties;
use lapin::types::{AMQPValue, FieldTable};

/// A frame beside its payload (7 before, 1 behind), and class, weight and body size of a content
/// header (AMQP 0-9-1, 2.3.5 and 2.3.5.2).
const AROUND_PROPERTIES_BYTES: usize = 8 + 12;

/// The frame of the content header of a message with these properties.
pub(super) fn header_frame_size(properties: &BasicProperties) -> usize {
    AROUND_PROPERTIES_BYTES + properties_list(properties).len()
}

/// Flags and property list, as they go over the wire.
pub(super) fn properties_list(properties: &BasicProperties) -> Vec<u8> {
    match gen_properties(properties)(Vec::new().into()) {
        Ok(written) => written.into_inner().0,
        Err(_) => unreachable!("memory takes whatever is written"),
    }
}

/// A header with its name.
pub(super) fn entry_size(name: &str, value: &AMQPValue) -> usize {
    1 + name.len() + value_size(value)
}

/// A value with the letter of its type.
fn value_size(value: &AMQPValue) -> usize {
    1 + match value {
        AMQPValue::Void => 0,
        AMQPValue::Boolean(_) | AMQPValue::ShortShortInt(_) | AMQPValue::ShortShortUInt(_) => 1,
        AMQPValue::ShortInt(_) | AMQPValue::ShortUInt(_) => 2,
        AMQPValue::LongInt(_) | AMQPValue::LongUInt(_) | AMQPValue::Float(_) => 4,
        AMQPValue::DecimalValue(_) => 5,
        AMQPValue::LongLongInt(_) | AMQPValue::Double(_) | AMQPValue::Timestamp(_) => 8,
        AMQPValue::ShortString(text) => 1 + text.as_str().len(),
        AMQPValue::LongString(text) => 4 + text.len(),
        AMQPValue::ByteArray(bytes) => 4 + bytes.len(),
        AMQPValue::FieldArray(values) => {
            4 + values.as_slice().iter().map(value_size).sum::<usize>()
        }
        AMQPValue::FieldTable(table) => table_size(table),
    }
}

/// A table with its length.
pub(super) fn table_size(table: &FieldTable) -> usize {
    4 + table
        .into_iter()
        .map(|(name, value)| entry_size(name.as_str(), value))
        .sum::<usize>()
}
