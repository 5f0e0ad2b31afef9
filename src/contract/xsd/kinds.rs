//! The types of the kinds of value: what the text of an element may be.

use std::io;

use super::writer::Schema;
use crate::contract::patterns::{BLANKS, pattern, visible};
use crate::domain::kind::Kind;

impl Schema {
    /// Defines the type of an element with a text: what the text may be, or nothing, which is null;
    /// and any attributes.
    pub(super) fn kind(&mut self, kind: Kind) -> io::Result<()> {
        let name = type_name(kind);
        let text = format!("{name}Text");
        self.element("xs:simpleType", &[("name", &text)], |schema| {
            schema.element("xs:union", &[], |schema| {
                if let Some((least, most)) = integers(kind) {
                    schema.restriction("xs:decimal", &integer_facets(least, most))?;
                }
                if kind == Kind::Id {
                    return Ok(());
                }
                if !matches!(kind, Kind::Integer) {
                    schema.restriction(base(kind), &facets(kind))?;
                }
                schema.restriction("xs:token", &[("xs:pattern", around())])
            })
        })?;
        self.element("xs:complexType", &[("name", &name)], |schema| {
            schema.element("xs:simpleContent", &[], |schema| {
                schema.element("xs:extension", &[("base", &text)], |schema| {
                    schema.empty("xs:anyAttribute", &[("processContents", "skip")])
                })
            })
        })
    }

    fn restriction(&mut self, base: &str, facets: &[(&str, String)]) -> io::Result<()> {
        self.element("xs:simpleType", &[], |schema| {
            schema.element("xs:restriction", &[("base", base)], |schema| {
                facets
                    .iter()
                    .try_for_each(|(facet, value)| schema.empty(facet, &[("value", value)]))
            })
        })
    }
}

/// Returns the kind of one element of a field: those of an array are elements of the field's own
/// name.
pub(super) fn single(kind: Kind) -> Kind {
    match kind {
        Kind::Phones => Kind::Phone,
        Kind::Strings => Kind::String,
        Kind::Texts => Kind::Text,
        other => other,
    }
}

/// Returns the name of a kind's type.
pub(super) fn type_name(kind: Kind) -> String {
    match kind {
        Kind::Object | Kind::Any => "xs:anyType".to_owned(),
        other => format!("{other:?}"),
    }
}

/// Returns the type that a text is read by.
fn base(kind: Kind) -> &'static str {
    match kind {
        Kind::String => "xs:string",
        Kind::Number => "xs:decimal",
        _ => "xs:token",
    }
}

/// Returns the least and the most that an integer of this kind may be, if it can be one.
fn integers(kind: Kind) -> Option<(i64, i64)> {
    match kind {
        Kind::Integer | Kind::Status => Some((i64::MIN, i64::MAX)),
        Kind::Id => Some((1, i64::MAX)),
        Kind::Sex => Some((0, 2)),
        _ => None,
    }
}

/// `2.0` is an integer, too.
fn integer_facets(least: i64, most: i64) -> [(&'static str, String); 3] {
    [
        ("xs:fractionDigits", "0".to_owned()),
        ("xs:minInclusive", least.to_string()),
        ("xs:maxInclusive", most.to_string()),
    ]
}

/// Returns what restricts the texts of a kind.
pub(super) fn facets(kind: Kind) -> Vec<(&'static str, String)> {
    match kind {
        Kind::Word => vec![("xs:pattern", unescaped(&visible("\\n", "\\s")))],
        Kind::Provider => vec![("xs:pattern", unescaped(&visible(":", "\\s")))],
        Kind::Boolean => vec![("xs:pattern", "true|false|1|0".to_owned())],
        kind => pattern(kind)
            .map(|pattern| {
                let around = around();
                (
                    "xs:pattern",
                    format!("{around}({}){around}", unescaped(&pattern)),
                )
            })
            .into_iter()
            .collect(),
    }
}

/// Returns the pattern of what does not count around a text.
fn around() -> String {
    format!("[{}]*", unescaped(BLANKS))
}

/// Puts the characters themselves in the place of escapes such as `\u00a0`.
fn unescaped(pattern: &str) -> String {
    let mut pieces = pattern.split("\\u");
    let mut text = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (digits, rest) = piece.split_at(4.min(piece.len()));
        let number = u32::from_str_radix(digits, 16).ok();
        text.extend(number.and_then(char::from_u32));
        text.push_str(rest);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_items_of_an_array_have_a_type_and_the_array_has_none() {
        assert_eq!(type_name(single(Kind::Phones)), "Phone");
        assert_eq!(type_name(single(Kind::Strings)), "String");
        assert_eq!(single(Kind::Email), Kind::Email);
    }

    #[test]
    fn escapes_become_characters() {
        assert_eq!(unescaped("[\\u00a0-\\u3000]\\+"), "[\u{a0}-\u{3000}]\\+");
        assert_eq!(unescaped("a"), "a");
    }

    #[test]
    fn whatever_may_stand_there_has_the_type_of_anything() {
        assert_eq!(type_name(Kind::Any), "xs:anyType");
        assert_eq!(type_name(Kind::Object), "xs:anyType");
    }
}
