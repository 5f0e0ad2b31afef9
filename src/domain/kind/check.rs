//! What is accepted for each kind, and what of it is kept.

use std::borrow::Cow;
use std::collections::HashSet;

use super::Kind;
use super::flaw::{Flaw, wrong_type};
use super::scalar::{
    boolean, integer, integer_or_word, number, parsed, passed, storable, string, word,
};
use crate::domain::value::{Object, Value};
use crate::domain::{email, parse};

impl Kind {
    /// Checks a value that is not null; the result is what is kept of it: null, if what came is a
    /// string with nothing to see in it, and the kind is not free text. Texts of XML come out as
    /// what the field wants.
    #[inline]
    pub fn check<'a>(self, value: Value<'a>) -> Result<Value<'a>, Flaw> {
        match (self, value) {
            // Most fields of most profiles: nothing is made of them.
            (Kind::String | Kind::Text, Value::String(text)) => {
                parse::text(&text)?;
                Ok(Value::String(text))
            }
            (_, value) => self.check_any(value),
        }
    }

    fn check_any<'a>(self, value: Value<'a>) -> Result<Value<'a>, Flaw> {
        if self.has_format() && value.is_blank() {
            return Ok(Value::Null);
        }
        Ok(match self {
            Kind::String => Value::String(string(value)?),
            Kind::Text => Value::String(string(value.trimmed(str::trim))?),
            Kind::Word => Value::String(word(value)?),
            Kind::Provider => parsed(value, parse::provider)?,
            Kind::Email => Value::String(Cow::Owned(email::address(&string(
                value.trimmed(str::trim),
            )?)?)),
            Kind::Phone => Value::String(Cow::Owned(parse::phone(&string(value)?)?)),
            Kind::Phones => Value::Array(distinct(each(value, Kind::Phone)?)),
            Kind::Country => parsed(value, parse::country)?,
            Kind::PostalCode => match value {
                Value::String(_) | Value::Text(_) => Value::String(word(value)?),
                Value::Number(digits) => Value::Number(parse::integer(digits)?),
                other => return Err(wrong_type("a string or an integer", &other)),
            },
            Kind::Ip => passed(value, |text| parse::ip(text).map(drop))?,
            Kind::Date => passed(value, parse::date)?,
            Kind::DateTime => passed(value, |text| parse::date_time(text).map(drop))?,
            Kind::DateOrDateTime => passed(value, parse::date_or_date_time)?,
            Kind::TimeZone => parsed(value, parse::time_zone)?,
            Kind::Sex => {
                let is_sex = |digits: &str| matches!(digits, "0" | "1" | "2");
                let wanted = || "0, 1, 2, \"male\" or \"female\"".to_owned();
                integer_or_word(value, is_sex, &["male", "female"], wanted)?
            }
            Kind::Status => {
                let wanted = || format!("an integer or one of {}", parse::STATUSES.join(", "));
                integer_or_word(value, |_| true, &parse::STATUSES, wanted)?
            }
            Kind::Channel => parsed(value, parse::channel)?,
            Kind::Integer => Value::Number(integer(value)?),
            Kind::Id => match integer(value)? {
                digits if digits.starts_with(['-', '0']) => return Err("must be 1 or more".into()),
                digits => Value::Number(digits),
            },
            Kind::Number => number(value)?,
            Kind::Boolean => boolean(value)?,
            Kind::Strings => Value::Array(each(value, Kind::String)?),
            Kind::Texts => Value::Array(each(value, Kind::Text)?),
            Kind::Object => match value {
                Value::Object(_) => storable(value)?,
                // PHP has no other way to write an empty object.
                Value::Array(items) if items.is_empty() => Value::Object(Object::default()),
                other => return Err(wrong_type("an object", &other)),
            },
            Kind::Any => storable(value)?,
        })
    }

    /// Whether a string with nothing to see in it says nothing here: free text is what it is.
    pub const fn has_format(self) -> bool {
        !matches!(self, Kind::String | Kind::Text | Kind::Any)
    }
}

/// Checks the items of an array. What is not given is left out.
fn each<'a>(value: Value<'a>, kind: Kind) -> Result<Vec<Value<'a>>, Flaw> {
    let items = match value {
        Value::Array(items) => items,
        // An array of one has one element in XML, marked or not.
        Value::Text(_) => vec![value],
        other => return Err(wrong_type("an array", &other)),
    };
    let given = items.into_iter().enumerate();
    let given = given.filter(|(_, item)| *item != Value::Null);
    let checked = given.map(|(i, item)| kind.check(item).map_err(|flaw| flaw.in_item(i)));
    checked
        .filter(|item| !matches!(item, Ok(Value::Null)))
        .collect()
}

/// Returns each string once, where it stands first.
fn distinct(mut items: Vec<Value<'_>>) -> Vec<Value<'_>> {
    if items.len() > 1 {
        let mut seen = HashSet::with_capacity(items.len());
        items.retain(|item| match item {
            Value::String(text) => seen.insert(text.clone().into_owned()),
            _ => true,
        });
    }
    items
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
            number_of("1.5"),
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
            for (given, kept) in [("-0", "0"), ("2.0", "2"), ("2e0", "2"), ("-1.50e1", "-15")] {
                assert_eq!(
                    kind.check(number_of(given)),
                    Ok(number_of(kept)),
                    "{kind:?}"
                );
            }
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
            "x: must be an integer, is the string \"1\"; write it without quotes"
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
            (Kind::Text, "\n x\u{200b} ", string_of("x\u{200b}")),
            (Kind::Word, " x\n", string_of("x")),
            (Kind::Integer, " -7 ", number_of("-7")),
            (Kind::Integer, "007", number_of("7")),
            (Kind::Integer, "\u{feff}+7\u{a0}", number_of("7")),
            (Kind::Integer, "2.0", number_of("2")),
            (Kind::Id, "1", number_of("1")),
            (Kind::Number, "\n1.50", number_of("1.50")),
            (Kind::Number, "+.5", number_of("0.5")),
            (Kind::Boolean, " true ", Value::Bool(true)),
            (Kind::Boolean, "false", Value::Bool(false)),
            (Kind::Boolean, "1", Value::Bool(true)),
            (Kind::Boolean, "0 ", Value::Bool(false)),
            (Kind::Sex, "1", number_of("1")),
            (Kind::Sex, "female ", string_of("female")),
            (Kind::Status, "12", number_of("12")),
            (Kind::Status, "-07", number_of("-7")),
            (Kind::Sex, "01", number_of("1")),
            (Kind::Sex, "+1", number_of("1")),
            (
                Kind::Phones,
                "+79000000000",
                Value::Array(vec![string_of("+79000000000")]),
            ),
            (Kind::Texts, " x ", Value::Array(vec![string_of("x")])),
            (Kind::Strings, " x ", Value::Array(vec![string_of(" x ")])),
            (Kind::Status, "subscribed", string_of("subscribed")),
            (Kind::PostalCode, " 0123 ", string_of("0123")),
            (Kind::Ip, "\t192.0.2.1", string_of("192.0.2.1")),
            (Kind::Phone, "+7 900 000-00-00", string_of("+79000000000")),
            (Kind::Any, " x ", text_of(" x ")),
        ] {
            assert_eq!(kind.check(text_of(text)), Ok(kept), "{kind:?} {text:?}");
        }
        for (kind, text, what) in [
            (
                Kind::Integer,
                "x",
                "x: must be an integer, is the text \"x\"",
            ),
            (Kind::Integer, "1.5", "x: must be an integer, is a fraction"),
            (
                Kind::Integer,
                "9223372036854775808",
                "x: must fit into 64 bits",
            ),
            (
                Kind::Number,
                "1,5",
                "x: must be a number, is the text \"1,5\"",
            ),
            (
                Kind::Number,
                "NaN",
                "x: must be a number, is the text \"NaN\"",
            ),
            (
                Kind::Boolean,
                "True",
                "x: must be true, false, 1 or 0, is the text \"True\"",
            ),
            (Kind::Object, "y", "x: must be an object, is the text \"y\""),
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
