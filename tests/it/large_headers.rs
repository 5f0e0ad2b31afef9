//! Headers that fill a frame cost nobody anything.

use testkit::client::{Client, props, table, text};
use testkit::world::World;
use testkit::world::queues::declare_with_delivery_limit;

/// An unreadable message whose headers fill a frame: with ours, its dead letter would be more than
/// the broker allows, which closes the connection over it. It is cut, and nobody notices.
#[tokio::test]
async fn a_message_whose_headers_fill_a_frame_costs_nobody_anything() {
    let world = World::new().await;
    let mut client = world.client().await;
    declare_with_delivery_limit(&world, &client, 6).await;
    let reply_to = |id: &str, client: &Client| {
        props()
            .with_reply_to(client.reply_queue.as_str().into())
            .with_correlation_id(id.into())
    };
    for i in 0..20 {
        if i == 10 {
            let headers = table(&[("x-big", text(&"x".repeat(130_900)))]);
            client
                .publish(b"unreadable", props().with_headers(headers))
                .await;
        }
        client
            .publish(
                world.request("").as_bytes(),
                reply_to(&format!("c{i}"), &client),
            )
            .await;
    }
    let _worker = world.start_worker(&[("TOPOLOGY", "none")]);
    for i in 0..20 {
        assert_eq!(client.reply(&format!("c{i}")).await.error(), 0, "{i}");
    }
    let dead = client.take(&world.dead_letter_queue()).await;
    assert_eq!(dead.header("x-error").as_deref(), Some("400"));
    assert_eq!(dead.header("x-cut-headers").as_deref(), Some("x-big"));
    assert_eq!(
        world.number("SELECT count(*) FROM profiles").await,
        20,
        "nothing was delivered twice"
    );
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
            client
                .publish(b"unreadable", properties.with_headers(headers))
                .await;
        } else {
            client
                .publish(world.request("").as_bytes(), properties)
                .await;
        }
    }
    for i in 0..4 {
        assert_eq!(
            client.reply(&format!("c{i}")).await.error(),
            if i % 2 == 0 { 400 } else { 0 }
        );
    }
    for _ in 0..2 {
        let letter = client.take(&world.dead_letter_queue()).await;
        assert_eq!(
            letter.header("x-large").map(|value| value.len()),
            Some(large.len())
        );
    }
    worker.signal("TERM").await;
    let (status, said) = worker.end().await;
    assert!(
        status.success() && !said.contains("lost RabbitMQ"),
        "{said}"
    );
}
