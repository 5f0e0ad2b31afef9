//! Connections beside those of a session, for messages that may cost the connection that they are
//! published on.

use tokio::sync::Mutex;

use super::connection::{Connection, Options};
use super::error::BrokerError;
use super::publisher::Publisher;

/// A connection to the server of a session that is made when it is first needed, and made again
/// after it was lost.
#[derive(Debug)]
pub struct SideConnection {
    beside: Connection,
    name: String,
    options: Options,
    current: Mutex<Option<Connection>>,
}

impl SideConnection {
    /// Nothing is connected yet. `name` is what the broker shows to operators.
    pub fn new(beside: &Connection, name: String, options: Options) -> Self {
        Self {
            beside: beside.clone(),
            name,
            options,
            current: Mutex::default(),
        }
    }

    /// A channel for publishing.
    pub async fn publisher(&self) -> Result<Publisher, BrokerError> {
        Publisher::open(&self.connection().await?).await
    }

    async fn connection(&self) -> Result<Connection, BrokerError> {
        let mut current = self.current.lock().await;
        if let Some(connection) = current.as_ref().filter(|connection| connection.is_open()) {
            return Ok(connection.clone());
        }
        let connection = self.beside.open_another(&self.name, self.options).await?;
        Ok(current.insert(connection).clone())
    }

    /// Says goodbye, if there is anybody to say it to.
    pub async fn close(&self) {
        if let Some(connection) = self.current.lock().await.take() {
            connection.close().await;
        }
    }
}
