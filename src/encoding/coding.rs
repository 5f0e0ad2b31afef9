//! How a body is packed.

/// How a body is packed: the content codings of RFC 9110, 8.4.1, and RFC 8878.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// gzip (RFC 1952): any number of members.
    Gzip,
    /// deflate (RFC 1951), in the format of zlib (RFC 1950) or bare, as both are sent by this name.
    Deflate,
    /// zstd (RFC 8878): any number of frames.
    Zstd,
    /// What kombu calls `application/x-gzip`: written by zlib, but gzip is understood, too.
    ZlibOrGzip,
}

impl Coding {
    /// Its name, for people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Zstd => "zstd",
            Self::ZlibOrGzip => "zlib",
        }
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        const NAMES: [(&str, Coding); 4] = [
            ("gzip", Coding::Gzip),
            ("x-gzip", Coding::Gzip),
            ("deflate", Coding::Deflate),
            ("zstd", Coding::Zstd),
        ];
        let is_it = |(known, _): &&(&str, Self)| known.eq_ignore_ascii_case(name);
        NAMES.iter().find(is_it).map(|(_, coding)| *coding)
    }

    /// The coding that kombu's header `compression` names.
    pub(super) fn of_kombu(name: &str) -> Option<Self> {
        match name {
            "application/x-gzip" => Some(Self::ZlibOrGzip),
            "application/zstd" => Some(Self::Zstd),
            _ => None,
        }
    }
}
