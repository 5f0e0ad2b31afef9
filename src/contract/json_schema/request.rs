//! The schemas of what producers send.

use serde_json::{Value, json};

use super::fields::{described, fields, required};
use super::kinds::{kind, nothing, nothing_in_array, text_like, trimmed};
use super::references::References;
use crate::domain::address::{self, AddressPart};
use crate::domain::channel::Channel;
use crate::domain::kind::Kind;
use crate::domain::{profile, subscription};
use crate::wire::request::{self, DATA, PROFILES_MAX};

/// Makes the schema of a request.
pub(super) fn request_schema(at: References) -> Value {
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
    let mut profiles = nothing(Kind::Object);
    profiles.insert(0, profile);
    let mut items = profiles.clone();
    items.push(nothing_in_array());
    profiles.push(json!({"type": "array", "maxItems": PROFILES_MAX, "items": {"anyOf": items}}));
    json!({
        "description": "The profile; null is an empty one. An array of profiles is the batch form.",
        "anyOf": profiles,
    })
}

/// Makes the schema of a profile whose subscriptions are such.
pub(super) fn profile_schema(subscription: Value) -> Value {
    let mut properties = fields(profile::FIELDS);
    let array = json!({"type": "array", "maxItems": subscription::SUBSCRIPTIONS_MAX, "items": subscription});
    let subscriptions = [vec![array], nothing(Kind::Object)].concat();
    properties.insert(
        profile::SUBSCRIPTIONS.to_owned(),
        described(
            json!({"anyOf": subscriptions}),
            "Opt-ins to resources of the database",
        ),
    );
    json!({
        "description": "A profile. Other fields are custom fields, of any kind unless the database defines them.",
        "type": "object",
        "properties": properties,
        // What is null is not stored, whatever its name.
        "patternProperties": {"\\u0000": {"type": "null"}},
    })
}

/// Makes the schema of a subscription.
pub(super) fn subscription_schema() -> Value {
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
            "if": {"required": ["channel"], "properties": {"channel": channel_schema(channel)}},
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

/// Makes the schema of one channel.
fn channel_schema(channel: Channel) -> Value {
    text_like(&trimmed(channel.name()))
}

/// Makes the schema of the parts of an address, each at its path.
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
