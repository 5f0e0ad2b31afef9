//! A look at the bytes of a JSON text, for what its reader does not see of what it skips.
//!
//! Values that nobody asks for `serde_json` skips without an allocation, several times as fast as
//! it reads them. Then it checks the syntax, but neither how deep they are nested nor that UTF-16
//! surrogates come in pairs, without which a string has no meaning (RFC 8259, 8.2).

use crate::wire::DEPTH_MAX;

/// What was seen. It means something as far as the text is JSON.
#[derive(Debug)]
pub(super) struct Scan {
    /// The fields and items at any depth, up to the flaw.
    pub(super) values: usize,
    /// The first thing that is not allowed.
    pub(super) flaw: Option<Flaw>,
}

/// What the reader may not see. The place is that of the first byte.
#[derive(Debug, PartialEq)]
pub(super) enum Flaw {
    /// An array or object in too many others.
    TooDeep(usize),
    /// A string with a control character, half a pair of surrogates, or no digits after `\u`.
    BadString(usize),
}

impl Scan {
    /// Looks at all of a text, or at what comes before the first flaw.
    pub(super) fn of(text: &str) -> Self {
        let bytes = text.as_bytes();
        let (mut position, mut depth, mut values) = (0, 0_usize, 0);
        while let Some(byte) = bytes.get(position) {
            let start = position;
            position += 1;
            match byte {
                b'"' => match string_end(bytes, position) {
                    Some(end) => position = end,
                    None => {
                        return Self {
                            values,
                            flaw: Some(Flaw::BadString(start)),
                        };
                    }
                },
                b'[' | b'{' if depth == DEPTH_MAX => {
                    return Self {
                        values,
                        flaw: Some(Flaw::TooDeep(start)),
                    };
                }
                b'[' | b'{' => {
                    depth += 1;
                    values += usize::from(!ends_at_once(bytes, position));
                }
                b']' | b'}' => depth = depth.saturating_sub(1),
                b',' => values += 1,
                _ => {}
            }
        }
        Self { values, flaw: None }
    }
}

/// Whether the array or object whose content would begin at `place` is empty.
fn ends_at_once(bytes: &[u8], position: usize) -> bool {
    let next = bytes[position..]
        .iter()
        .find(|byte| !byte.is_ascii_whitespace());
    matches!(next, Some(b']' | b'}'))
}

/// The place behind the string whose text begins at `place`, or behind all if it does not end;
/// `None` if the string is bad.
fn string_end(bytes: &[u8], mut position: usize) -> Option<usize> {
    while let Some(byte) = bytes.get(position) {
        position += 1;
        match byte {
            b'"' => break,
            b'\\' => position = escape_end(bytes, position)?,
            0..=0x1f => return None,
            _ => {}
        }
    }
    Some(position)
}

/// Where the escape ends whose backslash stands before `position`.
fn escape_end(bytes: &[u8], position: usize) -> Option<usize> {
    const LENGTH: usize = "u0000".len();
    let end = position + LENGTH;
    match utf16_unit(bytes.get(position..end)) {
        // A high one takes the next escape with it.
        Some(0xd800..=0xdbff) => {
            let next = end + "\\".len();
            let is_pair = bytes.get(end) == Some(&b'\\')
                && matches!(
                    utf16_unit(bytes.get(next..next + LENGTH)),
                    Some(0xdc00..=0xdfff)
                );
            is_pair.then_some(next + LENGTH)
        }
        Some(0xdc00..=0xdfff) => None,
        Some(_) => Some(end),
        None if bytes.get(position) == Some(&b'u') => None,
        None => Some(position + 1),
    }
}

/// The code unit of an escape such as `u0416`; other escapes have none.
fn utf16_unit(escape: Option<&[u8]>) -> Option<u32> {
    let digits = escape?.strip_prefix(b"u")?;
    digits.iter().try_fold(0, |unit, digit| {
        Some(unit << 4 | char::from(*digit).to_digit(16)?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_and_items_are_counted() {
        for (text, values) in [
            ("{}", 0),
            ("{ \n}", 0),
            (r#"{"a":1}"#, 1),
            (r#"{"a":[],"b":{ }}"#, 2),
            (r#"{"a":[1,[2],{"b":"],[{\","}]}"#, 6),
            (r#"{"a":0,"a":0}"#, 2),
        ] {
            let scan = Scan::of(text);
            assert_eq!(
                (scan.values, scan.flaw.is_some()),
                (values, false),
                "{text}"
            );
        }
    }

    #[test]
    fn surrogates_come_in_pairs() {
        for text in [
            r#""\ud83d\ude00""#,
            r#""\\ud83d""#,
            r#""\u0416\uD83D\uDE00\"\ue000""#,
        ] {
            assert_eq!(Scan::of(text).flaw, None, "{text}");
        }
        for text in [
            r#"["\ud83d"]"#,
            r#"["\ude00\ud83d"]"#,
            r#"["\ud83d\ud83d\ude00"]"#,
            r#"["a\ud83d\n"]"#,
            r#"["\ud83"]"#,
            "[\"\t\"]",
        ] {
            assert_eq!(Scan::of(text).flaw, Some(Flaw::BadString(1)), "{text}");
        }
    }
}
