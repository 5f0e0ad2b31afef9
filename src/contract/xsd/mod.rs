//! XML Schema 1.1 of requests and replies.
//!
//! 1.1 and not 1.0, as elements of a request come in any order, some of them repeated, among others
//! that nobody has defined: 1.0 has no way to say that. As in JSON, a schema can't know what stands
//! in a database; and it describes a request without invalid subscriptions.

use std::io;

use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesEnd, BytesStart, BytesText, Event};

use crate::domain::address::{self, AddressPart};
use crate::domain::channel::Channel;
use crate::domain::kind::{Field, Kind};
use crate::domain::outcome::Code;
use crate::domain::parse::STATUSES;
use crate::domain::{profile, subscription};
use crate::wire::request::{self, DATA, PROFILES_MAX};

/// What a schema is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Message {
    /// A request.
    Request,
    /// A reply.
    Reply,
}

/// The schema of one kind of message.
pub(crate) fn document(message: Message) -> String {
    let mut schema = Schema(Writer::new_with_indent(Vec::new(), b' ', 2));
    let written = schema.write(message);
    match written.map(|()| String::from_utf8(schema.0.into_inner())) {
        Ok(Ok(text)) => text,
        _ => unreachable!("memory can always be written to, and everything in it is text"),
    }
}

/// A schema that is being written.
struct Schema(Writer<Vec<u8>>);

type Attributes<'a> = &'a [(&'a str, &'a str)];

const ANY_NUMBER: [(&str, &str); 2] = [("minOccurs", "0"), ("maxOccurs", "unbounded")];

impl Schema {
    fn write(&mut self, message: Message) -> io::Result<()> {
        self.0
            .write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
        let attributes = [
            ("xmlns:xs", "http://www.w3.org/2001/XMLSchema"),
            ("xmlns:vc", "http://www.w3.org/2007/XMLSchema-versioning"),
            ("vc:minVersion", "1.1"),
        ];
        self.element("xs:schema", &attributes, |schema| match message {
            Message::Request => schema.request(),
            Message::Reply => schema.reply(),
        })
    }

    fn request(&mut self) -> io::Result<()> {
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

    /// An element with elements in any order, also such as are not listed here.
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

    fn described(&mut self, attributes: Attributes<'_>, about: &str) -> io::Result<()> {
        self.element("xs:element", attributes, |schema| {
            schema.element("xs:annotation", &[], |schema| {
                schema.text("xs:documentation", about)
            })
        })
    }

    /// The type of an element with a text: what the text may be, or nothing, which is null; and any
    /// attributes.
    fn kind(&mut self, kind: Kind) -> io::Result<()> {
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

    fn reply(&mut self) -> io::Result<()> {
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
                    })
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

    /// The elements of a result, with others between the id and the dropped subscriptions.
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

    fn element(
        &mut self,
        name: &str,
        attributes: Attributes<'_>,
        content: impl FnOnce(&mut Self) -> io::Result<()>,
    ) -> io::Result<()> {
        self.0.write_event(Event::Start(
            BytesStart::new(name).with_attributes(attributes.iter().copied()),
        ))?;
        content(self)?;
        self.0.write_event(Event::End(BytesEnd::new(name)))
    }

    fn text(&mut self, name: &str, text: &str) -> io::Result<()> {
        self.element(name, &[], |schema| {
            schema.0.write_event(Event::Text(BytesText::new(text)))
        })
    }

    fn empty(&mut self, name: &str, attributes: Attributes<'_>) -> io::Result<()> {
        self.0.write_event(Event::Empty(
            BytesStart::new(name).with_attributes(attributes.iter().copied()),
        ))
    }
}

/// The kind of one element of a field: those of an array are elements of the field's own name.
fn single(kind: Kind) -> Kind {
    match kind {
        Kind::Phones => Kind::Phone,
        Kind::Strings => Kind::String,
        other => other,
    }
}

fn type_name(kind: Kind) -> String {
    match kind {
        Kind::Object | Kind::Any => "xs:anyType".to_owned(),
        other => format!("{other:?}"),
    }
}

/// The type that a text is read by. Blanks around it do not count, but for texts that are kept.
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

fn facets(kind: Kind) -> Vec<(&'static str, String)> {
    let pattern = |pattern: &str| vec![("xs:pattern", pattern.to_owned())];
    let words = |words: &[&str]| {
        words
            .iter()
            .map(|word| ("xs:enumeration", (*word).to_owned()))
            .collect()
    };
    match kind {
        Kind::Id => vec![("xs:minInclusive", "1".to_owned())],
        Kind::Name => vec![("xs:minLength", "1".to_owned())],
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

/// An XPath test: the part is there, and is what it should be.
fn part_rule(part: &AddressPart) -> String {
    let path = part.path.join("/");
    if part.kind == Kind::Integer {
        return format!("normalize-space({path}) castable as xs:long");
    }
    let tests = facets(part.kind)
        .into_iter()
        .map(|(facet, value)| match facet {
            "xs:pattern" => format!("matches(normalize-space({path}), '^({value})$')"),
            _ => format!("normalize-space({path}) != ''"),
        });
    tests.collect::<Vec<_>>().join(" and ")
}

/// An XPath test: a subscription over this channel has one of its addresses.
fn address_rule(channel: Channel) -> String {
    let alternative = |parts: &&[AddressPart]| {
        parts
            .iter()
            .map(part_rule)
            .collect::<Vec<_>>()
            .join(" and ")
    };
    let alternatives: Vec<_> = address::alternatives(channel)
        .iter()
        .map(alternative)
        .collect();
    format!(
        "not(normalize-space(channel) = '{}') or ({})",
        channel.name(),
        alternatives.join(" or ")
    )
}
