//! `DATABASE_URL`: which servers, and how to log in.

use std::fmt;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, TargetSessionAttrs};

use super::error::StoreError;
use super::limits::CONNECT_MAX;
use super::session_name::{APPLICATION_NAME, known_as};
use super::tls::{self, Trust};
use crate::hosts;

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
            .map(address)
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
        format!("is not a PostgreSQL URL{}", cause.unwrap_or_default())
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

pub(super) fn port(config: &Config) -> u16 {
    config.get_ports().first().copied().unwrap_or(5432)
}

/// A server for people.
pub(super) fn address(config: &Config) -> String {
    match config.get_hosts().first() {
        Some(Host::Tcp(name)) => hosts::with_port(name, port(config)),
        Some(Host::Unix(path)) => format!("{}:{}", path.display(), port(config)),
        None => config
            .get_hostaddrs()
            .first()
            .map_or_else(String::new, |ip| format!("{ip}:{}", port(config))),
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
            assert_eq!(server.get_hosts(), [Host::Tcp(name.to_owned())]);
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
            (
                "postgres://u:secret@h/d?nonsense=1",
                "is not a PostgreSQL URL",
            ),
            ("postgres://h/d", "names no user"),
            ("postgres://u@h/d?sslmode=always", "sslmode"),
            ("postgres://u:secret@one,/d", "a host is empty"),
            ("postgres://u:secret@one,two:x/d", "is not a PostgreSQL URL"),
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
