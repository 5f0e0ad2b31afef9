//! Properties and headers that no client library would write: taken as bytes, and no trouble for
//! anybody else.

use std::time::{Duration, Instant};

use serde_json::Value;

use testkit::raw_amqp::{
    Props, RawClient, RawMessage, bit, long, nested_arrays, nested_tables, table,
};
use testkit::servers::PrivateServers;
use testkit::worker::ends_well;
use testkit::world::World;

/// The client of these tests speaks to the broker as any other does.
#[tokio::test]
async fn the_broker_takes_what_the_raw_client_writes_and_gives_it_back() {
    let world = World::new().await;
    let _worker = world.worker().await;
    let mut client = RawClient::connect(&world.servers.amqp_url).await;
    let id = [0xff, 0, 0x80, 1];
    let properties = Props::new().correlation_id(id).header("a", "b").header_raw(
        "deep",
        b'A',
        &nested_arrays(5_000),
    );
    let properties = properties
        .header_raw("tables", b'F', &nested_tables(500))
        .bytes();
    client
        .publish("", world.dead_letter_queue(), &properties, b"body")
        .await;
    client.confirmed().await;
    let message = client
        .get(&world.dead_letter_queue())
        .await
        .expect("a message");
    // Not by assert_eq: nobody wants to read 28 KB of numbers.
    assert!(message.header("deep") == Some((b'A', &nested_arrays(5_000)[4..])));
    assert!(message.header("tables") == Some((b'F', &nested_tables(500)[4..])));
    assert_eq!(message.body, b"body");
    assert_eq!(message.correlation_id(), Some(&id[..]));
    assert_eq!(message.header("a"), Some((b'S', &b"b"[..])));
    assert_eq!(client.get(&world.dead_letter_queue()).await, None);
}

/// Properties that nobody expects, by name, with what they are on the wire.
fn poisons(reply_to: &str) -> Vec<(&'static str, Props)> {
    let sound = || {
        Props::new()
            .reply_to(reply_to)
            .correlation_id("c")
            .content_type("application/json")
    };
    let not_text = [
        0xff_u8, 0xfe, 0, 0x80, 0x81, 0xc3, 0x28, 0xa0, 0xf0, 0x9f, 1, 2, 3, 4, 5, 0xed,
    ];
    vec![
        (
            "5,000 arrays",
            sound().header_raw("x", b'A', &nested_arrays(5_000)),
        ),
        (
            "20,000 arrays",
            sound().header_raw("x", b'A', &nested_arrays(20_000)),
        ),
        (
            "15,000 tables",
            sound().header_raw("x", b'F', &nested_tables(15_000)),
        ),
        ("correlation_id", sound().correlation_id(not_text)),
        ("message_id", sound().message_id(not_text)),
        ("content_type", sound().content_type(not_text)),
        ("type", sound().short(bit::TYPE, not_text)),
        ("app_id", sound().short(bit::APP_ID, not_text)),
        ("cluster_id", sound().short(bit::CLUSTER_ID, not_text)),
        (
            "content_encoding",
            sound().short(bit::CONTENT_ENCODING, not_text),
        ),
        ("name of a header", sound().header(not_text, "x")),
        (
            "name of a header in a table",
            sound().header_raw("x", b'F', &table(&[(&not_text, b'V', b"")])),
        ),
        (
            "our own header",
            sound().header_raw("x-profile-worker-internal-set-aside", b'l', &[0; 8]),
        ),
        (
            "our other header",
            sound().header("x-profile-worker-internal-correlation-id", "forged"),
        ),
        (
            "many values",
            sound().header_raw("x", b'A', &long(&[b'V'; 100_000])),
        ),
    ]
}

/// What a neighbour waits at worst, even on a busy machine: a session that is lost over such a
/// message is lost for each of its deliveries, which takes a minute and more.
const AT_ONCE: Duration = Duration::from_secs(5);

/// Whatever a message's properties are, a good request is stored and answered, a bad one answered
/// and dead-lettered with a reason, and nobody waits for either.
async fn poisons_are_taken_as_bytes(world: World, settings: &[(&'static str, &str)]) {
    let mut worker = world.worker_with(settings).await;
    let mut neighbour = world.client().await;
    let mut client = RawClient::connect(&world.servers.amqp_url).await;
    let replies = client.consume_new().await;
    let poisons = poisons(&replies);
    for (name, properties) in &poisons {
        for (body, code) in [(world.request("").as_bytes(), 0), (b"garbage", 400)] {
            client
                .publish("", world.request_queue(), &properties.bytes(), body)
                .await;
            // RabbitMQ itself takes seconds to store 20,000 arrays in one another in a quorum
            // queue.
            client.confirmed().await;
            let stored = Instant::now();
            let reply = client.next().await;
            assert!(
                stored.elapsed() < AT_ONCE,
                "{name}: answered after {:?}",
                stored.elapsed()
            );
            assert_eq!(error(&reply), code, "{name}");
            assert_eq!(
                reply.correlation_id(),
                properties.value(bit::CORRELATION_ID).map(|id| &id[1..]),
                "{name}"
            );
        }
        let answered = Instant::now();
        let dead = client.take(&world.dead_letter_queue()).await;
        assert!(
            answered.elapsed() < AT_ONCE,
            "{name}: dead-lettered after {:?}",
            answered.elapsed()
        );
        assert_eq!(dead.body, b"garbage");
        assert_eq!(
            dead.header("x-error"),
            Some((b'I', &400_i32.to_be_bytes()[..])),
            "{name}"
        );
        assert!(dead.header("x-original-properties").is_some(), "{name}");
        assert_eq!(neighbour.call(world.request("")).await.error(), 0);
    }
    assert_eq!(
        world.number("SELECT count(*) FROM profiles").await,
        2 * poisons.len() as i64
    );
    assert!(!worker.has_ended());
}

fn error(reply: &RawMessage) -> i64 {
    let json: Value = serde_json::from_slice(&reply.body).expect("a JSON body");
    json["error"].as_i64().expect("a code")
}

#[tokio::test]
#[ignore = "long: `make test-long`"]
async fn poison_in_properties_is_taken_as_bytes_from_a_quorum_queue() {
    poisons_are_taken_as_bytes(World::new().await, &[("QUEUE_TYPE", "quorum")]).await;
}

#[tokio::test]
async fn poison_in_properties_is_taken_as_bytes_from_a_classic_queue() {
    poisons_are_taken_as_bytes(World::new().await, &[("QUEUE_TYPE", "classic")]).await;
}

/// With TLS, too, our reader sees what the broker says.
#[tokio::test]
#[ignore = "long: `make test-long`"]
async fn poison_in_properties_is_taken_as_bytes_over_tls() {
    let servers = PrivateServers::start_with_tls("properties-tls");
    let world = World::on(servers.servers.clone()).await;
    let (url, authority) = (servers.amqps_url(), servers.folder().join("tls/ca.pem"));
    let authority = authority.to_str().expect("a path");
    poisons_are_taken_as_bytes(world, &[("AMQP_URL", &url), ("SSL_CERT_FILE", authority)]).await;
}

/// A routing key that is no text: it is kept in the dead letter as it came.
#[tokio::test]
async fn a_routing_key_is_taken_as_bytes() {
    let world = World::new().await;
    let _worker = world.worker().await;
    let client = world.client().await;
    let options = lapin::options::QueueBindOptions::default();
    let (queue, exchange) = (world.request_queue(), world.event_exchange());
    let binding = client.channel.queue_bind(
        queue.into(),
        exchange.as_str().into(),
        "#".into(),
        options,
        Default::default(),
    );
    binding.await.expect("bound");
    let mut raw = RawClient::connect(&world.servers.amqp_url).await;
    let replies = raw.consume_new().await;
    for key in [&b"\xff\x00\xfe"[..], b"x-profile-worker-internal-0"] {
        raw.publish(
            &exchange,
            key,
            &Props::new().reply_to(&replies).bytes(),
            b"garbage",
        )
        .await;
        assert_eq!(error(&raw.next().await), 400);
        let dead = raw.take(&world.dead_letter_queue()).await;
        assert_eq!(dead.header("x-original-routing-key"), Some((b'S', key)));
        assert_eq!(
            dead.header("x-original-exchange"),
            Some((b'S', exchange.as_bytes()))
        );
    }
}

/// The reply to an address that can't be one is kept in the result queue, with the address as it
/// came.
#[tokio::test]
async fn a_reply_to_that_is_no_address_means_the_result_queue() {
    let world = World::new().await;
    let mut worker = world.worker().await;
    let mut client = RawClient::connect(&world.servers.amqp_url).await;
    for address in [
        &b"\xff\xfe"[..],
        b"amq.rabbitmq.reply-to.x.y",
        b"amq.rabbitmq.reply-to.!!!.x",
        b"amq.rabbitmq.reply-to.aaa.bbb",
    ] {
        let properties = Props::new()
            .reply_to(address)
            .correlation_id([0xff, 1])
            .bytes();
        client
            .publish(
                "",
                world.request_queue(),
                &properties,
                world.request("").as_bytes(),
            )
            .await;
        let reply = client.take(&world.result_queue()).await;
        assert_eq!(error(&reply), 0);
        assert_eq!(reply.header("x-original-reply-to"), Some((b'S', address)));
    }
    assert_eq!(world.number("SELECT count(*) FROM profiles").await, 4);
    assert!(!worker.has_ended());
}

/// What this broker gives out for direct reply-to is known as an address, and works.
#[tokio::test]
async fn direct_reply_to_works() {
    let world = World::new().await;
    let _worker = world.worker().await;
    let mut client = RawClient::connect(&world.servers.amqp_url).await;
    client.consume("amq.rabbitmq.reply-to").await;
    let properties = Props::new()
        .reply_to("amq.rabbitmq.reply-to")
        .correlation_id("1")
        .bytes();
    client
        .publish(
            "",
            world.request_queue(),
            &properties,
            world.request("").as_bytes(),
        )
        .await;
    let reply = client.next().await;
    assert_eq!(
        (error(&reply), reply.correlation_id()),
        (0, Some(&b"1"[..]))
    );
}

/// The broker can carry headers that fill a frame, but not with ours beside them.
#[tokio::test]
async fn a_dead_letter_whose_headers_are_too_large_is_cut_until_it_fits() {
    let world = World::new().await;
    let mut worker = world.worker().await;
    let mut client = RawClient::connect(&world.servers.amqp_url).await;
    let large = "x".repeat(130_800);
    let not_text = [&large.as_bytes()[..100_000], &[0xff]].concat();
    let deep = nested_arrays(26_190);
    for (properties, cut) in [
        (
            Props::new().header("a", "1").header("large", &large),
            "large",
        ),
        (
            Props::new()
                .header("a", "1")
                .header_raw("large", b'x', &long(large.as_bytes())),
            "large",
        ),
        // All of it is in the list as well.
        (
            Props::new()
                .header("a", "1")
                .header("large", &not_text)
                .correlation_id([0xff]),
            "large",
        ),
        (
            Props::new()
                .header("a", "1")
                .header_raw("deep", b'A', &deep),
            "x-original-properties",
        ),
    ] {
        client
            .publish("", world.request_queue(), &properties.bytes(), b"garbage")
            .await;
        let dead = client.take(&world.dead_letter_queue()).await;
        assert_eq!(dead.header("a"), Some((b'S', &b"1"[..])));
        assert_eq!(dead.header("x-cut-headers"), Some((b'S', cut.as_bytes())));
        assert_eq!(
            dead.header("x-error"),
            Some((b'I', &400_i32.to_be_bytes()[..]))
        );
        assert!(
            dead.properties.len() > 100_000,
            "as much as there is room for: {}",
            dead.properties.len()
        );
        client.take(&world.result_queue()).await;
    }
    assert!(!worker.has_ended());
}

/// Headers by the letter of their type (RabbitMQ's errata to AMQP 0-9-1, section 3), with a value.
/// No infinity: over one the broker closes the connection of whoever publishes it.
fn header_types() -> Vec<(u8, Vec<u8>)> {
    let death = table(&[
        (b"queue", b'S', &long(b"retry")),
        (b"reason", b'S', &long(b"expired")),
        (b"count", b'l', &1_i64.to_be_bytes()),
        (b"time", b'T', &1_700_000_000_u64.to_be_bytes()),
    ]);
    let deaths = long(&[b"F", &death[..]].concat());
    vec![
        (b't', vec![1]),
        (b'b', vec![0x80]),
        (b'B', vec![0xff]),
        (b's', vec![0x80, 0]),
        (b'u', vec![0xff, 0xff]),
        (b'I', i32::MIN.to_be_bytes().to_vec()),
        (b'i', u32::MAX.to_be_bytes().to_vec()),
        (b'l', i64::MIN.to_be_bytes().to_vec()),
        (b'f', f32::MIN_POSITIVE.to_be_bytes().to_vec()),
        (b'd', f64::MAX.to_be_bytes().to_vec()),
        (b'D', vec![255, 0xff, 0xff, 0xff, 0xff]),
        (b'T', u64::MAX.to_be_bytes().to_vec()),
        (b'V', vec![]),
        (b'S', long(b"\xff\x00 text")),
        (b'x', long(b"\xff\x00 bytes")),
        (b'A', deaths),
        (b'F', death),
    ]
}

/// Properties and headers as producers and retry topologies leave them, by name.
fn of_any_kind(world: &World) -> Vec<(String, Props)> {
    let names = [
        "x",
        "x-death",
        "x-delivery-count",
        "authorization",
        "x-message-id",
    ];
    let names = names
        .into_iter()
        .chain(["x-reply-to-topic", "traceparent", "error"]);
    let each = |name: &'static str| {
        header_types().into_iter().map(move |(kind, value)| {
            let title = format!("{name} of type {}", char::from(kind));
            (title, Props::new().header_raw(name, kind, &value))
        })
    };
    let mut all: Vec<_> = names.flat_map(each).collect();
    let list = |queue: &str| long(&[b"S", &long(queue.as_bytes())[..]].concat());
    let named = [
        ("priority", Props::new().raw(bit::PRIORITY, &[255])),
        ("not persistent", Props::new().raw(bit::DELIVERY_MODE, &[1])),
        ("expiration", Props::new().short(bit::EXPIRATION, "60000")),
        (
            "timestamp",
            Props::new().raw(bit::TIMESTAMP, &u64::MAX.to_be_bytes()),
        ),
        ("user_id", Props::new().short(bit::USER_ID, "guest")),
        // It is what AMQP 1.0 bodies have; this one is none.
        ("type", Props::new().short(bit::TYPE, "amqp-1.0")),
        (
            "CC",
            Props::new().header_raw("CC", b'A', &list(&world.request_queue())),
        ),
        (
            "BCC",
            Props::new().header_raw("BCC", b'A', &list(&world.request_queue())),
        ),
        (
            "many deliveries before",
            Props::new().header_raw("x-delivery-count", b'l', &150_i64.to_be_bytes()),
        ),
    ];
    all.extend(named.map(|(name, properties)| (name.to_owned(), properties)));
    all
}

/// field-cases 6, rascal#125, rabbitmq-server#10709: each is answered, and what can't be read is
/// kept.
#[tokio::test]
async fn properties_of_any_kind_are_answered() {
    let world = World::new().await;
    let mut worker = world.worker().await;
    let mut client = RawClient::connect(&world.servers.amqp_url).await;
    let replies = client.consume_new().await;
    let kinds = of_any_kind(&world);
    for (name, properties) in &kinds {
        let properties = properties.clone().reply_to(&replies).correlation_id(name);
        for (body, code) in [(world.request("").as_bytes(), 0), (b"garbage", 400)] {
            client
                .publish("", world.request_queue(), &properties.bytes(), body)
                .await;
            let reply = client.next().await;
            assert_eq!(error(&reply), code, "{name}");
            assert_eq!(reply.correlation_id(), Some(name.as_bytes()));
        }
        let dead = client.take(&world.dead_letter_queue()).await;
        assert_eq!(dead.body, b"garbage", "{name}");
    }
    assert_eq!(
        world.number("SELECT count(*) FROM profiles").await,
        kinds.len() as i64
    );
    assert!(!worker.has_ended());
}

/// field-cases 69, node-rabbitmq-client#25: nobody is told of a request whose time is over but who
/// reads the dead-letter queue.
#[tokio::test]
async fn a_request_that_expires_becomes_a_dead_letter_of_the_broker() {
    let world = World::new().await;
    // It makes the queues.
    ends_well(world.worker().await).await;
    let mut client = RawClient::connect(&world.servers.amqp_url).await;
    let properties = Props::new().short(bit::EXPIRATION, "100").reply_to("gone");
    let body = world.request("");
    client
        .publish(
            "",
            world.request_queue(),
            &properties.bytes(),
            body.as_bytes(),
        )
        .await;
    let dead = client.take(&world.dead_letter_queue()).await;
    assert_eq!(dead.body, body.as_bytes());
    assert!(dead.header("x-error").is_none() && dead.header("x-death").is_some());
    let _worker = world.worker().await;
    assert_eq!(
        world.client().await.call(world.request("")).await.error(),
        0
    );
    assert_eq!(client.get(&world.result_queue()).await, None);
    assert_eq!(world.number("SELECT count(*) FROM profiles").await, 1);
}

/// scala-oauth2-provider#6: the name in any case, the value as a text or as bytes, also beside
/// properties that the client library can't take.
#[tokio::test]
async fn the_authorization_header_is_found() {
    let world = World::new().await;
    let _worker = world.worker().await;
    let mut client = RawClient::connect(&world.servers.amqp_url).await;
    let replies = client.consume_new().await;
    let bearer = format!("Bearer {}", world.token);
    let good = long(bearer.as_bytes());
    let none = "no token: give it as `token` or in the header `authorization: Bearer …`";
    let other = "the header authorization is there but not of the form `Bearer <token>`";
    let header = |name: &str, kind, value: &[u8]| Props::new().header_raw(name, kind, value);
    for (properties, expected) in [
        (header("authorization", b'S', &good), ""),
        (header("authorization", b'x', &good), ""),
        (header("Authorization", b'S', &good), ""),
        (header("AUTHORIZATION", b'x', &good), ""),
        (
            header("Authorization", b'S', &long(b"Basic x")).header("authorization", &bearer),
            "",
        ),
        (header("Authorization", b'S', &long(b"Token x")), other),
        (
            header("authorization", b'S', &long(world.token.as_bytes())),
            other,
        ),
        (header("authorization", b'S', &long(b"Bearer")), other),
        (header("authorization", b'S', &long(b"")), other),
        (header("authorization", b'S', &long(b"Bearer \xff")), other),
        (header("authorization", b'l', &[0; 8]), other),
        (header("authorization", b'V', b""), other),
        (header("authorisation", b'S', &good), none),
    ] {
        // The second is taken as bytes.
        for id in [&b"text"[..], b"\xff"] {
            let properties = properties.clone().reply_to(&replies).correlation_id(id);
            client
                .publish(
                    "",
                    world.request_queue(),
                    &properties.bytes(),
                    b"{\"db_id\":1}",
                )
                .await;
            let reply: Value = serde_json::from_slice(&client.next().await.body).expect("JSON");
            let code = if expected.is_empty() { 0 } else { 401 };
            assert_eq!(
                (reply["error"].as_i64(), reply["error_text"].as_str()),
                (Some(code), Some(expected)),
                "{properties:?}"
            );
        }
    }
}
