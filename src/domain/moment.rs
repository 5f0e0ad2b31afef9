//! Moments and days as RFC 3339 has them: by its own ranges, not by those of a date library.

use std::fmt;
use std::time::{Duration, SystemTime};

use jiff::SignedDuration;
use jiff::civil::{self, DateTime};

/// A moment that a producer names: any of RFC 3339, with the years 0001 to 9999 as they are
/// written. With its offset from UTC it may be in another year there, of which a timestamp of the
/// date library has no more than a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    since_epoch: SignedDuration,
}

const EPOCH: DateTime = civil::date(1970, 1, 1).at(0, 0, 0, 0);

/// The offset by which a moment is written that in UTC is in no year of four digits.
const FAR: SignedDuration = SignedDuration::from_mins(23 * 60 + 59);

impl Moment {
    /// Reads a date-time of RFC 3339, section 5.6. A leap second is where UTC has 23:59:60, and
    /// counts as the second before it. Digits of a second after the ninth do not count.
    pub fn parse(text: &str) -> Option<Self> {
        const SECONDS: &[u8; 19] = b"0000-00-00T00:00:00";
        let (head, rest) = text.split_at_checked(SECONDS.len())?;
        let (fraction, zone) = split_fraction(rest)?;
        if !has_layout(head.as_bytes(), SECONDS) {
            return None;
        }
        let day = day(&head[..10])?;
        let [hour, minute, second] = [11, 14, 17].map(|at| number(&head[at..at + 2]));
        let offset = offset(zone)?;
        let second = match second? {
            60 if is_end_of_day(hour?, minute?, offset) => 59,
            second => second,
        };
        let time = civil::Time::new(
            i8::try_from(hour?).ok()?,
            i8::try_from(minute?).ok()?,
            i8::try_from(second).ok()?,
            nanoseconds(fraction),
        );
        let local = day.to_datetime(time.ok()?).duration_since(EPOCH);
        Some(Self {
            since_epoch: local - offset,
        })
    }

    /// Returns the moment as the system's clock counts.
    pub fn system_time(self) -> SystemTime {
        let distance: Duration = self.since_epoch.unsigned_abs();
        if self.since_epoch.is_negative() {
            SystemTime::UNIX_EPOCH - distance
        } else {
            SystemTime::UNIX_EPOCH + distance
        }
    }
}

/// In UTC; what is in no year of four digits there, by an offset.
impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let has_year = |moment: &DateTime| moment.year() >= 1;
        let at = |since_epoch| EPOCH.checked_add(since_epoch).ok();
        let utc = at(self.since_epoch).filter(has_year).map(|utc| (utc, "Z"));
        let west = || {
            at(self.since_epoch - FAR)
                .filter(has_year)
                .map(|local| (local, "-23:59"))
        };
        let east = || at(self.since_epoch + FAR).map(|local| (local, "+23:59"));
        match utc.or_else(west).or_else(east) {
            Some((local, zone)) => write!(f, "{local}{zone}"),
            None => unreachable!("a moment was written with an offset of less than a day"),
        }
    }
}

/// Reads a day such as `2001-12-31`, from the year 0001 on.
pub fn day(text: &str) -> Option<civil::Date> {
    if !has_layout(text.as_bytes(), b"0000-00-00") {
        return None;
    }
    let [year, month, day] = [0..4, 5..7, 8..10].map(|place| number(&text[place]));
    // There was none: the year before 1 is 1 BC, which most clients of PostgreSQL can't read.
    let year = year.filter(|year| *year > 0)?;
    civil::Date::new(year, i8::try_from(month?).ok()?, i8::try_from(day?).ok()?).ok()
}

fn number(digits: &str) -> Option<i16> {
    digits.parse().ok()
}

/// Splits `.123Z` into the digits and the zone.
fn split_fraction(text: &str) -> Option<(&str, &str)> {
    let Some(rest) = text.strip_prefix('.') else {
        return Some(("", text));
    };
    let end = rest.find(|c: char| !c.is_ascii_digit())?;
    (end > 0).then(|| rest.split_at(end))
}

fn nanoseconds(fraction: &str) -> i32 {
    const NINE: usize = 9;
    let digits = fraction.bytes().chain(std::iter::repeat(b'0')).take(NINE);
    digits.fold(0, |sum, digit| 10 * sum + i32::from(digit - b'0'))
}

/// Reads `Z` or `+03:00`. The hours are those of a day, and so are the minutes of an hour.
fn offset(zone: &str) -> Option<SignedDuration> {
    if zone.eq_ignore_ascii_case("z") {
        return Some(SignedDuration::ZERO);
    }
    if !has_layout(zone.as_bytes(), b"+00:00") {
        return None;
    }
    let (hours, minutes) = (number(&zone[1..3])?, number(&zone[4..6])?);
    let size = SignedDuration::from_mins(i64::from(60 * hours + minutes));
    let is_sound = hours <= 23 && minutes <= 59;
    is_sound.then_some(if zone.starts_with('-') { -size } else { size })
}

/// Whether it is 23:59 in UTC.
fn is_end_of_day(hour: i16, minute: i16, offset: SignedDuration) -> bool {
    const DAY_MINUTES: i64 = 24 * 60;
    let utc = i64::from(60 * hour + minute) - offset.as_mins();
    utc.rem_euclid(DAY_MINUTES) == DAY_MINUTES - 1
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said, and what it is in UTC.
    #[test]
    fn moments_are_read_by_the_ranges_of_rfc_3339() {
        for (text, utc) in [
            ("2001-12-31T10:00:00Z", "2001-12-31T10:00:00Z"),
            ("2001-12-31t10:00:00z", "2001-12-31T10:00:00Z"),
            // RFC 3339, 5.8
            ("1985-04-12T23:20:50.52Z", "1985-04-12T23:20:50.52Z"),
            ("1996-12-19T16:39:57-08:00", "1996-12-20T00:39:57Z"),
            ("1990-12-31T23:59:60Z", "1990-12-31T23:59:59Z"),
            ("1990-12-31T15:59:60-08:00", "1990-12-31T23:59:59Z"),
            ("1937-01-01T12:00:27.87+00:20", "1937-01-01T11:40:27.87Z"),
            // RFC 3339, 4.3
            ("2001-12-31T10:00:00-00:00", "2001-12-31T10:00:00Z"),
            ("2017-01-01T05:29:60.5+05:30", "2016-12-31T23:59:59.5Z"),
            (
                "2001-12-31T10:00:00.1234567890123+23:59",
                "2001-12-30T10:01:00.123456789Z",
            ),
            ("1969-12-31T23:59:59.5Z", "1969-12-31T23:59:59.5Z"),
            // The ends of the calendar, which in UTC are beyond it.
            ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59Z"),
            ("9999-12-31T23:59:59.5-23:59", "9999-12-31T23:59:59.5-23:59"),
            ("9999-12-31T23:59:59-00:01", "9999-12-31T00:01:59-23:59"),
            ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
            ("0001-01-01T00:00:00+23:59", "0001-01-01T00:00:00+23:59"),
        ] {
            let moment = Moment::parse(text).expect(text);
            assert_eq!(moment.to_string(), utc, "{text}");
            assert_eq!(Moment::parse(utc), Some(moment), "{utc}");
        }
        for text in [
            "",
            "2001-12-31",
            "2001-12-31 10:00:00Z",
            "2001-12-31T10:00Z",
            "2001-12-31T10:00:00",
            "2001-12-31T10:00:00.Z",
            "2001-12-31T10:00:00,5Z",
            "2001-12-31T10:00:00+0300",
            "2001-12-31T10:00:00+03",
            "2001-12-31T10:00:00+24:00",
            "2001-12-31T10:00:00-25:59",
            "2001-12-31T10:00:00+03:60",
            "2001-12-31T24:00:00Z",
            "2001-12-31T10:60:00Z",
            "2001-12-31T10:00:60Z",
            "2001-12-31T23:59:60+03:00",
            "2001-12-31T23:59:61Z",
            "2001-02-29T10:00:00Z",
            "0000-01-01T00:00:00Z",
            "+2001-12-31T10:00:00Z",
            "2001-12-31T10:00:00Zж",
            "2001-12-31T1ж:00:00Z",
        ] {
            assert_eq!(Moment::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn the_system_counts_the_same_seconds() {
        for (text, seconds) in [
            ("1970-01-01T00:00:01Z", 1),
            ("1969-12-31T23:59:59Z", -1),
            ("9999-12-31T23:59:59-23:59", 253_402_387_139),
        ] {
            let time = Moment::parse(text).expect(text).system_time();
            let distance = Duration::from_secs(u64::try_from(i64::abs(seconds)).unwrap());
            let expected = if seconds < 0 {
                SystemTime::UNIX_EPOCH - distance
            } else {
                SystemTime::UNIX_EPOCH + distance
            };
            assert_eq!(time, expected, "{text}");
        }
    }

    #[test]
    fn days_are_those_of_the_calendar() {
        for text in [
            "2001-12-31",
            "2024-02-29",
            "2000-02-29",
            "0001-01-01",
            "9999-12-31",
        ] {
            assert!(day(text).is_some(), "{text}");
        }
        for text in [
            "",
            "0000-01-01",
            "2023-02-29",
            "1900-02-29",
            "2001-13-01",
            "2001-00-01",
            "2001-01-00",
            "20011231",
        ] {
            assert!(day(text).is_none(), "{text}");
        }
    }
}
