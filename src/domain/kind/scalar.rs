//! What is kept of a single value: a text, a number, true or false.

use std::borrow::Cow;

use super::flaw::{Flaw, wrong_type};
use crate::domain::blank::trim;
use crate::domain::complaint::Complaint;
use crate::domain::email::Email;
use crate::domain::parse;
use crate::domain::value::{Value, trimmed};

/// Returns a text that can be stored.
pub(super) fn string<'a>(value: Value<'a>) -> Result<Cow<'a, str>, Flaw> {
    match value {
        Value::String(text) | Value::Text(text) => Ok(parse::text(&text).map(|()| text)?),
        other => Err(wrong_type("a string", &other)),
    }
}

/// Returns a text without what can't be seen around it.
pub(super) fn word<'a>(value: Value<'a>) -> Result<Cow<'a, str>, Flaw> {
    string(value).map(|text| trimmed(text, trim))
}

/// Reads an email address, with what makes it the same as another.
pub(in crate::domain) fn email(value: Value<'_>) -> Result<Email, Flaw> {
    Ok(Email::parse(&string(value.trimmed(str::trim))?)?)
}

/// Returns a word as `parse` has it.
pub(super) fn parsed<'a>(
    value: Value<'a>,
    parse: impl FnOnce(Cow<'a, str>) -> Result<Cow<'a, str>, Complaint>,
) -> Result<Value<'a>, Flaw> {
    let text = word(value)?;
    let parsed = parse(text.clone()).map_err(|what| Flaw::wrong_word(what, &text));
    parsed.map(Value::String)
}

/// Returns a word that passes a check.
pub(super) fn passed<'a>(
    value: Value<'a>,
    check: impl FnOnce(&str) -> Result<(), Complaint>,
) -> Result<Value<'a>, Flaw> {
    parsed(value, |text| check(&text).map(|()| text))
}

/// What to do about a number or a boolean that came as a string of JSON.
const IN_QUOTES: &str = "; write it without quotes";

/// Returns the digits of an integer.
pub(super) fn integer<'a>(value: Value<'a>) -> Result<Cow<'a, str>, Flaw> {
    match value.trimmed(trim) {
        Value::Number(digits) => Ok(parse::integer(digits)?),
        Value::Text(text) if parse::is_number(&text) => Ok(parse::integer(text)?),
        other => Err(not_a_number("an integer", &other)),
    }
}

/// Returns a number that can be stored.
pub(super) fn number<'a>(value: Value<'a>) -> Result<Value<'a>, Flaw> {
    match value.trimmed(trim) {
        Value::Number(digits) => storable(Value::Number(digits)),
        Value::Text(text) if parse::is_number(&text) => {
            storable(Value::Number(parse::as_json_has_it(text)))
        }
        other => Err(not_a_number("a number", &other)),
    }
}

fn not_a_number(wanted: &str, value: &Value<'_>) -> Flaw {
    let flaw = wrong_type(wanted, value);
    match value {
        Value::String(text) if parse::is_number(trim(text)) => flaw.with_hint(IN_QUOTES),
        _ => flaw,
    }
}

/// Returns true or false. XML has two words for each (XML Schema, `boolean`).
pub(super) fn boolean<'a>(value: Value<'a>) -> Result<Value<'a>, Flaw> {
    let wanted = "true or false";
    match value.trimmed(trim) {
        Value::Bool(value) => Ok(Value::Bool(value)),
        Value::Text(text) if matches!(text.as_ref(), "true" | "1") => Ok(Value::Bool(true)),
        Value::Text(text) if matches!(text.as_ref(), "false" | "0") => Ok(Value::Bool(false)),
        Value::Text(text) => Err(wrong_type("true, false, 1 or 0", &Value::Text(text))),
        Value::String(text) if matches!(trim(&text), "true" | "false") => {
            Err(wrong_type(wanted, &Value::String(text)).with_hint(IN_QUOTES))
        }
        other => Err(wrong_type(wanted, &other)),
    }
}

/// Returns the digits of an integer, or the word that is one of these.
pub(super) fn integer_or_word<'a>(
    value: Value<'a>,
    is_integer: impl FnOnce(&str) -> bool,
    words: &[&str],
    wanted: impl Fn() -> String,
) -> Result<Value<'a>, Flaw> {
    match value {
        Value::Number(_) => {}
        Value::Text(ref text) if parse::is_number(trim(text)) => {}
        Value::String(_) | Value::Text(_) => {
            let known = |word: &str| {
                let is_known = words.contains(&word);
                let wrong = || Complaint::from(format!("must be {}", wanted()));
                is_known.then_some(()).ok_or_else(wrong)
            };
            return passed(value, known);
        }
        other => return Err(wrong_type(&wanted(), &other)),
    }
    let shown = value.clone();
    let digits = integer(value)?;
    if is_integer(&digits) {
        Ok(Value::Number(digits))
    } else {
        Err(wrong_type(&wanted(), &shown))
    }
}

/// Checks that a value can be stored, whatever it is.
pub(super) fn storable(value: Value<'_>) -> Result<Value<'_>, Flaw> {
    Ok(parse::storable(&value).map(|()| value)?)
}
