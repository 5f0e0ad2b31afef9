//! What of a request may be repeated in an error text, and how.

use super::blank::{is_dash, is_hidden, is_space};
use super::token;
use super::value::HALF_SURROGATE;

/// No more of a value is repeated: error texts are for people.
const QUOTE_CHARS_MAX: usize = 40;

/// Returns a value in quotes, shortened, for an error text that says what came. `None` for what
/// must not be repeated: what may be a secret, or lead to a person (something with a token or an
/// email address in it, a phone number).
pub fn quoted(text: &str) -> Option<String> {
    let is_private = text.contains('@') || is_like_phone(text) || token::is_in(text);
    (!is_private).then(|| {
        format!(
            "\"{}\"",
            shortened(text, QUOTE_CHARS_MAX).replace('"', "\\\"")
        )
    })
}

/// Returns the first characters of a text, and the sign for what is left out. What can't be seen is
/// written by its number.
pub fn shortened(text: &str, chars_max: usize) -> String {
    let text = text.replace(HALF_SURROGATE, "\u{fffd}");
    let mut shown = String::new();
    let mut chars = text.chars();
    for c in chars.by_ref().take(chars_max) {
        if c != ' ' && is_hidden(c) {
            shown.push_str(&format!("\\u{{{:x}}}", u32::from(c)));
        } else {
            shown.push(c);
        }
    }
    if chars.next().is_some() {
        shown.push('…');
    }
    shown
}

/// Whether it begins with a plus, or has as many digits as no date has, with nothing else between
/// them but what separates the digits of a phone number.
fn is_like_phone(text: &str) -> bool {
    const DIGITS_MIN: usize = 9;
    let is_separator = |c| is_space(c) || is_dash(c) || matches!(c, '(' | ')');
    let digits = text.chars().filter(char::is_ascii_digit).count();
    text.trim_start().starts_with(['+', '\u{ff0b}'])
        || digits >= DIGITS_MIN && text.chars().all(|c| c.is_ascii_digit() || is_separator(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_quoted_shortened_and_made_visible() {
        let long = "ж".repeat(QUOTE_CHARS_MAX + 1);
        for (text, quote) in [
            ("fax", "\"fax\""),
            ("a \"b\"", "\"a \\\"b\\\"\""),
            ("a\u{200b}\u{a0}\n", "\"a\\u{200b}\\u{a0}\\u{a}\""),
            ("15/05/1985", "\"15/05/1985\""),
            ("192.168.100.256", "\"192.168.100.256\""),
            ("2001-12-31 10:00:00", "\"2001-12-31 10:00:00\""),
            (&long, &format!("\"{}…\"", &long[..2 * QUOTE_CHARS_MAX])),
            ("Jo \0\u{ffff}", "\"Jo \u{fffd}\""),
        ] {
            assert_eq!(quoted(text).as_deref(), Some(quote), "{text:?}");
        }
    }

    #[test]
    fn secrets_and_what_leads_to_a_person_are_not_repeated() {
        let token = format!("Bearer pw_{}", "ab".repeat(32));
        for text in [
            token.as_str(),
            "pw_",
            "john@example.com",
            "+7 900",
            " +7",
            "8 (900) 000-00-00",
            "79000000000",
        ] {
            assert_eq!(quoted(text), None, "{text:?}");
        }
    }
}
