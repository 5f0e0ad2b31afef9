//! What is accepted for each kind, and what of it is kept.

use std::borrow::Cow;

use super::Kind;
use super::flaw::{Flaw, wrong_type};
use super::scalar::{
    boolean, integer, number, number_or_word, passed, sex, status, storable, string, word,
};
use crate::domain::value::Value;
use crate::domain::{email, parse};

impl Kind {
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
    fn the_flaw_of_an_item_has_its_place() {
        let phones = Value::Array(vec![string_of("+79000000000"), string_of("no")]);
        assert!(flaw(Kind::Phones, phones).starts_with("x[1]: not a phone number"));
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
