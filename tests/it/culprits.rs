//! One request that costs the connection is given up alone; its neighbours are answered.

use lapin::options::{ExchangeDeclareOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};

use crate::client::{Client, props};
use crate::world::{World, connect};

fn table(arguments: &[(&str, AMQPValue)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in arguments {
        table.insert((*name).into(), value.clone());
    }
    table
}

fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}

/// The worker's own topology but for the delivery limit, which is low so that this ends soon.
async fn declare_with_delivery_limit(world: &World, client: &Client, limit: i32) {
    let durable = QueueDeclareOptions { durable: true, ..Default::default() };
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
        client.channel.queue_declare(queue.into(), durable, arguments).await.expect("a queue");
    }
    let options = ExchangeDeclareOptions { durable: true, ..Default::default() };
    let exchange = world.event_exchange();
    let declare =
        client.channel.exchange_declare(exchange.into(), lapin::ExchangeKind::Topic, options, FieldTable::default());
    declare.await.expect("an exchange");
}

/// An unreadable message whose headers fill a frame: with ours, its dead letter is more than the
/// broker allows, which closes the connection over it.
#[tokio::test]
async fn a_message_that_costs_the_connection_is_given_up_alone() {
    let world = World::new().await;
    let mut client = world.client().await;
    declare_with_delivery_limit(&world, &client, 6).await;
    let reply_to = |id: &str, client: &Client| {
        props().with_reply_to(client.reply_queue.as_str().into()).with_correlation_id(id.into())
    };
    for i in 0..20 {
        if i == 10 {
            let headers = table(&[("x-big", text(&"x".repeat(130_900)))]);
            client.publish(b"unreadable", props().with_headers(headers)).await;
        }
        client.publish(world.request("").as_bytes(), reply_to(&format!("c{i}"), &client)).await;
    }
    let mut worker = world.start_worker(&[("TOPOLOGY", "none")]);
    worker.until_said("taking one request at a time").await;
    for i in 0..20 {
        assert_eq!(client.reply(&format!("c{i}")).await.error(), 0, "{i}");
    }
    // It is counted and not looked at, as no client with the usual frame size could receive it.
    let dead = world.dead_letter_queue();
    crate::worker::until(async || client.waiting(&dead).await > 0).await;
    crate::worker::until(async || client.waiting(&world.request_queue()).await == 0).await;
    assert_eq!(client.waiting(&dead).await, 1, "none but the culprit");
    // Replies to what was answered before a loss came again, as such replies do.
    assert!(world.number("SELECT count(*) FROM profiles").await >= 20);
}

/// Somebody's transaction holds what one request has to wait for.
#[tokio::test]
async fn a_request_that_waits_for_a_lock_holds_up_no_other() {
    let world = World::new().await;
    let worker = world.worker().await;
    let mut client = world.client().await;
    let somebody = connect(&world.database_url).await;
    let insert = "INSERT INTO profiles (db_id, id, email, data) VALUES (1, repeat('0', 24), 'held@example.com', '{}')";
    somebody.batch_execute(&format!("BEGIN; {insert}")).await.expect("a transaction");
    let properties = props().with_reply_to(client.reply_queue.as_str().into()).with_correlation_id("held".into());
    client.publish(world.request(r#""data":{"email":"held@example.com"}"#).as_bytes(), properties).await;
    let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'transactionid'";
    crate::worker::until(async || world.number(waiting).await > 0).await;
    for i in 0..20 {
        let request = world.request(&format!(r#""data":{{"email":"free{i}@example.com"}}"#));
        assert_eq!(client.call(request).await.error(), 0);
    }
    // All but the one that waits are settled, although they came after it.
    worker.kill().await;
    crate::worker::until(async || client.waiting(&world.request_queue()).await > 0).await;
    assert!(client.waiting(&world.request_queue()).await <= 2, "what was answered came back");
    somebody.batch_execute("ROLLBACK").await.expect("the end of it");
    let _another = world.worker().await;
    assert_eq!(client.reply("held").await.error(), 0);
}

/// Dead letters with headers that fill more than a frame of the connection for answers.
#[tokio::test]
async fn large_headers_cost_nobody_anything() {
    let world = World::new().await;
    let worker = world.worker().await;
    let mut client = world.client().await;
    let large = "x".repeat(100_000);
    for i in 0..4 {
        let properties = props().with_reply_to(client.reply_queue.as_str().into());
        let properties = properties.with_correlation_id(format!("c{i}").as_str().into());
        if i % 2 == 0 {
            let headers = table(&[("x-large", text(&large))]);
            client.publish(b"unreadable", properties.with_headers(headers)).await;
        } else {
            client.publish(world.request("").as_bytes(), properties).await;
        }
    }
    for i in 0..4 {
        assert_eq!(client.reply(&format!("c{i}")).await.error(), if i % 2 == 0 { 400 } else { 0 });
    }
    for _ in 0..2 {
        let letter = client.take(&world.dead_letter_queue()).await;
        assert_eq!(letter.header("x-large").map(|value| value.len()), Some(large.len()));
    }
    worker.signal("TERM").await;
    let (status, said) = worker.end().await;
    assert!(status.success() && !said.contains("lost RabbitMQ"), "{said}");
}

/// A full queue behind reply_to is the requester's own matter.
#[tokio::test]
async fn a_reply_queue_that_is_full_costs_nobody_else_anything() {
    let world = World::new().await;
    let _worker = world.worker().await;
    let mut client = world.client().await;
    let full = format!("{}.full", world.name);
    let arguments = table(&[("x-max-length", AMQPValue::LongInt(1)), ("x-overflow", text("reject-publish"))]);
    let exclusive = QueueDeclareOptions { exclusive: true, ..Default::default() };
    client.channel.queue_declare(full.as_str().into(), exclusive, arguments).await.expect("a queue");
    client.publish_to(&full, b"it is full", props()).await;
    for i in 0..30 {
        let reply_to = if i % 3 == 0 { full.as_str() } else { client.reply_queue.as_str() };
        let properties = props().with_reply_to(reply_to.into()).with_correlation_id(format!("c{i}").as_str().into());
        client.publish(world.request("").as_bytes(), properties).await;
    }
    for i in (0..30).filter(|i| i % 3 != 0) {
        assert_eq!(client.reply(&format!("c{i}")).await.error(), 0);
    }
    for _ in 0..10 {
        let reply = client.take(&world.result_queue()).await;
        assert_eq!(reply.header("x-original-reply-to"), Some(full.clone()));
        assert_eq!(reply.error(), 0);
    }
    assert_eq!(world.number("SELECT count(*) FROM profiles").await, 30);
}
