//! A profile: which fields a request may give it, and what is stored of them.

use jiff::Timestamp;

use super::directory::Lookup;
use super::fields::{self, What};
use super::identity::{ProfileId, RequestId};
use super::outcome::Rejection;
use super::subscription::{self, Skipped, Subscription};
use super::value::{Object, Value};

/// A profile that may be stored as it is.
#[derive(Debug, Clone, PartialEq)]
pub struct NewProfile<'a> {
    /// The database that it is added to.
    pub db_id: i64,
    /// Its id, if it is not there yet.
    pub id: ProfileId,
    /// Its email, trimmed.
    pub email: Option<String>,
    /// All fields but email and subscriptions, as JSON text.
    pub data: String,
    /// By what a redelivery of its request finds it; `None` where nothing can name the request:
    /// no `message_id` and no email.
    pub request_id: Option<RequestId>,
    /// Whether an equal `request_id` proves that the row is this request's own: there is a
    /// `message_id`, or the broker says that it delivers this one again.
    pub repeatable: bool,
    /// When it is added.
    pub added_at: Timestamp,
    /// Its subscriptions, all valid.
    pub subscriptions: Vec<Subscription<'a>>,
}

/// What a request says about a profile, checked.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Fields<'a> {
    /// Its email, trimmed.
    pub email: Option<String>,
    /// All fields but email and subscriptions, as JSON text.
    pub data: String,
    /// The valid subscriptions.
    pub subscriptions: Vec<Subscription<'a>>,
    /// The others, if the request allows to drop them.
    pub skipped: Vec<Skipped>,
}

impl<'a> Fields<'a> {
    /// Checks the profile that stands at `path` of a request; the first bad field in the order of
    /// the document is the rejection.
    pub fn check(
        object: Object<'a>,
        path: &str,
        db_id: i64,
        skip_invalid_subscriptions: bool,
        lookup: &Lookup<'_>,
    ) -> Result<Self, Rejection> {
        let mut fields = Fields::default();
        let mut data = Vec::with_capacity(8);
        for (name, value) in object.into_fields().filter(|(_, value)| *value != Value::Null) {
            let at = |what: What| Rejection::invalid(&format!("{path}.{name}"), what);
            match name.as_ref() {
                "email" => fields.email = email(&value).map_err(at)?,
                "subscriptions" => {
                    let items = fields::array(&value).map_err(at)?;
                    let path = format!("{path}.{name}");
                    (fields.subscriptions, fields.skipped) =
                        subscription::check_all(items, &path, db_id, skip_invalid_subscriptions, lookup)?;
                }
                "phones" => {
                    let numbers = phones(&value, &format!("{path}.{name}"))?;
                    data.push((name, numbers));
                }
                _ => {
                    check_plain(&name, &value).map_err(at)?;
                    data.push((name, value));
                }
            }
        }
        fields.data = Value::Object(Object::from_fields(data)).to_json();
        Ok(fields)
    }
}

/// Absent, null, empty and blank are all "no email".
fn email(value: &Value<'_>) -> Result<Option<String>, What> {
    let text = fields::string(value)?;
    if text.trim().is_empty() {
        return Ok(None);
    }
    Ok(Some(fields::email(text)?.to_owned()))
}

fn phones(value: &Value<'_>, path: &str) -> Result<Value<'static>, Rejection> {
    let items = fields::array(value).map_err(|what| Rejection::invalid(path, what))?;
    let number = |(i, item)| {
        let phone = fields::string(item).and_then(fields::phone);
        phone
            .map(|number| Value::String(number.into()))
            .map_err(|what| Rejection::invalid(&format!("{path}[{i}]"), what))
    };
    Ok(Value::Array(items.iter().enumerate().map(number).collect::<Result<_, _>>()?))
}

/// Checks a field that is stored as it came.
fn check_plain(name: &str, value: &Value<'_>) -> Result<(), What> {
    match name {
        "_fname" | "_lname" | "_city" | "_region" | "_browser" | "_os" | "_vendor" | "_regcity" | "_regurl" => {
            fields::string(value).map(|_| ())
        }
        "_country" | "_regcountry" => fields::country(fields::string(value)?),
        "_postal_code" => fields::postal_code(value),
        "_ip" | "_regip" => fields::ip(fields::string(value)?).map(|_| ()),
        "_bdate" | "_regdate" => fields::date(fields::string(value)?),
        "_tz" => fields::time_zone(fields::string(value)?),
        "_sex" => fields::sex(value),
        "_status" => fields::status(value).map(|_| ()),
        _ if name.contains('\0') => Err("must not have a name with the character U+0000".into()),
        _ => fields::storable(value),
    }
}
