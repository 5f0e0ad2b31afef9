//! Subscriptions: a profile's opt-in to one resource over one channel.

use std::collections::HashSet;
use std::net::IpAddr;

use super::address;
use super::channel::Channel;
use super::complaint::Complaint;
use super::directory::Lookup;
use super::email;
use super::kind::{Field, Flaw, Kind, wrong_type};
use super::moment::Moment;
use super::parse;
use super::value::{Json, Object, Value};

/// The fields that are the same for every channel. The address is in others
/// ([`address::alternatives`]).
pub const FIELDS: &[Field] = &[
    Field::new(
        "resource_id",
        Kind::Integer,
        "A resource of the database; required",
    ),
    Field::new(
        "channel",
        Kind::Channel,
        "A channel that the resource offers; required",
    ),
    Field::new(
        "status",
        Kind::Status,
        "State of the subscription; `subscribed` by default",
    ),
    Field::new(
        "priority",
        Kind::Integer,
        "Priority among the profile's subscriptions",
    ),
    Field::new("cats", Kind::Texts, "Categories"),
    Field::new(
        "custom_fields",
        Kind::Object,
        "Whatever the producer wants to keep with it",
    ),
    Field::new("date", Kind::DateTime, "When the subscriber opted in"),
    Field::new("ip", Kind::Ip, "From where"),
    Field::new("url", Kind::Word, "On which page"),
];

/// The most subscriptions of one profile, invalid ones included: those are listed in the reply,
/// which the broker must be able to carry.
pub const SUBSCRIPTIONS_MAX: usize = 1000;

/// A valid subscription.
#[derive(Debug, Clone, PartialEq)]
pub struct Subscription {
    /// A resource of the profile's database.
    pub resource_id: i64,
    /// A channel that the resource offers.
    pub channel: Channel,
    /// Where the channel reaches the subscriber: the email address, the phone number in E.164
    /// form, the Telegram id, or `provider:subscription_id` for push.
    pub address: String,
    /// A status word, or an integer as text.
    pub status: String,
    /// As it came.
    pub priority: Option<i64>,
    /// An array of strings.
    pub cats: Option<Json>,
    /// An object.
    pub custom_fields: Option<Json>,
    /// When the subscriber opted in, if the producer says so.
    pub date: Option<Moment>,
    /// From where.
    pub ip: Option<IpAddr>,
    /// On which page.
    pub url: Option<String>,
}

impl Subscription {
    /// What its address has in common with other spellings of it. An email has some; the ids
    /// of devices have none.
    pub fn identity(&self) -> String {
        match self.channel {
            Channel::Email => email::canonical(&self.address).into_owned(),
            _ => self.address.clone(),
        }
    }
}

/// A subscription that was dropped because the request allows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// Its place in the request's array, from 0.
    pub index: usize,
    /// What is wrong with it.
    pub error_text: String,
}

/// A profile's subscriptions.
#[derive(Debug, Default)]
pub struct Checked {
    /// To be stored.
    pub valid: Vec<Subscription>,
    /// Their places in the request's array, and what is wrong with them.
    pub invalid: Vec<(usize, Flaw)>,
}

/// Checks a profile's subscriptions.
///
/// An invalid one is dropped and told of if `skip_invalid`, else it is a flaw of the whole profile.
pub fn check_all(
    value: Value<'_>,
    db_id: i64,
    skip_invalid: bool,
    lookup: &Lookup<'_>,
) -> Result<Checked, Flaw> {
    let items = match value {
        Value::Array(items) => items,
        value if value.is_blank() => return Ok(Checked::default()),
        // An array of one has one element in XML, marked or not.
        value if value.has_text() => vec![value],
        other => return Err(wrong_type("an array", &other)),
    };
    if items.len() > SUBSCRIPTIONS_MAX {
        return Err(
            Complaint::from(format!("must be at most {SUBSCRIPTIONS_MAX} subscriptions")).into(),
        );
    }
    let mut valid = Vec::with_capacity(items.len());
    let mut invalid = Vec::new();
    let mut seen = HashSet::new();
    let several = items.len() > 1;
    for (index, item) in items.into_iter().enumerate() {
        let checked = check(item, db_id, lookup).and_then(|subscription| {
            if several
                && !seen.insert((
                    subscription.resource_id,
                    subscription.channel,
                    subscription.identity(),
                ))
            {
                return Err("the same resource, channel and address as an earlier one".into());
            }
            Ok(subscription)
        });
        match checked {
            Ok(subscription) => valid.push(subscription),
            Err(flaw) if skip_invalid => invalid.push((index, flaw.in_item(index))),
            Err(flaw) => return Err(flaw.in_item(index)),
        }
    }
    Ok(Checked { valid, invalid })
}

/// Checks one subscription. Its own fields come first, in the order of the document; what is
/// missing, or wrong only together with another field, comes after them.
fn check(item: Value<'_>, db_id: i64, lookup: &Lookup<'_>) -> Result<Subscription, Flaw> {
    let Value::Object(object) = item else {
        return Err(wrong_type("an object", &item));
    };
    let mut fields = Fields::default();
    let mut others = Vec::new();
    for (name, value) in object
        .into_fields()
        .filter(|(_, value)| *value != Value::Null)
    {
        match Field::find(FIELDS, &name) {
            Some(field) => {
                let checked = field
                    .kind
                    .check(value)
                    .and_then(|value| fields.take(field.name, value, db_id, lookup));
                checked.map_err(|flaw| flaw.in_field(field.name))?;
            }
            // Address fields wait for the channel; all others are nobody's.
            None => others.push((name, value)),
        }
    }
    let missing = |name| Flaw::from("is missing").in_field(name);
    let resource_id = fields.resource_id.ok_or_else(|| missing("resource_id"))?;
    let channel = fields.channel.ok_or_else(|| missing("channel"))?;
    if !lookup.offers(db_id, resource_id, channel) {
        let what: Complaint =
            format!("resource {resource_id} does not offer {}", channel.name()).into();
        return Err(Flaw::from(what).in_field("channel"));
    }
    Ok(Subscription {
        resource_id,
        channel,
        address: address::read(&Object::from_fields(others), channel)?,
        status: fields.status.unwrap_or_else(|| "subscribed".to_owned()),
        priority: fields.priority,
        cats: fields.cats,
        custom_fields: fields.custom_fields,
        date: fields.date,
        ip: fields.ip,
        url: fields.url,
    })
}

/// The fields of a subscription that are the same for every channel, as far as they were given.
#[derive(Default)]
struct Fields {
    resource_id: Option<i64>,
    channel: Option<Channel>,
    status: Option<String>,
    priority: Option<i64>,
    cats: Option<Json>,
    custom_fields: Option<Json>,
    date: Option<Moment>,
    ip: Option<IpAddr>,
    url: Option<String>,
}

impl Fields {
    /// Takes a value that its kind has checked.
    fn take(
        &mut self,
        name: &str,
        value: Value<'_>,
        db_id: i64,
        lookup: &Lookup<'_>,
    ) -> Result<(), Flaw> {
        match (name, value) {
            (_, Value::Null) => {}
            ("resource_id", Value::Number(digits)) => {
                let id = parse::int64(&digits)?;
                if !lookup.has_resource(db_id, id) {
                    return Err(
                        Complaint::from(format!("database {db_id} has no resource {id}")).into(),
                    );
                }
                self.resource_id = Some(id);
            }
            ("channel", Value::String(name)) => self.channel = Channel::parse(&name),
            ("status", Value::String(text) | Value::Number(text)) => {
                self.status = Some(text.into_owned())
            }
            ("priority", Value::Number(digits)) => self.priority = Some(parse::int64(&digits)?),
            ("cats", value) => self.cats = Some(Json::from(&value)),
            ("custom_fields", value) => self.custom_fields = Some(Json::from(&value)),
            ("date", Value::String(text)) => self.date = Some(parse::date_time(&text)?),
            ("ip", Value::String(text)) => self.ip = Some(parse::ip(&text)?),
            ("url", Value::String(text)) => self.url = Some(text.into_owned()),
            (name, _) => {
                unreachable!("the table of fields has a kind for {name} that is not taken here")
            }
        }
        Ok(())
    }
}
