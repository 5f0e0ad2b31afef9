//! Why a lane ends.

use crate::broker::error::BrokerError;
use crate::pipeline::store_retry::GaveUp;

/// Why a lane ended. Whatever it held and did not settle is given back by its session, or by the
/// broker when the connection closes.
#[derive(Debug)]
pub(crate) enum LaneEnd {
    /// The subscription has ended, and everything that came over it is finished.
    Finished,
    /// It was asked to, but its time ran out first.
    OutOfTime,
    /// The database is away for so long that others should have its requests, or its setup is at
    /// fault.
    Parked,
    /// The broker is lost, or something that the worker needs of it is missing.
    Lost(BrokerError),
}

impl From<BrokerError> for LaneEnd {
    fn from(error: BrokerError) -> Self {
        Self::Lost(error)
    }
}

impl From<GaveUp> for LaneEnd {
    fn from(GaveUp: GaveUp) -> Self {
        Self::Parked
    }
}
