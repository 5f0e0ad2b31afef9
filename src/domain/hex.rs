//! Bytes as text.

/// Bytes as so many lower-case hex digits, without an allocation: ids are written several times
/// for each request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Hex<const DIGITS: usize>([u8; DIGITS]);

impl<const DIGITS: usize> Hex<DIGITS> {
    /// Writes half as many bytes; of fewer the digits end with zeros, and what is too much is left
    /// out.
    pub fn of(bytes: &[u8]) -> Self {
        let mut digits = [b'0'; DIGITS];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(bytes) {
            pair[0] = digit(byte >> 4);
            pair[1] = digit(byte & 15);
        }
        Self(digits)
    }

    /// Returns the digits as text.
    pub fn as_str(&self) -> &str {
        match std::str::from_utf8(&self.0) {
            Ok(text) => text,
            Err(_) => unreachable!("hex digits are ASCII"),
        }
    }
}

const fn digit(value: u8) -> u8 {
    match value {
        0..=9 => b'0' + value,
        _ => b'a' + value - 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_byte_is_two_lower_case_digits() {
        assert_eq!(Hex::<6>::of(&[0x00, 0x9f, 0xa5]).as_str(), "009fa5");
    }

    #[test]
    fn too_few_bytes_are_filled_up_and_too_many_left_out() {
        assert_eq!(Hex::<4>::of(&[0xff]).as_str(), "ff00");
        assert_eq!(Hex::<4>::of(&[1, 2, 3]).as_str(), "0102");
    }
}
