//! Telling what would be sent, and what a worker would find wrong with it.

use std::collections::BTreeMap;

use super::check::{Checker, Finding};
use super::row::Content;
use super::rows::Rows;
use super::summary::{SOME_REFUSED, requests, rows};
use crate::cli::output::{Failure, put, put_bytes, say};
use crate::domain::outcome::Code;

/// Prints the requests, and says what is wrong with them; or prints only what is wrong.
pub(super) fn run(file: Rows, checker: &Checker, prints_requests: bool) -> Result<(), Failure> {
    let mut checked: u64 = 0;
    let mut before: u64 = 0;
    let mut refused = BTreeMap::<u16, u64>::new();
    for row in file {
        let row = row?;
        let findings = match &row.content {
            Content::Request(body) => {
                if prints_requests {
                    put_bytes(body.trim_ascii_end())?;
                }
                checker.check(body)
            }
            Content::Unreadable(flaw) => vec![Finding {
                code: Code::Invalid.number(),
                text: flaw.clone(),
            }],
            Content::Added(_) => {
                before += 1;
                continue;
            }
        };
        checked += 1;
        let worst = findings.iter().map(|finding| finding.code).max();
        if let Some(code) = worst.filter(|code| *code != Code::Added.number()) {
            *refused.entry(code).or_default() += 1;
        }
        for Finding { text, .. } in findings {
            let text = format!("{}{text}", row.place);
            if prints_requests {
                say(text);
            } else {
                put(text)?;
            }
        }
    }
    let count = refused.values().sum::<u64>();
    say(summary(checked, before, &refused));
    if count == 0 {
        Ok(())
    } else {
        Err(Failure::with_code(
            SOME_REFUSED,
            format_args!("{count} of {checked} requests would be refused"),
        ))
    }
}

fn summary(checked: u64, before: u64, refused: &BTreeMap<u16, u64>) -> String {
    let mut words = format!("{} checked, nothing sent", requests(checked));
    for (code, count) in refused {
        words += &format!(", {count} to be refused with {code}");
    }
    if before > 0 {
        words += &format!("; {} left out, as they were added before", rows(before));
    }
    words + "; tokens, databases, resources and emails that are taken are known to a worker only"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_says_what_is_not_known() {
        let refused = BTreeMap::from([(400, 2), (413, 1)]);
        assert_eq!(
            summary(5, 1, &refused),
            "5 requests checked, nothing sent, 2 to be refused with 400, 1 to be refused with 413; \
             1 row left out, as they were added before; tokens, databases, resources and emails \
             that are taken are known to a worker only"
        );
    }
}
