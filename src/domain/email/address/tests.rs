//! The table of addresses, and Unicode from end to end.

use std::collections::HashSet;

use super::*;
use crate::domain::email::{EmailKey, Rule};

/// A row of `tests/fixtures/emails.tsv`: an address, and its canonical form or a part of the error.
fn table() -> Vec<(String, Result<String, String>)> {
    let rows = include_str!("../../../../tests/fixtures/emails.tsv")
        .lines()
        .filter(|row| !row.starts_with("# "));
    let row = |row: &str| {
        let cells: Vec<&str> = row.split('\t').collect();
        let [address, verdict, source] = cells[..] else {
            panic!("three cells: {row}")
        };
        assert!(!source.is_empty(), "{row}");
        match verdict.strip_prefix("refused: ") {
            Some(what) => (unescaped(address), Err(what.to_owned())),
            None => (unescaped(address), Ok(unescaped(verdict))),
        }
    };
    rows.map(row).collect()
}

fn unescaped(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, escape)) = rest.split_once('\\') {
        plain.push_str(before);
        rest = match escape
            .strip_prefix("u{")
            .and_then(|escape| escape.split_once('}'))
        {
            Some((hex, rest)) => {
                plain.push(char::from_u32(u32::from_str_radix(hex, 16).unwrap()).unwrap());
                rest
            }
            None => {
                plain.push('\\');
                escape.strip_prefix('\\').unwrap()
            }
        };
    }
    plain + rest
}

fn canonical(text: &str) -> Option<String> {
    let email = Email::parse(text).ok()?;
    // Whoever knows that it is one need not ask again.
    assert_eq!(super::canonical(&email.address), email.canonical);
    assert_eq!(address(text).as_ref(), Ok(&email.address));
    Some(email.canonical)
}

#[test]
fn each_address_of_the_table_has_its_verdict() {
    let table = table();
    assert!(table.len() >= 300);
    let mut wrong = Vec::new();
    for (address, verdict) in table {
        match (Email::parse(&address), &verdict) {
            (Ok(email), Ok(canonical)) if email.canonical == *canonical => {}
            (Err(what), Err(part)) if what.contains(part) => {}
            (parsed, _) => wrong.push(format!("{address:?}: {parsed:?}, not {verdict:?}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn an_address_is_stored_trimmed_and_composed_and_else_as_it_was_given() {
    for (given, stored) in [
        (" John@Example.com\u{200b}", "John@Example.com"),
        ("Ju\u{308}rgen@Mu\u{308}nchen.de", "Jürgen@München.de"),
        ("x@ПРИМЕР。рф", "x@ПРИМЕР。рф"),
    ] {
        assert_eq!(Email::parse(given).unwrap().address(), stored);
    }
}

#[test]
fn an_error_names_the_character_that_nobody_sees_and_its_place() {
    for (text, what) in [
        (
            "abcd\u{200b}@example.com",
            "has an invisible character U+200B at position 5",
        ),
        (
            " \u{feff}жd\u{ad}@example.com",
            "has an invisible character U+00AD at position 5",
        ),
        (
            "a b@example.com",
            "has a blank character U+0020 at position 2",
        ),
        (
            "a@example\u{a0}.com",
            "has a blank character U+00A0 at position 10",
        ),
        (
            "a\u{7}@example.com",
            "has an invisible character U+0007 at position 2",
        ),
    ] {
        assert_eq!(Email::parse(text).unwrap_err(), what);
    }
    assert_eq!(
        Email::parse("a,b@example.com").unwrap_err(),
        "not an email address: before the @ must not be the character U+002C"
    );
}

/// All characters but those that no rule touches, of which there are a hundred thousand.
fn characters() -> impl Iterator<Item = char> {
    let is_touched = |c: &char| {
        let text = c.to_string();
        *c < '\u{3000}'
            || NFD.normalize(&text) != text
            || CASES.fold_string(&text) != text
            || (*c as u32).is_multiple_of(64)
    };
    let is_assigned = |c: &char| category(*c) != GeneralCategory::Unassigned;
    // The syllables of Hangul are made by arithmetic.
    let is_like_others =
        |c: &char| !('\u{ac00}'..'\u{d7a4}').contains(c) || (*c as u32).is_multiple_of(29);
    ('\0'..=char::MAX)
        .filter(is_assigned)
        .filter(is_like_others)
        .filter(is_touched)
}

/// One address has one canonical form, however it is written: that form is its own, and so is that
/// of the address in small letters, and decomposed.
#[test]
fn every_character_has_one_canonical_form_in_all_its_spellings() {
    for c in characters() {
        let Ok(email) = Email::parse(&format!("a{c}b@example.com")) else {
            continue;
        };
        let form = &email.canonical;
        assert_eq!(canonical(form).as_ref(), Some(form), "{c:?}");
        let decomposed = NFD.normalize(&email.address).into_owned();
        assert_eq!(
            canonical(&decomposed).as_ref(),
            Some(form),
            "{c:?} decomposed"
        );
        let folded = CASES.fold_string(&email.address).into_owned();
        assert_eq!(canonical(&folded).as_ref(), Some(form), "{c:?} folded");
    }
}

#[test]
fn every_character_of_a_host_has_one_canonical_form() {
    for c in characters() {
        let Ok(email) = Email::parse(&format!("x@a{c}b.example")) else {
            continue;
        };
        assert!(email.canonical.is_ascii(), "{c:?}");
        assert_eq!(
            canonical(&email.canonical),
            Some(email.canonical.clone()),
            "{c:?}"
        );
        let decomposed = NFD.normalize(&email.address).into_owned();
        assert_eq!(
            canonical(&decomposed),
            Some(email.canonical),
            "{c:?} decomposed"
        );
    }
}

#[test]
fn keys_are_the_first_half_of_a_sha_256() {
    let email = Email::parse("John@Example.com").unwrap();
    // SELECT substr(sha256('john@example.com'), 1, 16)
    assert_eq!(
        email.key().to_string(),
        "855f96e9-83f1-f8e8-be94-4692b6f719fd"
    );
    let own: HashSet<_> = ["a", "b"]
        .map(EmailKey::of_profile)
        .into_iter()
        .chain([email.key()])
        .collect();
    assert_eq!(own.len(), 3);
}

/// A library that makes another canonical form of anything makes this fail. Then databases have to
/// be filled anew (docs/email.md), so it is a change for operators and stands in CHANGELOG.md.
#[test]
fn the_rule_is_the_one_that_databases_know() {
    let hex: String = Rule::of_this_program()
        .checksum
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(
        hex,
        "ddb5073cca478c8a4779678386cae6dfa566e71b38f8158bb0f427f9b1536850"
    );
}

/// With `WRITE_EXAMPLES=1` they are written anew: not to make this pass, but for a rule that is a
/// new one.
#[test]
fn the_examples_have_every_character_that_is_changed() {
    let examples = examples();
    if std::env::var_os("WRITE_EXAMPLES").is_some() {
        std::fs::write(
            concat!(env!("CARGO_MANIFEST_DIR"), "/src/domain/email/examples.txt"),
            &examples,
        )
        .unwrap();
    }
    assert!(
        examples == include_str!("../examples.txt"),
        "other characters are changed: see above"
    );
}

/// Ten characters that are changed to an address, and each address of the table that can stand in a
/// line.
fn examples() -> String {
    let in_local = |c: &char| {
        canonical(&format!("a{c}@example.com"))
            .is_some_and(|form| form != format!("a{c}@example.com"))
    };
    let in_host = |c: &char| {
        let host = format!("a{c}a.example");
        let shown = Uts46::new().to_unicode(
            host.as_bytes(),
            AsciiDenyList::STD3,
            Hyphens::CheckFirstLast,
        );
        canonical(&format!("x@{host}")).is_some() && shown.0 != host
    };
    let mut lines = Vec::new();
    let mut batch =
        |before: &str, between: &str, after: &str, is_changed: &dyn Fn(&char) -> bool| {
            let changed: Vec<_> = characters()
                .skip_while(char::is_ascii)
                .filter(is_changed)
                .collect();
            for some in changed.chunks(10) {
                let some: Vec<_> = some.iter().map(char::to_string).collect();
                let line = format!("{before}{}{after}", some.join(between));
                assert!(
                    canonical(&line).is_some(),
                    "one that is refused would show nothing: {line}"
                );
                lines.push(line);
            }
        };
    batch("a", "", "@example.com", &in_local);
    batch("x@a", "a.a", "a.example", &in_host);
    lines.extend(
        table()
            .into_iter()
            .map(|(address, _)| address)
            .filter(|text| !text.contains(['\n', '\r'])),
    );
    lines.join("\n") + "\n"
}
