//! What a body says once it is unpacked and in UTF-8.

use std::borrow::Cow;

use crate::domain::identity::RequestIdentity;
use crate::domain::outcome::Rejection;
use crate::encoding::charset::{self, NoText};
use crate::encoding::coding::Coding;
use crate::encoding::declared::Declared;
use crate::encoding::unpack::{NotUnpacked, unpack};
use crate::pipeline::decide::decision::{Properties, Verdict};
use crate::pipeline::decide::identities::named;
use crate::wire::{Format, amqp10};

/// The text of a request, in UTF-8 as far as it is any: the body itself, unless that is declared to
/// be something else.
pub(in crate::pipeline::decide) struct Content<'a> {
    pub(in crate::pipeline::decide) format: Format,
    pub(in crate::pipeline::decide) text: Cow<'a, [u8]>,
    /// The body as it came, taken out of its section of AMQP 1.0.
    body: &'a [u8],
    was_packed: bool,
    /// The request's identity, where the unpacked body is not kept: its text takes the place.
    pub(in crate::pipeline::decide) named: Option<Box<RequestIdentity>>,
}

/// A body that has no text, with the format of the reply.
pub(in crate::pipeline::decide) struct NoContent {
    pub(in crate::pipeline::decide) verdict: Verdict,
    pub(in crate::pipeline::decide) format: Format,
}

impl<'a> Content<'a> {
    /// Unpacks the body and brings it to UTF-8. Neither may come to more than `body_max` bytes.
    pub(in crate::pipeline::decide) fn of(
        body: &'a [u8],
        properties: &Properties<'_>,
        body_max: u64,
    ) -> Result<Self, NoContent> {
        match plain(body, properties) {
            Some(format) => Ok(Self {
                format,
                text: Cow::Borrowed(body),
                body,
                was_packed: false,
                named: None,
            }),
            None => Self::of_declared(body, properties, body_max),
        }
    }

    #[cold]
    fn of_declared(
        body: &'a [u8],
        properties: &Properties<'_>,
        body_max: u64,
    ) -> Result<Self, NoContent> {
        let content_type = properties.content_type;
        let fails_in = |format| move |verdict| NoContent { verdict, format };
        let body = amqp10::body(properties.message_type, body).map_err(|flaw| NoContent {
            verdict: Verdict::unreadable(flaw),
            format: Format::of(content_type, body),
        })?;
        let packed_format = Format::of(content_type, body);
        let declared = Declared::read(
            content_type,
            properties.content_encoding,
            properties.compression,
        )
        .map_err(Verdict::unreadable)
        .map_err(fails_in(packed_format))?;
        let unpacked = match declared.coding {
            None => Cow::Borrowed(body),
            Some(coding) => {
                let unpacked = unpacked(coding, body, body_max);
                Cow::Owned(unpacked.map_err(fails_in(packed_format))?)
            }
        };
        let format = match declared.coding {
            None => packed_format,
            Some(_) => Format::of(content_type, &unpacked),
        };
        let is_xml = format == Format::Xml;
        let charset = charset::of(&unpacked, declared.charset, is_xml)
            .map_err(Verdict::unreadable)
            .map_err(fails_in(format))?;
        let was_packed = declared.coding.is_some();
        let named = (was_packed && !charset::is_utf8(charset, &unpacked))
            .then(|| Box::new(named(properties, &unpacked)));
        let text = charset::utf8(charset, unpacked, bytes_max(body_max))
            .map_err(|no_text| match no_text {
                NoText::TooLarge => Verdict::Refuse(Rejection::text_too_large(body_max)),
                NoText::Malformed { .. } => Verdict::unreadable(no_text),
            })
            .map_err(fails_in(format))?;
        Ok(Self {
            format,
            text,
            body,
            was_packed,
            named,
        })
    }
}

impl Content<'_> {
    /// The unpacked body; where [`Self::named`] is given it is not asked for.
    pub(in crate::pipeline::decide) fn unpacked(&self) -> &[u8] {
        if self.was_packed {
            &self.text
        } else {
            self.body
        }
    }
}

/// The format of a body of which nothing else is declared, and that begins as such: most do.
fn plain(body: &[u8], properties: &Properties<'_>) -> Option<Format> {
    if properties.content_encoding.is_some() || properties.compression.is_some() {
        return None;
    }
    match (body, properties.content_type) {
        ([b'{', ..], None | Some("application/json")) => Some(Format::Json),
        ([b'<', b'x', ..], None | Some("application/xml" | "text/xml")) => Some(Format::Xml),
        _ => None,
    }
}

/// What can't be read to its end is only known to be too large.
fn unpacked(coding: Coding, body: &[u8], body_max: u64) -> Result<Vec<u8>, Verdict> {
    let limit = bytes_max(body_max);
    if body.len() > limit {
        return Err(Verdict::Refuse(Rejection::body_too_large(body_max)));
    }
    if body.is_empty() {
        return Ok(Vec::new());
    }
    unpack(coding, body, limit).map_err(|failure| match failure {
        NotUnpacked::TooLarge => Verdict::Refuse(Rejection::unpacked_too_large(body_max)),
        other => Verdict::unreadable(other),
    })
}

fn bytes_max(body_max: u64) -> usize {
    usize::try_from(body_max).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
