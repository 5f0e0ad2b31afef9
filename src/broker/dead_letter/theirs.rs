//! What a dead letter keeps of the original's headers, where not all of them fit into a frame.

use std::collections::BTreeMap;

use lapin::types::{AMQPValue, ByteArray, FieldTable, ShortString};

use crate::broker::header_names;
use crate::broker::outgoing_properties::{insert_text, short};
use crate::broker::properties_size::entry_size;

/// What a dead letter has of the original's headers.
pub(super) struct Theirs {
    pub(super) headers: BTreeMap<ShortString, AMQPValue>,
    /// The whole property list, if the headers are not all.
    pub(super) list: Option<Vec<u8>>,
    /// The names of those that were cut or left out.
    pub(super) cut: Vec<ShortString>,
}

/// The header that names what was cut takes no more.
pub(super) const CUT_NOTE_MAX_BYTES: usize = 512;

/// Headers of up to so many bytes are cut only after the property list.
const SMALL_BYTES: usize = 256;

/// Less of a header is of no use to anybody.
const WORTH_KEEPING_BYTES: usize = 64;

impl Theirs {
    /// Makes all of it fit: the largest headers are cut first, then the property list, then small
    /// headers.
    pub(super) fn fit(&mut self, room: usize) {
        let mut size: usize = self
            .headers
            .iter()
            .map(|(name, value)| entry_size(name.as_str(), value))
            .sum();
        size += self.list.as_ref().map_or(0, |list| list_size(list));
        if size <= room {
            return;
        }
        let room = room.saturating_sub(CUT_NOTE_MAX_BYTES);
        let mut by_size: Vec<_> = self
            .headers
            .iter()
            .map(|(name, value)| (entry_size(name.as_str(), value), name.clone()))
            .collect();
        by_size.sort_unstable();
        size = self.cut_larger_than(SMALL_BYTES, &mut by_size, size, room);
        if size > room
            && let Some(list) = &mut self.list
        {
            let before = list.len();
            list.truncate(before.saturating_sub(size - room));
            size -= before - list.len();
            self.cut.push(short(header_names::ORIGINAL_PROPERTIES));
        }
        self.cut_larger_than(0, &mut by_size, size, room);
    }

    /// Cuts the largest headers until there is room, but for those of up to `least` bytes; the size
    /// after.
    fn cut_larger_than(
        &mut self,
        least: usize,
        by_size: &mut Vec<(usize, ShortString)>,
        mut size: usize,
        room: usize,
    ) -> usize {
        while size > room
            && let Some((bytes, name)) = by_size.pop_if(|(bytes, _)| *bytes > least)
        {
            size = size - bytes + self.cut(&name, size - room);
            self.cut.push(name);
        }
        size
    }

    /// Cuts so many bytes off a text; anything else is left out. What is left of it, in bytes.
    fn cut(&mut self, name: &ShortString, excess: usize) -> usize {
        let Some(value) = self.headers.remove(name.as_str()) else {
            return 0;
        };
        let beginning = |bytes: &[u8]| {
            let left = bytes
                .len()
                .checked_sub(excess)
                .filter(|left| *left >= WORTH_KEEPING_BYTES)?;
            Some(bytes[..left].to_vec())
        };
        let left = match &value {
            AMQPValue::LongString(text) => {
                beginning(text.as_bytes()).map(|left| AMQPValue::LongString(left.into()))
            }
            AMQPValue::ByteArray(bytes) => {
                beginning(bytes.as_slice()).map(|left| AMQPValue::ByteArray(left.into()))
            }
            _ => None,
        };
        let Some(left) = left else { return 0 };
        let size = entry_size(name.as_str(), &left);
        self.headers.insert(name.clone(), left);
        size
    }

    /// All headers of the dead letter.
    pub(super) fn with(self, mut ours: FieldTable) -> FieldTable {
        for (name, value) in self.headers {
            ours.insert(name, value);
        }
        if let Some(list) = self.list {
            ours.insert(
                header_names::ORIGINAL_PROPERTIES.into(),
                AMQPValue::ByteArray(list.into()),
            );
        }
        if !self.cut.is_empty() {
            insert_text(&mut ours, header_names::CUT_HEADERS, &names(&self.cut));
        }
        ours
    }
}

fn list_size(list: &[u8]) -> usize {
    entry_size(
        header_names::ORIGINAL_PROPERTIES,
        &AMQPValue::ByteArray(ByteArray::default()),
    ) + list.len()
}

/// The names for people, not too many.
fn names(cut: &[ShortString]) -> String {
    const NAMES_MAX_BYTES: usize = 440;
    let mut text = String::new();
    for (count, name) in cut.iter().enumerate() {
        let comma = if count == 0 { "" } else { ", " };
        if text.len() + comma.len() + name.as_str().len() > NAMES_MAX_BYTES {
            return format!("{text} and {} more", cut.len() - count);
        }
        text.push_str(comma);
        text.push_str(name.as_str());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_names_are_cut_short() {
        let cut: Vec<_> = (0..1000).map(|i| short(&format!("header-{i}"))).collect();
        let text = names(&cut);
        assert!(
            text.starts_with("header-0, header-1, ") && text.ends_with(" more"),
            "{text}"
        );
        assert!(
            entry_size(
                header_names::CUT_HEADERS,
                &AMQPValue::LongString(text.into())
            ) <= CUT_NOTE_MAX_BYTES
        );
    }
}
