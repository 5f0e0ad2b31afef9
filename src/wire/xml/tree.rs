//! The tree of values, as the events of a document come in.

use std::borrow::Cow;

use quick_xml::events::BytesStart;
use quick_xml::events::attributes::Attributes;

use super::names::{ARRAY, ROOT};
use crate::domain::value::{Indices, Object, Value};
use crate::wire::{DEPTH_MAX, ITEMS_MAX, Keep, Outline, Unreadable};

/// The elements that are open, the outermost first, and the root once it has ended.
pub(super) struct Tree<'a> {
    keep: Keep,
    /// How many elements there are in the root so far.
    values: usize,
    open: Vec<Element<'a>>,
    root: Option<Object<'a>>,
    /// The namespace prefixes that are declared here, each with the number of elements that were
    /// open when it was.
    prefixes: Vec<(usize, Box<str>)>,
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

/// Why an event does not fit.
pub(super) enum Flaw {
    /// What is wrong at the place where the reader is.
    Here(&'static str),
    /// What is wrong with the document.
    Anywhere(Unreadable),
}

/// What is wrong with a text that is not well-formed.
pub(super) const NOT_XML: &str = "the body is not XML";

/// An element has texts or elements in it. With both, which are meant?
const BOTH: &str = "text beside elements";

/// More namespace prefixes can't be declared at one place: each name is looked up among them.
const PREFIXES_MAX: usize = 100;

impl<'a> Tree<'a> {
    /// Nothing came in yet.
    pub(super) fn new(keep: Keep) -> Self {
        Self {
            keep,
            values: 0,
            open: Vec::new(),
            root: None,
            prefixes: Vec::new(),
        }
    }

    /// The whole document; `None` where the root element is missing.
    pub(super) fn finish(self) -> Option<Outline<'a>> {
        Some(Outline {
            fields: self.root?,
            values: self.values,
        })
    }

    /// An element begins.
    pub(super) fn start(
        &mut self,
        element: &BytesStart<'_>,
        kept_name: impl FnOnce(&str) -> Cow<'a, str>,
    ) -> Result<(), Flaw> {
        if self.open.len() >= DEPTH_MAX {
            return Err(Flaw::Anywhere(Unreadable::TooDeep));
        }
        let is_array = self.read_attributes(element.attributes())?;
        let name = element.name();
        let name = name.as_ref();
        let local = self.local_name(name)?;
        if self.open.is_empty() && self.root.is_some() {
            return Err(Flaw::Here(NOT_XML));
        }
        if self.open.is_empty() && local != ROOT {
            return Err(Flaw::Anywhere(Unreadable::OtherRoot(known_document(local))));
        }
        if let Some(parent) = self.open.last_mut() {
            if parent.has_text {
                return Err(Flaw::Here(BOTH));
            }
            parent.has_children = true;
            self.values += 1;
        }
        let keeps_fields = self.keep == Keep::Everything || self.open.len() <= 1;
        let name = if keeps_fields {
            without_prefix(kept_name(name), name.len() - local.len())
        } else {
            Cow::Borrowed("")
        };
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

    /// Text that stands in the innermost element. Blanks between elements say nothing; outside of
    /// the root nothing else may stand.
    pub(super) fn text(
        &mut self,
        says_something: bool,
        add_to: impl FnOnce(&mut Cow<'a, str>),
    ) -> Result<(), Flaw> {
        let keeps = self.keeps_content();
        let is_root = self.open.len() == 1;
        match self.open.last_mut() {
            None if says_something => return Err(Flaw::Here(NOT_XML)),
            None => return Ok(()),
            Some(element) if says_something && element.has_children => {
                return Err(Flaw::Here(BOTH));
            }
            Some(_) if says_something && is_root => {
                return Err(Flaw::Here("text where elements are wanted"));
            }
            Some(element) => {
                element.has_text |= says_something;
                if keeps {
                    add_to(&mut element.text);
                }
            }
        }
        Ok(())
    }

    /// Whether what stands in the innermost element is kept: of an outline only the texts of the
    /// top-level fields are.
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

    /// The innermost element ends.
    pub(super) fn end(&mut self) -> Result<(), Flaw> {
        // The reader has checked that starts and ends match.
        let Some(element) = self.open.pop() else {
            return Err(Flaw::Here(NOT_XML));
        };
        while self
            .prefixes
            .pop_if(|(depth, _)| *depth == self.open.len())
            .is_some()
        {}
        let (name, is_array) = (element.name, element.is_array);
        let value = if element.has_children {
            Value::Object(Object::from_distinct(element.fields.fields).compact())
        } else if element.has_text {
            Value::Text(element.text)
        } else {
            Value::Null
        };
        let (keeps, keeps_items) = match self.keep {
            Keep::Everything => (true, true),
            Keep::TopLevel(names) => (
                self.open.len() == 1 && names.contains(&name.as_ref()),
                false,
            ),
        };
        match (self.open.last_mut(), value) {
            (Some(parent), value) if keeps => parent.fields.add(name, value, is_array, keeps_items),
            (Some(_), _) => {}
            (None, Value::Object(object)) => self.root = Some(object),
            (None, _) => self.root = Some(Object::default()),
        }
        Ok(())
    }
}

impl Tree<'_> {
    /// Takes note of the namespace prefixes that an element declares; tells whether it is marked
    /// as an element of an array.
    fn read_attributes(&mut self, attributes: Attributes<'_>) -> Result<bool, Flaw> {
        let mut is_array = false;
        for attribute in attributes {
            let attribute = attribute.map_err(|_| Flaw::Here(NOT_XML))?;
            let (name, value) = (attribute.key.as_ref(), attribute.value.as_ref());
            if !is_name(name) || value.contains('<') {
                return Err(Flaw::Here(NOT_XML));
            }
            if name == ARRAY {
                is_array = is_true(value);
            } else if let Some(prefix) = name.strip_prefix("xmlns:") {
                if self.prefixes.len() >= PREFIXES_MAX {
                    let what = "to declare more than 100 namespace prefixes at one place";
                    return Err(Flaw::Anywhere(Unreadable::Forbidden(what)));
                }
                self.prefixes.push((self.open.len(), prefix.into()));
            }
        }
        Ok(is_array)
    }

    /// The name of an element without its prefix (Namespaces in XML 1.0, 3 and 4). Which namespace
    /// that stands for is not looked at.
    fn local_name<'n>(&self, name: &'n str) -> Result<&'n str, Flaw> {
        let Some(colon) = name.bytes().position(|byte| byte == b':') else {
            return is_name(name).then_some(name).ok_or(Flaw::Here(NOT_XML));
        };
        let (prefix, local) = (&name[..colon], &name[colon + 1..]);
        if !is_name(prefix) || !is_name(local) || local.contains(':') {
            return Err(Flaw::Here(NOT_XML));
        }
        let mut declared = self.prefixes.iter().map(|(_, known)| known.as_ref());
        if prefix == "xml" || declared.any(|known| known == prefix) {
            Ok(local)
        } else {
            Err(Flaw::Here("a namespace prefix that is not declared"))
        }
    }
}

/// XML Schema's `true`, and as Python writes it.
fn is_true(value: &str) -> bool {
    let value = value.trim();
    value == "1" || value.eq_ignore_ascii_case("true")
}

fn without_prefix(name: Cow<'_, str>, length: usize) -> Cow<'_, str> {
    match name {
        Cow::Borrowed(name) => Cow::Borrowed(&name[length..]),
        Cow::Owned(mut name) => Cow::Owned(name.split_off(length)),
    }
}

/// What a document with this root element is, for an error text, where everybody knows it.
fn known_document(root: &str) -> &'static str {
    match root {
        "Envelope" => ": this is a SOAP envelope",
        "methodCall" => ": this is a call of XML-RPC",
        "html" => ": this is an HTML page",
        _ => "",
    }
}

/// The fields of an object, in the order in which their names come up first.
#[derive(Default)]
struct Fields<'a> {
    fields: Vec<(Cow<'a, str>, Value<'a>)>,
    /// Where the names stand that come after the first few.
    indices: Option<Box<Indices>>,
}

/// Among so few fields a name is found by looking at each.
const FEW_FIELDS: usize = 24;

impl<'a> Fields<'a> {
    /// Adds the value of an element. Without `keeps_items` it is an array's number of items that
    /// counts, and not what they are.
    fn add(&mut self, name: Cow<'a, str>, value: Value<'a>, is_array: bool, keeps_items: bool) {
        let kept_item = |value| if keeps_items { value } else { Value::Null };
        if let Some(index) = self.index(&name) {
            append(&mut self.fields[index].1, value, kept_item, keeps_items);
            return;
        }
        let value = if is_array {
            Value::Array(vec![kept_item(value)])
        } else {
            value
        };
        let index = self.fields.len();
        self.fields.push((name, value));
        if index >= FEW_FIELDS {
            self.indices
                .get_or_insert_default()
                .find_or_add(&self.fields, index);
        }
    }

    fn index(&self, name: &str) -> Option<usize> {
        // Elements of an array follow each other, mostly.
        let few = &self.fields[..self.fields.len().min(FEW_FIELDS)];
        let among_few = few.iter().rposition(|(known, _)| known == name);
        among_few.or_else(|| self.indices.as_ref()?.find(&self.fields, name))
    }
}

/// No single element is an array of its own, so an array can only be elements of one name.
fn append<'a>(
    field: &mut Value<'a>,
    value: Value<'a>,
    kept_item: impl Fn(Value<'a>) -> Value<'a>,
    keeps_items: bool,
) {
    match field {
        Value::Array(items) if keeps_items || items.len() < ITEMS_MAX => {
            items.push(kept_item(value))
        }
        Value::Array(_) => {}
        _ => {
            let first = kept_item(std::mem::replace(field, Value::Null));
            *field = Value::Array(vec![first, kept_item(value)]);
        }
    }
}

/// The name of an element or an attribute (XML 1.0, 2.3, `Name`; of the characters beyond ASCII all
/// but a few may be in a name, and those few do no harm).
fn is_name(name: &str) -> bool {
    let starts = |b: u8| b.is_ascii_alphabetic() || matches!(b, b'_' | b':') || !b.is_ascii();
    let goes_on = |b: u8| starts(b) || b.is_ascii_digit() || matches!(b, b'-' | b'.');
    name.bytes().next().is_some_and(starts) && name.bytes().all(goes_on)
}
