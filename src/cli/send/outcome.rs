//! What became of one request, as a report has it.

use serde::{Deserialize, Serialize};

use crate::domain::outcome::Code;
use crate::domain::value::{Object, Value};
use crate::wire::Format;

/// What became of one request. In JSON it reads as a reply does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Outcome {
    /// The code of the reply.
    pub(super) error: i64,
    /// Its text.
    pub(super) error_text: String,
    /// The profile that was added, empty where none was.
    pub(super) profile_id: String,
}

/// The names of an outcome's fields: the columns that a report adds.
pub(super) const NAMES: [&str; 3] = ["error", "error_text", "profile_id"];

impl Outcome {
    /// What is said of a record that is no request; nobody was asked.
    pub(super) fn unreadable(text: &str) -> Self {
        Self {
            error: i64::from(Code::Invalid.number()),
            error_text: text.to_owned(),
            profile_id: String::new(),
        }
    }

    /// Reads a reply; `code` is that of its header, for a reply that can't be read.
    pub(super) fn of_reply(body: &[u8], code: Option<i64>) -> Self {
        match Format::of(None, body).read(body) {
            Ok(reply) => refused_entry(&reply).unwrap_or_else(|| Self::of(&reply)),
            Err(_) => Self {
                error: code.unwrap_or(-1),
                error_text: "the reply can't be read".to_owned(),
                profile_id: String::new(),
            },
        }
    }

    fn of(reply: &Object<'_>) -> Self {
        Self {
            error: text(reply, "error").parse().unwrap_or(-1),
            error_text: text(reply, "error_text").to_owned(),
            profile_id: text(reply, "profile_id").to_owned(),
        }
    }

    /// Whether the profile stands in its database.
    pub(super) fn is_added(&self) -> bool {
        self.error == 0
    }

    /// The cells of a table's row.
    pub(super) fn cells(&self) -> [String; 3] {
        [
            self.error.to_string(),
            self.error_text.clone(),
            self.profile_id.clone(),
        ]
    }
}

/// Of the batch form, the first profile that was refused: a request is done only when all are.
fn refused_entry(reply: &Object<'_>) -> Option<Outcome> {
    let Some(Value::Array(results)) = reply.get("result") else {
        return None;
    };
    let results = results.iter().map(|result| match result {
        Value::Object(result) => Outcome::of(result),
        _ => Outcome::unreadable("the reply can't be read"),
    });
    let all = results.len();
    let mut refused = results.enumerate().filter(|(_, entry)| !entry.is_added());
    let (index, first) = refused.next()?;
    let text = first.error_text;
    let count = 1 + refused.count();
    Some(Outcome {
        error_text: format!(
            "{count} of {all} profiles refused; the first is data[{index}]: {text}"
        ),
        ..first
    })
}

fn text<'r>(reply: &'r Object<'_>, name: &str) -> &'r str {
    match reply.get(name) {
        Some(Value::String(text) | Value::Text(text) | Value::Number(text)) => text,
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(error: i64, text: &str, profile_id: &str) -> Outcome {
        Outcome {
            error,
            error_text: text.to_owned(),
            profile_id: profile_id.to_owned(),
        }
    }

    #[test]
    fn replies_of_both_formats_are_read() {
        let id = "6638e1e8ee44bb50a67115c4";
        for (reply, wanted) in [
            (
                r#"{"error":0,"error_text":"","profile_id":"6638e1e8ee44bb50a67115c4"}"#,
                outcome(0, "", id),
            ),
            (
                "<xml><error>0</error><error_text>Successful operation</error_text>\
                 <profile_id>6638e1e8ee44bb50a67115c4</profile_id></xml>",
                outcome(0, "Successful operation", id),
            ),
            (
                r#"{"error":409,"error_text":"taken","feedback_id":"f"}"#,
                outcome(409, "taken", ""),
            ),
            (
                "<xml><error>400</error><error_text>db_id: is missing</error_text></xml>",
                outcome(400, "db_id: is missing", ""),
            ),
        ] {
            assert_eq!(Outcome::of_reply(reply.as_bytes(), None), wanted, "{reply}");
        }
        assert_eq!(Outcome::of_reply(b"x", Some(500)).error, 500);
        assert!(!Outcome::of_reply(b"x", None).is_added());
    }

    #[test]
    fn the_batch_form_is_added_when_all_of_it_is() {
        let added = r#"{"error":0,"error_text":"","profile_id":"6638e1e8ee44bb50a67115c4"}"#;
        let refused = r#"{"error":409,"error_text":"taken"}"#;
        let reply = |results: &[&str]| {
            let results = results.join(",");
            format!(r#"{{"error":0,"error_text":"","result":[{results}]}}"#)
        };
        let all = reply(&[added, added]);
        assert_eq!(Outcome::of_reply(all.as_bytes(), None), outcome(0, "", ""));
        let some = reply(&[added, refused, added, refused]);
        assert_eq!(
            Outcome::of_reply(some.as_bytes(), None),
            outcome(
                409,
                "2 of 4 profiles refused; the first is data[1]: taken",
                ""
            )
        );
        let xml = "<xml><error>0</error><error_text/><result array=\"true\"><error>409</error>\
                   <error_text>taken</error_text></result></xml>";
        assert_eq!(Outcome::of_reply(xml.as_bytes(), None).error, 409);
    }

    #[test]
    fn the_names_are_those_of_the_fields() {
        let written = serde_json::to_string(&outcome(0, "", "")).unwrap();
        let places: Vec<_> = NAMES
            .iter()
            .map(|name| written.find(&format!("\"{name}\":")).unwrap())
            .collect();
        assert!(places.is_sorted(), "{written}");
    }
}
