//! Packed bodies: as producers make them, and as nobody does.

use std::io::Write;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

/// As browsers, Spring and most others do it.
pub fn gzip(body: &[u8]) -> Vec<u8> {
    gzip_by(body, 6)
}

/// By one of the levels 0 (not at all) to 9.
pub fn gzip_by(body: &[u8], level: u32) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(level));
    encoder.write_all(body).expect("memory");
    encoder.finish().expect("memory")
}

/// What `deflate` means, and what Python's zlib and kombu do.
pub fn zlib(body: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::new(6));
    encoder.write_all(body).expect("memory");
    encoder.finish().expect("memory")
}

/// What some send as `deflate`.
pub fn bare_deflate(body: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::new(6));
    encoder.write_all(body).expect("memory");
    encoder.finish().expect("memory")
}

pub fn zstd(body: &[u8]) -> Vec<u8> {
    zstd::encode_all(body, 3).expect("memory")
}

/// A body of about `size` bytes that says next to nothing and takes long.
pub struct Slow {
    pub name: &'static str,
    pub content_encoding: &'static str,
    pub make: fn(size: usize) -> Vec<u8>,
    /// A larger one is not unpacked: it has more than 10 MiB, or than 100,000 blocks and frames.
    pub size_max: usize,
}

/// For each coding those that take the longest of those we know.
pub const SLOW: [Slow; 4] = [
    Slow {
        name: "deflate of empty blocks with tables",
        content_encoding: "deflate",
        make: empty_blocks_of_deflate,
        size_max: (10 << 20) - 100,
    },
    Slow {
        name: "gzip of empty members",
        content_encoding: "gzip",
        make: |size| repeated(&[], &gzip(b""), size),
        size_max: (10 << 20) - 100,
    },
    Slow {
        name: "zstd of empty frames",
        content_encoding: "zstd",
        make: |size| repeated(&[], &[0x28, 0xb5, 0x2f, 0xfd, 0, 0, 1, 0, 0], size),
        // Of 9 bytes, with one block each.
        size_max: 49_900 * 9,
    },
    Slow {
        name: "zstd of blocks with tables",
        content_encoding: "zstd",
        make: small_blocks_of_zstd,
        // Of 16 bytes.
        size_max: 99_900 * 16,
    },
];

fn repeated(head: &[u8], part: &[u8], size: usize) -> Vec<u8> {
    let mut body = head.to_vec();
    while body.len() < size {
        body.extend_from_slice(part);
    }
    body
}

/// RFC 1951, 3.2.7: blocks whose tables of codes have to be made, for the end of the block alone.
fn empty_blocks_of_deflate(size: usize) -> Vec<u8> {
    let mut bits = Bits::default();
    while bits.bytes.len() < size {
        // Not the last one; dynamic; 257 literals, 1 distance, 18 lengths of codes: of 18 and 1.
        bits.put(0b100, 3);
        bits.put(0, 10);
        bits.put(14, 4);
        for symbol in [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1] {
            bits.put(u64::from(symbol == 18 || symbol == 1), 3);
        }
        // 138 and 118 zeros, 1 for the end of the block, 1 for the distance; and that end.
        bits.put(1 | 127 << 1, 8);
        bits.put(1 | 107 << 1, 8);
        bits.put(0, 3);
    }
    // The last block: codes that are fixed, and its end.
    bits.put(0b011, 3);
    bits.put(0, 14);
    bits.bytes
}

/// RFC 8878, 3.1.1.3.2: blocks with one sequence each and three tables of their own for it.
fn small_blocks_of_zstd(size: usize) -> Vec<u8> {
    let table = |accuracy_log: u32| {
        // Two symbols, of which the second has the least probability.
        let mut bits = Bits::default();
        bits.put(u64::from(accuracy_log - 5), 4);
        bits.put((1 << (accuracy_log + 1)) - 2, accuracy_log + 1);
        bits.put(0b11, 2);
        bits.put(0, 7);
        bits.bytes
    };
    // No literals, one sequence, all three tables given; states of 9, 8 and 9 bits, and the mark.
    let mut block = vec![0, 1, 0b1010_1000];
    for accuracy_log in [9, 8, 9] {
        block.extend(table(accuracy_log));
    }
    block.extend([0, 0, 0, 0b100]);
    let header = |kind: usize, length: usize| {
        let [low, middle, high, ..] = (length << 3 | kind << 1).to_le_bytes();
        [low, middle, high]
    };
    // A window of 8 MiB, and something to copy from.
    let mut head = vec![0x28, 0xb5, 0x2f, 0xfd, 0, 13 << 3];
    head.extend(header(0, 8));
    head.extend([b' '; 8]);
    let part = [&header(2, block.len())[..], &block].concat();
    let mut body = repeated(&head, &part, size);
    body.extend([1, 0, 0]);
    body
}

/// Bits, the lowest of a byte first.
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    open: u64,
    count: u32,
}

impl Bits {
    fn put(&mut self, value: u64, count: u32) {
        self.open |= value << self.count;
        self.count += count;
        while self.count >= 8 {
            self.bytes.push(self.open as u8);
            self.open >>= 8;
            self.count -= 8;
        }
    }
}
