//! An XML document that is being written, element by element.

use std::io;

use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesEnd, BytesStart, BytesText, Event};

/// A schema that is being written.
pub(super) struct Schema(Writer<Vec<u8>>);

/// The attributes of an element, by name.
pub(super) type Attributes<'a> = &'a [(&'a str, &'a str)];

/// The attributes of an element that may be missing or repeated.
pub(super) const ANY_NUMBER: [(&str, &str); 2] = [("minOccurs", "0"), ("maxOccurs", "unbounded")];

impl Schema {
    /// Begins a document.
    pub(super) fn begin() -> io::Result<Self> {
        let mut writer = Writer::new_with_indent(Vec::new(), b' ', 2);
        writer.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
        Ok(Self(writer))
    }

    /// Returns what is written.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0.into_inner()
    }

    /// Writes an element with this content.
    pub(super) fn element(
        &mut self,
        name: &str,
        attributes: Attributes<'_>,
        content: impl FnOnce(&mut Self) -> io::Result<()>,
    ) -> io::Result<()> {
        self.0.write_event(Event::Start(
            BytesStart::new(name).with_attributes(attributes.iter().copied()),
        ))?;
        content(self)?;
        self.0.write_event(Event::End(BytesEnd::new(name)))
    }

    /// Writes an element with a text.
    pub(super) fn text(&mut self, name: &str, text: &str) -> io::Result<()> {
        self.element(name, &[], |schema| {
            schema.0.write_event(Event::Text(BytesText::new(text)))
        })
    }

    /// Writes an element without content.
    pub(super) fn empty(&mut self, name: &str, attributes: Attributes<'_>) -> io::Result<()> {
        self.0.write_event(Event::Empty(
            BytesStart::new(name).with_attributes(attributes.iter().copied()),
        ))
    }
    /// Declares an element, and says what it means.
    pub(super) fn described(&mut self, attributes: Attributes<'_>, about: &str) -> io::Result<()> {
        self.element("xs:element", attributes, |schema| {
            schema.element("xs:annotation", &[], |schema| {
                schema.text("xs:documentation", about)
            })
        })
    }
}
