//! Reads all that comes back.

use std::sync::Arc;

use futures_util::{FutureExt, StreamExt};
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::ledger::{Ledger, Source};
use super::{ANSWER_MAX, PAUSE, connect};

/// Most messages of one queue that are on their way to us.
const PREFETCH: u16 = 500;

/// Reads every queue into the ledger until it is dropped.
pub struct Readers {
    _tasks: JoinSet<()>,
}

impl Readers {
    pub fn start(url: &str, ledger: &Arc<Ledger>) -> Self {
        let mut tasks = JoinSet::new();
        for source in Source::ALL {
            let (url, ledger) = (url.to_owned(), ledger.clone());
            tasks.spawn(async move {
                let mut attempts = interval(PAUSE);
                attempts.set_missed_tick_behavior(MissedTickBehavior::Delay);
                loop {
                    attempts.tick().await;
                    // The broker is away, or the queue is.
                    read(&url, source, &ledger).await.ok();
                }
            });
        }
        Self { _tasks: tasks }
    }
}

/// Reads one queue as long as that works. A message that could not be acknowledged comes again, and
/// counts as said twice.
async fn read(
    url: &str,
    source: Source,
    ledger: &Ledger,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let connection = timeout(ANSWER_MAX, connect(url)).await??;
    let opening = async {
        let channel = connection.create_channel().await?;
        channel
            .basic_qos(PREFETCH, BasicQosOptions::default())
            .await?;
        let options = BasicConsumeOptions::default();
        channel
            .basic_consume(
                source.queue().into(),
                "".into(),
                options,
                FieldTable::default(),
            )
            .await
    };
    let mut messages = timeout(ANSWER_MAX, opening).await??;
    while let Some(message) = messages.next().await {
        let mut last = message?;
        ledger.take(source, &last);
        while let Some(Some(message)) = messages.next().now_or_never() {
            last = message?;
            ledger.take(source, &last);
        }
        timeout(ANSWER_MAX, last.ack(BasicAckOptions { multiple: true })).await??;
    }
    Ok(())
}
