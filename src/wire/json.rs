//! JSON bodies → the tree of values, in one pass, by `serde_json`.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::{DEPTH_MAX, Keep, Unreadable, VALUES_MAX, utf8};
use crate::domain::value::{Object, Value};

/// Reads a whole body.
pub fn read(body: &[u8], keep: Keep) -> Result<Object<'_>, Unreadable> {
    let text = utf8(body)?;
    if text.trim_ascii().is_empty() {
        return Err(Unreadable::Syntax("the body is empty".to_owned()));
    }
    let (values, stopped) = (Cell::new(0), Cell::new(None));
    let seed = Tree { depth: 0, keep, values: &values, stopped: &stopped, text };
    let mut reader = serde_json::Deserializer::from_str(text);
    let tree = seed.deserialize(&mut reader).and_then(|tree| reader.end().map(|()| tree));
    match tree {
        Ok(Value::Object(object)) => Ok(object),
        Ok(other) => Err(Unreadable::NotAnObject(other.kind())),
        Err(error) => Err(stopped.take().unwrap_or_else(|| Unreadable::Syntax(syntax(&error)))),
    }
}

/// The place and kind of a syntax error. The reader's own text never quotes the body, but this
/// keeps it so whatever the reader does in a later version.
fn syntax(error: &serde_json::Error) -> String {
    let kind = if error.is_eof() { "ends too early" } else { "is not JSON" };
    format!("the body {kind} at line {}, column {}", error.line(), error.column())
}

/// With `arbitrary_precision` the reader hands every number but integers of 64 bits over as an
/// object with this one field.
const NUMBER: &str = "$serde_json::private::Number";

/// Room for the fields of most objects.
const USUAL_FIELDS: usize = 8;

#[derive(Clone, Copy)]
struct Tree<'c> {
    /// Arrays and objects around this value.
    depth: usize,
    keep: Keep,
    /// How many there are so far.
    values: &'c Cell<usize>,
    /// Why we do not read on.
    stopped: &'c Cell<Option<Unreadable>>,
    text: &'c str,
}

impl<'c> Tree<'c> {
    fn inner<E: de::Error>(self) -> Result<Tree<'c>, E> {
        let depth = self.depth + 1;
        if depth > DEPTH_MAX { Err(self.stop(Unreadable::TooDeep)) } else { Ok(Tree { depth, ..self }) }
    }

    /// Counts a field or an item that is kept.
    fn count<E: de::Error>(self) -> Result<(), E> {
        let values = self.values.get() + 1;
        self.values.set(values);
        if values > VALUES_MAX { Err(self.stop(Unreadable::TooManyValues)) } else { Ok(()) }
    }

    fn stop<E: de::Error>(self, why: Unreadable) -> E {
        self.stopped.set(Some(why));
        E::custom("stopped")
    }

    /// Whether the name is the reader's own mark of a number. A producer may have written the same
    /// name into an object; then it stands in the body.
    fn is_number(self, name: &str) -> bool {
        name == NUMBER && !self.text.as_bytes().as_ptr_range().contains(&name.as_ptr())
    }

    fn keeps_children(self) -> bool {
        self.keep == Keep::Everything
    }

    /// Whether the field of this name in the object at hand is kept.
    fn keeps_field(self, name: &str) -> bool {
        match self.keep {
            Keep::Everything => true,
            Keep::TopLevel(names) => self.depth == 0 && names.contains(&name),
        }
    }
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
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(inner)? {
            if self.keeps_children() {
                self.count()?;
                items.push(item);
            }
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
        let inner = self.inner()?;
        let mut fields = Vec::with_capacity(USUAL_FIELDS);
        let mut name = Some(first);
        while let Some(current) = name {
            let value = map.next_value_seed(inner)?;
            if self.keeps_field(&current) {
                if self.keeps_children() {
                    self.count()?;
                } else {
                    // So few are kept that there is no need to count them.
                    fields.retain(|(earlier, _)| *earlier != current);
                }
                fields.push((current, value));
            }
            name = map.next_key_seed(Name)?;
        }
        Ok(Value::Object(Object::from_fields(fields).compact()))
    }
}

/// A field name, borrowed from the body where it has no escapes.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Cow<'de, str>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E>(self, text: &str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(body: &str) -> Result<Object<'_>, Unreadable> {
        read(body.as_bytes(), Keep::Everything)
    }

    fn written(body: &str) -> String {
        serde_json::to_string(&Value::Object(read_all(body).unwrap())).unwrap()
    }

    #[test]
    fn what_is_read_is_what_was_written() {
        for body in [
            r#"{}"#,
            r#"{"a":null,"b":true,"c":[1,-2.50,1e3,[]],"d":{"e":"f\n\"ж"}}"#,
            r#"{"n":12345678901234567890123.10}"#,
        ] {
            assert_eq!(written(body).replace("1e+3", "1e3"), body);
        }
        assert_eq!(written("\u{feff}{\"a\":\"\\u0416\"}"), r#"{"a":"Ж"}"#);
    }

    #[test]
    fn of_a_repeated_name_the_last_counts() {
        assert_eq!(written(r#"{"a":1,"b":2,"a":3}"#), r#"{"b":2,"a":3}"#);
        let many: String = (0..100).map(|i| format!("\"f{i}\":0,")).collect();
        let object = format!("{{{many}\"f7\":1}}");
        assert_eq!(read_all(&object).unwrap().get("f7"), Some(&Value::Number("1".into())));
    }

    #[test]
    fn a_field_named_like_the_readers_own_marker_is_no_number() {
        for body in [
            r#"{"a":{"$serde_json::private::Number":"x"}}"#,
            r#"{"a":{"$serde_json::private::Number":"5"},"b":5.5}"#,
            r#"{"a":{"$serde_json::private::Number":5,"b":1e400}}"#,
        ] {
            assert_eq!(written(body).replace("1e+400", "1e400"), body);
        }
        let escaped = r#"{"a":{"\u0024serde_json::private::Number":"5"}}"#;
        assert_eq!(written(escaped), r#"{"a":{"$serde_json::private::Number":"5"}}"#);
    }

    #[test]
    fn what_is_no_object_is_unreadable() {
        for (body, text) in [
            ("", "the body is empty"),
            (" \n", "the body is empty"),
            ("{", "the body ends too early at line 1, column 1"),
            ("{\"a\":}", "the body is not JSON at line 1, column 6"),
            ("{} {}", "the body is not JSON at line 1, column 4"),
            ("[]", "the body is an array, not an object"),
            ("\"x\"", "the body is a string, not an object"),
            ("1", "the body is a number, not an object"),
            ("hello", "the body is not JSON at line 1, column 1"),
        ] {
            assert_eq!(read_all(body).unwrap_err().to_string(), text, "{body:?}");
        }
        assert!(matches!(read(b"{\"a\":\"\xff\"}", Keep::Everything), Err(Unreadable::NotUtf8)));
    }

    #[test]
    fn nesting_ends_at_64() {
        let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1));
        assert!(read_all(&nested(64)).is_ok());
        assert!(matches!(read_all(&nested(65)), Err(Unreadable::TooDeep)));
        assert!(matches!(read_all(&nested(100_000)), Err(Unreadable::TooDeep)));
        let objects = format!("{}1{}", "{\"a\":".repeat(65), "}".repeat(65));
        assert!(matches!(read_all(&objects), Err(Unreadable::TooDeep)));
    }

    #[test]
    fn the_top_level_alone_keeps_names_and_kinds() {
        let body = br#"{"db_id":1,"data":{"a":[1,2]},"x":[1],"y":1}"#;
        let object = read(body, Keep::TopLevel(&["db_id", "data", "x"])).unwrap();
        assert_eq!(object.get("db_id"), Some(&Value::Number("1".into())));
        assert_eq!(object.get("data"), Some(&Value::Object(Object::default())));
        assert_eq!(object.get("x"), Some(&Value::Array(vec![])));
        assert_eq!(object.get("y"), None);
        assert!(read(br#"{"data":{"a":[1,}}"#, Keep::TopLevel(&[])).is_err());
        let object = read(br#"{"x":1,"db_id":2,"x":3}"#, Keep::TopLevel(&["db_id", "x"])).unwrap();
        assert_eq!(object.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["db_id", "x"]);
        assert_eq!(object.get("x"), Some(&Value::Number("3".into())));
    }

    #[test]
    fn values_have_a_limit() {
        let zeros = |count: usize| format!("{{\"a\":[0{}]}}", ",0".repeat(count - 2));
        assert!(read_all(&zeros(VALUES_MAX)).is_ok());
        assert!(matches!(read_all(&zeros(VALUES_MAX + 1)), Err(Unreadable::TooManyValues)));
        assert!(read(zeros(VALUES_MAX + 1).as_bytes(), Keep::TopLevel(&["a"])).is_ok());
        let fields = format!("{{{}\"a\":0}}", "\"a\":0,".repeat(VALUES_MAX));
        assert!(matches!(read_all(&fields), Err(Unreadable::TooManyValues)));
    }
}
