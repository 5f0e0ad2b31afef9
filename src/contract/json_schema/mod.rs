//! JSON Schema (draft 7, which AsyncAPI builds on) of requests, replies and trigger events.
//!
//! A schema can't know what stands in a database: resources, custom fields that are defined, emails
//! that are taken. And it is stricter than the service in nothing, laxer in little: `1.0` is an
//! integer to JSON Schema, and a time zone is any text.

use serde_json::{Map, Value, json};

use crate::domain::address::{self, AddressPart};
use crate::domain::channel::Channel;
use crate::domain::kind::{Field, Kind};
use crate::domain::outcome::Code;
use crate::domain::parse::STATUSES;
use crate::domain::{profile, subscription};
use crate::wire::request::{self, DATA, PROFILES_MAX};

/// A document with all schemas: `#/definitions/request`, `reply` and `event`.
pub(crate) fn document() -> Value {
    let at = References("#/definitions/");
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "profile-worker: requests, replies and trigger events",
        "anyOf": [at.to("request"), at.to("reply"), at.to("event")],
        "definitions": Value::Object(definitions(at)),
    })
}

/// Where the definitions stand in a document.
#[derive(Debug, Clone, Copy)]
pub(super) struct References(pub(super) &'static str);

impl References {
    pub(super) fn to(self, name: &str) -> Value {
        json!({"$ref": format!("{}{name}", self.0)})
    }
}

/// All definitions by name.
pub(super) fn definitions(at: References) -> Map<String, Value> {
    let all = [
        ("request", request_schema(at)),
        ("profile", profile_schema(at.to("subscription"))),
        ("profileWithAnySubscriptions", profile_schema(json!({}))),
        ("subscription", subscription_schema()),
        ("reply", reply_schema(at)),
        ("result", result_schema(at)),
        ("skippedSubscriptions", skipped_schema()),
        ("event", event_schema()),
    ];
    all.into_iter()
        .map(|(name, schema)| (name.to_owned(), schema))
        .collect()
}

fn request_schema(at: References) -> Value {
    let mut properties = fields(request::FIELDS);
    properties.insert(DATA.to_owned(), data_schema(json!({})));
    let data = |profile: &str| json!({"properties": {DATA: data_schema(at.to(profile))}});
    // Required, and not null.
    properties.insert("db_id".to_owned(), required(request::FIELDS, "db_id"));
    json!({
        "description": "A request to add a profile, or many. Unknown top-level fields are ignored.",
        "type": "object",
        "required": ["db_id"],
        "properties": properties,
        // An invalid subscription is no error of a request that allows to drop it.
        "if": {"required": ["skip_invalid_subscriptions"], "properties": {"skip_invalid_subscriptions": {"const": true}}},
        "then": data("profileWithAnySubscriptions"),
        "else": data("profile"),
    })
}

fn data_schema(profile: Value) -> Value {
    json!({
        "description": "The profile; null is an empty one. An array of profiles is the batch form.",
        "anyOf": [
            profile,
            {"type": "null"},
            {"type": "array", "maxItems": PROFILES_MAX, "items": {"anyOf": [profile, {"type": "null"}]}},
        ],
    })
}

fn profile_schema(subscription: Value) -> Value {
    let mut properties = fields(profile::FIELDS);
    let email = described(
        or_null(
            json!({"anyOf": [kind(Kind::Email), {"type": "string", "pattern": NOTHING_TO_SEE}]}),
        ),
        profile::FIELDS[0].about,
    );
    properties.insert("email".to_owned(), email);
    properties.insert(
        profile::SUBSCRIPTIONS.to_owned(),
        described(
            or_null(json!({"type": "array", "maxItems": subscription::SUBSCRIPTIONS_MAX, "items": subscription})),
            "Opt-ins to resources of the database",
        ),
    );
    json!({
        "description": "A profile. Other fields are custom fields, of any kind unless the database defines them.",
        "type": "object",
        "properties": properties,
        "propertyNames": {"pattern": WITHOUT_NUL},
    })
}

fn subscription_schema() -> Value {
    let mut properties = fields(subscription::FIELDS);
    for name in ["resource_id", "channel"] {
        properties.insert(name.to_owned(), required(subscription::FIELDS, name));
    }
    let addresses = Channel::ALL.map(|channel| {
        let alternatives: Vec<_> = address::alternatives(channel)
            .iter()
            .map(|parts| address_schema(parts))
            .collect();
        json!({
            "if": {"required": ["channel"], "properties": {"channel": {"const": channel.name()}}},
            "then": {"anyOf": alternatives},
        })
    });
    json!({
        "description": "An opt-in to one resource over one channel, with the address that the channel needs.",
        "type": "object",
        "required": ["resource_id", "channel"],
        "properties": properties,
        "allOf": addresses,
    })
}

/// The parts of an address, each at its path.
fn address_schema(parts: &[AddressPart]) -> Value {
    let at_path = |part: &AddressPart| {
        let inside_out = part.path.iter().rev();
        inside_out.fold(
            kind(part.kind),
            |schema, name| json!({"type": "object", "required": [name], "properties": {*name: schema}}),
        )
    };
    json!({"allOf": parts.iter().map(at_path).collect::<Vec<_>>()})
}

fn reply_schema(at: References) -> Value {
    let mut properties = result_properties(at);
    properties.insert(
        "feedback_id".to_owned(),
        json!({"type": "string", "description": "As it came in the request"}),
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

fn result_schema(at: References) -> Value {
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

fn skipped_schema() -> Value {
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

fn event_schema() -> Value {
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

fn profile_id() -> Value {
    json!({"type": "string", "pattern": "^[0-9a-f]{24}$", "description": "4 bytes of Unix seconds, then 8 that make it unique"})
}

/// The fields of a table: null is the same as not given.
fn fields(table: &[Field]) -> Map<String, Value> {
    let field = |field: &Field| {
        (
            field.name.to_owned(),
            described(or_null(kind(field.kind)), field.about),
        )
    };
    table.iter().map(field).collect()
}

fn required(table: &'static [Field], name: &str) -> Value {
    match Field::find(table, name) {
        Some(field) => described(kind(field.kind), field.about),
        None => unreachable!("{name} stands in the table"),
    }
}

fn described(mut schema: Value, about: &str) -> Value {
    schema["description"] = about.into();
    schema
}

fn or_null(schema: Value) -> Value {
    json!({"anyOf": [schema, {"type": "null"}]})
}

/// Of what shows nothing Unicode has more than a pattern should list.
const NOTHING_TO_SEE: &str = "^[^\\u0000!-~]*$";

const WITHOUT_NUL: &str = "^[^\\u0000]*$";

/// What a value of this kind is.
fn kind(kind: Kind) -> Value {
    match kind {
        Kind::String | Kind::Word => json!({"type": "string", "pattern": WITHOUT_NUL}),
        Kind::Name => json!({"type": "string", "pattern": "\\S"}),
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
        Kind::Strings => json!({"type": "array", "items": self::kind(Kind::String)}),
        Kind::Object => json!({"type": "object"}),
        Kind::Any => json!({}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_of_the_tables_is_described() {
        let document = document();
        for (definition, table) in [
            ("request", request::FIELDS),
            ("profile", profile::FIELDS),
            ("subscription", subscription::FIELDS),
        ] {
            for field in table {
                let schema = &document["definitions"][definition]["properties"][field.name];
                assert_eq!(
                    schema["description"], field.about,
                    "{definition} {}",
                    field.name
                );
            }
        }
    }
}
