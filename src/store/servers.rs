//! The servers that `DATABASE_URL` names: which of them takes writes is found out by asking, one
//! after the other, at each new connection. So a worker follows a fail-over by itself.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use deadpool::managed::{self, Metrics, RecycleError};
use deadpool_postgres::ClientWrapper;
use tokio::time::timeout;
use tokio_postgres::config::Host;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, Config, Connection, Socket};

use super::error::StoreError;
use super::limits::{ANSWER_MAX, CONNECT_MAX, session_settings};
use super::tls::Connector;
use super::url::{DatabaseUrl, address, port};

/// A connection and what drives it.
pub(super) type Line = (
    Client,
    Connection<Socket, <Connector as MakeTlsConnect<Socket>>::Stream>,
);

/// The servers, of which one is the primary.
pub(super) struct Servers {
    url: DatabaseUrl,
    connector: Connector,
    /// The place of the last one that would do: asked first, so that a server that is gone for good
    /// costs its time limit once and not for each connection.
    last_good: AtomicUsize,
    /// How many connections the pool has got.
    opened: AtomicU64,
}

impl Servers {
    pub(super) fn new(url: &DatabaseUrl) -> Result<Self, StoreError> {
        Ok(Self {
            url: url.clone(),
            connector: url.connector()?,
            last_good: AtomicUsize::new(0),
            opened: AtomicU64::new(0),
        })
    }

    /// How many connections the pool has got so far.
    pub(super) fn opened(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
    }

    /// Connects to the first server that would do.
    pub(super) async fn connect(&self) -> Result<Line, StoreError> {
        let servers = self.url.servers();
        let first = self.last_good.load(Ordering::Relaxed);
        let mut failures = Vec::new();
        for index in (0..servers.len()).map(|step| (first + step) % servers.len()) {
            match self.connect_to(&servers[index]).await {
                Ok(line) => {
                    self.last_good.store(index, Ordering::Relaxed);
                    return Ok(line);
                }
                Err(failure) => failures.push((index, failure)),
            }
        }
        // In the order of the URL, so that the same trouble is told in the same words.
        failures.sort_by_key(|(index, _)| *index);
        Err(none_would_do(
            failures
                .into_iter()
                .map(|(index, failure)| (address(&servers[index]), failure))
                .collect(),
        ))
    }

    /// Tries each address of one server: a name may have several, of which one is the primary's.
    async fn connect_to(&self, config: &Config) -> Result<Line, StoreError> {
        let limit = config.get_connect_timeout().copied().unwrap_or(CONNECT_MAX);
        let mut failures = Vec::new();
        for ip in addresses(config, limit).await? {
            let mut config = config.clone();
            if let Some(ip) = ip {
                // The name stays what a certificate must be for.
                config.hostaddr(ip);
            }
            // The library's own limit is about the socket alone; a server that is paused takes
            // that.
            match timeout(limit, config.connect(self.connector.clone())).await {
                Ok(Ok(line)) => return Ok(line),
                Ok(Err(error)) => failures.push((ip, login_error(error, &config))),
                Err(_) => failures.push((ip, StoreError::timed_out("connect"))),
            }
        }
        let name = |ip: Option<IpAddr>| ip.map(|ip| ip.to_string()).unwrap_or_default();
        Err(none_would_do(
            failures
                .into_iter()
                .map(|(ip, failure)| (name(ip), failure))
                .collect(),
        ))
    }
}

fn login_error(error: tokio_postgres::Error, config: &Config) -> StoreError {
    let role = config.get_user().unwrap_or_default();
    // A database of the role's own name is what PostgreSQL takes if the URL names none.
    StoreError::at_login(error, role, config.get_dbname().unwrap_or(role))
}

/// The addresses behind a server's name; `None` where there is no name to look up.
async fn addresses(config: &Config, limit: Duration) -> Result<Vec<Option<IpAddr>>, StoreError> {
    let (Some(Host::Tcp(name)), []) = (config.get_hosts().first(), config.get_hostaddrs()) else {
        return Ok(vec![None]);
    };
    let found = timeout(
        limit,
        tokio::net::lookup_host((name.as_str(), port(config))),
    )
    .await;
    let found = found.map_err(|_| StoreError::timed_out("looking up its name"))?;
    let found =
        found.map_err(|error| StoreError::Unavailable(format!("can't look up {name}: {error}")))?;
    let found: Vec<_> = found.map(|address| Some(address.ip())).collect();
    if found.is_empty() {
        Err(StoreError::Unavailable(format!("{name} has no address")))
    } else {
        Ok(found)
    }
}

/// Only if all of them refuse us is waiting of no use: the one that is away may be the one that
/// knows us.
fn none_would_do(mut failures: Vec<(String, StoreError)>) -> StoreError {
    if failures.len() == 1
        && let Some((_, failure)) = failures.pop()
    {
        return failure;
    }
    let is_setup = failures
        .iter()
        .all(|(_, failure)| matches!(failure, StoreError::Setup(_)));
    let each: Vec<_> = failures
        .iter()
        .map(|(address, failure)| format!("{address}: {failure}"))
        .collect();
    let each = each.join("; ");
    if is_setup && !failures.is_empty() {
        StoreError::Setup(each)
    } else {
        StoreError::Unavailable(each)
    }
}

/// What the pool makes its connections by.
impl managed::Manager for Servers {
    type Type = ClientWrapper;
    type Error = StoreError;

    async fn create(&self) -> Result<ClientWrapper, StoreError> {
        let (client, connection) = self.connect().await?;
        #[expect(
            clippy::disallowed_methods,
            reason = "the client owns the task, and ends it when it is dropped"
        )]
        let task = tokio::spawn(async {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "lost a connection to PostgreSQL");
            }
        });
        let client = ClientWrapper::new(client, task);
        // A pooler without a session to lend lets us in, and answers here, or not.
        let settings = session_settings();
        let set = timeout(ANSWER_MAX, client.batch_execute(&settings)).await;
        set.map_err(|_| {
            StoreError::Unavailable("PostgreSQL had no session free in time".to_owned())
        })??;
        self.opened.fetch_add(1, Ordering::Relaxed);
        Ok(client)
    }

    /// Asking it something would cost a round trip for each batch; a dead connection that looks
    /// alive is caught by the time limit of the statement.
    async fn recycle(
        &self,
        client: &mut ClientWrapper,
        _: &Metrics,
    ) -> managed::RecycleResult<StoreError> {
        if client.is_closed() {
            Err(RecycleError::message("the connection is closed"))
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(failures: Vec<(&str, StoreError)>) -> StoreError {
        none_would_do(
            failures
                .into_iter()
                .map(|(name, failure)| (name.to_owned(), failure))
                .collect(),
        )
    }

    #[test]
    fn only_if_all_refuse_is_waiting_of_no_use() {
        let setup = || StoreError::Setup("wrong password".to_owned());
        let away = || StoreError::Unavailable("gone".to_owned());
        assert!(matches!(
            text(vec![("one:1", setup()), ("two:2", setup())]),
            StoreError::Setup(_)
        ));
        assert!(
            matches!(text(vec![("one:1", setup())]), StoreError::Setup(text) if text == "wrong password")
        );
        let both = text(vec![("one:1", setup()), ("two:2", away())]);
        assert!(
            matches!(&both, StoreError::Unavailable(text) if text == "one:1: wrong password; two:2: gone"),
            "{both}"
        );
    }

    #[tokio::test]
    async fn each_server_that_would_not_do_is_named_with_its_reason() {
        let url = DatabaseUrl::parse("postgres://u:secret@127.0.0.1:1,[::1]:2/d").unwrap();
        let Err(error) = Servers::new(&url).unwrap().connect().await else {
            panic!("nobody listens there")
        };
        let text = error.to_string();
        assert!(
            text.contains("127.0.0.1:1: ")
                && text.contains("[::1]:2: ")
                && !text.contains("secret"),
            "{text}"
        );
    }

    /// It takes connections and says nothing, as one that is stopped does: the next one is tried.
    #[tokio::test]
    async fn a_server_that_says_nothing_is_given_up() {
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = silent.local_addr().unwrap().port();
        let url = format!("postgres://u@127.0.0.1:{port},127.0.0.1:1/d?connect_timeout=1");
        let servers = Servers::new(&DatabaseUrl::parse(&url).unwrap()).unwrap();
        let Err(error) = servers.connect().await else {
            panic!("nobody answers there")
        };
        let text = error.to_string();
        assert!(
            text.contains("did not answer in time") && text.contains("127.0.0.1:1: "),
            "{text}"
        );
    }
}
