//! Subscriptions: a profile's opt-in to one resource over one channel.

use std::borrow::Cow;
use std::collections::HashSet;
use std::net::IpAddr;

use jiff::Timestamp;
use serde::Serialize;

use super::directory::Lookup;
use super::fields::{self, What};
use super::outcome::Rejection;
use super::value::{Object, Value};

/// How a subscriber is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    /// `email`
    Email,
    /// `sms`
    Sms,
    /// `push`
    Push,
    /// `telegram_bot`
    TelegramBot,
    /// `whatsapp`
    Whatsapp,
    /// `viber`
    Viber,
    /// `notify`
    Notify,
}

impl Channel {
    /// Every channel there is.
    pub const ALL: [Channel; 7] = [
        Channel::Email,
        Channel::Sms,
        Channel::Push,
        Channel::TelegramBot,
        Channel::Whatsapp,
        Channel::Viber,
        Channel::Notify,
    ];

    /// The channel's name in requests and in the database.
    pub const fn name(self) -> &'static str {
        match self {
            Channel::Email => "email",
            Channel::Sms => "sms",
            Channel::Push => "push",
            Channel::TelegramBot => "telegram_bot",
            Channel::Whatsapp => "whatsapp",
            Channel::Viber => "viber",
            Channel::Notify => "notify",
        }
    }

    /// The channel of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|channel| channel.name() == name)
    }
}

/// A set of channels: what a resource offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Channels(u8);

impl Channels {
    /// Whether the set has this channel.
    pub fn contains(self, channel: Channel) -> bool {
        self.0 & (1 << channel as u8) != 0
    }
}

impl FromIterator<Channel> for Channels {
    fn from_iter<I: IntoIterator<Item = Channel>>(channels: I) -> Self {
        Self(channels.into_iter().fold(0, |set, channel| set | (1 << channel as u8)))
    }
}

/// A valid subscription.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Subscription<'a> {
    /// A resource of the profile's database.
    pub resource_id: i64,
    /// A channel that the resource offers.
    pub channel: Channel,
    /// Where the channel reaches the subscriber: the email address, the phone number in E.164
    /// form, the Telegram id, or `provider:subscription_id` for push.
    pub address: String,
    /// A status word, or an integer as text.
    pub status: Cow<'a, str>,
    /// As it came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<i64>,
    /// An array of strings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cats: Option<Value<'a>>,
    /// An object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub custom_fields: Option<Value<'a>>,
    /// When the subscriber opted in, if the producer says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub date: Option<Timestamp>,
    /// From where.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip: Option<IpAddr>,
    /// On which page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// A subscription that was dropped because the request allows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// Its place in the request's array, from 0.
    pub index: usize,
    /// What is wrong with it.
    pub error_text: String,
}

/// Checks a request's subscriptions, which stand at `path`.
///
/// An invalid one is dropped and told of if `skip_invalid`, else it is a rejection of the whole
/// profile.
pub fn check_all<'a>(
    items: &[Value<'a>],
    path: &str,
    db_id: i64,
    skip_invalid: bool,
    lookup: &Lookup<'_>,
) -> Result<(Vec<Subscription<'a>>, Vec<Skipped>), Rejection> {
    let mut kept = Vec::with_capacity(items.len());
    let mut skipped = Vec::new();
    let mut seen = HashSet::new();
    for (index, item) in items.iter().enumerate() {
        let checked = check(item, db_id, lookup).and_then(|subscription| {
            let key = (subscription.resource_id, subscription.channel, subscription.address.to_lowercase());
            if items.len() > 1 && !seen.insert(key) {
                return Err(Flaw::here("the same resource, channel and address as an earlier one"));
            }
            Ok(subscription)
        });
        match checked {
            Ok(subscription) => kept.push(subscription),
            Err(flaw) => {
                let rejection = flaw.at(&format!("{path}[{index}]"));
                if !skip_invalid {
                    return Err(rejection);
                }
                skipped.push(Skipped { index, error_text: rejection.text });
            }
        }
    }
    Ok((kept, skipped))
}

/// What is wrong with one subscription, and in which of its fields.
struct Flaw {
    /// The field's path below the subscription, empty for the subscription itself.
    field: Cow<'static, str>,
    what: What,
}

impl Flaw {
    fn here(what: impl Into<What>) -> Self {
        Self::in_field("", what)
    }

    fn in_field(field: impl Into<Cow<'static, str>>, what: impl Into<What>) -> Self {
        Self { field: field.into(), what: what.into() }
    }

    fn at(self, path: &str) -> Rejection {
        if self.field.is_empty() {
            Rejection::invalid(path, self.what)
        } else {
            Rejection::invalid(&format!("{path}.{}", self.field), self.what)
        }
    }
}

/// Checks one subscription. Its own fields come first, in the order of the document; what is
/// missing, or wrong only together with another field, comes after them.
fn check<'a>(item: &Value<'a>, db_id: i64, lookup: &Lookup<'_>) -> Result<Subscription<'a>, Flaw> {
    let object = fields::object(item).map_err(Flaw::here)?;
    let mut fields = Fields::default();
    for (name, value) in object.iter().filter(|(_, value)| **value != Value::Null) {
        fields.take(name, value, db_id, lookup).map_err(|what| Flaw::in_field(name.to_owned(), what))?;
    }
    let resource_id = fields.resource_id.ok_or_else(|| Flaw::in_field("resource_id", "is missing"))?;
    let channel = fields.channel.ok_or_else(|| Flaw::in_field("channel", "is missing"))?;
    if !lookup.offers(db_id, resource_id, channel) {
        let what = format!("resource {resource_id} does not offer {}", channel.name());
        return Err(Flaw::in_field("channel", what));
    }
    Ok(Subscription {
        resource_id,
        channel,
        address: address(object, channel)?,
        status: fields.status.unwrap_or(Cow::Borrowed("subscribed")),
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
struct Fields<'a> {
    resource_id: Option<i64>,
    channel: Option<Channel>,
    status: Option<Cow<'a, str>>,
    priority: Option<i64>,
    cats: Option<Value<'a>>,
    custom_fields: Option<Value<'a>>,
    date: Option<Timestamp>,
    ip: Option<IpAddr>,
    url: Option<String>,
}

impl<'a> Fields<'a> {
    fn take(&mut self, name: &str, value: &Value<'a>, db_id: i64, lookup: &Lookup<'_>) -> Result<(), What> {
        match name {
            "resource_id" => self.resource_id = Some(resource(value, db_id, lookup)?),
            "channel" => self.channel = Some(channel(value)?),
            "status" => self.status = Some(fields::status(value)?),
            "priority" => self.priority = Some(fields::integer(value)?),
            "cats" => {
                fields::array(value)?.iter().try_for_each(|cat| fields::string(cat).map(|_| ()))?;
                self.cats = Some(value.clone());
            }
            "custom_fields" => {
                fields::object(value)?;
                fields::storable(value)?;
                self.custom_fields = Some(value.clone());
            }
            "date" => self.date = Some(fields::date_time(fields::string(value)?)?),
            "ip" => self.ip = Some(fields::ip(fields::string(value)?)?),
            "url" => self.url = Some(fields::string(value)?.to_owned()),
            // The address fields wait for the channel; all others are nobody's.
            _ => {}
        }
        Ok(())
    }
}

fn resource(value: &Value<'_>, db_id: i64, lookup: &Lookup<'_>) -> Result<i64, What> {
    let id = fields::integer(value)?;
    if lookup.has_resource(db_id, id) { Ok(id) } else { Err(format!("database {db_id} has no resource {id}").into()) }
}

fn channel(value: &Value<'_>) -> Result<Channel, What> {
    Channel::parse(fields::string(value)?)
        .ok_or_else(|| format!("must be one of {}", Channel::ALL.map(Channel::name).join(", ")).into())
}

/// The address that the channel needs, from the field or fields where it stands.
fn address(object: &Object<'_>, channel: Channel) -> Result<String, Flaw> {
    let email = |text: &str| fields::email(text).map(str::to_owned);
    match channel {
        Channel::Email => either(object, "email", ["email_data", "email"], email),
        Channel::Sms => either(object, "phone", ["phone_data", "phone"], fields::phone),
        Channel::Whatsapp | Channel::Viber | Channel::Notify => {
            let value = nested(object, ["cc_data", "phone"])?.ok_or_else(|| missing("cc_data.phone"))?;
            text(value, "cc_data.phone", fields::phone)
        }
        Channel::TelegramBot => {
            let value = nested(object, ["cc_data", "id"])?.ok_or_else(|| missing("cc_data.id"))?;
            let id = fields::integer(value).map_err(|what| Flaw::in_field("cc_data.id", what))?;
            Ok(id.to_string())
        }
        Channel::Push => {
            let part = |name: &'static str| {
                let value = object.get(name).ok_or_else(|| missing(name))?;
                text(value, name, not_blank)
            };
            let provider = part("provider")?;
            if provider.contains(':') {
                return Err(Flaw::in_field("provider", "must not contain a colon"));
            }
            Ok(format!("{provider}:{}", part("subscription_id")?))
        }
    }
}

fn missing(field: &'static str) -> Flaw {
    Flaw::in_field(field, "is missing")
}

fn not_blank(text: &str) -> Result<String, What> {
    if text.trim().is_empty() { Err("must not be blank".into()) } else { Ok(text.to_owned()) }
}

fn text(value: &Value<'_>, field: &'static str, parse: impl Fn(&str) -> Result<String, What>) -> Result<String, Flaw> {
    fields::string(value).and_then(parse).map_err(|what| Flaw::in_field(field, what))
}

/// The address at `plain`, else the one at `nested_path`.
fn either(
    object: &Object<'_>,
    plain: &'static str,
    nested_path: [&'static str; 2],
    parse: impl Fn(&str) -> Result<String, What>,
) -> Result<String, Flaw> {
    if let Some(value) = object.get(plain) {
        return text(value, plain, parse);
    }
    let value = nested(object, nested_path)?.ok_or_else(|| missing(plain))?;
    fields::string(value).and_then(parse).map_err(|what| Flaw::in_field(nested_path.join("."), what))
}

fn nested<'v, 'a>(object: &'v Object<'a>, [outer, inner]: [&'static str; 2]) -> Result<Option<&'v Value<'a>>, Flaw> {
    let Some(value) = object.get(outer) else {
        return Ok(None);
    };
    let object = fields::object(value).map_err(|what| Flaw::in_field(outer, what))?;
    Ok(object.get(inner))
}
