//! Bytes ⇄ domain. Each format turns a body into the same tree of values and a reply into bytes;
//! everything between the two is the same for all of them.

pub mod amqp10;
pub mod event;
pub mod hint;
pub mod json;
pub mod reply;
pub mod request;
pub mod xml;

use crate::domain::value::Object;
use crate::encoding::charset::NoText;
use crate::encoding::unknown::Unknown;
use crate::encoding::unpack::NotUnpacked;
pub use crate::limits::VALUES_MAX;

/// How deep a document may be nested, the outermost object included.
pub const DEPTH_MAX: usize = 64;

/// As many items of an array an [`Outline`] tells apart: one more than a request may have profiles.
pub const ITEMS_MAX: usize = request::PROFILES_MAX + 1;

/// Why a body is no document of its format. Such a message is dead-lettered.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// Not UTF-8, and not declared to be something else.
    #[error("the body is not UTF-8 at byte {position}: declare its charset in content_type")]
    NotUtf8 {
        /// Where the first byte stands that is not, from 1 on.
        position: usize,
    },
    /// How it is packed, or its character set, is declared by a name that nobody knows.
    #[error(transparent)]
    Undeclared(#[from] Unknown),
    /// It is not packed as it is declared to be.
    #[error(transparent)]
    NotUnpacked(#[from] NotUnpacked),
    /// It is not in the character set that is declared.
    #[error(transparent)]
    NoText(#[from] NoText),
    /// Something of AMQP 1.0 that holds no bytes of a document.
    #[error("the body is {0}; send it as one data section")]
    Amqp10(&'static str),
    /// A syntax error, with its place where the format's reader tells it.
    #[error("{0}")]
    Syntax(String),
    /// Nested deeper than [`DEPTH_MAX`].
    #[error("nested deeper than {DEPTH_MAX} levels")]
    TooDeep,
    /// A document, but not an object.
    #[error("the body is {0}, not an object")]
    NotAnObject(&'static str),
    /// An XML document, but with another root element; which, where everybody knows it.
    #[error("the root element is not <xml>{0}")]
    OtherRoot(&'static str),
    /// Something that XML has, and that could be used against its reader.
    #[error("{0} is not allowed in XML")]
    Forbidden(&'static str),
}

/// What is known of a document after a pass over all of it that builds no tree: whatever the body
/// is, this takes the memory of its top-level texts.
#[derive(Debug)]
pub struct Outline<'a> {
    /// The fields of the outermost object that were asked for. Objects in them are left empty, and
    /// arrays have a null in the place of each item, up to [`ITEMS_MAX`].
    pub fields: Object<'a>,
    /// The fields and items of arrays at any depth: what is held against [`VALUES_MAX`].
    pub values: usize,
}

/// How much of a document the tree keeps.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keep {
    /// All of it.
    Everything,
    /// Of the outermost object's own fields those with these names, as an [`Outline`] has them.
    TopLevel(&'static [&'static str]),
}

/// The formats of requests and replies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// RFC 8259
    Json,
    /// XML 1.0 without document type definitions.
    Xml,
}

impl Format {
    /// What the content type says; if it says neither, what the first byte that is not blank does.
    pub fn of(content_type: Option<&str>, body: &[u8]) -> Self {
        let declared = content_type
            .and_then(|text| text.split(';').next())
            .map(str::trim)
            .unwrap_or_default();
        if declared.eq_ignore_ascii_case("application/json") {
            return Self::Json;
        }
        if declared.eq_ignore_ascii_case("application/xml")
            || declared.eq_ignore_ascii_case("text/xml")
        {
            return Self::Xml;
        }
        match without_mark(body).trim_ascii_start() {
            [b'<', ..] | [0, b'<', ..] => Self::Xml,
            // UTF-16 with a byte order mark.
            [0xff, 0xfe, b'<', 0, ..] | [0xfe, 0xff, 0, b'<', ..] => Self::Xml,
            _ => Self::Json,
        }
    }

    /// The content type of a reply.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Xml => "application/xml",
        }
    }

    /// Reads a whole body into a tree, which takes up to 100 bytes for each value. Of a body that
    /// is not small [`Self::outline`] says first how many there are.
    pub fn read(self, body: &[u8]) -> Result<Object<'_>, Unreadable> {
        match self {
            Self::Json => json::read(body),
            Self::Xml => xml::read(body),
        }
    }

    /// Checks a whole body as [`Self::read`] does, at a fraction of its cost, and keeps of the
    /// outermost object the fields of these names.
    pub fn outline<'a>(
        self,
        body: &'a [u8],
        names: &'static [&'static str],
    ) -> Result<Outline<'a>, Unreadable> {
        match self {
            Self::Json => json::outline(body, names),
            Self::Xml => xml::outline(body, names),
        }
    }
}

/// The body as text. RFC 8259, 8.1 lets a reader ignore a byte order mark, XML has it do so.
fn utf8(body: &[u8]) -> Result<&str, Unreadable> {
    let text = without_mark(body);
    std::str::from_utf8(text).map_err(|error| Unreadable::NotUtf8 {
        position: body.len() - text.len() + error.valid_up_to() + 1,
    })
}

fn without_mark(body: &[u8]) -> &[u8] {
    body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_content_type_tells_the_format_and_else_the_first_byte() {
        for (content_type, body, format) in [
            (Some("application/json"), "<xml/>", Format::Json),
            (Some("Application/XML; charset=utf-8"), "{}", Format::Xml),
            (Some("text/xml"), "{}", Format::Xml),
            (Some("text/plain"), " \n<xml/>", Format::Xml),
            (None, "\u{feff}\t<xml/>", Format::Xml),
            (None, "<\0x\0/\0>\0", Format::Xml),
            (None, "\0<\0x\0/\0>", Format::Xml),
            (None, "{}", Format::Json),
            (None, "", Format::Json),
        ] {
            assert_eq!(
                Format::of(content_type, body.as_bytes()),
                format,
                "{content_type:?} {body:?}"
            );
        }
    }
}
