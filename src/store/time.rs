//! The calendar's moments ⇄ those of the database client, which does not know the calendar.

use std::time::SystemTime;

use jiff::Timestamp;

/// A moment as a parameter. No moment of the calendar is out of the system's range.
pub(super) fn system_time(moment: Timestamp) -> SystemTime {
    SystemTime::try_from(moment).unwrap_or(SystemTime::UNIX_EPOCH)
}

/// A moment from a row; `None` where the calendar ends.
pub(super) fn timestamp(time: SystemTime) -> Option<Timestamp> {
    Timestamp::try_from(time).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_comes_back_as_it_was() {
        for text in [
            "1969-12-31T23:59:58.5Z",
            "1970-01-01T00:00:00Z",
            "2026-11-23T20:00:00.123456Z",
        ] {
            let moment: Timestamp = text.parse().unwrap();
            assert_eq!(timestamp(system_time(moment)), Some(moment));
        }
    }
}
