//! Queues and exchanges that a test declares by itself.

use lapin::options::{ExchangeDeclareOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};

use super::World;
use crate::client::{Client, props, table, text};

/// The name of a queue that has no room: it refuses what is published to it.
pub async fn full_queue(world: &World, client: &Client) -> String {
    let full = format!("{}.full", world.name);
    let arguments = table(&[
        ("x-max-length", AMQPValue::LongInt(1)),
        ("x-overflow", text("reject-publish")),
    ]);
    let exclusive = QueueDeclareOptions {
        exclusive: true,
        ..Default::default()
    };
    client
        .channel
        .queue_declare(full.as_str().into(), exclusive, arguments)
        .await
        .expect("a queue");
    client.publish_to(&full, b"it is full", props()).await;
    full
}

/// The same of a queue for events.
pub async fn full_event_queue(world: &World, client: &Client) -> String {
    let full = full_queue(world, client).await;
    let exchange = world.event_exchange();
    let binding = client.channel.queue_bind(
        full.as_str().into(),
        exchange.into(),
        "#".into(),
        Default::default(),
        FieldTable::default(),
    );
    binding.await.expect("bound");
    full
}

/// The worker's own topology but for the delivery limit, which is low so that this ends soon.
pub async fn declare_with_delivery_limit(world: &World, client: &Client, limit: i32) {
    let durable = QueueDeclareOptions {
        durable: true,
        ..Default::default()
    };
    let quorum = ("x-queue-type", text("quorum"));
    let dead = world.dead_letter_queue();
    let request = table(&[
        quorum.clone(),
        ("x-delivery-limit", AMQPValue::LongInt(limit)),
        ("x-dead-letter-exchange", text("")),
        ("x-dead-letter-routing-key", text(&dead)),
    ]);
    for (queue, arguments) in [
        (world.request_queue(), request),
        (world.result_queue(), table(std::slice::from_ref(&quorum))),
        (dead, table(std::slice::from_ref(&quorum))),
    ] {
        client
            .channel
            .queue_declare(queue.into(), durable, arguments)
            .await
            .expect("a queue");
    }
    declare_exchange(world, client).await;
}

/// Declares the exchange for events as the worker does.
pub async fn declare_exchange(world: &World, client: &Client) {
    let options = ExchangeDeclareOptions {
        durable: true,
        ..Default::default()
    };
    let exchange = world.event_exchange();
    let declare = client.channel.exchange_declare(
        exchange.into(),
        lapin::ExchangeKind::Topic,
        options,
        FieldTable::default(),
    );
    declare.await.expect("an exchange");
}
