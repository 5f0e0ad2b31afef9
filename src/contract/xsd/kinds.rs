//! The types of the kinds of value: what the text of an element may be.

use std::io;

use super::writer::Schema;
use crate::domain::channel::Channel;
use crate::domain::kind::Kind;
use crate::domain::parse::STATUSES;

impl Schema {
    /// Defines the type of an element with a text: what the text may be, or nothing, which is null;
    /// and any attributes.
    pub(super) fn kind(&mut self, kind: Kind) -> io::Result<()> {
        let name = type_name(kind);
        let text = format!("{name}Text");
        self.element("xs:simpleType", &[("name", &text)], |schema| {
            schema.element("xs:union", &[], |schema| {
                match kind {
                    Kind::Status => {
                        schema.restriction("xs:long", &[])?;
                        schema.restriction(
                            "xs:token",
                            &STATUSES.map(|word| ("xs:enumeration", word.to_owned())),
                        )?;
                    }
                    Kind::DateOrDateTime => {
                        schema.restriction("xs:date", &facets(Kind::Date))?;
                        schema.restriction("xs:dateTime", &facets(Kind::DateTime))?;
                    }
                    kind => schema.restriction(base(kind), &facets(kind))?,
                }
                if kind == Kind::Id {
                    return Ok(());
                }
                schema.restriction("xs:token", &[("xs:length", "0".to_owned())])
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

/// Returns the type that a text is read by. Blanks around it do not count, but for texts that are
/// kept.
fn base(kind: Kind) -> &'static str {
    match kind {
        Kind::String => "xs:string",
        Kind::Integer => "xs:long",
        Kind::Id => "xs:long",
        Kind::Number => "xs:decimal",
        Kind::Date => "xs:date",
        Kind::DateTime => "xs:dateTime",
        _ => "xs:token",
    }
}

/// Returns what restricts the texts of a kind.
pub(super) fn facets(kind: Kind) -> Vec<(&'static str, String)> {
    let pattern = |pattern: &str| vec![("xs:pattern", pattern.to_owned())];
    let words = |words: &[&str]| {
        words
            .iter()
            .map(|word| ("xs:enumeration", (*word).to_owned()))
            .collect()
    };
    match kind {
        Kind::Id => vec![("xs:minInclusive", "1".to_owned())],
        Kind::Word => vec![("xs:minLength", "1".to_owned())],
        Kind::Provider => pattern("[^:]+"),
        Kind::Email => pattern("[^@\\s\"]+@[^@\\s]+[.\u{3002}\u{ff0e}\u{ff61}][^@\\s]+"),
        Kind::Phone => pattern("\\+[ \\-.()]*[1-9]([ \\-.()]*[0-9]){7,14}[ \\-.()]*"),
        Kind::Country => pattern("[A-Za-z]{2}"),
        Kind::Ip => pattern("[0-9]{1,3}(\\.[0-9]{1,3}){3}|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*"),
        Kind::Date => pattern("[0-9]{4}-[0-9]{2}-[0-9]{2}"),
        Kind::DateTime => pattern("[0-9]{4}-.*([Zz]|[+\\-][0-9]{2}:[0-9]{2})"),
        Kind::TimeZone => pattern("[A-Za-z].*"),
        Kind::Sex => words(&["0", "1", "2", "male", "female"]),
        Kind::Channel => words(&Channel::ALL.map(Channel::name)),
        Kind::Boolean => words(&["true", "false"]),
        _ => Vec::new(),
    }
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
    fn whatever_may_stand_there_has_the_type_of_anything() {
        assert_eq!(type_name(Kind::Any), "xs:anyType");
        assert_eq!(type_name(Kind::Object), "xs:anyType");
    }
}
