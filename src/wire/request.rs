//! The tree of values → a request: the shape of the top-level fields, before anybody asks who
//! sent it.

use std::borrow::Cow;

use crate::domain::fields;
use crate::domain::outcome::Rejection;
use crate::domain::value::{Object, Value};

/// A request whose top-level fields have the right types.
#[derive(Debug, PartialEq)]
pub struct Request<'a> {
    /// The API token in the body; an empty one is none.
    pub token: Option<Cow<'a, str>>,
    /// The database.
    pub db_id: i64,
    /// The profile's fields; absent and null are an empty profile.
    pub data: Object<'a>,
    /// Publish no trigger event.
    pub skip_triggers: bool,
    /// Drop invalid subscriptions rather than refuse the request.
    pub skip_invalid_subscriptions: bool,
    /// Echoed in the reply, also where the answer is "no".
    pub feedback_id: Option<Cow<'a, str>>,
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
    /// Reads the top-level fields. Unknown ones are ignored.
    pub fn from_document(document: Object<'a>) -> Result<Self, Misshapen<'a>> {
        let mut token = None;
        let mut db_id = None;
        let mut data = Object::default();
        let mut skip_triggers = false;
        let mut skip_invalid_subscriptions = false;
        let mut feedback_id = None;
        let mut first_bad = None;
        for (name, value) in document.into_fields().filter(|(_, value)| *value != Value::Null) {
            let taken = match name.as_ref() {
                "token" => text(value).map(|text| token = Some(text)),
                "db_id" => database(&value).map(|id| db_id = Some(id)),
                "data" => object(value).map(|object| data = object),
                "skip_triggers" => fields::boolean(&value).map(|flag| skip_triggers = flag),
                "skip_invalid_subscriptions" => fields::boolean(&value).map(|flag| skip_invalid_subscriptions = flag),
                "feedback_id" => text(value).map(|text| feedback_id = Some(text)),
                _ => Ok(()),
            };
            if let (Err(what), None) = (taken, &first_bad) {
                first_bad = Some(Rejection::invalid(&name, what));
            }
        }
        let missing = || Rejection::invalid("db_id", "is missing");
        match (first_bad, db_id) {
            (Some(rejection), _) => Err(Misshapen { rejection, feedback_id }),
            (None, None) => Err(Misshapen { rejection: missing(), feedback_id }),
            (None, Some(db_id)) => Ok(Request {
                token: token.filter(|token| !token.is_empty()),
                db_id,
                data,
                skip_triggers,
                skip_invalid_subscriptions,
                feedback_id,
            }),
        }
    }
}

fn database(value: &Value<'_>) -> Result<i64, fields::What> {
    let id = fields::integer(value)?;
    if id >= 1 { Ok(id) } else { Err("must be 1 or more".into()) }
}

fn text<'a>(value: Value<'a>) -> Result<Cow<'a, str>, fields::What> {
    fields::string(&value)?;
    match value {
        Value::String(text) => Ok(text),
        other => Err(other.kind().into()),
    }
}

fn object<'a>(value: Value<'a>) -> Result<Object<'a>, fields::What> {
    match value {
        Value::Object(object) => Ok(object),
        other => fields::object(&other).cloned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::json::{Keep, read};

    fn request(body: &str) -> Result<Request<'_>, Misshapen<'_>> {
        Request::from_document(read(body.as_bytes(), Keep::Everything).unwrap())
    }

    #[test]
    fn the_flags_are_false_and_the_profile_empty_by_default() {
        for body in [r#"{"db_id":1}"#, r#"{"db_id":1,"data":null,"skip_triggers":null}"#, r#"{"db_id":1,"data":{}}"#] {
            let request = request(body).unwrap();
            assert!(!request.skip_triggers && !request.skip_invalid_subscriptions, "{body}");
            assert_eq!(request.data, Object::default());
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
        assert_eq!(request.data.get("_lname"), Some(&Value::String("Doe".into())));
    }

    #[test]
    fn a_field_of_the_wrong_type_is_named() {
        for (body, text) in [
            (r#"{}"#, "db_id: is missing"),
            (r#"{"db_id":null}"#, "db_id: is missing"),
            (r#"{"db_id":"1"}"#, "db_id: must be an integer, is a string"),
            (r#"{"db_id":1.5}"#, "db_id: must be an integer, is a fraction"),
            (r#"{"db_id":0}"#, "db_id: must be 1 or more"),
            (r#"{"db_id":-1}"#, "db_id: must be 1 or more"),
            (r#"{"db_id":99999999999999999999}"#, "db_id: must fit into 64 bits"),
            (r#"{"db_id":1,"token":5}"#, "token: must be a string, is a number"),
            (r#"{"db_id":1,"data":"x"}"#, "data: must be an object, is a string"),
            (r#"{"db_id":1,"skip_triggers":1}"#, "skip_triggers: must be true or false, is a number"),
            (
                r#"{"db_id":1,"skip_invalid_subscriptions":"true"}"#,
                "skip_invalid_subscriptions: must be true or false, is a string",
            ),
            (r#"{"db_id":1,"feedback_id":7}"#, "feedback_id: must be a string, is a number"),
            (r#"{"skip_triggers":1,"db_id":"x"}"#, "skip_triggers: must be true or false, is a number"),
        ] {
            assert_eq!(request(body).unwrap_err().rejection.text, text, "{body}");
        }
    }

    #[test]
    fn feedback_id_outlives_a_refusal() {
        assert_eq!(request(r#"{"feedback_id":"f-1"}"#).unwrap_err().feedback_id.as_deref(), Some("f-1"));
    }

    #[test]
    fn unknown_fields_are_ignored() {
        assert!(request(r#"{"db_id":1,"matching":"email","x":[{}]}"#).is_ok());
    }
}
