//! XML bodies → the tree of values, and replies → XML, event by event, by `quick-xml`.
//!
//! An element with elements in it is an object, one with text is a text whose type the field
//! decides ([`Value::Text`]), an empty one is null. Elements of one name, or a single one with the
//! attribute `array='true'`, are an array. Other attributes are ignored.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io;

use quick_xml::escape::escape;
use quick_xml::events::attributes::Attributes;
use quick_xml::events::{BytesDecl, BytesEnd, BytesRef, BytesStart, BytesText, Event};
use quick_xml::{Reader, Writer};

use super::{DEPTH_MAX, Keep, Unreadable, VALUES_MAX, utf8};
use crate::domain::value::{Object, Value};

/// The name of the root element.
const ROOT: &str = "xml";

/// The attribute that marks an element of an array.
const ARRAY: &str = "array";

/// Reads a whole body.
pub fn read(body: &[u8], keep: Keep) -> Result<Object<'_>, Unreadable> {
    let text = utf8(body)?;
    if let Some(place) = forbidden_character(text) {
        return Err(syntax(text, place));
    }
    let mut reader = Reader::from_str(text);
    reader.config_mut().check_comments = true;
    reader.config_mut().expand_empty_elements = true;
    let mut tree = Tree { keep, values: 0, open: Vec::new(), root: None };
    loop {
        let start = reader.buffer_position();
        let here = || syntax(text, start);
        let event = reader.read_event().map_err(|_| syntax(text, reader.error_position()))?;
        match event {
            Event::Start(element) => {
                let name = name_in(text, start, element.name().as_ref());
                tree.start(name, element.attributes()).map_err(|flaw| flaw.unwrap_or_else(here))?;
            }
            Event::End(_) => tree.end().map_err(|Mixed| here())?,
            Event::Text(content) if content.contains("]]>") => return Err(here()),
            Event::Text(content) => tree.text(content.xml10_content(), false).map_err(|Outside| here())?,
            Event::CData(content) => tree.text(content.xml10_content(), true).map_err(|Outside| here())?,
            Event::GeneralRef(reference) => {
                let c = character(&reference).map_err(|flaw| flaw.unwrap_or_else(here))?;
                tree.text(Cow::Owned(c.into()), true).map_err(|Outside| here())?;
            }
            Event::Decl(declaration) if start == 0 => check_encoding(&declaration)?,
            Event::Decl(_) => return Err(here()),
            Event::DocType(_) => return Err(Unreadable::Forbidden("a document type definition")),
            Event::Comment(_) | Event::PI(_) => {}
            Event::Eof => return tree.root.ok_or_else(here),
            Event::Empty(_) => unreachable!("the reader was told to make a start and an end of it"),
        }
    }
}

/// The name of the element that begins at `start`, as it stands in the body.
fn name_in<'a>(text: &'a str, start: u64, name: &str) -> Cow<'a, str> {
    let start = usize::try_from(start).unwrap_or(usize::MAX).saturating_add(1);
    match text.get(start..start.saturating_add(name.len())) {
        Some(found) if found == name => Cow::Borrowed(found),
        _ => Cow::Owned(name.to_owned()),
    }
}

/// The place of a character that no XML document may have (XML 1.0, 2.2, `Char`).
fn forbidden_character(text: &str) -> Option<u64> {
    let control = |b: u8| b < b' ' && !matches!(b, b'\t' | b'\n' | b'\r');
    let place = text.bytes().position(control).or_else(|| text.find(['\u{fffe}', '\u{ffff}']))?;
    Some(place as u64)
}

fn is_allowed(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..)
}

/// The name of an element or an attribute (XML 1.0, 2.3, `Name`; of the characters beyond ASCII all
/// but a few may be in a name, and those few do no harm).
fn is_name(name: &str) -> bool {
    let starts = |c: char| c.is_ascii_alphabetic() || matches!(c, '_' | ':') || !c.is_ascii();
    let goes_on = |c: char| starts(c) || c.is_ascii_digit() || matches!(c, '-' | '.');
    name.starts_with(starts) && name.chars().all(goes_on)
}

/// What a reference in the text stands for. Only characters and the five entities that every
/// document has; those of a document type definition do not exist, as there can be none.
fn character(reference: &BytesRef<'_>) -> Result<char, Option<Unreadable>> {
    if reference.is_char_ref() {
        let c = reference.resolve_char_ref().ok().flatten();
        return c.filter(|c| is_allowed(*c)).ok_or(None);
    }
    match reference.as_ref() {
        "amp" => Ok('&'),
        "lt" => Ok('<'),
        "gt" => Ok('>'),
        "quot" => Ok('"'),
        "apos" => Ok('\''),
        _ => Err(Some(Unreadable::Forbidden("an entity other than amp, lt, gt, quot and apos"))),
    }
}

fn check_encoding(declaration: &BytesDecl<'_>) -> Result<(), Unreadable> {
    match declaration.encoding() {
        None => Ok(()),
        Some(Ok(name)) if super::is_utf8(&name) => Ok(()),
        Some(_) => Err(Unreadable::NotUtf8),
    }
}

/// Says where; what the reader says itself may quote the body.
fn syntax(text: &str, place: u64) -> Unreadable {
    let place = usize::try_from(place).unwrap_or(usize::MAX).min(text.len());
    let before = &text.as_bytes()[..place];
    let line = 1 + before.iter().filter(|b| **b == b'\n').count();
    let column = 1 + before.iter().rev().take_while(|b| **b != b'\n').count();
    Unreadable::Syntax(format!("the body is not XML at line {line}, column {column}"))
}

/// The elements that are open, the outermost first, and the root once it has ended.
struct Tree<'a> {
    keep: Keep,
    /// How many elements there are in the root so far.
    values: usize,
    open: Vec<Element<'a>>,
    root: Option<Object<'a>>,
}

struct Element<'a> {
    name: Cow<'a, str>,
    is_array: bool,
    fields: Fields<'a>,
    /// Also where they are not kept.
    has_children: bool,
    text: Cow<'a, str>,
    /// Also where it is not kept: there is more than blanks between elements. Those in a CDATA
    /// section or a reference are meant.
    has_text: bool,
}

/// Text and elements side by side in one element: which is meant?
struct Mixed;

/// Text outside of the root element.
struct Outside;

impl<'a> Tree<'a> {
    /// An error of `None` is a syntax error.
    fn start(&mut self, name: Cow<'a, str>, attributes: Attributes<'_>) -> Result<(), Option<Unreadable>> {
        if self.open.len() >= DEPTH_MAX {
            return Err(Some(Unreadable::TooDeep));
        }
        let mut is_array = false;
        for attribute in attributes {
            let attribute = attribute.map_err(|_| None)?;
            if !is_name(attribute.key.as_ref()) || attribute.value.contains('<') {
                return Err(None);
            }
            is_array |= attribute.key.as_ref() == ARRAY && attribute.value.as_ref() == "true";
        }
        if !is_name(&name) || (self.open.is_empty() && self.root.is_some()) {
            return Err(None);
        }
        if self.open.is_empty() && name != ROOT {
            return Err(Some(Unreadable::OtherRoot));
        }
        if let Some(parent) = self.open.last_mut() {
            parent.has_children = true;
            self.values += 1;
        }
        if self.values > VALUES_MAX && self.keep == Keep::Everything {
            return Err(Some(Unreadable::TooManyValues));
        }
        self.open.push(Element {
            name,
            is_array,
            fields: Fields::default(),
            has_children: false,
            text: Cow::Borrowed(""),
            has_text: false,
        });
        Ok(())
    }

    fn text(&mut self, text: Cow<'a, str>, is_literal: bool) -> Result<(), Outside> {
        let keeps = self.keeps_content();
        let Some(element) = self.open.last_mut() else {
            return if !is_literal && is_blank(&text) { Ok(()) } else { Err(Outside) };
        };
        element.has_text |= is_literal || !is_blank(&text);
        if !keeps {
            return Ok(());
        }
        if element.text.is_empty() {
            element.text = text;
        } else {
            element.text.to_mut().push_str(&text);
        }
        Ok(())
    }

    /// Whether what stands in the innermost element is kept: of a body over the size limit only
    /// the texts of the top-level fields are.
    fn keeps_content(&self) -> bool {
        match self.keep {
            Keep::Everything => true,
            Keep::TopLevel(names) => match self.open.as_slice() {
                [_] => true,
                [_, field] => names.contains(&field.name.as_ref()),
                _ => false,
            },
        }
    }

    fn end(&mut self) -> Result<(), Mixed> {
        // The reader has checked that starts and ends match.
        let Some(element) = self.open.pop() else {
            return Err(Mixed);
        };
        let (name, is_array) = (element.name, element.is_array);
        let value = match (element.has_children, element.has_text) {
            (true, true) => return Err(Mixed),
            (true, false) => Value::Object(Object::from_distinct(element.fields.fields).compact()),
            (false, true) => Value::Text(element.text),
            (false, false) => Value::Null,
        };
        let (keeps, keeps_items) = match self.keep {
            Keep::Everything => (true, true),
            Keep::TopLevel(names) => (self.open.len() == 1 && names.contains(&name.as_ref()), false),
        };
        match (self.open.last_mut(), value) {
            (Some(parent), value) if keeps => parent.fields.add(name, value, is_array, keeps_items),
            (Some(_), _) => {}
            (None, Value::Object(object)) => self.root = Some(object),
            (None, Value::Null) => self.root = Some(Object::default()),
            (None, _) => return Err(Mixed),
        }
        Ok(())
    }
}

fn is_blank(text: &str) -> bool {
    text.bytes().all(|b| matches!(b, b' ' | b'\t' | b'\n' | b'\r'))
}

/// The fields of an object, in the order in which their names come up first.
#[derive(Default)]
struct Fields<'a> {
    fields: Vec<(Cow<'a, str>, Value<'a>)>,
    /// Where each name stands, once there are many.
    places: HashMap<Cow<'a, str>, usize>,
}

/// Among so few fields a name is found by looking at each.
const FEW_FIELDS: usize = 24;

impl<'a> Fields<'a> {
    /// Adds the value of an element. Without `keeps_items` an array is left empty.
    fn add(&mut self, name: Cow<'a, str>, value: Value<'a>, is_array: bool, keeps_items: bool) {
        if let Some(place) = self.place(&name) {
            append(&mut self.fields[place].1, value, keeps_items);
            return;
        }
        let value = match (is_array, keeps_items) {
            (false, _) => value,
            (true, true) => Value::Array(vec![value]),
            (true, false) => Value::Array(Vec::new()),
        };
        if self.fields.len() >= FEW_FIELDS {
            self.places.insert(name.clone(), self.fields.len());
        }
        self.fields.push((name, value));
    }

    fn place(&self, name: &str) -> Option<usize> {
        // Elements of an array follow each other, mostly.
        let few = &self.fields[..self.fields.len().min(FEW_FIELDS)];
        few.iter().rposition(|(known, _)| known == name).or_else(|| self.places.get(name).copied())
    }
}

/// No single element is an array of its own, so an array can only be elements of one name.
fn append<'a>(field: &mut Value<'a>, value: Value<'a>, keeps_items: bool) {
    match field {
        Value::Array(items) if keeps_items => items.push(value),
        _ if keeps_items => {
            let first = std::mem::replace(field, Value::Null);
            *field = Value::Array(vec![first, value]);
        }
        _ => *field = Value::Array(Vec::new()),
    }
}

/// Writes a document with the root element, into memory.
pub fn write(content: impl FnOnce(&mut Elements) -> io::Result<()>) -> Vec<u8> {
    let mut elements = Elements(Writer::new(Vec::with_capacity(128)));
    match elements.object(ROOT, content) {
        Ok(()) => elements.0.into_inner(),
        Err(_) => unreachable!("memory can always be written to"),
    }
}

/// A document that is being written.
#[expect(missing_debug_implementations, reason = "the library's writer has none")]
pub struct Elements(Writer<Vec<u8>>);

impl Elements {
    /// An element with a text.
    pub fn text(&mut self, name: &str, text: &str) -> io::Result<()> {
        // A reader takes a bare carriage return for the end of a line (XML 1.0, 2.11).
        let escaped = escape(text).replace('\r', "&#13;");
        let text = Event::Text(BytesText::from_escaped(escaped));
        self.element(BytesStart::new(name), |elements| elements.0.write_event(text))
    }

    /// An element with elements in it.
    pub fn object(&mut self, name: &str, content: impl FnOnce(&mut Self) -> io::Result<()>) -> io::Result<()> {
        self.element(BytesStart::new(name), content)
    }

    /// An element of an array, with elements in it.
    pub fn item(&mut self, name: &str, content: impl FnOnce(&mut Self) -> io::Result<()>) -> io::Result<()> {
        self.element(BytesStart::new(name).with_attributes([(ARRAY, "true")]), content)
    }

    fn element(&mut self, start: BytesStart<'_>, content: impl FnOnce(&mut Self) -> io::Result<()>) -> io::Result<()> {
        let end = BytesEnd::new(start.name().as_ref().to_owned());
        self.0.write_event(Event::Start(start))?;
        content(self)?;
        self.0.write_event(Event::End(end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(body: &str) -> Result<Object<'_>, Unreadable> {
        read(body.as_bytes(), Keep::Everything)
    }

    /// The tree as JSON, where texts are strings.
    fn written(content: &str) -> String {
        let body = format!("<xml>{content}</xml>");
        let object = read_all(&body).unwrap_or_else(|error| panic!("{content}: {error}"));
        serde_json::to_string(&Value::Object(object)).unwrap()
    }

    fn flaw(body: &str) -> String {
        read_all(body).unwrap_err().to_string()
    }

    #[test]
    fn elements_become_fields() {
        for (content, json) in [
            ("", r#"{}"#),
            ("  \n ", r#"{}"#),
            ("<a>1</a><b>x y</b>", r#"{"a":"1","b":"x y"}"#),
            ("<a><b><c>1</c></b></a>", r#"{"a":{"b":{"c":"1"}}}"#),
            ("\n <a>\n  <b>1</b>\n </a>\n", r#"{"a":{"b":"1"}}"#),
            ("<a/><b></b><c> \n</c>", r#"{"a":null,"b":null,"c":null}"#),
        ] {
            assert_eq!(written(content), json, "{content}");
        }
    }

    #[test]
    fn marked_or_repeated_elements_are_an_array() {
        for (content, json) in [
            ("<a array='true'>1</a>", r#"{"a":["1"]}"#),
            ("<a array=\"true\">1</a><a array='true'>2</a>", r#"{"a":["1","2"]}"#),
            ("<a>1</a><a>2</a>", r#"{"a":["1","2"]}"#),
            ("<a array='true'>1</a><b>x</b><a>2</a>", r#"{"a":["1","2"],"b":"x"}"#),
            ("<a array='true'><b array='true'>1</b></a>", r#"{"a":[{"b":["1"]}]}"#),
            ("<a array='true'/>", r#"{"a":[null]}"#),
            ("<a array='false'>1</a><b type='x' array=''>2</b>", r#"{"a":"1","b":"2"}"#),
        ] {
            assert_eq!(written(content), json, "{content}");
        }
    }

    #[test]
    fn text_is_what_a_reader_of_xml_sees() {
        for (content, json) in [
            ("<a>x &lt;&amp;&gt;&quot;&apos;</a>", r#"{"a":"x <&>\"'"}"#),
            ("<a>&#1046;&#x416;</a>", r#"{"a":"ЖЖ"}"#),
            ("<a><![CDATA[<b>&amp;]]></a>", r#"{"a":"<b>&amp;"}"#),
            ("<a>x<![CDATA[y]]>z</a>", r#"{"a":"xyz"}"#),
            ("<a>x<!-- no -->y<?p?>z</a>", r#"{"a":"xyz"}"#),
            ("<a> x </a>", r#"{"a":" x "}"#),
            ("<a><![CDATA[]]></a><b>&#32;</b>", r#"{"a":"","b":" "}"#),
            ("<a>1\r\n2\r3</a>", r#"{"a":"1\n2\n3"}"#),
            ("<!-- <a>1</a> --><b>2</b>", r#"{"b":"2"}"#),
        ] {
            assert_eq!(written(content), json, "{content}");
        }
    }

    #[test]
    fn a_declaration_and_a_byte_order_mark_may_come_first() {
        for body in [
            "<?xml version='1.0'?><xml><a>1</a></xml>",
            "\u{feff}<?xml version=\"1.0\" encoding=\"UTF-8\" standalone='yes'?>\n<!-- x --><xml><a>1</a></xml>\n<!-- y -->",
            "\u{feff} <xml><a>1</a></xml>",
        ] {
            assert_eq!(
                serde_json::to_string(&Value::Object(read_all(body).unwrap())).unwrap(),
                r#"{"a":"1"}"#,
                "{body}"
            );
        }
    }

    #[test]
    fn only_utf8_is_read() {
        assert_eq!(flaw("<?xml version='1.0' encoding='windows-1251'?><xml/>"), "the body is not UTF-8");
        assert!(matches!(read(b"<xml><a>\xcf</a></xml>", Keep::Everything), Err(Unreadable::NotUtf8)));
        assert!(matches!(read(b"\xff\xfe<\0x\0", Keep::Everything), Err(Unreadable::NotUtf8)));
    }

    #[test]
    fn definitions_and_foreign_entities_are_refused() {
        for body in [
            "<!DOCTYPE xml><xml/>",
            "<!DOCTYPE xml SYSTEM 'file:///etc/passwd'><xml/>",
            "<!DOCTYPE xml [<!ENTITY a 'x'><!ENTITY b '&a;&a;&a;'>]><xml><a>&b;</a></xml>",
            "<xml><a><!DOCTYPE a></a></xml>",
        ] {
            assert_eq!(flaw(body), "a document type definition is not allowed in XML", "{body}");
        }
        let text = "an entity other than amp, lt, gt, quot and apos is not allowed in XML";
        assert_eq!(flaw("<xml><a>&nbsp;</a></xml>"), text);
    }

    #[test]
    fn what_is_not_well_formed_is_unreadable() {
        for (body, place) in [
            ("<xml>", "line 1, column 6"),
            ("<xml><a></xml>", "line 1, column 9"),
            ("<xml>\n<a>1</b></xml>", "line 2, column 5"),
            ("<xml><a>1</a>", "line 1, column 14"),
            ("<xml/><xml/>", "line 1, column 7"),
            ("<xml/>x", "line 1, column 7"),
            ("x<xml/>", "line 1, column 1"),
            ("<xml>x</xml>", "line 1, column 7"),
            ("<xml>x<a/></xml>", "line 1, column 11"),
            ("<xml><a b=1/></xml>", "line 1, column 6"),
            ("<xml><a b='1' b='2'/></xml>", "line 1, column 6"),
            ("<xml><a b='<'/></xml>", "line 1, column 6"),
            ("<xml><1a/></xml>", "line 1, column 6"),
            ("<xml><a=1/></xml>", "line 1, column 6"),
            ("<xml><a>]]></a></xml>", "line 1, column 9"),
            ("<xml>& </xml>", "line 1, column 6"),
            ("<xml><a>&#0;</a></xml>", "line 1, column 9"),
            ("<xml><a>&#xD800;</a></xml>", "line 1, column 9"),
            ("<xml><a>\u{1}</a></xml>", "line 1, column 9"),
            ("<xml><a>\u{ffff}</a></xml>", "line 1, column 9"),
            (" <?xml version='1.0'?><xml/>", "line 1, column 2"),
            ("", "line 1, column 1"),
            ("<!-- -- --><xml/>", "line 1, column 6"),
        ] {
            assert_eq!(flaw(body), format!("the body is not XML at {place}"), "{body}");
        }
        assert_eq!(flaw("<html/>"), "the root element is not <xml>");
    }

    #[test]
    fn nesting_ends_at_64() {
        let nested = |depth: usize| format!("<xml>{}{}</xml>", "<a>".repeat(depth - 1), "</a>".repeat(depth - 1));
        assert!(read_all(&nested(64)).is_ok());
        assert!(matches!(read_all(&nested(65)), Err(Unreadable::TooDeep)));
        assert!(matches!(read_all(&nested(100_000)), Err(Unreadable::TooDeep)));
    }

    #[test]
    fn the_top_level_alone_keeps_names_and_texts() {
        let body = b"<xml><db_id>1</db_id><data><a>1</a><b><c>2</c></b></data><x array='true'>1</x></xml>";
        let object = read(body, Keep::TopLevel(&["db_id", "data", "x"])).unwrap();
        assert_eq!(object.get("db_id"), Some(&Value::Text("1".into())));
        assert_eq!(object.get("data"), Some(&Value::Object(Object::default())));
        assert_eq!(object.get("x"), Some(&Value::Array(vec![])));
        assert_eq!(read(body, Keep::TopLevel(&["x"])).unwrap().iter().count(), 1);
        let repeated = read(b"<xml><x>1</x><x>2</x><x>3</x></xml>", Keep::TopLevel(&["x"])).unwrap();
        assert_eq!(repeated.get("x"), Some(&Value::Array(vec![])));
        for bad in
            ["<data><a></data>", "<data>x<a/></data>", "<data><a>x<b/></a></data>", "<data><a>&#32;<b/></a></data>"]
        {
            let body = format!("<xml>{bad}</xml>");
            assert!(read(body.as_bytes(), Keep::Everything).is_err(), "{bad}");
            assert!(read(body.as_bytes(), Keep::TopLevel(&["data"])).is_err(), "{bad}");
        }
    }

    #[test]
    fn values_have_a_limit() {
        let elements = |count: usize| format!("<xml><a>{}</a></xml>", "<b/>".repeat(count - 1));
        assert!(read_all(&elements(VALUES_MAX)).is_ok());
        assert!(matches!(read_all(&elements(VALUES_MAX + 1)), Err(Unreadable::TooManyValues)));
        assert!(read(elements(VALUES_MAX + 1).as_bytes(), Keep::TopLevel(&["a"])).is_ok());
    }

    #[test]
    fn many_attributes_or_names_take_no_longer_than_their_length() {
        let attributes: String = (0..100_000).map(|i| format!(" a{i}='1'")).collect();
        assert_eq!(written(&format!("<a{attributes}>1</a>")), r#"{"a":"1"}"#);
        let names: String = (0..100_000).map(|i| format!("<a{i}/>")).collect();
        assert!(written(&names).starts_with(r#"{"a0":null"#));
    }

    #[test]
    fn what_is_written_is_read_again() {
        let body = write(|xml| {
            xml.text("a", "1 < 2 &\r \"x\"")?;
            xml.item("b", |xml| xml.text("c", ""))
        });
        assert_eq!(
            std::str::from_utf8(&body).unwrap(),
            r#"<xml><a>1 &lt; 2 &amp;&#13; &quot;x&quot;</a><b array="true"><c></c></b></xml>"#
        );
        let read = read(&body, Keep::Everything).unwrap();
        assert_eq!(serde_json::to_string(&Value::Object(read)).unwrap(), r#"{"a":"1 < 2 &\r \"x\"","b":[{"c":null}]}"#);
    }
}
