//! The frames and blocks of a zstd body, by their headers: what unpacking it would take.

/// The largest window that a decoder need not refuse (RFC 8878, 3.1.1.1.2), as a power of two.
pub(super) const WINDOW_LOG_MAX: u32 = 23;

/// The most blocks and frames of a body. Writers make blocks of 128 KiB, or one each time that they
/// are flushed. A block may cost 4 µs and have 16 bytes, with which 10 MiB would take 2 s.
pub(super) const BLOCKS_MAX: usize = 100_000;

/// What the headers say, as far as they can be read; the decoder says what is wrong with the rest.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Frames {
    /// Blocks, and frames.
    pub(super) blocks: usize,
    /// In bytes.
    pub(super) largest_window: u64,
}

const MAGIC: u32 = 0xfd2f_b528;
/// The last four bits may be anything.
const SKIPPABLE_MAGIC: u32 = 0x184d_2a50;

impl Frames {
    /// Looks at all frames (RFC 8878, 3.1), up to [`BLOCKS_MAX`] blocks.
    pub(super) fn of(packed: &[u8]) -> Self {
        let mut frames = Self::default();
        let mut rest = packed;
        while !rest.is_empty() && frames.blocks <= BLOCKS_MAX && frames.frame(&mut rest).is_some() {
        }
        frames
    }

    /// Goes past one frame; `None` if that can't be done.
    fn frame(&mut self, rest: &mut &[u8]) -> Option<()> {
        self.blocks += 1;
        let magic = number(rest, 4)?;
        if magic & !0xf == u64::from(SKIPPABLE_MAGIC) {
            let size = number(rest, 4)?;
            return skip(rest, size);
        }
        if magic != u64::from(MAGIC) {
            return None;
        }
        let has_checksum = self.header(rest)?;
        while !self.block(rest)? {
            if self.blocks > BLOCKS_MAX {
                return None;
            }
        }
        skip(rest, if has_checksum { 4 } else { 0 })
    }

    /// Goes past a frame's header (3.1.1.1); tells whether the frame ends with a checksum.
    fn header(&mut self, rest: &mut &[u8]) -> Option<bool> {
        let descriptor = number(rest, 1)?;
        let is_single_segment = descriptor & 0x20 != 0;
        if !is_single_segment {
            let window = number(rest, 1)?;
            let base = 1_u64 << (10 + (window >> 3));
            self.largest_window = self.largest_window.max(base + base / 8 * (window & 7));
        }
        number(rest, [0, 1, 2, 4][(descriptor & 3) as usize])?;
        let size_length = match descriptor >> 6 {
            0 => usize::from(is_single_segment),
            flag => 1 << flag,
        };
        let size = number(rest, size_length)?;
        if is_single_segment {
            self.largest_window = self.largest_window.max(size);
        }
        Some(descriptor & 4 != 0)
    }

    /// Goes past a block (3.1.1.2); tells whether it is the last one of its frame.
    fn block(&mut self, rest: &mut &[u8]) -> Option<bool> {
        self.blocks += 1;
        let header = number(rest, 3)?;
        let is_run = header >> 1 & 3 == 1;
        skip(rest, if is_run { 1 } else { header >> 3 })?;
        Some(header & 1 == 1)
    }
}

/// Takes a number of so many bytes, the lowest first.
fn number(rest: &mut &[u8], length: usize) -> Option<u64> {
    let (bytes, after) = rest.split_at_checked(length)?;
    *rest = after;
    let low_first = bytes.iter().rev();
    Some(low_first.fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

fn skip(rest: &mut &[u8], length: u64) -> Option<()> {
    *rest = rest.get(usize::try_from(length).ok()?..)?;
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_and_blocks_are_read_from_the_headers() {
        let large = zstd::encode_all(&[7; 1_000_000][..], 3).unwrap();
        assert_eq!(Frames::of(&large).blocks, 1 + 8);
        let small = zstd::encode_all(&b"abc"[..], 3).unwrap();
        assert_eq!(Frames::of(&small).blocks, 1 + 1);
        let skippable = [&b"\x51\x2a\x4d\x18\x02\0\0\0xy"[..], &small, &small].concat();
        assert_eq!(Frames::of(&skippable).blocks, 5);
        let head = |rest: &[u8]| [&MAGIC.to_le_bytes()[..], rest, &[1, 0, 0]].concat();
        for (frame, largest_window, blocks) in [
            // A window descriptor: exponent 13, mantissa 0 and 1.
            (head(&[0x00, 13 << 3]), 8 << 20, 2),
            (head(&[0x00, (13 << 3) + 1]), 9 << 20, 2),
            // A single segment, with sizes of 1, 2, 4 and 8 bytes, and a dictionary.
            (head(&[0x20, 9]), 9, 2),
            (head(&[0x61, 7, 0, 1]), 256, 2),
            (head(&[0xa0, 0, 0, 0, 1]), 1 << 24, 2),
            (head(&[0xe0, 0, 0, 0, 0, 1, 0, 0, 0]), 1 << 32, 2),
            (vec![], 0, 0),
            (b"PK".to_vec(), 0, 1),
            (b"\x28\xb5\x2f\xfd".to_vec(), 0, 1),
        ] {
            let frames = Frames {
                blocks,
                largest_window,
            };
            assert_eq!(Frames::of(&frame), frames, "{frame:?}");
        }
    }

    #[test]
    fn the_look_ends_when_there_are_too_many() {
        let mut packed = MAGIC.to_le_bytes().to_vec();
        packed.extend([0, 0]);
        packed.resize(10 << 20, 0);
        assert_eq!(Frames::of(&packed).blocks, BLOCKS_MAX + 1);
    }
}
