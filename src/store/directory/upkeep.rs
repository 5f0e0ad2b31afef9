//! Keeping the directory fresh.

use std::future::poll_fn;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_postgres::AsyncMessage;

use super::DirectoryKeeper;
use crate::store::error::StoreError;
use crate::store::limits::within;

/// How often the version is compared if nothing is announced.
const CHECK_EVERY: Duration = Duration::from_secs(2);

/// Raised by the triggers of the schema on every change.
const NOTIFICATIONS: &str = "profile_worker_directory";

impl DirectoryKeeper {
    /// Keeps the directory fresh, until dropped. Faults of the database are waited out: whoever
    /// needs a recent directory meanwhile gets the error from [`Self::recent`].
    pub async fn run(self) {
        loop {
            if let Err(error) = self.listen().await {
                tracing::debug!(%error, "not listening for changes of the directory");
                // What ended here may be no primary any more, and others may be connected to it,
                // too.
                self.store.forget_idle();
            }
            // Perhaps there is no connection to listen on, but one of the pool.
            if let Err(error) = self.true_since(Instant::now()).await {
                tracing::debug!(%error, "the directory can't be compared");
                self.failure.send_replace(Some(error.to_string().into()));
            }
            tokio::time::sleep(CHECK_EVERY).await;
        }
    }

    /// Listens on a connection of its own, outside the pool, until it is lost.
    async fn listen(&self) -> Result<(), StoreError> {
        let (client, mut connection) = self.store.servers().connect().await?;
        // The connection does its work only while it is polled, the answer to LISTEN included.
        let (announce, mut announced) = watch::channel(());
        let drive = async {
            while let Some(message) = poll_fn(|cx| connection.poll_message(cx)).await {
                if let AsyncMessage::Notification(_) = message? {
                    announce.send_replace(());
                }
            }
            Ok::<(), StoreError>(())
        };
        let refresh = async {
            within(
                "listen",
                client.batch_execute(&format!("LISTEN {NOTIFICATIONS}")),
            )
            .await?;
            loop {
                self.true_since(Instant::now()).await?;
                // Either way it is time to look.
                let _announced_or_not =
                    tokio::time::timeout(CHECK_EVERY, announced.changed()).await;
                if self.store.url().needs_read_write() {
                    still_takes_writes(&client).await?;
                }
            }
        };
        tokio::select! {
            ended = drive => ended,
            failed = refresh => failed,
        }
    }
}

/// Checks that the server takes writes. It may be made read-only without a connection being lost,
/// when another one takes its place. Then it would announce nothing any more, and what it says
/// would grow old.
async fn still_takes_writes(client: &tokio_postgres::Client) -> Result<(), StoreError> {
    let row = within(
        "read-only",
        client.query_one("SHOW transaction_read_only", &[]),
    )
    .await?;
    match row.get(0) {
        "off" => Ok(()),
        _ => Err(StoreError::Unavailable(
            "the server takes no writes any more".to_owned(),
        )),
    }
}
