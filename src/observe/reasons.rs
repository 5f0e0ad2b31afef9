//! Which reasons the log has heard already: each kind is said once, not once per attempt.

use std::collections::BTreeSet;

/// So many kinds are kept apart. A server whose words differ without end is not quoted without end.
const KINDS_MAX: usize = 20;

/// Reasons why something is waited for, as far as they were said since the wait began.
#[derive(Debug, Default)]
pub(crate) struct Reasons(BTreeSet<String>);

impl Reasons {
    /// Whether nothing like this was said before; from now on it was.
    pub(crate) fn is_new(&mut self, reason: &str) -> bool {
        self.0.len() < KINDS_MAX && self.0.insert(kind(reason))
    }

    /// The wait is over, and the next one begins from scratch. Whether anything was said.
    pub(crate) fn forget(&mut self) -> bool {
        !std::mem::take(&mut self.0).is_empty()
    }
}

/// A reason without its numbers: a time, a port or the id of a process makes no other reason.
fn kind(reason: &str) -> String {
    reason.chars().filter(|c| !c.is_ascii_digit()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_new_once_whatever_its_numbers_are() {
        let mut reasons = Reasons::default();
        assert!(reasons.is_new("expired 12 s ago"));
        assert!(!reasons.is_new("expired 345 s ago"));
        assert!(reasons.is_new("connection refused"));
        assert!(
            !reasons.is_new("expired 6 s ago"),
            "also if another one came in between"
        );
        assert!(reasons.forget() && !reasons.forget());
        assert!(reasons.is_new("expired 7 s ago"));
    }

    #[test]
    fn words_that_differ_without_end_are_not_said_without_end() {
        let mut reasons = Reasons::default();
        let said = (0..1000)
            .filter(|count| reasons.is_new(&"x".repeat(*count)))
            .count();
        assert_eq!(said, KINDS_MAX);
    }
}
