//! Frames of AMQP 0-9-1, looked at between the (decrypted) socket and the client library.
//!
//! The library parses a table by recursion and wants UTF-8 in every short string, so a producer's
//! properties could end our process or our connection before any code of ours saw the message. What
//! it can't take is set aside here, and the message is given to it without; see [`inbound`]. The
//! other way round it can't write what is no text: that is put in its place here ([`outbound`]).
//!
//! The layout of frames and methods is that of the AMQP 0-9-1 specification, 2.3 and 4.2; types of
//! values are RabbitMQ's (<https://www.rabbitmq.com/amqp-0-9-1-errata.html#section_3>).

pub mod filter;
pub mod inbound;
pub mod outbound;
pub mod properties;
pub mod set_aside;
pub mod table;

/// What the names of headers, and the routing keys, begin with that only we may use: a message that
/// comes with one counts as one that the library can't take, so nobody can forge them.
pub(super) const RESERVED: &str = "x-profile-worker-internal-";

/// The first `count` bytes, which are taken away.
fn take<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    rest.split_off(..count)
}

fn octet(rest: &mut &[u8]) -> Option<u8> {
    rest.split_off_first().copied()
}

/// A short string: a byte of length, and the bytes.
fn short<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = octet(rest)?;
    take(rest, usize::from(length))
}

/// A long string, byte array, array or table: four bytes of length, and the bytes.
fn long<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = u32::from_be_bytes(*rest.first_chunk()?);
    *rest = &rest[4..];
    take(rest, usize::try_from(length).ok()?)
}

fn is_text(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok()
}

/// Appends a short string; what is beyond 255 bytes is left out.
fn push_short(bytes: &mut Vec<u8>, text: &[u8]) {
    let length = u8::try_from(text.len()).unwrap_or(u8::MAX);
    bytes.push(length);
    bytes.extend_from_slice(&text[..usize::from(length)]);
}

/// Appends a text as a short string, cut where a character ends.
fn push_text(bytes: &mut Vec<u8>, text: &str) {
    push_short(
        bytes,
        &text.as_bytes()[..text.floor_char_boundary(usize::from(u8::MAX))],
    );
}
