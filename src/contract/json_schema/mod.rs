//! JSON Schema (draft 7, which AsyncAPI builds on) of requests, replies and trigger events.
//!
//! A schema can't know what stands in a database: resources, custom fields that are defined, emails
//! that are taken. It is laxer than the service as to emails, of which it knows the form only, and
//! stricter in spellings that are rare ([`super::patterns`]).

mod event;
mod fields;
mod kinds;
mod references;
mod reply;
mod request;

use serde_json::{Map, Value, json};

use self::event::event_schema;
pub(super) use self::references::References;
use self::reply::{reply_schema, result_schema, skipped_schema};
use self::request::{profile_schema, request_schema, subscription_schema};

/// Makes a document with all schemas: `#/definitions/request`, `reply` and `event`.
pub(crate) fn document() -> Value {
    let at = References("#/definitions/");
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "profile-worker: requests, replies and trigger events",
        "anyOf": [at.to("request"), at.to("reply"), at.to("event")],
        "definitions": Value::Object(definitions(at)),
    })
}

/// Makes all definitions, by name.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{profile, subscription};
    use crate::wire::request;

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
