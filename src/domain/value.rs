//! The tree of values that every request body becomes, whatever its format.
//!
//! The `wire` module builds it, the rest of `domain` reads it. Strings are borrowed from the body
//! where the format allows. Numbers keep their digits: what is stored is what was sent.

use std::borrow::Cow;
use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;
use serde::Serialize;
use serde::ser::{SerializeMap, SerializeSeq, Serializer};
use serde_json::value::RawValue;

use super::blank::is_blank;

/// One value of a request body.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    /// `null`: the same as not given.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number, as the digits that were sent.
    Number(Cow<'a, str>),
    /// A string.
    String(Cow<'a, str>),
    /// The text of an XML element: what it is, the field decides. A string where no field does.
    Text(Cow<'a, str>),
    /// An array.
    Array(Vec<Value<'a>>),
    /// An object in the order of the document.
    Object(Object<'a>),
}

/// What stands for half of a surrogate pair (`\ud83d` alone), which is an escape
/// of JSON and stands for nothing that a text can hold. As a text with U+0000 can't be stored
/// either, each that is looked at is refused without another look.
pub const HALF_SURROGATE: &str = "\0\u{ffff}";

/// A value as JSON text, to be stored or sent as it is.
#[derive(Debug, Clone, Serialize)]
#[serde(transparent)]
pub struct Json(Box<RawValue>);

impl Json {
    /// The text.
    pub fn as_str(&self) -> &str {
        self.0.get()
    }
}

impl PartialEq for Json {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl From<&Value<'_>> for Json {
    fn from(value: &Value<'_>) -> Self {
        match serde_json::value::to_raw_value(value) {
            Ok(text) => Self(text),
            // Strings are UTF-8, and the digits of a number were read from a document.
            Err(_) => unreachable!("a tree that was read can be written"),
        }
    }
}

/// The fields of an object in the order of the document, each name once.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Object<'a>(Vec<(Cow<'a, str>, Value<'a>)>);

impl<'a> Object<'a> {
    /// Collects fields; of several with one name the last counts, as in most JSON readers and in
    /// PostgreSQL's jsonb.
    pub fn from_fields(fields: Vec<(Cow<'a, str>, Value<'a>)>) -> Self {
        if has_repeated_name(&fields) {
            Self(keep_last(fields))
        } else {
            Self(fields)
        }
    }

    /// Takes fields, each of which has a name of its own.
    pub fn from_distinct(fields: Vec<(Cow<'a, str>, Value<'a>)>) -> Self {
        Self(fields)
    }

    /// A small object without the room that it has not used: a document may have hundreds of
    /// thousands of these.
    #[must_use]
    pub fn compact(mut self) -> Self {
        if self.0.len() < FEW_FIELDS {
            self.0.shrink_to_fit();
        }
        self
    }

    /// Returns the same object with what `replaced` makes of its names and texts.
    pub fn with_texts<'b>(self, replaced: &impl Fn(Cow<'a, str>) -> Cow<'b, str>) -> Object<'b> {
        let fields = self.0.into_iter();
        let fields = fields.map(|(name, value)| (replaced(name), value.with_texts(replaced)));
        Object(fields.collect())
    }

    /// The value of a field; `None` where it is absent or null.
    pub fn get(&self, name: &str) -> Option<&Value<'a>> {
        self.0
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value)
            .filter(|value| **value != Value::Null)
    }

    /// The fields in the order of the document, nulls included.
    pub fn into_fields(self) -> impl Iterator<Item = (Cow<'a, str>, Value<'a>)> {
        self.0.into_iter()
    }

    /// The fields in the order of the document, nulls included.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value<'a>)> {
        self.0.iter().map(|(name, value)| (name.as_ref(), value))
    }
}

/// An object with fewer is small. Larger ones waste little.
const FEW_FIELDS: usize = 4;

/// Small objects, which is nearly all of them, are compared pair by pair without an allocation.
const PAIRWISE_MAX: usize = 24;

fn has_repeated_name(fields: &[(Cow<'_, str>, Value<'_>)]) -> bool {
    if fields.len() <= PAIRWISE_MAX {
        return fields
            .iter()
            .enumerate()
            .any(|(i, (name, _))| fields[..i].iter().any(|(earlier, _)| earlier == name));
    }
    let mut indices = Indices::default();
    (0..fields.len()).any(|index| indices.find_or_add(fields, index).is_some())
}

fn keep_last<'a>(mut fields: Vec<(Cow<'a, str>, Value<'a>)>) -> Vec<(Cow<'a, str>, Value<'a>)> {
    let mut indices = Indices::default();
    // Beginning with the last field, so that they are taken from the end for the first field on.
    let mut kept: Vec<bool> = (0..fields.len())
        .rev()
        .map(|index| indices.find_or_add(&fields, index).is_none())
        .collect();
    fields.retain(|_| kept.pop() == Some(true));
    fields
}

/// Where the names of an object's fields stand, for objects of many fields. Only the places are
/// kept: a million of them take 19 MB, where a set of the names takes 36 and a map of them 69.
#[derive(Debug, Default)]
pub struct Indices {
    table: HashTable<usize>,
    hasher: RandomState,
}

impl Indices {
    /// The place among `fields`, which are those that the places were added of, of this name.
    pub fn find(&self, fields: &[(Cow<'_, str>, Value<'_>)], name: &str) -> Option<usize> {
        self.table
            .find(self.hasher.hash_one(name), |index| fields[*index].0 == name)
            .copied()
    }

    /// The place of an earlier field with the same name as the one at `place`; else adds `place`.
    pub fn find_or_add(
        &mut self,
        fields: &[(Cow<'_, str>, Value<'_>)],
        index: usize,
    ) -> Option<usize> {
        let name = |index: usize| fields[index].0.as_ref();
        let found = self.find(fields, name(index));
        if found.is_none() {
            let hasher = |index: &usize| self.hasher.hash_one(name(*index));
            self.table
                .insert_unique(self.hasher.hash_one(name(index)), index, hasher);
        }
        found
    }
}

impl<'a> Value<'a> {
    /// What this value is, in the words of an error text.
    pub fn describe(&self) -> &'static str {
        match self {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::String(_) => "a string",
            Value::Text(_) => "a text",
            Value::Array(_) => "an array",
            Value::Object(_) => "an object",
        }
    }

    /// Whether nothing is given: null, or nothing to see in a string.
    pub fn is_blank(&self) -> bool {
        match self {
            Value::Null => true,
            Value::String(text) | Value::Text(text) => is_blank(text),
            _ => false,
        }
    }

    /// Whether a text of XML is in it. JSON has none.
    pub fn has_text(&self) -> bool {
        match self {
            Value::Text(_) => true,
            Value::Array(items) => items.iter().any(Value::has_text),
            Value::Object(object) => object.iter().any(|(_, value)| value.has_text()),
            _ => false,
        }
    }

    /// Returns the same value with what `replaced` makes of the names and texts in it.
    fn with_texts<'b>(self, replaced: &impl Fn(Cow<'a, str>) -> Cow<'b, str>) -> Value<'b> {
        match self {
            Value::Null => Value::Null,
            Value::Bool(value) => Value::Bool(value),
            Value::Number(digits) => Value::Number(replaced(digits)),
            Value::String(text) => Value::String(replaced(text)),
            Value::Text(text) => Value::Text(replaced(text)),
            Value::Array(items) => {
                let items = items.into_iter().map(|item| item.with_texts(replaced));
                Value::Array(items.collect())
            }
            Value::Object(object) => Value::Object(object.with_texts(replaced)),
        }
    }

    /// A text of XML without what `trim` takes away around it; any other value as it is.
    #[must_use]
    pub fn trimmed(self, trim: fn(&str) -> &str) -> Self {
        match self {
            Value::Text(text) => Value::Text(trimmed(text, trim)),
            other => other,
        }
    }
}

/// Returns a text without what `trim` takes away around it.
pub fn trimmed(text: Cow<'_, str>, trim: fn(&str) -> &str) -> Cow<'_, str> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(trim(text)),
        Cow::Owned(text) if trim(&text).len() < text.len() => Cow::Owned(trim(&text).to_owned()),
        owned => owned,
    }
}

impl Serialize for Value<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::Null => serializer.serialize_unit(),
            Value::Bool(value) => serializer.serialize_bool(*value),
            Value::Number(digits) => digits
                .parse::<serde_json::Number>()
                .map_err(serde::ser::Error::custom)?
                .serialize(serializer),
            Value::String(text) | Value::Text(text) => serializer.serialize_str(text),
            Value::Array(items) => {
                let mut out = serializer.serialize_seq(Some(items.len()))?;
                for item in items {
                    out.serialize_element(item)?;
                }
                out.end()
            }
            Value::Object(object) => {
                let mut out = serializer.serialize_map(Some(object.0.len()))?;
                for (name, value) in object.iter() {
                    out.serialize_entry(name, value)?;
                }
                out.end()
            }
        }
    }
}
