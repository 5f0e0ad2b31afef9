//! The directory of tokens, databases and resources: loaded as a whole, kept fresh by
//! notifications and, where those do not get through, by a timer.

mod entry;
mod load;
mod upkeep;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, watch};
use tokio::time::Instant;

use self::load::{load_all, load_if_newer};
use super::error::StoreError;
use super::pool::Store;
use crate::domain::directory::Directory;

/// How old a picture may be that requests are judged by. What was revoked stops within this time
/// and the time of one check: five seconds is what we promise.
const AGE_MAX: Duration = Duration::from_secs(4);

/// The directory as it is now. Cheap to clone; all clones see the same.
#[derive(Debug, Clone)]
pub struct DirectoryKeeper {
    store: Store,
    current: watch::Sender<Picture>,
    /// One check at a time is enough for all lanes.
    checking: Arc<Mutex<()>>,
    /// Why the last check failed, if it did.
    failure: watch::Sender<Option<Arc<str>>>,
}

/// What the worker knows of who may do what, in numbers.
#[derive(Debug, Clone, Copy)]
pub struct DirectoryState {
    /// Time since it was known to be true.
    pub age: Duration,
    /// API tokens, revoked ones included.
    pub tokens: usize,
    /// Databases.
    pub databases: usize,
    /// Resources.
    pub resources: usize,
    /// Custom fields that are defined.
    pub fields: usize,
}

#[derive(Debug, Clone)]
struct Picture {
    directory: Arc<Directory>,
    /// The directory was true at this moment.
    checked_at: Instant,
}

impl DirectoryKeeper {
    /// Loads the directory.
    pub async fn load(store: &Store) -> Result<Self, StoreError> {
        let checked_at = Instant::now();
        let directory = store.explained(load_all(store).await).await?;
        let (current, _) = watch::channel(Picture {
            directory,
            checked_at,
        });
        Ok(Self {
            store: store.clone(),
            current,
            checking: Arc::default(),
            failure: watch::Sender::default(),
        })
    }

    /// Tells what it holds, and how old it is.
    pub fn state(&self) -> DirectoryState {
        let Picture {
            directory,
            checked_at,
        } = self.current.borrow().clone();
        DirectoryState {
            age: checked_at.elapsed(),
            tokens: directory.tokens.len(),
            databases: directory.databases.len(),
            resources: directory.resources.len(),
            fields: directory
                .databases
                .values()
                .map(|database| database.fields.len())
                .sum(),
        }
    }

    /// Tells why the last comparison with the database failed; `None` if it did not.
    pub fn failure(&self) -> Option<Arc<str>> {
        self.failure.borrow().clone()
    }

    /// Returns a directory that was true a moment ago, at most a few seconds old.
    pub async fn recent(&self) -> Result<Arc<Directory>, StoreError> {
        let picture = self.current.borrow().clone();
        if picture.checked_at.elapsed() < AGE_MAX {
            return Ok(picture.directory);
        }
        self.true_since(picture.checked_at + AGE_MAX).await
    }

    /// Returns a directory that was true at `moment` or later.
    pub async fn true_since(&self, moment: Instant) -> Result<Arc<Directory>, StoreError> {
        let _one_at_a_time = self.checking.lock().await;
        let picture = self.current.borrow().clone();
        if picture.checked_at >= moment {
            return Ok(picture.directory);
        }
        let checked_at = Instant::now();
        let newer = load_if_newer(&self.store, picture.directory.version).await;
        let directory = self
            .store
            .explained(newer)
            .await?
            .unwrap_or(picture.directory);
        self.current.send_replace(Picture {
            directory: directory.clone(),
            checked_at,
        });
        self.failure.send_replace(None);
        Ok(directory)
    }
}
