//! Lines of JSON: requests or profiles, and those of a report.

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::outcome::{NAMES, Outcome};

/// A line of a report that is no JSON object of its own.
#[derive(Deserialize, Serialize)]
struct Quoted {
    line: String,
}

/// A line of a report: the line as it was, with what became of it behind its last field. A line
/// that is no object, or a file of several lines, stands in it as a string.
pub(super) fn with_outcome(text: &str, outcome: &Outcome) -> serde_json::Result<String> {
    let said = serde_json::to_string(outcome)?;
    let said = said.trim_start_matches('{');
    let fields = text
        .strip_prefix('{')
        .and_then(|text| text.strip_suffix('}'));
    let is_object = !text.contains('\n') && serde_json::from_str::<IgnoredAny>(text).is_ok();
    Ok(match fields {
        Some(fields) if is_object && fields.trim().is_empty() => format!("{{{said}"),
        Some(fields) if is_object => format!("{{{fields},{said}"),
        _ => {
            let quoted = serde_json::to_string(&Quoted {
                line: text.to_owned(),
            })?;
            format!("{},{said}", quoted.trim_end_matches('}'))
        }
    })
}

/// Takes apart what [`with_outcome`] has put together; any other line is itself.
pub(super) fn without_outcome(line: &str) -> (String, Option<Outcome>) {
    let begin = format!("\"{}\":", NAMES[0]);
    // In a string of JSON a quotation mark has a backslash before it: this is no part of one.
    let found = line.rmatch_indices(&begin).find_map(|(at, _)| {
        let fields = line[..at].strip_suffix([',', '{'])?;
        let outcome = serde_json::from_str(&format!("{{{}", &line[at..])).ok()?;
        Some((fields, outcome))
    });
    match found {
        None => (line.to_owned(), None),
        Some((fields, outcome)) => {
            let fields = fields.strip_prefix('{').unwrap_or_default();
            let object = format!("{{{fields}}}");
            let quoted = serde_json::from_str::<Quoted>(&object);
            let is_quoted = fields.starts_with("\"line\":");
            match quoted {
                Ok(Quoted { line }) if is_quoted => (line, Some(outcome)),
                _ => (object, Some(outcome)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_report_adds_can_be_taken_off() {
        let outcomes = [
            Outcome {
                error: 0,
                error_text: String::new(),
                profile_id: "6638e1e8ee44bb50a67115c4".to_owned(),
            },
            Outcome::unreadable("a \"quoted\" ,\"error\":1, \\ text\n"),
        ];
        for text in [
            r#"{"a":1}"#,
            r#"{ "a" : [ 1 ] , "error" : 5}"#,
            r#"{"error":5,"a":",\"error\":"}"#,
            "{}",
            "{ }",
            "",
            "nonsense",
            "{\"a\":1",
            "[1]",
            "<xml><error>1</error></xml>",
            "{\n\"a\": 1\n}",
        ] {
            for outcome in &outcomes {
                let line = with_outcome(text, outcome).unwrap();
                assert!(!line.contains('\n'), "{line}");
                let value: serde_json::Value = serde_json::from_str(&line).unwrap();
                assert_eq!(value["error"], outcome.error, "{line}");
                let (original, found) = without_outcome(&line);
                assert_eq!(found.as_ref(), Some(outcome), "{line}");
                assert_eq!(original.replace(' ', ""), text.replace(' ', ""), "{line}");
                if text != "{ }" {
                    assert_eq!(original, text);
                }
            }
        }
    }

    #[test]
    fn other_lines_are_left_as_they_are() {
        for line in [
            r#"{"error":5}"#,
            r#"{"line":"x"}"#,
            r#"{"a":1,"error":0,"error_text":"","profile_id":"","more":1}"#,
            r#"{"a":{"error":0,"error_text":"","profile_id":""}}"#,
            "x",
        ] {
            assert_eq!(without_outcome(line), (line.to_owned(), None), "{line}");
        }
    }
}
