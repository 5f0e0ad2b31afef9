//! Property lists of any bytes.

use super::wire::{long, short_bytes};

/// Builds a property list by bytes. The last value of a property counts; headers add up.
#[derive(Debug, Clone, Default)]
pub struct Props {
    /// By their bit in the flags; the highest comes first.
    values: [Option<Vec<u8>>; 16],
    headers: Option<Vec<u8>>,
}

/// The bits of the properties (AMQP 0-9-1, class basic).
pub mod bit {
    pub const CONTENT_TYPE: usize = 15;
    pub const CONTENT_ENCODING: usize = 14;
    pub const HEADERS: usize = 13;
    pub const DELIVERY_MODE: usize = 12;
    pub const PRIORITY: usize = 11;
    pub const CORRELATION_ID: usize = 10;
    pub const REPLY_TO: usize = 9;
    pub const EXPIRATION: usize = 8;
    pub const MESSAGE_ID: usize = 7;
    pub const TIMESTAMP: usize = 6;
    pub const TYPE: usize = 5;
    pub const USER_ID: usize = 4;
    pub const APP_ID: usize = 3;
    pub const CLUSTER_ID: usize = 2;
}

impl Props {
    /// The value of a property as it goes over the wire; not of the headers.
    pub fn value(&self, bit: usize) -> Option<&[u8]> {
        self.values[bit].as_deref()
    }

    pub fn new() -> Self {
        Self::default()
    }

    /// The property of this bit as a short string of any bytes.
    pub fn short(self, bit: usize, bytes: impl AsRef<[u8]>) -> Self {
        self.raw(bit, &short_bytes(bytes.as_ref()))
    }

    /// The property of this bit, with whatever bytes.
    pub fn raw(mut self, bit: usize, bytes: &[u8]) -> Self {
        self.values[bit] = Some(bytes.to_vec());
        self
    }

    pub fn content_type(self, bytes: impl AsRef<[u8]>) -> Self {
        self.short(bit::CONTENT_TYPE, bytes)
    }

    pub fn correlation_id(self, bytes: impl AsRef<[u8]>) -> Self {
        self.short(bit::CORRELATION_ID, bytes)
    }

    pub fn reply_to(self, bytes: impl AsRef<[u8]>) -> Self {
        self.short(bit::REPLY_TO, bytes)
    }

    pub fn message_id(self, bytes: impl AsRef<[u8]>) -> Self {
        self.short(bit::MESSAGE_ID, bytes)
    }

    /// A header of any name, type and value; the value as it goes over the wire, with its length.
    pub fn header_raw(mut self, name: impl AsRef<[u8]>, kind: u8, value: &[u8]) -> Self {
        let entry = [&short_bytes(name.as_ref())[..], &[kind], value].concat();
        self.headers.get_or_insert_default().extend(entry);
        self
    }

    /// A header with a long string.
    pub fn header(self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.header_raw(name, b'S', &long(value.as_ref()))
    }

    /// Flags and property list.
    pub fn bytes(&self) -> Vec<u8> {
        let mut values = self.values.clone();
        if let Some(headers) = &self.headers {
            values[bit::HEADERS] = Some(long(headers));
        }
        let given = |bit: &usize| values[*bit].is_some();
        let flags = (0..16)
            .filter(given)
            .fold(0_u16, |flags, bit| flags | 1 << bit);
        let mut bytes = flags.to_be_bytes().to_vec();
        for value in values.iter().rev().flatten() {
            bytes.extend(value);
        }
        bytes
    }
}
