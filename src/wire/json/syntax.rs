//! Where a text is no JSON, in words.
//!
//! The reader's own text never quotes the body, but this keeps it so whatever the reader does in a
//! later version.

use serde::de::DeserializeSeed;

use super::name::Name;
use crate::wire::Unreadable;

/// Tells the place and kind of a syntax error.
pub(super) fn syntax(error: &serde_json::Error) -> Unreadable {
    syntax_at(error.is_eof(), error.line(), error.column())
}

/// Tells the same of an error at this place, which may be the end of the text.
pub(super) fn syntax_at(is_end: bool, line: usize, column: usize) -> Unreadable {
    let kind = if is_end {
        "ends too early"
    } else {
        "is not JSON"
    };
    Unreadable::Syntax(format!("the body {kind} at line {line}, column {column}"))
}

/// Tells the same of the string that begins at `start`.
pub(super) fn bad_string(text: &str, start: usize) -> Unreadable {
    let (before, string) = text.split_at(start);
    let error = Name
        .deserialize(&mut serde_json::Deserializer::from_str(string))
        .err();
    let (is_end, line, column) = error.map_or((false, 1, 1), |error| {
        (error.is_eof(), error.line(), error.column())
    });
    let lines = before.bytes().filter(|byte| *byte == b'\n').count();
    let in_line = before
        .bytes()
        .rev()
        .take_while(|byte| *byte != b'\n')
        .count();
    // The character may be an end of a line; then its place is the beginning of the next.
    let column = if line == 1 { in_line + column } else { column };
    syntax_at(is_end, lines + line, column)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_string_is_told_by_its_place_in_the_whole_text() {
        for (before, string, position) in [
            ("", "\"\t\"", "line 1, column 2"),
            ("{\"a\":", "\"b\t\"", "line 1, column 8"),
            ("{\n  ", "\"\t\"", "line 2, column 4"),
        ] {
            let flaw = bad_string(&format!("{before}{string}"), before.len());
            let told = format!("the body is not JSON at {position}");
            assert_eq!(flaw.to_string(), told, "{before:?}");
        }
    }
}
