//! A look at the bytes of a JSON text, for what its reader does not see of what it skips.
//!
//! Values that nobody asks for `serde_json` skips without an allocation, several times as fast as
//! it reads them. Then it checks the syntax, but not how deep they are nested.
//!
//! A string may have half of a surrogate pair in it (`\\ud83d` alone): that is JSON, though nobody
//! knows what it means (RFC 8259, 8.2). The reader takes it for a fault of the body where it reads,
//! and for none where it skips. So that it is a fault of its field, and of no other, such a body is
//! read from a copy in which something else stands there.

use crate::wire::DEPTH_MAX;

/// What was seen. It means something as far as the text is JSON.
#[derive(Debug)]
pub(super) struct Scan {
    /// The fields and items at any depth, up to the flaw.
    pub(super) values: usize,
    /// The first thing that is not allowed.
    pub(super) flaw: Option<Flaw>,
    /// There is half of a surrogate pair before that.
    pub(super) has_half_surrogate: bool,
}

/// What the reader may not see. The place is that of the first byte.
#[derive(Debug, PartialEq)]
pub(super) enum Flaw {
    /// An array or object in too many others.
    TooDeep(usize),
    /// A string with a control character, or no digits after `\u`.
    BadString(usize),
}

impl Scan {
    /// Looks at all of a text, or at what comes before the first flaw.
    pub(super) fn of(text: &str) -> Self {
        let bytes = text.as_bytes();
        let (mut position, mut depth, mut values) = (0, 0_usize, 0);
        let mut has_half_surrogate = false;
        let ended = |values, flaw, has_half_surrogate| Self {
            values,
            flaw,
            has_half_surrogate,
        };
        while let Some(byte) = bytes.get(position) {
            let start = position;
            position += 1;
            match byte {
                b'"' => match string_end(bytes, position, &mut has_half_surrogate) {
                    Some(end) => position = end,
                    None => {
                        let flaw = Some(Flaw::BadString(start));
                        return ended(values, flaw, has_half_surrogate);
                    }
                },
                b'[' | b'{' if depth == DEPTH_MAX => {
                    return ended(values, Some(Flaw::TooDeep(start)), has_half_surrogate);
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
        ended(values, None, has_half_surrogate)
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
fn string_end(bytes: &[u8], mut position: usize, has_half: &mut bool) -> Option<usize> {
    while let Some(byte) = bytes.get(position) {
        position += 1;
        match byte {
            b'"' => break,
            b'\\' => {
                let escape = Escape::at(bytes, position)?;
                *has_half |= escape.is_half;
                position = escape.end;
            }
            0..=0x1f => return None,
            _ => {}
        }
    }
    Some(position)
}

/// An escape in a string, or a pair of them that is one character.
struct Escape {
    /// The place behind it.
    end: usize,
    /// It is one of a pair of surrogates without the other.
    is_half: bool,
}

impl Escape {
    /// Reads the escape whose backslash stands before `position`; `None` if it has no digits.
    fn at(bytes: &[u8], position: usize) -> Option<Self> {
        const LENGTH: usize = "u0000".len();
        let end = position + LENGTH;
        let sound = |end| {
            Some(Self {
                end,
                is_half: false,
            })
        };
        let half = Some(Self { end, is_half: true });
        match utf16_unit(bytes.get(position..end)) {
            // A high one takes the next escape with it.
            Some(0xd800..=0xdbff) => {
                let next = end + "\\".len();
                let low = utf16_unit(bytes.get(next..next + LENGTH));
                match (bytes.get(end), low) {
                    (Some(b'\\'), Some(0xdc00..=0xdfff)) => sound(next + LENGTH),
                    _ => half,
                }
            }
            Some(0xdc00..=0xdfff) => half,
            Some(_) => sound(end),
            None if bytes.get(position) == Some(&b'u') => None,
            None => sound(position + 1),
        }
    }
}

/// Returns the text with U+0000 in the place of each half of a surrogate pair. All else is where it
/// was.
pub(super) fn without_half_surrogates(text: &str) -> String {
    /// An escape of as many bytes.
    const SUBSTITUTE: &str = "\\u0000";
    let bytes = text.as_bytes();
    let mut whole = String::with_capacity(text.len());
    let (mut position, mut copied) = (0, 0);
    while let Some(backslash) = text.get(position..).and_then(|rest| rest.find('\\')) {
        let start = position + backslash;
        match Escape::at(bytes, start + 1) {
            Some(Escape { end, is_half: true }) => {
                whole.push_str(&text[copied..start]);
                whole.push_str(SUBSTITUTE);
                (position, copied) = (end, end);
            }
            Some(Escape { end, .. }) => position = end,
            // Here the reader stops.
            None => break,
        }
    }
    whole.push_str(&text[copied..]);
    whole
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
    fn half_surrogates_are_seen() {
        for text in [
            r#""\ud83d\ude00""#,
            r#""\\ud83d""#,
            r#""\u0416\uD83D\uDE00\"\ue000""#,
        ] {
            let scan = Scan::of(text);
            assert_eq!(
                (scan.flaw, scan.has_half_surrogate),
                (None, false),
                "{text}"
            );
            assert_eq!(without_half_surrogates(text), text);
        }
        for (text, without) in [
            (r#"["\ud83d"]"#, r#"["\u0000"]"#),
            (r#"["\ude00\ud83d"]"#, r#"["\u0000\u0000"]"#),
            (r#"["\ud83d\uD83D\ude00é"]"#, r#"["\u0000\uD83D\ude00é"]"#),
            (r#"["a\ud83d\n\\ud83d"]"#, r#"["a\u0000\n\\ud83d"]"#),
            (r#"{"\ud83d\u0416":1}"#, r#"{"\u0000\u0416":1}"#),
        ] {
            let scan = Scan::of(text);
            assert_eq!((scan.flaw, scan.has_half_surrogate), (None, true), "{text}");
            assert_eq!(without_half_surrogates(text), without);
        }
    }

    #[test]
    fn control_characters_and_escapes_without_digits_are_flaws() {
        for text in [r#"["\ud83"]"#, "[\"\t\"]", r#"["\uzzzz"]"#] {
            assert_eq!(Scan::of(text).flaw, Some(Flaw::BadString(1)), "{text}");
        }
        assert_eq!(without_half_surrogates(r#""\ud83é"#), r#""\ud83é"#);
    }
}
