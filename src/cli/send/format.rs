//! What a file is: a table, requests in lines, contact cards, or one request.

use clap::ValueEnum;
use serde::de::IgnoredAny;

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// A table with a header: each row is a profile.
    Csv,
    /// A request, or a profile, in each line.
    JsonLines,
    /// Contact cards (.vcf), each of which is a profile.
    Vcard,
    /// All of it is one request.
    Request,
}

impl Format {
    /// What it is called.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Csv => "CSV",
            Self::JsonLines => "JSON Lines",
            Self::Vcard => "vCard",
            Self::Request => "one request",
        }
    }

    /// Guesses by the name of a file, else by its beginning. A text that is none of the others is
    /// a table where a database for its rows is given.
    pub(super) fn guess(name: &str, head: &[u8], has_database: bool) -> Self {
        let extension = name.rsplit_once('.').map(|(_, end)| end.to_lowercase());
        match extension.as_deref() {
            Some("csv" | "tsv" | "tab") => return Self::Csv,
            Some("jsonl" | "ndjson") => return Self::JsonLines,
            Some("vcf" | "vcard") => return Self::Vcard,
            Some("xml") => return Self::Request,
            _ => {}
        }
        let text = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
        let text = text.trim_ascii_start();
        if text
            .get(..11)
            .is_some_and(|begin| begin.eq_ignore_ascii_case(b"BEGIN:VCARD"))
        {
            return Self::Vcard;
        }
        match text.first() {
            Some(b'{') if has_lines(text, has_database) => Self::JsonLines,
            Some(b'{' | b'[' | b'<') | None => Self::Request,
            Some(_) if has_database => Self::Csv,
            Some(_) => Self::Request,
        }
    }
}

/// Whether the first line is JSON of its own, and another follows, or it may be a profile.
fn has_lines(text: &[u8], has_database: bool) -> bool {
    let end = text.iter().position(|&byte| byte == b'\n');
    let (first, rest) = text.split_at(end.unwrap_or(text.len()));
    (has_database || !rest.trim_ascii().is_empty())
        && serde_json::from_slice::<IgnoredAny>(first).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_what_its_name_says_and_else_what_it_begins_with() {
        let csv = Format::Csv;
        for (name, head, has_database, format) in [
            ("a.CSV", "{", false, csv),
            ("a.tsv", "", false, csv),
            ("a.jsonl", "x", false, Format::JsonLines),
            ("a.ndjson", "", false, Format::JsonLines),
            ("a.vcf", "", false, Format::Vcard),
            ("-", "\u{feff}begin:vcard\r\n", false, Format::Vcard),
            ("a.json", "{\"a\":1}\n{\"a\":2}\n", false, Format::JsonLines),
            ("a.json", "{\"a\":1}\n\n", false, Format::Request),
            ("a.json", "{\n\"a\":1}\n", false, Format::Request),
            ("-", "{\"a\":1}", true, Format::JsonLines),
            ("-", "{\"a\":1}", false, Format::Request),
            ("-", "[{}]", true, Format::Request),
            ("-", " <xml/>\n<xml/>", true, Format::Request),
            ("a.txt", "Email;Name", true, csv),
            ("a.txt", "Email;Name", false, Format::Request),
            ("-", "", true, Format::Request),
        ] {
            assert_eq!(
                Format::guess(name, head.as_bytes(), has_database),
                format,
                "{name} {head}"
            );
        }
    }
}
