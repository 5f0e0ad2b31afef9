//! Holding a batch while the database is away: waiting, for ever if it must be, but not with
//! requests that others could do meanwhile.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tracing::{info, warn};

use super::backoff::Backoff;
use super::health::Part;
use super::progress::Progress;
use super::vitals::Vitals;
use crate::store::error::StoreError;
use crate::telemetry::labels::Stage;

/// The database is away for too long to hold a batch any longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GaveUp;

/// How many lanes of a worker hold a batch now: the first one says that the database is away, the
/// last one that it is back.
#[derive(Debug, Default)]
pub struct Holding(Mutex<usize>);

impl Holding {
    /// Locked while it is said, so that what is said last is true.
    fn lanes(&self) -> MutexGuard<'_, usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits between attempts to reach the database.
#[derive(Debug)]
pub struct Hold<'h> {
    holding: &'h Holding,
    vitals: &'h Vitals,
    progress: &'h Progress,
    park_after: Duration,
    backoff: Backoff,
    since: Option<Instant>,
    waits_for_lock: bool,
}

impl Drop for Hold<'_> {
    /// The lane ends; whoever makes new ones looks at the database first, and says how it is.
    fn drop(&mut self) {
        if self.since.is_some() {
            *self.holding.lanes() -= 1;
        }
    }
}

impl<'h> Hold<'h> {
    /// Nothing is held yet. If the database is away for longer than `park_after` the lane parks: it
    /// gives its requests back to the queue, so that others can take them and no acknowledgement
    /// timeout of the broker runs out.
    pub fn new(holding: &'h Holding, vitals: &'h Vitals, progress: &'h Progress, park_after: Duration) -> Self {
        let backoff = Backoff::default();
        Self { holding, vitals, progress, park_after, backoff, since: None, waits_for_lock: false }
    }

    /// An attempt failed; waits before the next one.
    pub async fn after(&mut self, error: &StoreError) -> Result<(), GaveUp> {
        self.vitals.database_failed(error);
        if matches!(error, StoreError::Conflict(_)) {
            // The database is there; somebody else came first.
            self.wait().await;
            return Ok(());
        }
        let since = *self.since.get_or_insert_with(|| {
            let mut lanes = self.holding.lanes();
            *lanes += 1;
            if *lanes == 1 {
                warn!(%error, "the database is away; requests are held until it is back");
                self.vitals.health.trouble(Part::Database, format!("the database is away; requests are held: {error}"));
            }
            Instant::now()
        });
        self.wait().await;
        if since.elapsed() > self.park_after { Err(GaveUp) } else { Ok(()) }
    }

    /// An attempt failed, but the database takes other profiles; waits before the next one. Others
    /// could not do it either, so it is waited for without an end.
    pub async fn after_lock(&mut self, error: &StoreError) {
        self.vitals.database_failed(error);
        self.over();
        if !self.waits_for_lock {
            warn!(%error, "requests wait in the database, behind a lock of somebody else or as it is slow");
            self.waits_for_lock = true;
        }
        self.wait().await;
    }

    async fn wait(&mut self) {
        let stage = self.progress.enter(Stage::Hold);
        self.backoff.wait().await;
        self.progress.enter(stage);
    }

    /// The database has refused something: it is there.
    pub fn refused(&mut self, error: &StoreError) {
        self.vitals.database_failed(error);
        self.over();
    }

    /// An attempt succeeded.
    pub fn succeeded(&mut self) {
        self.backoff.reset();
        self.over();
    }

    /// The database has answered.
    fn over(&mut self) {
        let Some(since) = self.since.take() else { return };
        let mut lanes = self.holding.lanes();
        *lanes -= 1;
        if *lanes == 0 {
            info!(elapsed_ms = since.elapsed().as_millis() as u64, "the database is back");
            self.vitals.health.well(Part::Database);
        }
    }
}
