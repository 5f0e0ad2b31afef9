//! What became of the requests, in numbers and words.

use std::collections::BTreeMap;
use std::time::Duration;

use super::waiting::Origin;

/// The exit code where some are refused.
pub(super) const SOME_REFUSED: u8 = 3;

/// How many requests were sent, and what became of them.
#[derive(Default, Clone)]
pub(super) struct Tally {
    /// Published.
    pub(super) sent: u64,
    /// Answered with error 0.
    pub(super) added: u64,
    /// Answered with another code; how many by code.
    pub(super) refused: BTreeMap<i64, u64>,
    /// Rows of which no request could be made.
    pub(super) unreadable: u64,
    /// Rows that the file, a report, says were added before.
    pub(super) before: u64,
}

impl Tally {
    /// Counts a row, whose outcome has this code.
    pub(super) fn add(&mut self, origin: Origin, code: i64) {
        match (origin, code) {
            (Origin::Reply, 0) => self.added += 1,
            (Origin::Reply, code) => *self.refused.entry(code).or_default() += 1,
            (Origin::Unreadable, _) => self.unreadable += 1,
            (Origin::Report, _) => self.before += 1,
        }
    }

    /// The requests that were answered, with whatever code.
    pub(super) fn answered(&self) -> u64 {
        self.added + self.refused()
    }

    /// The requests that were answered with another code than 0.
    pub(super) fn refused(&self) -> u64 {
        self.refused.values().sum()
    }

    /// The rows that are done.
    pub(super) fn rows(&self) -> u64 {
        self.answered() + self.unreadable + self.before
    }

    /// Says so in one line.
    pub(super) fn summary(&self, elapsed: Duration, no_wait: bool) -> String {
        let (done, count) = if no_wait {
            ("published", self.sent)
        } else {
            ("answered", self.answered())
        };
        let mut words = format!("{} {done} in {}", requests(count), time(elapsed));
        if count > 1 {
            let rate = count as f64 / elapsed.as_secs_f64().max(1e-9);
            words += &format!(", {rate:.0} per second");
        }
        if !no_wait && self.sent > self.answered() {
            words += &format!(", {} not answered", self.sent - self.answered());
        }
        if !self.refused.is_empty() {
            words += &format!("; {} added, {}", self.added, self.refusals());
        }
        if self.unreadable > 0 {
            words += &format!(
                "; {} not sent, as they can't be read",
                rows(self.unreadable)
            );
        }
        if self.before > 0 {
            words += &format!(
                "; {} not sent, as they were added before",
                rows(self.before)
            );
        }
        words
    }

    fn refusals(&self) -> String {
        let by_code = self.refused.iter();
        let by_code = by_code.map(|(code, count)| format!("{count} refused with {code}"));
        by_code.collect::<Vec<_>>().join(", ")
    }
}

/// So many requests, in words.
pub(super) fn requests(count: u64) -> String {
    format!("{count} request{}", if count == 1 { "" } else { "s" })
}

/// So many rows, in words.
pub(super) fn rows(count: u64) -> String {
    format!("{count} row{}", if count == 1 { "" } else { "s" })
}

fn time(elapsed: Duration) -> String {
    let seconds = elapsed.as_secs_f64();
    if seconds < 1.0 {
        format!("{:.1} ms", seconds * 1e3)
    } else {
        format!("{seconds:.1} s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(sent: u64, added: u64) -> Tally {
        Tally {
            sent,
            added,
            ..Tally::default()
        }
    }

    fn answered(sent: u64, added: u64, millis: u64) -> String {
        tally(sent, added).summary(Duration::from_millis(millis), false)
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
    fn each_kind_of_row_is_told() {
        let mut tally = tally(6, 0);
        for (origin, code) in [
            (Origin::Reply, 409),
            (Origin::Reply, 0),
            (Origin::Reply, 400),
            (Origin::Reply, 409),
            (Origin::Reply, 0),
            (Origin::Reply, 0),
            (Origin::Unreadable, 400),
            (Origin::Report, 0),
            (Origin::Report, 0),
        ] {
            tally.add(origin, code);
        }
        assert_eq!(
            tally.summary(Duration::from_secs(1), false),
            "6 requests answered in 1.0 s, 6 per second; 3 added, 1 refused with 400, 2 refused \
             with 409; 1 row not sent, as they can't be read; 2 rows not sent, as they were added \
             before"
        );
        assert_eq!((tally.answered(), tally.refused(), tally.rows()), (6, 3, 9));
    }

    #[test]
    fn who_does_not_wait_is_told_what_was_published() {
        assert_eq!(
            tally(10, 0).summary(Duration::from_secs(2), true),
            "10 requests published in 2.0 s, 5 per second"
        );
    }

    #[test]
    fn no_time_at_all_is_no_division_by_zero() {
        assert!(answered(2, 2, 0).starts_with("2 requests answered in 0.0 ms, "));
    }
}
