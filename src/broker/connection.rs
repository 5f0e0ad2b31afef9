//! Connections to the broker.

use std::sync::Arc;
use std::time::Duration;

use lapin::{Channel, ConnectionProperties};

use super::error::{ANSWER_MAX, BrokerError, within};
use super::frames::set_aside::SetAside;
use super::read_gate::ReadGate;
use super::stream::{self, Passage};
use super::url::BrokerUrl;

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
    /// [`Outgoing::has_unusual_id`](super::outgoing::Outgoing::has_unusual_id). All that is
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

/// One connection. Requests are consumed on one and everything is published on another, since a
/// broker low on memory stops connections that publish, and acknowledgements with them.
#[derive(Clone)]
pub struct Connection {
    connection: Arc<lapin::Connection>,
    passage: Passage,
    url: BrokerUrl,
    /// Which of the addresses it leads to.
    index: usize,
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
            &self.url.order(Some(self.index)),
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
        for &index in order {
            match connect(url, index, name, options).await {
                Ok((connection, passage)) => {
                    let connection = Arc::new(connection);
                    return Ok(Self {
                        connection,
                        passage,
                        url: url.clone(),
                        index,
                    });
                }
                Err(failure) => failures.push((index, failure)),
            }
        }
        // In the order of the URL, so that the same trouble is told in the same words.
        failures.sort_by_key(|(index, _)| *index);
        Err(none_answers(
            failures
                .into_iter()
                .map(|(index, failure)| (url.server(index), failure))
                .collect(),
        ))
    }

    /// The server at the other end, without the credentials.
    pub fn address(&self) -> String {
        self.url.server(self.index)
    }

    /// The virtual host and the user, as commands for administrators need them.
    pub(super) fn vhost_and_user(&self) -> (&str, &str) {
        let uri = self.url.uri(self.index);
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

    /// Closes the connection in order. One that is gone already needs no goodbye.
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
    index: usize,
    name: &str,
    Options {
        frames,
        carries_raw_ids,
    }: Options,
) -> Result<(lapin::Connection, Passage), BrokerError> {
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    let mut uri = url.uri(index).clone();
    if frames == Frames::Small {
        uri.query.frame_max.get_or_insert(SMALL_FRAME_BYTES);
    }
    let passage = Passage {
        carries_raw_ids,
        ..Passage::default()
    };
    let limit = if url.has_several() {
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
