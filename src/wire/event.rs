//! The trigger event: what automation systems are told about an added profile.

use jiff::Timestamp;
use serde::Serialize;

use crate::domain::identity::ProfileId;
use crate::domain::subscription::Subscription;

/// The body of a trigger event.
#[derive(Debug, Serialize)]
pub struct Added<'a> {
    event: &'static str,
    db_id: i64,
    profile_id: ProfileId,
    email: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subscriptions: Option<&'a [Subscription]>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    subscriptions_omitted: bool,
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
        Self {
            event: "profile.added",
            db_id,
            profile_id,
            email,
            subscriptions: Some(subscriptions),
            subscriptions_omitted: false,
            added_at: format!("{added_at:.3}"),
        }
    }

    /// The body as it is published.
    pub fn to_json(&self) -> Vec<u8> {
        match serde_json::to_vec(self) {
            Ok(bytes) => bytes,
            Err(_) => unreachable!("strings, numbers and trees that were read can be written"),
        }
    }

    /// The body in at most `max` bytes, for a broker that takes no larger messages (RabbitMQ's
    /// `max_message_size`): without the subscriptions, and it says so, if they do not fit. What is
    /// left has less than 600 bytes (an email has at most 254), and comes even where `max` is less.
    pub fn to_json_within(&self, max: usize) -> Vec<u8> {
        let full = self.to_json();
        if full.len() <= max {
            return full;
        }
        let added_at = self.added_at.clone();
        Added {
            subscriptions: None,
            subscriptions_omitted: true,
            added_at,
            ..*self
        }
        .to_json()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_that_is_too_large_leaves_the_subscriptions_out_and_says_so() {
        let id = ProfileId::parse("6638e1e8ee44bb50a67115c4").unwrap();
        let event = Added::new(1, id, Some("a@example.com"), &[], Timestamp::UNIX_EPOCH);
        let full = event.to_json();
        let text = r#"{"event":"profile.added","db_id":1,"profile_id":"6638e1e8ee44bb50a67115c4","email":"a@example.com","#;
        let added_at = r#""added_at":"1970-01-01T00:00:00.000Z"}"#;
        assert_eq!(
            std::str::from_utf8(&full).unwrap(),
            format!(r#"{text}"subscriptions":[],{added_at}"#)
        );
        assert_eq!(event.to_json_within(full.len()), full);
        let short = String::from_utf8(event.to_json_within(full.len() - 1)).unwrap();
        assert_eq!(
            short,
            format!(r#"{text}"subscriptions_omitted":true,{added_at}"#)
        );
    }
}
