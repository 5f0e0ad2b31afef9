//! A producer of requests, over plain `lapin`.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicGetOptions, BasicPublishOptions, BasicQosOptions,
    ConfirmSelectOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection};
use serde_json::Value;

use crate::worker::PATIENCE;
use crate::world::World;

/// A connection with a reply queue of its own.
pub struct Client {
    connection: Connection,
    pub channel: Channel,
    pub reply_queue: String,
    replies: lapin::Consumer,
    request_queue: String,
    count: AtomicU32,
    /// Replies that came while others were waited for.
    early: HashMap<String, Vec<Message>>,
    /// How long a reply may take.
    pub patience: Duration,
}

/// A message as it was received.
#[derive(Debug)]
pub struct Message {
    pub body: Vec<u8>,
    pub properties: BasicProperties,
    pub routing_key: String,
}

impl From<Delivery> for Message {
    fn from(delivery: Delivery) -> Self {
        Self {
            routing_key: delivery.routing_key.as_str().to_owned(),
            body: delivery.data,
            properties: delivery.properties,
        }
    }
}

impl Message {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("a JSON body")
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("UTF-8")
    }

    pub fn error(&self) -> i64 {
        self.json()["error"].as_i64().expect("an error code")
    }

    pub fn profile_id(&self) -> String {
        let json = self.json();
        json["profile_id"]
            .as_str()
            .unwrap_or_else(|| panic!("no profile_id: {json}"))
            .to_owned()
    }

    /// A header as text, whatever its type.
    pub fn header(&self, name: &str) -> Option<String> {
        let headers = self.properties.headers().as_ref()?;
        Some(match headers.inner().get(name)? {
            AMQPValue::LongString(text) => text.to_string(),
            AMQPValue::LongInt(number) => number.to_string(),
            AMQPValue::LongLongInt(number) => number.to_string(),
            AMQPValue::Timestamp(seconds) => seconds.to_string(),
            other => format!("{other:?}"),
        })
    }
}

pub fn props() -> BasicProperties {
    BasicProperties::default()
}

impl Client {
    pub async fn connect(world: &World) -> Self {
        let connection = Connection::connect(&world.servers.amqp_url, Default::default())
            .await
            .expect("RabbitMQ answers");
        let channel = connection.create_channel().await.expect("a channel");
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await
            .expect("confirms");
        let exclusive = QueueDeclareOptions {
            exclusive: true,
            ..Default::default()
        };
        let queue = channel
            .queue_declare("".into(), exclusive, FieldTable::default())
            .await
            .expect("a queue");
        let reply_queue = queue.name().as_str().to_owned();
        let replies = consume(&channel, &reply_queue).await;
        Self {
            connection,
            channel,
            reply_queue,
            replies,
            request_queue: world.request_queue(),
            count: AtomicU32::new(0),
            early: HashMap::new(),
            patience: PATIENCE,
        }
    }

    /// Publishes to the request queue, confirmed.
    pub async fn publish(&self, body: &[u8], properties: BasicProperties) {
        let queue = self.request_queue.clone();
        self.publish_to(&queue, body, properties).await;
    }

    /// Publishes many to the request queue, and waits until the broker has all of them.
    pub async fn publish_all(&self, requests: impl IntoIterator<Item = (String, BasicProperties)>) {
        for (body, properties) in requests {
            let queue = self.request_queue.as_str().into();
            let publishing = self.channel.basic_publish(
                "".into(),
                queue,
                Default::default(),
                body.as_bytes(),
                properties,
            );
            // Confirmed all together below.
            drop(publishing.await.expect("published"));
        }
        self.channel.wait_for_confirms().await.expect("confirmed");
    }

    /// Properties with this client's reply queue.
    pub fn replying(&self, correlation_id: &str) -> BasicProperties {
        props()
            .with_reply_to(self.reply_queue.as_str().into())
            .with_correlation_id(correlation_id.into())
    }

    pub async fn publish_to(&self, queue: &str, body: &[u8], properties: BasicProperties) {
        let options = BasicPublishOptions {
            mandatory: true,
            ..Default::default()
        };
        let publishing =
            self.channel
                .basic_publish("".into(), queue.into(), options, body, properties);
        let confirm = publishing
            .await
            .expect("published")
            .await
            .expect("confirmed");
        assert!(
            confirm.is_ack() && confirm.take_message().is_none(),
            "there is no queue {queue}"
        );
    }

    /// A new correlation id.
    pub fn correlation_id(&self) -> String {
        format!("c{}", self.count.fetch_add(1, Ordering::Relaxed))
    }

    /// Publishes a request and waits for its reply in the client's own queue.
    pub async fn call(&mut self, body: impl AsRef<[u8]>) -> Message {
        self.call_with(body, props()).await
    }

    /// The same, with properties besides `reply_to` and `correlation_id`.
    pub async fn call_with(
        &mut self,
        body: impl AsRef<[u8]>,
        properties: BasicProperties,
    ) -> Message {
        let correlation_id = self.correlation_id();
        let properties = properties
            .with_reply_to(self.reply_queue.as_str().into())
            .with_correlation_id(correlation_id.as_str().into());
        self.publish(body.as_ref(), properties).await;
        self.reply(&correlation_id).await
    }

    /// Waits for the reply with this correlation id.
    pub async fn reply(&mut self, correlation_id: &str) -> Message {
        if let Some(early) = self.early.get_mut(correlation_id).and_then(Vec::pop) {
            return early;
        }
        loop {
            let reply = self.next_reply().await;
            let id = reply
                .properties
                .correlation_id()
                .as_ref()
                .expect("a correlation id")
                .to_string();
            if id == correlation_id {
                return reply;
            }
            self.early.entry(id).or_default().push(reply);
        }
    }

    /// Waits for the next reply, whichever it is.
    pub async fn next_reply(&mut self) -> Message {
        let next = tokio::time::timeout(self.patience, self.replies.next()).await;
        next.expect("a reply in time")
            .expect("a reply")
            .expect("a reply")
            .into()
    }

    /// Takes the next message of a queue; waits for it.
    pub async fn take(&self, queue: &str) -> Message {
        let channel = self.connection.create_channel().await.expect("a channel");
        channel
            .basic_qos(1, BasicQosOptions::default())
            .await
            .expect("a limit of one");
        let mut consumer = consume(&channel, queue).await;
        let next = tokio::time::timeout(PATIENCE, consumer.next()).await;
        let delivery = next
            .expect("a message in time")
            .expect("a message")
            .expect("a message");
        delivery
            .ack(Default::default())
            .await
            .expect("acknowledged");
        channel.close(200, "".into()).await.expect("closed");
        delivery.into()
    }

    /// Takes so many messages of a queue; waits for them.
    pub async fn take_all(&self, queue: &str, count: usize) -> Vec<Message> {
        let channel = self.connection.create_channel().await.expect("a channel");
        let mut consumer = consume(&channel, queue).await;
        let mut messages = Vec::with_capacity(count);
        while messages.len() < count {
            let next = tokio::time::timeout(PATIENCE, consumer.next()).await;
            let delivery = next
                .expect("a message in time")
                .expect("a message")
                .expect("a message");
            if messages.len() % 500 == 499 || messages.len() + 1 == count {
                // Many at once: of many acknowledgements a quorum queue keeps some back for a
                // while, and forgets them when the channel closes. It delivers at most 2000 without
                // any.
                delivery
                    .ack(BasicAckOptions { multiple: true })
                    .await
                    .expect("acknowledged");
            }
            messages.push(delivery.into());
        }
        channel.close(200, "".into()).await.expect("closed");
        messages
    }

    /// Takes a message that must be there already, if any.
    pub async fn take_now(&self, queue: &str) -> Option<Message> {
        let got = self
            .channel
            .basic_get(queue.into(), BasicGetOptions { no_ack: true })
            .await
            .expect("an answer");
        got.map(|got| got.delivery.into())
    }

    /// How many messages wait in a queue.
    pub async fn waiting(&self, queue: &str) -> u32 {
        let passive = QueueDeclareOptions {
            passive: true,
            ..Default::default()
        };
        let channel = self.connection.create_channel().await.expect("a channel");
        let queue = channel
            .queue_declare(queue.into(), passive, FieldTable::default())
            .await
            .expect("a queue");
        queue.message_count()
    }

    /// A classic queue that others may read as well; it goes when nobody has looked at it for a
    /// quarter of an hour.
    pub async fn declare_shared(&self, name: &str) {
        let durable = QueueDeclareOptions {
            durable: true,
            ..Default::default()
        };
        let mut arguments = FieldTable::default();
        arguments.insert("x-expires".into(), AMQPValue::LongInt(900_000));
        self.channel
            .queue_declare(name.into(), durable, arguments)
            .await
            .expect("a queue");
    }

    /// A queue that receives this world's trigger events.
    pub async fn listen_for_events(&self, world: &World, pattern: &str) -> String {
        let exclusive = QueueDeclareOptions {
            exclusive: true,
            ..Default::default()
        };
        let queue = self
            .channel
            .queue_declare("".into(), exclusive, FieldTable::default())
            .await
            .expect("a queue");
        let name = queue.name().as_str().to_owned();
        let binding = self.channel.queue_bind(
            name.as_str().into(),
            world.event_exchange().into(),
            pattern.into(),
            QueueBindOptions::default(),
            FieldTable::default(),
        );
        binding.await.expect("bound");
        name
    }
}

async fn consume(channel: &Channel, queue: &str) -> lapin::Consumer {
    let options = BasicConsumeOptions::default();
    channel
        .basic_consume(queue.into(), "".into(), options, FieldTable::default())
        .await
        .expect("a consumer")
}

/// How often the first request in the queue was given back so far; it is given back once more.
pub async fn deliveries(world: &World, client: &Client) -> u32 {
    let got = client
        .channel
        .basic_get(world.request_queue().into(), Default::default())
        .await;
    let delivery = got.expect("an answer").expect("a request").delivery;
    let again = lapin::options::BasicNackOptions {
        requeue: true,
        ..Default::default()
    };
    delivery.acker.nack(again).await.expect("given back");
    let count = Message::from(delivery).header("x-delivery-count");
    count.map_or(0, |count| count.parse().expect("a number"))
}

/// Arguments of a queue, an exchange or a binding.
pub fn table(arguments: &[(&str, AMQPValue)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in arguments {
        table.insert((*name).into(), value.clone());
    }
    table
}

pub fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}
