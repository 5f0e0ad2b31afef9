//! Queues and exchange: declared, checked, or left alone.

use lapin::options::{ExchangeDeclareOptions, QueueDeclareOptions};
use lapin::types::FieldTable;

use testkit::world::World;

#[tokio::test]
async fn a_worker_declares_what_is_missing_and_takes_what_is_there() {
    for queue_type in ["quorum", "classic"] {
        let world = World::new().await;
        let settings = [("QUEUE_TYPE", queue_type)];
        let _workers = [
            world.worker_with(&settings).await,
            world.worker_with(&settings).await,
        ];
        let mut client = world.client().await;
        assert_eq!(
            client.call(world.request("")).await.error(),
            0,
            "{queue_type}"
        );
        for queue in [
            world.request_queue(),
            world.result_queue(),
            world.dead_letter_queue(),
        ] {
            assert_eq!(client.waiting(&queue).await, 0, "{queue}");
        }
    }
}

#[tokio::test]
async fn told_to_check_it_declares_nothing_and_names_what_is_missing() {
    let world = World::new().await;
    let (status, said) = world.start_worker(&[("TOPOLOGY", "check")]).end().await;
    assert_eq!(status.code(), Some(1), "{said}");
    let line = said.lines().last().expect("a line");
    assert!(
        line.contains(&world.request_queue()) && line.contains("TOPOLOGY=declare"),
        "{line}"
    );
    world.worker().await.signal("TERM").await;
    let _checked = world.worker_with(&[("TOPOLOGY", "check")]).await;
}

#[tokio::test]
async fn told_nothing_about_the_topology_it_uses_what_the_operator_made() {
    let world = World::new().await;
    let client = world.client().await;
    let durable = QueueDeclareOptions {
        durable: true,
        ..Default::default()
    };
    for queue in [
        world.request_queue(),
        world.result_queue(),
        world.dead_letter_queue(),
    ] {
        client
            .channel
            .queue_declare(queue.into(), durable, FieldTable::default())
            .await
            .expect("a queue");
    }
    let exchange = client.channel.exchange_declare(
        world.event_exchange().into(),
        lapin::ExchangeKind::Topic,
        ExchangeDeclareOptions {
            durable: true,
            ..Default::default()
        },
        FieldTable::default(),
    );
    exchange.await.expect("an exchange");
    let _worker = world.worker_with(&[("TOPOLOGY", "none")]).await;
    let mut client = client;
    assert_eq!(client.call(world.request("")).await.error(), 0);
}

#[tokio::test]
async fn a_queue_of_another_kind_is_one_clear_line_and_an_exit() {
    let world = World::new().await;
    let client = world.client().await;
    let durable = QueueDeclareOptions {
        durable: true,
        ..Default::default()
    };
    let queue =
        client
            .channel
            .queue_declare(world.request_queue().into(), durable, FieldTable::default());
    queue.await.expect("a queue");
    let (status, said) = world.start_worker(&[]).end().await;
    assert_eq!(status.code(), Some(1), "{said}");
    let line = said.lines().last().expect("a line");
    assert!(
        line.contains(&world.request_queue()) && line.contains("PRECONDITION_FAILED"),
        "{line}"
    );
}

/// A queue that is deleted under a running worker is declared anew.
#[tokio::test]
async fn a_deleted_request_queue_comes_back() {
    let world = World::new().await;
    let mut worker = world.worker().await;
    let mut client = world.client().await;
    client
        .channel
        .queue_delete(world.request_queue().into(), Default::default())
        .await
        .expect("deleted");
    worker.until_said("taking requests").await;
    assert_eq!(client.call(world.request("")).await.error(), 0);
}
