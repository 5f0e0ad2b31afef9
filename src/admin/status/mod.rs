//! `/status`: what a worker is, does and has done, as JSON.

mod counts;
mod parts;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use self::counts::{Counts, Requests};
use self::parts::{Broker, Database, Directory};
use crate::status::{Readiness, Snapshot, WorkerStatus};

#[derive(Serialize)]
struct Status {
    version: &'static str,
    started_at: Timestamp,
    uptime_seconds: i64,
    ready: bool,
    /// Why it is not ready.
    reasons: Vec<String>,
    /// What is no reason not to be ready, but worth knowing.
    notes: Vec<String>,
    broker: Option<Broker>,
    database: Database,
    directory: Option<Directory>,
    lanes: Counts<i64>,
    requests: Requests,
}

/// Writes down the status of this worker, now.
pub(super) fn of(status: &WorkerStatus) -> String {
    let metrics = &status.recorder().metrics;
    let snapshot = status.snapshot();
    let Readiness { troubles, notes } = snapshot.readiness();
    let Snapshot {
        pool,
        directory,
        broker,
        ..
    } = snapshot;
    let status = Status {
        version: env!("CARGO_PKG_VERSION"),
        started_at: status.started_at(),
        uptime_seconds: Timestamp::now()
            .duration_since(status.started_at())
            .max(SignedDuration::ZERO)
            .as_secs(),
        ready: troubles.is_empty(),
        reasons: troubles,
        notes,
        broker: broker.map(Broker::from),
        database: Database::of(pool, status.database_address()),
        directory: directory.map(Directory::from),
        lanes: counts::lanes(metrics),
        requests: Requests::of(metrics),
    };
    let mut text = serde_json::to_string_pretty(&status).unwrap_or_default();
    text.push('\n');
    text
}
