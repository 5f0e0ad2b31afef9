//! Character sets: which one a body is in, and its text in UTF-8.
//!
//! Names and tables are those of the WHATWG's Encoding Standard, which is what browsers do:
//! `iso-8859-1` is read as `windows-1252`, of which it is a part.

use std::borrow::Cow;

use encoding_rs::{
    DecoderResult, Encoding, REPLACEMENT, UTF_8, UTF_16BE, UTF_16LE, X_USER_DEFINED,
};

use super::unknown::Unknown;

/// A character set.
pub type Charset = &'static Encoding;

/// Names that are not in the Encoding Standard, or mean something else there. ASCII is a part of
/// UTF-8, and what is declared to be ASCII and is not was UTF-8, mostly.
const OTHER_NAMES: [(&str, Charset); 9] = [
    ("us-ascii", UTF_8),
    ("ascii", UTF_8),
    // MySQL's.
    ("utf8mb4", UTF_8),
    ("utf8mb3", UTF_8),
    // Python's; any `_` in them is a `-`.
    ("utf-8-sig", UTF_8),
    ("latin-1", encoding_rs::WINDOWS_1252),
    ("utf16", UTF_16LE),
    ("utf-16-le", UTF_16LE),
    ("utf-16-be", UTF_16BE),
];

/// The character set of this name, in any case.
pub(super) fn named(name: &str) -> Option<Charset> {
    // By far the most frequent one.
    if name.eq_ignore_ascii_case("utf-8") {
        return Some(UTF_8);
    }
    let is_it = |(known, _): &&(&str, Charset)| known.eq_ignore_ascii_case(name);
    if let Some((_, charset)) = OTHER_NAMES.iter().find(is_it) {
        return Some(charset);
    }
    let charset = Encoding::for_label(name.as_bytes());
    if charset.is_none() && name.contains('_') {
        return named(&name.replace('_', "-"));
    }
    // Neither is a character set: one refuses all bytes, the other has none of its own.
    charset.filter(|charset| *charset != REPLACEMENT && *charset != X_USER_DEFINED)
}

/// A name without the blanks and quotes around it.
pub(super) fn unquoted(name: &str) -> &str {
    name.trim().trim_matches(['"', '\'']).trim()
}

/// The charset that a content type declares; an empty one is none.
pub(super) fn of_content_type(content_type: &str) -> Result<Option<Charset>, Unknown> {
    let parameters = content_type.split(';').skip(1);
    let value = parameters
        .filter_map(|parameter| parameter.split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("charset"))
        .map(|(_, value)| unquoted(value))
        .filter(|value| !value.is_empty());
    value.map(known).transpose()
}

fn known(name: &str) -> Result<Charset, Unknown> {
    named(name).ok_or_else(|| Unknown::Charset(name.into()))
}

/// The character set that a body is in. A byte order mark wins over what is declared (RFC 7303, 3),
/// and that over what an XML document says of itself, which wins over UTF-8. JSON is UTF-8 unless
/// it is declared to be something else (RFC 8259, 8.1).
pub fn of(bytes: &[u8], declared: Option<Charset>, is_xml: bool) -> Result<Charset, Unknown> {
    if let Some((marked, _)) = Encoding::for_bom(bytes)
        && (marked == UTF_8 || is_xml || declared.is_some())
    {
        return Ok(marked);
    }
    match declared {
        // Without a mark it may be either, whatever the standard takes it for.
        Some(charset)
            if charset == UTF_16LE && matches!(bytes, [0, second, ..] if *second != 0) =>
        {
            Ok(UTF_16BE)
        }
        Some(charset) => Ok(charset),
        None if is_xml => of_xml(bytes),
        None => Ok(UTF_8),
    }
}

/// The character set of an XML document that says so itself (XML 1.0, appendix F).
fn of_xml(bytes: &[u8]) -> Result<Charset, Unknown> {
    match bytes {
        [b'<', 0, ..] => return Ok(UTF_16LE),
        [0, b'<', ..] => return Ok(UTF_16BE),
        _ => {}
    }
    let Some(name) = declared_in_xml(bytes) else {
        return Ok(UTF_8);
    };
    let charset = known(name)?;
    // A document in UTF-16 would not have been read so far: .NET's StringWriter declares it of what
    // is then written as UTF-8.
    let is_utf16 = [UTF_16LE, UTF_16BE].contains(&charset);
    Ok(if is_utf16 { UTF_8 } else { charset })
}

/// An XML declaration is no longer.
const XML_DECLARATION_MAX: usize = 256;

/// The name that stands in the XML declaration, which has ASCII only.
fn declared_in_xml(bytes: &[u8]) -> Option<&str> {
    let rest = bytes.strip_prefix(b"<?xml")?;
    let rest = &rest[..rest.len().min(XML_DECLARATION_MAX)];
    let end = rest.windows(2).position(|two| two == b"?>")?;
    let (_, value) = std::str::from_utf8(&rest[..end])
        .ok()?
        .split_once("encoding")?;
    let value = value.trim_start().strip_prefix('=')?.trim_start();
    let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let (name, _) = value[1..].split_once(quote)?;
    Some(name.trim()).filter(|name| !name.is_empty())
}

/// Whether these bytes are the same text in UTF-8: by declaration, or as they are ASCII only.
pub fn is_utf8(charset: Charset, bytes: &[u8]) -> bool {
    charset == UTF_8
        || (charset.is_ascii_compatible() && Encoding::ascii_valid_up_to(bytes) == bytes.len())
}

/// Why a body has no text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoText {
    /// These bytes mean nothing in the character set that is declared.
    #[error("the body is not {charset} at byte {position}")]
    Malformed {
        /// Its name.
        charset: &'static str,
        /// Where the first of them stands, from 1 on.
        position: usize,
    },
    /// It is longer than it may be.
    #[error("longer than it may be")]
    TooLarge,
}

/// The text of a body in this character set, as UTF-8 of at most `limit` bytes. What is UTF-8, or
/// has only bytes that are the same in it, is not copied, and UTF-8 is not checked.
pub fn utf8<'a>(
    charset: Charset,
    bytes: Cow<'a, [u8]>,
    limit: usize,
) -> Result<Cow<'a, [u8]>, NoText> {
    if is_utf8(charset, &bytes) {
        return Ok(bytes);
    }
    let mark = match Encoding::for_bom(&bytes) {
        Some((marked, length)) if marked == charset => length,
        _ => 0,
    };
    let mut decoder = charset.new_decoder_without_bom_handling();
    let mut text = String::with_capacity(bytes.len().min(limit) + ROOM);
    let mut position = mark;
    loop {
        let rest = &bytes[position..];
        let (result, read) = decoder.decode_to_string_without_replacement(rest, &mut text, true);
        position += read;
        match result {
            _ if text.len() > limit => return Err(NoText::TooLarge),
            DecoderResult::InputEmpty => return Ok(Cow::Owned(text.into_bytes())),
            DecoderResult::OutputFull => text.reserve(text.len().min(limit - text.len()) + ROOM),
            DecoderResult::Malformed(bad, after) => {
                let behind = usize::from(bad) + usize::from(after);
                return Err(NoText::Malformed {
                    charset: charset.name(),
                    position: position.saturating_sub(behind) + 1,
                });
            }
        }
    }
}

/// No character is longer, so that the decoder always gets on.
const ROOM: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn text(charset: &str, bytes: &[u8]) -> Result<String, NoText> {
        let charset = named(charset).expect(charset);
        utf8(charset, Cow::Borrowed(bytes), 1000)
            .map(|text| String::from_utf8(text.into_owned()).unwrap())
    }

    #[test]
    fn names_are_those_of_the_encoding_standard_and_of_clients() {
        for (label, name) in [
            ("windows-1251", "windows-1251"),
            ("CP1251", "windows-1251"),
            ("iso-8859-1", "windows-1252"),
            ("ISO_8859-1", "windows-1252"),
            ("latin-1", "windows-1252"),
            ("koi8-r", "KOI8-R"),
            ("Shift_JIS", "Shift_JIS"),
            ("gbk", "GBK"),
            ("euc-kr", "EUC-KR"),
            ("utf8mb4", "UTF-8"),
            ("utf_8", "UTF-8"),
            ("utf-8-sig", "UTF-8"),
            ("us-ascii", "UTF-8"),
            ("UTF-16", "UTF-16LE"),
            ("utf_16_be", "UTF-16BE"),
        ] {
            assert_eq!(
                named(label).map(|charset| charset.name()),
                Some(name),
                "{label}"
            );
        }
        for unknown in [
            "utf-7",
            "utf-32",
            "hz-gb-2312",
            "x-user-defined",
            "ebcdic",
            "____",
        ] {
            assert_eq!(named(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn a_content_type_declares_a_charset() {
        for (content_type, name) in [
            ("application/json", None),
            ("application/json; charset=utf-8", Some("UTF-8")),
            ("text/xml;charset=\"windows-1251\"", Some("windows-1251")),
            ("application/json; charset='utf-8'", Some("UTF-8")),
            ("application/json; charset=", None),
            ("application/json; charset=\"\"", None),
            ("a/b; q=1; Charset = koi8-r ; x=y", Some("KOI8-R")),
        ] {
            let charset = of_content_type(content_type).unwrap();
            assert_eq!(charset.map(Encoding::name), name, "{content_type}");
        }
    }

    #[test]
    fn marks_win_over_declarations_and_those_over_the_document() {
        let koi8 = Some(encoding_rs::KOI8_R);
        let utf16 = Some(UTF_16LE);
        for (bytes, declared, is_xml, name, _source) in [
            (&b"{}"[..], None, false, "UTF-8", "RFC 8259 8.1"),
            (b"\xff\xfe{\0}\0", None, false, "UTF-8", "RFC 8259 8.1"),
            (b"{}", koi8, false, "KOI8-R", "declared"),
            (b"\xef\xbb\xbf{}", koi8, false, "UTF-8", "RFC 7303 3"),
            (b"\xfe\xff\0{\0}", utf16, false, "UTF-16BE", "RFC 2781 4.3"),
            (b"{\0}\0", utf16, false, "UTF-16LE", "Encoding Standard"),
            (b"\0{\0}", utf16, false, "UTF-16BE", "RFC 2781 4.3"),
            (b"\xff\xfe<\0", None, true, "UTF-16LE", "XML 1.0 F.1"),
            (b"<\0a\0", None, true, "UTF-16LE", "XML 1.0 F.1"),
            (b"\0<\0a", None, true, "UTF-16BE", "XML 1.0 F.1"),
            (b"<a/>", None, true, "UTF-8", "XML 1.0 4.3.3"),
            (
                b"<?xml version='1.0' encoding='windows-1251'?><a/>",
                None,
                true,
                "windows-1251",
                "XML 1.0 4.3.3",
            ),
            (
                b"<?xml version=\"1.0\" encoding = \"koi8-r\" standalone='yes' ?><a/>",
                None,
                true,
                "KOI8-R",
                "XML 1.0 4.3.3",
            ),
            (
                b"<?xml version='1.0' encoding='windows-1251'?><a/>",
                koi8,
                true,
                "KOI8-R",
                "RFC 7303 3",
            ),
            (
                b"<?xml version='1.0' encoding='utf-16'?><a/>",
                None,
                true,
                "UTF-8",
                ".NET StringWriter",
            ),
            (
                b"<a>encoding='koi8-r'?></a>",
                None,
                true,
                "UTF-8",
                "no declaration",
            ),
        ] {
            assert_eq!(
                of(bytes, declared, is_xml).unwrap().name(),
                name,
                "{}",
                String::from_utf8_lossy(bytes)
            );
        }
        let unknown = of(b"<?xml version='1.0' encoding='klingon'?><a/>", None, true);
        assert!(matches!(unknown, Err(Unknown::Charset(_))));
    }

    #[test]
    fn texts_become_utf8() {
        for (charset, bytes, expected) in [
            ("windows-1251", &b"\xc8\xe2\xe0\xed"[..], "Иван"),
            ("koi8-r", b"\xe9\xd7\xc1\xce", "Иван"),
            ("iso-8859-1", b"Ren\xe9", "René"),
            ("iso-8859-1", b"plain", "plain"),
            ("shift_jis", b"\x93\xfa\x96{", "日本"),
            ("gbk", b"\xd6\xd0\xb9\xfa", "中国"),
            ("iso-2022-jp", b"\x1b$BF|K\\\x1b(B", "日本"),
            ("utf-16le", b"\xff\xfeA\0\x3d\xd8\x00\xde", "A😀"),
            ("utf-16be", b"\0A\x04\x16", "AЖ"),
        ] {
            assert_eq!(text(charset, bytes).as_deref(), Ok(expected), "{charset}");
        }
    }

    #[test]
    fn bytes_that_mean_nothing_are_told_by_their_place() {
        for (charset, bytes, position) in [
            ("utf-16le", &b"A\0\x3d\xd8B\0"[..], 3),
            ("utf-16le", b"\xff\xfeA\0B", 5),
            ("shift_jis", b"ab\xff", 3),
            ("windows-1253", b"a\xaab", 2),
        ] {
            let malformed = text(charset, bytes).unwrap_err();
            assert!(
                matches!(malformed, NoText::Malformed { position: at, .. } if at == position),
                "{charset}: {malformed:?}"
            );
        }
    }

    #[test]
    fn a_text_is_as_long_as_it_may_be() {
        let bytes = vec![0xb6; 1000];
        let limited = |limit| utf8(encoding_rs::KOI8_R, Cow::Borrowed(&bytes), limit);
        assert_eq!(limited(3000).unwrap().len(), 3000);
        assert_eq!(limited(2999).unwrap_err(), NoText::TooLarge);
    }
}
