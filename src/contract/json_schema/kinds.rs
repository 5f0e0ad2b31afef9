//! The schemas of the kinds of value.

use serde_json::{Value, json};

use crate::domain::channel::Channel;
use crate::domain::kind::Kind;
use crate::domain::parse::STATUSES;

/// Matches a text without visible ASCII: of what shows nothing Unicode has more than a pattern
/// should list.
pub(super) const NOTHING_TO_SEE: &str = "^[^\\u0000!-~]*$";

/// Matches a text that can be stored.
pub(super) const WITHOUT_NUL: &str = "^[^\\u0000]*$";

/// Makes the schema of a value of this kind.
pub(super) fn kind(kind: Kind) -> Value {
    match kind {
        Kind::String | Kind::Text | Kind::Word => json!({"type": "string", "pattern": WITHOUT_NUL}),
        Kind::Provider => json!({"type": "string", "pattern": "^[^:]*[^:\\s][^:]*$"}),
        Kind::Email => {
            json!({"type": "string", "pattern": "^\\s*[^@\\s\"]+@[^@\\s]+[.\\u3002\\uff0e\\uff61][^@\\s]+\\s*$", "examples": ["john@example.com"]})
        }
        Kind::Phone => {
            let separators = "[ \\-.()\\u00a0]*";
            let pattern =
                format!("^\\s*\\+{separators}[1-9]({separators}[0-9]){{7,14}}{separators}\\s*$");
            json!({"type": "string", "pattern": pattern, "examples": ["+79000000000"]})
        }
        Kind::Phones => json!({"type": "array", "items": self::kind(Kind::Phone)}),
        Kind::Country => json!({"type": "string", "pattern": "^[A-Za-z]{2}$"}),
        Kind::PostalCode => json!({"anyOf": [self::kind(Kind::String), self::kind(Kind::Integer)]}),
        Kind::Ip => json!({"type": "string", "anyOf": [{"format": "ipv4"}, {"format": "ipv6"}]}),
        Kind::Date => json!({"type": "string", "format": "date"}),
        Kind::DateTime => json!({"type": "string", "format": "date-time"}),
        Kind::DateOrDateTime => {
            json!({"type": "string", "anyOf": [{"format": "date"}, {"format": "date-time"}]})
        }
        Kind::TimeZone => {
            json!({"type": "string", "pattern": "^[A-Za-z]", "examples": ["Europe/Moscow"]})
        }
        Kind::Sex => json!({"enum": [0, 1, 2, "male", "female"]}),
        Kind::Status => json!({"anyOf": [self::kind(Kind::Integer), {"enum": STATUSES}]}),
        Kind::Channel => json!({"enum": Channel::ALL.map(Channel::name)}),
        Kind::Integer => json!({"type": "integer", "minimum": i64::MIN, "maximum": i64::MAX}),
        Kind::Id => json!({"type": "integer", "minimum": 1, "maximum": i64::MAX}),
        Kind::Number => json!({"type": "number"}),
        Kind::Boolean => json!({"type": "boolean"}),
        Kind::Strings | Kind::Texts => json!({"type": "array", "items": self::kind(Kind::String)}),
        Kind::Object => json!({"type": "object"}),
        Kind::Any => json!({}),
    }
}

/// Makes the schema of a profile's id.
pub(super) fn profile_id() -> Value {
    json!({"type": "string", "pattern": "^[0-9a-f]{24}$", "description": "4 bytes of Unix seconds, then 8 that make it unique"})
}
