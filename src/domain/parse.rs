//! One small parser per kind of value. Each says what it wanted; the caller knows the path.
//!
//! Values are stored as they came once they have passed; only phone numbers are rewritten (to
//! E.164), because two ways to write one number would be two numbers to everybody who reads them.
//! Email addresses have a module of their own ([`super::email`]).

use std::borrow::Cow;
use std::net::IpAddr;

use jiff::{Timestamp, civil, tz};

use super::channel::Channel;
use super::value::Value;

/// Complaint is wrong with a value, in words that follow its path and a colon.
pub type Complaint = Cow<'static, str>;

/// A string without U+0000, which PostgreSQL can't store.
pub fn text(text: &str) -> Result<(), Complaint> {
    if text.contains('\0') {
        Err("must not contain the character U+0000".into())
    } else {
        Ok(())
    }
}

/// A text that is not blank.
pub fn name(text: &str) -> Result<(), Complaint> {
    if text.trim().is_empty() {
        Err("must not be blank".into())
    } else {
        Ok(())
    }
}

/// The name of a push provider: a name, and without a colon, which ends it in a stored address.
pub fn provider(text: &str) -> Result<(), Complaint> {
    name(text)?;
    if text.contains(':') {
        Err("must not contain a colon".into())
    } else {
        Ok(())
    }
}

/// The name of a subscription channel.
pub fn channel(text: &str) -> Result<(), Complaint> {
    let known = Channel::parse(text).map(|_| ());
    known.ok_or_else(|| {
        format!(
            "must be one of {}",
            Channel::ALL.map(Channel::name).join(", ")
        )
        .into()
    })
}

/// Whether these digits are an integer, of whatever size.
pub fn is_integer(digits: &str) -> bool {
    let digits = digits.strip_prefix('-').unwrap_or(digits);
    !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
}

/// An integer of 64 bits, from the digits of a number.
pub fn integer(digits: &str) -> Result<i64, Complaint> {
    digits.parse().map_err(|_| {
        if is_integer(digits) {
            "must fit into 64 bits".into()
        } else {
            "must be an integer, is a fraction".into()
        }
    })
}

/// A phone number in E.164 form: `+`, country code, number, 8 to 15 digits in all.
///
/// Why no library? Those judge by tables of the numbers that operators have been given, which
/// change: a number that was good yesterday must not be refused today, and none may be guessed
/// from a number without its country code. The form itself is a few lines (ITU-T E.164, 6.2).
pub fn phone(text: &str) -> Result<String, Complaint> {
    const WHAT: &str = "not a phone number with country code, such as +79000000000";
    let rest = text.trim().strip_prefix('+').ok_or(WHAT)?;
    let mut number = String::with_capacity(16);
    number.push('+');
    for c in rest.chars() {
        match c {
            '0' if number.len() == 1 => return Err(WHAT.into()),
            '0'..='9' => number.push(c),
            ' ' | '-' | '.' | '(' | ')' | '\u{a0}' => {}
            _ => return Err(WHAT.into()),
        }
    }
    if (8..=15).contains(&(number.len() - 1)) {
        Ok(number)
    } else {
        Err(WHAT.into())
    }
}

/// A country code of two letters (the form of ISO 3166-1 alpha-2; which of them exist changes).
pub fn country(text: &str) -> Result<(), Complaint> {
    let sound = text.len() == 2 && text.bytes().all(|b| b.is_ascii_alphabetic());
    sound
        .then_some(())
        .ok_or("not a two-letter country code".into())
}

/// An IPv4 or IPv6 address.
pub fn ip(text: &str) -> Result<IpAddr, Complaint> {
    text.parse().map_err(|_| "not an IP address".into())
}

/// An RFC 3339 date-time.
pub fn date_time(text: &str) -> Result<Timestamp, Complaint> {
    const WHAT: &str = "not a date-time such as 2001-12-31T10:00:00Z";
    if !has_rfc3339_layout(text.as_bytes()) {
        return Err(WHAT.into());
    }
    without_tiny_digits(text).parse().map_err(|_| WHAT.into())
}

/// A date of RFC 3339.
pub fn date(text: &str) -> Result<(), Complaint> {
    let sound = has_layout(text.as_bytes(), b"0000-00-00") && text.parse::<civil::Date>().is_ok();
    sound
        .then_some(())
        .ok_or("not a date such as 2001-12-31".into())
}

/// Either of the two.
pub fn date_or_date_time(text: &str) -> Result<(), Complaint> {
    let sound = date(text).is_ok() || date_time(text).is_ok();
    sound
        .then_some(())
        .ok_or("not a date such as 2001-12-31 or 2001-12-31T10:00:00Z".into())
}

/// RFC 3339 has no limit for the digits of a fraction, the date library has one of nine.
fn without_tiny_digits(text: &str) -> Cow<'_, str> {
    const NINE_DIGITS: usize = "0000-00-00T00:00:00.000000000".len();
    let end = text
        .bytes()
        .rposition(|b| matches!(b, b'.' | b'+' | b'-' | b'Z' | b'z'))
        .unwrap_or(text.len());
    if end <= NINE_DIGITS {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(format!("{}{}", &text[..NINE_DIGITS], &text[end..]))
    }
}

/// The date library reads more forms than RFC 3339 has; this lets only those through.
fn has_rfc3339_layout(text: &[u8]) -> bool {
    const SECONDS: &[u8; 19] = b"0000-00-00T00:00:00";
    let Some((head, rest)) = text.split_at_checked(SECONDS.len()) else {
        return false;
    };
    let fraction = match rest.strip_prefix(b".") {
        Some(digits) => 1 + digits.iter().take_while(|b| b.is_ascii_digit()).count(),
        None => 0,
    };
    let zone = &rest[fraction..];
    has_layout(head, SECONDS)
        && fraction != 1
        && (zone.eq_ignore_ascii_case(b"z") || has_layout(zone, b"+00:00"))
}

/// Whether `text` looks like `layout`, in which `0` stands for any digit, `T` for `T` or `t`, and
/// `+` for either sign.
fn has_layout(text: &[u8], layout: &[u8]) -> bool {
    text.len() == layout.len()
        && text.iter().zip(layout).all(|(byte, form)| match form {
            b'0' => byte.is_ascii_digit(),
            b'+' => matches!(byte, b'+' | b'-'),
            b'T' => matches!(byte, b'T' | b't'),
            other => byte == other,
        })
}

/// The name of a time zone in the IANA database.
pub fn time_zone(text: &str) -> Result<(), Complaint> {
    match tz::db().get(text) {
        Ok(_) => Ok(()),
        Err(_) => Err("not an IANA time zone name such as Europe/Moscow".into()),
    }
}

/// The words for the state of a subscription or a profile.
pub const STATUSES: [&str; 7] = [
    "subscribed",
    "unsubscribed",
    "complainer",
    "hardbounced",
    "unconfirmed",
    "suspended",
    "invalid",
];

/// Whether PostgreSQL's jsonb can hold the value.
pub fn storable(value: &Value<'_>) -> Result<(), Complaint> {
    match value {
        Value::Null | Value::Bool(_) => Ok(()),
        Value::Number(digits) => storable_number(digits),
        Value::String(string) | Value::Text(string) => text(string),
        Value::Array(items) => items.iter().try_for_each(storable),
        Value::Object(object) => object.iter().try_for_each(|(name, value)| {
            if name.contains('\0') {
                return Err("must not have a field name with the character U+0000".into());
            }
            storable(value)
        }),
    }
}

/// How far a number may reach to either side of the decimal point. PostgreSQL's numeric has room
/// for more; a bound this near keeps `1e16000` from becoming sixteen thousand digits in a row.
const NUMBER_DIGITS_MAX: usize = 1000;

fn storable_number(digits: &str) -> Result<(), Complaint> {
    let (mantissa, exponent) = digits.split_once(['e', 'E']).unwrap_or((digits, "0"));
    let exponent: Option<i64> = exponent.parse().ok();
    let near = exponent.is_some_and(|e| e.unsigned_abs() <= NUMBER_DIGITS_MAX as u64);
    if near && mantissa.len() <= NUMBER_DIGITS_MAX {
        Ok(())
    } else {
        Err(format!("must be a number of at most {NUMBER_DIGITS_MAX} digits").into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(parse: impl Fn(&str) -> bool, good: &[&str], bad: &[&str]) {
        for text in good {
            assert!(parse(text), "{text:?} must pass");
        }
        for text in bad {
            assert!(!parse(text), "{text:?} must not pass");
        }
    }

    #[test]
    fn phone_becomes_e164() {
        for (text, number) in [
            ("+79000000000", "+79000000000"),
            (" +7 (900) 000-00-00 ", "+79000000000"),
            ("+44.20.7946.0958", "+442079460958"),
        ] {
            assert_eq!(phone(text).unwrap(), number);
        }
        check(
            |text| phone(text).is_ok(),
            &[],
            &[
                "",
                "+",
                "79000000000",
                "+1234567",
                "+1234567890123456",
                "+0123456789",
                "+7900000000a",
                "a@example.com",
                "++79000000000",
            ],
        );
    }

    #[test]
    fn country_is_two_letters() {
        check(
            |text| country(text).is_ok(),
            &["RU", "de"],
            &["", "R", "RUS", "R1", "Ж"],
        );
    }

    #[test]
    fn ip_is_v4_or_v6() {
        check(
            |text| ip(text).is_ok(),
            &["192.0.2.1", "2001:db8::1"],
            &["", "192.0.2", "192.0.2.256", "example.com", "192.0.2.1/24"],
        );
    }

    #[test]
    fn date_is_rfc3339_or_a_date_alone() {
        check(
            |text| date_or_date_time(text).is_ok(),
            &[
                "2001-12-31",
                "2001-12-31T10:00:00Z",
                "2001-12-31T10:00:00.123+03:00",
                "2001-12-31T10:00:00.1234567890123z",
                "2024-02-29",
            ],
            &[
                "",
                "2001-13-01",
                "2023-02-29",
                "31.12.2001",
                "20011231",
                "2001-12-31 10:00:00",
                "2001-12-31T10:00Z",
                "2001-12-31T10:00:00",
                "2001-12-31T10:00:00.Z",
                "2001-12-31T10:00:00+0300",
                "2001-12-31T25:00:00Z",
            ],
        );
        check(
            |text| date_time(text).is_ok(),
            &["2001-12-31T10:00:00Z"],
            &["2001-12-31"],
        );
        check(
            |text| date(text).is_ok(),
            &["2001-12-31"],
            &["2001-12-31T10:00:00Z"],
        );
    }

    #[test]
    fn time_zone_is_a_name_of_the_iana_database() {
        check(
            |text| time_zone(text).is_ok(),
            &["Europe/Moscow", "UTC", "America/Argentina/Buenos_Aires"],
            &["", "Moscow", "+03:00", "Europe/Nowhere"],
        );
    }
}
