//! From the library to the broker: a correlation id that is no text goes back as it came.
//!
//! The library writes texts only, so such an id is given to it as a header, whose value may be any
//! bytes, and put into its place here.

use std::io;

use super::filter::{MethodId, Rules};
use super::properties::{Properties, Value, Writer, bit};
use super::table::entries;

/// The header with the bytes of a correlation id.
pub(in crate::broker) const CORRELATION_ID_HEADER: &str =
    "x-profile-worker-internal-correlation-id";

/// Class, weight and size of the body, before the properties.
const BEFORE_PROPERTIES_BYTES: usize = 12;

/// The rules for what goes out over a connection for such replies.
#[derive(Debug, Default)]
pub struct Outbound;

impl Rules for Outbound {
    fn wants(&self, _method: MethodId) -> bool {
        false
    }

    fn method(
        &mut self,
        _channel: u16,
        _id: MethodId,
        _payload: &[u8],
    ) -> io::Result<Option<Vec<u8>>> {
        Ok(None)
    }

    fn header(&mut self, _channel: u16, payload: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let Some((before, list)) = payload.split_at_checked(BEFORE_PROPERTIES_BYTES) else {
            return Ok(None);
        };
        Ok(moved(list).map(|list| [before, &list].concat()))
    }
}

/// The list with the header as the property; none if there is no such header.
fn moved(list: &[u8]) -> Option<Vec<u8>> {
    let is_id = |name: &[u8]| name == CORRELATION_ID_HEADER.as_bytes();
    let table = Properties::of(list).find_map(|(_, value)| match value {
        Value::Table(table) => Some(table),
        _ => None,
    })?;
    let id = entries(table).find(|entry| is_id(entry.name))?.value;
    let others: Vec<u8> = entries(table)
        .filter(|entry| !is_id(entry.name))
        .flat_map(|entry| entry.bytes)
        .copied()
        .collect();
    let mut writer = Writer::new();
    let mut id = Some(Value::Short(id));
    for (number, value) in Properties::of(list) {
        if number < bit::CORRELATION_ID
            && let Some(id) = id.take()
        {
            writer.push(bit::CORRELATION_ID, id);
        }
        match value {
            Value::Table(_) if others.is_empty() => {}
            Value::Table(_) => writer.push(number, Value::Table(&others)),
            _ if number == bit::CORRELATION_ID => {}
            value => writer.push(number, value),
        }
    }
    if let Some(id) = id {
        writer.push(bit::CORRELATION_ID, id);
    }
    Some(writer.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::super::filter::Filter;
    use super::*;

    fn long(bytes: &[u8]) -> Vec<u8> {
        [&u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
    }

    fn header_frame(list: &[u8]) -> Vec<u8> {
        let payload = [&[0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], list].concat();
        [&[2, 0, 1], &long(&payload)[..], &[0xce]].concat()
    }

    fn entry(name: &str, value: &[u8]) -> Vec<u8> {
        [&[name.len() as u8], name.as_bytes(), b"S", &long(value)].concat()
    }

    fn filtered(stream: &[u8], piece: usize) -> Vec<u8> {
        let mut filter = Filter::new(Outbound);
        let mut out = Vec::new();
        for piece in stream.chunks(piece) {
            filter.space()[..piece.len()].copy_from_slice(piece);
            filter.filled(piece.len()).unwrap();
            out.extend_from_slice(filter.ready());
            filter.gave(filter.ready().len());
        }
        out
    }

    #[test]
    fn the_header_becomes_the_property_and_all_else_stays() {
        let id = [0xff, 0, 1];
        let (mine, other) = (entry(CORRELATION_ID_HEADER, &id), entry("error", b"0"));
        // Content type, headers, priority, message id; with the correlation id between them.
        let (flags, with_id) = (0b1010_1000_1000_0000_u16, 0b1010_1100_1000_0000_u16);
        let list = |flags: u16, headers: &[u8], id: &[u8]| {
            [
                &flags.to_be_bytes(),
                &b"\x01t"[..],
                &long(headers),
                &[5],
                id,
                b"\x01m",
            ]
            .concat()
        };
        let before = [
            header_frame(&list(flags, &[&mine[..], &other].concat(), b"")),
            b"\x03\0\x01\0\0\0\x01x\xce".to_vec(),
        ];
        let after = [
            header_frame(&list(with_id, &other, b"\x03\xff\0\x01")),
            before[1].clone(),
        ];
        let plain = header_frame(&list(flags, &other, b""));
        let stream = [
            b"AMQP\0\0\x09\x01".to_vec(),
            plain.clone(),
            before.concat(),
            plain.clone(),
        ]
        .concat();
        let expected = [
            b"AMQP\0\0\x09\x01".to_vec(),
            plain.clone(),
            after.concat(),
            plain,
        ]
        .concat();
        for piece in [1, 3, 7, 1000] {
            assert_eq!(filtered(&stream, piece), expected, "in pieces of {piece}");
        }
    }

    #[test]
    fn without_other_properties_it_is_the_only_one() {
        let table = long(&entry(CORRELATION_ID_HEADER, b"\xfe"));
        let list = [&(1_u16 << bit::HEADERS).to_be_bytes(), &table[..]].concat();
        let expected = [
            &(1_u16 << bit::CORRELATION_ID).to_be_bytes()[..],
            b"\x01\xfe",
        ]
        .concat();
        assert_eq!(moved(&list), Some(expected));
    }
}
