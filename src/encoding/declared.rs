//! What a message says of its body's bytes, in its properties.

use super::charset::{self, Charset};
use super::coding::Coding;
use super::unknown::Unknown;

/// Names that say that a body is not packed: RFC 9110, 8.4.1 and RFC 2045, 6.1, which kombu writes.
const PLAIN: [&str; 4] = ["identity", "binary", "8bit", "7bit"];

/// What a message says of its body's bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Declared {
    /// How they are packed.
    pub coding: Option<Coding>,
    /// The character set of what was packed.
    pub charset: Option<Charset>,
}

impl Declared {
    /// Reads the properties `content_type` and `content_encoding`, and kombu's header
    /// `compression`. The content type's charset wins over one in the content encoding, where
    /// Spring AMQP and kombu put it.
    pub fn read(
        content_type: Option<&str>,
        content_encoding: Option<&str>,
        compression: Option<&str>,
    ) -> Result<Self, Unknown> {
        let mut declared = match content_encoding {
            Some(text) => Self::of_content_encoding(text)?,
            None => Self::default(),
        };
        if let Some(text) = compression {
            declared.add_compression(text)?;
        }
        if let Some(charset) = content_type.map_or(Ok(None), charset::of_content_type)? {
            declared.charset = Some(charset);
        }
        Ok(declared)
    }

    /// A list of names. Spring AMQP writes `gzip, UTF-8`, and before 2.3 `gzip:UTF-8`.
    fn of_content_encoding(text: &str) -> Result<Self, Unknown> {
        let mut declared = Self::default();
        for name in text.split([',', ':']).map(charset::unquoted) {
            if name.is_empty() || PLAIN.iter().any(|plain| plain.eq_ignore_ascii_case(name)) {
                continue;
            }
            if let Some(coding) = Coding::named(name) {
                declared.add(coding)?;
            } else {
                let charset = charset::named(name);
                declared.charset = Some(charset.ok_or_else(|| Unknown::Coding(name.into()))?);
            }
        }
        Ok(declared)
    }

    /// Others use a header of this name for other things; kombu's values are content types.
    fn add_compression(&mut self, text: &str) -> Result<(), Unknown> {
        if !text.starts_with("application/") {
            return Ok(());
        }
        let coding = Coding::of_kombu(text);
        self.add(coding.ok_or_else(|| Unknown::Compression(text.into()))?)
    }

    fn add(&mut self, coding: Coding) -> Result<(), Unknown> {
        match self.coding.replace(coding) {
            None => Ok(()),
            Some(other) => Err(Unknown::TwoCodings(other.name(), coding.name())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is declared, in short.
    fn read(content_type: &str, content_encoding: &str, compression: &str) -> String {
        let given = |text| Some(text).filter(|text: &&str| !text.is_empty());
        let declared = Declared::read(
            given(content_type),
            given(content_encoding),
            given(compression),
        );
        match declared {
            Ok(Declared { coding, charset }) => format!(
                "{} {}",
                coding.map_or("-", Coding::name),
                charset.map_or("-", |charset| charset.name())
            ),
            Err(unknown) => unknown.to_string(),
        }
    }

    #[test]
    fn content_encodings_are_read_as_clients_write_them() {
        for (content_encoding, declared, _source) in [
            ("", "- -", "none"),
            ("gzip", "gzip -", "RFC 9110 8.4.1.3"),
            ("x-gzip", "gzip -", "RFC 9110 8.4.1.3"),
            ("GZIP", "gzip -", "RFC 9110 8.4.1: case-insensitive"),
            (" gzip ", "gzip -", "blanks"),
            ("deflate", "deflate -", "RFC 9110 8.4.1.2"),
            ("zstd", "zstd -", "RFC 8878 7.2"),
            ("identity", "- -", "RFC 9110 12.5.3"),
            ("identity, gzip", "gzip -", "RFC 9110 8.4"),
            ("binary", "- -", "kombu of bytes"),
            ("utf-8", "- UTF-8", "kombu of texts, celery#4917"),
            ("UTF-8", "- UTF-8", "spring-amqp SimpleMessageConverter"),
            ("windows-1251", "- windows-1251", "smallrye#3370"),
            ("gzip:UTF-8", "gzip UTF-8", "spring-amqp before 2.3, #1251"),
            ("gzip, UTF-8", "gzip UTF-8", "spring-amqp since 2.3"),
            ("gzip:", "gzip -", "an empty name"),
            (
                "br",
                "the content_encoding br is not known; gzip, deflate and zstd are",
                "RFC 7932",
            ),
            (
                "base64",
                "the content_encoding base64 is not known; gzip, deflate and zstd are",
                "RFC 2045 6.8",
            ),
            (
                "zip:UTF-8",
                "the content_encoding zip is not known; gzip, deflate and zstd are",
                "spring-amqp ZipPostProcessor",
            ),
            (
                "gzip, deflate",
                "the content_encoding has gzip and deflate; pack the body once",
                "RFC 9110 8.4 and spring-amqp have them in opposite orders",
            ),
            (
                "gzip\r\n<b>",
                "the content_encoding gzip???b? is not known; gzip, deflate and zstd are",
                "hostile",
            ),
        ] {
            assert_eq!(
                read("", content_encoding, ""),
                declared,
                "{content_encoding}"
            );
        }
        let long = "x".repeat(255);
        assert!(read("", &long, "").len() < 120);
    }

    #[test]
    fn the_compression_header_of_kombu_is_read() {
        for (content_encoding, compression, declared) in [
            ("utf-8", "application/x-gzip", "zlib UTF-8"),
            ("binary", "application/zstd", "zstd -"),
            ("", "none", "- -"),
            ("", "gzip", "- -"),
            (
                "utf-8",
                "application/x-bz2",
                "the compression application/x-bz2 is not known; \
                 application/x-gzip and application/zstd are",
            ),
            (
                "gzip",
                "application/x-gzip",
                "the content_encoding has gzip and zlib; pack the body once",
            ),
        ] {
            assert_eq!(read("", content_encoding, compression), declared);
        }
    }

    #[test]
    fn the_content_types_charset_wins() {
        assert_eq!(
            read("application/json; charset=koi8-r", "gzip:UTF-8", ""),
            "gzip KOI8-R"
        );
        assert_eq!(
            read("application/json; charset=klingon", "", ""),
            "the charset klingon is not known; the best one is UTF-8"
        );
    }
}
