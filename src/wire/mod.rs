//! Bytes ⇄ domain. Each format turns a body into the same tree of values and a reply into bytes;
//! everything between the two is the same for all of them.

pub mod json;
pub mod reply;
pub mod request;

/// How deep a document may be nested, the outermost object included.
pub const DEPTH_MAX: usize = 64;

/// Why a body is no document of its format. Such a message is dead-lettered.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// Not UTF-8, or declared to be something else.
    #[error("the body is not UTF-8")]
    NotUtf8,
    /// A syntax error, with its place where the format's reader tells it.
    #[error("{0}")]
    Syntax(String),
    /// Nested deeper than [`DEPTH_MAX`].
    #[error("nested deeper than {DEPTH_MAX} levels")]
    TooDeep,
    /// A document, but not an object.
    #[error("the body is {0}, not an object")]
    NotAnObject(&'static str),
}

/// The charset that a content type declares, if it is one that we can't read.
pub fn is_foreign_charset(content_type: &str) -> bool {
    content_type
        .split(';')
        .skip(1)
        .filter_map(|parameter| parameter.split_once('='))
        .filter(|(name, _)| name.trim().eq_ignore_ascii_case("charset"))
        .any(|(_, value)| {
            let charset = value.trim().trim_matches('"');
            !["utf-8", "utf8", "us-ascii"].iter().any(|known| charset.eq_ignore_ascii_case(known))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_utf8_is_read() {
        for known in ["application/json", "application/json; charset=utf-8", "text/json;charset=\"UTF-8\""] {
            assert!(!is_foreign_charset(known), "{known}");
        }
        assert!(is_foreign_charset("application/json; charset=windows-1251"));
    }
}
