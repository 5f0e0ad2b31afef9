//! The properties of a message that the client library can't take, read by ourselves: tolerant, as
//! bytes, and without recursion. What can't be read is not there.

use lapin::BasicProperties;
use lapin::protocol::basic::parse_properties;

use super::frames::properties::{Properties, Value, Writer, bit};
use super::frames::table::{Entry, VALUES_MAX, entries, plain_values};

/// A property list as it came.
#[derive(Debug)]
pub(super) struct RawProperties(Vec<u8>);

impl RawProperties {
    pub(super) fn new(list: Vec<u8>) -> Self {
        Self(list)
    }

    /// The list as it came.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// A property that is a short string.
    pub(super) fn short(&self, wanted: u8) -> Option<&[u8]> {
        Properties::of(&self.0).find_map(|(number, value)| match value {
            Value::Short(bytes) if number == wanted => Some(bytes),
            _ => None,
        })
    }

    /// The header of this name; the last one if there are several, as the library has it.
    pub(super) fn header(&self, name: &str) -> Option<Entry<'_>> {
        self.headers()
            .filter(|entry| entry.name == name.as_bytes())
            .last()
    }

    /// The last header of this name, in whatever case it is written.
    pub(super) fn header_in_any_case(&self, name: &str) -> Option<Entry<'_>> {
        self.headers()
            .filter(|entry| entry.name.eq_ignore_ascii_case(name.as_bytes()))
            .last()
    }

    fn headers(&self) -> impl Iterator<Item = Entry<'_>> {
        let table = Properties::of(&self.0).find_map(|(_, value)| match value {
            Value::Table(table) => Some(table),
            _ => None,
        });
        entries(table.unwrap_or_default())
    }

    /// All of it that the library can carry.
    pub(super) fn carriable(&self) -> BasicProperties {
        let headers = self.carriable_headers();
        let mut writer = Writer::new();
        for (number, value) in Properties::of(&self.0) {
            match value {
                Value::Short(bytes) if std::str::from_utf8(bytes).is_err() => {}
                Value::Table(_) => writer.push(bit::HEADERS, Value::Table(&headers)),
                value => writer.push(number, value),
            }
        }
        // It can't fail, as only what is plain was written; if it did, the list as it came is kept
        // anyway.
        let parsed =
            parse_properties(writer.into_bytes().as_slice()).map(|(_, properties)| properties);
        parsed.unwrap_or_default()
    }

    /// The list without these headers.
    pub(super) fn without_headers(&self, names: &[&str]) -> Vec<u8> {
        let lasting = self
            .headers()
            .filter(|entry| !names.iter().any(|name| entry.name == name.as_bytes()));
        let lasting: Vec<u8> = lasting.flat_map(|entry| entry.bytes).copied().collect();
        let mut writer = Writer::new();
        for (number, value) in Properties::of(&self.0) {
            writer.push(
                number,
                if let Value::Table(_) = value {
                    Value::Table(&lasting)
                } else {
                    value
                },
            );
        }
        writer.into_bytes()
    }

    /// As a table, without its length.
    fn carriable_headers(&self) -> Vec<u8> {
        let mut values = 0;
        let plain = self.headers().filter(|entry| {
            let Some(count) =
                plain_values(entry.bytes).filter(|count| values + count <= VALUES_MAX)
            else {
                return false;
            };
            values += count;
            true
        });
        plain.flat_map(|entry| entry.bytes).copied().collect()
    }
}

/// A whole number that is not negative, in whichever of AMQP's types it was written.
pub(super) fn unsigned(entry: Entry<'_>) -> Option<u64> {
    let negative = match entry.kind {
        b'b' | b's' | b'U' | b'I' | b'l' | b'L' => entry.value.first()? & 0x80 != 0,
        b'B' | b'u' | b'i' => false,
        _ => return None,
    };
    (!negative).then(|| {
        entry
            .value
            .iter()
            .fold(0, |number, byte| number << 8 | u64::from(*byte))
    })
}
