//! What a worker is and does at this moment, for whoever asks ([`crate::admin`]).
//!
//! It only looks: nothing that does the work knows of it. Whether the worker is ready follows from
//! a [`Snapshot`] alone.

mod exposition;
mod snapshot;
mod worker_status;

pub(crate) use self::snapshot::{BrokerState, Readiness, Snapshot};
pub(crate) use self::worker_status::{Observed, WorkerStatus};
