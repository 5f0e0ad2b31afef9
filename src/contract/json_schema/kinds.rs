//! The schemas of the kinds of value.

use serde_json::{Value, json};

use crate::contract::patterns::{BLANKS, pattern, visible};
use crate::domain::kind::Kind;

/// Matches a text that can be stored.
const WITHOUT_NUL: &str = "^[^\\u0000]*$";

/// Those of the characters that nobody sees that stand in JSON only: XML has blanks for them, or
/// does not have them.
const CONTROLS: &str = "\\u0001-\\u001f";

/// Makes the schema of a value of this kind that is given.
pub(super) fn kind(kind: Kind) -> Value {
    match kind {
        Kind::String | Kind::Text => json!({"type": "string", "pattern": WITHOUT_NUL}),
        Kind::Word => text_like(&visible("\\u0000", CONTROLS)),
        Kind::Provider => text_like(&visible("\\u0000:", CONTROLS)),
        Kind::Email => with_example(text(kind), "john@example.com"),
        Kind::Phone => with_example(text(kind), "+79000000000"),
        Kind::Phones => array(Kind::Phone),
        Kind::PostalCode => json!({"anyOf": [self::kind(Kind::String), self::kind(Kind::Integer)]}),
        Kind::Date => with_example(text(kind), "2001-12-31"),
        Kind::DateTime => with_example(text(kind), "2001-12-31T10:00:00+03:00"),
        Kind::TimeZone => with_example(text(kind), "Europe/Moscow"),
        Kind::Country | Kind::Ip | Kind::DateOrDateTime | Kind::Channel => text(kind),
        Kind::Sex => json!({"anyOf": [{"enum": [0, 1, 2]}, text(kind)]}),
        Kind::Status => json!({"anyOf": [self::kind(Kind::Integer), text(kind)]}),
        Kind::Integer => json!({"type": "integer", "minimum": i64::MIN, "maximum": i64::MAX}),
        Kind::Id => json!({"type": "integer", "minimum": 1, "maximum": i64::MAX}),
        Kind::Number => json!({"type": "number"}),
        Kind::Boolean => json!({"type": "boolean"}),
        Kind::Strings => array(Kind::String),
        Kind::Texts => array(Kind::Text),
        Kind::Object => json!({"anyOf": [{"type": "object"}, nothing_in_array()]}),
        Kind::Any => json!({}),
    }
}

/// Makes the schemas of what is the same as not given.
pub(super) fn nothing(kind: Kind) -> Vec<Value> {
    let blank = json!({"type": "string", "pattern": format!("^[{CONTROLS}{BLANKS}]*$")});
    let null = json!({"type": "null"});
    if kind.has_format() {
        vec![blank, null]
    } else {
        vec![null]
    }
}

/// Makes the schema of an empty object, as PHP writes it.
pub(super) fn nothing_in_array() -> Value {
    json!({"type": "array", "maxItems": 0})
}

fn array(item: Kind) -> Value {
    let mut items = nothing(item);
    items.insert(0, kind(item));
    json!({"type": "array", "items": {"anyOf": items}})
}

/// Makes the schema of a text with a pattern; blanks around it do not count.
fn text(kind: Kind) -> Value {
    let Some(pattern) = pattern(kind) else {
        unreachable!("{kind:?} has a pattern");
    };
    text_like(&trimmed(&pattern))
}

/// Makes a pattern of what a pattern matches, with what may be around it.
pub(super) fn trimmed(pattern: &str) -> String {
    let around = format!("[{CONTROLS}{BLANKS}]*");
    format!("{around}({pattern}){around}")
}

/// Makes the schema of a text that a pattern matches as a whole.
pub(super) fn text_like(pattern: &str) -> Value {
    json!({"type": "string", "pattern": format!("^{pattern}$")})
}

fn with_example(mut schema: Value, example: &str) -> Value {
    schema["examples"] = json!([example]);
    schema
}

/// Makes the schema of a profile's id.
pub(super) fn profile_id() -> Value {
    json!({"type": "string", "pattern": "^[0-9a-f]{24}$", "description": "4 bytes of Unix seconds, then 8 that make it unique"})
}
