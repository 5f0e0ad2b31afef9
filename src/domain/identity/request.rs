//! The identity of a request, and of each profile in it.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::domain::hex::Hex;

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
    /// The same, by an id that stands in the header `x-message-id`. A text and bytes are two ids,
    /// also where they look alike: so they are to the protocols that they come from.
    MessageIdHeader {
        /// Whether its type is that of texts.
        is_text: bool,
        /// The id, of any length.
        id: &'a [u8],
    },
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
    /// Computes the identity of the request `name` with this `body`.
    pub fn of(name: RequestName<'_>, body: &[u8]) -> Self {
        let mut hash = Sha256::new();
        match name {
            RequestName::MessageId(id) => {
                hash.update(b"message");
                part(&mut hash, id);
            }
            RequestName::MessageIdHeader { is_text, id } => {
                hash.update(b"header");
                hash.update([u8::from(is_text)]);
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

    /// Computes the identity of the profile at `index` of the request.
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
    fn a_request_is_another_one_if_anything_that_names_it_differs() {
        let of = |name, body: &[u8], index| RequestIdentity::of(name, body).profile(index);
        let unnamed =
            |reply_to: &'static [u8], correlation_id: &'static [u8]| RequestName::Unnamed {
                reply_to,
                correlation_id,
            };
        let header = |is_text, id: &'static [u8]| RequestName::MessageIdHeader { is_text, id };
        let all = [
            of(RequestName::MessageId(b"a"), b"x", 0),
            of(header(true, b"a"), b"x", 0),
            of(header(false, b"a"), b"x", 0),
            of(header(true, b"b"), b"x", 0),
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
        assert_eq!(all[1], of(header(true, b"a"), b"x", 0));
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
            text(RequestName::MessageIdHeader {
                is_text: false,
                id: b"m"
            }),
            "838437ab3a03b57a51c85f36379cd0a1"
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
