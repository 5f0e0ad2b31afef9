//! Frames, strings and tables as bytes (AMQP 0-9-1, 2.3 and 4.2).

pub(super) const METHOD: u8 = 1;
pub(super) const HEADER: u8 = 2;
pub(super) const BODY: u8 = 3;
pub(super) const FRAME_END: u8 = 0xce;
/// Bytes of a frame beside its payload.
pub(super) const FRAME_OVERHEAD: usize = 8;

pub(super) fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let size = u32::try_from(payload.len()).expect("a frame's size");
    [
        &[kind][..],
        &channel.to_be_bytes(),
        &size.to_be_bytes(),
        payload,
        &[FRAME_END],
    ]
    .concat()
}

pub(super) fn method_id((class, method): (u16, u16)) -> [u8; 4] {
    let [a, b] = class.to_be_bytes();
    let [c, d] = method.to_be_bytes();
    [a, b, c, d]
}

pub(super) fn short(text: &str) -> Vec<u8> {
    short_bytes(text.as_bytes())
}

/// A short string of any bytes.
pub fn short_bytes(bytes: &[u8]) -> Vec<u8> {
    let size = u8::try_from(bytes.len()).expect("at most 255 bytes");
    [&[size][..], bytes].concat()
}

/// A long string or byte array: four bytes of length and the bytes.
pub fn long(bytes: &[u8]) -> Vec<u8> {
    let size = u32::try_from(bytes.len()).expect("less than 4 GiB");
    [&size.to_be_bytes()[..], bytes].concat()
}

/// A table of entries: name, type, value.
pub fn table(entries: &[(&[u8], u8, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, kind, value) in entries {
        bytes.extend([&short_bytes(name)[..], &[*kind], value].concat());
    }
    long(&bytes)
}

/// The value of a header of type `A`: so many arrays in one another, the innermost one empty.
pub fn nested_arrays(depth: usize) -> Vec<u8> {
    nested(depth, b"A")
}

/// The value of a header of type `F`: so many tables in one another, the innermost one empty.
pub fn nested_tables(depth: usize) -> Vec<u8> {
    nested(depth, b"\x01xF")
}

/// Each level is its length and, but for the innermost, `entry` and the next one.
fn nested(depth: usize, entry: &[u8]) -> Vec<u8> {
    let level = entry.len() + 4;
    let mut bytes = Vec::with_capacity(depth * level);
    for inner in (0..depth).rev() {
        let size = u32::try_from(inner * level).expect("less than 4 GiB");
        bytes.extend(size.to_be_bytes());
        if inner > 0 {
            bytes.extend(entry);
        }
    }
    bytes
}
