//! What is wrong with a value, and where in it.

use std::borrow::Cow;

use crate::domain::outcome::Rejection;
use crate::domain::parse::Complaint;
use crate::domain::value::Value;

/// What is wrong with a value, and where in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flaw {
    /// The path below the value: `[2]`, `.cc_data.id`, or nothing for the value itself.
    below: String,
    what: Complaint,
}

/// A name in a path is cut off after so many characters: producers make names of any length, and
/// an error text is for people.
const NAME_CHARS_MAX: usize = 100;

impl From<Complaint> for Flaw {
    fn from(what: Complaint) -> Self {
        Self {
            below: String::new(),
            what,
        }
    }
}

impl From<&'static str> for Flaw {
    fn from(what: &'static str) -> Self {
        Complaint::Borrowed(what).into()
    }
}

impl Flaw {
    /// Returns the same flaw, seen from the object that has the value in this field.
    #[must_use]
    pub fn in_field(self, name: &str) -> Self {
        let below = match name.char_indices().nth(NAME_CHARS_MAX) {
            None => format!(".{name}{}", self.below),
            Some((end, _)) => format!(".{}…{}", &name[..end], self.below),
        };
        Self {
            below,
            what: self.what,
        }
    }

    /// Returns the same flaw, seen from the array that has the value at this place.
    #[must_use]
    pub fn in_item(self, index: usize) -> Self {
        Self {
            below: format!("[{index}]{}", self.below),
            what: self.what,
        }
    }

    /// Makes the 400 of a value that stands at `path`; without a path the value is the document.
    pub fn at(self, path: &str) -> Rejection {
        let below = if path.is_empty() {
            self.below.trim_start_matches('.')
        } else {
            &self.below
        };
        Rejection::invalid(&format!("{path}{below}"), self.what)
    }
}

/// Tells that a value is of another type.
pub fn wrong_type(wanted: &str, value: &Value<'_>) -> Complaint {
    Cow::Owned(format!("must be {wanted}, is {}", value.describe()))
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
        assert_eq!(
            wrong_type("a string", &Value::Null),
            "must be a string, is null"
        );
        assert_eq!(
            Flaw::from(wrong_type("a string", &Value::Bool(true)))
                .at("x")
                .text,
            "x: must be a string, is a boolean"
        );
    }
}
