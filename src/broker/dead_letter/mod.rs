//! Dead letters: the original message with a note that says why it is one, and as much of its own
//! properties and headers as can be carried.

mod theirs;

use std::collections::BTreeMap;

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, ShortString};

use self::theirs::{CUT_NOTE_MAX_BYTES, Theirs};
use super::envelope::{DELIVERY_COUNTS, Envelope};
use super::header_names;
use super::outgoing::Outgoing;
use super::outgoing_properties::{PERSISTENT, insert_bytes, insert_text, short};
use super::properties_size::{header_frame_size, properties_list};

/// Why a message is dead-lettered.
#[derive(Debug)]
pub(crate) struct DeathNote<'a> {
    /// The code of the reply.
    pub error: u16,
    /// The text of the reply.
    pub error_text: &'a str,
    /// Unix seconds.
    pub timestamp: u64,
    /// Which process gave up.
    pub worker: &'a str,
}

/// Headers by which the broker would send copies elsewhere, perhaps back to us, or by which it
/// counts for another queue. They are kept as headers named `x-original-…`.
const ACTING_HEADERS: [&str; 4] = ["CC", "BCC", DELIVERY_COUNTS[0], DELIVERY_COUNTS[1]];

/// The longest `x-error-text`. The reply has the whole text.
const ERROR_TEXT_MAX_BYTES: usize = 1024;

/// The original message with headers that say why it is here; its body untouched, its properties
/// as they were, but for those that would do something:
///
/// - `user_id` is checked against the publisher's (a mismatch closes the channel),
/// - `expiration` would remove the dead letter,
/// - some headers (`ACTING_HEADERS`),
///
/// and for what can't be carried: what is no text, deep tables, and what does not fit into one
/// frame of `frame_max` bytes together with the note. Of such a message the whole property list
/// goes along in the header `x-original-properties`, as far as there is room.
pub(crate) fn dead_letter(
    queue: &str,
    message_id: String,
    request: &Envelope,
    note: &DeathNote<'_>,
    frame_max: usize,
) -> Outgoing {
    let (original, list) = request.carriable();
    let ours = headers_of_ours(&original, request, note, &message_id);
    let properties = fitting(&original, list, &ours, frame_max);
    Outgoing::other(queue, &message_id, request.body().to_vec(), properties)
}

/// The original properties and headers with ours, as far as all fit into a frame.
fn fitting(
    original: &BasicProperties,
    list: Option<&[u8]>,
    ours: &FieldTable,
    frame_max: usize,
) -> BasicProperties {
    let mut kept = without_acting_properties(original).with_delivery_mode(PERSISTENT);
    let mut list = list.map(<[u8]>::to_vec);
    if header_frame_size(&kept.clone().with_headers(ours.clone())) + CUT_NOTE_MAX_BYTES > frame_max
    {
        // Only where frames are as small as AMQP allows.
        kept = BasicProperties::default().with_delivery_mode(PERSISTENT);
        list.get_or_insert_with(|| properties_list(original));
    }
    let room =
        frame_max.saturating_sub(header_frame_size(&kept.clone().with_headers(ours.clone())));
    let mut theirs = Theirs {
        headers: headers_of_theirs(original, ours),
        list,
        cut: Vec::new(),
    };
    theirs.fit(room);
    kept.with_headers(theirs.with(ours.clone()))
}

fn headers_of_ours(
    original: &BasicProperties,
    request: &Envelope,
    note: &DeathNote<'_>,
    message_id: &str,
) -> FieldTable {
    let mut headers = FieldTable::default();
    let error_text = &note.error_text[..note.error_text.floor_char_boundary(ERROR_TEXT_MAX_BYTES)];
    headers.insert(
        header_names::ERROR.into(),
        AMQPValue::LongInt(i32::from(note.error)),
    );
    insert_text(&mut headers, header_names::ERROR_TEXT, error_text);
    headers.insert(
        header_names::ERROR_TIME.into(),
        AMQPValue::Timestamp(note.timestamp),
    );
    insert_text(&mut headers, header_names::WORKER, note.worker);
    let [exchange, routing_key] = request.raw_names();
    insert_bytes(&mut headers, header_names::ORIGINAL_EXCHANGE, exchange);
    insert_bytes(
        &mut headers,
        header_names::ORIGINAL_ROUTING_KEY,
        routing_key,
    );
    for (name, value) in [
        (header_names::ORIGINAL_USER_ID, original.user_id()),
        (header_names::ORIGINAL_EXPIRATION, original.expiration()),
    ] {
        if let Some(value) = value {
            insert_text(&mut headers, name, value.as_str());
        }
    }
    // The id of the dead letter on the wire is the original's, or it would not be "as it was";
    // ours goes along as a header, so that a returned one can be matched.
    insert_text(&mut headers, header_names::DEAD_LETTER_ID, message_id);
    headers
}

/// The original headers, but for those that we write.
fn headers_of_theirs(
    original: &BasicProperties,
    ours: &FieldTable,
) -> BTreeMap<ShortString, AMQPValue> {
    let headers = original.headers().iter().flatten();
    let named = headers.map(|(name, value)| {
        let is_acting = ACTING_HEADERS.contains(&name.as_str());
        let name = if is_acting {
            short(&format!("x-original-{name}"))
        } else {
            name.clone()
        };
        (name, value.clone())
    });
    let written = [header_names::ORIGINAL_PROPERTIES, header_names::CUT_HEADERS];
    named
        .filter(|(name, _)| !ours.contains_key(name.as_str()) && !written.contains(&name.as_str()))
        .collect()
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

#[cfg(test)]
mod tests {
    use arbtest::arbitrary::{Result, Unstructured};
    use arbtest::arbtest;
    use lapin::types::FieldArray;

    use super::*;
    use crate::broker::properties_size::table_size;

    fn text(u: &mut Unstructured<'_>) -> Result<ShortString> {
        Ok(short(u.arbitrary()?))
    }

    fn value(u: &mut Unstructured<'_>) -> Result<AMQPValue> {
        Ok(match u.int_in_range(0..=12)? {
            0 => AMQPValue::Void,
            1 => AMQPValue::Boolean(u.arbitrary()?),
            2 => AMQPValue::ShortShortInt(u.arbitrary()?),
            3 => AMQPValue::ShortUInt(u.arbitrary()?),
            4 => AMQPValue::LongInt(u.arbitrary()?),
            // What is no number is not equal to itself.
            5 => AMQPValue::Double(u.arbitrary::<f64>()?.max(f64::MIN)),
            6 => AMQPValue::DecimalValue(lapin::types::DecimalValue {
                scale: u.arbitrary()?,
                value: u.arbitrary()?,
            }),
            7 => AMQPValue::ShortString(text(u)?),
            8 => AMQPValue::LongString(u.arbitrary::<Vec<u8>>()?.into()),
            9 => AMQPValue::ByteArray(vec![7; u.int_in_range(0..=200_000)?].into()),
            10 => AMQPValue::FieldArray(FieldArray::from(vec![value(u)?, value(u)?])),
            11 => AMQPValue::FieldTable(table(u)?),
            _ => AMQPValue::LongString(vec![b'x'; u.int_in_range(0..=5_000)?].into()),
        })
    }

    fn table(u: &mut Unstructured<'_>) -> Result<FieldTable> {
        let mut table = FieldTable::default();
        for _ in 0..u.int_in_range(0..=6)? {
            table.insert(text(u)?, value(u)?);
        }
        Ok(table)
    }

    /// Ours at their largest.
    fn ours() -> FieldTable {
        let mut ours = FieldTable::default();
        ours.insert("x-error".into(), AMQPValue::LongInt(400));
        for (name, length) in [
            ("x-error-text", ERROR_TEXT_MAX_BYTES),
            ("x-worker", 100),
            ("x-original-exchange", 255),
            ("x-original-routing-key", 255),
            ("x-original-user-id", 255),
            ("x-original-expiration", 255),
            (header_names::DEAD_LETTER_ID, 24),
        ] {
            insert_text(&mut ours, name, &"y".repeat(length));
        }
        ours
    }

    #[test]
    fn sizes_are_those_on_the_wire() {
        arbtest(|u| {
            let headers = table(u)?;
            let size = table_size(&headers);
            // The flags go before.
            assert_eq!(
                properties_list(&BasicProperties::default().with_headers(headers)).len(),
                2 + size
            );
            Ok(())
        })
        .budget_ms(300)
        .run();
    }

    #[test]
    fn a_dead_letter_fits_into_a_frame_and_keeps_what_it_can() {
        arbtest(|u| {
            let mut original = BasicProperties::default().with_headers(table(u)?);
            if u.arbitrary()? {
                let long = "z".repeat(255);
                original = original
                    .with_correlation_id(short(&long))
                    .with_message_id(short(&long));
                original = original
                    .with_reply_to(short(&long))
                    .with_type(short(&long))
                    .with_app_id(short(&long));
                original = original
                    .with_content_type(short(&long))
                    .with_content_encoding(short(&long));
            }
            let list = vec![1; u.int_in_range(0..=131_000)?];
            let list = u.arbitrary::<bool>()?.then_some(&list[..]);
            let frame_max = *u.choose(&[4096, 32 * 1024, 128 * 1024])?;
            let properties = fitting(&original, list, &ours(), frame_max);
            let size = header_frame_size(&properties);
            assert!(size <= frame_max, "{size} of {frame_max}");
            let headers = properties.headers().as_ref().unwrap();
            for name in ours().inner().keys() {
                assert!(headers.contains_key(name.as_str()), "{name}");
            }
            let all = headers_of_theirs(&original, &ours());
            if headers.contains_key(header_names::CUT_HEADERS) {
                return Ok(());
            }
            assert!(
                all.iter()
                    .all(|(name, value)| headers.inner().get(name.as_str()) == Some(value))
            );
            Ok(())
        })
        .budget_ms(600)
        .size_min(64)
        .size_max(8192)
        .run();
    }

    #[test]
    fn the_largest_header_is_cut_first_and_named() {
        let mut headers = FieldTable::default();
        insert_text(&mut headers, "large", &"x".repeat(40_000));
        insert_text(&mut headers, "larger", &"x".repeat(60_000));
        insert_text(&mut headers, "small", "1");
        let original = BasicProperties::default().with_headers(headers);
        let properties = fitting(&original, None, &ours(), 64 * 1024);
        let headers = properties.headers().as_ref().unwrap().inner();
        let length = |name: &str| match &headers[name] {
            AMQPValue::LongString(text) => text.len(),
            _ => 0,
        };
        assert_eq!((length("large"), length("small")), (40_000, 1));
        assert!(
            (10_000..60_000).contains(&length("larger")),
            "{}",
            length("larger")
        );
        assert_eq!(
            headers[header_names::CUT_HEADERS],
            AMQPValue::LongString("larger".into())
        );
        assert!(header_frame_size(&properties) > 64 * 1024 - CUT_NOTE_MAX_BYTES - 8);
    }
}
