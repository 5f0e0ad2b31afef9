//! The pool of connections to PostgreSQL.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use deadpool::Runtime;
use deadpool::managed::Pool;

use super::email::uniqueness::Uniqueness;
use super::error::StoreError;
use super::lease::Lease;
use super::limits::ANSWER_MAX;
use super::servers::Servers;
use super::url::DatabaseUrl;

/// The database as the rest of the program sees it. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    pool: Pool<Servers>,
    url: DatabaseUrl,
    /// The `db_id` that took a profile last; 0 before the first.
    stored_in: Arc<AtomicI64>,
    /// The key of older workers was removed, as far as we know.
    is_contracted: Arc<AtomicBool>,
}

/// The pool at one moment.
#[derive(Debug, Clone, Copy)]
pub struct PoolState {
    /// The most connections that it may have.
    pub max: usize,
    /// Open, and nobody uses them.
    pub idle: usize,
    /// In use, or being opened.
    pub busy: usize,
    /// Who waits for one.
    pub waiting: usize,
    /// How many were opened so far.
    pub opened: u64,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Store({})", self.url.address())
    }
}

impl Store {
    /// A pool of at most `connections_max`; none is opened yet.
    pub fn new(url: &DatabaseUrl, connections_max: usize) -> Result<Self, StoreError> {
        let pool = Pool::builder(Servers::new(url)?)
            .max_size(connections_max)
            .runtime(Runtime::Tokio1)
            // Connecting has limits of its own, one for each address.
            .wait_timeout(Some(ANSWER_MAX))
            .build()
            .map_err(|error| StoreError::Unavailable(error.to_string()))?;
        Ok(Self {
            pool,
            url: url.clone(),
            stored_in: Arc::default(),
            is_contracted: Arc::default(),
        })
    }

    /// Where the database is.
    pub fn url(&self) -> &DatabaseUrl {
        &self.url
    }

    /// The pool now.
    pub fn pool_state(&self) -> PoolState {
        let status = self.pool.status();
        PoolState {
            max: status.max_size,
            idle: status.available,
            busy: status.size.saturating_sub(status.available),
            waiting: status.waiting,
            opened: self.servers().opened(),
        }
    }

    /// The `db_id` that took a profile last; 0, which is nobody's, before the first.
    pub(super) fn last_stored_in(&self) -> i64 {
        self.stored_in.load(Ordering::Relaxed)
    }

    pub(super) fn has_stored_in(&self, db_id: i64) {
        self.stored_in.store(db_id, Ordering::Relaxed);
    }

    /// What emails are unique by, as far as we know.
    pub(super) fn uniqueness(&self) -> Uniqueness {
        if self.is_contracted.load(Ordering::Relaxed) {
            Uniqueness::ByHash
        } else {
            Uniqueness::ByBoth
        }
    }

    pub(super) fn knows(&self, unique: Uniqueness) {
        self.is_contracted
            .store(unique == Uniqueness::ByHash, Ordering::Relaxed);
    }

    /// The servers behind it, for a connection outside the pool.
    pub(super) fn servers(&self) -> &Servers {
        self.pool.manager()
    }

    /// Closes the connections that nobody uses now: the next ones lead to the server that takes
    /// writes by then.
    pub(super) fn forget_idle(&self) {
        self.pool.retain(|_, _| false);
    }

    /// A connection for a statement or a few.
    pub(super) async fn lease(&self) -> Result<Lease, StoreError> {
        Lease::from(&self.pool).await
    }
}
