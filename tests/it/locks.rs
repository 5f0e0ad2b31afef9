//! Requests that wait for somebody else's lock hold up no others.

use testkit::client::props;
use testkit::world::{World, connect};

/// Somebody's transaction holds what one request has to wait for.
#[tokio::test]
async fn a_request_that_waits_for_a_lock_holds_up_no_other() {
    let world = World::new().await;
    let worker = world.worker().await;
    let mut client = world.client().await;
    let somebody = connect(&world.database_url).await;
    let insert = "INSERT INTO profiles (db_id, id, email, email_hash, data)
                  VALUES (1, repeat('0', 24), 'held@example.com', hash_of_email('held@example.com'), '{}')";
    somebody
        .batch_execute(&format!("BEGIN; {insert}"))
        .await
        .expect("a transaction");
    let properties = props()
        .with_reply_to(client.reply_queue.as_str().into())
        .with_correlation_id("held".into());
    client
        .publish(
            world
                .request(r#""data":{"email":"held@example.com"}"#)
                .as_bytes(),
            properties,
        )
        .await;
    let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'transactionid'";
    testkit::worker::until(async || world.number(waiting).await > 0).await;
    for i in 0..20 {
        let request = world.request(&format!(r#""data":{{"email":"free{i}@example.com"}}"#));
        assert_eq!(client.call(request).await.error(), 0);
    }
    // All but the one that waits are settled, although they came after it.
    worker.kill().await;
    testkit::worker::until(async || client.waiting(&world.request_queue()).await > 0).await;
    assert!(
        client.waiting(&world.request_queue()).await <= 2,
        "what was answered came back"
    );
    somebody
        .batch_execute("ROLLBACK")
        .await
        .expect("the end of it");
    let _another = world.worker().await;
    assert_eq!(client.reply("held").await.error(), 0);
}
