//! What a body that is no request seems to be: a hint for whoever sends it.
//!
//! It is looked for only once reading has failed, and never repeats anything of the body.

use serde::de::IgnoredAny;

use super::{Format, Outline, Unreadable};
use crate::domain::value::Value;

/// What a body seems to be that could not be read for this reason.
pub fn of_unreadable(flaw: &Unreadable, format: Format, body: &[u8]) -> Option<&'static str> {
    match (flaw, format) {
        (Unreadable::NotUtf8 { .. } | Unreadable::Syntax(_), _) if packing(body).is_some() => {
            packing(body)
        }
        (Unreadable::NotUtf8 { .. }, _) => None,
        (Unreadable::NotAnObject(_), Format::Json) => other_value(body),
        (Unreadable::Syntax(_), format) => {
            let text = std::str::from_utf8(body).ok()?;
            let text = text.trim_start_matches('\u{feff}').trim();
            match format {
                Format::Json => other_text(text).or_else(|| dialect(text)),
                Format::Xml => text
                    .starts_with(['{', '['])
                    .then_some("this looks like JSON; say so in content_type"),
            }
        }
        _ => None,
    }
}

/// What the first bytes say of a body of which nothing else says that it is packed.
fn packing(body: &[u8]) -> Option<&'static str> {
    Some(match body {
        [0x1f, 0x8b, ..] => "this looks like gzip; say so in content_encoding",
        [0x28, 0xb5, 0x2f, 0xfd, ..] => "this looks like zstd; say so in content_encoding",
        [0x78, 0x01 | 0x5e | 0x9c | 0xda, ..] => {
            "this looks like zlib's deflate; say so in content_encoding"
        }
        // AMQP 1.0, 3.2.7 and 3.2.8: a described value, by a small number or in full.
        [0x00, 0x53 | 0x80, ..] => {
            "this looks like a value or sequence of AMQP 1.0; send the body as data"
        }
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [0, _, 0, _, ..] | [_, 0, _, 0, ..] => {
            "this looks like UTF-16; declare it as charset in content_type"
        }
        _ => return None,
    })
}

/// A document of JSON that is not an object.
fn other_value(body: &[u8]) -> Option<&'static str> {
    let text = std::str::from_utf8(body)
        .ok()?
        .trim_start_matches('\u{feff}')
        .trim_start();
    let inner = |open| text.strip_prefix(open).map(str::trim_start);
    if let Some(items) = inner('[') {
        return Some(if items.starts_with('[') {
            CELERY
        } else {
            "send each request as a message of its own; many profiles of one database go into data"
        });
    }
    let string = inner('"')?;
    if string.starts_with(['{', '[']) {
        return Some("this looks like JSON in a JSON string; encode it once");
    }
    string
        .starts_with('<')
        .then_some("this looks like XML in a JSON string; send it as it is")
}

const CELERY: &str = "this looks like a task of Celery, see docs/producers.md#celery";

/// A text that is something else than JSON.
fn other_text(text: &str) -> Option<&'static str> {
    let mut documents = serde_json::Deserializer::from_str(text).into_iter::<IgnoredAny>();
    if text.starts_with("<xml") || text.starts_with("<?xml") {
        return Some("this looks like XML; say so in content_type");
    }
    if text.starts_with(['{', '[']) && matches!(documents.next(), Some(Ok(_))) {
        let rest = text[documents.byte_offset()..].trim_start();
        return rest
            .starts_with(['{', '['])
            .then_some("these are several documents; send each as a message of its own");
    }
    // `{"` and `<xml`, three bytes each time.
    let is_base64 = ["eyJ", "eyI", "ewo", "ew0", "PD94", "PHht"]
        .iter()
        .any(|start| text.starts_with(start));
    if is_base64 {
        return Some("this looks like base64; send the body as it is");
    }
    is_form(text).then_some("this looks like a form (name=value&…); send JSON or XML")
}

/// `application/x-www-form-urlencoded`: begins with a name and a `=`.
fn is_form(text: &str) -> bool {
    let is_of_a_name = |c: char| c.is_ascii_alphanumeric() || "_-.[]%+".contains(c);
    let rest = text.trim_start_matches(is_of_a_name);
    rest.len() < text.len() && rest.starts_with('=') && !text.contains(char::is_whitespace)
}

/// The first thing outside of strings that JSON does not have, and its relatives do.
fn dialect(text: &str) -> Option<&'static str> {
    if !text.starts_with(['{', '[', '\'', '`', '“', '„', '#']) && !text.starts_with("/*") {
        return None;
    }
    let mut rest = text;
    let mut before = ' ';
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        rest = match c {
            '"' => after_string(after)?,
            '\'' => {
                return Some("JSON has double quotes; Python's repr is not JSON, json.dumps is");
            }
            '`' | '“' | '”' | '„' | '«' => return Some("JSON has straight double quotes"),
            '/' if after.starts_with(['/', '*']) => return Some("JSON has no comments"),
            '#' => return Some("JSON has no comments"),
            ']' | '}' if before == ',' => return Some("JSON has no comma before ] or }"),
            c if c.is_ascii_alphabetic() || "_$".contains(c) => {
                let after = rest
                    .trim_start_matches(|c: char| c.is_ascii_alphanumeric() || "_$".contains(c));
                let word = &rest[..rest.len() - after.len()];
                if let Some(hint) = word_hint(word, matches!(before, '{' | ',')) {
                    return Some(hint);
                }
                after
            }
            _ => after,
        };
        if !c.is_whitespace() {
            before = c;
        }
    }
    None
}

/// A word without quotes around it, which may stand where a name does.
fn word_hint(word: &str, is_name: bool) -> Option<&'static str> {
    match word {
        "true" | "false" | "null" | "e" | "E" => None,
        "NaN" | "Infinity" => Some("JSON has no NaN and no Infinity; send null, or leave it out"),
        "None" | "True" | "False" => Some("Python's repr is not JSON, json.dumps is"),
        "undefined" => Some("JSON has no undefined; send null, or leave it out"),
        _ if is_name => Some("names stand in double quotes"),
        _ => Some("texts stand in double quotes"),
    }
}

/// What comes after a string, whose first quote is gone; `None` if it does not end.
fn after_string(text: &str) -> Option<&str> {
    let mut escaped = false;
    let end = text.find(|c| {
        let ends = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    })?;
    Some(&text[end + 1..])
}

/// Names by which the envelopes of frameworks are known.
const ENVELOPE_NAMES: &[&str] = &[
    "pattern",
    "data",
    "messageType",
    "message",
    "specversion",
    "task",
    "args",
    "kwargs",
];

/// The envelope that an object seems to be which is no request: those of frameworks have fields of
/// their own, and the request in one of them.
pub fn of_envelope(format: Format, body: &[u8]) -> Option<&'static str> {
    let Outline { fields, .. } = format.outline(body, ENVELOPE_NAMES).ok()?;
    let has = |names: [&str; 2]| names.iter().all(|name| fields.get(name).is_some());
    if has(["pattern", "data"]) {
        return Some("this looks like an envelope of NestJS, see docs/producers.md#nestjs");
    }
    if matches!(fields.get("messageType"), Some(Value::Array(_))) && has(["messageType", "message"])
    {
        return Some(
            "this looks like an envelope of MassTransit, see docs/producers.md#masstransit",
        );
    }
    if has(["task", "args"]) || has(["task", "kwargs"]) {
        return Some(CELERY);
    }
    fields
        .get("specversion")
        .map(|_| "this looks like a structured CloudEvent; send its data alone as the body")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hint(body: &[u8]) -> &'static str {
        let format = Format::of(None, body);
        let flaw = format.read(body).expect_err("unreadable");
        of_unreadable(&flaw, format, body).unwrap_or("none")
    }

    #[test]
    fn what_is_nearly_json_is_told_what_it_is() {
        for (body, part, _source) in [
            (r#"{"a":NaN}"#, "no NaN", "apify-client-python#87"),
            (r#"{"a":-Infinity}"#, "no NaN", "apify-client-python#87"),
            (r#"{"a":1,}"#, "no comma", "field-cases 52"),
            ("{\"a\":[1,2,\n]}", "no comma", "field-cases 52"),
            ("{'a':1}", "double quotes", "Python's repr"),
            (r#"{"a":None}"#, "json.dumps", "Python's repr"),
            (r#"{"a":True}"#, "json.dumps", "Python's repr"),
            (r#"{a:1}"#, "names stand", "JSON5"),
            (r#"{"a":1, $b:1}"#, "names stand", "JSON5"),
            (r#"{"a":hello}"#, "texts stand", "YAML"),
            (r#"{"a":undefined}"#, "no undefined", "JavaScript"),
            ("{\"a\":1 // one\n}", "no comments", "JSON5"),
            ("{/* one */\"a\":1}", "no comments", "JSON5"),
            ("{“a”:1}", "straight", "a word processor"),
            (
                "token=x&db_id=1",
                "form",
                "application/x-www-form-urlencoded",
            ),
            ("data%5Bemail%5D=a%40b.c", "form", "PHP's http_build_query"),
            ("eyJ0b2tlbiI6IngifQ==", "base64", "field-cases 52"),
            ("PHhtbD48L3htbD4=", "base64", "field-cases 52"),
            (
                "{\"db_id\":1}\n{\"db_id\":1}",
                "several documents",
                "NDJSON",
            ),
            ("{} {}", "several documents", "field-cases 52"),
            (
                r#""{\"db_id\":1}""#,
                "JSON in a JSON string",
                "field-cases 52",
            ),
            (
                "\"<xml></xml>\"",
                "XML in a JSON string",
                "a double encoding",
            ),
            ("[{\"db_id\":1}]", "message of its own", "field-cases 52"),
            ("[[],{},{}]", "Celery", "Celery's protocol 2"),
            ("\u{feff}[{}]", "message of its own", "a byte order mark"),
        ] {
            assert!(
                hint(body.as_bytes()).contains(part),
                "{body}: {}",
                hint(body.as_bytes())
            );
        }
    }

    #[test]
    fn the_other_format_is_told() {
        for (declared, body, part) in [
            ("application/json", "<xml/>", "looks like XML"),
            (
                "application/json",
                "\u{feff}<?xml version='1.0'?><xml/>",
                "looks like XML",
            ),
            ("text/xml", " {\"db_id\":1}", "looks like JSON"),
        ] {
            let format = Format::of(Some(declared), body.as_bytes());
            let flaw = format.read(body.as_bytes()).expect_err("unreadable");
            let hint = of_unreadable(&flaw, format, body.as_bytes()).unwrap_or("none");
            assert!(hint.contains(part), "{body}: {hint}");
        }
    }

    #[test]
    fn what_is_no_text_is_told_what_it_is() {
        for (body, part, _source) in [
            (&b"\x1f\x8b\x08\0\0\0\0\0"[..], "gzip", "spring-amqp#1251"),
            (b"\x28\xb5\x2f\xfd\x04\0", "zstd", "RFC 8878"),
            (b"\x78\x9c\x03\0", "deflate", "kombu"),
            (b"\x00\x53\x77\xa1\x02{}", "AMQP 1.0", "field-cases 65"),
            (b"\xff\xfe{\0}\0", "UTF-16", "field-cases 52"),
            (b"{\0\"\0a\0", "UTF-16", "no byte order mark"),
        ] {
            assert!(hint(body).contains(part), "{body:?}: {}", hint(body));
        }
    }

    #[test]
    fn what_nobody_knows_gets_no_hint() {
        for body in [
            "hello, world",
            "/a/b",
            "",
            "{",
            "{\"a\":\"x",
            "{\"a\":}",
            "{\"a\" 1}",
            "{\"a\":01}",
            "7",
            "null",
            "<xml>",
        ] {
            assert_eq!(hint(body.as_bytes()), "none", "{body}");
        }
        assert_eq!(hint(b"{\"a\":\"\xe9\"}"), "none");
    }

    #[test]
    fn envelopes_of_frameworks_are_known() {
        for (body, part) in [
            (
                r#"{"pattern":"profiles.add","data":{"db_id":1},"id":"x"}"#,
                "#nestjs",
            ),
            (r#"{"pattern":{"cmd":"add"},"data":{}}"#, "#nestjs"),
            (
                r#"{"messageId":"x","messageType":["urn:message:A"],"message":{"db_id":1}}"#,
                "#masstransit",
            ),
            (r#"{"task":"t","id":"x","args":[],"kwargs":{}}"#, "#celery"),
            (
                r#"{"specversion":"1.0","type":"t","source":"s","id":"1","data":{}}"#,
                "CloudEvent",
            ),
        ] {
            let hint = of_envelope(Format::Json, body.as_bytes()).unwrap_or("none");
            assert!(hint.contains(part), "{body}: {hint}");
        }
        for body in [
            r#"{"data":{}}"#,
            r#"{"message":"x"}"#,
            "{}",
            r#"{"args":[]}"#,
        ] {
            assert_eq!(of_envelope(Format::Json, body.as_bytes()), None, "{body}");
        }
    }

    /// Hostile bodies take no longer than their length.
    #[test]
    fn a_hint_is_found_in_one_pass() {
        for part in ["[", "{\"a\":", "\"\\\"", "a ", "[1],"] {
            let body = part.repeat((1 << 20) / part.len());
            hint(body.as_bytes());
        }
    }
}
