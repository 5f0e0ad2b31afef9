//! The kinds of value that a field can have: what is accepted, and what of it is kept.
//!
//! The tables of fields (of a request, a profile, a subscription) name a kind for each, the decoder
//! checks by them, and the published schemas are made from them. So the two can't drift apart.

mod check;
mod flaw;
mod scalar;

pub use self::flaw::{Flaw, wrong_type};
pub(super) use self::scalar::email;
use super::custom_field::FieldType;

/// One field of a table.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// Its name in a request.
    pub name: &'static str,
    /// What it can be.
    pub kind: Kind,
    /// What it means, for the published contract.
    pub about: &'static str,
}

impl Field {
    /// Makes a row of a table.
    pub const fn new(name: &'static str, kind: Kind, about: &'static str) -> Self {
        Self { name, kind, about }
    }

    /// Finds the row of this name.
    pub fn find(table: &'static [Self], name: &str) -> Option<&'static Self> {
        table.iter().find(|field| field.name == name)
    }
}

/// What a field can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Any text, as it stands.
    String,
    /// The same, but in XML without the blanks around it: those are how the document is laid out.
    Text,
    /// A text without what can't be seen around it.
    Word,
    /// A word without a colon.
    Provider,
    /// An email address; kept trimmed, in NFC.
    Email,
    /// A phone number; kept in E.164 form.
    Phone,
    /// An array of phone numbers; kept once each.
    Phones,
    /// A country code of two letters; kept in capitals.
    Country,
    /// A text or an integer.
    PostalCode,
    /// An IPv4 or IPv6 address.
    Ip,
    /// A day.
    Date,
    /// A moment, with its offset from UTC.
    DateTime,
    /// Either.
    DateOrDateTime,
    /// The name of a time zone in the IANA database; kept as that writes it.
    TimeZone,
    /// 0, 1, 2, `male` or `female`.
    Sex,
    /// An integer or a status word.
    Status,
    /// A subscription channel.
    Channel,
    /// A whole number of 64 bits.
    Integer,
    /// A whole number from 1 on.
    Id,
    /// Any number.
    Number,
    /// `true` or `false`.
    Boolean,
    /// An array of any texts, as they stand.
    Strings,
    /// The same, but in XML without the blanks around each.
    Texts,
    /// An object of anything.
    Object,
    /// Whatever can be stored.
    Any,
}

impl Kind {
    /// Tells what a custom field of this type can be.
    pub const fn of(field_type: FieldType) -> Self {
        match field_type {
            FieldType::String => Kind::String,
            FieldType::Integer => Kind::Integer,
            FieldType::Number => Kind::Number,
            FieldType::Boolean => Kind::Boolean,
            FieldType::Date => Kind::Date,
            FieldType::DateTime => Kind::DateTime,
            FieldType::Strings => Kind::Strings,
            FieldType::Object => Kind::Object,
        }
    }
}
