//! What can be seen of a worker from outside. It only looks: nothing in the pipeline knows of it.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use jiff::Timestamp;

use super::exposition;
use super::snapshot::{BrokerState, Snapshot};
use crate::broker::connection::Connection;
use crate::broker::consumer::RequestConsumer;
use crate::observe::recorder::Recorder;
use crate::pipeline::deferred::Deferred;
use crate::store::directory::DirectoryKeeper;
use crate::store::pool::Store;
use crate::sync::lock;
use crate::telemetry::labels::Build;

/// The status of one worker, from its start to its end.
#[derive(Debug)]
pub struct WorkerStatus {
    recorder: Arc<Recorder>,
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
    pub consumer: Arc<RequestConsumer>,
    /// What waits beside the lanes.
    pub deferred: Arc<Deferred>,
}

/// The session is looked at for as long as there is this.
#[derive(Debug)]
pub struct Observation(Arc<WorkerStatus>);

impl Drop for Observation {
    fn drop(&mut self) {
        *self.0.session() = None;
    }
}

impl WorkerStatus {
    /// The status of a worker that starts now.
    pub fn new(store: Store, recorder: Arc<Recorder>) -> Self {
        let started_at = Timestamp::now();
        let metrics = &recorder.metrics;
        metrics.build_info.of(Build::This).set(1);
        let seconds = started_at.as_millisecond() as f64 / 1000.0;
        metrics.start_time.set(seconds);
        Self {
            recorder,
            started_at,
            store,
            directory: OnceLock::new(),
            session: Mutex::default(),
            writing: Mutex::default(),
        }
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
        self.recorder.metrics.broker_sessions.inc();
        Observation(self.clone())
    }

    /// What is recorded of it.
    pub fn recorder(&self) -> &Arc<Recorder> {
        &self.recorder
    }

    /// Looks at everything.
    pub fn snapshot(&self) -> Snapshot {
        let session = self.session().clone();
        let directory = self.directory.get();
        Snapshot {
            reported: self.recorder.health.troubles(),
            pool: self.store.pool_state(),
            directory: directory.map(DirectoryKeeper::state),
            directory_failure: directory.and_then(DirectoryKeeper::failure),
            broker: session.map(|session| BrokerState {
                address: session.publishing.address(),
                is_open: session.consuming.is_open() && session.publishing.is_open(),
                is_blocked: session.publishing.is_blocked(),
                held: session.consumer.held(),
                backlogs: session.deferred.backlogs(),
            }),
        }
    }

    /// The text for Prometheus, with what is true now.
    pub fn metrics_text(&self) -> Result<String, std::fmt::Error> {
        let _one_at_a_time = lock(&self.writing);
        exposition::text(&self.recorder, &self.snapshot())
    }

    fn session(&self) -> MutexGuard<'_, Option<Observed>> {
        lock(&self.session)
    }
}
