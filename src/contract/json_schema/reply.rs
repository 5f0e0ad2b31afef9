//! The schemas of replies.

use serde_json::{Map, Value, json};

use super::kinds::profile_id;
use super::references::References;
use crate::domain::outcome::Code;

/// Makes the schema of a reply.
pub(super) fn reply_schema(at: References) -> Value {
    let mut properties = result_properties(at);
    properties.insert(
        "feedback_id".to_owned(),
        json!({"type": "string", "description": "As it came in the request"}),
    );
    properties.insert(
        "warnings".to_owned(),
        json!({
            "type": "array",
            "minItems": 1,
            "items": {"type": "string"},
            "description": "Only if the request asks for them: the path and what is no error there, but most likely not \
                what was meant",
        }),
    );
    properties.insert(
        "result".to_owned(),
        json!({
            "type": "array",
            "items": at.to("result"),
            "description": "The batch form: what became of each profile, in the order of the request",
        }),
    );
    json!({
        "description": "The answer to one request.",
        "type": "object",
        "required": ["error", "error_text"],
        "properties": properties,
        "additionalProperties": false,
        "if": {"properties": {"error": {"const": 0}}},
        "then": {
            "description": "Neither of the two: results that are larger than the broker takes; the text has their numbers",
            "not": {"required": ["profile_id", "result"]},
        },
        "else": {"not": {"anyOf": [{"required": ["profile_id"]}, {"required": ["result"]}]}},
    })
}

/// Makes the schema of what became of one profile.
pub(super) fn result_schema(at: References) -> Value {
    json!({
        "description": "What became of one profile of the batch form.",
        "type": "object",
        "required": ["error", "error_text"],
        "properties": result_properties(at),
        "additionalProperties": false,
        "if": {"properties": {"error": {"const": 0}}},
        "then": {"required": ["profile_id"]},
        "else": {"not": {"required": ["profile_id"]}},
    })
}

fn result_properties(at: References) -> Map<String, Value> {
    let codes = Code::ALL.map(Code::number);
    let properties = [
        (
            "error",
            json!({"enum": codes, "description": "0 is success"}),
        ),
        (
            "error_text",
            json!({
                "type": "string",
                "description": "What is wrong, with the path to it; empty on success. Of a reply that is larger than \
                    the broker takes, what was stored and what was left out",
            }),
        ),
        ("profile_id", profile_id()),
        ("skipped_subscriptions", at.to("skippedSubscriptions")),
    ];
    properties
        .into_iter()
        .map(|(name, schema)| (name.to_owned(), schema))
        .collect()
}

/// Makes the schema of the subscriptions that were dropped.
pub(super) fn skipped_schema() -> Value {
    json!({
        "description": "The subscriptions that were dropped, as the request allows",
        "type": "array",
        "minItems": 1,
        "items": {
            "type": "object",
            "required": ["index", "error_text"],
            "properties": {"index": {"type": "integer", "minimum": 0}, "error_text": {"type": "string"}},
            "additionalProperties": false,
        },
    })
}
