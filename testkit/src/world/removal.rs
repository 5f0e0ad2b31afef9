//! What a test has made is removed with its world.

use std::time::Duration;

use lapin::options::{ExchangeDeleteOptions, QueueDeleteOptions};
use tokio_postgres::NoTls;

use super::World;

/// How long the end of a test may take.
const REMOVAL_MAX: Duration = Duration::from_secs(20);

impl Drop for World {
    fn drop(&mut self) {
        let (servers, name) = (self.servers.clone(), self.name.clone());
        let queues = [
            self.request_queue(),
            self.result_queue(),
            self.dead_letter_queue(),
            self.reply_queue(),
        ];
        let exchange = self.event_exchange();
        // Servers of the test alone may be down already; then there is nothing to remove either.
        let remove = async move {
            if let Ok((client, connection)) =
                tokio_postgres::connect(&servers.database_url, NoTls).await
            {
                let _driver = tokio::task::spawn_local(connection);
                client
                    .batch_execute(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
                    .await
                    .ok();
                // Of a test that gives its worker a role of its own.
                client
                    .batch_execute(&format!("DROP ROLE IF EXISTS {name}"))
                    .await
                    .ok();
            }
            if let Ok(connection) =
                lapin::Connection::connect(&servers.amqp_url, Default::default()).await
                && let Ok(channel) = connection.create_channel().await
            {
                for queue in queues {
                    channel
                        .queue_delete(queue.into(), QueueDeleteOptions::default())
                        .await
                        .ok();
                }
                channel
                    .exchange_delete(exchange.into(), ExchangeDeleteOptions::default())
                    .await
                    .ok();
                connection.close(200, "".into()).await.ok();
            }
        };
        let thread = std::thread::spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            // A server that a failing test left stuck removes nothing, and is removed itself.
            let remove = async { tokio::time::timeout(REMOVAL_MAX, remove).await.ok() };
            tokio::task::LocalSet::new().block_on(&runtime, remove);
        });
        thread.join().ok();
    }
}
