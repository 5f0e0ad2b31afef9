//! Many requests.

use std::collections::HashSet;

use testkit::world::World;

/// Published before there is a worker; each is answered, and exactly once.
#[tokio::test]
#[ignore = "long: `make test-long`"]
async fn ten_thousand_waiting_requests_are_answered_once_each_in_little_memory() {
    let world = World::new().await;
    // Declares the queues.
    world.worker().await.kill().await;
    let mut client = world.client().await;
    let count = 10_000;
    let requests = (0..count).map(|i| {
        let data = format!(
            r#""data":{{"email":"p{i}@example.com","subscriptions":[{{"resource_id":2,"channel":"email","email":"p{i}@example.com"}}]}}"#
        );
        (world.request(&data), client.replying(&i.to_string()).with_message_id(format!("m{i}").as_str().into()))
    });
    client.publish_all(requests).await;
    let worker = world.worker().await;
    let mut answered = HashSet::new();
    for _ in 0..count {
        let reply = client.next_reply().await;
        assert_eq!(reply.error(), 0);
        let id = reply
            .properties
            .correlation_id()
            .as_ref()
            .expect("a correlation id")
            .to_string();
        assert!(answered.insert(id), "answered twice");
    }
    assert_eq!(world.number("SELECT count(*) FROM profiles").await, count);
    assert_eq!(
        world.number("SELECT count(*) FROM subscriptions").await,
        count
    );
    let peak = worker.peak_memory();
    assert!(peak < 64 << 20, "{} MiB", peak >> 20);
    worker.signal("TERM").await;
    assert!(worker.end().await.0.success());
    assert_eq!(client.waiting(&world.request_queue()).await, 0);
    assert_eq!(client.waiting(&world.result_queue()).await, 0);
}

/// Large requests that wait behind small ones: the worker has asked for many at a time when the
/// first large one comes.
#[tokio::test]
#[ignore = "long: `make test-long`"]
async fn large_requests_after_small_ones_are_answered_in_bounded_memory() {
    let world = World::new().await;
    let worker = world.worker().await;
    let mut client = world.client().await;
    // All that comes later waits in the queue until the worker may go on.
    worker.signal("STOP").await;
    let text = "x".repeat(9_800_000);
    let (small, large) = (400, 30);
    for i in 0..small + large {
        let data = if i < small {
            format!(r#""data":{{"n":{i}}}"#)
        } else {
            format!(r#""data":{{"text":"{text}"}}"#)
        };
        client
            .publish(
                world.request(&data).as_bytes(),
                client.replying(&i.to_string()),
            )
            .await;
    }
    worker.signal("CONT").await;
    for i in 0..small + large {
        assert_eq!(client.reply(&i.to_string()).await.error(), 0);
    }
    let peak = worker.peak_memory();
    assert!(peak < 256 << 20, "{} MiB", peak >> 20);
    assert_eq!(
        world.number("SELECT count(*) FROM profiles").await,
        small + large
    );
}

/// Small bodies that say much: each is ten thousand profiles once it is read.
#[tokio::test]
#[ignore = "long: `make test-long`"]
async fn small_bodies_of_many_profiles_are_answered_in_bounded_memory() {
    let world = World::new().await;
    let worker = world.worker().await;
    let mut client = world.client().await;
    worker.signal("STOP").await;
    let body = world.request(&format!(r#""data":[{}{{}}]"#, "{},".repeat(9_999)));
    let count = 20;
    for i in 0..count {
        client
            .publish(body.as_bytes(), client.replying(&i.to_string()))
            .await;
    }
    worker.signal("CONT").await;
    for i in 0..count {
        assert_eq!(client.reply(&i.to_string()).await.error(), 0);
    }
    let peak = worker.peak_memory();
    assert!(peak < 256 << 20, "{} MiB", peak >> 20);
    assert_eq!(
        world.number("SELECT count(*) FROM profiles").await,
        10_000 * count
    );
}
