//! Bodies that are packed, or in another character set than UTF-8.

use jiff::Timestamp;
use testkit::packing::{bare_deflate, gzip, gzip_by, zlib, zstd};

use super::*;
use crate::domain::identity::IdSource;
use crate::pipeline::decide::tests::{NOW, addition, decide_with, directory, refusal};
use crate::pipeline::decide::{READ_AT_ONCE_MAX, Rules, decide, identity_of_unnamed};

const JSON: &str = r#"{"token":"one","db_id":1,"data":{"_fname":"Иван"}}"#;
const XML: &str = "<xml><token>one</token><db_id>1</db_id><data><_fname>Иван</_fname></data></xml>";

fn in_charset(label: &str, body: &str) -> Vec<u8> {
    let charset = encoding_rs::Encoding::for_label(label.as_bytes()).unwrap();
    let (bytes, _, has_other_characters) = charset.encode(body);
    assert!(!has_other_characters, "{label}");
    bytes.into_owned()
}

fn utf16(body: &str, to_bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
    body.encode_utf16().flat_map(to_bytes).collect()
}

fn encoded(content_encoding: &str) -> Properties<'_> {
    Properties {
        content_encoding: Some(content_encoding),
        ..Properties::default()
    }
}

fn typed(content_type: &str) -> Properties<'_> {
    Properties {
        content_type: Some(content_type),
        ..Properties::default()
    }
}

fn fname(body: &[u8], properties: &Properties<'_>) -> String {
    addition(decide_with(body, properties))
        .profile
        .data
        .as_str()
        .to_owned()
}

#[test]
fn packed_bodies_are_read_in_both_formats() {
    for body in [JSON, XML].map(str::as_bytes) {
        for (packed, content_encoding, compression) in [
            (gzip(body), "gzip", None),
            (gzip_by(body, 0), "GZIP", None),
            (gzip(body), "gzip:UTF-8", None),
            (gzip(body), "gzip, UTF-8", None),
            (zlib(body), "deflate", None),
            (bare_deflate(body), "deflate", None),
            (zstd(body), "zstd", None),
            (zlib(body), "utf-8", Some("application/x-gzip")),
            (zstd(body), "utf-8", Some("application/zstd")),
            (body.to_vec(), "identity", None),
            (body.to_vec(), "utf-8", None),
            (body.to_vec(), "binary", None),
        ] {
            let properties = Properties {
                content_encoding: Some(content_encoding),
                compression,
                ..Properties::default()
            };
            let decision = decide_with(&packed, &properties);
            assert_eq!(
                decision.format,
                Format::of(None, body),
                "{content_encoding}"
            );
            assert_eq!(
                addition(decision).profile.data.as_str(),
                r#"{"_fname":"Иван"}"#,
                "{content_encoding}"
            );
        }
    }
}

#[test]
fn error_400_packed_bodies_that_cant_be_unpacked_are_dead_lettered() {
    let gzipped = gzip(JSON.as_bytes());
    for (body, content_encoding, text) in [
        (
            JSON.as_bytes(),
            "gzip",
            "the body is not gzip: it does not begin as that does",
        ),
        (
            &gzipped[..30],
            "gzip",
            "the body is not gzip: it ends too early",
        ),
        (
            &gzipped,
            "zstd",
            "the body is not zstd: it does not begin as that does",
        ),
        (
            JSON.as_bytes(),
            "br",
            "the content_encoding br is not known; gzip, deflate and zstd are",
        ),
        (b"", "gzip", "the body is empty"),
    ] {
        assert_eq!(
            refusal(decide_with(body, &encoded(content_encoding))),
            (400, format!("not a readable request: {text}"), true)
        );
    }
    // The reply has the declared format all the same.
    let xml = Properties {
        content_type: Some("text/xml"),
        ..encoded("gzip")
    };
    assert_eq!(decide_with(b"", &xml).format, Format::Xml);
}

/// The limit is 4096 bytes here.
#[test]
fn error_413_what_unpacks_to_too_much_is_answered_only() {
    let blanks = " ".repeat(4096 - JSON.len());
    let fits = format!("{JSON}{blanks}");
    let bomb = format!("{JSON}{blanks} ");
    for pack in [
        |body: &[u8]| gzip(body),
        |body: &[u8]| zstd(body),
        |body: &[u8]| zlib(body),
    ] {
        let content_encoding = match pack(b"")[0] {
            0x1f => "gzip",
            0x28 => "zstd",
            _ => "deflate",
        };
        fname(&pack(fits.as_bytes()), &encoded(content_encoding));
        assert_eq!(
            refusal(decide_with(
                &pack(bomb.as_bytes()),
                &encoded(content_encoding)
            )),
            (
                413,
                "the body unpacks to more than 4096 bytes".to_owned(),
                false
            )
        );
    }
    let packed = gzip_by(bomb.as_bytes(), 0);
    assert_eq!(
        refusal(decide_with(&packed, &encoded("gzip"))),
        (413, "the body is larger than 4096 bytes".to_owned(), false)
    );
    let koi8 = typed("application/json; charset=koi8-r");
    let long = in_charset("koi8-r", &format!("\"{}\"", "ж".repeat(2048)));
    assert_eq!(
        refusal(decide_with(&long, &koi8)),
        (
            413,
            "the body takes more than 4096 bytes in UTF-8".to_owned(),
            false
        )
    );
}

#[test]
fn a_request_packed_in_another_way_is_the_same_request() {
    let id_of = |body: &[u8], properties: Properties<'_>| {
        let properties = Properties {
            message_id: Some(b"m"),
            ..properties
        };
        addition(decide_with(body, &properties)).profile.request_id
    };
    let plain = id_of(JSON.as_bytes(), Properties::default());
    for (packed, content_encoding) in [
        (gzip_by(JSON.as_bytes(), 1), "gzip"),
        (gzip_by(JSON.as_bytes(), 9), "gzip"),
        (zlib(JSON.as_bytes()), "deflate"),
        (zstd(JSON.as_bytes()), "zstd"),
    ] {
        assert_eq!(id_of(&packed, encoded(content_encoding)), plain);
    }
    // Before its text was brought to UTF-8.
    let cyrillic = in_charset("windows-1251", JSON);
    let declared = id_of(&cyrillic, encoded("windows-1251"));
    assert_eq!(
        id_of(&gzip(&cyrillic), encoded("gzip:windows-1251")),
        declared
    );
    assert_ne!(declared, plain);
}

/// It is the same message, whose bytes are the same.
#[test]
fn a_redelivered_packed_request_without_a_name_knows_itself() {
    let packed = gzip(JSON.as_bytes());
    let properties = Properties {
        redelivered: Some(b"p"),
        ..encoded("gzip")
    };
    assert_eq!(
        addition(decide_with(&packed, &properties))
            .profile
            .request_id,
        Some(identity_of_unnamed(b"p", &packed).profile(0))
    );
}

#[test]
fn bodies_are_read_in_the_charset_that_they_declare() {
    let xml_in = |name: &str| format!("<?xml version='1.0' encoding='{name}'?>{XML}");
    for (body, properties, source) in [
        (
            in_charset("windows-1251", JSON),
            typed("application/json; charset=windows-1251"),
            "field-cases 52",
        ),
        (
            in_charset("koi8-r", JSON),
            typed("application/json;charset='KOI8-R'"),
            "quotes",
        ),
        (
            in_charset("windows-1251", JSON),
            encoded("windows-1251"),
            "smallrye#3370",
        ),
        (
            in_charset("iso-8859-5", XML),
            typed("text/xml; charset=iso-8859-5"),
            "RFC 7303",
        ),
        (
            in_charset("windows-1251", &xml_in("windows-1251")),
            Properties::default(),
            "XML 1.0 4.3.3",
        ),
        (
            in_charset("gbk", &xml_in("windows-1251")),
            typed("text/xml; charset=gbk"),
            "RFC 7303 3: charset over declaration",
        ),
        (
            xml_in("utf-16").into_bytes(),
            Properties::default(),
            ".NET StringWriter",
        ),
        (
            utf16(&format!("\u{feff}{}", xml_in("utf-16")), u16::to_le_bytes),
            Properties::default(),
            "RFC 7303 3: byte order mark",
        ),
        (
            utf16(XML, u16::to_be_bytes),
            Properties::default(),
            "XML 1.0 F.1",
        ),
        (
            utf16(JSON, u16::to_le_bytes),
            typed("application/json; charset=utf-16le"),
            "RFC 2781",
        ),
        (
            utf16(&format!("\u{feff}{JSON}"), u16::to_be_bytes),
            typed("application/json; charset=utf-16"),
            "Java's UTF-16",
        ),
        (
            format!("\u{feff}{JSON}").into_bytes(),
            typed("application/json; charset=windows-1251"),
            "RFC 7303 3: byte order mark",
        ),
        (
            JSON.as_bytes().to_vec(),
            typed("application/json; charset=utf8mb4"),
            "MySQL",
        ),
        (
            JSON.as_bytes().to_vec(),
            typed("application/json; charset="),
            "empty",
        ),
        (
            JSON.as_bytes().to_vec(),
            typed("application/json; charset=us-ascii"),
            "ASCII",
        ),
        (
            gzip(&in_charset("koi8-r", XML)),
            encoded("gzip:koi8-r"),
            "spring-amqp",
        ),
    ] {
        assert_eq!(
            fname(&body, &properties),
            r#"{"_fname":"Иван"}"#,
            "{source}"
        );
    }
    // ASCII is the same in all of these (field-cases 55).
    for charset in ["iso-8859-1", "windows-1252", "shift_jis", "gbk", "utf-8"] {
        let content_type = format!("application/json; charset={charset}");
        fname(br#"{"token":"one","db_id":1}"#, &typed(&content_type));
    }
}

#[test]
fn error_400_texts_name_the_charset_and_the_place() {
    let json = |charset: &'static str| Properties {
        content_type: Some(charset),
        ..Properties::default()
    };
    for (body, properties, text) in [
        (
            &b"{\"db_id\":\xff}"[..],
            json("application/json; charset=shift_jis"),
            "the body is not Shift_JIS at byte 10",
        ),
        (
            b"{}",
            json("application/json; charset=utf-7"),
            "the charset utf-7 is not known; the best one is UTF-8",
        ),
        (
            b"<?xml version='1.0' encoding='ebcdic'?><xml/>",
            Properties::default(),
            "the charset ebcdic is not known; the best one is UTF-8",
        ),
        (
            b"{\"a\":\"\xe9\"}",
            json("application/json; charset=utf-8"),
            "the body is not UTF-8 at byte 7: declare its charset in content_type",
        ),
    ] {
        assert_eq!(
            refusal(decide_with(body, &properties)),
            (400, format!("not a readable request: {text}"), true)
        );
    }
}

/// Over 16 KiB a body is read twice.
#[test]
fn a_large_packed_body_in_another_charset_is_read() {
    let directory = directory();
    let rules = Rules {
        directory: &directory,
        ids: &IdSource::from_random([7; 8]),
        now: Timestamp::from_second(NOW).unwrap(),
        body_max: 1 << 20,
        warns: false,
    };
    let body = format!("{}{JSON}", " ".repeat(2 * READ_AT_ONCE_MAX));
    let packed = zstd(&in_charset("windows-1251", &body));
    let decision = decide(&packed, &encoded("zstd:windows-1251"), &rules);
    assert_eq!(decision.text_bytes, body.len());
    assert_eq!(
        addition(decision).profile.data.as_str(),
        r#"{"_fname":"Иван"}"#
    );
}

/// What is no JSON is a dead letter, and an envelope is an answer only; both are told what they
/// seem to be.
#[test]
fn error_400_texts_hint_at_what_a_body_seems_to_be() {
    for (body, text, is_dead_letter) in [
        (
            r#"{"token":"one","db_id":1,"data":{"a":NaN}}"#,
            "not a readable request: the body is not JSON at line 1, column 38; \
             JSON has no NaN and no Infinity; send null, or leave it out",
            true,
        ),
        (
            r#"[[],{"db_id":1},{}]"#,
            "not a readable request: the body is an array, not an object; \
             this looks like a task of Celery, see docs/producers.md#celery",
            true,
        ),
        (
            r#"{"pattern":"add","data":{"db_id":1},"id":"x"}"#,
            "db_id: is missing; this looks like an envelope of NestJS, see docs/producers.md#nestjs",
            false,
        ),
        (
            r#"{"messageType":["urn:message:A"],"message":{"db_id":1}}"#,
            "db_id: is missing; \
             this looks like an envelope of MassTransit, see docs/producers.md#masstransit",
            false,
        ),
        (r#"{"message":"x"}"#, "db_id: is missing", false),
    ] {
        assert_eq!(
            refusal(decide_with(body.as_bytes(), &Properties::default())),
            (400, text.to_owned(), is_dead_letter)
        );
    }
}
