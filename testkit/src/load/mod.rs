//! The producer, and the reader of all that comes back. Both speak to the broker directly and come
//! back whenever it does.

pub mod ledger;
pub mod plan;
pub mod producer;
pub mod readers;
pub mod request;
pub mod tenants;
pub mod truth;

use std::time::Duration;

use lapin::Connection;

use crate::load::ledger::Source;
use crate::load::request::ReplyTo;

/// Where requests are taken from.
pub const REQUEST_QUEUE: &str = "profiles.add";

/// Nobody is behind this.
pub const GONE: &str = "chaos.gone";

/// Nobody was given this.
pub const FORGED: &str = "amq.rabbitmq.reply-to.x.y";

/// How long the broker may take to answer before the connection is given up.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// Between two attempts to connect.
const PAUSE: Duration = Duration::from_millis(100);

/// Connects to the first that answers of the servers in a URL.
pub async fn connect(url: &str) -> lapin::Result<Connection> {
    let mut servers = servers(url).peekable();
    loop {
        let server = servers.next().unwrap_or_default();
        let connected = Connection::connect(&server, Default::default()).await;
        if connected.is_ok() || servers.peek().is_none() {
            return connected;
        }
    }
}

/// A URL for each of the servers in one such as `amqp://user:password@one:1,two:2/%2f`. Not by the
/// worker's own code, which is what is tested.
fn servers(url: &str) -> impl Iterator<Item = String> {
    let (before, rest) = url.split_once('@').unwrap_or(("", url));
    let (hosts, after) = rest.split_once('/').unwrap_or((rest, ""));
    hosts
        .split(',')
        .map(move |host| format!("{before}@{host}/{after}"))
}

/// The queue that a request names for its reply.
pub const fn reply_queue(reply_to: ReplyTo) -> Option<&'static str> {
    match reply_to {
        ReplyTo::Steady => Some(Source::Steady.queue()),
        ReplyTo::Fleeting => Some(Source::Fleeting.queue()),
        ReplyTo::Gone => Some(GONE),
        ReplyTo::Forged => Some(FORGED),
        ReplyTo::Nowhere => None,
    }
}
