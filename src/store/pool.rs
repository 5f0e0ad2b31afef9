//! Connections to PostgreSQL: how they are made, checked, bounded in time, and given up.

use std::fmt;
use std::future::Future;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use deadpool::Runtime;
use deadpool::managed::{Object, Pool};
use tokio_postgres::Config;
use tokio_postgres::config::TargetSessionAttrs;

use super::email::Uniqueness;
use super::error::StoreError;
use super::servers::{self, CONNECT_MAX, Servers};
use super::sessions::{APPLICATION_NAME, known_as};
use super::tls::{self, Trust};
use crate::hosts;

/// How long a statement of ours may take on the server: a thousand times what a batch takes.
const STATEMENT_MAX: Duration = Duration::from_secs(10);

/// How long it may wait for a lock of somebody else: ours are held for milliseconds.
const LOCK_MAX: Duration = Duration::from_secs(2);

/// How long we wait for a statement: a little longer than the server lets it run, so that normally
/// the server's word comes first.
pub(super) const ANSWER_MAX: Duration = Duration::from_secs(12);

/// Where the database is and how to log in: at one server, or at several of which one takes writes,
/// as a primary and its standbys. Never printed, as it holds a password.
#[derive(Clone)]
pub struct DatabaseUrl {
    /// One for each server; never empty.
    servers: Vec<Config>,
    trust: Trust,
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatabaseUrl({})", self.address())
    }
}

impl DatabaseUrl {
    /// Reads a `postgres://` URL, with libpq's meaning of `sslmode` and `sslrootcert`, and of
    /// several hosts: `postgres://user@one,two:5433/name`.
    pub fn parse(text: &str) -> Result<Self, String> {
        if !["postgres://", "postgresql://"]
            .iter()
            .any(|scheme| text.starts_with(scheme))
        {
            return Err("must begin with postgres://".to_owned());
        }
        let (hosts, query) = text.split_once('?').unwrap_or((text, ""));
        let (trust, query) = Trust::take_from(query)?;
        let urls = hosts::one_by_one(hosts)?;
        let attributes = if urls.len() > 1 {
            TargetSessionAttrs::ReadWrite
        } else {
            TargetSessionAttrs::Any
        };
        let attributes = target_session_attributes(&query, attributes)?;
        let read = |url: &String| server(&format!("{url}?{query}"), attributes);
        Ok(Self {
            servers: urls.iter().map(read).collect::<Result<_, _>>()?,
            trust,
        })
    }

    /// The servers, without the credentials.
    pub fn address(&self) -> String {
        self.servers
            .iter()
            .map(servers::address)
            .collect::<Vec<_>>()
            .join(",")
    }

    /// The database's name.
    pub fn name(&self) -> Option<&str> {
        self.servers.first().and_then(Config::get_dbname)
    }

    /// What sessions are called, as the URL says.
    pub(super) fn application_name(&self) -> &str {
        let known_as = self
            .servers
            .first()
            .and_then(Config::get_application_name)
            .unwrap_or(APPLICATION_NAME);
        known_as.rsplit_once('/').map_or(known_as, |(name, _)| name)
    }

    /// Whether a server must take writes to be the right one.
    pub(super) fn needs_read_write(&self) -> bool {
        self.servers
            .iter()
            .any(|server| server.get_target_session_attrs() == TargetSessionAttrs::ReadWrite)
    }

    pub(super) fn servers(&self) -> &[Config] {
        &self.servers
    }

    pub(super) fn connector(&self) -> Result<tls::Connector, StoreError> {
        self.trust.connector().map_err(StoreError::Unavailable)
    }
}

/// What servers are asked for. All we do is to write, in the end: so of several servers the one
/// that takes writes is meant, and a wish for another one is a mistake that would show late.
fn target_session_attributes(
    query: &str,
    default: TargetSessionAttrs,
) -> Result<TargetSessionAttrs, String> {
    let given = url::form_urlencoded::parse(query.as_bytes())
        .find(|(name, _)| name == "target_session_attrs");
    match given.as_ref().map(|(_, value)| value.as_ref()) {
        None => Ok(default),
        Some("read-write") => Ok(TargetSessionAttrs::ReadWrite),
        Some("any") if default == TargetSessionAttrs::Any => Ok(TargetSessionAttrs::Any),
        Some(_) => Err(
            "target_session_attrs must be read-write, which is the default with several hosts: \
                        profiles are written, which a standby refuses"
                .to_owned(),
        ),
    }
}

fn server(url: &str, attributes: TargetSessionAttrs) -> Result<Config, String> {
    let mut config: Config = url.parse().map_err(|error: tokio_postgres::Error| {
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
        format!("is no PostgreSQL URL{}", cause.unwrap_or_default())
    })?;
    match (config.get_hosts(), config.get_hostaddrs()) {
        ([], []) => return Err("names no host".to_owned()),
        ([] | [_], [] | [_]) => {}
        _ => {
            return Err(
                "name several hosts before the database, as postgres://user@one,two/name"
                    .to_owned(),
            );
        }
    }
    if config.get_user().is_none() {
        return Err("names no user".to_owned());
    }
    config.target_session_attrs(attributes);
    config
        .get_connect_timeout()
        .is_none()
        .then(|| config.connect_timeout(CONNECT_MAX));
    let name = known_as(config.get_application_name().unwrap_or(APPLICATION_NAME));
    config.application_name(name);
    // A peer that is gone without a word is noticed by TCP within about this time.
    config
        .keepalives_idle(Duration::from_secs(30))
        .tcp_user_timeout(Duration::from_secs(15));
    Ok(config)
}

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
        Ok(Lease {
            client: Some(self.pool.get().await?),
            pool: self.pool.clone(),
        })
    }
}

/// What is set for each session. Not in the start-up packet, which poolers between us and the
/// server often refuse.
///
/// The server ends by itself what we no longer wait for.
///
/// Our statements are prepared once for each connection, and each has one good plan, whatever the
/// tables hold: index lookups. PostgreSQL would choose others for tables that are small, or that it
/// believes to be, and keep them when they have grown; so it is told to. With its cost of a table
/// that must be read as a whole (the directory) it would begin to compile, which takes longer than
/// to read.
pub(super) fn session_settings() -> String {
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
    client: Option<Object<Servers>>,
    pool: Pool<Servers>,
}

impl Lease {
    /// Hands the connection to the next one who needs it.
    pub(super) fn give_back(mut self) {
        drop(self.client.take());
    }
}

impl Deref for Lease {
    type Target = Object<Servers>;

    fn deref(&self) -> &Object<Servers> {
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
        let url = DatabaseUrl::parse(
            "postgres://u:secret@one:5433,two:5434/db?target_session_attrs=read-write",
        );
        assert_eq!(
            format!("{:?}", url.unwrap()),
            "DatabaseUrl(one:5433,two:5434)"
        );
    }

    #[test]
    fn of_several_servers_the_one_that_takes_writes_is_meant() {
        for (text, address, needs_read_write) in [
            ("postgres://u@one/d", "one:5432", false),
            (
                "postgres://u@one/d?target_session_attrs=any",
                "one:5432",
                false,
            ),
            (
                "postgres://u@one/d?target_session_attrs=read-write",
                "one:5432",
                true,
            ),
            (
                "postgres://u@one,two:5433,[::1]:1/d",
                "one:5432,two:5433,[::1]:1",
                true,
            ),
            (
                "postgres://u@one:1,two:2/d?target_session_attrs=read-write",
                "one:1,two:2",
                true,
            ),
            (
                "postgres://u@/d?host=/run/postgresql",
                "/run/postgresql:5432",
                false,
            ),
        ] {
            let url = DatabaseUrl::parse(text).unwrap();
            assert_eq!(
                (url.address().as_str(), url.needs_read_write()),
                (address, needs_read_write),
                "{text}"
            );
        }
    }

    #[test]
    fn each_server_is_asked_by_its_own_name_with_the_same_parameters() {
        let url = DatabaseUrl::parse(
            "postgres://u:p@one,two/d?connect_timeout=3&sslmode=require&application_name=a",
        );
        for (server, name) in url.unwrap().servers().iter().zip(["one", "two"]) {
            assert_eq!(
                server.get_hosts(),
                [tokio_postgres::config::Host::Tcp(name.to_owned())]
            );
            assert_eq!(server.get_connect_timeout(), Some(&Duration::from_secs(3)));
            assert_eq!(
                server.get_ssl_mode(),
                tokio_postgres::config::SslMode::Require
            );
            assert_eq!(server.get_application_name(), Some(known_as("a").as_str()));
        }
    }

    #[test]
    fn what_is_wrong_with_a_url_is_said_without_repeating_it() {
        for (text, what) in [
            ("", "must begin with"),
            ("mysql://u@h/d", "must begin with"),
            ("postgres://u:secret@h/d?nonsense=1", "is no PostgreSQL URL"),
            ("postgres://h/d", "names no user"),
            ("postgres://u@h/d?sslmode=always", "sslmode"),
            ("postgres://u:secret@one,/d", "a host is empty"),
            ("postgres://u:secret@one,two:x/d", "is no PostgreSQL URL"),
            ("postgres://u:secret@one/d?host=two", "before the database"),
            (
                "postgres://u:secret@one,two/d?target_session_attrs=any",
                "must be read-write",
            ),
            (
                "postgres://u:secret@one/d?target_session_attrs=read-only",
                "must be read-write",
            ),
        ] {
            let problem = DatabaseUrl::parse(text).unwrap_err();
            assert!(
                problem.contains(what) && !problem.contains("secret"),
                "{text}: {problem}"
            );
        }
    }
}
