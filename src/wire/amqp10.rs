//! Bodies of AMQP 1.0 that RabbitMQ hands on as they came over the wire: all that are no single
//! data section (OASIS AMQP 1.0, part 1, 1.6, and part 3, 3.2.6 to 3.2.8). A value that is a text
//! or bytes is read; anything else is told by its name.

use super::Unreadable;

/// What RabbitMQ says in the property `type` of such a message.
const KIND: &[u8] = b"amqp-1.0";

/// The descriptors of sections, as the one byte of a small number.
mod section {
    pub(super) const DATA: u8 = 0x75;
    pub(super) const SEQUENCE: u8 = 0x76;
    pub(super) const VALUE: u8 = 0x77;
}

/// The bytes of a request: the body itself, unless the message is an encoded one of AMQP 1.0;
/// `kind` is its property `type`.
///
/// # Errors
///
/// It is an encoded one, and neither a text nor bytes.
pub fn body<'a>(kind: Option<&[u8]>, body: &'a [u8]) -> Result<&'a [u8], Unreadable> {
    if kind != Some(KIND) {
        return Ok(body);
    }
    let Some((section, value)) = described(body) else {
        return Ok(body);
    };
    match section {
        section::VALUE => text_or_bytes(value).ok_or_else(|| Unreadable::Amqp10(name(value))),
        section::SEQUENCE => Err(Unreadable::Amqp10("an AMQP 1.0 sequence")),
        section::DATA => Err(Unreadable::Amqp10("several AMQP 1.0 data sections")),
        _ => Ok(body),
    }
}

/// The descriptor and the value of a described one. A descriptor is a number, in one byte or eight.
fn described(bytes: &[u8]) -> Option<(u8, &[u8])> {
    match bytes {
        [0x00, 0x53, section, value @ ..] => Some((*section, value)),
        [0x00, 0x80, 0, 0, 0, 0, 0, 0, 0, section, value @ ..] => Some((*section, value)),
        _ => None,
    }
}

/// The content of a string or binary that is all there is.
fn text_or_bytes(value: &[u8]) -> Option<&[u8]> {
    let (length, content) = match value {
        [0xa0 | 0xa1, length, content @ ..] => (usize::from(*length), content),
        [0xb0 | 0xb1, a, b, c, d, content @ ..] => {
            let length = u32::from_be_bytes([*a, *b, *c, *d]);
            (usize::try_from(length).ok()?, content)
        }
        _ => return None,
    };
    (content.len() == length).then_some(content)
}

/// What a value is, by the code before it.
fn name(value: &[u8]) -> &'static str {
    match value.first() {
        Some(0x40) => "an AMQP 1.0 value that is null",
        Some(0x41 | 0x42 | 0x56) => "an AMQP 1.0 value that is a boolean",
        Some(0x43 | 0x44 | 0x50..=0x55 | 0x60 | 0x61 | 0x70..=0x72 | 0x80..=0x82) => {
            "an AMQP 1.0 value that is a number"
        }
        Some(0x74 | 0x84 | 0x94) => "an AMQP 1.0 value that is a decimal",
        Some(0x73) => "an AMQP 1.0 value that is a character",
        Some(0x83) => "an AMQP 1.0 value that is a timestamp",
        Some(0x98) => "an AMQP 1.0 value that is a UUID",
        Some(0xa3 | 0xb3) => "an AMQP 1.0 value that is a symbol",
        Some(0x45 | 0xc0 | 0xd0) => "an AMQP 1.0 value that is a list",
        Some(0xc1 | 0xd1) => "an AMQP 1.0 value that is a map",
        Some(0xe0 | 0xf0) => "an AMQP 1.0 value that is an array",
        Some(0xa0 | 0xa1 | 0xb0 | 0xb1) => "an AMQP 1.0 value that is cut off or not alone",
        _ => "an AMQP 1.0 value of a type of its own",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<&[u8], String> {
        body(Some(KIND), bytes).map_err(|flaw| flaw.to_string())
    }

    /// As RabbitMQ 3.10 and 4.0 hand them on from rhea 3 (rabbitmq-amqp-dotnet-client#115).
    #[test]
    fn a_text_or_bytes_are_read() {
        let long = [b"\0Sw\xb1\0\0\x01\x2c", &[b'x'; 300][..]].concat();
        for (bytes, expected) in [
            (&b"\0Sw\xa1\x07{\"a\":1}"[..], &b"{\"a\":1}"[..]),
            (b"\0Sw\xa0\x07{\"a\":1}", b"{\"a\":1}"),
            (&long, &[b'x'; 300]),
            (b"\0Sw\xb0\0\0\0\x02{}", b"{}"),
            (b"\0\x80\0\0\0\0\0\0\0\x77\xa1\x02{}", b"{}"),
            (b"\0Sw\xa1\0", b""),
        ] {
            assert_eq!(read(bytes), Ok(expected));
        }
    }

    #[test]
    fn anything_else_is_told_by_its_name() {
        for (bytes, what) in [
            (&b"\0Sw@"[..], "an AMQP 1.0 value that is null"),
            (b"\0SwA", "an AMQP 1.0 value that is a boolean"),
            (b"\0SwR\x01", "an AMQP 1.0 value that is a number"),
            (
                b"\0Sw\xd1\0\0\0\x09\0\0\0\x02\xa1\x01aR\x01",
                "an AMQP 1.0 value that is a map",
            ),
            (b"\0SwE", "an AMQP 1.0 value that is a list"),
            (
                b"\0Sv\xd0\0\0\0\x09\0\0\0\x02\xa1\x01aR\x01",
                "an AMQP 1.0 sequence",
            ),
            // RabbitMQ 3 hands on several in the wrong order.
            (
                b"\0Su\xa0\x021}\0Su\xa0\x05{\"a\":",
                "several AMQP 1.0 data sections",
            ),
            (
                b"\0Sw\xa1\x07{}",
                "an AMQP 1.0 value that is cut off or not alone",
            ),
            (
                b"\0Sw\xa1\x02{}\0Sx\xc1\x01\0",
                "an AMQP 1.0 value that is cut off or not alone",
            ),
            (b"\0Sw\0Sd@", "an AMQP 1.0 value of a type of its own"),
            (b"\0Sw", "an AMQP 1.0 value of a type of its own"),
        ] {
            assert_eq!(
                read(bytes),
                Err(format!("the body is {what}; send it as one data section")),
                "{bytes:?}"
            );
        }
    }

    #[test]
    fn what_is_no_section_stays_as_it_is() {
        for bytes in [&b"{}"[..], b"", b"\0", b"\0S", b"<xml/>", b"\0\x80\0"] {
            assert_eq!(read(bytes), Ok(bytes));
        }
        let value = b"\0Sw\xa1\x02{}";
        for kind in [None, Some(&b"profiles.add"[..])] {
            assert!(matches!(body(kind, value), Ok(body) if body == value));
        }
    }
}
