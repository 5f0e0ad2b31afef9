//! The headers of a request that count.

use lapin::types::AMQPValue;

use super::Envelope;

/// The header with a token.
const AUTHORIZATION: &str = "authorization";

/// The value of a header that holds a text or bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct HeaderBytes<'a> {
    is_text: bool,
    bytes: &'a [u8],
}

impl<'a> HeaderBytes<'a> {
    /// Clients write texts in two of AMQP's types.
    fn of(value: &'a AMQPValue) -> Option<Self> {
        let (is_text, bytes) = match value {
            AMQPValue::LongString(text) => (true, text.as_bytes()),
            AMQPValue::ShortString(text) => (true, text.as_str().as_bytes()),
            AMQPValue::ByteArray(bytes) => (false, bytes.as_slice()),
            _ => return None,
        };
        Some(Self { is_text, bytes })
    }

    fn of_raw(kind: u8, bytes: &'a [u8]) -> Option<Self> {
        let is_text = kind == b'S';
        (is_text || kind == b'x').then_some(Self { is_text, bytes })
    }
}

impl Envelope {
    /// A header with a text value.
    pub fn header(&self, name: &str) -> Option<&str> {
        let value = self.header_bytes(name).filter(|value| value.is_text)?;
        std::str::from_utf8(value.bytes).ok()
    }

    /// The header `authorization`, as a text or as bytes, in whatever case its name is; empty if it
    /// is there and neither.
    pub fn authorization(&self) -> Option<&str> {
        let value = if let Some(raw) = self.raw() {
            let entry = raw
                .header(AUTHORIZATION)
                .or_else(|| raw.header_in_any_case(AUTHORIZATION))?;
            HeaderBytes::of_raw(entry.kind, entry.value)
        } else {
            let headers = self.headers()?.inner();
            let in_any_case = || {
                let mut headers = headers.iter();
                let found = headers.find(|(name, _)| is_authorization(name.as_str()));
                found.map(|(_, value)| value)
            };
            HeaderBytes::of(headers.get(AUTHORIZATION).or_else(in_any_case)?)
        };
        let text = value.and_then(|value| std::str::from_utf8(value.bytes).ok());
        Some(text.unwrap_or_default())
    }

    fn header_bytes(&self, name: &str) -> Option<HeaderBytes<'_>> {
        match self.raw() {
            Some(raw) => {
                let entry = raw.header(name)?;
                HeaderBytes::of_raw(entry.kind, entry.value)
            }
            None => HeaderBytes::of(self.headers()?.inner().get(name)?),
        }
    }
}

fn is_authorization(name: &str) -> bool {
    name.eq_ignore_ascii_case(AUTHORIZATION)
}
