//! What nobody sees in a text: blanks, controls, invisible characters. One definition for all
//! fields in which such characters say nothing.

use icu_properties::props::{
    DefaultIgnorableCodePoint, GeneralCategory, PrependedConcatenationMark, WhiteSpace,
};
use icu_properties::{CodePointMapData, CodePointSetData};

/// Returns a text without what can't be seen at its ends.
pub fn trim(text: &str) -> &str {
    let is_visible = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_graphic);
    if is_visible(text.as_bytes().first()) && is_visible(text.as_bytes().last()) {
        return text;
    }
    // U+0000 is no blank: it can not be stored, and that is said elsewhere.
    text.trim_matches(|c| c != '\0' && is_hidden(c))
}

/// Whether there is nothing in it: as a cell of a spreadsheet may hold a blank that nobody sees.
pub fn is_blank(text: &str) -> bool {
    let begins_visibly = text.bytes().next().is_some_and(|b| b.is_ascii_graphic());
    !begins_visibly && trim(text).is_empty()
}

/// Whether it is white space, or a character that shows nothing.
pub fn is_hidden(c: char) -> bool {
    if c.is_ascii() {
        !c.is_ascii_graphic()
    } else {
        is_space(c) || is_invisible(c)
    }
}

/// Whether it is a blank: Unicode's property `White_Space`.
pub fn is_space(c: char) -> bool {
    CodePointSetData::new::<WhiteSpace>().contains(c)
}

/// Controls, formats, and what is made to be ignored where it is not understood (fillers, joiners,
/// variation selectors). Those that are formats and yet have a shape, as U+0600, are not meant.
fn is_invisible(c: char) -> bool {
    let is_format = || {
        matches!(
            category(c),
            GeneralCategory::Control | GeneralCategory::Format
        ) && !CodePointSetData::new::<PrependedConcatenationMark>().contains(c)
    };
    CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c) || is_format()
}

/// Whether it is a dash of any length: Unicode's category `Pd`, and the minus sign.
pub fn is_dash(c: char) -> bool {
    match c {
        '-' | '\u{2212}' => true,
        c if c.is_ascii() => false,
        c => category(c) == GeneralCategory::DashPunctuation,
    }
}

/// Returns Unicode's general category of a character.
pub fn category(c: char) -> GeneralCategory {
    CodePointMapData::<GeneralCategory>::new().get(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_shows_nothing_is_trimmed_and_what_can_not_be_stored_is_not() {
        for (text, trimmed) in [
            ("", ""),
            ("a b", "a b"),
            (" \u{feff}\u{200b}\r\na\u{a0}\u{3000}\u{fe0f}\u{ad}", "a"),
            (" \u{202a}é\u{202c} ", "é"),
            ("\u{200e} \u{2028}", ""),
            (" \0 ", "\0"),
            ("\u{600}1", "\u{600}1"),
        ] {
            assert_eq!(trim(text), trimmed, "{text:?}");
            assert_eq!(is_blank(text), trimmed.is_empty(), "{text:?}");
        }
    }

    #[test]
    fn dashes_are_those_of_unicode() {
        for dash in
            "-\u{2010}\u{2011}\u{2012}\u{2013}\u{2014}\u{2015}\u{2212}\u{fe63}\u{ff0d}".chars()
        {
            assert!(is_dash(dash), "{dash:?}");
        }
        assert!(!"_.~·".chars().any(is_dash));
    }
}
