//! Tables of headers, read without recursion.

use super::{RESERVED, is_text, long, short, take};

/// How deep tables and arrays may stand in one another for the library to parse them: it needs some
/// 400 bytes of stack for each. Nobody writes more by hand; RabbitMQ's `x-death` has two levels.
const DEPTH_MAX: usize = 32;

/// How many values there may be for the library to parse them, as each takes it up to a hundred
/// bytes, and on the wire no more than three.
pub(crate) const VALUES_MAX: usize = 1_000;

/// One header of a table: its name, the kind of its value, and the value's bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry<'a> {
    /// Its name, which need not be a text.
    pub(crate) name: &'a [u8],
    /// The letter of its type.
    pub(crate) kind: u8,
    /// Its value, without its length.
    pub(crate) value: &'a [u8],
    /// All of it.
    pub(crate) bytes: &'a [u8],
}

/// The headers of a table, up to the first that can't be read: where that ends nobody knows.
pub(crate) fn entries(table: &[u8]) -> impl Iterator<Item = Entry<'_>> {
    let mut rest = table;
    std::iter::from_fn(move || {
        let start = rest;
        let name = short(&mut rest)?;
        let (kind, value) = value(&mut rest)?;
        Some(Entry {
            name,
            kind,
            value,
            bytes: &start[..start.len() - rest.len()],
        })
    })
}

/// The type of a value, and the value without its length.
fn value<'a>(rest: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let (&kind, after) = rest.split_first()?;
    *rest = after;
    let value = match kind {
        b'V' => take(rest, 0),
        b't' | b'b' | b'B' => take(rest, 1),
        b's' | b'u' | b'U' => take(rest, 2),
        b'I' | b'i' | b'f' => take(rest, 4),
        b'D' => take(rest, 5),
        b'l' | b'L' | b'd' | b'T' => take(rest, 8),
        b'S' | b'x' | b'A' | b'F' => long(rest),
        _ => None,
    };
    Some((kind, value?))
}

/// A table or an array that is being read.
#[derive(Clone, Copy, Default)]
struct Level<'a> {
    rest: &'a [u8],
    has_names: bool,
}

/// How many values a table has, with all that stand in one another; none, if the library can't
/// parse it or we don't want it to.
pub(crate) fn plain_values(table: &[u8]) -> Option<usize> {
    let mut levels = [Level::default(); DEPTH_MAX];
    levels[0] = Level {
        rest: table,
        has_names: true,
    };
    let (mut depth, mut count) = (1, 0);
    while depth > 0 {
        let level = &mut levels[depth - 1];
        if level.rest.is_empty() {
            depth -= 1;
            continue;
        }
        if level.has_names && !is_plain_name(short(&mut level.rest)?) {
            return None;
        }
        let (kind, value) = value(&mut level.rest)?;
        count += 1;
        if count > VALUES_MAX {
            return None;
        }
        if matches!(kind, b'A' | b'F') {
            *levels.get_mut(depth)? = Level {
                rest: value,
                has_names: kind == b'F',
            };
            depth += 1;
        }
    }
    Some(count)
}

fn is_plain_name(name: &[u8]) -> bool {
    is_text(name) && !name.starts_with(RESERVED.as_bytes())
}
