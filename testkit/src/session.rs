//! Sessions of PostgreSQL that a test looks into the database by.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_postgres::NoTls;

use crate::Failure;

/// How long a server may take to let us in.
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// A connection to the database of our own.
pub struct Session {
    pub client: tokio_postgres::Client,
    _driver: JoinSet<()>,
}

impl Session {
    pub async fn open(url: &str) -> Result<Self, Failure> {
        let (client, connection) =
            timeout(CONNECT_MAX, tokio_postgres::connect(url, NoTls)).await??;
        let mut driver = JoinSet::new();
        driver.spawn(async {
            connection.await.ok();
        });
        Ok(Self {
            client,
            _driver: driver,
        })
    }
}
