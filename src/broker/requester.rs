//! The other side: publishing requests and receiving their replies, for `profile-worker send`.

use futures_util::StreamExt;
use lapin::BasicProperties;
use lapin::options::BasicConsumeOptions;
use lapin::types::{AMQPValue, FieldTable};

use super::connection::Connection;
use super::error::{ANSWER_MAX, BrokerError, within};
use super::outgoing::Outgoing;
use super::publisher::{Published, Publisher};

/// RabbitMQ's direct reply-to: replies come back on the channel that published the request,
/// without a queue.
const DIRECT_REPLY_TO: &str = "amq.rabbitmq.reply-to";

/// A request to publish.
pub(crate) struct RequestMessage {
    /// Whatever the service is to read.
    pub body: Vec<u8>,
    /// The idempotency key.
    pub message_id: String,
    /// Comes back with the reply.
    pub correlation_id: String,
    /// The body's format; without it the service looks at the body.
    pub content_type: Option<String>,
    /// The API token of a body that has none.
    pub token: Option<String>,
}

/// A reply as it came.
#[derive(Debug)]
pub(crate) struct ReceivedReply {
    /// The `correlation_id` of its request.
    pub correlation_id: String,
    /// The reply itself.
    pub body: Vec<u8>,
    /// The code of the `error` header.
    pub error: Option<i64>,
}

/// Publishes requests, and receives their replies if asked to.
#[derive(Debug)]
pub(crate) struct Requester {
    publisher: Publisher,
    replies: Option<lapin::Consumer>,
}

impl Requester {
    /// Opens a channel; with `replies` it asks for them.
    pub(crate) async fn open(connection: &Connection, replies: bool) -> Result<Self, BrokerError> {
        let publisher = Publisher::open(connection).await?;
        let replies = if replies {
            let options = BasicConsumeOptions {
                no_ack: true,
                ..BasicConsumeOptions::default()
            };
            let channel = publisher.channel().clone();
            let consuming = channel.basic_consume(
                DIRECT_REPLY_TO.into(),
                "".into(),
                options,
                FieldTable::default(),
            );
            Some(within(ANSWER_MAX, "consume", consuming).await?)
        } else {
            None
        };
        Ok(Self { publisher, replies })
    }

    /// Publishes requests to a queue, and waits until the broker has them safe.
    pub(crate) async fn publish(
        &mut self,
        queue: &str,
        requests: Vec<RequestMessage>,
    ) -> Result<(), BrokerError> {
        let outgoing: Vec<_> = requests
            .into_iter()
            .map(|request| self.outgoing(queue, request))
            .collect();
        match self.publisher.publish(&outgoing, None).await? {
            Published::Confirmed => Ok(()),
            Published::Partly { .. } => Err(BrokerError::Unroutable(queue.to_owned())),
        }
    }

    fn outgoing(&self, queue: &str, request: RequestMessage) -> Outgoing {
        let mut properties = BasicProperties::default()
            .with_delivery_mode(2)
            .with_message_id(request.message_id.as_str().into())
            .with_correlation_id(request.correlation_id.as_str().into());
        if self.replies.is_some() {
            properties = properties.with_reply_to(DIRECT_REPLY_TO.into());
        }
        if let Some(content_type) = &request.content_type {
            properties = properties.with_content_type(content_type.as_str().into());
        }
        if let Some(token) = &request.token {
            let bearer = AMQPValue::LongString(format!("Bearer {token}").into());
            let mut headers = FieldTable::default();
            headers.insert("authorization".into(), bearer);
            properties = properties.with_headers(headers);
        }
        Outgoing::other(queue, &request.message_id, request.body, properties)
    }

    /// The next reply, of whichever request; `None` if none were asked for, or the channel closed.
    pub(crate) async fn next_reply(&mut self) -> Result<Option<ReceivedReply>, BrokerError> {
        let Some(replies) = &mut self.replies else {
            return Ok(None);
        };
        let Some(delivery) = replies.next().await.transpose()? else {
            return Ok(None);
        };
        let headers = delivery.properties.headers().as_ref();
        let error = headers
            .and_then(|headers| headers.inner().get("error"))
            .and_then(|value| match value {
                AMQPValue::LongInt(code) => Some(i64::from(*code)),
                _ => None,
            });
        let correlation_id = delivery.properties.correlation_id().as_ref();
        Ok(Some(ReceivedReply {
            correlation_id: correlation_id.map(ToString::to_string).unwrap_or_default(),
            body: delivery.data,
            error,
        }))
    }
}
