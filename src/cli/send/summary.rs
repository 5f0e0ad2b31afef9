//! What became of the requests, in numbers and words.

use std::time::Duration;

/// How many requests were sent, and what became of them.
#[derive(Default, Clone, Copy)]
pub(super) struct Tally {
    /// Published.
    pub(super) sent: u64,
    /// Answered, with whatever code.
    pub(super) answered: u64,
    /// Answered with another error than 0.
    pub(super) refused: u64,
}

impl Tally {
    /// Says so in one line.
    pub(super) fn summary(self, elapsed: Duration, no_wait: bool) -> String {
        let plural = |n: u64| if n == 1 { "request" } else { "requests" };
        let rate = |n: u64| {
            let rate = n as f64 / elapsed.as_secs_f64().max(1e-9);
            if n > 1 {
                format!(", {rate:.0} per second")
            } else {
                String::new()
            }
        };
        let time = if elapsed < Duration::from_secs(1) {
            format!("{:.1} ms", elapsed.as_secs_f64() * 1e3)
        } else {
            format!("{:.1} s", elapsed.as_secs_f64())
        };
        if no_wait {
            return format!(
                "{} {} published in {time}{}",
                self.sent,
                plural(self.sent),
                rate(self.sent)
            );
        }
        let missing = match self.sent - self.answered {
            0 => String::new(),
            n => format!(", {n} not answered"),
        };
        format!(
            "{} {} answered in {time}{}{missing}",
            self.answered,
            plural(self.answered),
            rate(self.answered)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(sent: u64, answered: u64, millis: u64) -> String {
        let tally = Tally {
            sent,
            answered,
            refused: 0,
        };
        tally.summary(Duration::from_millis(millis), false)
    }

    #[test]
    fn one_request_has_no_rate() {
        assert_eq!(answered(1, 1, 12), "1 request answered in 12.0 ms");
    }

    #[test]
    fn many_requests_have_a_rate_and_a_long_time_is_in_seconds() {
        assert_eq!(
            answered(3000, 3000, 1500),
            "3000 requests answered in 1.5 s, 2000 per second"
        );
    }

    #[test]
    fn what_is_not_answered_is_told() {
        assert_eq!(
            answered(3, 2, 500),
            "2 requests answered in 500.0 ms, 4 per second, 1 not answered"
        );
        assert_eq!(
            answered(2, 0, 2000),
            "0 requests answered in 2.0 s, 2 not answered"
        );
    }

    #[test]
    fn who_does_not_wait_is_told_what_was_published() {
        let tally = Tally {
            sent: 10,
            ..Tally::default()
        };
        assert_eq!(
            tally.summary(Duration::from_secs(2), true),
            "10 requests published in 2.0 s, 5 per second"
        );
    }

    #[test]
    fn no_time_at_all_is_no_division_by_zero() {
        assert!(answered(2, 2, 0).starts_with("2 requests answered in 0.0 ms, "));
    }
}
