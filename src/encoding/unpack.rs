//! Unpacking, within limits: of memory by the size of what comes out, of time by the size of both.
//!
//! Whatever is packed, 10 MiB of it take less than a second (`benches/worst_case`): a stream of
//! empty blocks is the worst that there is.

use std::fmt;
use std::io::{self, Read};

use flate2::bufread::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};

use super::coding::Coding;
use super::zstd_frames::{BLOCKS_MAX, Frames, WINDOW_LOG_MAX};

/// Why a body can't be unpacked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotUnpacked {
    /// It is no such stream.
    #[error("the body is not {coding}: {why}")]
    Broken {
        /// The name of the coding that it should have.
        coding: &'static str,
        /// What is wrong with it.
        why: Flaw,
    },
    /// It is such a stream, which takes more memory or time than it may.
    #[error("the {coding} body has {what}")]
    TooMuch {
        /// The name of its coding.
        coding: &'static str,
        /// Of what it has too much.
        what: Excess,
    },
    /// It unpacks to more than the limit.
    #[error("it unpacks to more than it may")]
    TooLarge,
}

/// What is wrong with a packed body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// It begins in another way.
    Begins,
    /// The end is missing.
    Ends,
    /// A block or a checksum is wrong, behind so many unpacked bytes.
    Damaged(usize),
    /// There is more behind its end.
    Trailing,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Begins => f.write_str("it does not begin as that does"),
            Self::Ends => f.write_str("it ends too early"),
            Self::Damaged(at) => write!(f, "it is damaged after {at} unpacked bytes"),
            Self::Trailing => f.write_str("something else follows its end"),
        }
    }
}

/// What a packed body has too much of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Excess {
    /// The window that zstd looks back into.
    Window,
    /// Blocks.
    Blocks,
}

impl fmt::Display for Excess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Window => write!(f, "a window of more than {} bytes", 1 << WINDOW_LOG_MAX),
            Self::Blocks => write!(f, "more than {BLOCKS_MAX} blocks"),
        }
    }
}

/// Unpacks a body to at most `limit` bytes.
pub fn unpack(coding: Coding, packed: &[u8], limit: usize) -> Result<Vec<u8>, NotUnpacked> {
    let mut unpacked = Vec::new();
    unpack_into(coding, packed, limit, |part| {
        unpacked.extend_from_slice(part)
    })?;
    Ok(unpacked)
}

/// Counts what a body unpacks to, and keeps nothing of it: `None` if that is `limit` bytes or more,
/// or if it would take longer than it is worth. Of one that is broken the bytes before that count.
pub fn unpacked_size(coding: Coding, packed: &[u8], limit: usize) -> Option<usize> {
    if coding == Coding::Zstd && Frames::of(packed).blocks > packed.len() / 100 + 10 {
        return None;
    }
    let mut size = 0;
    let counted = unpack_into(coding, packed, limit, |part| size += part.len());
    (counted != Err(NotUnpacked::TooLarge) && size < limit).then_some(size)
}

fn unpack_into(
    coding: Coding,
    packed: &[u8],
    limit: usize,
    add: impl FnMut(&[u8]),
) -> Result<(), NotUnpacked> {
    let mut sink = Sink {
        coding: coding.name(),
        limit,
        size: 0,
        add,
    };
    let has_gzips_magic = packed.starts_with(&[0x1f, 0x8b]);
    match coding {
        Coding::Gzip if !has_gzips_magic => Err(sink.broken(Flaw::Begins)),
        Coding::Gzip => sink.take(MultiGzDecoder::new(packed)).map(drop),
        Coding::ZlibOrGzip if has_gzips_magic => sink.take(MultiGzDecoder::new(packed)).map(drop),
        Coding::ZlibOrGzip if !begins_as_zlib(packed) => Err(sink.broken(Flaw::Begins)),
        Coding::Deflate if !begins_as_zlib(packed) => {
            let rest = sink.take(DeflateDecoder::new(packed))?.into_inner();
            sink.has_ended(rest)
        }
        Coding::Deflate | Coding::ZlibOrGzip => {
            let rest = sink.take(ZlibDecoder::new(packed))?.into_inner();
            sink.has_ended(rest)
        }
        Coding::Zstd => {
            sink.may_take(&Frames::of(packed))?;
            let decoder = zstd::stream::read::Decoder::with_buffer(packed);
            let decoder = decoder.and_then(|mut decoder| {
                decoder.window_log_max(WINDOW_LOG_MAX)?;
                Ok(decoder)
            });
            let decoder = decoder.map_err(|error| sink.failed(&error))?;
            sink.take(decoder).map(drop)
        }
    }
}

/// RFC 1950, 2.2: the method is deflate, and the first two bytes are a multiple of 31. No bare
/// stream of deflate begins so: its first block would have to be a stored one, filled up with other
/// bits than zeros.
fn begins_as_zlib(packed: &[u8]) -> bool {
    match packed {
        [first, second, ..] => {
            first & 0x0f == 8 && u16::from_be_bytes([*first, *second]).is_multiple_of(31)
        }
        _ => false,
    }
}

/// Where unpacked bytes go.
struct Sink<A> {
    coding: &'static str,
    limit: usize,
    size: usize,
    add: A,
}

impl<A: FnMut(&[u8])> Sink<A> {
    /// Takes all that comes out of a decoder, and gives that back.
    fn take<D: Read>(&mut self, mut decoder: D) -> Result<D, NotUnpacked> {
        let mut part = [0; 16 * 1024];
        loop {
            let length = decoder
                .read(&mut part)
                .map_err(|error| self.failed(&error))?;
            if length == 0 {
                return Ok(decoder);
            }
            self.size += length;
            if self.size > self.limit {
                return Err(NotUnpacked::TooLarge);
            }
            (self.add)(&part[..length]);
        }
    }

    fn has_ended(&self, rest: &[u8]) -> Result<(), NotUnpacked> {
        if rest.is_empty() {
            Ok(())
        } else {
            Err(self.broken(Flaw::Trailing))
        }
    }

    fn may_take(&self, frames: &Frames) -> Result<(), NotUnpacked> {
        let what = if frames.largest_window > 1 << WINDOW_LOG_MAX {
            Excess::Window
        } else if frames.blocks > BLOCKS_MAX {
            Excess::Blocks
        } else {
            return Ok(());
        };
        Err(NotUnpacked::TooMuch {
            coding: self.coding,
            what,
        })
    }

    fn failed(&self, error: &io::Error) -> NotUnpacked {
        self.broken(match error.kind() {
            io::ErrorKind::UnexpectedEof => Flaw::Ends,
            _ if self.size == 0 => Flaw::Begins,
            _ => Flaw::Damaged(self.size),
        })
    }

    fn broken(&self, why: Flaw) -> NotUnpacked {
        NotUnpacked::Broken {
            coding: self.coding,
            why,
        }
    }
}

#[cfg(test)]
mod tests {
    use testkit::packing::{bare_deflate, gzip, zlib, zstd};

    use super::*;

    const TEXT: &[u8] = br#"{"token":"one","db_id":1,"data":{"email":"joe@example.com"}}"#;

    fn packed(coding: Coding, plain: &[u8]) -> Vec<u8> {
        match coding {
            Coding::Gzip => gzip(plain),
            Coding::Deflate => bare_deflate(plain),
            Coding::ZlibOrGzip => zlib(plain),
            Coding::Zstd => zstd(plain),
        }
    }

    const ALL: [Coding; 4] = [
        Coding::Gzip,
        Coding::Deflate,
        Coding::ZlibOrGzip,
        Coding::Zstd,
    ];

    fn flaw(coding: Coding, packed: &[u8]) -> String {
        unpack(coding, packed, 1 << 20).unwrap_err().to_string()
    }

    #[test]
    fn what_was_packed_is_unpacked() {
        let long = TEXT.repeat(10_000);
        for plain in [TEXT, b"", b"x", &long] {
            for coding in ALL {
                let unpacked = unpack(coding, &packed(coding, plain), plain.len());
                assert_eq!(unpacked.as_deref(), Ok(plain), "{coding:?}");
            }
            // RFC 9110, 8.4.1.2: deflate is zlib's format, and many send it bare.
            let zlib = packed(Coding::ZlibOrGzip, plain);
            assert_eq!(
                unpack(Coding::Deflate, &zlib, plain.len()).as_deref(),
                Ok(plain)
            );
            let gzip = packed(Coding::Gzip, plain);
            assert_eq!(
                unpack(Coding::ZlibOrGzip, &gzip, plain.len()).as_deref(),
                Ok(plain)
            );
        }
    }

    #[test]
    fn members_and_frames_follow_each_other() {
        for coding in [Coding::Gzip, Coding::Zstd] {
            let both = [packed(coding, b"{}"), packed(coding, b" \n")].concat();
            assert_eq!(unpack(coding, &both, 10).as_deref(), Ok(&b"{} \n"[..]));
        }
        // RFC 8878, 3.1.2
        let skippable = [
            &b"\x50\x2a\x4d\x18\x02\0\0\0xy"[..],
            &packed(Coding::Zstd, b"{}"),
        ];
        let skippable = skippable.concat();
        assert_eq!(
            unpack(Coding::Zstd, &skippable, 10).as_deref(),
            Ok(&b"{}"[..])
        );
    }

    #[test]
    fn what_is_cut_off_damaged_or_followed_by_something_is_refused() {
        for coding in ALL {
            let whole = packed(coding, TEXT);
            let name = coding.name();
            for length in 1..whole.len() {
                let text = flaw(coding, &whole[..length]);
                assert!(
                    text == format!("the body is not {name}: it ends too early")
                        || (length < 4 && text.ends_with("it does not begin as that does")),
                    "{coding:?} {length}: {text}"
                );
            }
            let followed = [&whole[..], b"xyz"].concat();
            assert!(unpack(coding, &followed, 1 << 20).is_err(), "{coding:?}");
            let mut damaged = whole.clone();
            let middle = damaged.len() / 2;
            damaged[middle] ^= 0xff;
            // The others have no checksum.
            if matches!(coding, Coding::Gzip | Coding::ZlibOrGzip) {
                assert!(unpack(coding, &damaged, 1 << 20).is_err(), "{coding:?}");
            }
        }
        for (coding, packed, text) in [
            (
                Coding::Gzip,
                TEXT,
                "the body is not gzip: it does not begin as that does",
            ),
            (
                Coding::Zstd,
                TEXT,
                "the body is not zstd: it does not begin as that does",
            ),
            (
                Coding::Deflate,
                TEXT,
                "the body is not deflate: it does not begin as that does",
            ),
            (
                Coding::ZlibOrGzip,
                TEXT,
                "the body is not zlib: it does not begin as that does",
            ),
        ] {
            assert_eq!(flaw(coding, packed), text);
        }
        let followed = [&packed(Coding::ZlibOrGzip, TEXT)[..], b"x"].concat();
        assert_eq!(
            flaw(Coding::Deflate, &followed),
            "the body is not deflate: something else follows its end"
        );
    }

    #[test]
    fn unpacking_stops_at_the_limit() {
        let plain = vec![b' '; 100_000];
        for coding in ALL {
            let bomb = packed(coding, &plain);
            assert_eq!(unpack(coding, &bomb, 99_999), Err(NotUnpacked::TooLarge));
            assert_eq!(unpacked_size(coding, &bomb, 100_000), None);
            assert_eq!(unpacked_size(coding, &bomb, 100_001), Some(100_000));
            assert_eq!(unpacked_size(coding, b"", 1), Some(0));
        }
    }

    #[test]
    fn windows_and_blocks_of_zstd_have_limits() {
        let head = b"\x28\xb5\x2f\xfd\x00";
        let window = [&head[..], &[(13 << 3) + 1, 1, 0, 0]].concat();
        assert_eq!(
            flaw(Coding::Zstd, &window),
            "the zstd body has a window of more than 8388608 bytes"
        );
        let mut blocks = [&head[..], &[0]].concat();
        blocks.resize(3 * BLOCKS_MAX + 10, 0);
        assert_eq!(unpacked_size(Coding::Zstd, &blocks[..1000], 1000), None);
        assert_eq!(
            flaw(Coding::Zstd, &blocks),
            "the zstd body has more than 100000 blocks"
        );
    }
}
