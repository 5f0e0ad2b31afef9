//! A reply → bytes.

use serde::Serialize;

use crate::domain::identity::ProfileId;
use crate::domain::outcome::{Code, Rejection};
use crate::domain::subscription::Skipped;

/// The published result of one request.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply<'a> {
    /// The answer.
    pub result: Result<Success<'a>, &'a Rejection>,
    /// As it came in the request.
    pub feedback_id: Option<&'a str>,
}

/// The profile stands in the database.
#[derive(Debug, Clone, PartialEq)]
pub struct Success<'a> {
    /// Its id.
    pub profile_id: ProfileId,
    /// The subscriptions that were dropped.
    pub skipped: &'a [Skipped],
}

/// The fields in the order of the seed's example.
#[derive(Serialize)]
struct Body<'a> {
    error: u16,
    error_text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    profile_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    feedback_id: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    skipped_subscriptions: &'a [Skipped],
}

impl Reply<'_> {
    /// The `error` of the reply.
    pub fn code(&self) -> Code {
        match self.result {
            Ok(_) => Code::Added,
            Err(rejection) => rejection.code,
        }
    }

    /// The reply as JSON.
    pub fn to_json(&self) -> Vec<u8> {
        let error = self.code().number();
        let feedback_id = self.feedback_id;
        let body = match &self.result {
            Ok(success) => Body {
                error,
                error_text: "",
                profile_id: Some(success.profile_id.to_string()),
                feedback_id,
                skipped_subscriptions: success.skipped,
            },
            Err(rejection) => {
                Body { error, error_text: &rejection.text, profile_id: None, feedback_id, skipped_subscriptions: &[] }
            }
        };
        match serde_json::to_vec(&body) {
            Ok(bytes) => bytes,
            Err(_) => unreachable!("strings and numbers can always be written"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(reply: &Reply<'_>) -> String {
        String::from_utf8(reply.to_json()).unwrap()
    }

    #[test]
    fn the_seeds_answer_to_the_letter() {
        let reply = Reply {
            result: Ok(Success { profile_id: ProfileId::parse("6638e1e8ee44bb50a67115c4").unwrap(), skipped: &[] }),
            feedback_id: None,
        };
        assert_eq!(json(&reply), r#"{"error":0,"error_text":"","profile_id":"6638e1e8ee44bb50a67115c4"}"#);
    }

    #[test]
    fn a_refusal_has_no_profile_id() {
        let rejection = Rejection::forbidden(7);
        let reply = Reply { result: Err(&rejection), feedback_id: Some("f\"1") };
        assert_eq!(
            json(&reply),
            r#"{"error":403,"error_text":"the token has no access to database 7","feedback_id":"f\"1"}"#
        );
    }

    #[test]
    fn dropped_subscriptions_are_listed() {
        let skipped = [Skipped { index: 1, error_text: "x".into() }];
        let reply = Reply {
            result: Ok(Success {
                profile_id: ProfileId::parse("6638e1e8ee44bb50a67115c4").unwrap(),
                skipped: &skipped,
            }),
            feedback_id: None,
        };
        assert!(json(&reply).ends_with(r#""skipped_subscriptions":[{"index":1,"error_text":"x"}]}"#));
    }
}
