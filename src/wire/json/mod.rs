//! JSON bodies → the tree of values, in one pass, by `serde_json`.

mod scan;
mod write;

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use self::scan::{Flaw, Scan};
use super::{DEPTH_MAX, ITEMS_MAX, Keep, Outline, Unreadable, utf8};
use crate::domain::value::{Object, Value};

/// Reads a whole body.
pub fn read(body: &[u8]) -> Result<Object<'_>, Unreadable> {
    let text = text_of(body)?;
    let is_too_deep = Cell::new(false);
    let tree = parse(text, Keep::Everything, &is_too_deep);
    object(tree.map_err(|error| {
        if is_too_deep.get() {
            Unreadable::TooDeep
        } else {
            syntax(&error)
        }
    })?)
}

/// Checks a whole body as [`read`] does, and keeps of it the top-level fields of these names.
pub fn outline<'a>(
    body: &'a [u8],
    names: &'static [&'static str],
) -> Result<Outline<'a>, Unreadable> {
    let text = text_of(body)?;
    let Scan { values, flaw } = Scan::of(text);
    let Some(flaw) = flaw else {
        let tree = skim(text, names).map_err(|error| skimmed(&error, text, names))?;
        return Ok(Outline {
            fields: object(tree)?,
            values,
        });
    };
    let (Flaw::TooDeep(start) | Flaw::BadString(start)) = flaw;
    Err(match (skim(&text[..=start], names), flaw) {
        // What comes first is told of.
        (Err(error), _) if !error.is_eof() => syntax(&error),
        (_, Flaw::TooDeep(_)) => Unreadable::TooDeep,
        (_, Flaw::BadString(_)) => bad_string(text, start),
    })
}

fn skim<'a>(text: &'a str, names: &'static [&'static str]) -> serde_json::Result<Value<'a>> {
    parse(text, Keep::TopLevel(names), &Cell::new(false))
}

/// What the reader says of a text with an error in it. A number that is cut off by the end of the
/// text it calls wrong where it skips it, and cut off where it reads it: that is what it is if one
/// more digit makes it right.
fn skimmed(error: &serde_json::Error, text: &str, names: &'static [&'static str]) -> Unreadable {
    let may_be_cut_off = !error.is_eof() && text.ends_with(['-', '+', '.', 'e', 'E']);
    if may_be_cut_off && skim(&format!("{text}0"), names).is_err_and(|error| error.is_eof()) {
        return syntax_at(true, error.line(), error.column());
    }
    syntax(error)
}

fn text_of(body: &[u8]) -> Result<&str, Unreadable> {
    let text = utf8(body)?;
    if text.trim_ascii().is_empty() {
        return Err(Unreadable::Syntax("the body is empty".to_owned()));
    }
    Ok(text)
}

fn parse<'a>(text: &'a str, keep: Keep, is_too_deep: &Cell<bool>) -> serde_json::Result<Value<'a>> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = Tree {
        depth: 0,
        keep,
        is_too_deep,
        text,
    }
    .deserialize(&mut reader)?;
    reader.end()?;
    Ok(value)
}

fn object(tree: Value<'_>) -> Result<Object<'_>, Unreadable> {
    match tree {
        Value::Object(object) => Ok(object),
        other => Err(Unreadable::NotAnObject(other.describe())),
    }
}

/// The place and kind of a syntax error. The reader's own text never quotes the body, but this
/// keeps it so whatever the reader does in a later version.
fn syntax(error: &serde_json::Error) -> Unreadable {
    syntax_at(error.is_eof(), error.line(), error.column())
}

fn syntax_at(is_end: bool, line: usize, column: usize) -> Unreadable {
    let kind = if is_end {
        "ends too early"
    } else {
        "is not JSON"
    };
    Unreadable::Syntax(format!("the body {kind} at line {line}, column {column}"))
}

/// The same for the string that begins at `start`.
fn bad_string(text: &str, start: usize) -> Unreadable {
    let (before, string) = text.split_at(start);
    let error = Name
        .deserialize(&mut serde_json::Deserializer::from_str(string))
        .err();
    let (is_end, line, column) = error.map_or((false, 1, 1), |error| {
        (error.is_eof(), error.line(), error.column())
    });
    let lines = before.bytes().filter(|byte| *byte == b'\n').count();
    let in_line = before
        .bytes()
        .rev()
        .take_while(|byte| *byte != b'\n')
        .count();
    // The character may be an end of a line; then its place is the beginning of the next.
    let column = if line == 1 { in_line + column } else { column };
    syntax_at(is_end, lines + line, column)
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
    /// Set where that is why we do not read on.
    is_too_deep: &'c Cell<bool>,
    text: &'c str,
}

impl<'c> Tree<'c> {
    fn inner<E: de::Error>(self) -> Result<Tree<'c>, E> {
        let depth = self.depth + 1;
        if depth > DEPTH_MAX {
            self.is_too_deep.set(true);
            return Err(E::custom("nested too deep"));
        }
        Ok(Tree { depth, ..self })
    }

    /// Whether the name is the reader's own mark of a number. A producer may have written the same
    /// name into an object; then it stands in the body.
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

    /// Those of these names. A repeated one takes no more memory than the last of them.
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

/// The rest of an object of which nothing is kept, after its first name.
fn skip_fields<'de, A: MapAccess<'de>>(mut map: A) -> Result<(), A::Error> {
    map.next_value::<IgnoredAny>()?;
    while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
    Ok(())
}

/// In the place of the items of an array a null for each, as far as their number matters.
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
        read(body.as_bytes())
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
        assert_eq!(
            read_all(&object).unwrap().get("f7"),
            Some(&Value::Number("1".into()))
        );
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
        assert_eq!(
            written(escaped),
            r#"{"a":{"$serde_json::private::Number":"5"}}"#
        );
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
        assert!(matches!(
            read(b"{\"a\":\"\xff\"}"),
            Err(Unreadable::NotUtf8)
        ));
    }

    #[test]
    fn nesting_ends_at_64() {
        let nested = |depth: usize| {
            format!(
                "{{\"a\":{}{}}}",
                "[".repeat(depth - 1),
                "]".repeat(depth - 1)
            )
        };
        assert!(read_all(&nested(64)).is_ok());
        assert!(matches!(read_all(&nested(65)), Err(Unreadable::TooDeep)));
        assert!(matches!(
            read_all(&nested(100_000)),
            Err(Unreadable::TooDeep)
        ));
        let objects = format!("{}1{}", "{\"a\":".repeat(65), "}".repeat(65));
        assert!(matches!(read_all(&objects), Err(Unreadable::TooDeep)));
    }

    #[test]
    fn an_outline_keeps_names_kinds_and_lengths() {
        let body = br#"{"db_id":1,"data":{"a":[1,2]},"x":[1,{}],"y":1}"#;
        let Outline { fields, values } = outline(body, &["db_id", "data", "x"]).unwrap();
        assert_eq!(fields.get("db_id"), Some(&Value::Number("1".into())));
        assert_eq!(fields.get("data"), Some(&Value::Object(Object::default())));
        assert_eq!(fields.get("x"), Some(&Value::Array(vec![Value::Null; 2])));
        assert_eq!(fields.get("y"), None);
        assert_eq!(values, 9);
        let fields = outline(br#"{"x":[1],"db_id":2,"x":-3.5}"#, &["db_id", "x"])
            .unwrap()
            .fields;
        assert_eq!(
            fields.iter().map(|(name, _)| name).collect::<Vec<_>>(),
            ["db_id", "x"]
        );
        assert_eq!(fields.get("x"), Some(&Value::Number("-3.5".into())));
        let many = format!("{{\"x\":[0{}]}}", ",0".repeat(ITEMS_MAX));
        assert_eq!(
            outline(many.as_bytes(), &["x"]).unwrap().fields.get("x"),
            Some(&Value::Array(vec![Value::Null; ITEMS_MAX]))
        );
    }

    /// What is skipped is checked like what is read, to the text of the error.
    #[test]
    fn an_outline_is_refused_for_what_a_body_is_refused_for() {
        let arrays =
            |depth: usize| format!("{{\"a\":{}1{}}}", "[".repeat(depth), "]".repeat(depth));
        let objects = |depth: usize| format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
        let broken = |inner: &str| {
            [
                format!("{{\"a\":\n[{inner}]}}"),
                format!("{{\"b\":{{\"c\":[{inner}]}}}}"),
            ]
        };
        let mut bodies: Vec<_> = [63, 64, 65, 100_000]
            .iter()
            .flat_map(|depth| [arrays(*depth), objects(*depth)])
            .collect();
        for inner in [
            "",
            "1,",
            ",1",
            "01",
            "-",
            "1.",
            "1e",
            "+1",
            "nul",
            "truE",
            "1 2",
            "\"",
            "\"\\x\"",
            "\"\\u12\"",
            "\"\n\"",
            "\"a\u{0}\"",
            "1 \"\t\"",
            "\"\\ud83d\"",
            "\"\\ud83d\\n\"",
            "\"\\ud83d\\u0416\"",
            "\"\\x\\ud83d\"",
            "{\"\\ud83d\":1}",
            "{\"\n\":1}",
            "{",
            "}",
            "{1:2}",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "[",
            "]",
            "\u{a0}1",
            "\"\\ud83d\\ude00\"",
            "\"\\ude00\"",
            "1e400",
            "{\"$serde_json::private::Number\":1}",
            "/**/1",
            "NaN",
        ] {
            bodies.extend(broken(inner));
        }
        bodies.extend(["", " ", "[]", "1", "\"x\"", "null", "{} {}", "{", "x"].map(str::to_owned));
        for end in [
            "-",
            "1.",
            "-1001.",
            "1e",
            "1E+",
            "1 -",
            "1-",
            "1.-",
            "01",
            "tru",
            "true.",
            "\"-",
            "\"\\u12",
            "\"\\ud83d",
            "\"\\ud83d\\",
        ] {
            bodies.extend([format!("{{\"a\":{end}"), format!("{{\"b\":[1,{end}")]);
        }
        bodies.push(format!("{{\"a\":[1 2],\"b\":{}", "[".repeat(65)));
        bodies.push(format!("{{\"b\":\n{}", "[".repeat(64)));
        bodies.push(format!("{{\"b\":\n{} 1 2", "[".repeat(64)));
        for body in bodies {
            let flaw = read_all(&body).map(drop).map_err(|flaw| flaw.to_string());
            let outlined = outline(body.as_bytes(), &["a"])
                .map(drop)
                .map_err(|flaw| flaw.to_string());
            assert_eq!(outlined, flaw, "{}", &body[..body.len().min(80)]);
        }
    }
}
