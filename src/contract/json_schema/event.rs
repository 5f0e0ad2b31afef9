//! The schema of trigger events.

use serde_json::{Value, json};

use super::kinds::{kind, profile_id};
use crate::domain::kind::Kind;

/// Makes the schema of a trigger event.
pub(super) fn event_schema() -> Value {
    json!({
        "description": "A profile was added.",
        "type": "object",
        "required": ["event", "db_id", "profile_id", "email", "added_at"],
        "oneOf": [{"required": ["subscriptions"]}, {"required": ["subscriptions_omitted"]}],
        "properties": {
            "event": {"const": "profile.added"},
            "db_id": kind(Kind::Id),
            "profile_id": profile_id(),
            "email": {"type": ["string", "null"]},
            "subscriptions": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["resource_id", "channel", "address", "status"],
                    "properties": {
                        "resource_id": kind(Kind::Integer),
                        "channel": kind(Kind::Channel),
                        "address": {"type": "string"},
                        "status": {"type": "string"},
                        "priority": kind(Kind::Integer),
                        "cats": kind(Kind::Strings),
                        "custom_fields": kind(Kind::Object),
                        "date": kind(Kind::DateTime),
                        "ip": kind(Kind::Ip),
                        "url": {"type": "string"},
                    },
                },
            },
            "subscriptions_omitted": {
                "const": true,
                "description": "The event with its subscriptions is larger than the broker takes",
            },
            "added_at": kind(Kind::DateTime),
        },
    })
}
