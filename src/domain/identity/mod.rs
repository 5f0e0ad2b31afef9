//! How things are named: profile ids, and the identity by which a redelivered request knows its
//! own earlier work.

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};

use sha2::{Digest, Sha256};

/// A profile's id: 12 bytes in ObjectId layout, written as 24 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProfileId([u8; 12]);

impl ProfileId {
    /// Reads the 24 hex digits; `None` if they are not that.
    pub fn parse(hex: &str) -> Option<Self> {
        let digits = hex.as_bytes();
        if digits.len() != 24 {
            return None;
        }
        let mut bytes = [0; 12];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let high = char::from(pair[0]).to_digit(16)?;
            let low = char::from(pair[1]).to_digit(16)?;
            *byte = u8::try_from(high * 16 + low).ok()?;
        }
        Some(Self(bytes))
    }

    /// The 24 hex digits.
    pub fn hex(&self) -> Hex<24> {
        Hex::of(&self.0)
    }
}

impl fmt::Display for ProfileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.hex().as_str())
    }
}

impl fmt::Debug for ProfileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Bytes as so many lower-case hex digits, without an allocation: ids are written several times
/// for each request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Hex<const DIGITS: usize>([u8; DIGITS]);

impl<const DIGITS: usize> Hex<DIGITS> {
    /// The digits of half as many bytes; of fewer they end with zeros, and what is too much is
    /// left out.
    pub fn of(bytes: &[u8]) -> Self {
        let mut digits = [b'0'; DIGITS];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(bytes) {
            pair[0] = digit(byte >> 4);
            pair[1] = digit(byte & 15);
        }
        Self(digits)
    }

    /// The digits as text.
    pub fn as_str(&self) -> &str {
        match std::str::from_utf8(&self.0) {
            Ok(text) => text,
            Err(_) => unreachable!("hex digits are ASCII"),
        }
    }
}

const fn digit(value: u8) -> u8 {
    match value {
        0..=9 => b'0' + value,
        _ => b'a' + value - 10,
    }
}

/// Makes ids that no other process makes: seconds, five random bytes of this process, a counter
/// (the layout of MongoDB's ObjectId). Shared by all lanes.
#[derive(Debug)]
pub struct IdSource {
    process: [u8; 5],
    counter: AtomicU32,
}

impl IdSource {
    /// A source from eight random bytes.
    pub fn from_random(random: [u8; 8]) -> Self {
        let [a, b, c, d, e, x, y, z] = random;
        Self {
            process: [a, b, c, d, e],
            counter: AtomicU32::new(u32::from_be_bytes([0, x, y, z])),
        }
    }

    /// The next id, for something made at `unix_seconds`. Seconds past the year 2106 wrap, as the
    /// layout has four bytes for them.
    pub fn next(&self, unix_seconds: i64) -> ProfileId {
        let count = self.counter.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        let seconds = (unix_seconds as u32).to_be_bytes();
        let mut bytes = [0; 12];
        bytes[..4].copy_from_slice(&seconds);
        bytes[4..9].copy_from_slice(&self.process);
        bytes[9..].copy_from_slice(&count[1..]);
        ProfileId(bytes)
    }
}

/// The identity of one profile of one request: 16 bytes of a SHA-256.
///
/// The body is part of it because producers do reuse message ids: the same id with another body is
/// another request. See [`RequestIdentity::of`].
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestId(pub [u8; 16]);

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Hex::<32>::of(&self.0).as_str())
    }
}

/// What names a request, besides its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestName<'a> {
    /// The producer named it: an idempotency key that holds for ever and from any sender.
    MessageId(&'a [u8]),
    /// Nobody named it: two equal ones are two requests, unless the broker says that it delivers
    /// this one again.
    Unnamed {
        /// Where the reply goes.
        reply_to: &'a [u8],
        /// How the producer matches the reply.
        correlation_id: &'a [u8],
    },
    /// Nobody named it, and it has been delivered before. All that the message says of itself takes
    /// the place of a name, so that it is stored once at most from then on.
    Redelivered {
        /// All of its properties that last from one delivery to the next.
        properties: &'a [u8],
    },
}

/// The identity of one request, from which those of its profiles are made.
#[derive(Debug, Clone)]
pub struct RequestIdentity(Sha256);

impl RequestIdentity {
    /// The identity of the request `name` with this `body`.
    pub fn of(name: RequestName<'_>, body: &[u8]) -> Self {
        let mut hash = Sha256::new();
        match name {
            RequestName::MessageId(id) => {
                hash.update(b"message");
                part(&mut hash, id);
            }
            RequestName::Unnamed {
                reply_to,
                correlation_id,
            } => {
                hash.update(b"unnamed");
                part(&mut hash, reply_to);
                part(&mut hash, correlation_id);
            }
            RequestName::Redelivered { properties } => {
                hash.update(b"redelivered");
                part(&mut hash, properties);
            }
        }
        part(&mut hash, body);
        Self(hash)
    }

    /// The identity of the profile at `index` of the request.
    pub fn profile(&self, index: u32) -> RequestId {
        let digest = self.0.clone().chain_update(index.to_be_bytes()).finalize();
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        RequestId(bytes)
    }
}

/// Length first, so that no two lists of parts run together to the same bytes.
fn part(hash: &mut Sha256, bytes: &[u8]) {
    hash.update((bytes.len() as u64).to_be_bytes());
    hash.update(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_id_is_24_hex_digits_that_begin_with_the_seconds() {
        let ids = IdSource::from_random([1, 2, 3, 4, 5, 0xff, 0xff, 0xff]);
        let first = ids.next(0x6638_e1e8);
        assert_eq!(first.to_string(), "6638e1e80102030405ffffff");
        assert_eq!(ProfileId::parse(&first.to_string()), Some(first));
        assert_eq!(
            ids.next(0x6638_e1e8).to_string(),
            "6638e1e80102030405000000"
        );
    }

    #[test]
    fn no_profile_id_is_read_from_anything_else() {
        for text in [
            "",
            "6638e1e8",
            "6638e1e80102030405fffffg",
            "6638e1e80102030405fffffé",
        ] {
            assert_eq!(ProfileId::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_request_is_another_one_if_anything_that_names_it_differs() {
        let of = |name, body: &[u8], index| RequestIdentity::of(name, body).profile(index);
        let unnamed =
            |reply_to: &'static [u8], correlation_id: &'static [u8]| RequestName::Unnamed {
                reply_to,
                correlation_id,
            };
        let all = [
            of(RequestName::MessageId(b"a"), b"x", 0),
            of(RequestName::MessageId(b"a"), b"y", 0),
            of(RequestName::MessageId(b"b"), b"x", 0),
            of(RequestName::MessageId(b"\xff"), b"x", 0),
            of(RequestName::MessageId(b"a"), b"x", 1),
            of(unnamed(b"a", b""), b"x", 0),
            of(unnamed(b"", b"a"), b"x", 0),
            of(RequestName::Redelivered { properties: b"a" }, b"x", 0),
            of(RequestName::Redelivered { properties: b"b" }, b"x", 0),
        ];
        let distinct: std::collections::HashSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
        assert_eq!(all[0], of(RequestName::MessageId(b"a"), b"x", 0));
    }

    /// Rows carry them, so a later version must compute the same ones.
    #[test]
    fn identities_last() {
        let text = |name| format!("{:?}", RequestIdentity::of(name, b"body").profile(1));
        assert_eq!(
            text(RequestName::MessageId(b"m")),
            "ff638c18492c0f3c63aff8117ebcfb6b"
        );
        assert_eq!(
            text(RequestName::Unnamed {
                reply_to: b"q",
                correlation_id: b"c"
            }),
            "f5ee7739152c0e6067f37c1befdc4fb2"
        );
    }
}
