//! The trigger event: what automation systems are told about an added profile.

use jiff::Timestamp;
use serde::Serialize;

use super::identity::ProfileId;
use super::subscription::Subscription;

/// The body of a trigger event.
#[derive(Debug, Serialize)]
pub struct Added<'a> {
    event: &'static str,
    db_id: i64,
    profile_id: ProfileId,
    email: Option<&'a str>,
    subscriptions: &'a [Subscription],
    added_at: String,
}

impl<'a> Added<'a> {
    /// The event for a profile that was added at `added_at`.
    pub fn new(
        db_id: i64,
        profile_id: ProfileId,
        email: Option<&'a str>,
        subscriptions: &'a [Subscription],
        added_at: Timestamp,
    ) -> Self {
        Self { event: "profile.added", db_id, profile_id, email, subscriptions, added_at: format!("{added_at:.3}") }
    }

    /// The body as it is published.
    pub fn to_json(&self) -> Vec<u8> {
        match serde_json::to_vec(self) {
            Ok(bytes) => bytes,
            Err(_) => unreachable!("strings, numbers and trees that were read can be written"),
        }
    }
}

/// The routing key of the event for a profile of this database.
pub fn routing_key(db_id: i64) -> String {
    format!("profile.added.{db_id}")
}

/// The event's `message_id`: the same on every redelivery, so that a consumer can drop repeats.
pub fn message_id(profile_id: ProfileId) -> String {
    format!("{profile_id}.profile.added")
}
