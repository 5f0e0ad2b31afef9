//! XML bodies, event by event.

use std::borrow::Cow;

use quick_xml::Reader;
use quick_xml::events::{BytesRef, Event};

use super::tree::{Flaw, NOT_XML, Tree};
use crate::domain::value::Object;
use crate::wire::{Keep, Outline, Unreadable, utf8};

/// Reads a whole body.
pub fn read(body: &[u8]) -> Result<Object<'_>, Unreadable> {
    parse(body, Keep::Everything).map(|document| document.fields)
}

/// Checks a whole body as [`read`] does, and keeps of it the top-level fields of these names.
pub fn outline<'a>(
    body: &'a [u8],
    names: &'static [&'static str],
) -> Result<Outline<'a>, Unreadable> {
    parse(body, Keep::TopLevel(names))
}

fn parse(body: &[u8], keep: Keep) -> Result<Outline<'_>, Unreadable> {
    let text = utf8(body)?;
    if let Some(position) = forbidden_character(text) {
        return Err(syntax(NOT_XML, text, position));
    }
    let mut reader = Reader::from_str(text);
    reader.config_mut().check_comments = true;
    let mut tree = Tree::new(keep);
    loop {
        let start = reader.buffer_position();
        let here = || syntax(NOT_XML, text, start);
        let placed = |flaw| match flaw {
            Flaw::Here(what) => syntax(what, text, start),
            Flaw::Anywhere(flaw) => flaw,
        };
        let event = reader
            .read_event()
            .map_err(|_| syntax(NOT_XML, text, reader.error_position()))?;
        match event {
            Event::Start(element) => {
                tree.start(&element, |name| name_in(text, start, name))
                    .map_err(placed)?;
            }
            Event::Empty(element) => {
                tree.start(&element, |name| name_in(text, start, name))
                    .map_err(placed)?;
                tree.end().map_err(placed)?;
            }
            Event::End(_) => tree.end().map_err(placed)?,
            Event::Text(content) if content.contains("]]>") => return Err(here()),
            Event::Text(content) => {
                tree.text(!is_blank(&content), |text| {
                    add(text, content.xml10_content())
                })
                .map_err(placed)?;
            }
            Event::CData(content) => {
                tree.text(true, |text| add(text, content.xml10_content()))
                    .map_err(placed)?;
            }
            Event::GeneralRef(reference) => {
                let c = character(&reference).map_err(placed)?;
                tree.text(true, |text| text.to_mut().push(c))
                    .map_err(placed)?;
            }
            // Its encoding is no more that of the text.
            Event::Decl(_) if start == 0 => {}
            Event::Decl(_) => return Err(here()),
            Event::DocType(_) => return Err(Unreadable::Forbidden("a document type definition")),
            Event::Comment(_) | Event::PI(_) => {}
            Event::Eof => {
                return tree.finish().ok_or_else(here);
            }
        }
    }
}

/// The name of the element that begins at `start`, as it stands in the body.
fn name_in<'a>(text: &'a str, start: u64, name: &str) -> Cow<'a, str> {
    let start = usize::try_from(start)
        .unwrap_or(usize::MAX)
        .saturating_add(1);
    match text.get(start..start.saturating_add(name.len())) {
        Some(found) if found == name => Cow::Borrowed(found),
        _ => Cow::Owned(name.to_owned()),
    }
}

fn add<'a>(text: &mut Cow<'a, str>, more: Cow<'a, str>) {
    if text.is_empty() {
        *text = more;
    } else {
        text.to_mut().push_str(&more);
    }
}

/// The place of a character that no XML document may have (XML 1.0, 2.2, `Char`).
fn forbidden_character(text: &str) -> Option<u64> {
    let control = |b: u8| b < b' ' && !matches!(b, b'\t' | b'\n' | b'\r');
    let position = text
        .bytes()
        .position(control)
        .or_else(|| text.find(['\u{fffe}', '\u{ffff}']))?;
    Some(position as u64)
}

fn is_allowed(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..)
}

/// What a reference in the text stands for. Only characters and the five entities that every
/// document has; those of a document type definition do not exist, as there can be none.
fn character(reference: &BytesRef<'_>) -> Result<char, Flaw> {
    if reference.is_char_ref() {
        let c = reference.resolve_char_ref().ok().flatten();
        return c.filter(|c| is_allowed(*c)).ok_or(Flaw::Here(NOT_XML));
    }
    match reference.as_ref() {
        "amp" => Ok('&'),
        "lt" => Ok('<'),
        "gt" => Ok('>'),
        "quot" => Ok('"'),
        "apos" => Ok('\''),
        _ => Err(Flaw::Anywhere(Unreadable::Forbidden(
            "an entity other than amp, lt, gt, quot and apos",
        ))),
    }
}

/// Says what is wrong and where; what the reader says itself may quote the body.
fn syntax(what: &str, text: &str, position: u64) -> Unreadable {
    let position = usize::try_from(position)
        .unwrap_or(usize::MAX)
        .min(text.len());
    let before = &text.as_bytes()[..position];
    let line = 1 + before.iter().filter(|b| **b == b'\n').count();
    let column = 1 + before.iter().rev().take_while(|b| **b != b'\n').count();
    Unreadable::Syntax(format!("{what} at line {line}, column {column}"))
}

fn is_blank(text: &str) -> bool {
    text.bytes()
        .all(|b| matches!(b, b' ' | b'\t' | b'\n' | b'\r'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::value::Value;
    use crate::wire::ITEMS_MAX;

    fn read_all(body: &str) -> Result<Object<'_>, Unreadable> {
        read(body.as_bytes())
    }

    /// The tree as JSON, where texts are strings.
    fn written(content: &str) -> String {
        let body = format!("<xml>{content}</xml>");
        let object = read_all(&body).unwrap_or_else(|error| panic!("{content}: {error}"));
        serde_json::to_string(&Value::Object(object)).unwrap()
    }

    fn flaw(body: &str) -> String {
        read_all(body).unwrap_err().to_string()
    }

    #[test]
    fn elements_become_fields() {
        for (content, json) in [
            ("", r#"{}"#),
            ("  \n ", r#"{}"#),
            ("<a>1</a><b>x y</b>", r#"{"a":"1","b":"x y"}"#),
            ("<a><b><c>1</c></b></a>", r#"{"a":{"b":{"c":"1"}}}"#),
            ("\n <a>\n  <b>1</b>\n </a>\n", r#"{"a":{"b":"1"}}"#),
            ("<a/><b></b><c> \n</c>", r#"{"a":null,"b":null,"c":null}"#),
        ] {
            assert_eq!(written(content), json, "{content}");
        }
    }

    #[test]
    fn marked_or_repeated_elements_are_an_array() {
        for (content, json) in [
            ("<a array='true'>1</a>", r#"{"a":["1"]}"#),
            (
                "<a array=\"true\">1</a><a array='true'>2</a>",
                r#"{"a":["1","2"]}"#,
            ),
            ("<a>1</a><a>2</a>", r#"{"a":["1","2"]}"#),
            (
                "<a array='true'>1</a><b>x</b><a>2</a>",
                r#"{"a":["1","2"],"b":"x"}"#,
            ),
            (
                "<a array='true'><b array='true'>1</b></a>",
                r#"{"a":[{"b":["1"]}]}"#,
            ),
            ("<a array='true'/>", r#"{"a":[null]}"#),
            (
                "<a array='false'>1</a><b type='x' array=''>2</b>",
                r#"{"a":"1","b":"2"}"#,
            ),
        ] {
            assert_eq!(written(content), json, "{content}");
        }
    }

    #[test]
    fn text_is_what_a_reader_of_xml_sees() {
        for (content, json) in [
            ("<a>x &lt;&amp;&gt;&quot;&apos;</a>", r#"{"a":"x <&>\"'"}"#),
            ("<a>&#1046;&#x416;</a>", r#"{"a":"ЖЖ"}"#),
            ("<a><![CDATA[<b>&amp;]]></a>", r#"{"a":"<b>&amp;"}"#),
            ("<a>x<![CDATA[y]]>z</a>", r#"{"a":"xyz"}"#),
            ("<a>x<!-- no -->y<?p?>z</a>", r#"{"a":"xyz"}"#),
            ("<a> x </a>", r#"{"a":" x "}"#),
            ("<a><![CDATA[]]></a><b>&#32;</b>", r#"{"a":"","b":" "}"#),
            ("<a>1\r\n2\r3</a>", r#"{"a":"1\n2\n3"}"#),
            ("<!-- <a>1</a> --><b>2</b>", r#"{"b":"2"}"#),
        ] {
            assert_eq!(written(content), json, "{content}");
        }
    }

    #[test]
    fn a_declaration_and_a_byte_order_mark_may_come_first() {
        for body in [
            "<?xml version='1.0'?><xml><a>1</a></xml>",
            "\u{feff}<?xml version=\"1.0\" encoding=\"UTF-8\" standalone='yes'?>\n<!-- x --><xml><a>1</a></xml>\n<!-- y -->",
            "\u{feff} <xml><a>1</a></xml>",
        ] {
            assert_eq!(
                serde_json::to_string(&Value::Object(read_all(body).unwrap())).unwrap(),
                r#"{"a":"1"}"#,
                "{body}"
            );
        }
    }

    #[test]
    fn what_is_no_utf8_is_told_by_its_place() {
        for (body, position) in [
            (&b"<xml><a>\xcf</a></xml>"[..], 9),
            (b"\xef\xbb\xbf<xml>\xe9</xml>", 9),
            (b"\xff\xfe<\0x\0", 1),
        ] {
            let text = format!(
                "the body is not UTF-8 at byte {position}: declare its charset in content_type"
            );
            assert_eq!(read(body).unwrap_err().to_string(), text);
        }
    }

    #[test]
    fn definitions_and_foreign_entities_are_refused() {
        for body in [
            "<!DOCTYPE xml><xml/>",
            "<!DOCTYPE xml SYSTEM 'file:///etc/passwd'><xml/>",
            "<!DOCTYPE xml [<!ENTITY a 'x'><!ENTITY b '&a;&a;&a;'>]><xml><a>&b;</a></xml>",
            "<xml><a><!DOCTYPE a></a></xml>",
        ] {
            assert_eq!(
                flaw(body),
                "a document type definition is not allowed in XML",
                "{body}"
            );
        }
        let text = "an entity other than amp, lt, gt, quot and apos is not allowed in XML";
        assert_eq!(flaw("<xml><a>&nbsp;</a></xml>"), text);
    }

    #[test]
    fn what_is_not_well_formed_is_unreadable() {
        for (body, position) in [
            ("<xml>", "line 1, column 6"),
            ("<xml><a></xml>", "line 1, column 9"),
            ("<xml>\n<a>1</b></xml>", "line 2, column 5"),
            ("<xml><a>1</a>", "line 1, column 14"),
            ("<xml/><xml/>", "line 1, column 7"),
            ("<xml/>x", "line 1, column 7"),
            ("x<xml/>", "line 1, column 1"),
            ("<xml><a b=1/></xml>", "line 1, column 6"),
            ("<xml><a b='1' b='2'/></xml>", "line 1, column 6"),
            ("<xml><a b='<'/></xml>", "line 1, column 6"),
            ("<xml><1a/></xml>", "line 1, column 6"),
            ("<xml><a=1/></xml>", "line 1, column 6"),
            ("<xml><a>]]></a></xml>", "line 1, column 9"),
            ("<xml>& </xml>", "line 1, column 6"),
            ("<xml><a:/></xml>", "line 1, column 6"),
            ("<xml><:a/></xml>", "line 1, column 6"),
            ("<xml><a>&#0;</a></xml>", "line 1, column 9"),
            ("<xml><a>&#xD800;</a></xml>", "line 1, column 9"),
            ("<xml><a>\u{1}</a></xml>", "line 1, column 9"),
            ("<xml><a>\u{ffff}</a></xml>", "line 1, column 9"),
            (" <?xml version='1.0'?><xml/>", "line 1, column 2"),
            ("", "line 1, column 1"),
            ("<!-- -- --><xml/>", "line 1, column 6"),
        ] {
            assert_eq!(
                flaw(body),
                format!("the body is not XML at {position}"),
                "{body}"
            );
        }
    }

    #[test]
    fn texts_beside_elements_are_told_by_their_place() {
        for (body, text) in [
            (
                "<xml>x</xml>",
                "text where elements are wanted at line 1, column 6",
            ),
            (
                "<xml>x<a/></xml>",
                "text where elements are wanted at line 1, column 6",
            ),
            (
                "<xml>\n<a/>x</xml>",
                "text beside elements at line 2, column 5",
            ),
            (
                "<xml><a>x<b/></a></xml>",
                "text beside elements at line 1, column 10",
            ),
            (
                "<xml><a><b/>&#32;</a></xml>",
                "text beside elements at line 1, column 13",
            ),
            (
                "<xml><a><b/><![CDATA[]]></a></xml>",
                "text beside elements at line 1, column 13",
            ),
        ] {
            assert_eq!(flaw(body), text, "{body}");
        }
    }

    #[test]
    fn other_documents_are_told_what_they_are_where_everybody_knows_it() {
        for (body, text) in [
            ("<request/>", "the root element is not <xml>"),
            (
                "<s:Envelope xmlns:s='http://schemas.xmlsoap.org/soap/envelope/'/>",
                "the root element is not <xml>: this is a SOAP envelope",
            ),
            (
                "<methodCall/>",
                "the root element is not <xml>: this is a call of XML-RPC",
            ),
            (
                "<html/>",
                "the root element is not <xml>: this is an HTML page",
            ),
            ("<XML/>", "the root element is not <xml>"),
        ] {
            assert_eq!(flaw(body), text, "{body}");
        }
    }

    /// Documents as serializers write them.
    #[test]
    fn what_serializers_add_means_nothing() {
        for (body, json, _source) in [
            (
                "<?xml version=\"1.0\" encoding=\"utf-16\"?>\r\n<xml xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xmlns:xsd=\"http://www.w3.org/2001/XMLSchema\">\r\n  <db_id>1</db_id>\r\n  <data>\r\n    <_fname xsi:nil=\"true\" />\r\n    <phones>+79000000001</phones>\r\n    <phones>+79000000002</phones>\r\n  </data>\r\n</xml>",
                r#"{"db_id":"1","data":{"_fname":null,"phones":["+79000000001","+79000000002"]}}"#,
                ".NET XmlSerializer with StringWriter",
            ),
            (
                "<xml xmlns=\"http://schemas.datacontract.org/2004/07/Crm\" xmlns:i=\"http://www.w3.org/2001/XMLSchema-instance\"><data><_city i:nil=\"true\"/><_sex i:type=\"a:int\" xmlns:a=\"http://www.w3.org/2001/XMLSchema\">1</_sex></data><db_id>1</db_id></xml>",
                r#"{"data":{"_city":null,"_sex":"1"},"db_id":"1"}"#,
                ".NET DataContractSerializer",
            ),
            (
                "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>\n<ns2:xml xmlns:ns2=\"urn:crm\" xmlns:ns3=\"urn:x\"><ns2:db_id>1</ns2:db_id><ns2:data><ns3:_fname>Ann</ns3:_fname></ns2:data></ns2:xml>",
                r#"{"db_id":"1","data":{"_fname":"Ann"}}"#,
                "JAXB, field-cases 79",
            ),
            (
                "<?xml version='1.0' encoding='UTF-8'?><xml><db_id>1</db_id><data><_lname/><wstxns1:_fname xmlns:wstxns1=\"urn:crm\">Ann</wstxns1:_fname></data></xml>",
                r#"{"db_id":"1","data":{"_lname":null,"_fname":"Ann"}}"#,
                "Jackson XmlMapper",
            ),
            (
                "<?xml version=\"1.0\"?>\n<xml><db_id>1</db_id><data><_fname>A &amp; B</_fname><_lname></_lname></data></xml>\n",
                r#"{"db_id":"1","data":{"_fname":"A & B","_lname":null}}"#,
                "PHP SimpleXML",
            ),
            (
                "<?xml version='1.0' encoding='us-ascii'?>\n<ns0:xml xmlns:ns0=\"urn:crm\"><ns0:db_id>1</ns0:db_id><ns0:data><ns0:_fname>&#1048;</ns0:_fname></ns0:data></ns0:xml>",
                r#"{"db_id":"1","data":{"_fname":"И"}}"#,
                "Python ElementTree",
            ),
            (
                "<xml><db_id type=\"int\">1</db_id><data type=\"dict\"><_fname type=\"str\">Ann</_fname><phones array=\"True\">+7</phones></data></xml>",
                r#"{"db_id":"1","data":{"_fname":"Ann","phones":["+7"]}}"#,
                "Python dicttoxml, and True, field-cases 72",
            ),
            (
                "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>\n<xml>\n  <db_id>1</db_id>\n  <data>\n    <_fname><![CDATA[Ann]]></_fname>\n    <phones array=\"1\">+7</phones>\n  </data>\n</xml>",
                r#"{"db_id":"1","data":{"_fname":"Ann","phones":["+7"]}}"#,
                "Node xml2js, and 1, field-cases 72",
            ),
        ] {
            let document = read_all(body).unwrap_or_else(|error| panic!("{body}: {error}"));
            assert_eq!(
                serde_json::to_string(&Value::Object(document)).unwrap(),
                json
            );
        }
    }

    #[test]
    fn prefixes_are_declared_where_they_are_used() {
        for (content, position) in [
            ("<a:b/>", 6),
            ("<c xmlns:a='u'/><a:b/>", 22),
            ("<c xmlns:a='u'><d xmlns:b='u'/><b:e/></c>", 37),
        ] {
            assert_eq!(
                flaw(&format!("<xml>{content}</xml>")),
                format!("a namespace prefix that is not declared at line 1, column {position}")
            );
        }
        assert_eq!(
            written("<c xmlns:a='u'><a:d xmlns:b='v'><b:e>1</b:e></a:d><a:f/></c><xml:g/>"),
            r#"{"c":{"d":{"e":"1"},"f":null},"g":null}"#
        );
        // Those of attributes are not looked at.
        assert_eq!(written("<a x:type='y'>1</a>"), r#"{"a":"1"}"#);
        let many: String = (0..101).map(|i| format!(" xmlns:a{i}='u'")).collect();
        assert_eq!(
            flaw(&format!("<xml{many}/>")),
            "to declare more than 100 namespace prefixes at one place is not allowed in XML"
        );
    }

    #[test]
    fn nesting_ends_at_64() {
        let nested = |depth: usize| {
            format!(
                "<xml>{}{}</xml>",
                "<a>".repeat(depth - 1),
                "</a>".repeat(depth - 1)
            )
        };
        assert!(read_all(&nested(64)).is_ok());
        assert!(matches!(read_all(&nested(65)), Err(Unreadable::TooDeep)));
        assert!(matches!(
            read_all(&nested(100_000)),
            Err(Unreadable::TooDeep)
        ));
    }

    #[test]
    fn an_outline_keeps_names_texts_and_lengths() {
        let body =
            b"<xml><db_id>1</db_id><data><a>1</a><b><c>2</c></b></data><x array='true'>1</x></xml>";
        let Outline { fields, values } = outline(body, &["db_id", "data", "x"]).unwrap();
        assert_eq!(fields.get("db_id"), Some(&Value::Text("1".into())));
        assert_eq!(fields.get("data"), Some(&Value::Object(Object::default())));
        assert_eq!(fields.get("x"), Some(&Value::Array(vec![Value::Null])));
        assert_eq!(values, 6);
        assert_eq!(outline(body, &["x"]).unwrap().fields.iter().count(), 1);
        let repeated = outline(b"<xml><x>1</x><x><y/></x><x>3</x></xml>", &["x"])
            .unwrap()
            .fields;
        assert_eq!(repeated.get("x"), Some(&Value::Array(vec![Value::Null; 3])));
        let many = format!("<xml>{}</xml>", "<x/>".repeat(ITEMS_MAX + 1));
        let many = outline(many.as_bytes(), &["x"]).unwrap().fields;
        assert_eq!(
            many.get("x"),
            Some(&Value::Array(vec![Value::Null; ITEMS_MAX]))
        );
    }

    /// What is skipped is checked like what is read, to the text of the error.
    #[test]
    fn an_outline_is_refused_for_what_a_body_is_refused_for() {
        let nested = |depth: usize| {
            format!(
                "<xml>{}{}</xml>",
                "<a>".repeat(depth - 1),
                "</a>".repeat(depth - 1)
            )
        };
        let mut bodies: Vec<_> = [63, 64, 65, 100_000].into_iter().map(nested).collect();
        for inner in [
            "",
            "<a>",
            "</a>",
            "x<a/>",
            "<a>x<b/></a>",
            "<a>&#32;<b/></a>",
            "<a><![CDATA[]]><b/></a>",
            "<a>]]></a>",
            "&nbsp;",
            "<a>&#0;</a>",
            "<a b=1/>",
            "<a b='1' b='2'/>",
            "<a b='<'/>",
            "<1a/>",
            "<a 1b=''/>",
            "<!-- -- -->",
            "<?xml version='1.0'?>",
            "<!DOCTYPE a>",
            "\u{1}",
            "<a",
            "<a/",
            "<![CDATA[",
            "&",
            "<a:b/>",
            "<\u{416}/>",
            "< a/>",
            "<a><b></a></b>",
        ] {
            bodies.push(format!("<xml>\n<data><x>{inner}</x></data></xml>"));
            bodies.push(format!("<xml><y><x>{inner}</x></y><data/></xml>"));
            bodies.push(format!("<xml>{inner}</xml>"));
        }
        bodies.extend(
            [
                "",
                "<xml/><xml/>",
                "<xml/>x",
                "x<xml/>",
                "<html/>",
                "<xml>x</xml>",
            ]
            .map(str::to_owned),
        );
        for body in bodies {
            let flaw = read_all(&body).map(drop).map_err(|flaw| flaw.to_string());
            let outlined = outline(body.as_bytes(), &["data"])
                .map(drop)
                .map_err(|flaw| flaw.to_string());
            assert_eq!(outlined, flaw, "{}", &body[..body.len().min(80)]);
        }
    }

    #[test]
    fn many_attributes_or_names_take_no_longer_than_their_length() {
        let attributes: String = (0..100_000).map(|i| format!(" a{i}='1'")).collect();
        assert_eq!(written(&format!("<a{attributes}>1</a>")), r#"{"a":"1"}"#);
        let names: String = (0..100_000).map(|i| format!("<a{i}/>")).collect();
        assert!(written(&names).starts_with(r#"{"a0":null"#));
    }
}
