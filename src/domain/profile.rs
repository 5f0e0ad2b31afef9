//! A profile: which fields a request may give it, and what is stored of them.

use jiff::Timestamp;

use super::complaint::Complaint;
use super::custom_field::CustomField;
use super::directory::Lookup;
use super::email::Email;
use super::identity::{ProfileId, RequestId};
use super::kind::{self, Field, Flaw, Kind, wrong_type};
use super::near_name::meant;
use super::parse;
use super::subscription::{self, Checked, Subscription};
use super::value::{Json, Object, Value};

/// The fields that every database has, besides `subscriptions`. All others are custom fields.
pub const FIELDS: &[Field] = &[
    Field::new(
        EMAIL,
        Kind::Email,
        "Unique per database, without regard to case, surrounding blanks or spelling. Empty: no email, and any number of those may exist",
    ),
    Field::new(
        "phones",
        Kind::Phones,
        "Phone numbers with country code; stored in E.164 form",
    ),
    Field::new("_fname", Kind::Text, "First name"),
    Field::new("_lname", Kind::Text, "Last name"),
    Field::new("_city", Kind::Text, "City"),
    Field::new("_region", Kind::Text, "Region"),
    Field::new("_browser", Kind::Text, "Browser"),
    Field::new("_os", Kind::Text, "Operating system"),
    Field::new("_vendor", Kind::Text, "Vendor of the device"),
    Field::new("_regcity", Kind::Text, "City at registration"),
    Field::new("_regurl", Kind::Text, "Page of registration"),
    Field::new("_country", Kind::Country, "Country code of two letters"),
    Field::new("_regcountry", Kind::Country, "Country code at registration"),
    Field::new("_postal_code", Kind::PostalCode, "Postal code"),
    Field::new("_ip", Kind::Ip, "IPv4 or IPv6 address"),
    Field::new("_regip", Kind::Ip, "IP address at registration"),
    Field::new("_bdate", Kind::DateOrDateTime, "Date of birth"),
    Field::new("_regdate", Kind::DateOrDateTime, "Date of registration"),
    Field::new(
        "_tz",
        Kind::TimeZone,
        "Name of a time zone in the IANA database",
    ),
    Field::new("_sex", Kind::Sex, "Sex"),
    Field::new("_status", Kind::Status, "Status of the profile"),
];

/// The field of a profile that holds its email.
const EMAIL: &str = "email";

/// The field of a profile that holds its subscriptions.
pub const SUBSCRIPTIONS: &str = "subscriptions";

/// The names of the fields that every database has.
pub fn names<'n>() -> impl Iterator<Item = &'n str> {
    let subscriptions = std::iter::once(SUBSCRIPTIONS);
    FIELDS.iter().map(|field| field.name).chain(subscriptions)
}

/// Whether a custom field can't have this name.
pub fn is_reserved(name: &str) -> bool {
    name == SUBSCRIPTIONS || Field::find(FIELDS, name).is_some()
}

/// A profile that may be stored as it is.
#[derive(Debug, Clone, PartialEq)]
pub struct NewProfile {
    /// The database that it is added to.
    pub db_id: i64,
    /// Its id, if it is not there yet.
    pub id: ProfileId,
    /// Its email.
    pub email: Option<Email>,
    /// All fields but email and subscriptions.
    pub data: Json,
    /// By what a redelivery of its request finds it; `None` where nothing can name the request:
    /// no `message_id` and no email.
    pub request_id: Option<RequestId>,
    /// Whether an equal `request_id` proves that the row is this request's own: there is a
    /// `message_id`, or the broker says that it delivers this one again.
    pub repeatable: bool,
    /// When it is added.
    pub added_at: Timestamp,
    /// Its subscriptions, all valid.
    pub subscriptions: Vec<Subscription>,
}

/// What a request says about a profile, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Fields {
    /// Its email.
    pub email: Option<Email>,
    /// All fields but email and subscriptions.
    pub data: Json,
    /// The valid subscriptions.
    pub subscriptions: Vec<Subscription>,
    /// The others, if the request allows to drop them: their places, and what is wrong.
    pub skipped: Vec<(usize, Flaw)>,
}

impl Fields {
    /// Checks a profile; null is an empty one. The first bad field in the order of the document is
    /// the flaw.
    pub fn check(
        profile: Value<'_>,
        db_id: i64,
        skip_invalid_subscriptions: bool,
        lookup: &Lookup<'_>,
    ) -> Result<Self, Flaw> {
        let object = match profile {
            Value::Object(object) => object,
            value if value.is_blank() => Object::default(),
            // As PHP writes an empty object.
            Value::Array(items) if items.is_empty() => Object::default(),
            other => return Err(wrong_type("an object", &other)),
        };
        let mut email = None;
        let mut subscriptions = Checked::default();
        let fields = object
            .into_fields()
            .filter(|(_, value)| *value != Value::Null);
        let kept = fields.filter_map(|(name, value)| {
            if name == SUBSCRIPTIONS {
                let checked =
                    subscription::check_all(value, db_id, skip_invalid_subscriptions, lookup);
                return match checked {
                    Ok(checked) => {
                        subscriptions = checked;
                        None
                    }
                    Err(flaw) => Some(Err(flaw.in_field(SUBSCRIPTIONS))),
                };
            }
            if name == EMAIL {
                return match email_of(value) {
                    Ok(given) => {
                        email = given;
                        None
                    }
                    Err(flaw) => Some(Err(flaw.in_field(EMAIL))),
                };
            }
            match check_field(&name, value, db_id, lookup) {
                Ok(Value::Null) => None,
                checked => Some(checked.map(|value| (name, value))),
            }
        });
        // Collected where they stand: a profile may have a million fields.
        let data = Object::from_distinct(kept.collect::<Result<_, Flaw>>()?);
        let in_profile = |(index, flaw): (usize, Flaw)| (index, flaw.in_field(SUBSCRIPTIONS));
        Ok(Fields {
            email,
            data: Json::from(&Value::Object(data)),
            subscriptions: subscriptions.valid,
            skipped: subscriptions.invalid.into_iter().map(in_profile).collect(),
        })
    }
}

fn check_field<'a>(
    name: &str,
    value: Value<'a>,
    db_id: i64,
    lookup: &Lookup<'_>,
) -> Result<Value<'a>, Flaw> {
    let kept = kind_of(name, db_id, lookup).and_then(|kind| kind.check(value));
    kept.map_err(|flaw| {
        if Field::find(FIELDS, name).is_none() {
            lookup.doubt();
        }
        flaw.in_field(name)
    })
}

/// An email of nothing but blanks is none.
fn email_of(value: Value<'_>) -> Result<Option<Email>, Flaw> {
    if value.is_blank() {
        return Ok(None);
    }
    kind::email(value).map(Some)
}

/// What a field can be: by our own table, by what the operator has defined, or anything.
fn kind_of(name: &str, db_id: i64, lookup: &Lookup<'_>) -> Result<Kind, Flaw> {
    if let Some(field) = Field::find(FIELDS, name) {
        return Ok(field.kind);
    }
    parse::field_name(name)?;
    match lookup.custom_field(db_id, name) {
        CustomField::Defined(field_type) => Ok(Kind::of(field_type)),
        CustomField::Undefined => Ok(Kind::Any),
        CustomField::Unknown => Err(unknown_field(name, db_id, lookup).into()),
    }
}

/// What is wrong with a field that a strict database does not have.
fn unknown_field(name: &str, db_id: i64, lookup: &Lookup<'_>) -> Complaint {
    match meant(name, names().chain(lookup.custom_fields(db_id))) {
        Some(known) => format!("is not a field of this database; did you mean `{known}`?").into(),
        None => "is not a field of this database".into(),
    }
}
