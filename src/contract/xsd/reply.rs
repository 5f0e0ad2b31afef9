//! The schema of replies.

use std::io;

use super::writer::{ANY_NUMBER, Schema};
use crate::domain::outcome::Code;

impl Schema {
    /// Writes the elements and types of a reply.
    pub(super) fn reply(&mut self) -> io::Result<()> {
        self.element("xs:element", &[("name", "xml")], |schema| {
            schema.element("xs:complexType", &[], |schema| {
                schema.element("xs:sequence", &[], |schema| {
                    schema.outcome(|schema| {
                        let [least, most] = ANY_NUMBER;
                        let attributes = [("name", "result"), ("type", "Result"), least, most];
                        schema.described(
                            &attributes,
                            "The batch form: what became of each profile, in order",
                        )?;
                        schema.empty(
                            "xs:element",
                            &[("name", "feedback_id"), ("type", "xs:string"), least],
                        )
                    })?;
                    let [least, most] = ANY_NUMBER;
                    let attributes = [("name", "warnings"), ("type", "Warning"), least, most];
                    schema.described(
                        &attributes,
                        "Only if the request asks for them: what is no error, but most likely not what was meant",
                    )
                })
            })
        })?;
        self.element("xs:complexType", &[("name", "Result")], |schema| {
            schema.element("xs:sequence", &[], |schema| schema.outcome(|_| Ok(())))?;
            schema.array_attribute()
        })?;
        self.element("xs:complexType", &[("name", "Skipped")], |schema| {
            schema.element("xs:sequence", &[], |schema| {
                schema.empty(
                    "xs:element",
                    &[("name", "index"), ("type", "xs:nonNegativeInteger")],
                )?;
                schema.empty(
                    "xs:element",
                    &[("name", "error_text"), ("type", "xs:string")],
                )
            })?;
            schema.array_attribute()
        })?;
        self.element("xs:complexType", &[("name", "Warning")], |schema| {
            schema.element("xs:simpleContent", &[], |schema| {
                schema.element("xs:extension", &[("base", "xs:string")], |schema| {
                    schema.array_attribute()
                })
            })
        })?;
        self.element("xs:simpleType", &[("name", "Code")], |schema| {
            schema.element("xs:restriction", &[("base", "xs:int")], |schema| {
                let codes = Code::ALL.map(|code| code.number().to_string());
                codes
                    .iter()
                    .try_for_each(|code| schema.empty("xs:enumeration", &[("value", code)]))
            })
        })?;
        self.element("xs:simpleType", &[("name", "ProfileId")], |schema| {
            schema.element("xs:restriction", &[("base", "xs:token")], |schema| {
                schema.empty("xs:pattern", &[("value", "[0-9a-f]{24}")])
            })
        })
    }

    /// Writes the elements of a result, with others between the id and the dropped subscriptions.
    fn outcome(&mut self, between: impl FnOnce(&mut Self) -> io::Result<()>) -> io::Result<()> {
        self.empty("xs:element", &[("name", "error"), ("type", "Code")])?;
        self.empty(
            "xs:element",
            &[("name", "error_text"), ("type", "xs:string")],
        )?;
        let [least, most] = ANY_NUMBER;
        self.empty(
            "xs:element",
            &[("name", "profile_id"), ("type", "ProfileId"), least],
        )?;
        between(self)?;
        let attributes = [
            ("name", "skipped_subscriptions"),
            ("type", "Skipped"),
            least,
            most,
        ];
        self.described(
            &attributes,
            "The subscriptions that were dropped, as the request allows",
        )
    }

    fn array_attribute(&mut self) -> io::Result<()> {
        self.empty(
            "xs:attribute",
            &[("name", "array"), ("type", "xs:boolean"), ("fixed", "true")],
        )
    }
}
