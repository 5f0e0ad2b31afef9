//! `/status`: what a worker is, does and has done, as JSON.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::domain::outcome::Code;
use crate::status::WorkerStatus;
use crate::status::{BrokerState, Readiness, Snapshot};
use crate::store::directory::DirectoryState;
use crate::store::pool::PoolState;
use crate::store::schema::needed_version;
use crate::telemetry::labels::{Label, Redelivered, Stage};

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

#[derive(Serialize)]
struct Broker {
    address: String,
    publishing_blocked: bool,
    unsettled_requests: usize,
    unsettled_bytes: usize,
    prefetch: u16,
    /// Replies, events and dead letters that wait for a queue of their own.
    deferred_messages: usize,
}

#[derive(Serialize)]
struct Database {
    address: String,
    /// The number of the newest migration that this program knows; it does not start on an older
    /// schema.
    schema: i32,
    connections_idle: usize,
    connections_busy: usize,
    connections_max: usize,
}

#[derive(Serialize)]
struct Directory {
    age_seconds: f64,
    tokens: usize,
    databases: usize,
    resources: usize,
    fields: usize,
}

#[derive(Serialize)]
struct Requests {
    delivered: u64,
    redelivered: u64,
    answered: Counts<u64>,
    dead_lettered: u64,
}

/// Numbers by name, in their order.
struct Counts<N>(Vec<(&'static str, N)>);

impl<N: Serialize> Serialize for Counts<N> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, number)| (name, number)))
    }
}

/// Of this worker, now.
pub(super) fn of(status: &WorkerStatus) -> String {
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
        lanes: Counts(
            Stage::ALL
                .iter()
                .map(|stage| {
                    (
                        stage.value(),
                        status.recorder().metrics.lanes.of(*stage).get(),
                    )
                })
                .collect(),
        ),
        requests: Requests::of(status),
    };
    let mut text = serde_json::to_string_pretty(&status).unwrap_or_default();
    text.push('\n');
    text
}

impl From<BrokerState> for Broker {
    fn from(
        BrokerState {
            address,
            is_blocked,
            held,
            backlogs,
            ..
        }: BrokerState,
    ) -> Self {
        Self {
            address,
            publishing_blocked: is_blocked,
            unsettled_requests: held.requests,
            unsettled_bytes: held.bytes,
            prefetch: held.asked_for,
            deferred_messages: backlogs.iter().map(|backlog| backlog.messages).sum(),
        }
    }
}

impl Database {
    fn of(
        PoolState {
            max, idle, busy, ..
        }: PoolState,
        address: String,
    ) -> Self {
        Self {
            address,
            schema: needed_version(),
            connections_idle: idle,
            connections_busy: busy,
            connections_max: max,
        }
    }
}

impl From<DirectoryState> for Directory {
    fn from(
        DirectoryState {
            age,
            tokens,
            databases,
            resources,
            fields,
        }: DirectoryState,
    ) -> Self {
        Self {
            age_seconds: age.as_secs_f64(),
            tokens,
            databases,
            resources,
            fields,
        }
    }
}

impl Requests {
    fn of(status: &WorkerStatus) -> Self {
        let metrics = &status.recorder().metrics;
        let [first, again] =
            [Redelivered::No, Redelivered::Yes].map(|label| metrics.deliveries.of(label).get());
        let answered = Code::ALL
            .iter()
            .map(|code| (code.value(), metrics.decisions.of(*code).get()));
        Self {
            delivered: first + again,
            redelivered: again,
            answered: Counts(answered.collect()),
            dead_lettered: metrics.dead_letters.sum(),
        }
    }
}
