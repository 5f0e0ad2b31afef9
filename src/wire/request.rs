//! The tree of values → a request: the shape of the top-level fields, before anybody asks who
//! sent it.

use std::borrow::Cow;

use crate::domain::complaint::Complaint;
use crate::domain::kind::{Field, Flaw, Kind, wrong_type};
use crate::domain::outcome::Rejection;
use crate::domain::parse;
use crate::domain::value::{Object, Value};

/// The top-level fields, besides [`DATA`]. Unknown ones are ignored.
pub const FIELDS: &[Field] = &[
    Field::new(
        "token",
        Kind::Word,
        "API token; required here or in the header `authorization: Bearer …`, here wins",
    ),
    Field::new(
        "db_id",
        Kind::Id,
        "Database that the profile is added to; required",
    ),
    Field::new(
        "skip_triggers",
        Kind::Boolean,
        "Publish no trigger event; false by default",
    ),
    Field::new(
        "skip_invalid_subscriptions",
        Kind::Boolean,
        "Drop invalid subscriptions and add the rest; by default (false) an invalid one is an error",
    ),
    Field::new(
        "feedback_id",
        Kind::String,
        "Comes back in the reply as it is",
    ),
    Field::new(
        "warnings",
        Kind::Boolean,
        "Tell in the reply of names that are ignored, or nearly those of a field; false by default",
    ),
];

/// The names of all top-level fields.
pub const NAMES: &[&str] = &[
    "token",
    "db_id",
    DATA,
    "skip_triggers",
    "skip_invalid_subscriptions",
    "feedback_id",
    "warnings",
];

/// The longest `feedback_id`: it comes back in the reply, which the broker must be able to carry.
pub const FEEDBACK_ID_MAX_BYTES: usize = 4096;

/// The top-level field with the profile, or the profiles.
pub const DATA: &str = "data";

/// The most profiles of one request.
pub const PROFILES_MAX: usize = 10_000;

/// A request whose top-level fields have the right types.
#[derive(Debug, PartialEq)]
pub struct Request<'a> {
    /// The API token in the body.
    pub token: Option<Cow<'a, str>>,
    /// The database.
    pub db_id: i64,
    /// What is to be added.
    pub data: Data<'a>,
    /// Publish no trigger event.
    pub skip_triggers: bool,
    /// Drop invalid subscriptions rather than refuse the profile.
    pub skip_invalid_subscriptions: bool,
    /// Echoed in the reply, also where the answer is "no".
    pub feedback_id: Option<Cow<'a, str>>,
    /// Tell in the reply of what is no error, but most likely not what was meant.
    pub warnings: bool,
    /// Names at the top level that mean nothing, up to [`IGNORED_MAX`].
    pub ignored: Vec<Cow<'a, str>>,
}

/// The most names of unknown top-level fields that are kept: more are only known to be there.
pub const IGNORED_MAX: usize = 101;

/// The profile or profiles of a request, not yet looked at.
#[derive(Debug, PartialEq)]
pub enum Data<'a> {
    /// One; absent and null are an empty profile.
    One(Object<'a>),
    /// The batch form: any number, each with an outcome of its own.
    Many(Vec<Value<'a>>),
}

/// A document that is no request: what is wrong, and what of it the reply repeats all the same.
#[derive(Debug, PartialEq)]
pub struct Misshapen<'a> {
    /// The first bad field in the order of the document; what is missing comes last.
    pub rejection: Rejection,
    /// The `feedback_id`, if it has one.
    pub feedback_id: Option<Cow<'a, str>>,
}

impl<'a> Request<'a> {
    /// Reads the top-level fields.
    pub fn from_document(document: Object<'a>) -> Result<Self, Misshapen<'a>> {
        let mut fields = Fields::default();
        let mut first_bad = None;
        let mut ignored = Vec::new();
        for (name, value) in document
            .into_fields()
            .filter(|(_, value)| *value != Value::Null)
        {
            match fields.take(&name, value) {
                Ok(true) => {}
                Ok(false) if ignored.len() < IGNORED_MAX => ignored.push(name),
                Ok(false) => {}
                Err(flaw) => {
                    // Whoever sent this has not shown a token yet.
                    first_bad.get_or_insert_with(|| flaw.unquoted().in_field(&name).at(""));
                }
            }
        }
        let feedback_id = fields.feedback_id;
        match (first_bad, fields.db_id) {
            (Some(rejection), _) => Err(Misshapen {
                rejection,
                feedback_id,
            }),
            (None, None) => Err(Misshapen {
                rejection: Rejection::invalid("db_id", "is missing"),
                feedback_id,
            }),
            (None, Some(db_id)) => Ok(Request {
                token: fields.token,
                db_id,
                data: fields.data.unwrap_or_else(|| Data::One(Object::default())),
                skip_triggers: fields.skip_triggers,
                skip_invalid_subscriptions: fields.skip_invalid_subscriptions,
                feedback_id,
                warnings: fields.warnings,
                ignored,
            }),
        }
    }
}

/// The top-level fields as far as they were read.
#[derive(Default)]
struct Fields<'a> {
    token: Option<Cow<'a, str>>,
    db_id: Option<i64>,
    data: Option<Data<'a>>,
    skip_triggers: bool,
    skip_invalid_subscriptions: bool,
    feedback_id: Option<Cow<'a, str>>,
    warnings: bool,
}

impl<'a> Fields<'a> {
    /// Takes a field; false if there is none of this name.
    fn take(&mut self, name: &str, value: Value<'a>) -> Result<bool, Flaw> {
        if name == DATA {
            self.data = Some(match value {
                Value::Object(object) => Data::One(object),
                Value::Array(profiles) => Data::Many(profiles),
                value if value.is_blank() => return Ok(true),
                other => return Err(wrong_type("an object or an array", &other)),
            });
            return Ok(true);
        }
        let Some(field) = Field::find(FIELDS, name) else {
            return Ok(false);
        };
        match (field.name, field.kind.check(value)?) {
            (_, Value::Null) => {}
            ("token", Value::String(text)) => self.token = Some(text),
            ("db_id", Value::Number(digits)) => self.db_id = Some(parse::int64(&digits)?),
            ("skip_triggers", Value::Bool(flag)) => self.skip_triggers = flag,
            ("skip_invalid_subscriptions", Value::Bool(flag)) => {
                self.skip_invalid_subscriptions = flag
            }
            ("feedback_id", Value::String(text)) if text.len() > FEEDBACK_ID_MAX_BYTES => {
                return Err(Complaint::from(format!(
                    "must have at most {FEEDBACK_ID_MAX_BYTES} bytes"
                ))
                .into());
            }
            ("feedback_id", Value::String(text)) => self.feedback_id = Some(text),
            ("warnings", Value::Bool(flag)) => self.warnings = flag,
            (name, _) => {
                unreachable!("the table of fields has a kind for {name} that is not taken here")
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Format;

    fn request(body: &str) -> Result<Request<'_>, Misshapen<'_>> {
        Request::from_document(
            Format::of(None, body.as_bytes())
                .read(body.as_bytes())
                .unwrap(),
        )
    }

    #[test]
    fn both_formats_make_the_same_request() {
        let json = r#"{"token": "t", "db_id": 1, "skip_triggers": true, "feedback_id": "f"}"#;
        let xml =
            "<xml><token> t </token><db_id> 1 </db_id><skip_triggers>true</skip_triggers><data/>
            <feedback_id>f</feedback_id></xml>";
        assert_eq!(request(json), request(xml));
        for (body, text) in [
            ("<xml/>", "db_id: is missing"),
            (
                "<xml><db_id>x</db_id></xml>",
                "db_id: must be an integer, is a text",
            ),
            ("<xml><db_id>0</db_id></xml>", "db_id: must be 1 or more"),
            (
                "<xml><db_id>1</db_id><db_id>2</db_id></xml>",
                "db_id: must be an integer, is an array",
            ),
            (
                "<xml><db_id>1</db_id><data>x</data></xml>",
                "data: must be an object or an array, is a text",
            ),
            (
                "<xml><db_id>1</db_id><skip_triggers>yes</skip_triggers></xml>",
                "skip_triggers: must be true, false, 1 or 0, is a text",
            ),
        ] {
            assert_eq!(request(body).unwrap_err().rejection.text, text, "{body}");
        }
    }

    #[test]
    fn an_array_is_the_batch_form() {
        for body in [
            r#"{"db_id":1,"data":[{}]}"#,
            "<xml><db_id>1</db_id><data array='true'><a>1</a></data></xml>",
        ] {
            assert!(
                matches!(request(body).unwrap().data, Data::Many(profiles) if profiles.len() == 1),
                "{body}"
            );
        }
    }

    #[test]
    fn the_flags_are_false_and_the_profile_empty_by_default() {
        for body in [
            r#"{"db_id":1}"#,
            r#"{"db_id":1,"data":null,"skip_triggers":null}"#,
            r#"{"db_id":1,"data":{}}"#,
        ] {
            let request = request(body).unwrap();
            assert!(
                !request.skip_triggers && !request.skip_invalid_subscriptions,
                "{body}"
            );
            assert_eq!(request.data, Data::One(Object::default()));
            assert_eq!(request.token, None);
        }
    }

    #[test]
    fn the_seeds_example_is_read() {
        let body = r#"{"token": "abcdefghijklmnqrstuvwxyz", "db_id": 1,
            "data": {"_fname": "Fillipp", "_lname": "Doe"}, "skip_triggers": true}"#;
        let request = request(body).unwrap();
        assert_eq!(request.token.as_deref(), Some("abcdefghijklmnqrstuvwxyz"));
        assert_eq!((request.db_id, request.skip_triggers), (1, true));
        let Data::One(profile) = request.data else {
            panic!("one profile")
        };
        assert_eq!(profile.get("_lname"), Some(&Value::String("Doe".into())));
    }

    #[test]
    fn a_field_of_the_wrong_type_is_named() {
        for (body, text) in [
            (r#"{}"#, "db_id: is missing"),
            (r#"{"db_id":null}"#, "db_id: is missing"),
            (
                r#"{"db_id":"1"}"#,
                "db_id: must be an integer, is a string; write it without quotes",
            ),
            (
                r#"{"db_id":"one"}"#,
                "db_id: must be an integer, is a string",
            ),
            (r#"{"db_id":" "}"#, "db_id: is missing"),
            (
                r#"{"db_id":1.5}"#,
                "db_id: must be an integer, is a fraction",
            ),
            (r#"{"db_id":0}"#, "db_id: must be 1 or more"),
            (r#"{"db_id":-1}"#, "db_id: must be 1 or more"),
            (
                r#"{"db_id":99999999999999999999}"#,
                "db_id: must fit into 64 bits",
            ),
            (
                r#"{"db_id":1,"token":5}"#,
                "token: must be a string, is a number",
            ),
            (
                r#"{"db_id":1,"data":"x"}"#,
                "data: must be an object or an array, is a string",
            ),
            (
                r#"{"db_id":1,"skip_triggers":1}"#,
                "skip_triggers: must be true or false, is a number",
            ),
            (
                r#"{"db_id":1,"skip_invalid_subscriptions":"true"}"#,
                "skip_invalid_subscriptions: must be true or false, is a string; write it without quotes",
            ),
            (
                r#"{"db_id":1,"feedback_id":7}"#,
                "feedback_id: must be a string, is a number",
            ),
            (
                r#"{"skip_triggers":1,"db_id":"x"}"#,
                "skip_triggers: must be true or false, is a number",
            ),
        ] {
            assert_eq!(request(body).unwrap_err().rejection.text, text, "{body}");
        }
    }

    #[test]
    fn the_names_are_those_of_the_table() {
        let mut names: Vec<_> = FIELDS
            .iter()
            .map(|field| field.name)
            .chain([DATA])
            .collect();
        names.sort_unstable();
        let mut all = NAMES.to_vec();
        all.sort_unstable();
        assert_eq!(names, all);
    }

    #[test]
    fn feedback_id_has_a_limit() {
        let body = |length| format!(r#"{{"db_id":1,"feedback_id":"{}"}}"#, "x".repeat(length));
        assert!(request(&body(FEEDBACK_ID_MAX_BYTES)).is_ok());
        let text = request(&body(FEEDBACK_ID_MAX_BYTES + 1))
            .unwrap_err()
            .rejection
            .text;
        assert_eq!(text, "feedback_id: must have at most 4096 bytes");
    }

    #[test]
    fn feedback_id_outlives_a_refusal() {
        assert_eq!(
            request(r#"{"feedback_id":"f-1"}"#)
                .unwrap_err()
                .feedback_id
                .as_deref(),
            Some("f-1")
        );
    }

    #[test]
    fn unknown_fields_are_ignored() {
        assert!(request(r#"{"db_id":1,"matching":"email","x":[{}]}"#).is_ok());
    }
}
