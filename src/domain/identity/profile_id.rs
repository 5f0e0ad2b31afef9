//! The ids of profiles, and how they are made.

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::domain::hex::Hex;

/// A profile's id: 12 bytes in ObjectId layout, written as 24 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProfileId([u8; 12]);

impl ProfileId {
    /// Reads the 24 hex digits; `None` if they are not that.
    pub fn parse(hex: &str) -> Option<Self> {
        let digits = hex.as_bytes();
        if digits.len() != 24 {
            return None;
        }
        let mut bytes = [0; 12];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let high = char::from(pair[0]).to_digit(16)?;
            let low = char::from(pair[1]).to_digit(16)?;
            *byte = u8::try_from(high * 16 + low).ok()?;
        }
        Some(Self(bytes))
    }

    /// Writes the 24 hex digits.
    pub fn hex(&self) -> Hex<24> {
        Hex::of(&self.0)
    }
}

impl fmt::Display for ProfileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.hex().as_str())
    }
}

impl fmt::Debug for ProfileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A source of ids that no other process makes: seconds, five random bytes of this process, a
/// counter (the layout of MongoDB's ObjectId). Shared by all lanes.
#[derive(Debug)]
pub struct IdSource {
    process: [u8; 5],
    counter: AtomicU32,
}

impl IdSource {
    /// Makes a source from eight random bytes.
    pub fn from_random(random: [u8; 8]) -> Self {
        let [a, b, c, d, e, x, y, z] = random;
        Self {
            process: [a, b, c, d, e],
            counter: AtomicU32::new(u32::from_be_bytes([0, x, y, z])),
        }
    }

    /// Makes the next id, for something made at `unix_seconds`. Seconds past the year 2106 wrap,
    /// because the layout has four bytes for them.
    pub fn next(&self, unix_seconds: i64) -> ProfileId {
        let count = self.counter.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        let seconds = (unix_seconds as u32).to_be_bytes();
        let mut bytes = [0; 12];
        bytes[..4].copy_from_slice(&seconds);
        bytes[4..9].copy_from_slice(&self.process);
        bytes[9..].copy_from_slice(&count[1..]);
        ProfileId(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_id_is_24_hex_digits_that_begin_with_the_seconds() {
        let ids = IdSource::from_random([1, 2, 3, 4, 5, 0xff, 0xff, 0xff]);
        let first = ids.next(0x6638_e1e8);
        assert_eq!(first.to_string(), "6638e1e80102030405ffffff");
        assert_eq!(ProfileId::parse(&first.to_string()), Some(first));
        assert_eq!(
            ids.next(0x6638_e1e8).to_string(),
            "6638e1e80102030405000000"
        );
    }

    #[test]
    fn no_profile_id_is_read_from_anything_else() {
        for text in [
            "",
            "6638e1e8",
            "6638e1e80102030405fffffg",
            "6638e1e80102030405fffffé",
        ] {
            assert_eq!(ProfileId::parse(text), None, "{text}");
        }
    }
}
