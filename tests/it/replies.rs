//! Where a reply goes, and what it carries.

use futures_util::StreamExt;
use lapin::options::{BasicConsumeOptions, BasicPublishOptions};
use lapin::types::{AMQPValue, FieldTable};

use testkit::client::props;
use testkit::world::World;

#[tokio::test]
async fn the_properties_of_a_reply() {
    let world = World::new().await;
    let _worker = world.worker().await;
    let mut client = world.client().await;
    let mut headers = FieldTable::default();
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    headers.insert("traceparent".into(), AMQPValue::LongString(trace.into()));
    headers.insert(
        "tracestate".into(),
        AMQPValue::LongString("vendor=1".into()),
    );
    let reply = client
        .call_with(world.request(""), props().with_headers(headers))
        .await;
    let properties = &reply.properties;
    let text = |value: &Option<lapin::types::ShortString>| value.as_ref().map(ToString::to_string);
    assert_eq!(
        text(properties.content_type()).as_deref(),
        Some("application/json")
    );
    assert_eq!(
        text(properties.kind()).as_deref(),
        Some("profiles.add.result")
    );
    assert_eq!(text(properties.app_id()).as_deref(), Some("profile-worker"));
    assert_eq!(*properties.delivery_mode(), Some(2), "persistent");
    assert!(text(properties.message_id()).is_some_and(|id| !id.is_empty()));
    assert!(
        properties
            .timestamp()
            .is_some_and(|seconds| seconds > 1_700_000_000)
    );
    assert_eq!(reply.header("error").as_deref(), Some("0"));
    assert_eq!(reply.header("traceparent").as_deref(), Some(trace));
    assert_eq!(reply.header("tracestate").as_deref(), Some("vendor=1"));
    let mut headers = FieldTable::default();
    headers.insert(
        "tracestate".into(),
        AMQPValue::LongString("x".repeat(513).into()),
    );
    let reply = client
        .call_with(world.request(""), props().with_headers(headers))
        .await;
    assert_eq!(
        reply.header("tracestate"),
        None,
        "more than anybody has to carry"
    );
    let refused = client.call(r#"{"db_id":1}"#).await;
    assert_eq!(refused.header("error").as_deref(), Some("401"));
    assert_eq!(refused.header("traceparent"), None);
    assert_ne!(
        text(refused.properties.message_id()),
        text(properties.message_id())
    );
}

#[tokio::test]
async fn the_correlation_id_is_echoed_and_is_the_message_id_where_there_is_none() {
    let world = World::new().await;
    let _worker = world.worker().await;
    let mut client = world.client().await;
    let reply_to = || props().with_reply_to(client.reply_queue.as_str().into());
    let (both, only_message_id) = (
        reply_to().with_correlation_id("c".into()),
        reply_to().with_message_id("m".into()),
    );
    client
        .publish(
            world.request("").as_bytes(),
            both.with_message_id("m".into()),
        )
        .await;
    client
        .publish(world.request("").as_bytes(), only_message_id)
        .await;
    client
        .publish(world.request("").as_bytes(), reply_to())
        .await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(
            client
                .next_reply()
                .await
                .properties
                .correlation_id()
                .as_ref()
                .map(ToString::to_string),
        );
    }
    ids.sort();
    assert_eq!(ids, [None, Some("c".to_owned()), Some("m".to_owned())]);
}

#[tokio::test]
async fn direct_reply_to_works() {
    let world = World::new().await;
    let _worker = world.worker().await;
    let client = world.client().await;
    let no_ack = BasicConsumeOptions {
        no_ack: true,
        ..Default::default()
    };
    let direct = "amq.rabbitmq.reply-to";
    let consuming =
        client
            .channel
            .basic_consume(direct.into(), "".into(), no_ack, FieldTable::default());
    let mut replies = consuming.await.expect("a consumer");
    client
        .publish(
            world.request("").as_bytes(),
            props().with_reply_to(direct.into()),
        )
        .await;
    let reply = replies.next().await.expect("a reply").expect("a reply");
    assert!(reply.data.starts_with(br#"{"error":0,"#));
    assert!(client.take_now(&world.result_queue()).await.is_none());
}

/// The promise for direct reply-to: who must know sends again and gets the first answer.
#[tokio::test]
async fn a_requester_that_is_gone_stops_nobody_and_learns_its_answer_later() {
    let world = World::new().await;
    let _worker = world.worker().await;
    let direct = "amq.rabbitmq.reply-to";
    let gone = world.client().await;
    let no_ack = BasicConsumeOptions {
        no_ack: true,
        ..Default::default()
    };
    let consuming =
        gone.channel
            .basic_consume(direct.into(), "".into(), no_ack, FieldTable::default());
    let replies = consuming.await.expect("a consumer");
    let named = || props().with_message_id("m".into());
    gone.publish(
        world.request("").as_bytes(),
        named().with_reply_to(direct.into()),
    )
    .await;
    drop((replies, gone));
    let mut client = world.client().await;
    let answer = client.call_with(world.request(""), named()).await;
    assert_eq!(
        world.texts("SELECT id FROM profiles").await,
        [answer.profile_id()]
    );
}

#[tokio::test]
async fn without_reply_to_the_reply_goes_to_the_result_queue() {
    let world = World::new().await;
    let _worker = world.worker().await;
    let client = world.client().await;
    client
        .publish(
            world.request("").as_bytes(),
            props().with_correlation_id("c".into()),
        )
        .await;
    let reply = client.take(&world.result_queue()).await;
    assert_eq!(reply.error(), 0);
    assert_eq!(reply.header("x-original-reply-to"), None);
    assert_eq!(
        reply
            .properties
            .correlation_id()
            .as_ref()
            .map(ToString::to_string)
            .as_deref(),
        Some("c")
    );
}

#[tokio::test]
async fn a_reply_that_nobody_receives_goes_to_the_result_queue_and_its_neighbours_do_not() {
    let world = World::new().await;
    let mut client = world.client().await;
    // Published before there is a worker, so that they come as one batch.
    let worker = world.worker().await;
    worker.signal("STOP").await;
    for i in 0..50 {
        let reply_to = if i == 17 {
            "nobody.is.here".to_owned()
        } else {
            client.reply_queue.clone()
        };
        let properties = props()
            .with_reply_to(reply_to.as_str().into())
            .with_correlation_id(format!("c{i}").as_str().into());
        client
            .publish(world.request("").as_bytes(), properties)
            .await;
    }
    worker.signal("CONT").await;
    let lost = client.take(&world.result_queue()).await;
    assert_eq!(
        lost.header("x-original-reply-to").as_deref(),
        Some("nobody.is.here")
    );
    assert_eq!(
        lost.properties
            .correlation_id()
            .as_ref()
            .map(ToString::to_string)
            .as_deref(),
        Some("c17")
    );
    assert_eq!(lost.error(), 0);
    for i in (0..50).filter(|i| *i != 17) {
        assert_eq!(client.reply(&format!("c{i}")).await.error(), 0);
    }
    assert!(client.take_now(&world.result_queue()).await.is_none());
}

#[tokio::test]
async fn a_reply_to_that_would_loop_is_refused() {
    let world = World::new().await;
    let _worker = world.worker().await;
    let client = world.client().await;
    for queue in [world.request_queue(), world.dead_letter_queue()] {
        client
            .publish(
                world.request("").as_bytes(),
                props().with_reply_to(queue.as_str().into()),
            )
            .await;
        let reply = client.take(&world.result_queue()).await;
        assert_eq!(
            (reply.error(), reply.header("x-original-reply-to")),
            (0, Some(queue))
        );
    }
    assert!(client.take_now(&world.dead_letter_queue()).await.is_none());
    assert_eq!(world.number("SELECT count(*) FROM profiles").await, 2);
}

/// The result queue's messages live as long as the setting says.
#[tokio::test]
async fn a_result_lives_for_its_time() {
    let world = World::new().await;
    let _worker = world
        .worker_with(&[("RESULT_TTL", "1s"), ("QUEUE_TYPE", "classic")])
        .await;
    let client = world.client().await;
    client.publish(world.request("").as_bytes(), props()).await;
    client.take(&world.result_queue()).await;
    let options = BasicPublishOptions::default();
    let confirm = client.channel.basic_publish(
        "".into(),
        world.result_queue().into(),
        options,
        b"x",
        props(),
    );
    confirm.await.expect("published").await.expect("confirmed");
    testkit::worker::until(async || client.waiting(&world.result_queue()).await == 0).await;
}

/// The client library hands a returned message to whichever confirm comes next; ours must not care.
#[tokio::test]
#[ignore = "long: `make test-long`"]
async fn one_gone_queue_among_fifty_a_thousand_times_is_never_mistaken() {
    let world = World::new().await;
    let worker = world.worker().await;
    let mut client = world.client().await;
    let gone = format!("{}.gone", world.name);
    let (rounds, each) = (1000, 50);
    let body = world.request(r#""skip_triggers":true"#);
    // The place of the gone one moves through the fifty.
    let is_gone = |i: usize| i % each == (i / each) % each;
    for chunk in 0..10 {
        let chunk = chunk * rounds * each / 10..(chunk + 1) * rounds * each / 10;
        let requests = chunk.clone().map(|i| {
            let properties = client.replying(&i.to_string());
            let properties = if is_gone(i) {
                properties.with_reply_to(gone.as_str().into())
            } else {
                properties
            };
            (body.clone(), properties)
        });
        client.publish_all(requests).await;
        for i in chunk.filter(|i| !is_gone(*i)) {
            assert_eq!(client.reply(&i.to_string()).await.error(), 0);
        }
    }
    let results = client.take_all(&world.result_queue(), rounds).await;
    let mut lost: Vec<usize> = Vec::new();
    for reply in results {
        assert_eq!(
            reply.header("x-original-reply-to").as_deref(),
            Some(gone.as_str())
        );
        let id = reply
            .properties
            .correlation_id()
            .as_ref()
            .expect("a correlation id")
            .to_string();
        lost.push(id.parse().expect("one of ours"));
    }
    lost.sort_unstable();
    assert_eq!(
        lost,
        (0..rounds * each)
            .filter(|i| is_gone(*i))
            .collect::<Vec<_>>()
    );
    let more = client.take_now(&world.result_queue()).await;
    worker.signal("TERM").await;
    let (status, said) = worker.end().await;
    assert!(
        status.success() && !said.contains("lost RabbitMQ"),
        "{said}"
    );
    assert!(
        more.is_none(),
        "a good reply was taken for a lost one: {more:?}"
    );
}
