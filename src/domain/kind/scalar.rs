//! What is kept of a single value: a text, a number, true or false.

use std::borrow::Cow;

use super::flaw::wrong_type;
use crate::domain::email::Email;
use crate::domain::parse::{self, Complaint};
use crate::domain::value::Value;

/// Returns a text that can be stored.
pub(super) fn string<'a>(value: Value<'a>) -> Result<Cow<'a, str>, Complaint> {
    match value {
        Value::String(text) | Value::Text(text) => parse::text(&text).map(|()| text),
        other => Err(wrong_type("a string", &other)),
    }
}

/// Returns a text without blanks around it. Those of XML are how the document is laid out, those in
/// a string of JSON are meant.
pub(super) fn word<'a>(value: Value<'a>) -> Result<Cow<'a, str>, Complaint> {
    string(value.trimmed())
}

/// Reads an email address, with what makes it the same as another.
pub(in crate::domain) fn email(value: Value<'_>) -> Result<Email, Complaint> {
    Email::parse(&word(value)?)
}

/// Returns a word that passes a check.
pub(super) fn passed<'a>(
    value: Value<'a>,
    check: impl FnOnce(&str) -> Result<(), Complaint>,
) -> Result<Value<'a>, Complaint> {
    let text = word(value)?;
    check(&text)?;
    Ok(Value::String(text))
}

/// Returns the digits of an integer.
pub(super) fn integer<'a>(value: Value<'a>) -> Result<Cow<'a, str>, Complaint> {
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

/// Returns a number that can be stored.
pub(super) fn number<'a>(value: Value<'a>) -> Result<Value<'a>, Complaint> {
    match value.trimmed() {
        Value::Number(digits) => storable(Value::Number(digits)),
        Value::Text(text) if is_number(&text) => storable(Value::Number(text)),
        other => Err(wrong_type("a number", &other)),
    }
}

fn is_number(text: &str) -> bool {
    text.parse::<serde_json::Number>().is_ok()
}

/// Returns true or false.
pub(super) fn boolean<'a>(value: Value<'a>) -> Result<Value<'a>, Complaint> {
    match value.trimmed() {
        Value::Bool(value) => Ok(Value::Bool(value)),
        Value::Text(text) if text == "true" => Ok(Value::Bool(true)),
        Value::Text(text) if text == "false" => Ok(Value::Bool(false)),
        other => Err(wrong_type("true or false", &other)),
    }
}

/// Makes a text of XML what it is, where a field has both.
pub(super) fn number_or_word(value: Value<'_>) -> Value<'_> {
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

/// Checks a sex.
pub(super) fn sex(value: Value<'_>) -> Result<Value<'_>, Complaint> {
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

/// Checks a status.
pub(super) fn status(value: Value<'_>) -> Result<Value<'_>, Complaint> {
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

/// Checks that a value can be stored, whatever it is.
pub(super) fn storable(value: Value<'_>) -> Result<Value<'_>, Complaint> {
    parse::storable(&value).map(|()| value)
}
