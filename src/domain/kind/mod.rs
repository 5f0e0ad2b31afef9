//! The kinds of value that a field can have: what is accepted, and what of it is kept.
//!
//! The tables of fields (of a request, a profile, a subscription) name a kind for each, the decoder
//! checks by them, and the published schemas are made from them. So the two can't drift apart.

use std::borrow::Cow;

use super::custom_field::FieldType;
use super::email::{self, Email};
use super::outcome::Rejection;
use super::parse::{self, Complaint};
use super::value::Value;

/// One field of a table.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// Its name in a request.
    pub name: &'static str,
    /// Complaint it can be.
    pub kind: Kind,
    /// Complaint it means, for the published contract.
    pub about: &'static str,
}

impl Field {
    /// A row of a table.
    pub const fn new(name: &'static str, kind: Kind, about: &'static str) -> Self {
        Self { name, kind, about }
    }

    /// The row of this name.
    pub fn find(table: &'static [Self], name: &str) -> Option<&'static Self> {
        table.iter().find(|field| field.name == name)
    }
}

/// Complaint a field can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Any text.
    String,
    /// A text without blanks around it.
    Word,
    /// The same, and not empty.
    Name,
    /// A name without a colon.
    Provider,
    /// An email address; kept trimmed, in NFC.
    Email,
    /// A phone number; kept in E.164 form.
    Phone,
    /// An array of phone numbers.
    Phones,
    /// A country code of two letters.
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
    /// The name of a time zone in the IANA database.
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
    /// An array of texts.
    Strings,
    /// An object of anything.
    Object,
    /// Whatever can be stored.
    Any,
}

/// Complaint is wrong with a value, and where in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flaw {
    /// The path below the value: `[2]`, `.cc_data.id`, or nothing for the value itself.
    below: String,
    what: Complaint,
}

/// A name in a path is cut off after so many characters: producers make names of any length, and
/// an error text is for people.
const NAME_CHARS_MAX: usize = 100;

impl From<Complaint> for Flaw {
    fn from(what: Complaint) -> Self {
        Self {
            below: String::new(),
            what,
        }
    }
}

impl From<&'static str> for Flaw {
    fn from(what: &'static str) -> Self {
        Complaint::Borrowed(what).into()
    }
}

impl Flaw {
    /// The same flaw, seen from the object that has the value in this field.
    #[must_use]
    pub fn in_field(self, name: &str) -> Self {
        let below = match name.char_indices().nth(NAME_CHARS_MAX) {
            None => format!(".{name}{}", self.below),
            Some((end, _)) => format!(".{}…{}", &name[..end], self.below),
        };
        Self {
            below,
            what: self.what,
        }
    }

    /// The same flaw, seen from the array that has the value at this place.
    #[must_use]
    pub fn in_item(self, index: usize) -> Self {
        Self {
            below: format!("[{index}]{}", self.below),
            what: self.what,
        }
    }

    /// The 400 of a value that stands at `path`; without a path the value is the document.
    pub fn at(self, path: &str) -> Rejection {
        let below = if path.is_empty() {
            self.below.trim_start_matches('.')
        } else {
            &self.below
        };
        Rejection::invalid(&format!("{path}{below}"), self.what)
    }
}

/// The flaw of a value of another type.
pub fn wrong_type(wanted: &str, value: &Value<'_>) -> Complaint {
    Cow::Owned(format!("must be {wanted}, is {}", value.describe()))
}

impl Kind {
    /// What a custom field of this type can be.
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

    /// Checks a value that is not null; the result is what is kept of it. Texts of XML come out as
    /// what the field wants.
    pub fn check<'a>(self, value: Value<'a>) -> Result<Value<'a>, Flaw> {
        Ok(match self {
            Kind::String => Value::String(string(value)?),
            Kind::Word => Value::String(word(value)?),
            Kind::Name => passed(value, parse::name)?,
            Kind::Provider => passed(value, parse::provider)?,
            Kind::Email => Value::String(Cow::Owned(email::address(&word(value)?)?)),
            Kind::Phone => Value::String(Cow::Owned(parse::phone(&word(value)?)?)),
            Kind::Phones => each(value, Kind::Phone)?,
            Kind::Country => passed(value, parse::country)?,
            Kind::PostalCode => match value {
                Value::String(_) | Value::Text(_) => Value::String(word(value)?),
                Value::Number(digits) if parse::is_integer(&digits) => {
                    Value::Number(integer(Value::Number(digits))?)
                }
                other => return Err(wrong_type("a string or an integer", &other).into()),
            },
            Kind::Ip => passed(value, |text| parse::ip(text).map(|_| ()))?,
            Kind::Date => passed(value, parse::date)?,
            Kind::DateTime => passed(value, |text| parse::date_time(text).map(|_| ()))?,
            Kind::DateOrDateTime => passed(value, parse::date_or_date_time)?,
            Kind::TimeZone => passed(value, parse::time_zone)?,
            Kind::Sex => sex(number_or_word(value))?,
            Kind::Status => status(number_or_word(value))?,
            Kind::Channel => passed(value, parse::channel)?,
            Kind::Integer => Value::Number(integer(value)?),
            Kind::Id => match integer(value)? {
                digits if digits.starts_with(['-', '0']) => return Err("must be 1 or more".into()),
                digits => Value::Number(digits),
            },
            Kind::Number => number(value)?,
            Kind::Boolean => boolean(value)?,
            Kind::Strings => each(value, Kind::String)?,
            Kind::Object => match value {
                Value::Object(_) => storable(value)?,
                other => return Err(wrong_type("an object", &other).into()),
            },
            Kind::Any => storable(value)?,
        })
    }
}

fn string<'a>(value: Value<'a>) -> Result<Cow<'a, str>, Complaint> {
    match value {
        Value::String(text) | Value::Text(text) => parse::text(&text).map(|()| text),
        other => Err(wrong_type("a string", &other)),
    }
}

/// Blanks around a text of XML are how the document is laid out, those in a string of JSON are
/// meant.
fn word<'a>(value: Value<'a>) -> Result<Cow<'a, str>, Complaint> {
    string(value.trimmed())
}

/// An email address, with what makes it the same as another.
pub(super) fn email(value: Value<'_>) -> Result<Email, Complaint> {
    Email::parse(&word(value)?)
}

fn passed<'a>(
    value: Value<'a>,
    check: impl FnOnce(&str) -> Result<(), Complaint>,
) -> Result<Value<'a>, Complaint> {
    let text = word(value)?;
    check(&text)?;
    Ok(Value::String(text))
}

fn each<'a>(value: Value<'a>, kind: Kind) -> Result<Value<'a>, Flaw> {
    let Value::Array(items) = value else {
        return Err(wrong_type("an array", &value).into());
    };
    let checked = items
        .into_iter()
        .enumerate()
        .map(|(i, item)| kind.check(item).map_err(|flaw| flaw.in_item(i)));
    Ok(Value::Array(checked.collect::<Result<_, _>>()?))
}

/// The digits of an integer.
fn integer<'a>(value: Value<'a>) -> Result<Cow<'a, str>, Complaint> {
    match value.trimmed() {
        Value::Number(digits) => match parse::integer(&digits)? {
            // JSON has `-0`, which must not become another address or status than `0`.
            0 => Ok(Cow::Borrowed("0")),
            _ => Ok(digits),
        },
        // An integer of XML may begin with zeros.
        Value::Text(text) if parse::is_integer(&text) => {
            Ok(Cow::Owned(parse::integer(&text)?.to_string()))
        }
        Value::Text(text) if is_number(&text) => parse::integer(&text).map(|_| text),
        other => Err(wrong_type("an integer", &other)),
    }
}

fn number<'a>(value: Value<'a>) -> Result<Value<'a>, Complaint> {
    match value.trimmed() {
        Value::Number(digits) => storable(Value::Number(digits)),
        Value::Text(text) if is_number(&text) => storable(Value::Number(text)),
        other => Err(wrong_type("a number", &other)),
    }
}

fn is_number(text: &str) -> bool {
    text.parse::<serde_json::Number>().is_ok()
}

fn boolean<'a>(value: Value<'a>) -> Result<Value<'a>, Complaint> {
    match value.trimmed() {
        Value::Bool(value) => Ok(Value::Bool(value)),
        Value::Text(text) if text == "true" => Ok(Value::Bool(true)),
        Value::Text(text) if text == "false" => Ok(Value::Bool(false)),
        other => Err(wrong_type("true or false", &other)),
    }
}

/// A text of XML where a field has both.
fn number_or_word(value: Value<'_>) -> Value<'_> {
    match value.trimmed() {
        // An integer of XML may begin with zeros, a number of JSON may not; in neither with a plus.
        Value::Text(text) => match parse::integer(&text) {
            Ok(integer) if parse::is_integer(&text) => {
                Value::Number(Cow::Owned(integer.to_string()))
            }
            _ => Value::String(text),
        },
        other => other,
    }
}

fn sex(value: Value<'_>) -> Result<Value<'_>, Complaint> {
    let sound = match &value {
        Value::Number(digits) => matches!(digits.as_ref(), "0" | "1" | "2"),
        Value::String(word) => matches!(word.as_ref(), "male" | "female"),
        _ => false,
    };
    if sound {
        Ok(value)
    } else {
        Err("must be 0, 1, 2, \"male\" or \"female\"".into())
    }
}

fn status(value: Value<'_>) -> Result<Value<'_>, Complaint> {
    match &value {
        Value::Number(_) => integer(value).map(Value::Number),
        Value::String(word) if parse::STATUSES.contains(&word.as_ref()) => Ok(value),
        _ => Err(format!(
            "must be an integer or one of {}",
            parse::STATUSES.join(", ")
        )
        .into()),
    }
}

fn storable(value: Value<'_>) -> Result<Value<'_>, Complaint> {
    parse::storable(&value).map(|()| value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::value::Object;

    fn number_of(digits: &'static str) -> Value<'static> {
        Value::Number(digits.into())
    }

    fn string_of(text: &'static str) -> Value<'static> {
        Value::String(text.into())
    }

    fn text_of(text: &'static str) -> Value<'static> {
        Value::Text(text.into())
    }

    fn flaw(kind: Kind, value: Value<'_>) -> String {
        kind.check(value).unwrap_err().at("x").text
    }

    #[test]
    fn sex_and_status_have_words_and_numbers() {
        for good in [
            number_of("0"),
            number_of("1"),
            number_of("2"),
            string_of("male"),
            string_of("female"),
        ] {
            assert_eq!(Kind::Sex.check(good.clone()), Ok(good));
        }
        for bad in [
            number_of("3"),
            number_of("1.0"),
            string_of("1"),
            string_of("x"),
            Value::Bool(true),
        ] {
            assert!(Kind::Sex.check(bad.clone()).is_err(), "{bad:?}");
        }
        for word in parse::STATUSES {
            assert!(Kind::Status.check(string_of(word)).is_ok(), "{word}");
        }
        assert!(Kind::Status.check(number_of("12")).is_ok());
        assert!(Kind::Status.check(number_of("1.5")).is_err());
        assert!(Kind::Status.check(string_of("gone")).is_err());
    }

    #[test]
    fn integers_are_neither_fractions_nor_strings() {
        assert_eq!(Kind::Integer.check(number_of("-12")), Ok(number_of("-12")));
        for kind in [Kind::Integer, Kind::Status, Kind::PostalCode] {
            assert_eq!(kind.check(number_of("-0")), Ok(number_of("0")));
        }
        assert_eq!(
            flaw(Kind::Integer, number_of("1.5")),
            "x: must be an integer, is a fraction"
        );
        assert_eq!(
            flaw(Kind::Integer, number_of("9223372036854775808")),
            "x: must fit into 64 bits"
        );
        assert_eq!(
            flaw(Kind::Integer, string_of("1")),
            "x: must be an integer, is a string"
        );
        for low in ["0", "-1", "-0"] {
            assert_eq!(flaw(Kind::Id, number_of(low)), "x: must be 1 or more");
        }
    }

    #[test]
    fn a_postal_code_is_a_string_or_an_integer() {
        assert!(Kind::PostalCode.check(string_of("EC1A 1BB")).is_ok());
        assert!(Kind::PostalCode.check(number_of("101000")).is_ok());
        assert!(Kind::PostalCode.check(number_of("1.5")).is_err());
        assert!(Kind::PostalCode.check(Value::Bool(true)).is_err());
    }

    #[test]
    fn a_text_of_xml_becomes_what_the_field_wants() {
        for (kind, text, kept) in [
            (Kind::String, " x ", string_of(" x ")),
            (Kind::Word, " x\n", string_of("x")),
            (Kind::Integer, " -7 ", number_of("-7")),
            (Kind::Integer, "007", number_of("7")),
            (Kind::Id, "1", number_of("1")),
            (Kind::Number, "\n1.50", number_of("1.50")),
            (Kind::Boolean, " true ", Value::Bool(true)),
            (Kind::Boolean, "false", Value::Bool(false)),
            (Kind::Sex, "1", number_of("1")),
            (Kind::Sex, "female ", string_of("female")),
            (Kind::Status, "12", number_of("12")),
            (Kind::Status, "-07", number_of("-7")),
            (Kind::Sex, "01", number_of("1")),
            (Kind::Status, "subscribed", string_of("subscribed")),
            (Kind::PostalCode, " 0123 ", string_of("0123")),
            (Kind::Ip, "\t192.0.2.1", string_of("192.0.2.1")),
            (Kind::Phone, "+7 900 000-00-00", string_of("+79000000000")),
            (Kind::Any, " x ", text_of(" x ")),
        ] {
            assert_eq!(kind.check(text_of(text)), Ok(kept), "{kind:?} {text:?}");
        }
        for (kind, text, what) in [
            (Kind::Integer, "x", "x: must be an integer, is a string"),
            (Kind::Integer, "1.5", "x: must be an integer, is a fraction"),
            (
                Kind::Integer,
                "9223372036854775808",
                "x: must fit into 64 bits",
            ),
            (Kind::Integer, "+7", "x: must be an integer, is a string"),
            (
                Kind::Sex,
                "+1",
                "x: must be 0, 1, 2, \"male\" or \"female\"",
            ),
            (Kind::Number, "1,5", "x: must be a number, is a string"),
            (Kind::Number, "NaN", "x: must be a number, is a string"),
            (Kind::Boolean, "1", "x: must be true or false, is a string"),
            (
                Kind::Phones,
                "+79000000000",
                "x: must be an array, is a string",
            ),
            (Kind::Object, "y", "x: must be an object, is a string"),
        ] {
            assert_eq!(flaw(kind, text_of(text)), what);
        }
    }

    #[test]
    fn a_flaw_has_the_path_to_it() {
        let phones = Value::Array(vec![string_of("+79000000000"), string_of("no")]);
        assert!(flaw(Kind::Phones, phones).starts_with("x[1]: not a phone number"));
        let flaw = Flaw::from("wrong")
            .in_field("id")
            .in_field("cc_data")
            .in_item(3);
        assert_eq!(
            flaw.clone().at("data.subscriptions").text,
            "data.subscriptions[3].cc_data.id: wrong"
        );
        assert_eq!(
            Flaw::from("wrong").in_field("db_id").at("").text,
            "db_id: wrong"
        );
        let long = "ж".repeat(NAME_CHARS_MAX);
        assert_eq!(
            Flaw::from("wrong").in_field(&long).at("data").text,
            format!("data.{long}: wrong")
        );
        let longer = long.clone() + "x";
        assert_eq!(
            Flaw::from("wrong")
                .in_field("a")
                .in_field(&longer)
                .at("data")
                .text,
            format!("data.{long}….a: wrong")
        );
    }

    #[test]
    fn what_jsonb_cannot_hold_is_found_at_any_depth() {
        let nul = string_of("a\0b");
        let field = |name: &'static str, value| {
            Value::Object(Object::from_fields(vec![(name.into(), value)]))
        };
        for bad in [
            Value::Array(vec![Value::Null, nul.clone()]),
            field("a", nul),
            field("a\0", Value::Null),
            number_of("1e1001"),
            number_of("1e99999999999999999999"),
            Value::Number("9".repeat(1001).into()),
        ] {
            assert!(Kind::Any.check(bad.clone()).is_err(), "{bad:?}");
        }
        assert!(Kind::Any.check(field("a", number_of("1.50"))).is_ok());
        assert!(Kind::Object.check(field("a", string_of("\0"))).is_err());
    }
}
