//! Queues for what is said that take nothing.

use lapin::options::QueueDeclareOptions;
use lapin::types::AMQPValue;

use testkit::client::{props, table, text};
use testkit::worker::PATIENCE;
use testkit::world::World;
use testkit::world::queues::{full_event_queue, full_queue};

/// A full queue behind reply_to is the requester's own matter.
#[tokio::test]
async fn a_reply_queue_that_is_full_costs_nobody_else_anything() {
    let world = World::new().await;
    let _worker = world.worker().await;
    let mut client = world.client().await;
    let full = full_queue(&world, &client).await;
    for i in 0..30 {
        let reply_to = if i % 3 == 0 {
            full.as_str()
        } else {
            client.reply_queue.as_str()
        };
        let properties = props()
            .with_reply_to(reply_to.into())
            .with_correlation_id(format!("c{i}").as_str().into());
        client
            .publish(world.request("").as_bytes(), properties)
            .await;
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

/// Nobody can tell a queue that takes nothing at all from one that has no leader for the moment: it
/// is waited for once, and not by each batch.
#[tokio::test]
async fn a_reply_queue_that_never_takes_anything_holds_others_up_once() {
    let world = World::new().await;
    let _worker = world.worker_with(&[("LANES", "1")]).await;
    let mut client = world.client().await;
    let never = format!("{}.never", world.name);
    let arguments = table(&[
        ("x-max-length", AMQPValue::LongInt(0)),
        ("x-overflow", text("reject-publish")),
    ]);
    let transient = QueueDeclareOptions {
        auto_delete: true,
        ..Default::default()
    };
    client
        .channel
        .queue_declare(never.as_str().into(), transient, arguments)
        .await
        .expect("a queue");
    let all = async {
        for _ in 0..12 {
            let properties = props().with_reply_to(never.as_str().into());
            client
                .publish(world.request("").as_bytes(), properties)
                .await;
            assert_eq!(client.call(world.request("")).await.error(), 0);
        }
    };
    // Far longer than one wait takes, and shorter than twelve.
    tokio::time::timeout(PATIENCE, all)
        .await
        .expect("others are answered");
    for _ in 0..12 {
        assert_eq!(
            client
                .take(&world.result_queue())
                .await
                .header("x-original-reply-to"),
            Some(never.clone())
        );
    }
    client
        .channel
        .queue_delete(never.as_str().into(), Default::default())
        .await
        .expect("deleted");
}

/// A full queue behind the exchange for events keeps requests waiting, and costs nothing else.
#[tokio::test]
async fn a_full_event_queue_is_waited_for() {
    let world = World::new().await;
    let mut worker = world.worker().await;
    let mut client = world.client().await;
    let full = full_event_queue(&world, &client).await;
    client
        .publish(world.request("").as_bytes(), client.replying("waits"))
        .await;
    let line = worker.until_said("is full, or has no leader").await;
    assert!(line.contains(&world.event_exchange()), "{line}");
    assert_eq!(
        client
            .call(world.request(r#""skip_triggers":true"#))
            .await
            .error(),
        0,
        "others go on"
    );
    assert!(client.take_now(&full).await.is_some());
    worker.until_said("takes messages again").await;
    assert_eq!(client.reply("waits").await.error(), 0);
    worker.signal("TERM").await;
    let (status, said) = worker.end().await;
    assert!(
        status.success() && !said.contains("lost RabbitMQ"),
        "{said}"
    );
}
