//! Holding a batch while the database is away: waiting, for ever if it must be, but not with
//! requests that others could do meanwhile. A fault of the setup is not waited for with requests at
//! all, as it may take somebody days to mend it.

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;
use tracing::{info, warn};

use super::backoff::Backoff;
use crate::observe::health::Part;
use crate::observe::progress::Progress;
use crate::observe::reasons::Reasons;
use crate::observe::recorder::Recorder;
use crate::store::error::StoreError;
use crate::sync::lock;
use crate::telemetry::labels::Stage;

/// A batch can't be held any longer: the database is away for too long, or its setup is at fault.
/// It goes back to the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GaveUp;

/// What all lanes of a worker know of the database's trouble, so that each kind of it is said once,
/// and its end when the last one has noticed.
#[derive(Debug, Default)]
pub struct StoreTrouble(Mutex<Trouble>);

#[derive(Debug, Default)]
struct Trouble {
    /// How many lanes hold a batch now.
    lanes: usize,
    said: Reasons,
}

/// What becomes of requests while the database can't be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meanwhile {
    /// A lane has some, and tries again.
    Held,
    /// They stay in the queue.
    NotTaken,
}

impl StoreTrouble {
    /// Locked while it is said, so that what is said last is true.
    fn trouble(&self) -> MutexGuard<'_, Trouble> {
        lock(&self.0)
    }

    /// The database can't be used, for this reason: it is the one that operators see from now on.
    pub fn failed(&self, recorder: &Recorder, error: &StoreError, meanwhile: Meanwhile) {
        self.trouble().failed(recorder, error, meanwhile);
    }

    /// The database can store profiles. Whether somebody had said that it can't.
    pub fn is_over(&self, recorder: &Recorder) -> bool {
        self.trouble().is_over(recorder)
    }
}

impl Trouble {
    fn failed(&mut self, recorder: &Recorder, error: &StoreError, meanwhile: Meanwhile) {
        let words = words(error, meanwhile);
        if self.said.is_new(&error.to_string()) {
            warn!("{words}");
        }
        recorder.health.trouble(Part::Database, words);
    }

    fn is_over(&mut self, recorder: &Recorder) -> bool {
        recorder.health.well(Part::Database);
        self.said.forget()
    }
}

/// What a failure means.
fn words(error: &StoreError, meanwhile: Meanwhile) -> String {
    let what = match error {
        StoreError::Setup(_) | StoreError::Denied { .. } => "the setup of the database is at fault",
        StoreError::Slow(_) | StoreError::Unwell(_) => "the database can store nothing",
        StoreError::Unavailable(_) | StoreError::Conflict(_) | StoreError::Refused(_) => {
            "the database is away"
        }
    };
    let follows = match meanwhile {
        Meanwhile::Held => "requests are held until that is over",
        Meanwhile::NotTaken => "no requests are taken until that is over",
    };
    format!("{what}; {follows}: {error}")
}

/// Waits between attempts to reach the database.
#[derive(Debug)]
pub struct StoreRetry<'h> {
    store_trouble: &'h StoreTrouble,
    recorder: &'h Recorder,
    progress: &'h Progress,
    park_after: Duration,
    backoff: Backoff,
    since: Option<Instant>,
    waits_for_lock: bool,
}

impl Drop for StoreRetry<'_> {
    /// The lane ends; whoever makes new ones looks at the database first, and says how it is.
    fn drop(&mut self) {
        if self.since.is_some() {
            self.store_trouble.trouble().lanes -= 1;
        }
    }
}

impl<'h> StoreRetry<'h> {
    /// Nothing is held yet. If the database is away for longer than `park_after` the lane parks: it
    /// gives its requests back to the queue, so that others can take them and no acknowledgement
    /// timeout of the broker runs out.
    pub fn new(
        store_trouble: &'h StoreTrouble,
        recorder: &'h Recorder,
        progress: &'h Progress,
        park_after: Duration,
    ) -> Self {
        let backoff = Backoff::default();
        Self {
            store_trouble,
            recorder,
            progress,
            park_after,
            backoff,
            since: None,
            waits_for_lock: false,
        }
    }

    /// An attempt failed, and not for what it carried; waits before the next one.
    ///
    /// # Errors
    ///
    /// Waiting has taken too long, or is of no use: after a fault of the setup there is one wait,
    /// so that one which is over by then parks nobody.
    pub async fn after(&mut self, error: &StoreError) -> Result<(), GaveUp> {
        self.recorder.database_failed(error);
        if matches!(error, StoreError::Conflict(_)) {
            // The database is there; somebody else came first.
            self.wait().await;
            return Ok(());
        }
        let is_setup = matches!(error, StoreError::Setup(_) | StoreError::Denied { .. });
        let since = self.begin(
            error,
            if is_setup {
                Meanwhile::NotTaken
            } else {
                Meanwhile::Held
            },
        );
        self.wait().await;
        if is_setup || since.elapsed() > self.park_after {
            Err(GaveUp)
        } else {
            Ok(())
        }
    }

    /// The batch is held, if it was not before. Returns since when.
    fn begin(&mut self, error: &StoreError, meanwhile: Meanwhile) -> Instant {
        let mut trouble = self.store_trouble.trouble();
        if self.since.is_none() {
            trouble.lanes += 1;
        }
        trouble.failed(self.recorder, error, meanwhile);
        *self.since.get_or_insert_with(Instant::now)
    }

    /// An attempt failed, but the database takes other profiles; waits before the next one. Others
    /// could not do it either, so it is waited for without an end.
    pub async fn after_lock(&mut self, error: &StoreError) {
        self.recorder.database_failed(error);
        self.over();
        if !self.waits_for_lock {
            warn!(%error, "requests wait in the database, behind somebody else's lock or because it is slow");
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
        self.recorder.database_failed(error);
        self.over();
    }

    /// An attempt succeeded.
    pub fn succeeded(&mut self) {
        self.backoff.reset();
        self.over();
    }

    /// The database has answered.
    fn over(&mut self) {
        let Some(since) = self.since.take() else {
            return;
        };
        let mut trouble = self.store_trouble.trouble();
        trouble.lanes -= 1;
        if trouble.lanes == 0 {
            info!(
                elapsed_ms = since.elapsed().as_millis() as u64,
                "the database is back"
            );
            trouble.is_over(self.recorder);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_say_whose_fault_it_is_and_what_becomes_of_requests() {
        for (error, meanwhile, expected) in [
            (
                StoreError::Unavailable("no route".to_owned()),
                Meanwhile::Held,
                "the database is away; requests are held until that is over",
            ),
            (
                StoreError::Slow("a lock".to_owned()),
                Meanwhile::Held,
                "the database can store nothing; requests are held until that is over",
            ),
            (
                StoreError::Setup("no table".to_owned()),
                Meanwhile::NotTaken,
                "the setup of the database is at fault; no requests are taken until that is over",
            ),
        ] {
            let words = words(&error, meanwhile);
            assert!(words.starts_with(expected), "{words}");
            assert!(words.ends_with(&error.to_string()), "{words}");
        }
    }
}
