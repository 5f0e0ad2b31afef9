//! What can be seen of a worker from outside: its metrics, its health, and what stands behind both.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use super::deferred::{Backlog, Deferred};
use super::health::Health;
use crate::broker::connection::Connection;
use crate::broker::error::BrokerError;
use crate::broker::subscription::{Held, Subscription};
use crate::store::directory::{DirectoryKeeper, DirectoryState};
use crate::store::error::StoreError;
use crate::store::pool::{PoolState, Store};
use crate::telemetry::labels::{
    Build, Connections, Destination, DirectoryEntries, FailureKind, Label, LossCause,
};
use crate::telemetry::logs::{self, Seldom};
use crate::telemetry::metrics::{Metrics, Raise};
use crate::telemetry::process;
use crate::telemetry::traces::Traces;

/// The directory is compared with the database every two seconds; when it was not for so long the
/// database does not answer.
const DIRECTORY_AGE_MAX: Duration = Duration::from_secs(10);

/// Of one worker, from its start to its end.
#[derive(Debug)]
pub struct Vitals {
    /// To be recorded by whoever does the work.
    pub metrics: Metrics,
    /// To be reported to by whoever waits for a server.
    pub health: Health,
    /// If requests are recorded.
    pub traces: Option<Traces>,
    /// Replies that their requesters do not get.
    pub returned: Seldom,
    /// Messages that wait for a queue that does not confirm.
    pub slow: Seldom,
    /// Unreadable messages that were dropped.
    pub dropped: Seldom,
    started_at: Timestamp,
    store: Store,
    directory: OnceLock<DirectoryKeeper>,
    session: Mutex<Option<Observed>>,
    writing: Mutex<()>,
}

/// The parts of a session that can be looked at.
#[derive(Debug, Clone)]
pub struct Observed {
    /// The connection that requests come over.
    pub consuming: Connection,
    /// The connection that everything is published on.
    pub publishing: Connection,
    /// What came in.
    pub subscription: Arc<Subscription>,
    /// What waits beside the lanes.
    pub deferred: Arc<Deferred>,
}

/// The session is looked at for as long as there is this.
#[derive(Debug)]
pub struct Observation(Arc<Vitals>);

impl Drop for Observation {
    fn drop(&mut self) {
        *self.0.session() = None;
    }
}

/// One look at everything that changes by itself.
#[derive(Debug)]
pub struct Reading {
    /// What keeps the worker from being ready; empty if nothing does.
    pub troubles: Vec<String>,
    /// What else an operator should know.
    pub notes: Vec<String>,
    /// The pool of connections to the database.
    pub pool: PoolState,
    /// Who may do what; `None` before it is loaded.
    pub directory: Option<DirectoryState>,
    /// The session with the broker, if there is one.
    pub broker: Option<BrokerState>,
}

/// The session with the broker.
#[derive(Debug, Clone)]
pub struct BrokerState {
    /// The server.
    pub address: String,
    /// It takes no messages, as it is low on memory or disk.
    pub is_blocked: bool,
    /// What came in and is not acknowledged, but for what waits beside the lanes.
    pub held: Held,
    /// What waits beside the lanes.
    pub backlogs: Vec<Backlog>,
}

impl Vitals {
    /// Of a worker that starts now.
    pub fn new(store: Store, traces: Option<Traces>) -> Self {
        let vitals = Self {
            metrics: Metrics::default(),
            health: Health::default(),
            traces,
            returned: Seldom::default(),
            slow: Seldom::default(),
            dropped: Seldom::default(),
            started_at: Timestamp::now(),
            store,
            directory: OnceLock::new(),
            session: Mutex::default(),
            writing: Mutex::default(),
        };
        vitals.metrics.build_info.of(Build::This).set(1);
        vitals
            .metrics
            .start_time
            .set(vitals.started_at.as_millisecond() as f64 / 1000.0);
        vitals
    }

    /// When the worker started.
    pub fn started_at(&self) -> Timestamp {
        self.started_at
    }

    /// Where the database is.
    pub fn database_address(&self) -> String {
        self.store.url().address()
    }

    /// The directory is loaded.
    pub fn knows(&self, directory: &DirectoryKeeper) {
        // There is one in the life of a worker.
        drop(self.directory.set(directory.clone()));
    }

    /// A session has begun.
    pub fn observe(self: &Arc<Self>, session: Observed) -> Observation {
        *self.session() = Some(session);
        self.metrics.broker_sessions.inc();
        Observation(self.clone())
    }

    /// A session was lost.
    pub fn broker_failed(&self, error: &BrokerError) {
        let cause = match error {
            BrokerError::Refused(_)
            | BrokerError::RefusedTopic { .. }
            | BrokerError::TooLarge(_) => LossCause::Refused,
            BrokerError::Fault(_) => LossCause::Fault,
            BrokerError::Lost(_) => LossCause::Lost,
            BrokerError::TimedOut(..) => LossCause::TimedOut,
            BrokerError::Cancelled => LossCause::Cancelled,
            BrokerError::Unroutable(_) => LossCause::Unroutable,
        };
        self.metrics.broker_losses.of(cause).inc();
    }

    /// An attempt to use the database failed.
    pub fn database_failed(&self, error: &StoreError) {
        let kind = match error {
            StoreError::Unavailable(_) | StoreError::Unwell(_) => FailureKind::Unavailable,
            StoreError::Setup(_) | StoreError::Denied { .. } => FailureKind::Setup,
            StoreError::Slow(_) => FailureKind::Slow,
            StoreError::Conflict(_) => FailureKind::Conflict,
            StoreError::Refused(_) => FailureKind::Refused,
        };
        self.metrics.database_failures.of(kind).inc();
    }

    /// Looks at everything.
    pub fn read(&self) -> Reading {
        let session = self.session().clone();
        let broker = session.as_ref().map(|session| BrokerState {
            address: session.publishing.address(),
            is_blocked: session.publishing.is_blocked(),
            held: session.subscription.held(),
            backlogs: session.deferred.backlogs(),
        });
        let directory = self.directory.get().map(DirectoryKeeper::state);
        let mut troubles = self.health.troubles();
        if session
            .is_some_and(|session| !session.consuming.is_open() || !session.publishing.is_open())
        {
            troubles.push("the connection to RabbitMQ is lost".to_owned());
        }
        if broker.is_none() && troubles.is_empty() {
            troubles.push("no requests are taken at this moment".to_owned());
        }
        if broker.as_ref().is_some_and(|broker| broker.is_blocked) {
            troubles.push("RabbitMQ is low on memory or disk and takes no messages".to_owned());
        }
        let mut notes = Vec::new();
        for backlog in broker
            .iter()
            .flat_map(|broker| &broker.backlogs)
            .filter(|backlog| backlog.is_worth_telling())
        {
            // A queue that a request named is no trouble of the worker's.
            let to = if backlog.destination.is_requesters() {
                &mut notes
            } else {
                &mut troubles
            };
            to.push(backlog.words());
        }
        if let Some(age) = directory
            .as_ref()
            .map(|directory| directory.age)
            .filter(|age| *age > DIRECTORY_AGE_MAX)
        {
            let reason = self.directory.get().and_then(DirectoryKeeper::failure);
            let reason = reason
                .map(|reason| format!(": {reason}"))
                .unwrap_or_default();
            troubles.push(format!(
                "PostgreSQL has not answered for {} s{reason}",
                age.as_secs()
            ));
        }
        Reading {
            troubles,
            notes,
            pool: self.store.pool_state(),
            directory,
            broker,
        }
    }

    /// The text for Prometheus, with what is true now.
    pub fn metrics_text(&self) -> Result<String, std::fmt::Error> {
        // Two that ask at once would count up twice what is counted elsewhere.
        let _one_at_a_time = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let reading = self.read();
        let metrics = &self.metrics;
        metrics.ready.set(i64::from(reading.troubles.is_empty()));
        self.set_broker(reading.broker);
        let PoolState {
            max,
            idle,
            busy,
            waiting,
            opened,
        } = reading.pool;
        metrics
            .database_connections
            .of(Connections::Idle)
            .set(number(idle));
        metrics
            .database_connections
            .of(Connections::Busy)
            .set(number(busy));
        metrics.database_connections_max.set(number(max));
        metrics.database_connections_waiting.set(number(waiting));
        metrics.database_connections_opened.raise_to(opened);
        if let Some(DirectoryState {
            age,
            tokens,
            databases,
            resources,
            fields,
        }) = reading.directory
        {
            metrics.directory_age.set(age.as_secs_f64());
            let entries = &metrics.directory_entries;
            entries.of(DirectoryEntries::Tokens).set(number(tokens));
            entries
                .of(DirectoryEntries::Databases)
                .set(number(databases));
            entries
                .of(DirectoryEntries::Resources)
                .set(number(resources));
            entries.of(DirectoryEntries::Fields).set(number(fields));
        }
        metrics.log_lines_dropped.raise_to(logs::dropped());
        metrics
            .spans_dropped
            .raise_to(self.traces.as_ref().map_or(0, Traces::dropped));
        if let Some(process) = process::look() {
            metrics
                .resident_memory
                .set(i64::try_from(process.resident_bytes).unwrap_or(i64::MAX));
            metrics.open_files.set(number(process.open_files));
            metrics.cpu.raise_to(process.cpu_seconds);
        }
        metrics.encode()
    }

    /// Zero where there is no session.
    fn set_broker(&self, broker: Option<BrokerState>) {
        let (is_blocked, held, backlogs) = broker.map_or_else(Default::default, |broker| {
            (broker.is_blocked, broker.held, broker.backlogs)
        });
        for label in Destination::ALL {
            let of_it = backlogs
                .iter()
                .filter(|backlog| backlog.destination.label() == *label);
            let messages = of_it.map(|backlog| backlog.messages).sum();
            self.metrics
                .deferred_messages
                .of(*label)
                .set(number(messages));
        }
        self.metrics.publishing_blocked.set(i64::from(is_blocked));
        self.metrics.unsettled_requests.set(number(held.requests));
        self.metrics.unsettled_bytes.set(number(held.bytes));
        self.metrics
            .prefetch_requests
            .set(i64::from(held.asked_for));
    }

    fn session(&self) -> std::sync::MutexGuard<'_, Option<Observed>> {
        // Nothing is left half done behind it.
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
