//! What can't be read or stored is kept, with the reason.

use std::collections::BTreeSet;

use lapin::options::{QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable};

use testkit::client::{Client, props};
use testkit::raw_amqp::RawClient;
use testkit::world::World;

#[tokio::test]
async fn an_unreadable_message_is_answered_and_kept_as_it_was() {
    let world = World::new().await;
    let _worker = world.worker().await;
    let mut client = world.client().await;
    let body = b"\xff\x00 no request {{{";
    let mut headers = FieldTable::default();
    headers.insert("x-mine".into(), AMQPValue::LongInt(7));
    let properties = props()
        .with_headers(headers)
        .with_message_id("m-1".into())
        .with_content_type("text/plain".into())
        .with_priority(3)
        .with_timestamp(1_700_000_000)
        .with_type("signup".into())
        .with_app_id("form".into());
    let reply = client.call_with(body, properties).await;
    assert_eq!(reply.error(), 400);
    let dead = client.take(&world.dead_letter_queue()).await;
    assert_eq!(dead.body, body);
    assert_eq!(dead.header("x-error").as_deref(), Some("400"));
    assert_eq!(
        dead.header("x-error-text").as_deref(),
        reply.json()["error_text"].as_str()
    );
    let died_at: u64 = dead
        .header("x-error-time")
        .expect("a time")
        .parse()
        .expect("seconds");
    assert!(died_at > 1_700_000_000);
    assert!(
        dead.header("x-worker")
            .expect("a worker")
            .starts_with("profile-worker@")
    );
    assert_eq!(dead.header("x-original-exchange").as_deref(), Some(""));
    assert_eq!(
        dead.header("x-original-routing-key"),
        Some(world.request_queue())
    );
    assert_eq!(dead.header("x-mine").as_deref(), Some("7"));
    let properties = &dead.properties;
    let text = |value: &Option<lapin::types::ShortString>| value.as_ref().map(ToString::to_string);
    assert_eq!(text(properties.message_id()).as_deref(), Some("m-1"));
    assert_eq!(
        text(properties.reply_to()).as_deref(),
        Some(client.reply_queue.as_str())
    );
    assert_eq!(text(properties.correlation_id()).as_deref(), Some("c0"));
    assert_eq!(
        text(properties.content_type()).as_deref(),
        Some("text/plain")
    );
    assert_eq!(text(properties.kind()).as_deref(), Some("signup"));
    assert_eq!(text(properties.app_id()).as_deref(), Some("form"));
    assert_eq!(
        (*properties.priority(), *properties.timestamp()),
        (Some(3), Some(1_700_000_000))
    );
    assert_eq!(*properties.delivery_mode(), Some(2), "persistent");
}

/// Properties that would make the broker act, or refuse, are kept as headers.
#[tokio::test]
async fn a_dead_letter_neither_expires_nor_spreads() {
    let world = World::new().await;
    let worker = world.worker().await;
    let mut client = world.client().await;
    let mut headers = FieldTable::default();
    let copies = AMQPValue::FieldArray(
        vec![AMQPValue::LongString(client.reply_queue.as_str().into())].into(),
    );
    headers.insert("CC".into(), copies);
    let properties = props()
        .with_headers(headers)
        .with_expiration("60000".into())
        .with_user_id("guest".into());
    let properties = properties.with_reply_to(world.result_queue().as_str().into());
    client.publish(b"nonsense", properties).await;
    // The producer's own copy, by the producer's own wish.
    assert_eq!(client.next_reply().await.body, b"nonsense");
    let dead = client.take(&world.dead_letter_queue()).await;
    assert_eq!(dead.properties.expiration(), &None);
    assert_eq!(dead.properties.user_id(), &None);
    assert_eq!(
        dead.header("x-original-expiration").as_deref(),
        Some("60000")
    );
    assert_eq!(dead.header("x-original-user-id").as_deref(), Some("guest"));
    assert!(dead.header("x-original-CC").is_some() && dead.header("CC").is_none());
    assert_eq!(client.take(&world.result_queue()).await.error(), 400);
    drop(worker);
}

#[tokio::test]
async fn a_refusal_is_an_answer_and_no_dead_letter() {
    let world = World::new().await;
    let _worker = world.worker().await;
    let mut client = world.client().await;
    for (body, error) in [
        (r#"{"db_id":"x"}"#.to_owned(), 400),
        (r#"{"db_id":1}"#.to_owned(), 401),
        (world.request(r#""data":{"email":"x"}"#), 400),
        (format!(r#"{{"token":"{}","db_id":5}}"#, world.token), 403),
    ] {
        assert_eq!(client.call(&body).await.error(), error);
    }
    assert!(client.take_now(&world.dead_letter_queue()).await.is_none());
    assert_eq!(world.number("SELECT count(*) FROM profiles").await, 0);
}

/// 500: PostgreSQL refuses one message although it takes its neighbours.
#[tokio::test]
async fn error_500_a_message_that_cannot_be_stored_spares_its_neighbours() {
    let world = World::new().await;
    world.refuse_poison().await;
    let mut worker = world.worker().await;
    worker.signal("STOP").await;
    let mut client = world.client().await;
    for i in 0..40 {
        let name = if i == 7 || i == 31 { "poison" } else { "good" };
        let properties = props()
            .with_reply_to(client.reply_queue.as_str().into())
            .with_correlation_id(format!("c{i}").as_str().into());
        let body = world.request(&format!(r#""data":{{"email":"{name}{i}@example.com"}}"#));
        client.publish(body.as_bytes(), properties).await;
    }
    worker.signal("CONT").await;
    for i in 0..40 {
        let reply = client.reply(&format!("c{i}")).await;
        assert_eq!(
            reply.error(),
            if i == 7 || i == 31 { 500 } else { 0 },
            "{i}"
        );
        if reply.error() == 500 {
            let text = reply.json()["error_text"]
                .as_str()
                .expect("a text")
                .to_owned();
            let reference = text.rsplit(' ').next().expect("a reference");
            let line = worker.until_said(reference).await;
            assert!(line.contains("P0001") && !line.contains('@'), "{line}");
            let dead = client.take(&world.dead_letter_queue()).await;
            assert_eq!(dead.header("x-error").as_deref(), Some("500"));
        }
    }
    assert_eq!(world.number("SELECT count(*) FROM profiles").await, 38);
    assert!(client.take_now(&world.dead_letter_queue()).await.is_none());
}

/// Fills the dead-letter queue, whose name it returns, with one message; it takes no other then.
async fn without_room(world: &World, client: &Client) -> String {
    world.worker().await.signal("TERM").await;
    let dead = world.dead_letter_queue();
    client
        .channel
        .queue_delete(dead.as_str().into(), QueueDeleteOptions::default())
        .await
        .expect("deleted");
    let mut arguments = FieldTable::default();
    arguments.insert("x-max-length".into(), AMQPValue::LongInt(1));
    arguments.insert(
        "x-overflow".into(),
        AMQPValue::LongString("reject-publish".into()),
    );
    let durable = QueueDeclareOptions {
        durable: true,
        ..Default::default()
    };
    client
        .channel
        .queue_declare(dead.as_str().into(), durable, arguments)
        .await
        .expect("a queue");
    client.publish_to(&dead, b"it is full", props()).await;
    dead
}

/// There is a bound to what waits beside the lanes. Of what nobody could read the oldest make room,
/// and are answered; a request with a good token waits for as long as it takes.
#[tokio::test]
async fn a_dead_letter_queue_without_room_drops_the_oldest_of_what_nobody_could_read_and_nothing_else()
 {
    const UNREADABLE: usize = 1300;
    let world = World::new().await;
    let mut client = world.client().await;
    let dead = without_room(&world, &client).await;
    let worker = world.worker_with(&[("TOPOLOGY", "check")]).await;
    let mut headers = FieldTable::default();
    headers.insert("x-fault".into(), AMQPValue::LongString("panic".into()));
    for i in 0..5 {
        let properties = client
            .replying(&format!("good{i}"))
            .with_headers(headers.clone());
        client
            .publish(world.request("").as_bytes(), properties)
            .await;
    }
    for i in 0..UNREADABLE {
        client
            .publish(
                format!("no request {i:04}").as_bytes(),
                client.replying(&format!("bad{i}")),
            )
            .await;
    }
    for i in 0..5 {
        assert_eq!(client.reply(&format!("good{i}")).await.error(), 500);
    }
    for i in 0..UNREADABLE {
        assert_eq!(client.reply(&format!("bad{i}")).await.error(), 400);
    }
    assert_eq!(
        client.call(world.request("")).await.error(),
        0,
        "others are answered meanwhile"
    );
    // Whoever reads all that comes makes room for what waits, and a worker that stops waits for
    // that.
    let mut reader = RawClient::connect(&world.servers.amqp_url).await;
    reader.consume(&dead).await;
    assert_eq!(reader.next().await.body, b"it is full");
    worker.signal("TERM").await;
    let reading = async {
        let (mut good, mut bad) = (0, BTreeSet::new());
        loop {
            match String::from_utf8(reader.next().await.body).expect("a text") {
                body if body == "the end" => return (good, bad),
                body if body == world.request("") => good += 1,
                body => assert!(bad.insert(body), "one came twice"),
            }
        }
    };
    let ending = async {
        let end = worker.end().await;
        client.publish_to(&dead, b"the end", props()).await;
        end
    };
    let ((good, bad), (status, said)) = tokio::join!(reading, ending);
    assert!(
        status.success() && said.contains("unreadable messages are answered and dropped"),
        "{said}"
    );
    assert_eq!(good, 5, "a request with a good token is never dropped");
    assert!(
        (500..=1000).contains(&bad.len()),
        "{} were kept: {said}",
        bad.len()
    );
    // The oldest make room, but for those that are being tried just then.
    let new = (UNREADABLE - 250..UNREADABLE)
        .filter(|i| bad.contains(&format!("no request {i:04}")))
        .count();
    assert!(new > 200, "of the last 250 only {new} are kept");
    assert_eq!(
        client.waiting(&world.request_queue()).await,
        0,
        "requests come again: {said}"
    );
}

/// A worker waits a moment for its last acknowledgements, but not beyond its grace period.
#[tokio::test]
async fn a_short_grace_period_is_enough_after_many_dead_letters() {
    const UNREADABLE: usize = 900;
    let world = World::new().await;
    let mut client = world.client().await;
    let dead = without_room(&world, &client).await;
    let worker = world
        .worker_with(&[("TOPOLOGY", "check"), ("SHUTDOWN_GRACE", "1s")])
        .await;
    for i in 0..UNREADABLE {
        client
            .publish(
                format!("no request {i}").as_bytes(),
                client.replying(&format!("bad{i}")),
            )
            .await;
    }
    for i in 0..UNREADABLE {
        assert_eq!(client.reply(&format!("bad{i}")).await.error(), 400);
    }
    let mut reader = RawClient::connect(&world.servers.amqp_url).await;
    reader.consume(&dead).await;
    for _ in 0..UNREADABLE / 2 {
        reader.next().await;
    }
    worker.signal("TERM").await;
    let (status, said) = worker.end().await;
    assert!(status.success(), "{said}");
}
