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

/// Why an event does not fit: `None` is a syntax error, at the place where the reader is.
pub(super) type Flaw = Option<Unreadable>;

impl<'a> Tree<'a> {
    /// Nothing came in yet.
    pub(super) fn new(keep: Keep) -> Self {
        Self {
            keep,
            values: 0,
            open: Vec::new(),
            root: None,
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
            return Err(Some(Unreadable::TooDeep));
        }
        let is_array = is_array(element.attributes()).ok_or(None)?;
        let name = element.name();
        let name = name.as_ref();
        if !is_name(name) || (self.open.is_empty() && self.root.is_some()) {
            return Err(None);
        }
        if self.open.is_empty() && name != ROOT {
            return Err(Some(Unreadable::OtherRoot));
        }
        if let Some(parent) = self.open.last_mut() {
            parent.has_children = true;
            self.values += 1;
        }
        let keeps_fields = self.keep == Keep::Everything || self.open.len() <= 1;
        let name = if keeps_fields {
            kept_name(name)
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
        let Some(element) = self.open.last_mut() else {
            return if says_something { Err(None) } else { Ok(()) };
        };
        element.has_text |= says_something;
        if keeps {
            add_to(&mut element.text);
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
            return Err(None);
        };
        let (name, is_array) = (element.name, element.is_array);
        let value = match (element.has_children, element.has_text) {
            // Text and elements side by side: which is meant?
            (true, true) => return Err(None),
            (true, false) => Value::Object(Object::from_distinct(element.fields.fields).compact()),
            (false, true) => Value::Text(element.text),
            (false, false) => Value::Null,
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
            (None, Value::Null) => self.root = Some(Object::default()),
            (None, _) => return Err(None),
        }
        Ok(())
    }
}

/// Whether the attributes mark an element of an array; `None` where they are not well-formed.
fn is_array(attributes: Attributes<'_>) -> Option<bool> {
    let mut is_array = false;
    for attribute in attributes {
        let attribute = attribute.ok()?;
        if !is_name(attribute.key.as_ref()) || attribute.value.contains('<') {
            return None;
        }
        is_array |= attribute.key.as_ref() == ARRAY && attribute.value.as_ref() == "true";
    }
    Some(is_array)
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
    let starts = |c: char| c.is_ascii_alphabetic() || matches!(c, '_' | ':') || !c.is_ascii();
    let goes_on = |c: char| starts(c) || c.is_ascii_digit() || matches!(c, '-' | '.');
    name.starts_with(starts) && name.chars().all(goes_on)
}
