//! How a worker ends.

use std::time::{Duration, Instant};

use testkit::client::props;
use testkit::world::World;

#[tokio::test]
async fn sigterm_and_sigint_finish_what_is_held_and_exit_with_0() {
    for signal in ["TERM", "INT"] {
        let world = World::new().await;
        let worker = world.worker().await;
        let mut client = world.client().await;
        let count = 500;
        for i in 0..count {
            let properties = props()
                .with_reply_to(client.reply_queue.as_str().into())
                .with_correlation_id(format!("c{i}").as_str().into());
            client
                .publish(world.request("").as_bytes(), properties)
                .await;
            if i == 300 {
                worker.signal(signal).await;
            }
        }
        let (status, said) = worker.end().await;
        assert!(status.success(), "{status}: {said}");
        assert!(said.contains(" finished"), "{said}");
        assert!(!said.contains("could not be finished"), "{said}");
        // What it had answered is stored and gone from the queue; the rest waits for another
        // worker.
        let stored = world.number("SELECT count(*) FROM profiles").await;
        assert!(stored >= 300, "{stored}");
        let _another = world.worker().await;
        for i in 0..count {
            assert_eq!(client.reply(&format!("c{i}")).await.error(), 0);
        }
        assert_eq!(world.number("SELECT count(*) FROM profiles").await, count);
    }
}

#[tokio::test]
async fn a_worker_with_nothing_to_do_ends_at_once() {
    let world = World::new().await;
    let worker = world.worker().await;
    let started = Instant::now();
    worker.signal("TERM").await;
    assert!(worker.end().await.0.success());
    assert!(
        started.elapsed() < Duration::from_secs(20),
        "far less than the grace period"
    );
}

/// While a batch can't be stored the worker waits; the second signal does not.
#[tokio::test]
async fn a_second_signal_ends_at_once_and_loses_nothing() {
    let world = World::new().await;
    let mut worker = world.worker().await;
    let client = world.client().await;
    let lock = testkit::world::connect(&world.database_url).await;
    lock.batch_execute("BEGIN; LOCK TABLE profiles")
        .await
        .expect("locked");
    client.publish(world.request("").as_bytes(), props()).await;
    testkit::worker::until(async || client.waiting(&world.request_queue()).await == 0).await;
    worker.signal("TERM").await;
    worker.until_said("stopping").await;
    worker.signal("INT").await;
    let (status, _) = worker.end().await;
    assert_eq!(status.code(), Some(130));
    lock.batch_execute("ROLLBACK").await.expect("unlocked");
    let _another = world.worker().await;
    assert_eq!(client.take(&world.result_queue()).await.error(), 0);
}

#[tokio::test]
async fn the_grace_period_is_kept_and_what_is_held_goes_back() {
    let world = World::new().await;
    let worker = world.worker_with(&[("SHUTDOWN_GRACE", "2s")]).await;
    let client = world.client().await;
    let lock = testkit::world::connect(&world.database_url).await;
    lock.batch_execute("BEGIN; LOCK TABLE profiles")
        .await
        .expect("locked");
    client.publish(world.request("").as_bytes(), props()).await;
    testkit::worker::until(async || client.waiting(&world.request_queue()).await == 0).await;
    worker.signal("TERM").await;
    worker.end().await;
    // The broker puts it back a moment after it was told to.
    testkit::worker::until(async || client.waiting(&world.request_queue()).await == 1).await;
    lock.batch_execute("ROLLBACK").await.expect("unlocked");
    let _another = world.worker().await;
    assert_eq!(client.take(&world.result_queue()).await.error(), 0);
}

/// Under full load: what was stored is settled, what is left was never begun.
#[tokio::test]
async fn nothing_that_was_stored_is_delivered_again_after_sigterm() {
    let world = World::new().await;
    let worker = world.worker().await;
    let mut client = world.client().await;
    let count = 6000;
    worker.signal("STOP").await;
    let requests = (0..count).map(|i| {
        let id = i.to_string();
        (
            world.request(&format!(r#""data":{{"n":{i}}}"#)),
            client.replying(&id).with_message_id(id.as_str().into()),
        )
    });
    client.publish_all(requests).await;
    worker.signal("CONT").await;
    testkit::worker::until(async || world.number("SELECT count(*) FROM profiles").await >= 500)
        .await;
    worker.signal("TERM").await;
    let (status, said) = worker.end().await;
    assert!(
        status.success() && !said.contains("could not be finished"),
        "{status}: {said}"
    );
    assert!(!said.contains("lost RabbitMQ"), "{said}");
    let stored = world.texts("SELECT data->>'n' FROM profiles").await;
    let left = count - stored.len();
    assert!(left > 0, "stopped in the middle of it");
    let stored: std::collections::HashSet<_> = stored.into_iter().collect();
    for id in &stored {
        assert_eq!(client.reply(id).await.error(), 0);
    }
    for message in client.take_all(&world.request_queue(), left).await {
        let id = message
            .properties
            .message_id()
            .as_ref()
            .expect("an id")
            .to_string();
        assert!(
            !stored.contains(&id),
            "{id} was stored and is delivered again"
        );
    }
    assert!(client.take_now(&world.request_queue()).await.is_none());
}
