//! One request that costs the connection is given up alone; its neighbours are answered.

use lapin::options::{ExchangeDeclareOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};

use crate::client::{Client, props};
use crate::worker::PATIENCE;
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
    crate::worker::until(async || world.number(waiting).await > 0).await;
    for i in 0..20 {
        let request = world.request(&format!(r#""data":{{"email":"free{i}@example.com"}}"#));
        assert_eq!(client.call(request).await.error(), 0);
    }
    // All but the one that waits are settled, although they came after it.
    worker.kill().await;
    crate::worker::until(async || client.waiting(&world.request_queue()).await > 0).await;
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

/// A full queue behind reply_to is the requester's own matter.
#[tokio::test]
async fn a_reply_queue_that_is_full_costs_nobody_else_anything() {
    let world = World::new().await;
    let _worker = world.worker().await;
    let mut client = world.client().await;
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
        crate::worker::until(async || worker.has_ended() || client.waiting(&dead).await > 0).await;
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
    crate::worker::until(async || world.number("SELECT count(*) FROM suspects").await == 0).await;
    worker.signal("TERM").await;
    assert!(worker.end().await.0.success());
    assert_eq!(client.waiting(&dead).await, 0, "none but the culprit");
}

/// On a classic queue whatever was delivered before is suspect. Here somebody's transaction keeps
/// it waiting, and an orchestrator kills one worker after the other meanwhile.
#[tokio::test]
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
    crate::worker::until(async || count(waits).await > 0).await;
    for life in 0..5 {
        worker.kill().await;
        worker = world.worker_with(&settings).await;
        crate::worker::until(async || count("suspects").await > 0).await;
        crate::worker::until(async || count("suspects").await == 0).await;
        crate::worker::until(async || count(waits).await > 0).await;
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

/// The name of a queue for events that has no room.
pub(crate) async fn full_event_queue(world: &World, client: &Client) -> String {
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
    let exchange = world.event_exchange();
    let binding = client.channel.queue_bind(
        full.as_str().into(),
        exchange.into(),
        "#".into(),
        Default::default(),
        FieldTable::default(),
    );
    binding.await.expect("bound");
    client.publish_to(&full, b"it is full", props()).await;
    full
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
