//! The headers of a request that count, and what RabbitMQ's plugins put there.

use lapin::types::AMQPValue;

use super::envelope::Envelope;
use super::header_names;
use super::reply_address::ReplyAddress;

/// The header with a token.
const AUTHORIZATION: &str = "authorization";

/// The longest id of a header that comes back with the reply: as much as MQTT 5 has room for.
const CORRELATION_ID_MAX_BYTES: usize = 65_535;

/// What the other properties of a reply take of a frame, at most: two trace headers of
/// 512 bytes, six short strings and the names.
const OTHER_PROPERTIES_MAX_BYTES: usize = 4 * 1024;

/// The value of a header that holds a text or bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeaderBytes<'a> {
    /// Whether AMQP's type is that of texts. What has it need not be UTF-8.
    pub is_text: bool,
    /// The value.
    pub bytes: &'a [u8],
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

    /// What counts as the request's `message_id` where it has no such property. RabbitMQ 4 puts ids
    /// of other protocols there that are no text of up to 255 bytes.
    pub fn message_id_header(&self) -> Option<HeaderBytes<'_>> {
        if self.message_id().is_some() {
            return None;
        }
        self.id_header(header_names::MESSAGE_ID)
    }

    /// Whether the producer has named the request, in a property or a header.
    pub fn is_named(&self) -> bool {
        self.message_id().is_some() || self.message_id_header().is_some()
    }

    /// How the producer matches the reply, in a property or a header; the bytes of either.
    pub fn reply_key(&self) -> Option<&[u8]> {
        self.correlation_id().or_else(|| {
            let header = self.id_header(header_names::CORRELATION_ID)?;
            Some(header.bytes)
        })
    }

    /// The header by which the sender knows its reply, if no property says it: that of its
    /// correlation id, or else that of its message id. None if a frame may have no room for it.
    pub(super) fn reply_id_header(&self) -> Option<HeaderBytes<'_>> {
        let room = self.frame_max().saturating_sub(OTHER_PROPERTIES_MAX_BYTES);
        let id = self
            .id_header(header_names::CORRELATION_ID)
            .or_else(|| self.message_id_header())?;
        (id.bytes.len() <= room.min(CORRELATION_ID_MAX_BYTES)).then_some(id)
    }

    /// Where the producer wants the reply; none if nowhere, or at no address. The response topic
    /// counts where there is no `reply_to`.
    pub(crate) fn reply_address(&self) -> Option<ReplyAddress<'_>> {
        match self.reply_to() {
            Some(raw) => ReplyAddress::of(raw),
            None => self
                .header(header_names::REPLY_TO_TOPIC)
                .and_then(ReplyAddress::of_topic),
        }
    }

    fn id_header(&self, name: &str) -> Option<HeaderBytes<'_>> {
        self.header_bytes(name)
            .filter(|value| !value.bytes.is_empty())
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
