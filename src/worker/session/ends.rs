//! Why a session ends, from how its lanes did.

use tokio::task::JoinError;

use crate::broker::error::BrokerError;
use crate::pipeline::lane::LaneEnd;

/// Whether there is still a broker to give something back to.
pub(super) fn gives_back(end: &LaneEnd) -> bool {
    match end {
        LaneEnd::Lost(error) => error.is_setup(),
        LaneEnd::Finished | LaneEnd::OutOfTime | LaneEnd::Parked => true,
    }
}

/// Nobody has asked for the end of the consumer yet.
pub(super) fn unasked(end: LaneEnd) -> LaneEnd {
    match end {
        LaneEnd::Finished => LaneEnd::Lost(BrokerError::Cancelled),
        other => other,
    }
}

/// The end that says the most, of two that say more than that all is finished: where one lane ran
/// out of time something is given back.
pub(super) fn more_telling(reason: Option<LaneEnd>, end: LaneEnd) -> Option<LaneEnd> {
    match (reason, end) {
        (Some(LaneEnd::OutOfTime), _) => Some(LaneEnd::OutOfTime),
        (reason, LaneEnd::Finished) => reason,
        (_, end) => Some(end),
    }
}

/// A lane that panics is a fault of ours outside the part where one message is to blame; the
/// session ends, and its requests are delivered again.
pub(super) fn unpanicked(ended: Result<LaneEnd, JoinError>) -> LaneEnd {
    ended.unwrap_or_else(|error| {
        LaneEnd::Lost(BrokerError::Lost(format!(
            "a lane ended by itself: {error}"
        )))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost() -> LaneEnd {
        LaneEnd::Lost(BrokerError::Lost("gone".to_owned()))
    }

    #[test]
    fn only_a_broker_that_is_there_is_given_something_back() {
        let missing = LaneEnd::Lost(BrokerError::Unroutable("results".to_owned()));
        for (end, expected) in [
            (LaneEnd::Finished, true),
            (LaneEnd::OutOfTime, true),
            (LaneEnd::Parked, true),
            (missing, true),
            (lost(), false),
        ] {
            assert_eq!(gives_back(&end), expected, "{end:?}");
        }
    }

    #[test]
    fn a_lane_that_finishes_unasked_has_lost_its_consumer() {
        assert!(matches!(
            unasked(LaneEnd::Finished),
            LaneEnd::Lost(BrokerError::Cancelled)
        ));
        assert!(matches!(unasked(LaneEnd::Parked), LaneEnd::Parked));
    }

    #[test]
    fn a_lane_that_ran_out_of_time_says_the_most_and_one_that_finished_the_least() {
        let of = |ends: Vec<LaneEnd>| ends.into_iter().fold(None, more_telling);
        assert!(of(vec![LaneEnd::Finished, LaneEnd::Finished]).is_none());
        let lost_then_finished = of(vec![lost(), LaneEnd::Finished]);
        assert!(matches!(lost_then_finished, Some(LaneEnd::Lost(_))));
        for ends in [
            vec![LaneEnd::OutOfTime, lost()],
            vec![lost(), LaneEnd::OutOfTime],
        ] {
            assert!(matches!(of(ends), Some(LaneEnd::OutOfTime)));
        }
    }
}
