//! XML Schema 1.1 of requests and replies.
//!
//! 1.1 and not 1.0, as elements of a request come in any order, some of them repeated, among others
//! that nobody has defined: 1.0 has no way to say that. As in JSON, a schema can't know what stands
//! in a database; and it describes a request without invalid subscriptions.

mod addresses;
mod kinds;
mod reply;
mod request;
mod writer;

use std::io;

use self::writer::Schema;

/// What a schema is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Message {
    /// A request.
    Request,
    /// A reply.
    Reply,
}

/// Writes the schema of one kind of message.
pub(crate) fn document(message: Message) -> String {
    match written(message).map(String::from_utf8) {
        Ok(Ok(text)) => text,
        _ => unreachable!("memory can always be written to, and everything in it is text"),
    }
}

fn written(message: Message) -> io::Result<Vec<u8>> {
    let mut schema = Schema::begin()?;
    let attributes = [
        ("xmlns:xs", "http://www.w3.org/2001/XMLSchema"),
        ("xmlns:vc", "http://www.w3.org/2007/XMLSchema-versioning"),
        ("vc:minVersion", "1.1"),
    ];
    schema.element("xs:schema", &attributes, |schema| match message {
        Message::Request => schema.request(),
        Message::Reply => schema.reply(),
    })?;
    Ok(schema.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::outcome::Code;
    use crate::domain::{profile, subscription};
    use crate::wire::request;

    #[test]
    fn every_field_of_the_tables_is_described() {
        let document = document(Message::Request);
        for table in [request::FIELDS, profile::FIELDS, subscription::FIELDS] {
            for field in table {
                let element = format!("<xs:element name=\"{}\"", field.name);
                assert!(document.contains(&element), "{}", field.name);
            }
        }
    }

    #[test]
    fn every_code_of_a_reply_is_listed() {
        let document = document(Message::Reply);
        for code in Code::ALL {
            let value = format!("<xs:enumeration value=\"{}\"/>", code.number());
            assert!(document.contains(&value), "{value}");
        }
    }
}
