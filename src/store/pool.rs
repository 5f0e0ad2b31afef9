//! Connections to PostgreSQL: how they are made, checked, bounded in time, and given up.

use std::fmt;
use std::future::Future;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use deadpool_postgres::{Hook, HookError, Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime};
use tokio_postgres::Config;

use super::error::StoreError;
use super::tls::{self, Trust};

/// How long one connection attempt to one address may take.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// How long a statement of ours may take on the server: a thousand times what a batch takes.
const STATEMENT_MAX: Duration = Duration::from_secs(10);

/// How long it may wait for a lock of somebody else: ours are held for milliseconds.
const LOCK_MAX: Duration = Duration::from_secs(2);

/// How long we wait for a statement: a little longer than the server lets it run, so that normally
/// the server's word comes first.
const ANSWER_MAX: Duration = Duration::from_secs(12);

/// Where the database is and how to log in. Never printed, as it holds a password.
#[derive(Clone)]
pub struct DatabaseUrl {
    config: Config,
    trust: Trust,
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatabaseUrl({})", self.address())
    }
}

impl DatabaseUrl {
    /// Reads a `postgres://` URL, with libpq's meaning of `sslmode` and `sslrootcert`.
    pub fn parse(text: &str) -> Result<Self, String> {
        if !["postgres://", "postgresql://"].iter().any(|scheme| text.starts_with(scheme)) {
            return Err("must begin with postgres://".to_owned());
        }
        let (servers, query) = text.split_once('?').unwrap_or((text, ""));
        let (trust, query) = Trust::take_from(query)?;
        let parsed = format!("{servers}?{query}").parse();
        let mut config: Config = parsed.map_err(|error: tokio_postgres::Error| {
            let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
            format!("is no PostgreSQL URL{}", cause.unwrap_or_default())
        })?;
        if config.get_hosts().is_empty() {
            return Err("names no host".to_owned());
        }
        if config.get_user().is_none() {
            return Err("names no user".to_owned());
        }
        config.get_connect_timeout().is_none().then(|| config.connect_timeout(CONNECT_MAX));
        config.get_application_name().is_none().then(|| config.application_name("profile-worker"));
        // A peer that is gone without a word is noticed by TCP within about this time.
        config.keepalives_idle(Duration::from_secs(30)).tcp_user_timeout(Duration::from_secs(15));
        Ok(Self { config, trust })
    }

    /// The servers, without the credentials.
    pub fn address(&self) -> String {
        let ports = self.config.get_ports();
        let host = |(i, host): (usize, &tokio_postgres::config::Host)| {
            let port = ports.get(i).or(ports.first()).copied().unwrap_or(5432);
            match host {
                tokio_postgres::config::Host::Tcp(name) => format!("{name}:{port}"),
                tokio_postgres::config::Host::Unix(path) => format!("{}:{port}", path.display()),
            }
        };
        self.config.get_hosts().iter().enumerate().map(host).collect::<Vec<_>>().join(",")
    }

    /// The database's name.
    pub fn name(&self) -> Option<&str> {
        self.config.get_dbname()
    }

    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    pub(super) fn connector(&self) -> Result<tls::Connector, StoreError> {
        self.trust.connector().map_err(StoreError::Unavailable)
    }
}

/// The database as the rest of the program sees it. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    pool: Pool,
    url: DatabaseUrl,
    opened: Arc<AtomicU64>,
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
        let recycling = ManagerConfig {
            // The other methods cost a round trip for each batch; a dead connection that looks
            // alive is caught by the time limit of the statement.
            recycling_method: RecyclingMethod::Fast,
        };
        let opened = Arc::<AtomicU64>::default();
        let counter = opened.clone();
        let manager = Manager::from_config(url.config().clone(), url.connector()?, recycling);
        let pool = Pool::builder(manager)
            .max_size(connections_max)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(ANSWER_MAX))
            .create_timeout(Some(CONNECT_MAX * 2))
            .recycle_timeout(Some(CONNECT_MAX))
            .post_create(Hook::async_fn(move |client, _| {
                counter.fetch_add(1, Ordering::Relaxed);
                Box::pin(async move {
                    // The pool's own time limits end before this. A pooler without a session to lend answers here, or not.
                    let settings = session_settings();
                    let set = tokio::time::timeout(ANSWER_MAX, client.batch_execute(&settings)).await;
                    set.map_err(|_| HookError::message("no session of PostgreSQL to be had in time"))?
                        .map_err(HookError::Backend)
                })
            }))
            .build()
            .map_err(|error| StoreError::Unavailable(error.to_string()))?;
        Ok(Self { pool, url: url.clone(), opened })
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
            opened: self.opened.load(Ordering::Relaxed),
        }
    }

    /// A connection for a statement or a few.
    pub(super) async fn lease(&self) -> Result<Lease, StoreError> {
        Ok(Lease { client: Some(self.pool.get().await?), pool: self.pool.clone() })
    }
}

/// What is set for each session. Not in the start-up packet, which poolers between us and the server
/// often refuse.
///
/// The server ends by itself what we no longer wait for.
///
/// Our statements are prepared once for each connection, and each has one good plan, whatever the
/// tables hold: index lookups. PostgreSQL would choose others for tables that are small, or that it
/// believes to be, and keep them when they have grown; so it is told to. With its cost of a table
/// that must be read as a whole (the directory) it would begin to compile, which takes longer than
/// to read.
fn session_settings() -> String {
    let limit = STATEMENT_MAX.as_millis();
    let lock = LOCK_MAX.as_millis();
    format!(
        "SET statement_timeout = {limit}; SET lock_timeout = {lock}; SET idle_in_transaction_session_timeout = {limit}; \
         SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET jit = off"
    )
}

/// A connection on loan. It goes back to the pool only by [`Lease::give_back`]: if a statement
/// fails, runs out of time, or is abandoned halfway, the connection is closed, since the next
/// statement on it would wait behind the abandoned one.
pub(super) struct Lease {
    client: Option<Object>,
    pool: Pool,
}

impl Lease {
    /// Hands the connection to the next one who needs it.
    pub(super) fn give_back(mut self) {
        drop(self.client.take());
    }
}

impl Deref for Lease {
    type Target = Object;

    fn deref(&self) -> &Object {
        match &self.client {
            Some(client) => client,
            None => unreachable!("the connection is taken only by give_back and drop"),
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(client) = self.client.take() {
            drop(Object::take(client));
            // What was lost or fell silent here may be so on the others: they are closed, too, once
            // nobody uses them. Else each would cost the time limit of a statement to find out.
            self.pool.retain(|_, _| false);
        }
    }
}

/// Waits for the database's answer, but not for ever.
pub(super) async fn within<T>(
    what: &'static str,
    answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, StoreError> {
    match tokio::time::timeout(ANSWER_MAX, answer).await {
        Ok(result) => Ok(result?),
        Err(_) => Err(StoreError::timed_out(what)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_no_credentials() {
        let url = DatabaseUrl::parse("postgres://u:secret@one:5433,two:5434/db?target_session_attrs=read-write");
        assert_eq!(format!("{:?}", url.unwrap()), "DatabaseUrl(one:5433,two:5434)");
    }

    #[test]
    fn what_is_wrong_with_a_url_is_said_without_repeating_it() {
        for (text, what) in [
            ("", "must begin with"),
            ("mysql://u@h/d", "must begin with"),
            ("postgres://u:secret@h/d?nonsense=1", "is no PostgreSQL URL"),
            ("postgres://h/d", "names no user"),
            ("postgres://u@h/d?sslmode=always", "sslmode"),
        ] {
            let problem = DatabaseUrl::parse(text).unwrap_err();
            assert!(problem.contains(what) && !problem.contains("secret"), "{text}: {problem}");
        }
    }
}
