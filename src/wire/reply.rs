//! A reply → bytes.

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
#[derive(Serialize)]
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
        let body = self.body(success_text(format));
        match format {
            Format::Json => {
                let mut bytes = Vec::with_capacity(USUAL_BYTES);
                match serde_json::to_writer(&mut bytes, &body) {
                    Ok(()) => bytes,
                    Err(_) => unreachable!("strings and numbers can always be written"),
                }
            }
            Format::Xml => xml::write(|xml| body.write(xml)),
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
                Body { result: Some(result.collect()), ..Body::new(Code::Added, success) }
            }
            Err(rejection) => Body::refused(rejection),
        };
        Body { feedback_id: self.feedback_id, ..body }
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
        Added { profile_id: id(), skipped }
    }

    fn both(reply: &Reply<'_>) -> [String; 2] {
        [Format::Json, Format::Xml].map(|format| String::from_utf8(reply.to_bytes(format)).unwrap())
    }

    #[test]
    fn the_seeds_answers_to_the_letter() {
        let [json, xml] = both(&Reply { result: Ok(Success::One(added(&[]))), feedback_id: None });
        assert_eq!(json, r#"{"error":0,"error_text":"","profile_id":"6638e1e8ee44bb50a67115c4"}"#);
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
        let [json, xml] = both(&Reply { result: Err(&rejection), feedback_id: Some("f\"<1") });
        assert_eq!(json, r#"{"error":403,"error_text":"the token has no access to database 7","feedback_id":"f\"<1"}"#);
        assert_eq!(
            xml,
            "<xml><error>403</error><error_text>the token has no access to database 7</error_text>\
             <feedback_id>f&quot;&lt;1</feedback_id></xml>"
        );
    }

    #[test]
    fn dropped_subscriptions_are_listed() {
        let skipped = [Skipped { index: 1, error_text: "x".into() }];
        let [json, xml] = both(&Reply { result: Ok(Success::One(added(&skipped))), feedback_id: None });
        assert!(json.ends_with(r#""skipped_subscriptions":[{"index":1,"error_text":"x"}]}"#), "{json}");
        let element = r#"<skipped_subscriptions array="true"><index>1</index><error_text>x</error_text>"#;
        assert!(xml.ends_with(&format!("{element}</skipped_subscriptions></xml>")), "{xml}");
    }

    #[test]
    fn the_batch_form_has_a_result_for_each_profile() {
        let rejection = Rejection::email_taken("a@example.com");
        let result = Ok(Success::Many(vec![Ok(added(&[])), Err(&rejection)]));
        let [json, xml] = both(&Reply { result, feedback_id: None });
        assert_eq!(
            json,
            r#"{"error":0,"error_text":"","result":[{"error":0,"error_text":"","profile_id":"6638e1e8ee44bb50a67115c4"},"#
                .to_owned()
                + r#"{"error":409,"error_text":"another profile of this database has the email a@example.com"}]}"#
        );
        assert!(xml.starts_with(
            "<xml><error>0</error><error_text>Successful operation</error_text><result array=\"true\"><error>0</error>"
        ));
        assert!(both(&Reply { result: Ok(Success::Many(vec![])), feedback_id: None })[0].ends_with(r#""result":[]}"#));
    }
}
