//! Holding a batch while the database is away: waiting, for ever if it must be, but not with
//! requests that others could do meanwhile.

use std::sync::atomic::{AtomicUsize, Ordering};
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
pub struct Holding(AtomicUsize);

/// Waits between attempts to reach the database.
#[derive(Debug)]
pub struct Hold<'h> {
    holding: &'h Holding,
    vitals: &'h Vitals,
    progress: &'h Progress,
    park_after: Duration,
    backoff: Backoff,
    since: Option<Instant>,
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        if self.since.is_some() {
            self.holding.0.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl<'h> Hold<'h> {
    /// Nothing is held yet. If the database is away for longer than `park_after` the lane parks: it
    /// gives its requests back to the queue, so that others can take them and no acknowledgement
    /// timeout of the broker runs out.
    pub fn new(holding: &'h Holding, vitals: &'h Vitals, progress: &'h Progress, park_after: Duration) -> Self {
        Self { holding, vitals, progress, park_after, backoff: Backoff::default(), since: None }
    }

    /// An attempt failed; waits before the next one.
    pub async fn after(&mut self, error: &StoreError) -> Result<(), GaveUp> {
        self.note(error);
        let stage = self.progress.enter(Stage::Hold);
        let waited = self.wait(error).await;
        self.progress.enter(stage);
        waited
    }

    async fn wait(&mut self, error: &StoreError) -> Result<(), GaveUp> {
        if matches!(error, StoreError::Conflict(_)) {
            // The database is there; somebody else came first.
            self.backoff.wait().await;
            return Ok(());
        }
        let since = *self.since.get_or_insert_with(|| {
            if self.holding.0.fetch_add(1, Ordering::Relaxed) == 0 {
                warn!(%error, "the database is away; requests are held until it is back");
                self.vitals.health.trouble(Part::Database, format!("the database is away; requests are held: {error}"));
            }
            Instant::now()
        });
        self.backoff.wait().await;
        if since.elapsed() > self.park_after { Err(GaveUp) } else { Ok(()) }
    }

    /// An attempt failed that needs no waiting.
    pub fn note(&self, error: &StoreError) {
        self.vitals.database_failed(error);
    }

    /// An attempt succeeded.
    pub fn over(&mut self) {
        self.backoff.reset();
        if let Some(since) = self.since.take()
            && self.holding.0.fetch_sub(1, Ordering::Relaxed) == 1
        {
            info!(elapsed_ms = since.elapsed().as_millis() as u64, "the database is back");
            self.vitals.health.well(Part::Database);
        }
    }
}
