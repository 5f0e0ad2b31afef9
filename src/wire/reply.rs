//! A reply → bytes.

use std::borrow::Cow;
use std::io;

use serde::Serialize;

use super::Format;
use super::xml::{self, Elements};
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
    /// What the producer asked to be told of.
    pub warnings: &'a [String],
}

/// The request was accepted.
#[derive(Debug, Clone, PartialEq)]
pub enum Success<'a> {
    /// Its profile stands in the database.
    One(Added<'a>),
    /// The batch form: what became of each profile, in the request's order.
    Many(Vec<Result<Added<'a>, &'a Rejection>>),
}

/// A profile stands in the database.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Added<'a> {
    /// Its id.
    pub profile_id: ProfileId,
    /// The subscriptions that were dropped.
    pub skipped: &'a [Skipped],
}

/// The fields in the order of the seed's example.
#[derive(Clone, Serialize)]
struct Body<'a> {
    error: u16,
    error_text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    profile_id: Option<ProfileId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<Vec<Body<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    feedback_id: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    skipped_subscriptions: &'a [Skipped],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    warnings: &'a [String],
}

/// What a reply takes that says "added", with some room.
const USUAL_BYTES: usize = 96;

impl Reply<'_> {
    /// The `error` of the reply.
    pub fn code(&self) -> Code {
        match self.result {
            Ok(_) => Code::Added,
            Err(rejection) => rejection.code,
        }
    }

    /// The reply as it is published.
    pub fn to_bytes(&self, format: Format) -> Vec<u8> {
        self.body(success_text(format)).to_bytes(format)
    }

    /// The reply in at most `max` bytes, for a broker that takes no larger messages (RabbitMQ's
    /// `max_message_size`). If all of it does not fit, a shorter one says what was stored: first
    /// the lists of subscriptions and profiles go, then the `feedback_id`, at last all text. The
    /// shortest has 60 to 150 bytes, and comes even where `max` is less.
    pub fn to_bytes_within(&self, format: Format, max: usize) -> Vec<u8> {
        let full = self.to_bytes(format);
        if full.len() <= max {
            return full;
        }
        let summary = self.summary(full.len(), max);
        let without_lists = Body {
            error_text: &summary,
            result: None,
            skipped_subscriptions: &[],
            warnings: &[],
            ..self.body("")
        };
        let without_feedback = Body {
            feedback_id: None,
            ..without_lists.clone()
        };
        let without_text = Body {
            error_text: "",
            ..without_feedback.clone()
        };
        let shorter = [without_lists, without_feedback]
            .into_iter()
            .map(|body| body.to_bytes(format));
        let fitting = shorter.into_iter().find(|bytes| bytes.len() <= max);
        fitting.unwrap_or_else(|| without_text.to_bytes(format))
    }

    /// What a reply says that is too short for its lists.
    fn summary(&self, full: usize, max: usize) -> Cow<'_, str> {
        match &self.result {
            Ok(Success::One(Added { skipped: [], .. })) => Cow::Borrowed("added"),
            Ok(Success::One(Added { skipped, .. })) => {
                let skipped = skipped.len();
                format!("added; {skipped} subscriptions were skipped, their list is larger than the broker takes ({max} bytes)")
                    .into()
            }
            Ok(Success::Many(results)) => {
                let added = results.iter().filter(|result| result.is_ok()).count();
                let (all, refused) = (results.len(), results.len() - added);
                format!(
                    "added {added} of {all} profiles, refused {refused}; the full reply of {full} bytes is larger than \
                     the broker takes ({max} bytes)"
                )
                .into()
            }
            Err(rejection) => Cow::Borrowed(&rejection.text),
        }
    }

    fn body<'s>(&'s self, success: &'s str) -> Body<'s> {
        let body = match &self.result {
            Ok(Success::One(added)) => Body::added(added, success),
            Ok(Success::Many(results)) => {
                let result = results.iter().map(|result| match result {
                    Ok(added) => Body::added(added, success),
                    Err(rejection) => Body::refused(rejection),
                });
                Body {
                    result: Some(result.collect()),
                    ..Body::new(Code::Added, success)
                }
            }
            Err(rejection) => Body::refused(rejection),
        };
        Body {
            feedback_id: self.feedback_id,
            warnings: self.warnings,
            ..body
        }
    }
}

/// The seed's own examples differ here.
const fn success_text(format: Format) -> &'static str {
    match format {
        Format::Json => "",
        Format::Xml => "Successful operation",
    }
}

impl<'a> Body<'a> {
    fn new(code: Code, error_text: &'a str) -> Self {
        Self {
            error: code.number(),
            error_text,
            profile_id: None,
            result: None,
            feedback_id: None,
            skipped_subscriptions: &[],
            warnings: &[],
        }
    }

    fn added(added: &Added<'a>, text: &'a str) -> Self {
        Self {
            profile_id: Some(added.profile_id),
            skipped_subscriptions: added.skipped,
            ..Self::new(Code::Added, text)
        }
    }

    fn refused(rejection: &'a Rejection) -> Self {
        Self::new(rejection.code, &rejection.text)
    }

    fn to_bytes(&self, format: Format) -> Vec<u8> {
        match format {
            Format::Json => {
                let mut bytes = Vec::with_capacity(USUAL_BYTES);
                match serde_json::to_writer(&mut bytes, self) {
                    Ok(()) => bytes,
                    Err(_) => unreachable!("strings and numbers can always be written"),
                }
            }
            Format::Xml => xml::write(|xml| self.write(xml)),
        }
    }

    fn write(&self, xml: &mut Elements) -> io::Result<()> {
        xml.text("error", &self.error.to_string())?;
        xml.text("error_text", self.error_text)?;
        if let Some(id) = &self.profile_id {
            xml.text("profile_id", id.hex().as_str())?;
        }
        for result in self.result.iter().flatten() {
            xml.item("result", |xml| result.write(xml))?;
        }
        if let Some(id) = self.feedback_id {
            xml.text("feedback_id", id)?;
        }
        for skipped in self.skipped_subscriptions {
            xml.item("skipped_subscriptions", |xml| {
                xml.text("index", &skipped.index.to_string())?;
                xml.text("error_text", &skipped.error_text)
            })?;
        }
        for warning in self.warnings {
            xml.text_item("warnings", warning)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> ProfileId {
        ProfileId::parse("6638e1e8ee44bb50a67115c4").unwrap()
    }

    fn added(skipped: &[Skipped]) -> Added<'_> {
        Added {
            profile_id: id(),
            skipped,
        }
    }

    fn both(reply: &Reply<'_>) -> [String; 2] {
        [Format::Json, Format::Xml].map(|format| String::from_utf8(reply.to_bytes(format)).unwrap())
    }

    #[test]
    fn the_seeds_answers_to_the_letter() {
        let [json, xml] = both(&Reply {
            result: Ok(Success::One(added(&[]))),
            feedback_id: None,
            warnings: &[],
        });
        assert_eq!(
            json,
            r#"{"error":0,"error_text":"","profile_id":"6638e1e8ee44bb50a67115c4"}"#
        );
        let seed = "<xml>
<error>0</error>
<error_text>Successful operation</error_text>
<profile_id>6638e1e8ee44bb50a67115c4</profile_id>
</xml>";
        assert_eq!(xml, seed.replace('\n', ""));
    }

    #[test]
    fn a_refusal_has_no_profile_id() {
        let rejection = Rejection::forbidden(7);
        let [json, xml] = both(&Reply {
            result: Err(&rejection),
            feedback_id: Some("f\"<1"),
            warnings: &[],
        });
        assert_eq!(
            json,
            r#"{"error":403,"error_text":"the token has no access to database 7","feedback_id":"f\"<1"}"#
        );
        assert_eq!(
            xml,
            "<xml><error>403</error><error_text>the token has no access to database 7</error_text>\
             <feedback_id>f&quot;&lt;1</feedback_id></xml>"
        );
    }

    #[test]
    fn dropped_subscriptions_are_listed() {
        let skipped = [Skipped {
            index: 1,
            error_text: "x".into(),
        }];
        let [json, xml] = both(&Reply {
            result: Ok(Success::One(added(&skipped))),
            feedback_id: None,
            warnings: &[],
        });
        assert!(
            json.ends_with(r#""skipped_subscriptions":[{"index":1,"error_text":"x"}]}"#),
            "{json}"
        );
        let element =
            r#"<skipped_subscriptions array="true"><index>1</index><error_text>x</error_text>"#;
        assert!(
            xml.ends_with(&format!("{element}</skipped_subscriptions></xml>")),
            "{xml}"
        );
    }

    #[test]
    fn the_batch_form_has_a_result_for_each_profile() {
        let rejection = Rejection::email_taken("a@example.com");
        let result = Ok(Success::Many(vec![Ok(added(&[])), Err(&rejection)]));
        let [json, xml] = both(&Reply {
            result,
            feedback_id: None,
            warnings: &[],
        });
        assert_eq!(
            json,
            r#"{"error":0,"error_text":"","result":[{"error":0,"error_text":"","profile_id":"6638e1e8ee44bb50a67115c4"},"#
                .to_owned()
                + r#"{"error":409,"error_text":"another profile of this database has the email a@example.com"}]}"#
        );
        assert!(xml.starts_with(
            "<xml><error>0</error><error_text>Successful operation</error_text><result array=\"true\"><error>0</error>"
        ));
        assert!(
            both(&Reply {
                result: Ok(Success::Many(vec![])),
                feedback_id: None,
                warnings: &[],
            })[0]
                .ends_with(r#""result":[]}"#)
        );
    }

    #[test]
    fn warnings_come_last() {
        let warnings = ["data.Email: x".to_owned(), "y".to_owned()];
        let [json, xml] = both(&Reply {
            result: Ok(Success::One(added(&[]))),
            feedback_id: Some("f"),
            warnings: &warnings,
        });
        assert!(json.ends_with(r#","feedback_id":"f","warnings":["data.Email: x","y"]}"#));
        assert!(xml.ends_with(
            "<warnings array=\"true\">data.Email: x</warnings><warnings array=\"true\">y</warnings></xml>"
        ));
    }

    /// What a reply says in at most `max` bytes, as text.
    fn within(reply: &Reply<'_>, format: Format, max: usize) -> String {
        String::from_utf8(reply.to_bytes_within(format, max)).unwrap()
    }

    #[test]
    fn a_reply_that_fits_is_left_as_it_is() {
        let skipped = [Skipped {
            index: 1,
            error_text: "x".into(),
        }];
        let reply = Reply {
            result: Ok(Success::One(added(&skipped))),
            feedback_id: Some("f"),
            warnings: &[],
        };
        for format in [Format::Json, Format::Xml] {
            let full = reply.to_bytes(format);
            assert_eq!(reply.to_bytes_within(format, full.len()), full);
            assert_ne!(reply.to_bytes_within(format, full.len() - 1), full);
        }
    }

    #[test]
    fn a_list_of_subscriptions_that_is_too_large_becomes_their_number() {
        let skipped = vec![
            Skipped {
                index: 1,
                error_text: "x".into()
            };
            20_000
        ];
        let reply = Reply {
            result: Ok(Success::One(added(&skipped))),
            feedback_id: Some("f"),
            warnings: &[],
        };
        let text = "added; 20000 subscriptions were skipped, their list is larger than the broker takes (300 bytes)";
        assert_eq!(
            within(&reply, Format::Json, 300),
            format!(
                r#"{{"error":0,"error_text":"{text}","profile_id":"6638e1e8ee44bb50a67115c4","feedback_id":"f"}}"#
            )
        );
        assert_eq!(
            within(&reply, Format::Xml, 300),
            format!(
                "<xml><error>0</error><error_text>{text}</error_text>\
                 <profile_id>6638e1e8ee44bb50a67115c4</profile_id><feedback_id>f</feedback_id></xml>"
            )
        );
    }

    #[test]
    fn results_that_are_too_large_become_their_number() {
        let rejection = Rejection::email_taken("a@example.com");
        let mut results = vec![Ok(added(&[])); 9_990];
        results.resize(10_000, Err(&rejection));
        let reply = Reply {
            result: Ok(Success::Many(results)),
            feedback_id: None,
            warnings: &[],
        };
        for (format, head, tail) in [
            (Format::Json, r#"{"error":0,"error_text":""#, r#""}"#),
            (
                Format::Xml,
                "<xml><error>0</error><error_text>",
                "</error_text></xml>",
            ),
        ] {
            let full = reply.to_bytes(format).len();
            let text = format!(
                "added 9990 of 10000 profiles, refused 10; the full reply of {full} bytes is larger than \
                 the broker takes (1000 bytes)"
            );
            assert_eq!(within(&reply, format, 1000), format!("{head}{text}{tail}"));
        }
    }

    #[test]
    fn the_feedback_id_goes_before_what_was_stored() {
        let feedback_id = "f".repeat(4096);
        let reply = Reply {
            result: Ok(Success::One(added(&[]))),
            feedback_id: Some(&feedback_id),
            warnings: &[],
        };
        let short = r#"{"error":0,"error_text":"added","profile_id":"6638e1e8ee44bb50a67115c4"}"#;
        assert_eq!(within(&reply, Format::Json, 1000), short);
        assert_eq!(
            within(&reply, Format::Json, short.len() - 1),
            short.replace("added", "")
        );
        let rejection = Rejection::invalid(&"x".repeat(1000), "is missing");
        let refused = Reply {
            result: Err(&rejection),
            feedback_id: None,
            warnings: &[],
        };
        assert_eq!(
            within(&refused, Format::Json, 100),
            r#"{"error":400,"error_text":""}"#
        );
    }
}
