//! Connections to the broker.

use std::sync::Arc;
use std::time::Duration;

use lapin::uri::AMQPUri;
use lapin::{Channel, ConnectionProperties};

use super::error::{ANSWER_MAX, BrokerError, within};
use super::frames::set_aside::SetAside;
use super::read_gate::ReadGate;
use super::stream::{self, Passage};
use crate::hosts;

/// The heartbeat where `AMQP_URL` names none: a dead peer is noticed after two of them. RabbitMQ's
/// own default of 60 s would be two minutes; its guide recommends 5 to 20.
const HEARTBEAT_SECONDS: u16 = 10;

/// How large the frames of a connection may be, where `AMQP_URL` does not say. The client library
/// has two buffers of 32 frames for each connection, which would be most of our memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frames {
    /// As large as the broker has them, normally 128 KiB: a message whose headers are that large
    /// may come, and would cost a connection with smaller ones.
    Large,
    /// 32 KiB. Bodies are split, headers are not: see [`SMALL_HEADERS_MAX_BYTES`].
    Small,
}

/// What a connection is for. A size of frames alone will do for most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// How large its frames may be.
    pub frames: Frames,
    /// Whether replies go over it whose correlation id is no text, see
    /// [`Outgoing::needs_rewriting`](super::outgoing::Outgoing::needs_rewriting). All that is
    /// written is copied once more then.
    pub carries_raw_ids: bool,
}

impl From<Frames> for Options {
    fn from(frames: Frames) -> Self {
        Self {
            frames,
            carries_raw_ids: false,
        }
    }
}

const SMALL_FRAME_BYTES: u32 = 32 * 1024;

/// How long one of several addresses may take to let us in, before the next one is tried. With one
/// address there is nothing better to do than to wait.
const ONE_OF_SEVERAL_MAX: Duration = Duration::from_secs(10);

/// What certainly fits into a small frame, with room for the other properties.
pub(crate) const SMALL_HEADERS_MAX_BYTES: usize = 24 * 1024;

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

    /// The places of all addresses in an order of chance, so that workers spread over the nodes;
    /// with `first` at its head.
    fn order(&self, first: Option<usize>) -> Vec<usize> {
        let mut order: Vec<_> = (0..self.0.len()).collect();
        order.sort_by_cached_key(|place| {
            (Some(*place) != first, getrandom::u32().unwrap_or_default())
        });
        order
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

/// One connection. Requests are consumed on one and everything is published on another, since a
/// broker low on memory stops connections that publish, and acknowledgements with them.
#[derive(Clone)]
pub struct Connection {
    connection: Arc<lapin::Connection>,
    passage: Passage,
    url: BrokerUrl,
    /// Which of the addresses it leads to.
    place: usize,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Connection({})", self.address())
    }
}

impl Connection {
    /// Connects to whichever address answers; `name` is what the broker shows to operators.
    ///
    /// The client library's own recovery stays off: it gives up in silence after some minutes and
    /// leaves its callers waiting for ever.
    pub async fn open(
        url: &BrokerUrl,
        name: &str,
        options: impl Into<Options>,
    ) -> Result<Self, BrokerError> {
        Self::open_in_order(url, &url.order(None), name, options.into()).await
    }

    /// Another connection, to the same address if it still answers. A session whose connections
    /// lead to two nodes would be lost with either.
    pub async fn open_another(
        &self,
        name: &str,
        options: impl Into<Options>,
    ) -> Result<Self, BrokerError> {
        Self::open_in_order(
            &self.url,
            &self.url.order(Some(self.place)),
            name,
            options.into(),
        )
        .await
    }

    async fn open_in_order(
        url: &BrokerUrl,
        order: &[usize],
        name: &str,
        options: Options,
    ) -> Result<Self, BrokerError> {
        let mut failures = Vec::new();
        for &place in order {
            match connect(url, place, name, options).await {
                Ok((connection, passage)) => {
                    let connection = Arc::new(connection);
                    return Ok(Self {
                        connection,
                        passage,
                        url: url.clone(),
                        place,
                    });
                }
                Err(failure) => failures.push((place, failure)),
            }
        }
        // In the order of the URL, so that the same trouble is told in the same words.
        failures.sort_by_key(|(place, _)| *place);
        Err(none_answers(
            failures
                .into_iter()
                .map(|(place, failure)| (address(&url.0[place]), failure))
                .collect(),
        ))
    }

    /// The server at the other end, without the credentials.
    pub fn address(&self) -> String {
        address(&self.url.0[self.place])
    }

    /// The virtual host and the user, as commands for administrators need them.
    pub(super) fn vhost_and_user(&self) -> (&str, &str) {
        let uri = &self.url.0[self.place];
        (&uri.vhost, &uri.authority.userinfo.username)
    }

    pub(super) async fn channel(&self) -> Result<Channel, BrokerError> {
        within(
            ANSWER_MAX,
            "opening a channel",
            self.connection.create_channel(),
        )
        .await
    }

    /// What came in over it.
    pub(super) fn gate(&self) -> &Arc<ReadGate> {
        &self.passage.gate
    }

    /// What came in over it that the client library can't take.
    pub(super) fn set_aside(&self) -> &Arc<SetAside> {
        &self.passage.set_aside
    }

    /// The largest frame that may go over it, in bytes, as agreed with the broker.
    pub fn frame_max(&self) -> usize {
        usize::try_from(self.connection.configuration().frame_max()).unwrap_or(usize::MAX)
    }

    /// Whether the connection is usable.
    pub fn is_open(&self) -> bool {
        self.connection.status().connected()
    }

    /// Whether the broker lets nobody publish now.
    pub fn is_blocked(&self) -> bool {
        let status = self.connection.status();
        status.connected() && status.blocked()
    }

    /// Says goodbye. A connection that is gone already needs none.
    pub async fn close(&self) {
        if self.is_open() {
            let _open = self.passage.gate.open();
            let goodbye = self.connection.close(200, "bye".into());
            if let Err(error) = within(ANSWER_MAX, "close", goodbye).await {
                tracing::debug!(%error, "the connection did not close in order");
            }
        }
    }
}

async fn connect(
    url: &BrokerUrl,
    place: usize,
    name: &str,
    Options {
        frames,
        carries_raw_ids,
    }: Options,
) -> Result<(lapin::Connection, Passage), BrokerError> {
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    let mut uri = url.0[place].clone();
    if frames == Frames::Small {
        uri.query.frame_max.get_or_insert(SMALL_FRAME_BYTES);
    }
    let passage = Passage {
        carries_raw_ids,
        ..Passage::default()
    };
    let limit = if url.0.len() > 1 {
        ONE_OF_SEVERAL_MAX
    } else {
        ANSWER_MAX
    };
    let connecting = stream::connect(uri, properties, passage.clone());
    Ok((within(limit, "connect", connecting).await?, passage))
}

/// What is said when no address would do. Only if all of them refuse us is waiting of no use: a
/// node that is just starting may refuse what it does not know yet.
fn none_answers(failures: Vec<(String, BrokerError)>) -> BrokerError {
    let is_refusal = !failures.iter().any(|(_, failure)| failure.is_temporary());
    let [(address, failure)] = &failures[..] else {
        let each: Vec<_> = failures
            .iter()
            .map(|(address, failure)| format!("{address}: {failure}"))
            .collect();
        let each = each.join("; ");
        return if is_refusal {
            BrokerError::Refused(format!(
                "each RabbitMQ refuses the login: {each}; check user, password and virtual host in AMQP_URL"
            ))
        } else {
            BrokerError::Lost(format!(
                "can't reach RabbitMQ at any address: {each}; check AMQP_URL"
            ))
        };
    };
    if is_refusal {
        BrokerError::Refused(format!(
            "RabbitMQ at {address} refuses the login: {failure}; check user, password and virtual host in AMQP_URL"
        ))
    } else {
        BrokerError::Lost(format!(
            "can't reach RabbitMQ at {address}: {failure}; check AMQP_URL"
        ))
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

    #[test]
    fn only_if_all_refuse_is_waiting_of_no_use() {
        let [refused, lost] = [
            BrokerError::Refused("wrong".to_owned()),
            BrokerError::Lost("gone".to_owned()),
        ];
        let about = |failures: &[&BrokerError]| {
            none_answers(
                ["one:1", "two:2"]
                    .map(str::to_owned)
                    .into_iter()
                    .zip(failures.iter().copied().cloned())
                    .collect(),
            )
        };
        assert!(!about(&[&refused, &refused]).is_temporary());
        assert!(!about(&[&refused]).is_temporary());
        let both = about(&[&refused, &lost]);
        assert!(both.is_temporary());
        assert!(
            both.to_string().contains("one:1: wrong; two:2: gone"),
            "{both}"
        );
    }

    #[tokio::test]
    async fn an_address_where_nobody_listens_is_named_with_its_reason() {
        let url = BrokerUrl::parse("amqp://u:secret@127.0.0.1:1,[::1]:1").unwrap();
        let error = Connection::open(&url, "test", Frames::Small)
            .await
            .unwrap_err();
        let text = error.to_string();
        assert!(error.is_temporary() && !text.contains("secret"), "{text}");
        assert!(
            text.contains("127.0.0.1:1: ") && text.contains("[::1]:1: "),
            "{text}"
        );
    }
}
