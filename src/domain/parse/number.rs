//! Integers, whatever they are written like.

use std::borrow::Cow;

use crate::domain::complaint::Complaint;

const TOO_LARGE: &str = "must fit into 64 bits";

/// Returns the integer of 64 bits that a number is, in plain digits: `2` for `2`, `2.0`, `20e-1`,
/// `0` for `-0.0`. Of XML also for `+2` and `02`.
///
/// # Errors
///
/// It is a fraction, or needs more bits. What is no number at all must not come here.
pub fn integer(digits: Cow<'_, str>) -> Result<Cow<'_, str>, Complaint> {
    let is_plain = match digits.strip_prefix('-').unwrap_or(&digits).as_bytes() {
        [b'0'] => !digits.starts_with('-'),
        [first, ..] => (b'1'..=b'9').contains(first),
        [] => false,
    };
    match digits.parse::<i64>() {
        Ok(_) if is_plain => Ok(digits),
        Ok(value) => Ok(Cow::Owned(value.to_string())),
        Err(_) => value_of(&digits).map(|value| Cow::Owned(value.to_string())),
    }
}

/// Reads what [`integer`] has returned.
pub fn int64(digits: &str) -> Result<i64, Complaint> {
    digits.parse().map_err(|_| TOO_LARGE.into())
}

/// Works out a number with a point, an exponent, or too many digits.
fn value_of(number: &str) -> Result<i64, Complaint> {
    /// More digits than any integer of 64 bits has.
    const DIGITS_MAX: i64 = 19;
    let too_large = || Complaint::from(TOO_LARGE);
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let (sign, mantissa) = match mantissa.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", mantissa.strip_prefix('+').unwrap_or(mantissa)),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = format!("{whole}{fraction}");
    let digits = all.trim_start_matches('0').trim_end_matches('0');
    if digits.is_empty() {
        return Ok(0);
    }
    let zeros = all.trim_start_matches('0').len() - digits.len();
    // A document is far shorter than this. The exponent may be any number of digits.
    let length = |length: usize| i64::try_from(length).unwrap_or(i64::MAX);
    let exponent = exponent.parse().unwrap_or(match exponent.starts_with('-') {
        true => i64::MIN,
        false => i64::MAX,
    });
    let zeros = exponent.saturating_add(length(zeros) - length(fraction.len()));
    if zeros < 0 {
        return Err("must be an integer, is a fraction".into());
    }
    let zeros = match zeros.saturating_add(length(digits.len())) {
        ..=DIGITS_MAX => usize::try_from(zeros).map_err(|_| too_large())?,
        _ => return Err(too_large()),
    };
    let plain = format!("{sign}{digits}{}", "0".repeat(zeros));
    plain.parse().map_err(|_| too_large())
}

/// Whether a text of XML is a number, as JSON or XML Schema (`xs:decimal`) has them.
pub fn is_number(text: &str) -> bool {
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (mantissa, exponent) = (unsigned(mantissa), unsigned(exponent));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    !(whole.is_empty() && fraction.is_empty() || exponent.is_empty())
        && [whole, fraction, exponent].into_iter().all(is_digits)
}

/// Returns a number of XML as JSON has it: without a plus or zeros before it, with digits on both
/// sides of the point.
pub fn as_json_has_it(number: Cow<'_, str>) -> Cow<'_, str> {
    if number.parse::<serde_json::Number>().is_ok() {
        return number;
    }
    let exponent = number.find(['e', 'E']).unwrap_or(number.len());
    let (mantissa, exponent) = number.split_at(exponent);
    let sign = if mantissa.starts_with('-') { "-" } else { "" };
    let mantissa = unsigned(mantissa);
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let whole = match whole.trim_start_matches('0') {
        "" => "0",
        digits => digits,
    };
    let point = if fraction.is_empty() { "" } else { "." };
    Cow::Owned(format!("{sign}{whole}{point}{fraction}{exponent}"))
}

fn unsigned(digits: &str) -> &str {
    digits.strip_prefix(['+', '-']).unwrap_or(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_integer_is_a_number_whose_value_is_one() {
        for (text, digits) in [
            ("7", "7"),
            ("-7", "-7"),
            ("0", "0"),
            ("-0", "0"),
            ("2.0", "2"),
            ("2e0", "2"),
            ("1.50e1", "15"),
            ("-1.5E+1", "-15"),
            ("1500e-2", "15"),
            ("-0.0", "0"),
            ("0e99999999999999999999", "0"),
            ("0.00e-5", "0"),
            ("1e18", "1000000000000000000"),
            ("9223372036854775807", "9223372036854775807"),
            ("9223372036854775807.00", "9223372036854775807"),
            ("-9.223372036854775808e18", "-9223372036854775808"),
            ("+7", "7"),
            ("007", "7"),
            ("-07.", "-7"),
        ] {
            assert_eq!(integer(text.into()).as_deref(), Ok(digits), "{text}");
        }
    }

    #[test]
    fn others_are_fractions_or_too_large() {
        for text in [
            "1.5",
            "1e-1",
            "0.1",
            "15e-2",
            "1e-99999999999999999999",
            "9223372036854775807.5",
        ] {
            let what = integer(text.into()).unwrap_err();
            assert_eq!(what, "must be an integer, is a fraction", "{text}");
        }
        for text in [
            "9223372036854775808",
            "1e19",
            "-9223372036854775809",
            "1e99999999999999999999",
            "12e300",
        ] {
            let what = integer(text.into()).unwrap_err();
            assert_eq!(what, "must fit into 64 bits", "{text}");
        }
    }

    #[test]
    fn a_number_of_xml_is_written_as_json_has_it() {
        for (text, json) in [
            ("1.50", "1.50"),
            ("+1.5", "1.5"),
            ("007", "7"),
            ("-00.50e+05", "-0.50e+05"),
            (".5", "0.5"),
            ("-5.", "-5"),
            ("+0", "0"),
        ] {
            assert_eq!(as_json_has_it(text.into()), json, "{text}");
            assert!(json.parse::<serde_json::Number>().is_ok(), "{json}");
        }
    }

    #[test]
    fn a_number_of_xml_is_one_of_json_or_of_xml_schema() {
        for text in ["1", "-1", "+1", "007", "1.", ".5", "1.50", "1e5", "-1.5E-3"] {
            assert!(is_number(text), "{text}");
        }
        for text in [
            "", "-", "+", ".", "e5", "1e", "1e+", "1,5", "NaN", "0x1", "1 2", "--1", "1.2.3", "١",
        ] {
            assert!(!is_number(text), "{text}");
        }
    }
}
