//! `AMQP_URL`: where the broker is, at one address or at several.

use lapin::uri::AMQPUri;

use crate::hosts;

/// The heartbeat where `AMQP_URL` names none: a dead peer is noticed after two of them. RabbitMQ's
/// own default of 60 s would be two minutes; its guide recommends 5 to 20.
const HEARTBEAT_SECONDS: u16 = 10;

/// Where the broker is and how to log in: at one address, or at several of which each will do, as
/// those of the nodes of a cluster. Its text is never printed, as it holds a password.
#[derive(Clone, PartialEq, Eq)]
pub struct BrokerUrl(Vec<AMQPUri>);

impl BrokerUrl {
    /// Reads an `amqp://` or `amqps://` URL, with one host or several:
    /// `amqp://user:password@one,two:5673/%2f`.
    pub fn parse(url: &str) -> Result<Self, String> {
        if !["amqp://", "amqps://"]
            .iter()
            .any(|scheme| url.starts_with(scheme))
        {
            return Err("must begin with amqp:// or amqps://".to_owned());
        }
        let addresses: Result<_, String> = hosts::one_by_one(url)?
            .iter()
            .map(|url| read(url))
            .collect();
        Ok(Self(addresses?))
    }

    /// The servers, without the credentials.
    pub fn address(&self) -> String {
        self.0.iter().map(address).collect::<Vec<_>>().join(",")
    }

    /// The indices of all addresses in random order, so that workers spread over the nodes; with
    /// `first` at its head.
    pub(super) fn order(&self, first: Option<usize>) -> Vec<usize> {
        let mut order: Vec<_> = (0..self.0.len()).collect();
        order.sort_by_cached_key(|index| {
            (Some(*index) != first, getrandom::u32().unwrap_or_default())
        });
        order
    }

    /// One of the addresses, as the client library takes it.
    pub(super) fn uri(&self, index: usize) -> &AMQPUri {
        &self.0[index]
    }

    /// The server of one of the addresses, without the credentials.
    pub(super) fn server(&self, index: usize) -> String {
        address(&self.0[index])
    }

    /// Whether there is more than one address.
    pub(super) fn has_several(&self) -> bool {
        self.0.len() > 1
    }
}

fn read(url: &str) -> Result<AMQPUri, String> {
    let mut uri: AMQPUri = url.parse()?;
    // The library takes an IPv6 address for no host, and no host for localhost.
    if let Some(url::Host::Ipv6(ip)) = url::Url::parse(url)
        .map_err(|error| error.to_string())?
        .host()
    {
        uri.authority.host = ip.to_string();
    }
    if uri.vhost.is_empty() {
        return Err("the virtual host is empty: end with /%2f, or without a slash".to_owned());
    }
    uri.query.heartbeat.get_or_insert(HEARTBEAT_SECONDS);
    Ok(uri)
}

fn address(uri: &AMQPUri) -> String {
    hosts::with_port(&uri.authority.host, uri.authority.port)
}

impl std::fmt::Debug for BrokerUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BrokerUrl({})", self.address())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(url: &str) -> String {
        BrokerUrl::parse(url).unwrap().address()
    }

    #[test]
    fn a_url_may_name_several_hosts_each_with_its_port() {
        for (url, expected) in [
            ("amqp://one", "one:5672"),
            ("amqps://u:p@one,two:1/%2f", "one:5671,two:1"),
            (
                "amqp://u:p@one:5672,two:5673,three/%2f?heartbeat=3",
                "one:5672,two:5673,three:5672",
            ),
            ("amqp://[::1]", "[::1]:5672"),
            (
                "amqps://u:p@[::1]:1,10.0.0.1,[fe80::2]/v",
                "[::1]:1,10.0.0.1:5671,[fe80::2]:5671",
            ),
        ] {
            assert_eq!(addresses(url), expected, "{url}");
        }
    }

    #[test]
    fn all_else_is_the_same_for_each_host() {
        let BrokerUrl(all) =
            BrokerUrl::parse("amqps://me:s%2Cecret@one,two/v%2Fh?frame_max=8192").unwrap();
        for uri in &all {
            assert_eq!(
                (uri.authority.userinfo.password.as_str(), uri.vhost.as_str()),
                ("s,ecret", "v/h")
            );
            assert_eq!(
                (uri.query.heartbeat, uri.query.frame_max),
                (Some(HEARTBEAT_SECONDS), Some(8192))
            );
        }
        assert_eq!(all.len(), 2);
        assert_eq!(
            format!("{:?}", BrokerUrl(all)),
            "BrokerUrl(one:5671,two:5671)"
        );
    }

    #[test]
    fn what_is_wrong_with_a_url_is_said_without_repeating_it() {
        for url in [
            "http://u:secret@h",
            "amqp://u:secret@one,",
            "amqp://u:secret@one,two/",
            "amqp://u:secret@one,two:x",
        ] {
            let problem = BrokerUrl::parse(url).unwrap_err();
            assert!(!problem.contains("secret"), "{url}: {problem}");
        }
    }

    #[test]
    fn workers_spread_over_the_addresses_and_a_session_keeps_to_one() {
        let url = BrokerUrl::parse("amqp://one,two,three").unwrap();
        let firsts: std::collections::HashSet<_> = (0..200).map(|_| url.order(None)[0]).collect();
        assert_eq!(firsts.len(), 3);
        for _ in 0..200 {
            let mut order = url.order(Some(1));
            assert_eq!(order[0], 1);
            order.sort_unstable();
            assert_eq!(order, [0, 1, 2]);
        }
    }
}
