//! Connections to the broker.

use std::sync::Arc;

use lapin::uri::AMQPUri;
use lapin::{Channel, ConnectionProperties};

use super::error::{ANSWER_MAX, BrokerError, within};
use super::intake::{self, Intake};

/// The heartbeat where `AMQP_URL` names none: a dead peer is noticed after two of them. RabbitMQ's
/// own default of 60 s would be two minutes; its guide recommends 5 to 20.
const HEARTBEAT_SECONDS: u16 = 10;

/// How large the frames of a connection may be, where `AMQP_URL` does not say. The client library has
/// two buffers of 32 frames for each connection, which would be most of our memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frames {
    /// As large as the broker has them, normally 128 KiB: a message whose headers are that large
    /// may come, and would cost a connection with smaller ones.
    Large,
    /// 32 KiB. Bodies are split, headers are not: see [`SMALL_HEADERS_MAX_BYTES`].
    Small,
}

const SMALL_FRAME_BYTES: u32 = 32 * 1024;

/// What certainly fits into a small frame, with room for the other properties.
pub const SMALL_HEADERS_MAX_BYTES: usize = 24 * 1024;

/// Where the broker is and how to log in. Its text is never printed, as it holds a password.
#[derive(Clone, PartialEq, Eq)]
pub struct BrokerUrl(AMQPUri);

impl BrokerUrl {
    /// Reads an `amqp://` or `amqps://` URL.
    pub fn parse(url: &str) -> Result<Self, String> {
        if !["amqp://", "amqps://"].iter().any(|scheme| url.starts_with(scheme)) {
            return Err("must begin with amqp:// or amqps://".to_owned());
        }
        let mut uri: AMQPUri = url.parse()?;
        if uri.vhost.is_empty() {
            return Err("the virtual host is empty: end with /%2f, or without a slash".to_owned());
        }
        uri.query.heartbeat.get_or_insert(HEARTBEAT_SECONDS);
        Ok(Self(uri))
    }

    /// The server, without the credentials.
    pub fn address(&self) -> String {
        format!("{}:{}", self.0.authority.host, self.0.authority.port)
    }
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
    intake: Arc<Intake>,
    url: BrokerUrl,
    name: Arc<str>,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Connection({})", self.url.address())
    }
}

impl Connection {
    /// Connects; `name` is what the broker shows to operators.
    ///
    /// The client library's own recovery stays off: it gives up in silence after some minutes and
    /// leaves its callers waiting for ever.
    pub async fn open(url: &BrokerUrl, name: &str, frames: Frames) -> Result<Self, BrokerError> {
        let properties = ConnectionProperties::default().with_connection_name(name.into());
        let mut uri = url.0.clone();
        if frames == Frames::Small {
            uri.query.frame_max.get_or_insert(SMALL_FRAME_BYTES);
        }
        let intake = Arc::<Intake>::default();
        let runtime = intake::runtime(intake.clone());
        let connecting = lapin::Connection::connect_uri_with_runtime(uri, properties, runtime);
        let connection = within(ANSWER_MAX, "connect", connecting).await.map_err(|error| match error {
            BrokerError::Refused(text) => BrokerError::Refused(format!(
                "RabbitMQ at {} refuses the login: {text}; check user, password and virtual host in AMQP_URL",
                url.address()
            )),
            other => BrokerError::Lost(format!("can't reach RabbitMQ at {}: {other}; check AMQP_URL", url.address())),
        })?;
        Ok(Self { connection: Arc::new(connection), intake, url: url.clone(), name: name.into() })
    }

    /// Another connection to the same server, for what does not fit into this one's frames.
    pub(super) async fn with_large_frames(&self) -> Result<Self, BrokerError> {
        Self::open(&self.url, &self.name, Frames::Large).await
    }

    pub(super) async fn channel(&self) -> Result<Channel, BrokerError> {
        within(ANSWER_MAX, "opening a channel", self.connection.create_channel()).await
    }

    /// What came in over it.
    pub(super) fn intake(&self) -> &Arc<Intake> {
        &self.intake
    }

    /// The server, without the credentials.
    pub fn address(&self) -> String {
        self.url.address()
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
            let _open = self.intake.open();
            let goodbye = self.connection.close(200, "bye".into());
            if let Err(error) = within(ANSWER_MAX, "close", goodbye).await {
                tracing::debug!(%error, "the connection did not close in order");
            }
        }
    }
}
