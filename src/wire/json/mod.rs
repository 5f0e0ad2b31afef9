//! JSON bodies → the tree of values, in one pass, by `serde_json`.

mod name;
mod scan;
mod syntax;
mod tree;
mod write;

use std::borrow::Cow;
use std::cell::Cell;

use serde::de::DeserializeSeed;

use self::scan::{Flaw, Scan, without_half_surrogates};
use self::syntax::{bad_string, syntax, syntax_at};
use self::tree::Tree;
use super::{Keep, Outline, Unreadable, utf8};
use crate::domain::value::{HALF_SURROGATE, Object, Value};

/// Reads a whole body.
pub fn read(body: &[u8]) -> Result<Object<'_>, Unreadable> {
    let text = text_of(body)?;
    read_text(text).or_else(|flaw| read_copy(text, flaw))
}

/// Reads a text again that could not be read for this reason, if that is half of a surrogate pair:
/// a fault of a field.
#[cold]
fn read_copy(text: &str, flaw: Unreadable) -> Result<Object<'_>, Unreadable> {
    if !matches!(flaw, Unreadable::Syntax(_)) || !Scan::of(text).has_half_surrogate {
        return Err(flaw);
    }
    let copy = without_half_surrogates(text);
    read_text(&copy).map(|object| marked(object, &copy, text))
}

/// Returns what was read from a copy without halves of surrogate pairs as if it was read from the
/// text itself, which has the same bytes but in strings with escapes; with the mark of halves in
/// each string that may have one.
fn marked<'a>(object: Object<'_>, copy: &str, text: &'a str) -> Object<'a> {
    object.with_texts(&|piece| match piece {
        Cow::Owned(piece) if piece.contains('\0') => {
            Cow::Owned(piece.replace('\0', HALF_SURROGATE))
        }
        Cow::Owned(piece) => Cow::Owned(piece),
        Cow::Borrowed(piece) => {
            let start = piece.as_ptr().addr().checked_sub(copy.as_ptr().addr());
            let same = start.and_then(|start| text.get(start..start + piece.len()));
            same.map_or_else(|| Cow::Owned(piece.to_owned()), Cow::Borrowed)
        }
    })
}

#[inline]
fn read_text(text: &str) -> Result<Object<'_>, Unreadable> {
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
    let scan = Scan::of(text);
    if !scan.has_half_surrogate {
        return outline_text(text, &scan, names);
    }
    let copy = without_half_surrogates(text);
    let Outline { fields, values } = outline_text(&copy, &scan, names)?;
    Ok(Outline {
        fields: marked(fields, &copy, text),
        values,
    })
}

fn outline_text<'a>(
    text: &'a str,
    scan: &Scan,
    names: &'static [&'static str],
) -> Result<Outline<'a>, Unreadable> {
    let Some(flaw) = &scan.flaw else {
        let tree = skim(text, names).map_err(|error| skimmed(&error, text, names))?;
        return Ok(Outline {
            fields: object(tree)?,
            values: scan.values,
        });
    };
    let (Flaw::TooDeep(start) | Flaw::BadString(start)) = *flaw;
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

/// Tells what the reader says of a text with an error in it. A number that is cut off by the
/// end of the text it calls wrong where it skips it, and cut off where it reads it: that is what it
/// is if one more digit makes it right.
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

#[inline]
fn parse<'a>(text: &'a str, keep: Keep, is_too_deep: &Cell<bool>) -> serde_json::Result<Value<'a>> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = Tree::new(text, keep, is_too_deep).deserialize(&mut reader)?;
    reader.end()?;
    Ok(value)
}

fn object(tree: Value<'_>) -> Result<Object<'_>, Unreadable> {
    match tree {
        Value::Object(object) => Ok(object),
        other => Err(Unreadable::NotAnObject(other.describe())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ITEMS_MAX;

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
            Err(Unreadable::NotUtf8 { position: 7 })
        ));
    }

    /// As a producer makes one that cuts off a text in the middle (serde-rs/json#495,
    /// codex-trace#279).
    #[test]
    fn half_of_a_surrogate_pair_becomes_what_no_field_can_hold() {
        for (body, name, text) in [
            (r#"{"a":"Jo \ud83d"}"#, "a", "Jo \0\u{ffff}"),
            (r#"{"a":"\ude00\ud83d\ude00"}"#, "a", "\0\u{ffff}😀"),
            (r#"{"\ud83d":"x"}"#, "\0\u{ffff}", "x"),
            (r#"{"b":["\ud83d"],"a":"x\n"}"#, "a", "x\n"),
            (r#"{"b":["\ud83d"],"a":"é x"}"#, "a", "é x"),
        ] {
            let expected = Some(&Value::String(text.into()));
            assert_eq!(read_all(body).unwrap().get(name), expected, "{body}");
        }
        let body = r#"{"a":"\ud83d","b":{"\ud83d":"\ud83d"},"\ude00":1}"#;
        let fields = outline(body.as_bytes(), &["a", "b"]).unwrap().fields;
        assert_eq!(fields.get("a"), Some(&Value::String("\0\u{ffff}".into())));
        assert_eq!(fields.get("b"), Some(&Value::Object(Object::default())));
        let error = read_all(r#"{"a":"\ud83d","b":}"#).unwrap_err().to_string();
        assert_eq!(error, "the body is not JSON at line 1, column 19");
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
            "\"\\ud83d\", 1 2",
            "\"\\ud83d\", \"\t\"",
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
            "\"\\ud83d\",-",
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
