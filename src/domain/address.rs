//! Where a subscription's address stands, which depends on its channel.

use super::channel::Channel;
use super::kind::{Flaw, Kind, wrong_type};
use super::value::{Object, Value};

/// A part of an address: the path to it below the subscription, and what it can be.
#[derive(Debug, Clone, Copy)]
pub struct AddressPart {
    /// Names of fields, from the outside in.
    pub path: &'static [&'static str],
    /// What stands there.
    pub kind: Kind,
}

impl AddressPart {
    const fn new(path: &'static [&'static str], kind: Kind) -> Self {
        Self { path, kind }
    }
}

/// Where the address stands: the alternatives, of which the first that is given counts, and
/// the parts of each.
pub const fn alternatives(channel: Channel) -> &'static [&'static [AddressPart]] {
    type Alternatives = &'static [&'static [AddressPart]];
    const EMAIL: Alternatives = &[
        &[AddressPart::new(&["email"], Kind::Email)],
        &[AddressPart::new(&["email_data", "email"], Kind::Email)],
    ];
    const SMS: Alternatives = &[
        &[AddressPart::new(&["phone"], Kind::Phone)],
        &[AddressPart::new(&["phone_data", "phone"], Kind::Phone)],
    ];
    const PUSH: Alternatives = &[&[
        AddressPart::new(&["provider"], Kind::Provider),
        AddressPart::new(&["subscription_id"], Kind::Word),
    ]];
    const TELEGRAM: Alternatives = &[&[AddressPart::new(&["cc_data", "id"], Kind::Integer)]];
    const MESSENGER: Alternatives = &[&[AddressPart::new(&["cc_data", "phone"], Kind::Phone)]];
    match channel {
        Channel::Email => EMAIL,
        Channel::Sms => SMS,
        Channel::Push => PUSH,
        Channel::TelegramBot => TELEGRAM,
        Channel::Whatsapp | Channel::Viber | Channel::Notify => MESSENGER,
    }
}

/// The address that the channel needs, from the field or fields where it stands; of several parts
/// it has a colon between them.
pub fn read(object: &Object<'_>, channel: Channel) -> Result<String, Flaw> {
    let alternatives = alternatives(channel);
    let mut chosen = alternatives[0];
    for parts in alternatives {
        if find(object, parts[0].path)?.is_some() {
            chosen = parts;
            break;
        }
    }
    let mut address = String::new();
    for part in chosen {
        let in_path = |flaw: Flaw| {
            part.path
                .iter()
                .rev()
                .fold(flaw, |flaw, name| flaw.in_field(name))
        };
        let value = find(object, part.path)?.ok_or_else(|| in_path("is missing".into()))?;
        if let Value::String(text) | Value::Number(text) =
            part.kind.check(value.clone()).map_err(in_path)?
        {
            if !address.is_empty() {
                address.push(':');
            }
            address.push_str(&text);
        }
    }
    Ok(address)
}

/// The value at a path of names; none where it is not given.
fn find<'v, 'a>(object: &'v Object<'a>, path: &[&str]) -> Result<Option<&'v Value<'a>>, Flaw> {
    let Some((name, rest)) = path.split_first() else {
        return Ok(None);
    };
    match object.get(name) {
        None => Ok(None),
        Some(value) if value.is_blank() => Ok(None),
        Some(value) if rest.is_empty() => Ok(Some(value)),
        // As PHP writes an empty object.
        Some(Value::Array(items)) if items.is_empty() => Ok(None),
        Some(Value::Object(inner)) => find(inner, rest).map_err(|flaw| flaw.in_field(name)),
        Some(other) => Err(wrong_type("an object", other).in_field(name)),
    }
}
