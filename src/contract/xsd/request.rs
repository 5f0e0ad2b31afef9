//! The schema of requests.

use std::io;

use super::addresses::address_rule;
use super::kinds::{single, type_name};
use super::writer::{ANY_NUMBER, Schema};
use crate::domain::channel::Channel;
use crate::domain::kind::{Field, Kind};
use crate::domain::{profile, subscription};
use crate::wire::request::{self, DATA, PROFILES_MAX};

impl Schema {
    /// Writes the elements and types of a request.
    pub(super) fn request(&mut self) -> io::Result<()> {
        self.element("xs:element", &[("name", "xml")], |schema| {
            schema.object(
                |schema| {
                    schema.fields(request::FIELDS, &["db_id"])?;
                    let most = PROFILES_MAX.to_string();
                    let attributes = [
                        ("name", DATA),
                        ("type", "Profile"),
                        ("minOccurs", "0"),
                        ("maxOccurs", &most),
                    ];
                    schema.described(
                        &attributes,
                        "The profile; several, or one with array='true', are the batch form",
                    )
                },
                &[],
            )
        })?;
        self.element("xs:complexType", &[("name", "Profile")], |schema| {
            schema.content(
                |schema| {
                    schema.fields(profile::FIELDS, &[])?;
                    let [least, most] = ANY_NUMBER;
                    let attributes = [
                        ("name", profile::SUBSCRIPTIONS),
                        ("type", "Subscription"),
                        least,
                        most,
                    ];
                    schema.described(
                        &attributes,
                        "Opt-ins to resources of the database, each with array='true'",
                    )
                },
                &[],
            )
        })?;
        self.element("xs:complexType", &[("name", "Subscription")], |schema| {
            let required = Channel::ALL.map(address_rule);
            schema.content(
                |schema| schema.fields(subscription::FIELDS, &["resource_id", "channel"]),
                &required,
            )
        })?;
        let tables = [request::FIELDS, profile::FIELDS, subscription::FIELDS];
        let mut kinds: Vec<_> = tables
            .concat()
            .iter()
            .map(|field| single(field.kind))
            .collect();
        kinds.sort_by_key(|kind| type_name(*kind));
        kinds.dedup();
        for kind in kinds.into_iter().filter(|kind| *kind != Kind::Object) {
            self.kind(kind)?;
        }
        Ok(())
    }

    /// Defines an element with elements in any order, also such as are not listed here.
    fn object(
        &mut self,
        listed: impl FnOnce(&mut Self) -> io::Result<()>,
        rules: &[String],
    ) -> io::Result<()> {
        self.element("xs:complexType", &[], |schema| {
            schema.content(listed, rules)
        })
    }

    fn content(
        &mut self,
        listed: impl FnOnce(&mut Self) -> io::Result<()>,
        rules: &[String],
    ) -> io::Result<()> {
        self.element("xs:all", &[], |schema| {
            listed(schema)?;
            let [least, most] = ANY_NUMBER;
            schema.empty(
                "xs:any",
                &[
                    ("notQName", "##definedSibling"),
                    ("processContents", "skip"),
                    least,
                    most,
                ],
            )
        })?;
        self.empty("xs:anyAttribute", &[("processContents", "skip")])?;
        rules
            .iter()
            .try_for_each(|rule| self.empty("xs:assert", &[("test", rule)]))
    }

    fn fields(&mut self, table: &[Field], required: &[&str]) -> io::Result<()> {
        for field in table {
            let least = if required.contains(&field.name) {
                "1"
            } else {
                "0"
            };
            let most = if single(field.kind) == field.kind {
                "1"
            } else {
                "unbounded"
            };
            let type_name = type_name(single(field.kind));
            let attributes = [
                ("name", field.name),
                ("type", &type_name),
                ("minOccurs", least),
                ("maxOccurs", most),
            ];
            self.described(&attributes, field.about)?;
        }
        Ok(())
    }
}
