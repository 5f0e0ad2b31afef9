//! The connections that a session publishes on.

use crate::broker::connection::{Connection, Frames, Options};
use crate::broker::side::SideConnection;

/// The connections that a session publishes on.
#[derive(Debug)]
pub struct PublishingConnections {
    /// Our own queues and exchange, and the queues that requests name.
    pub publishing: Connection,
    /// Addresses that the broker interprets, and ids that are no text.
    pub interpreted: SideConnection,
    /// One message at a time, which may cost it.
    pub apart: SideConnection,
}

impl PublishingConnections {
    /// The side connections are made when they are needed. `name` is this worker's.
    pub fn new(publishing: Connection, name: &str) -> Self {
        let side = |role: &str, frames| {
            let options = Options {
                frames,
                carries_raw_ids: true,
            };
            SideConnection::new(&publishing, format!("{name} {role}"), options)
        };
        let interpreted = side("publishing to direct reply-to", Frames::Small);
        let apart = side("publishing apart", Frames::Large);
        Self {
            publishing,
            interpreted,
            apart,
        }
    }

    /// Whether the broker lives: what was lost on another connection was lost for its own sake.
    pub fn is_open(&self) -> bool {
        self.publishing.is_open()
    }

    /// Closes all of them in order.
    pub async fn close(&self) {
        tokio::join!(
            self.interpreted.close(),
            self.apart.close(),
            self.publishing.close()
        );
    }
}
