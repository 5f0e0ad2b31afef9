//! How the reference workers with batches take requests and answer them.

use futures_util::future::{join_all, try_join_all};
use futures_util::{FutureExt, StreamExt};
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions, ConfirmSelectOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ConnectionProperties};

use crate::Result;
use crate::replying::{Form, check, reply};

/// What suits this one best: with as many lanes as ours has, or batches as small, it is no faster.
pub(crate) const LANES: usize = 2;
const BATCH_MAX: usize = 500;
const PREFETCH: u16 = 1000;

/// A channel that requests come from and replies go to, on a connection of its own.
pub(crate) struct Lane {
    channel: Channel,
    requests: lapin::Consumer,
    form: Form,
    _connection: Connection,
}

impl Lane {
    pub(crate) async fn open(form: Form) -> Result<Self> {
        let connection =
            Connection::connect(&std::env::var("AMQP_URL")?, ConnectionProperties::default())
                .await?;
        let channel = connection.create_channel().await?;
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await?;
        channel
            .basic_qos(PREFETCH, BasicQosOptions::default())
            .await?;
        let queue = std::env::var("REQUEST_QUEUE")?;
        let options = BasicConsumeOptions::default();
        let requests = channel
            .basic_consume(queue.into(), "".into(), options, FieldTable::default())
            .await?;
        Ok(Self {
            channel,
            requests,
            form,
            _connection: connection,
        })
    }

    /// Waits for a request and takes those that are ready with it.
    pub(crate) async fn batch(&mut self) -> Result<Vec<Delivery>> {
        let mut batch = vec![
            self.requests
                .next()
                .await
                .ok_or("the broker ended the subscription")??,
        ];
        while batch.len() < BATCH_MAX
            && let Some(Some(request)) = self.requests.next().now_or_never()
        {
            batch.push(request?);
        }
        Ok(batch)
    }

    /// Answers a batch: all replies at once, all confirms, one ack.
    pub(crate) async fn answer(&self, batch: &[Delivery], bodies: &[String]) -> Result<()> {
        let replies = batch.iter().zip(bodies);
        let replies = replies
            .map(|(request, body)| reply(&self.channel, request, body.as_bytes(), self.form));
        let confirms = try_join_all(replies).await?;
        join_all(confirms).await.into_iter().try_for_each(check)?;
        if let Some(last) = batch.last() {
            self.channel
                .basic_ack(last.delivery_tag, BasicAckOptions { multiple: true })
                .await?;
        }
        Ok(())
    }
}
