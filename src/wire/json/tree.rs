//! A value that is read into the tree, or skipped.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::name::Name;
use crate::domain::value::{Object, Value};
use crate::wire::{DEPTH_MAX, ITEMS_MAX, Keep};

/// With `arbitrary_precision` the reader hands every number but integers of 64 bits over as an
/// object with this one field.
const NUMBER: &str = "$serde_json::private::Number";

/// Room for the fields of most objects.
const USUAL_FIELDS: usize = 8;

/// A reader of one value, with all in it.
#[derive(Clone, Copy)]
pub(super) struct Tree<'c> {
    /// Arrays and objects around this value.
    depth: usize,
    keep: Keep,
    /// Set where that is why we do not read on.
    is_too_deep: &'c Cell<bool>,
    text: &'c str,
}

impl<'c> Tree<'c> {
    /// Makes a reader of the outermost value of `text`, which sets `is_too_deep` if that is its
    /// flaw.
    pub(super) fn new(text: &'c str, keep: Keep, is_too_deep: &'c Cell<bool>) -> Self {
        Self {
            depth: 0,
            keep,
            is_too_deep,
            text,
        }
    }

    fn inner<E: de::Error>(self) -> Result<Tree<'c>, E> {
        let depth = self.depth + 1;
        if depth > DEPTH_MAX {
            self.is_too_deep.set(true);
            return Err(E::custom("nested too deep"));
        }
        Ok(Tree { depth, ..self })
    }

    /// Tells whether the name is the reader's own mark of a number. A producer may have written
    /// the same name into an object; then it stands in the body.
    fn is_number(self, name: &str) -> bool {
        name == NUMBER && !self.text.as_bytes().as_ptr_range().contains(&name.as_ptr())
    }

    fn fields<'de, A: MapAccess<'de>>(
        self,
        first: Cow<'de, str>,
        mut map: A,
    ) -> Result<Object<'de>, A::Error> {
        let inner = self.inner()?;
        let mut fields = Vec::with_capacity(USUAL_FIELDS);
        let mut name = Some(first);
        while let Some(current) = name {
            fields.push((current, map.next_value_seed(inner)?));
            name = map.next_key_seed(Name)?;
        }
        Ok(Object::from_fields(fields).compact())
    }

    /// Reads those of these names. A repeated one takes no more memory than the last of them.
    fn named_fields<'de, A: MapAccess<'de>>(
        self,
        names: &[&str],
        first: Cow<'de, str>,
        mut map: A,
    ) -> Result<Object<'de>, A::Error> {
        let inner = self.inner()?;
        let mut fields = Vec::with_capacity(USUAL_FIELDS);
        let mut name = Some(first);
        while let Some(current) = name {
            if names.contains(&current.as_ref()) {
                let value = map.next_value_seed(inner)?;
                fields.retain(|(earlier, _)| *earlier != current);
                fields.push((current, value));
            } else {
                map.next_value::<IgnoredAny>()?;
            }
            name = map.next_key_seed(Name)?;
        }
        Ok(Object::from_distinct(fields))
    }
}

/// Skips the rest of an object of which nothing is kept, after its first name.
fn skip_fields<'de, A: MapAccess<'de>>(mut map: A) -> Result<(), A::Error> {
    map.next_value::<IgnoredAny>()?;
    while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
    Ok(())
}

/// Skips an array, and puts a null in the place of each item, as far as their number matters.
fn skip_items<'de, A: SeqAccess<'de>>(mut seq: A) -> Result<Vec<Value<'de>>, A::Error> {
    let mut items = 0;
    while seq.next_element::<IgnoredAny>()?.is_some() {
        items += 1;
    }
    Ok(vec![Value::Null; items.min(ITEMS_MAX)])
}

impl<'de> DeserializeSeed<'de> for Tree<'_> {
    type Value = Value<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Tree<'_> {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value<'de>, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value<'de>, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value<'de>, E> {
        Ok(Value::Number(Cow::Owned(number.to_string())))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value<'de>, E> {
        Ok(Value::Number(Cow::Owned(number.to_string())))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Value<'de>, E> {
        Ok(Value::String(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value<'de>, E> {
        Ok(Value::String(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value<'de>, A::Error> {
        let inner = self.inner()?;
        if self.keep != Keep::Everything {
            return skip_items(seq).map(Value::Array);
        }
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(inner)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value<'de>, A::Error> {
        let Some(first) = map.next_key_seed(Name)? else {
            self.inner::<A::Error>()?;
            return Ok(Value::Object(Object::default()));
        };
        if matches!(&first, Cow::Borrowed(name) if self.is_number(name)) {
            return Ok(Value::Number(map.next_value_seed(Name)?));
        }
        let object = match self.keep {
            Keep::Everything => self.fields(first, map)?,
            Keep::TopLevel(names) if self.depth == 0 => self.named_fields(names, first, map)?,
            Keep::TopLevel(_) => skip_fields(map).map(|()| Object::default())?,
        };
        Ok(Value::Object(object))
    }
}
