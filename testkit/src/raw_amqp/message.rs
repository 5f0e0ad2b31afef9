//! A message, taken apart.

use super::properties::bit;

/// A message as the broker delivers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawMessage {
    /// Flags and properties, as they stand in the content header.
    pub properties: Vec<u8>,
    pub body: Vec<u8>,
}

impl RawMessage {
    /// The value of a property as it stands on the wire, with its length where it has one.
    pub fn property(&self, wanted: usize) -> Option<&[u8]> {
        let flags = u16::from_be_bytes([self.properties[0], self.properties[1]]);
        let mut rest = &self.properties[2..];
        for place in (0..16).rev().filter(|place| flags & 1 << place != 0) {
            let size = match place {
                bit::HEADERS => {
                    4 + u32::from_be_bytes([rest[0], rest[1], rest[2], rest[3]]) as usize
                }
                bit::DELIVERY_MODE | bit::PRIORITY => 1,
                bit::TIMESTAMP => 8,
                _ => 1 + usize::from(rest[0]),
            };
            if place == wanted {
                return Some(&rest[..size]);
            }
            rest = &rest[size..];
        }
        None
    }

    /// The bytes of a property that is a short string.
    pub fn short(&self, bit: usize) -> Option<&[u8]> {
        self.property(bit).map(|value| &value[1..])
    }

    pub fn correlation_id(&self) -> Option<&[u8]> {
        self.short(bit::CORRELATION_ID)
    }

    /// Type and bytes of a header that is a long string, a byte array or a 32-bit integer: what our
    /// own headers are. It must be before any of another type.
    pub fn header(&self, wanted: &str) -> Option<(u8, &[u8])> {
        let mut rest = &self.property(bit::HEADERS)?[4..];
        while !rest.is_empty() {
            let name_end = 1 + usize::from(rest[0]);
            let (name, kind) = (&rest[1..name_end], rest[name_end]);
            rest = &rest[name_end + 1..];
            let (start, end) = match kind {
                b'S' | b'x' | b'A' | b'F' => (
                    4,
                    4 + u32::from_be_bytes([rest[0], rest[1], rest[2], rest[3]]) as usize,
                ),
                b'I' | b'i' | b'f' => (0, 4),
                b'T' | b'l' | b'L' | b'd' => (0, 8),
                b't' | b'b' | b'B' => (0, 1),
                b's' | b'u' | b'U' => (0, 2),
                b'D' => (0, 5),
                b'V' => (0, 0),
                other => panic!("a header of type {:?}", char::from(other)),
            };
            if name == wanted.as_bytes() {
                return Some((kind, &rest[start..end]));
            }
            rest = &rest[end..];
        }
        None
    }
}
