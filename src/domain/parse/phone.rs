//! Phone numbers in E.164 form.

use crate::domain::blank::{is_dash, is_hidden};
use crate::domain::complaint::Complaint;

/// The digits of a number (ITU-T E.164, 6.2). The shortest that are in use have seven.
const DIGITS_MIN: usize = 7;
const DIGITS_MAX: usize = 15;

/// The most digits of a country code.
const COUNTRY_CODE_MAX: usize = 3;

/// The most digits that stand in brackets: an area code.
const BRACKETED_MAX: usize = 5;

/// Countries where the zero of an area code is dialled from abroad, too: there `(0)` does not say
/// what is meant.
const KEEP_ZERO: [&str; 2] = ["39", "225"];

const NO_PLUS: &str =
    "not a phone number: must begin with + and the country code, such as +79000000000";
const TWO_ZEROS: &str = "not a phone number: must begin with + and the country code, not with 00";
const BRACKETS: &str = "not a phone number: may have one pair of brackets, of at most 5 digits, besides a (0) after the country code";
const ZERO: &str = "not a phone number: has a zero in brackets of which is not clear whether it is dialled from abroad";

/// A phone number in E.164 form: `+`, country code, number, 7 to 15 digits in all.
///
/// What separates digits does not count: blanks, dashes and invisible characters of Unicode, `.`,
/// `/`. A `(0)` after the country code is what is dialled instead of it, and left out.
///
/// Why no library? Those judge by tables of the numbers that operators have been given, which
/// change: a number that was good yesterday must not be refused today, and none may be guessed
/// from a number without its country code. The form itself is a few lines.
///
/// # Errors
///
/// What is wrong, in words that follow the path and a colon. The number is not in them.
pub fn phone(text: &str) -> Result<String, Complaint> {
    if is_e164(text) {
        return Ok(text.to_owned());
    }
    let mut number = Number::new();
    let start = text.len() - without_scheme(text).len();
    for (at, c) in text[start..].char_indices() {
        let at = start + at;
        number.take(c).map_err(|flaw| flaw.told(text, at))?;
    }
    number.finish().map_err(|flaw| flaw.told(text, text.len()))
}

/// Whether it is in that form already, as most are.
fn is_e164(text: &str) -> bool {
    let digits = text.strip_prefix('+').unwrap_or_default().as_bytes();
    (DIGITS_MIN..=DIGITS_MAX).contains(&digits.len())
        && digits[0] != b'0'
        && digits.iter().all(u8::is_ascii_digit)
}

/// Without the scheme of RFC 3966.
fn without_scheme(text: &str) -> &str {
    const SCHEME: &str = "tel:";
    let text = text.trim_start_matches(is_hidden);
    match text.split_at_checked(SCHEME.len()) {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case(SCHEME) => rest,
        _ => text,
    }
}

/// A number as far as it was read.
struct Number {
    /// The plus, if it has come, and the digits.
    number: String,
    /// How many digits stand before the bracket that is open.
    open: Option<usize>,
    /// There was a `(0)`.
    has_zero: bool,
    /// There was a pair of brackets, besides those around the country code or a zero.
    has_pair: bool,
}

#[derive(Debug, Clone, Copy)]
enum Flaw {
    /// The character where we are can't be there.
    Character,
    NoPlus,
    Brackets,
    Zero,
    Digits(usize),
}

impl Number {
    fn new() -> Self {
        Self {
            number: String::with_capacity("+".len() + DIGITS_MAX),
            open: None,
            has_zero: false,
            has_pair: false,
        }
    }

    fn digits(&self) -> &str {
        self.number.get("+".len()..).unwrap_or_default()
    }

    fn take(&mut self, c: char) -> Result<(), Flaw> {
        let has_plus = !self.number.is_empty();
        match plain(c) {
            '+' if !has_plus => self.number.push('+'),
            digit @ '0'..='9' if has_plus => self.number.push(digit),
            '(' if self.open.is_none() => self.open = Some(self.digits().len()),
            '(' => return Err(Flaw::Brackets),
            ')' => return self.close(),
            '.' | '/' => {}
            c if is_dash(c) || is_hidden(c) => {}
            _ if has_plus => return Err(Flaw::Character),
            _ => return Err(Flaw::NoPlus),
        }
        Ok(())
    }

    fn close(&mut self) -> Result<(), Flaw> {
        let before = self.open.take().ok_or(Flaw::Brackets)?;
        let (country, inside) = self.digits().split_at(before);
        let follows_country = before <= COUNTRY_CODE_MAX && !self.has_zero && !self.has_pair;
        let keeps_zero = KEEP_ZERO.contains(&country);
        match inside.len() {
            // `(+44)`
            1..=COUNTRY_CODE_MAX if before == 0 => {}
            1 if inside == "0" && follows_country && !keeps_zero => {
                self.has_zero = true;
                self.number.pop();
            }
            1 if inside == "0" => return Err(Flaw::Zero),
            _ if inside.starts_with('0') && follows_country && !keeps_zero => {
                return Err(Flaw::Zero);
            }
            1..=BRACKETED_MAX if before > 0 && !self.has_pair => self.has_pair = true,
            _ => return Err(Flaw::Brackets),
        }
        Ok(())
    }

    fn finish(self) -> Result<String, Flaw> {
        match self.digits().len() {
            _ if self.number.is_empty() || self.digits().starts_with('0') => Err(Flaw::NoPlus),
            _ if self.open.is_some() => Err(Flaw::Brackets),
            DIGITS_MIN..=DIGITS_MAX => Ok(self.number),
            count => Err(Flaw::Digits(count)),
        }
    }
}

/// The forms of full width are the same characters as those of ASCII.
fn plain(c: char) -> char {
    const FULL_WIDTH: char = '\u{ff01}';
    match c {
        '\u{ff08}' | '\u{ff09}' | '\u{ff0b}' | '\u{ff0e}' | '\u{ff0f}'..='\u{ff19}' => {
            let ascii = u32::from(c) - u32::from(FULL_WIDTH) + u32::from('!');
            char::from_u32(ascii).unwrap_or(c)
        }
        other => other,
    }
}

impl Flaw {
    /// Says what is wrong with `text`, in which the character stands `at` this byte.
    fn told(self, text: &str, at: usize) -> Complaint {
        let (before, rest) = text.split_at_checked(at).unwrap_or((text, ""));
        let position = before.chars().count() + 1;
        match self {
            Flaw::NoPlus if begins_with_two_zeros(text) => TWO_ZEROS.into(),
            Flaw::NoPlus => NO_PLUS.into(),
            Flaw::Brackets => BRACKETS.into(),
            Flaw::Zero => ZERO.into(),
            Flaw::Digits(count) => format!(
                "not a phone number: has {count} digits, must have {DIGITS_MIN} to {DIGITS_MAX} with the country code"
            )
            .into(),
            Flaw::Character if begins_extension(rest) => format!(
                "not a phone number: has an extension at position {position}, which E.164 does not have"
            )
            .into(),
            Flaw::Character => {
                let what = match rest.chars().next() {
                    Some(c) if c.is_alphabetic() => "a letter".to_owned(),
                    Some(c) if c.is_numeric() => "a digit other than 0 to 9".to_owned(),
                    c => format!("the character U+{:04X}", c.map_or(0, u32::from)),
                };
                format!("not a phone number: has {what} at position {position}").into()
            }
        }
    }
}

fn begins_with_two_zeros(text: &str) -> bool {
    let mut digits = text.chars().map(plain).filter(char::is_ascii_digit);
    digits.next() == Some('0') && digits.next() == Some('0')
}

fn begins_extension(rest: &str) -> bool {
    let begins_digits = |rest: &str| {
        let rest = rest.trim_start_matches([' ', '.', ':']);
        rest.starts_with(|c: char| c.is_ascii_digit())
    };
    let is_word = |word: &str| word.eq_ignore_ascii_case("ext");
    rest.starts_with(';')
        || rest.get(.."ext".len()).is_some_and(is_word)
        || rest
            .strip_prefix(['x', 'X', '#'])
            .is_some_and(begins_digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is given, and what is stored.
    const SOUND: &[(&str, &str)] = &[
        ("+79000000000", "+79000000000"),
        (" +7 (900) 000-00-00 ", "+79000000000"),
        ("+44.20.7946.0958", "+442079460958"),
        // phony#185, zod#5563, tickets#637: what is dialled instead of the country code
        ("+44 (0)20 7946 0958", "+442079460958"),
        ("+44(0)2079460958", "+442079460958"),
        ("+49 (0) 30 901820", "+4930901820"),
        ("+43 (0)1 5880 1234", "+43158801234"),
        ("+49-(\u{a0}0\u{200b})-(30) 901820", "+4930901820"),
        ("(+44)(0)121 555 5251", "+441215555251"),
        ("+353 (0)1 234 5678", "+35312345678"),
        // RFC 6350's samples
        ("(+44)121.555.5251", "+441215555251"),
        // zeros that belong to the number
        ("+39 06 6982 0001", "+390669820001"),
        ("+39 (06) 6982 0001", "+390669820001"),
        ("+225 07 00 00 00 00", "+2250700000000"),
        // woocommerce#58000, Signal-Android#11630, glific#4815
        ("\u{202a}+7 900 000-00-00\u{202c}", "+79000000000"),
        ("+7\u{200b}900\u{fe0f}000\u{ad}00\u{2060}00", "+79000000000"),
        // PDF and Word
        (
            "+7\u{2011}900\u{2013}000\u{2212}00\u{2014}00",
            "+79000000000",
        ),
        (
            "+33\u{202f}1\u{2009}23\u{3000}45\t67\u{a0}89",
            "+33123456789",
        ),
        // DIN 5008
        ("+49 30/901820", "+4930901820"),
        // RFC 3966, vCard 4
        ("tel:+1-202-555-0123", "+12025550123"),
        (" TEL: +1 202 555 0123", "+12025550123"),
        // wc-order-search-admin#67
        ("＋７９００００００００0", "+79000000000"),
        ("+７（900）000－00－00", "+79000000000"),
        // the shortest and the longest
        ("+290 1234", "+2901234"),
        ("+123456789012345", "+123456789012345"),
        ("+3620-9123-455", "+36209123455"),
    ];

    const NOT_SOUND: &[(&str, &str)] = &[
        ("call me", NO_PLUS),
        ("", NO_PLUS),
        (
            "+",
            "not a phone number: has 0 digits, must have 7 to 15 with the country code",
        ),
        ("+0123456789", NO_PLUS),
        // glific#4132, libphonenumber-js#185
        ("79000000000", NO_PLUS),
        ("8 (900) 000-00-00", NO_PLUS),
        ("7.9E+10", NO_PLUS),
        ("٧٩٠٠٠٠٠٠٠٠٠", NO_PLUS),
        ("0079000000000", TWO_ZEROS),
        ("00 7 900 000 00 00", TWO_ZEROS),
        (
            "+٧٩٠٠",
            "not a phone number: has a digit other than 0 to 9 at position 2",
        ),
        (
            "+1-800-XYLOPHONE",
            "not a phone number: has a letter at position 8",
        ),
        (
            "+1-800-FLOWERS",
            "not a phone number: has a letter at position 8",
        ),
        (
            "+79000000000, +79000000001",
            "not a phone number: has the character U+002C at position 13",
        ),
        (
            "++79000000000",
            "not a phone number: has the character U+002B at position 2",
        ),
        ("a@example.com", NO_PLUS),
        // peeringdb#657, dibbs-ecr-viewer#497, reportstream#5628
        (
            "+12025550123 x45",
            "not a phone number: has an extension at position 14, which E.164 does not have",
        ),
        (
            "tel:+1-202-555-0123;ext=102",
            "not a phone number: has an extension at position 20, which E.164 does not have",
        ),
        (
            " +1 202 555 0123 Ext. 45",
            "not a phone number: has an extension at position 18, which E.164 does not have",
        ),
        (
            "+123456",
            "not a phone number: has 6 digits, must have 7 to 15 with the country code",
        ),
        (
            "+1234567890123456",
            "not a phone number: has 16 digits, must have 7 to 15 with the country code",
        ),
        ("+44 (20) (7946) 0958", BRACKETS),
        ("+44 (207946) 0958", BRACKETS),
        ("+44 (20 7946 0958", BRACKETS),
        ("+44 20) 7946 0958", BRACKETS),
        ("+44 () 20 7946 0958", BRACKETS),
        ("+44 ((20)) 7946 0958", BRACKETS),
        ("(+44 20) 7946 0958", BRACKETS),
        // Nobody knows which number these are.
        ("+44 (020) 7946 0958", ZERO),
        ("+39 (0)6 6982 0001", ZERO),
        ("+4420 (0) 7946 0958", ZERO),
        ("+44 (0)(0)20 7946 0958", ZERO),
    ];

    #[test]
    fn what_is_written_for_people_becomes_e164() {
        for (text, number) in SOUND {
            assert_eq!(phone(text).as_deref(), Ok(*number), "{text:?}");
        }
    }

    #[test]
    fn what_is_no_number_is_told_and_not_repeated() {
        for (text, what) in NOT_SOUND {
            assert_eq!(phone(text).unwrap_err(), *what, "{text:?}");
        }
    }
}
