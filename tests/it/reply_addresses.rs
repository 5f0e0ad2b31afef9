//! Addresses as RabbitMQ's plugins write them, and ids that these put into headers.

use futures_util::StreamExt;
use lapin::options::QueueDeclareOptions;
use lapin::types::{AMQPValue, FieldTable};
use serde_json::Value;

use testkit::client::{Client, props, table, text};
use testkit::raw_amqp::{Props, RawClient, RawMessage, long};
use testkit::servers::PrivateServers;
use testkit::world::World;

/// A request with this reply address.
async fn publish(world: &World, client: &Client, reply_to: &str, correlation_id: &str) {
    let properties = props()
        .with_reply_to(reply_to.into())
        .with_correlation_id(correlation_id.into());
    client
        .publish(world.request("").as_bytes(), properties)
        .await;
}

/// In the order of `field-cases`: rabbitmq-stomp#75, its guide, AMQP 1.0 addresses of version 2.
#[tokio::test]
async fn the_forms_of_plugins_lead_to_the_queue_that_they_mean() {
    let world = World::new().await;
    let _worker = world.worker().await;
    let mut client = world.client().await;
    let queue = client.reply_queue.clone();
    let encoded = queue.replace('.', "%2E").replace('-', "%2d");
    for address in [
        queue.clone(),
        format!("/queue/{queue}"),
        format!("/queue/{encoded}"),
        format!("/amq/queue/{queue}"),
        format!("/queues/{encoded}"),
        format!("/reply-queue/{queue}"),
    ] {
        publish(&world, &client, &address, &address).await;
        let reply = client.reply(&address).await;
        assert_eq!(reply.error(), 0, "{address}");
        assert_eq!(reply.header("x-original-reply-to"), None, "{address}");
    }
    assert!(client.take_now(&world.result_queue()).await.is_none());
}

#[tokio::test]
async fn a_queue_of_the_very_name_comes_first() {
    let world = World::new().await;
    let _worker = world.worker().await;
    let client = world.client().await;
    let address = format!("/queue/{}", client.reply_queue);
    let exclusive = QueueDeclareOptions {
        exclusive: true,
        ..Default::default()
    };
    let declare =
        client
            .channel
            .queue_declare(address.as_str().into(), exclusive, FieldTable::default());
    declare.await.expect("a queue");
    publish(&world, &client, &address, "c").await;
    assert_eq!(client.take(&address).await.error(), 0);
}

/// What leads nowhere, to another exchange (spring-amqp#2008) or back to the service.
#[tokio::test]
async fn other_addresses_lead_to_the_result_queue_with_the_address_as_it_came() {
    let world = World::new().await;
    let mut worker = world.worker().await;
    let mut client = world.client().await;
    let (requests, dead) = (world.request_queue(), world.dead_letter_queue());
    let encoded = requests.replace('.', "%2E");
    for address in [
        "/queue/nobody.is.here".to_owned(),
        "/queue/".to_owned(),
        "/queues/%ff".to_owned(),
        "/queue/amq.rabbitmq.reply-to.x.y".to_owned(),
        format!("/queue/%2Fqueue%2F{}", client.reply_queue),
        format!("/exchange/amq.topic/{}", client.reply_queue),
        format!("/exchanges/amq.direct/{}", client.reply_queue),
        format!("/topic/{}", client.reply_queue),
        "field.replies/rk1".to_owned(),
        format!("/queue/{requests}"),
        format!("/amq/queue/{dead}"),
        format!("/queues/{encoded}"),
        format!("/reply-queue/{requests}"),
        format!("/queue/%2Fqueue%2F{encoded}"),
    ] {
        publish(&world, &client, &address, "c").await;
        let reply = client.take(&world.result_queue()).await;
        assert_eq!(reply.error(), 0, "{address}");
        assert_eq!(reply.header("x-original-reply-to"), Some(address));
    }
    assert!(client.take_now(&dead).await.is_none());
    assert_eq!(world.number("SELECT count(*) FROM profiles").await, 14);
    assert_eq!(client.call(world.request("")).await.error(), 0);
    assert!(!worker.has_ended());
}

/// RabbitMQ 4 delivers the response topic of MQTT 5 like this.
#[tokio::test]
async fn a_response_topic_is_an_address_where_there_is_no_reply_to() {
    let world = World::new().await;
    let _worker = world.worker().await;
    let mut client = world.client().await;
    let key = format!("{}.replies", world.name);
    let bind = client.channel.queue_bind(
        client.reply_queue.as_str().into(),
        "amq.topic".into(),
        key.as_str().into(),
        Default::default(),
        FieldTable::default(),
    );
    bind.await.expect("bound");
    let topic = |key: AMQPValue| {
        let headers = table(&[("x-reply-to-topic", key)]);
        props()
            .with_headers(headers)
            .with_correlation_id("c".into())
    };
    let body = world.request("");
    client.publish(body.as_bytes(), topic(text(&key))).await;
    let reply = client.next_reply().await;
    assert_eq!((reply.error(), reply.routing_key.as_str()), (0, &*key));
    assert_eq!(reply.header("x-original-reply-to"), None);
    // The property counts first.
    let both = topic(text("nobody")).with_reply_to(client.reply_queue.as_str().into());
    client.publish(body.as_bytes(), both).await;
    assert_eq!(client.next_reply().await.routing_key, client.reply_queue);
    for (key, original) in [
        (text("nobody"), Some("/topic/nobody".to_owned())),
        (text(&"k".repeat(256)), None),
        (text(""), None),
        (AMQPValue::ByteArray(key.as_bytes().into()), None),
        (AMQPValue::LongInt(5), None),
    ] {
        client.publish(body.as_bytes(), topic(key)).await;
        let reply = client.take(&world.result_queue()).await;
        assert_eq!(
            (reply.error(), reply.header("x-original-reply-to")),
            (0, original)
        );
    }
}

/// Whoever wants replies at topics that the worker may not publish to gets them in the result
/// queue; nobody else notices, and the worker goes on.
#[tokio::test]
#[ignore = "long: `make test-long`"]
async fn a_topic_that_is_forbidden_concerns_nobody_else() {
    let servers = PrivateServers::start("topics");
    let world = World::on(servers.servers.clone()).await;
    servers.ctl(&["add_user", "narrow", "narrow"]);
    let no_topics = "^(?!amq[.]topic$).*";
    servers.ctl(&["set_permissions", "narrow", ".*", no_topics, ".*"]);
    let url = servers
        .servers
        .amqp_url
        .replace("guest:guest", "narrow:narrow");
    let mut worker = world.worker_with(&[("AMQP_URL", &url)]).await;
    let mut client = world.client().await;
    for i in 0..50 {
        // An id of this size fits into no frame of the connection for others.
        let id = text(&"c".repeat(40_000));
        let topic = text(&format!("replies.{i}"));
        let headers = table(&[("x-reply-to-topic", topic), ("x-correlation-id", id)]);
        client
            .publish(world.request("").as_bytes(), props().with_headers(headers))
            .await;
        assert_eq!(client.call(world.request("")).await.error(), 0);
    }
    for reply in client.take_all(&world.result_queue(), 50).await {
        let original = reply.header("x-original-reply-to").expect("a topic");
        assert!(original.starts_with("/topic/replies."), "{original}");
        let id = reply.header("x-correlation-id").expect("an id");
        assert_eq!(id.len(), 40_000);
    }
    assert_eq!(world.number("SELECT count(*) FROM profiles").await, 100);
    assert!(!worker.has_ended());
    let said = testkit::worker::ends_well(worker).await;
    assert!(!said.contains("lost RabbitMQ"), "{said}");
}

fn json(reply: &RawMessage) -> Value {
    serde_json::from_slice(&reply.body).expect("a JSON body")
}

/// RabbitMQ 4 puts ids of AMQP 1.0 and MQTT 5 into headers that are no text of up to 255 bytes:
/// they name a request, and come back as they came.
#[tokio::test]
async fn ids_in_headers_name_a_request_and_come_back() {
    let world = World::new().await;
    let mut worker = world.worker().await;
    let mut client = RawClient::connect(&world.servers.amqp_url).await;
    // Also where the reply has to be published twice.
    let replies = format!("/queue/{}", client.consume_new().await);
    let request = || Props::new().reply_to(&replies);
    let (bytes, large) = ([0, 0xff, 7], [7_u8; 65_000]);
    let ids: [(u8, &[u8]); 5] = [
        (b'S', b"a text"),
        (b'S', &bytes),
        (b'x', &bytes),
        (b'x', &[b'c'; 300]),
        (b'S', &large),
    ];
    for (kind, id) in ids {
        let named = request().header_raw("x-message-id", kind, &long(id));
        let mut profiles = Vec::new();
        for correlation in [true, true, false] {
            let properties = if correlation {
                named
                    .clone()
                    .header_raw("x-correlation-id", kind, &long(&id[1..]))
            } else {
                named.clone()
            };
            let body = world.request("");
            client
                .publish(
                    "",
                    world.request_queue(),
                    &properties.bytes(),
                    body.as_bytes(),
                )
                .await;
            let reply = client.next().await;
            profiles.push(json(&reply)["profile_id"].clone());
            let expected = if correlation { &id[1..] } else { id };
            assert!(reply.header("x-correlation-id") == Some((kind, expected)));
            assert_eq!(reply.correlation_id(), None);
        }
        assert_eq!(profiles[0], profiles[1], "the same request");
        assert_eq!(profiles[0], profiles[2]);
    }
    let stored = world.number("SELECT count(*) FROM profiles").await;
    assert_eq!(stored, ids.len() as i64, "each id names another request");

    // Properties count before the headers; without a token there is the id and nothing else.
    let both = request()
        .header("x-message-id", "m")
        .header("x-correlation-id", "c");
    for (properties, property, header) in [
        (both.clone().correlation_id("p"), Some("p"), None),
        (both.clone().message_id("p"), None, Some("c")),
        (
            request().header("x-message-id", "m").message_id("p"),
            Some("p"),
            None,
        ),
        (both.clone(), None, Some("c")),
        (
            request().header_raw("x-correlation-id", b'l', &[0; 8]),
            None,
            None,
        ),
        (request().header("x-correlation-id", ""), None, None),
        // MQTT 5 has no longer ones.
        (
            request().header("x-correlation-id", "c".repeat(65_536)),
            None,
            None,
        ),
    ] {
        client
            .publish(
                "",
                world.request_queue(),
                &properties.bytes(),
                b"{\"db_id\":1}",
            )
            .await;
        let reply = client.next().await;
        assert_eq!(json(&reply)["error"], 401);
        assert_eq!(reply.correlation_id(), property.map(str::as_bytes));
        let header = header.map(|id| (b'S', id.as_bytes()));
        assert_eq!(reply.header("x-correlation-id"), header);
    }
    assert!(!worker.has_ended());
}

/// A stream stores messages in the form of AMQP 1.0, into which the broker turns a reply while it
/// takes it.
#[tokio::test]
async fn a_stream_takes_replies_with_such_ids() {
    let world = World::new().await;
    let worker = world.worker().await;
    let mut client = world.client().await;
    let stream = format!("{}.stream", world.name);
    let durable = QueueDeclareOptions {
        durable: true,
        ..Default::default()
    };
    let arguments = table(&[("x-queue-type", text("stream"))]);
    let declare = client
        .channel
        .queue_declare(stream.as_str().into(), durable, arguments);
    declare.await.expect("a stream");
    let limit = client.channel.basic_qos(10, Default::default());
    limit.await.expect("a stream wants a limit");
    let consume = client.channel.basic_consume(
        stream.as_str().into(),
        "".into(),
        Default::default(),
        FieldTable::default(),
    );
    let mut replies = consume.await.expect("a consumer");
    let ids = [
        text("a text"),
        AMQPValue::LongString(vec![0xff, 0].into()),
        AMQPValue::ByteArray(vec![0xff; 60_000].into()),
    ];
    for id in ids {
        let headers = table(&[("x-correlation-id", id)]);
        let properties = props()
            .with_headers(headers)
            .with_reply_to(stream.as_str().into());
        client
            .publish(world.request("").as_bytes(), properties)
            .await;
        assert_eq!(client.call(world.request("")).await.error(), 0);
        let reply = replies.next().await.expect("a reply").expect("a reply");
        assert!(reply.data.starts_with(br#"{"error":0,"#));
    }
    assert!(client.take_now(&world.result_queue()).await.is_none());
    let said = testkit::worker::ends_well(worker).await;
    assert!(!said.contains("lost RabbitMQ"), "{said}");
    let deleted = client
        .channel
        .queue_delete(stream.as_str().into(), Default::default());
    deleted.await.expect("deleted");
}
