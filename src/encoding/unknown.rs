//! What is declared and nobody knows.

use std::fmt;

/// A declaration that we can't follow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unknown {
    /// The name of neither a coding nor a character set.
    #[error("the content_encoding {0} is not known; gzip, deflate and zstd are")]
    Coding(ShownName),
    /// In kombu's header.
    #[error("the compression {0} is not known; application/x-gzip and application/zstd are")]
    Compression(ShownName),
    /// Clients do not agree on which is the outer one.
    #[error("the content_encoding has {0} and {1}; pack the body once")]
    TwoCodings(&'static str, &'static str),
    /// A character set, of the content type, the content encoding or the XML declaration.
    #[error("the charset {0} is not known; the best one is UTF-8")]
    Charset(ShownName),
}

/// The longest name that a text repeats.
const SHOWN_MAX: usize = 40;

/// A name as a text repeats it, to somebody who may not have a token: as long as names are, and of
/// no other characters than they have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownName(String);

impl From<&str> for ShownName {
    fn from(name: &str) -> Self {
        let shown = |c: char| match c {
            c if c.is_ascii_alphanumeric() || "-_.+/:".contains(c) => c,
            _ => '?',
        };
        let mut text: String = name.chars().take(SHOWN_MAX).map(shown).collect();
        if name.chars().nth(SHOWN_MAX).is_some() {
            text.push('…');
        }
        Self(text)
    }
}

impl fmt::Display for ShownName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
