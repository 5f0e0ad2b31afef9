//! Requests made of bytes, valid and nearly valid, and the many ways to write one.

use arbtest::arbitrary::{Result, Unstructured};
use profile_worker::domain::address;
use profile_worker::domain::channel::Channel;
use profile_worker::domain::kind::{Field, Kind};
use profile_worker::domain::subscription;
use profile_worker::domain::{parse, profile};

use crate::bad_input::check::{DEAD_TOKENS, SECRET, TOKEN, TOKEN_FOR_ALL, defined_fields};

/// A value of a request, whatever it is written in.
#[derive(Debug, Clone, PartialEq)]
pub enum Node {
    Null,
    Bool(bool),
    Number(String),
    String(String),
    Array(Vec<Node>),
    Object(Vec<(String, Node)>),
}

/// What a request may have in it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scope {
    /// What JSON can say.
    Json,
    /// What both formats can say, and mean the same by.
    Both,
    /// What JSON can say, and nothing that is wrong.
    Valid,
}

const NAMES: [&str; 10] = [
    "a", "b", "x1", "_x", "nick", "Email", "plan", "token", "data", "status",
];

/// A request, most of the time a valid one.
pub fn request(u: &mut Unstructured<'_>, scope: Scope) -> Result<Node> {
    let db_id = if scope == Scope::Valid {
        u.int_in_range(1..=3)?
    } else {
        *u.choose(&[1, 1, 1, 1, 2, 2, 3, 9])?
    };
    let token = if db_id == 1 && !rarely(u, scope)? {
        TOKEN
    } else {
        TOKEN_FOR_ALL
    };
    let mut document = vec![("db_id".to_owned(), Node::Number(db_id.to_string()))];
    if rarely(u, scope)? {
        document[0].1 = bad(u, Kind::Id, scope)?;
    }
    if !rarely(u, scope)? {
        let token = if rarely(u, scope)? {
            *u.choose(&DEAD_TOKENS)?
        } else {
            token
        };
        document.push(("token".to_owned(), Node::String(token.to_owned())));
    }
    for name in [
        "skip_triggers",
        "skip_invalid_subscriptions",
        "feedback_id",
        "warnings",
    ] {
        let kind = if name == "feedback_id" {
            Kind::String
        } else {
            Kind::Boolean
        };
        if u.arbitrary()? {
            document.push((name.to_owned(), value(u, kind, scope)?));
        }
    }
    if rarely(u, scope)? {
        document.push(("matching".to_owned(), any(u, scope, 2)?));
    }
    let data = if u.ratio(1, 3)? {
        let mut profiles = Vec::new();
        for _ in 0..u.int_in_range(1..=4)? {
            profiles.push(profile(u, db_id, scope)?);
        }
        Node::Array(profiles)
    } else {
        profile(u, db_id, scope)?
    };
    document.push(("data".to_owned(), data));
    Ok(Node::Object(document))
}

/// Whether to do something that may be wrong.
fn rarely(u: &mut Unstructured<'_>, scope: Scope) -> Result<bool> {
    Ok(scope != Scope::Valid && u.ratio(1, 16)?)
}

fn profile(u: &mut Unstructured<'_>, db_id: i64, scope: Scope) -> Result<Node> {
    let mut fields = Vec::new();
    let defined = defined_fields(db_id);
    for _ in 0..u.int_in_range(0..=8)? {
        let (name, kind) = match u.int_in_range(0..=3)? {
            0 if !defined.is_empty() => u.choose(&defined)?.clone(),
            0 | 1 if db_id != 2 || rarely(u, scope)? => {
                let name = name(u, scope)?;
                let kind = defined
                    .iter()
                    .find(|(defined, _)| *defined == name)
                    .map(|(_, kind)| *kind);
                let known = Field::find(profile::FIELDS, &name).map(|field| field.kind);
                (name, known.or(kind).unwrap_or(Kind::Any))
            }
            _ => {
                let field = u.choose(profile::FIELDS)?;
                (field.name.to_owned(), field.kind)
            }
        };
        let blank = name == "email" && u.ratio(1, 4)?;
        fields.push((
            name,
            if blank {
                Node::String(" ".to_owned())
            } else {
                value(u, kind, scope)?
            },
        ));
    }
    if db_id != 3 && u.arbitrary()? {
        let mut subscriptions = Vec::new();
        // Of several, two may be the same.
        let most = if scope == Scope::Valid { 1 } else { 4 };
        for _ in 0..u.int_in_range(1..=most)? {
            subscriptions.push(subscription(u, db_id, scope)?);
        }
        fields.push((
            profile::SUBSCRIPTIONS.to_owned(),
            Node::Array(subscriptions),
        ));
    }
    Ok(object(fields))
}

fn subscription(u: &mut Unstructured<'_>, db_id: i64, scope: Scope) -> Result<Node> {
    if rarely(u, scope)? {
        return bad(u, Kind::Object, scope);
    }
    let channel = if db_id == 1 {
        *u.choose(&Channel::ALL)?
    } else {
        *u.choose(&[Channel::Sms, Channel::Push])?
    };
    let mut fields = vec![
        (
            "resource_id".to_owned(),
            Node::Number(if rarely(u, scope)? { "2" } else { "1" }.to_owned()),
        ),
        (
            "channel".to_owned(),
            Node::String(channel.name().to_owned()),
        ),
    ];
    for part in *u.choose(address::alternatives(channel))? {
        let mut node = if rarely(u, scope)? {
            value(u, part.kind, scope)?
        } else {
            good(u, part.kind, scope)?
        };
        for name in part.path.iter().skip(1).rev() {
            node = Node::Object(vec![((*name).to_owned(), node)]);
        }
        fields.push((part.path[0].to_owned(), node));
    }
    for field in subscription::FIELDS.iter().skip(2) {
        if u.ratio(1, 4)? {
            fields.push((field.name.to_owned(), value(u, field.kind, scope)?));
        }
    }
    Ok(object(fields))
}

/// An object in which each name stands once: what repeated names mean is told elsewhere.
fn object(fields: Vec<(String, Node)>) -> Node {
    let mut distinct: Vec<(String, Node)> = Vec::new();
    for (name, node) in fields {
        if distinct.iter().all(|(known, _)| *known != name) {
            distinct.push((name, node));
        }
    }
    Node::Object(distinct)
}

fn name(u: &mut Unstructured<'_>, scope: Scope) -> Result<String> {
    match scope {
        Scope::Json | Scope::Valid if u.ratio(1, 4)? => Ok(text(u, scope)? + "_"),
        _ => Ok((*u.choose(&NAMES)?).to_owned()),
    }
}

fn value(u: &mut Unstructured<'_>, kind: Kind, scope: Scope) -> Result<Node> {
    match u.int_in_range(0..=23)? {
        1 => Ok(Node::Null),
        _ if scope == Scope::Valid => good(u, kind, scope),
        2 => bad(u, kind, scope),
        3 if scope != Scope::Both => any(u, scope, 3),
        _ => good(u, kind, scope),
    }
}

/// A value that has the kind.
fn good(u: &mut Unstructured<'_>, kind: Kind, scope: Scope) -> Result<Node> {
    let one_of =
        |u: &mut Unstructured<'_>, texts: &[&str]| Ok(Node::String((*u.choose(texts)?).to_owned()));
    let strings = |u: &mut Unstructured<'_>, kind| {
        let least = if scope == Scope::Both { 1 } else { 0 };
        let items: Result<Vec<Node>> = (0..u.int_in_range(least..=3)?)
            .map(|_| good(u, kind, scope))
            .collect();
        Ok(Node::Array(items?))
    };
    match kind {
        Kind::String => Ok(Node::String(text(u, scope)?)),
        // Blanks around it are layout in XML, and meant in JSON.
        Kind::Text if scope == Scope::Both => Ok(Node::String(text(u, scope)?.trim().to_owned())),
        Kind::Text => Ok(Node::String(text(u, scope)?)),
        Kind::Word | Kind::Provider => {
            one_of(u, &["x", "android-firebase", "Жё", "a b", "1", SECRET])
        }
        Kind::Email => one_of(
            u,
            &[
                "a@example.com",
                "A@Example.com",
                "a@ｅｘａｍｐｌｅ.com",
                "o'neil+x@example.org",
                "иван@пример.рф",
                "Иван@xn--e1afmkfd.xn--p1ai",
                "संपर्क@डाटामेल.भारत",
                "ju\u{308}rgen@example.de",
            ],
        ),
        Kind::Phone => one_of(
            u,
            &[
                "+79000000000",
                "+7 (900) 000-00-00",
                "+44.20.7946.0958",
                "+44 (0)20 7946\u{a0}0958",
                "tel:+49-30/901820",
            ],
        ),
        Kind::Phones => strings(u, Kind::Phone),
        Kind::Country => one_of(u, &["DE", "ru", " fr"]),
        Kind::PostalCode if scope != Scope::Both && u.arbitrary()? => integer(u),
        Kind::PostalCode => one_of(u, &["10115", "01099", "EC1A 1BB"]),
        Kind::Ip => one_of(u, &["192.0.2.1", "2001:db8::1"]),
        Kind::Date => one_of(u, &["2001-12-31", "2024-02-29"]),
        Kind::DateTime => one_of(
            u,
            &[
                "2001-12-31T10:00:00Z",
                "2001-12-31t10:00:00.1234567890123+03:00",
                "9999-12-31T23:59:59-23:59",
                "1990-12-31T23:59:60Z",
            ],
        ),
        Kind::DateOrDateTime => one_of(u, &["2001-12-31", "2001-12-31T10:00:00.5-11:30"]),
        Kind::TimeZone => one_of(u, &["Europe/Berlin", "utc", "europe/kiev "]),
        Kind::Sex if u.arbitrary()? => Ok(Node::Number((*u.choose(&["0", "1", "2"])?).to_owned())),
        Kind::Sex => one_of(u, &["male", "female"]),
        Kind::Status if u.arbitrary()? => integer(u),
        Kind::Status => one_of(u, &parse::STATUSES),
        Kind::Channel => one_of(u, &Channel::ALL.map(Channel::name)),
        Kind::Integer => integer(u),
        Kind::Id => Ok(Node::Number(u.int_in_range(1..=3)?.to_string())),
        Kind::Number => number(u),
        Kind::Boolean => Ok(Node::Bool(u.arbitrary()?)),
        Kind::Strings => strings(u, Kind::String),
        Kind::Texts => strings(u, Kind::Text),
        Kind::Object => {
            let fields: Result<Vec<_>> = (0..u.int_in_range(1..=3)?)
                .map(|_| Ok((name(u, scope)?, any(u, scope, 2)?)))
                .collect();
            Ok(object(fields?))
        }
        Kind::Any => any(u, scope, 3),
    }
}

/// A value that most likely has not, in both formats.
fn bad(u: &mut Unstructured<'_>, kind: Kind, scope: Scope) -> Result<Node> {
    match kind {
        Kind::Any => any(u, scope, 2),
        // What is a string of JSON may be a number in XML.
        Kind::String | Kind::Text | Kind::Word | Kind::Strings | Kind::Texts | Kind::Phones => Ok(
            Node::Object(vec![("a".to_owned(), Node::String(SECRET.to_owned()))]),
        ),
        Kind::Integer | Kind::Id | Kind::Status if u.arbitrary()? => {
            Ok(Node::Number("1.5".to_owned()))
        }
        _ => Ok(Node::String(
            (*u.choose(&[SECRET, "~", ":", "no such thing", "a@b", "+x", "2001-13-01"])?)
                .to_owned(),
        )),
    }
}

fn integer(u: &mut Unstructured<'_>) -> Result<Node> {
    let near = u.int_in_range(-3..=300)?;
    Ok(Node::Number(match u.int_in_range(0..=9)? {
        0 => u.arbitrary::<i64>()?.to_string(),
        1 => i64::MIN.to_string(),
        2 => "-0".to_owned(),
        _ => near.to_string(),
    }))
}

/// Any number, written as the JSON reader writes it: its exponents have a sign, and `e` is small.
fn number(u: &mut Unstructured<'_>) -> Result<Node> {
    let Node::Number(mut digits) = integer(u)? else {
        return Ok(Node::Null);
    };
    if u.arbitrary()? {
        digits.push_str(&format!(".{}", u.arbitrary::<u16>()?));
    }
    if u.arbitrary()? {
        let sign = if u.arbitrary()? { '+' } else { '-' };
        digits.push_str(&format!("e{sign}{}", u.int_in_range(0..=400)?));
    }
    if u.ratio(1, 16)? {
        digits.insert_str(digits.len().min(2), "0123456789876543210");
        digits = digits.replace("-001", "-1");
    }
    // The additional digits may have come before a zero, or after the dot's place.
    Ok(Node::Number(
        if digits.parse::<serde_json::Number>().is_ok() {
            digits
        } else {
            "0.50".to_owned()
        },
    ))
}

fn any(u: &mut Unstructured<'_>, scope: Scope, depth: u32) -> Result<Node> {
    let leaf = depth == 0;
    Ok(match (scope, u.int_in_range(0..=6)?) {
        (_, 0) if !leaf => {
            let fields: Result<Vec<_>> = (0..u.int_in_range(1..=3)?)
                .map(|_| Ok((name(u, scope)?, any(u, scope, depth - 1)?)))
                .collect();
            object(fields?)
        }
        // In XML no array stands in an array.
        (Scope::Both, 1) if depth == 3 => {
            let texts: Result<Vec<_>> = (0..u.int_in_range(1..=3)?)
                .map(|_| Ok(Node::String(text(u, scope)?)))
                .collect();
            Node::Array(texts?)
        }
        (Scope::Json | Scope::Valid, 1) if !leaf => {
            let items: Result<Vec<_>> = (0..u.int_in_range(0..=3)?)
                .map(|_| any(u, scope, depth - 1))
                .collect();
            Node::Array(items?)
        }
        (Scope::Json | Scope::Valid, 2) => number(u)?,
        (Scope::Json | Scope::Valid, 3) => Node::Bool(u.arbitrary()?),
        (Scope::Json | Scope::Valid, 4) => u
            .choose(&[Node::Null, Node::Object(vec![]), Node::Array(vec![])])?
            .clone(),
        _ => Node::String(text(u, scope)?),
    })
}

/// A text with whatever makes texts difficult.
fn text(u: &mut Unstructured<'_>, scope: Scope) -> Result<String> {
    const PIECES: [&str; 22] = [
        "", "a", "John", " ", "\t", "\n", "\r", "\r\n", "\"", "\\", "/", "<", "&amp;", "]]>", "'",
        "ж", "\u{a0}", "\u{2028}", "😀", "\u{7f}", "\u{85}", SECRET,
    ];
    let mut text = String::new();
    for _ in 0..u.int_in_range(0..=4)? {
        match u.int_in_range(0..=3)? {
            0 => text.push(u.arbitrary()?),
            1 if scope != Scope::Both => text
                .push(*u.choose(&['\0', '\u{1}', '\u{1f}', '\u{fffe}', '\u{ffff}', '\u{feff}'])?),
            _ => text.push_str(u.choose(&PIECES)?),
        }
    }
    if scope == Scope::Valid {
        text.retain(|c| c != '\0');
    }
    if scope == Scope::Both {
        text.retain(|c| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..));
    }
    Ok(text)
}

/// The same request with the fields of its objects in another order.
pub fn shuffled(node: &Node, u: &mut Unstructured<'_>) -> Result<Node> {
    Ok(match node {
        Node::Array(items) => Node::Array(
            items
                .iter()
                .map(|item| shuffled(item, u))
                .collect::<Result<_>>()?,
        ),
        Node::Object(fields) => {
            let fields = fields
                .iter()
                .map(|(name, value)| Ok((name.clone(), shuffled(value, u)?)));
            let mut fields = fields.collect::<Result<Vec<_>>>()?;
            for i in 1..fields.len() {
                fields.swap(i, u.int_in_range(0..=i)?);
            }
            Node::Object(fields)
        }
        other => other.clone(),
    })
}

/// JSON without anything that need not be.
pub fn to_json(node: &Node) -> String {
    write_json(node, &mut Unstructured::new(&[])).unwrap_or_default()
}

/// JSON with blanks and escapes, as `u` wants it.
pub fn to_strange_json(node: &Node, u: &mut Unstructured<'_>) -> Result<String> {
    let blanks = blanks(u)?;
    Ok(blanks + &write_json(node, u)? + &self::blanks(u)?)
}

/// The first choice of each kind is the plain one: that is what comes of no bytes.
fn blanks(u: &mut Unstructured<'_>) -> Result<String> {
    Ok((*u.choose(&["", "", "", " ", "\n", "\t", "\r\n", "  \n\r\t "])?).to_owned())
}

fn write_json(node: &Node, u: &mut Unstructured<'_>) -> Result<String> {
    let mut json = String::new();
    match node {
        Node::Null => json.push_str("null"),
        Node::Bool(value) => json.push_str(&value.to_string()),
        Node::Number(digits) => json.push_str(digits),
        Node::String(text) => json.push_str(&json_string(text, u)?),
        Node::Array(items) => {
            json.push('[');
            json.push_str(&blanks(u)?);
            for (i, item) in items.iter().enumerate() {
                let comma = if i == 0 { "" } else { "," };
                json.push_str(&format!(
                    "{comma}{}{}{}",
                    blanks(u)?,
                    write_json(item, u)?,
                    blanks(u)?
                ));
            }
            json.push(']');
        }
        Node::Object(fields) => {
            json.push('{');
            json.push_str(&blanks(u)?);
            for (i, (name, value)) in fields.iter().enumerate() {
                let comma = if i == 0 { "" } else { "," };
                json.push_str(&format!(
                    "{comma}{}{}{}:",
                    blanks(u)?,
                    json_string(name, u)?,
                    blanks(u)?
                ));
                json.push_str(&format!(
                    "{}{}{}",
                    blanks(u)?,
                    write_json(value, u)?,
                    blanks(u)?
                ));
            }
            json.push('}');
        }
    }
    Ok(json)
}

fn json_string(text: &str, u: &mut Unstructured<'_>) -> Result<String> {
    let mut json = String::from('"');
    for c in text.chars() {
        match (c, u.int_in_range(0..=7)?) {
            ('"', 0..=6) => json.push_str("\\\""),
            ('\\', 0..=6) => json.push_str("\\\\"),
            ('\n', 0..=6) => json.push_str("\\n"),
            ('/', 4..=6) => json.push_str("\\/"),
            ('\0'..'\u{20}', _) | (_, 7) => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    json.push_str(&if u.arbitrary()? {
                        format!("\\u{unit:04X}")
                    } else {
                        format!("\\u{unit:04x}")
                    });
                }
            }
            _ => json.push(c),
        }
    }
    json.push('"');
    Ok(json)
}

/// XML with blanks, comments, references and CDATA sections, as `u` wants it.
pub fn to_xml(request: &Node, u: &mut Unstructured<'_>) -> Result<String> {
    let start = *u.choose(&[
        "",
        "<?xml version='1.0'?>",
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n",
        "\u{feff}",
        "\n ",
    ])?;
    Ok(format!(
        "{start}{}{}",
        write_xml("xml", "", request, u)?,
        blanks(u)?
    ))
}

fn write_xml(
    name: &str,
    attributes: &str,
    node: &Node,
    u: &mut Unstructured<'_>,
) -> Result<String> {
    let more = *u.choose(&["", "", "", " ", " type='x'", "\n a=\"b\" c='&lt;'"])?;
    let start = format!("<{name}{attributes}{more}>");
    let end = format!("</{name}{}>", u.choose(&["", "", " "])?);
    let content = match node {
        Node::Null if u.arbitrary()? => return Ok(format!("<{name}{attributes}{more}/>")),
        Node::Null => blanks(u)?,
        Node::Bool(value) => format!("{}{value}{}", blanks(u)?, blanks(u)?),
        Node::Number(digits) => format!("{}{digits}{}", blanks(u)?, blanks(u)?),
        Node::String(text) => xml_text(text, u)?,
        Node::Array(items) => {
            let attributes =
                *u.choose(&[" array='true'", " array=\"true\"", "\tarray = 'true'"])?;
            let items = items
                .iter()
                .map(|item| Ok(write_xml(name, attributes, item, u)? + &blanks(u)?));
            return items.collect();
        }
        Node::Object(fields) => {
            let mut content = gap(u)?;
            for (name, value) in fields {
                content.push_str(&write_xml(name, "", value, u)?);
                content.push_str(&gap(u)?);
            }
            content
        }
    };
    Ok(format!("{start}{content}{end}"))
}

/// What may stand between elements.
fn gap(u: &mut Unstructured<'_>) -> Result<String> {
    Ok((*u.choose(&["", "", "", "\n  ", "<!-- <a>no</a> -->", " <?p no?>\r\n"])?).to_owned())
}

fn xml_text(text: &str, u: &mut Unstructured<'_>) -> Result<String> {
    if text.is_empty() {
        return Ok("<![CDATA[]]>".to_owned());
    }
    // Blanks alone are meant only where they are written as references.
    let is_blank = text.chars().all(char::is_whitespace);
    if !is_blank && !text.contains("]]>") && !text.contains('\r') && u.ratio(1, 5)? {
        return Ok(format!("<![CDATA[{text}]]>"));
    }
    let mut xml = String::new();
    for c in text.chars() {
        match (c, u.int_in_range(0..=9)?) {
            ('<', 0..=7) => xml.push_str("&lt;"),
            ('&', 0..=7) => xml.push_str("&amp;"),
            ('>', 0..=7) => xml.push_str("&gt;"),
            ('"', 0..=4) => xml.push_str("&quot;"),
            ('\'', 0..=4) => xml.push_str("&apos;"),
            ('\r' | '<' | '&' | '>', _) | (_, 8) => {
                xml.push_str(&format!("&#x{:x};", u32::from(c)))
            }
            (_, 9) => xml.push_str(&format!("&#{};<!-- -->", u32::from(c))),
            _ if is_blank => xml.push_str(&format!("&#{};", u32::from(c))),
            _ => xml.push(c),
        }
    }
    Ok(xml)
}
