//! Trigger events.

use serde_json::json;

use testkit::client::props;
use testkit::world::World;

#[tokio::test]
async fn every_added_profile_is_announced_unless_skip_triggers() {
    let world = World::new().await;
    let _worker = world.worker().await;
    let mut client = world.client().await;
    let events = client.listen_for_events(&world, "profile.added.*").await;
    let quiet = client.call(world.request(r#""skip_triggers":true"#)).await;
    assert_eq!(quiet.error(), 0);
    for refused in [
        r#""data":{"email":"x"}"#,
        r#""data":{"subscriptions":[{}]}"#,
    ] {
        assert_eq!(client.call(world.request(refused)).await.error(), 400);
    }
    let data = r#""data":{"email":" A@example.com ","subscriptions":[{"resource_id":2,"channel":"email","email":"a@example.com","priority":2}]}"#;
    let reply = client.call(world.request(data)).await;
    let event = client.take(&events).await;
    let added_at = world
        .texts("SELECT to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"') FROM profiles WHERE email IS NOT NULL")
        .await;
    assert_eq!(
        event.json(),
        json!({
            "event": "profile.added",
            "db_id": 1,
            "profile_id": reply.profile_id(),
            "email": "A@example.com",
            "subscriptions": [{
                "resource_id": 2, "channel": "email", "address": "a@example.com", "status": "subscribed", "priority": 2
            }],
            "added_at": added_at[0],
        })
    );
    assert_eq!(event.routing_key, "profile.added.1");
    let message_id = event
        .properties
        .message_id()
        .as_ref()
        .expect("a message id")
        .to_string();
    assert_eq!(message_id, format!("{}.profile.added", reply.profile_id()));
    assert_eq!(*event.properties.delivery_mode(), Some(2), "persistent");
    assert!(client.take_now(&events).await.is_none(), "one event only");
}

#[tokio::test]
async fn a_repeated_request_announces_its_profile_again_with_the_same_id() {
    let world = World::new().await;
    let _worker = world.worker().await;
    let mut client = world.client().await;
    let events = client.listen_for_events(&world, "#").await;
    let body = world.request(r#""data":{"email":"a@example.com"}"#);
    let mut seen = Vec::new();
    for _ in 0..2 {
        assert_eq!(
            client
                .call_with(&body, props().with_message_id("m".into()))
                .await
                .error(),
            0
        );
        let event = client.take(&events).await;
        seen.push((event.text(), event.properties.message_id().clone()));
    }
    assert_eq!(seen[0], seen[1]);
    // Another request for the same email is refused, and announces nothing.
    assert_eq!(client.call(&body).await.error(), 409);
    assert!(client.take_now(&events).await.is_none());
}

#[tokio::test]
async fn nobody_bound_to_the_exchange_is_no_fault() {
    let world = World::new().await;
    let _worker = world.worker().await;
    let mut client = world.client().await;
    assert_eq!(client.call(world.request("")).await.error(), 0);
    assert!(client.take_now(&world.result_queue()).await.is_none());
}
