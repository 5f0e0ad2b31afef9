//! Checking requests against the contract without any server, by the code that the worker decides
//! by. Tokens, databases, resources and emails that are taken are not known here.

use jiff::Timestamp;

use crate::cli::output::Failure;
use crate::domain::directory::Directory;
use crate::domain::identity::IdSource;
use crate::domain::outcome::{Code, Rejection};
use crate::pipeline::decide::{Addition, Properties, Rules, Verdict, decide};

/// Checks requests.
pub(super) struct Checker {
    directory: Directory,
    ids: IdSource,
    body_max: u64,
    content_type: Option<String>,
}

/// Something that is said of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Finding {
    /// The code of the reply; 0 of a warning: the request is added all the same.
    pub(super) code: u16,
    /// The path and what is wrong there.
    pub(super) text: String,
}

impl Checker {
    /// Makes one; `body_max` is the worker's `BODY_MAX`, in bytes.
    pub(super) fn new(body_max: u64, content_type: Option<String>) -> Result<Self, Failure> {
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(Failure::new)?;
        Ok(Self {
            directory: Directory::of_anything(),
            ids: IdSource::from_random(random),
            body_max,
            content_type,
        })
    }

    /// Says what a worker would find wrong with a request.
    pub(super) fn check(&self, body: &[u8]) -> Vec<Finding> {
        let properties = Properties {
            content_type: self.content_type.as_deref(),
            // Whether there is one, and which, is known when it is sent.
            authorization: Some("Bearer unknown"),
            ..Properties::default()
        };
        let rules = Rules {
            directory: &self.directory,
            ids: &self.ids,
            now: Timestamp::now(),
            body_max: self.body_max,
            warns: true,
        };
        let decision = decide(body, &properties, &rules);
        let mut findings = of_verdict(decision.verdict);
        findings.extend(decision.warnings.into_iter().map(warned));
        findings
    }
}

fn of_verdict(verdict: Verdict) -> Vec<Finding> {
    match verdict {
        Verdict::Add(addition) => skipped(*addition),
        Verdict::AddEntries(entries) => {
            let findings = entries.into_iter().map(|entry| match entry {
                Ok(addition) => skipped(addition),
                Err(rejection) => vec![refused(rejection)],
            });
            findings.flatten().collect()
        }
        Verdict::Refuse(rejection) | Verdict::DeadLetter(_, rejection) => {
            vec![refused(rejection)]
        }
    }
}

fn refused(rejection: Rejection) -> Finding {
    Finding {
        code: rejection.code.number(),
        text: rejection.text,
    }
}

/// What is no error, and most likely not meant.
fn warned(text: String) -> Finding {
    Finding {
        code: Code::Added.number(),
        text: format!("warning: {text}"),
    }
}

/// The subscriptions that would be dropped.
fn skipped(addition: Addition) -> Vec<Finding> {
    let skipped = addition.skipped.into_iter().map(|skipped| Finding {
        code: Code::Added.number(),
        text: format!("dropped: {}", skipped.error_text),
    });
    skipped.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(body: &str) -> Vec<(u16, String)> {
        let checker = Checker::new(1000, None).unwrap();
        let findings = checker.check(body.as_bytes()).into_iter();
        findings
            .map(|finding| (finding.code, finding.text))
            .collect()
    }

    #[test]
    fn what_needs_no_server_is_checked_as_the_worker_does() {
        for body in [
            r#"{"db_id":7,"data":{"email":"a@example.com"}}"#,
            r#"{"token":"x","db_id":7,"data":{"subscriptions":[{"resource_id":1,"channel":"sms","phone":"+79000000000"}]}}"#,
            "<xml><db_id>7</db_id></xml>",
        ] {
            assert_eq!(findings(body), [], "{body}");
        }
        let long = format!(r#"{{"db_id":7,"feedback_id":"{}"}}"#, "x".repeat(1000));
        for (body, code, begin) in [
            ("x", 400, "not a readable request"),
            (r#"{"data":{}}"#, 400, "db_id: is missing"),
            (
                r#"{"db_id":7,"data":{"_country":"Germany"}}"#,
                400,
                "data._country: ",
            ),
            (long.as_str(), 413, "the body is larger"),
        ] {
            let found = findings(body);
            assert_eq!((found.len(), found[0].0), (1, code), "{body}: {found:?}");
            assert!(found[0].1.starts_with(begin), "{found:?}");
        }
    }

    #[test]
    fn names_that_are_nearly_a_fields_are_warned_of_unasked() {
        let told = "warning: data.Email: is stored as a custom field; did you mean `email`?";
        let body = r#"{"db_id":7,"data":{"Email":"a@example.com"}}"#;
        assert_eq!(findings(body), [(0, told.to_owned())]);
    }

    #[test]
    fn each_profile_of_a_batch_and_each_dropped_subscription_is_told() {
        let found = findings(
            r#"{"db_id":7,"skip_invalid_subscriptions":true,"data":[{"email":"x"},{},
               {"subscriptions":[{"resource_id":1,"channel":"fax"}]},{"_sex":7}]}"#,
        );
        let codes: Vec<_> = found.iter().map(|(code, _)| *code).collect();
        assert_eq!(codes, [400, 0, 400], "{found:?}");
        assert!(
            found[1].1.starts_with("dropped: data[2].subscriptions[0]"),
            "{found:?}"
        );
    }
}
