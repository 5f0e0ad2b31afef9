//! What is wrong with a value, and where in it.

use std::borrow::Cow;

use crate::domain::complaint::Complaint;
use crate::domain::outcome::Rejection;
use crate::domain::quote::{quoted, shortened};
use crate::domain::value::Value;

/// What is wrong with a value, and where in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flaw {
    /// The path below the value: `[2]`, `.cc_data.id`, or nothing for the value itself.
    below: String,
    what: Complaint,
    came: Option<Box<Came>>,
}

/// What came instead of what was wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Came {
    /// Its type.
    described: &'static str,
    /// What it is; `None` where that must not be repeated.
    shown: Option<String>,
    /// What to do about it.
    hint: &'static str,
}

/// A name in a path is cut off after so many characters: producers make names of any length, and
/// an error text is for people.
const NAME_CHARS_MAX: usize = 100;

impl From<Complaint> for Flaw {
    fn from(what: Complaint) -> Self {
        Self {
            below: String::new(),
            what,
            came: None,
        }
    }
}

impl From<&'static str> for Flaw {
    fn from(what: &'static str) -> Self {
        Complaint::Borrowed(what).into()
    }
}

impl Flaw {
    /// Tells that a text of the right type is not what it should be.
    pub fn wrong_word(what: Complaint, text: &str) -> Self {
        let came = quoted(text).map(|quote| Came {
            described: "another text",
            shown: Some(quote),
            hint: "",
        });
        Self {
            came: came.map(Box::new),
            ..what.into()
        }
    }

    /// Returns the same flaw, seen from the object that has the value in this field.
    #[must_use]
    pub fn in_field(self, name: &str) -> Self {
        Self {
            below: format!(".{}{}", shortened(name, NAME_CHARS_MAX), self.below),
            ..self
        }
    }

    /// Returns the same flaw, seen from the array that has the value at this place.
    #[must_use]
    pub fn in_item(self, index: usize) -> Self {
        Self {
            below: format!("[{index}]{}", self.below),
            ..self
        }
    }

    /// Returns the same flaw, whose text says what to do.
    #[must_use]
    pub fn with_hint(mut self, hint: &'static str) -> Self {
        if let Some(came) = &mut self.came {
            came.hint = hint;
        }
        self
    }

    /// Returns the same flaw, whose text repeats nothing of the value: for whoever has not shown a
    /// good token yet.
    #[must_use]
    pub fn unquoted(mut self) -> Self {
        if let Some(came) = &mut self.came {
            came.shown = None;
        }
        self
    }

    /// Makes the 400 of a value that stands at `path`; without a path the value is the document.
    pub fn at(self, path: &str) -> Rejection {
        let below = if path.is_empty() {
            self.below.trim_start_matches('.')
        } else {
            &self.below
        };
        let path = format!("{path}{below}");
        let Some(came) = self.came else {
            return Rejection::invalid(&path, self.what);
        };
        let Came {
            described,
            shown,
            hint,
        } = *came;
        let shown = shown.as_deref().unwrap_or(described);
        Rejection::invalid(&path, format_args!("{}, is {shown}{hint}", self.what))
    }
}

/// Tells that a value is of another type.
pub fn wrong_type(wanted: &str, value: &Value<'_>) -> Flaw {
    let shown = match value {
        Value::String(text) => quoted(text).map(|quote| format!("the string {quote}")),
        Value::Text(text) => quoted(text).map(|quote| format!("the text {quote}")),
        Value::Number(digits) => {
            quoted(digits).map(|quote| format!("the number {}", quote.trim_matches('"')))
        }
        _ => None,
    };
    Flaw {
        below: String::new(),
        what: Cow::Owned(format!("must be {wanted}")),
        came: Some(Box::new(Came {
            described: value.describe(),
            shown,
            hint: "",
        })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flaw_has_the_path_to_it() {
        let flaw = Flaw::from("wrong")
            .in_field("id")
            .in_field("cc_data")
            .in_item(3);
        assert_eq!(
            flaw.clone().at("data.subscriptions").text,
            "data.subscriptions[3].cc_data.id: wrong"
        );
        assert_eq!(
            Flaw::from("wrong").in_field("db_id").at("").text,
            "db_id: wrong"
        );
        let long = "ж".repeat(NAME_CHARS_MAX);
        assert_eq!(
            Flaw::from("wrong").in_field(&long).at("data").text,
            format!("data.{long}: wrong")
        );
        let longer = long.clone() + "x";
        assert_eq!(
            Flaw::from("wrong")
                .in_field("a")
                .in_field(&longer)
                .at("data")
                .text,
            format!("data.{long}….a: wrong")
        );
    }

    #[test]
    fn a_value_of_another_type_is_told_by_its_type() {
        let string = |text: &'static str| Value::String(text.into());
        for (value, is, unquoted) in [
            (Value::Null, "null", "null"),
            (Value::Bool(true), "a boolean", "a boolean"),
            (Value::Number("5".into()), "the number 5", "a number"),
            (Value::Number("79000000000".into()), "a number", "a number"),
            (string("ten"), "the string \"ten\"", "a string"),
            (string("a@example.com"), "a string", "a string"),
            (Value::Text("ten".into()), "the text \"ten\"", "a text"),
            (Value::Array(vec![]), "an array", "an array"),
        ] {
            let flaw = wrong_type("a day", &value);
            let told = |is: &str| format!("x: must be a day, is {is}");
            assert_eq!(flaw.clone().at("x").text, told(is));
            assert_eq!(flaw.clone().unquoted().at("x").text, told(unquoted));
            let hinted = flaw.with_hint("; so what");
            assert_eq!(hinted.at("x").text, told(is) + "; so what");
        }
    }

    #[test]
    fn a_wrong_word_is_repeated_where_it_may_be() {
        let flaw = |text| Flaw::wrong_word("must be a day".into(), text);
        assert_eq!(flaw("Moon").at("x").text, "x: must be a day, is \"Moon\"");
        assert_eq!(flaw("a@b").at("x").text, "x: must be a day");
        assert_eq!(
            flaw("Moon").unquoted().at("x").text,
            "x: must be a day, is another text"
        );
    }

    #[test]
    fn what_can_not_be_seen_in_a_name_is_told() {
        let flaw = Flaw::from("wrong").in_field("a\u{200b}\n\0\u{ffff}");
        assert_eq!(flaw.at("x").text, "x.a\\u{200b}\\u{a}\u{fffd}: wrong");
    }
}
