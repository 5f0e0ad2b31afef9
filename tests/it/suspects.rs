//! Requests over which the process ends: they are given up, and nothing else is.

use lapin::types::FieldTable;

use testkit::client::{table, text};
use testkit::world::{World, connect};

/// The header that makes a debug build do what the fault of a message would.
fn fault(kind: &str) -> FieldTable {
    table(&[("x-fault", text(kind))])
}

#[tokio::test]
async fn a_message_that_makes_our_code_panic_ends_alone() {
    let world = World::new().await;
    let mut worker = world.worker().await;
    let mut client = world.client().await;
    worker.signal("STOP").await;
    for i in 0..20 {
        let properties = client.replying(&format!("c{i}"));
        let properties = if i == 10 {
            properties.with_headers(fault("panic"))
        } else {
            properties
        };
        client
            .publish(world.request("").as_bytes(), properties)
            .await;
    }
    worker.signal("CONT").await;
    for i in 0..20 {
        let reply = client.reply(&format!("c{i}")).await;
        assert_eq!(reply.error(), if i == 10 { 500 } else { 0 }, "{i}");
    }
    let letter = client.take(&world.dead_letter_queue()).await;
    assert_eq!(letter.header("x-error").as_deref(), Some("500"));
    assert_eq!(letter.text(), world.request(""));
    assert_eq!(world.number("SELECT count(*) FROM profiles").await, 19);
    assert!(!worker.has_ended());
}

/// Whatever the kind of queue: the broker's counts are not needed.
#[tokio::test]
#[ignore = "long: `make test-long`"]
async fn a_message_that_kills_the_worker_is_given_up_and_its_neighbours_are_answered() {
    for queue_type in ["quorum", "classic"] {
        let world = World::new().await;
        kills_until_it_is_given_up(&world, queue_type, "abort", true).await;
        assert_eq!(world.number("SELECT count(*) FROM profiles").await, 599);
    }
}

/// The worst moment: it is stored, and nothing was said. There is neither an email nor a
/// `message_id` to know it by, so the first redelivery can't know; the second one does.
#[tokio::test]
#[ignore = "long: `make test-long`"]
async fn a_request_over_which_the_process_ends_after_the_commit_is_stored_twice_at_most() {
    for queue_type in ["quorum", "classic"] {
        let world = World::new().await;
        kills_until_it_is_given_up(&world, queue_type, "abort-after-commit", false).await;
        let stored = world
            .number("SELECT count(*) FROM profiles WHERE data->>'_fname' = 'n300'")
            .await;
        assert!(
            (1..=2).contains(&stored),
            "{queue_type}: stored {stored} times"
        );
        let twice = "SELECT count(*) FROM (SELECT 1 FROM profiles WHERE data->>'_fname' <> 'n300' \
                     GROUP BY data->'_fname' HAVING count(*) > 2) AS of_each";
        assert_eq!(
            world.number(twice).await,
            0,
            "{queue_type}: a neighbour was stored three times"
        );
    }
}

/// One of 600 requests ends the process, with `x-fault`, as often as it is begun. The others are
/// answered, and it is a dead letter after five deaths at most.
async fn kills_until_it_is_given_up(
    world: &World,
    queue_type: &str,
    fault_kind: &str,
    is_named: bool,
) {
    let settings = [("QUEUE_TYPE", queue_type)];
    world.worker_with(&settings).await.signal("TERM").await;
    let mut client = world.client().await;
    let requests = (0..600).map(|i| {
        let mut properties = client.replying(&format!("c{i}"));
        if is_named {
            properties = properties.with_message_id(format!("m{i}").as_str().into());
        }
        let properties = if i == 300 {
            properties.with_headers(fault(fault_kind))
        } else {
            properties
        };
        (
            world.request(&format!(r#""data":{{"_fname":"n{i}"}}"#)),
            properties,
        )
    });
    client.publish_all(requests).await;
    let dead = world.dead_letter_queue();
    let mut deaths = 0;
    let mut worker = world.start_worker(&settings);
    loop {
        // Each life has its own time, as a busy machine takes long for each.
        testkit::worker::until(async || worker.has_ended() || client.waiting(&dead).await > 0)
            .await;
        if client.waiting(&dead).await > 0 {
            break;
        }
        deaths += 1;
        assert!(deaths <= 5, "{queue_type}: it is not given up");
        worker = world.start_worker(&settings);
    }
    // On a classic queue every redelivery is suspect; on a quorum queue the third delivery is.
    assert!((4..=5).contains(&deaths), "{queue_type}: {deaths} deaths");
    for i in 0..600 {
        let reply = client.reply(&format!("c{i}")).await;
        assert_eq!(
            reply.error(),
            if i == 300 { 500 } else { 0 },
            "{queue_type}: {i}"
        );
    }
    let letter = client.take(&dead).await;
    assert_eq!(letter.header("x-error").as_deref(), Some("500"));
    testkit::worker::until(async || world.number("SELECT count(*) FROM suspects").await == 0).await;
    worker.signal("TERM").await;
    assert!(worker.end().await.0.success());
    assert_eq!(client.waiting(&dead).await, 0, "none but the culprit");
}

/// On a classic queue whatever was delivered before is suspect. Here somebody's transaction keeps
/// it waiting, and an orchestrator kills one worker after the other meanwhile.
#[tokio::test]
#[ignore = "long: `make test-long`"]
async fn a_suspect_that_waits_for_the_database_is_not_guilty_of_kills_from_outside() {
    let world = World::new().await;
    let settings = [("QUEUE_TYPE", "classic")];
    let somebody = connect(&world.database_url).await;
    let insert = "INSERT INTO profiles (db_id, id, email, email_hash, data)
                  VALUES (1, repeat('0', 24), 'held@example.com', hash_of_email('held@example.com'), '{}')";
    somebody
        .batch_execute(&format!("BEGIN; {insert}"))
        .await
        .expect("a transaction");
    let mut worker = world.worker_with(&settings).await;
    let mut client = world.client().await;
    let properties = client.replying("held");
    client
        .publish(
            world
                .request(r#""data":{"email":"held@example.com"}"#)
                .as_bytes(),
            properties,
        )
        .await;
    let count = async |of: &str| world.number(&format!("SELECT count(*) FROM {of}")).await;
    let waits = "pg_locks WHERE NOT granted AND locktype = 'transactionid'";
    testkit::worker::until(async || count(waits).await > 0).await;
    for life in 0..5 {
        worker.kill().await;
        worker = world.worker_with(&settings).await;
        testkit::worker::until(async || count("suspects").await > 0).await;
        testkit::worker::until(async || count("suspects").await == 0).await;
        testkit::worker::until(async || count(waits).await > 0).await;
        assert_eq!(
            client.waiting(&world.dead_letter_queue()).await,
            0,
            "given up in life {life}"
        );
    }
    somebody
        .batch_execute("ROLLBACK")
        .await
        .expect("the end of it");
    assert_eq!(client.reply("held").await.error(), 0);
    assert_eq!(count("profiles").await, 1);
}
