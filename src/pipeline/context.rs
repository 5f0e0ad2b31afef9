//! What all lanes of a worker share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::Instant;

use super::destinations::{Destinations, SizeLimit};
use super::store_retry::{StoreRetry, StoreTrouble};
use super::suspects::Suspects;
use crate::config::WorkerConfig;
use crate::domain::identity::IdSource;
use crate::observe::progress::Progress;
use crate::observe::recorder::Recorder;
use crate::store::directory::DirectoryKeeper;
use crate::store::pool::Store;

/// What all lanes of a worker share; it outlives their sessions.
#[derive(Debug)]
pub struct Context {
    /// The settings.
    pub config: WorkerConfig,
    /// The database.
    pub store: Store,
    /// Who may do what.
    pub directory: DirectoryKeeper,
    /// Where ids come from.
    pub ids: IdSource,
    /// This process's name in dead letters.
    pub worker: String,
    /// Requests settled so far.
    pub settled: AtomicU64,
    /// Who waits for the database.
    pub store_trouble: StoreTrouble,
    /// Requests that may have ended a worker.
    pub suspects: Suspects,
    /// What is remembered of where messages go.
    pub destinations: Destinations,
    /// How large a message may be.
    pub size_limit: SizeLimit,
    /// What can be seen of the worker from outside.
    pub recorder: Arc<Recorder>,
}

impl Context {
    /// Makes the retry of a lane that has a batch.
    pub fn retry<'h>(&'h self, progress: &'h Progress) -> StoreRetry<'h> {
        StoreRetry::new(
            &self.store_trouble,
            &self.recorder,
            progress,
            self.config.park_after,
        )
    }

    /// Requests are acknowledged.
    pub fn settled(&self, arrivals: &[Instant]) {
        self.settled
            .fetch_add(arrivals.len() as u64, Ordering::Relaxed);
        let now = Instant::now();
        for arrived_at in arrivals {
            self.recorder
                .metrics
                .request_duration
                .observe((now - *arrived_at).as_secs_f64());
        }
    }
}
