//! How the types of `domain` are written in JSON: in replies and in events.

use serde::ser::{Serialize, SerializeStruct, Serializer};

use crate::domain::channel::Channel;
use crate::domain::identity::ProfileId;
use crate::domain::moment::Moment;
use crate::domain::subscription::{Skipped, Subscription};

/// As 24 hex digits.
impl Serialize for ProfileId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.hex().as_str())
    }
}

/// By its name.
impl Serialize for Channel {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// As RFC 3339 has it.
impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// As in the contract's trigger event: what was not given is left out.
impl Serialize for Subscription {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self {
            resource_id,
            channel,
            address,
            status,
            priority,
            cats,
            custom_fields,
            date,
            ip,
            url,
        } = self;
        let mut out = serializer.serialize_struct("Subscription", 10)?;
        out.serialize_field("resource_id", resource_id)?;
        out.serialize_field("channel", channel)?;
        out.serialize_field("address", address)?;
        out.serialize_field("status", status)?;
        given(&mut out, "priority", priority)?;
        given(&mut out, "cats", cats)?;
        given(&mut out, "custom_fields", custom_fields)?;
        given(&mut out, "date", date)?;
        given(&mut out, "ip", ip)?;
        given(&mut out, "url", url)?;
        out.end()
    }
}

fn given<S: SerializeStruct>(
    out: &mut S,
    name: &'static str,
    value: &Option<impl Serialize>,
) -> Result<(), S::Error> {
    match value {
        Some(value) => out.serialize_field(name, value),
        None => out.skip_field(name),
    }
}

/// As an item of `skipped_subscriptions`.
impl Serialize for Skipped {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("Skipped", 2)?;
        out.serialize_field("index", &self.index)?;
        out.serialize_field("error_text", &self.error_text)?;
        out.end()
    }
}
