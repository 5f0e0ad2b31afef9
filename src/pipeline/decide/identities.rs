//! By what a redelivery of a request finds its rows.

use std::cell::OnceCell;

use super::decision::Properties;
use crate::domain::identity::{RequestId, RequestIdentity, RequestName};

/// The identities of one request. For each name the body is hashed once, if at all.
pub(super) struct Identities<'r> {
    pub(super) properties: &'r Properties<'r>,
    /// The body as it came.
    body: &'r [u8],
    /// The same, unpacked.
    unpacked: &'r [u8],
    /// Of profiles that have an email, or whose request has a `message_id`.
    named: OnceCell<RequestIdentity>,
    /// Of all others.
    unnamed: OnceCell<RequestIdentity>,
}

impl<'r> Identities<'r> {
    /// Those of the request with this body, as it came and unpacked; `named` is the first of them
    /// if it is known.
    pub(super) fn new(
        body: &'r [u8],
        unpacked: &'r [u8],
        named: Option<&RequestIdentity>,
        properties: &'r Properties<'r>,
    ) -> Self {
        Self {
            properties,
            body,
            unpacked,
            named: named.map_or_else(OnceCell::new, |known| OnceCell::from(known.clone())),
            unnamed: OnceCell::new(),
        }
    }

    /// Without a `message_id` two equal requests are two requests. A profile with an email is kept
    /// from being stored twice by the email; one without leaves a trace from the second delivery
    /// on.
    pub(super) fn profile(&self, index: u32, has_email: bool) -> Option<RequestId> {
        let identity = if self.properties.name().is_some() || has_email {
            self.named
                .get_or_init(|| named(self.properties, self.unpacked))
        } else {
            let lasting = self.properties.redelivered?;
            self.unnamed
                .get_or_init(|| identity_of_unnamed(lasting, self.body))
        };
        Some(identity.profile(index))
    }
}

/// The identity of a request with this unpacked body: packed again it is other bytes.
pub(super) fn named(properties: &Properties<'_>, unpacked: &[u8]) -> RequestIdentity {
    let name = properties.name().unwrap_or(RequestName::Unnamed {
        reply_to: properties.reply_to.unwrap_or_default(),
        correlation_id: properties.correlation_id.unwrap_or_default(),
    });
    RequestIdentity::of(name, unpacked)
}

/// The identity that profiles without an email, of a request without a `message_id`, have from its
/// second delivery on; `lasting` are its properties but for what the broker adds. It is the same
/// message then, so `body` is as it came, be it packed or not.
pub fn identity_of_unnamed(lasting: &[u8], body: &[u8]) -> RequestIdentity {
    RequestIdentity::of(
        RequestName::Redelivered {
            properties: lasting,
        },
        body,
    )
}
