//! Replies → XML.

use std::io;

use quick_xml::Writer;
use quick_xml::escape::escape;
use quick_xml::events::{BytesEnd, BytesStart, BytesText, Event};

use super::names::{ARRAY, ROOT};

/// Writes a document with the root element, into memory.
pub fn write(content: impl FnOnce(&mut Elements) -> io::Result<()>) -> Vec<u8> {
    let mut elements = Elements(Writer::new(Vec::with_capacity(128)));
    match elements.object(ROOT, content) {
        Ok(()) => elements.0.into_inner(),
        Err(_) => unreachable!("memory can always be written to"),
    }
}

/// A document that is being written.
#[expect(
    missing_debug_implementations,
    reason = "the library's writer has none"
)]
pub struct Elements(Writer<Vec<u8>>);

impl Elements {
    /// An element with a text.
    pub fn text(&mut self, name: &str, text: &str) -> io::Result<()> {
        self.element(BytesStart::new(name), |elements| elements.write(text))
    }

    /// An element of an array, with a text.
    pub fn text_item(&mut self, name: &str, text: &str) -> io::Result<()> {
        self.element(array_item(name), |elements| elements.write(text))
    }

    /// An element with elements in it.
    pub fn object(
        &mut self,
        name: &str,
        content: impl FnOnce(&mut Self) -> io::Result<()>,
    ) -> io::Result<()> {
        self.element(BytesStart::new(name), content)
    }

    /// An element of an array, with elements in it.
    pub fn item(
        &mut self,
        name: &str,
        content: impl FnOnce(&mut Self) -> io::Result<()>,
    ) -> io::Result<()> {
        self.element(array_item(name), content)
    }

    fn write(&mut self, text: &str) -> io::Result<()> {
        // A reader takes a bare carriage return for the end of a line (XML 1.0, 2.11).
        let escaped = escape(text).replace('\r', "&#13;");
        self.0
            .write_event(Event::Text(BytesText::from_escaped(escaped)))
    }

    fn element(
        &mut self,
        start: BytesStart<'_>,
        content: impl FnOnce(&mut Self) -> io::Result<()>,
    ) -> io::Result<()> {
        let end = BytesEnd::new(start.name().as_ref().to_owned());
        self.0.write_event(Event::Start(start))?;
        content(self)?;
        self.0.write_event(Event::End(end))
    }
}

fn array_item(name: &str) -> BytesStart<'_> {
    BytesStart::new(name).with_attributes([(ARRAY, "true")])
}
