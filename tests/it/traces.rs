//! Traces: what a collector is sent, and what goes on in replies and events.

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use tokio::net::TcpListener;

use testkit::admin::{observed, samples};
use testkit::client::{Message, props};
use testkit::collector::{Collector, hex, text};
use testkit::worker::Worker;
use testkit::world::World;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

fn with_trace(traceparent: &str) -> BasicProperties {
    let mut headers = FieldTable::default();
    headers.insert(
        "traceparent".into(),
        AMQPValue::LongString(traceparent.into()),
    );
    headers.insert(
        "tracestate".into(),
        AMQPValue::LongString("vendor=1".into()),
    );
    props().with_headers(headers)
}

fn recorded() -> BasicProperties {
    with_trace(&format!("00-{TRACE}-{PARENT}-01"))
}

async fn worker(world: &World, collector: &Collector, ratio: &str) -> Worker {
    let url = collector.url();
    world
        .worker_with(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &url),
            ("OTEL_TRACES_SAMPLER_ARG", ratio),
        ])
        .await
}

/// The trace and the span that a message names.
fn context(message: &Message) -> (String, String) {
    let traceparent = message.header("traceparent").expect("a traceparent");
    let parts: Vec<_> = traceparent.split('-').collect();
    assert_eq!(
        (parts.len(), parts[0], parts[3]),
        (4, "00", "01"),
        "{traceparent}"
    );
    (parts[1].to_owned(), parts[2].to_owned())
}

fn is(span: &Span, id: &str) -> bool {
    hex(&span.span_id) == id
}

fn attribute(span: &Span, name: &str) -> Option<String> {
    text(&span.attributes, name)
}

#[tokio::test]
async fn a_request_of_a_recorded_trace_continues_it() {
    let world = World::new().await;
    let collector = Collector::start().await;
    let _worker = worker(&world, &collector, "0").await;
    let mut client = world.client().await;
    let events = client.listen_for_events(&world, "#").await;
    let body = world.request(r#""data":{"email":"whisper@example.com"}"#);
    let reply = client
        .call_with(&body, recorded().with_message_id("m-1".into()))
        .await;
    let event = client.take(&events).await;
    let (trace, id) = context(&reply);
    assert_eq!(trace, TRACE);
    assert_ne!(id, PARENT);
    assert_eq!(context(&event), (trace, id.clone()));
    for message in [&reply, &event] {
        assert_eq!(message.header("tracestate").as_deref(), Some("vendor=1"));
    }

    let span = collector.span(|span| is(span, &id)).await;
    let queue = world.request_queue();
    assert_eq!(
        (
            hex(&span.trace_id).as_str(),
            hex(&span.parent_span_id).as_str()
        ),
        (TRACE, PARENT)
    );
    assert_eq!(
        (span.name.as_str(), span.kind()),
        (format!("process {queue}").as_str(), SpanKind::Consumer)
    );
    assert_eq!(span.trace_state, "vendor=1");
    let correlation_id = reply
        .properties
        .correlation_id()
        .as_ref()
        .expect("one")
        .to_string();
    for (name, value) in [
        ("messaging.system", "rabbitmq"),
        ("messaging.operation.name", "process"),
        ("messaging.operation.type", "process"),
        ("messaging.destination.name", &queue),
        ("messaging.rabbitmq.destination.routing_key", &queue),
        ("messaging.message.id", "m-1"),
        ("messaging.message.conversation_id", &correlation_id),
        ("messaging.message.body.size", &body.len().to_string()),
        ("server.address", "127.0.0.1"),
        ("profile_worker.code", "0"),
        ("profile_worker.db_id", "1"),
        ("profile_worker.profiles", "1"),
    ] {
        assert_eq!(attribute(&span, name).as_deref(), Some(value), "{name}");
    }
    assert_eq!(attribute(&span, "error.type"), None);
    let moments: Vec<_> = span
        .events
        .iter()
        .map(|event| (event.name.as_str(), event.time_unix_nano))
        .collect();
    assert_eq!(
        moments.iter().map(|(name, _)| *name).collect::<Vec<_>>(),
        ["decided", "stored", "published"]
    );
    let times: Vec<_> = std::iter::once(span.start_time_unix_nano)
        .chain(moments.iter().map(|(_, at)| *at))
        .collect();
    assert!(
        times.is_sorted() && times.last() == Some(&span.end_time_unix_nano),
        "{times:?}"
    );
    assert_eq!(
        collector.resource("service.name").as_deref(),
        Some("profile-worker")
    );
    assert!(
        collector
            .resource("service.instance.id")
            .is_some_and(|name| name.starts_with("profile-worker@"))
    );

    a_batch_links_its_requests(&collector, &span, &queue).await;
    let said = format!("{:?}", collector.spans());
    assert!(!said.contains("whisper") && !said.contains(&world.token));
}

async fn a_batch_links_its_requests(collector: &Collector, request: &Span, queue: &str) {
    let [link] = &request.links[..] else {
        panic!("one batch: {request:?}")
    };
    let batch = collector.span(|span| span.span_id == link.span_id).await;
    assert_eq!(
        (batch.name.as_str(), batch.kind()),
        (
            format!("process_batch {queue}").as_str(),
            SpanKind::Consumer
        )
    );
    assert_ne!(batch.trace_id, request.trace_id);
    assert!(batch.parent_span_id.is_empty());
    let linked: Vec<_> = batch
        .links
        .iter()
        .map(|link| (&link.trace_id, &link.span_id))
        .collect();
    assert_eq!(linked, [(&request.trace_id, &request.span_id)]);
    assert_eq!(
        attribute(&batch, "messaging.batch.message_count").as_deref(),
        Some("1")
    );
    let last = collector
        .span(|span| span.trace_id == batch.trace_id && span.name.starts_with("ack"))
        .await;
    let stages = [
        (format!("receive {queue}"), SpanKind::Client),
        ("decide".to_owned(), SpanKind::Internal),
        ("INSERT profiles".to_owned(), SpanKind::Client),
        ("publish".to_owned(), SpanKind::Client),
        (format!("ack {queue}"), SpanKind::Client),
    ];
    let all = collector.spans();
    let children: Vec<_> = all
        .iter()
        .filter(|span| span.parent_span_id == batch.span_id)
        .collect();
    let found: Vec<_> = children
        .iter()
        .map(|span| (span.name.clone(), span.kind()))
        .collect();
    assert_eq!(found, stages);
    assert!(children.iter().all(|span| span.trace_id == batch.trace_id));
    let times: Vec<_> = children
        .iter()
        .flat_map(|span| [span.start_time_unix_nano, span.end_time_unix_nano])
        .collect();
    assert!(times.is_sorted(), "{times:?}");
    let whole = (batch.start_time_unix_nano, batch.end_time_unix_nano);
    assert_eq!(
        whole,
        (children[0].start_time_unix_nano, last.end_time_unix_nano)
    );
    assert_eq!(
        attribute(children[2], "db.system.name").as_deref(),
        Some("postgresql")
    );
    assert!(attribute(children[2], "db.namespace").is_some_and(|name| queue.starts_with(&name)));
    assert_eq!(
        attribute(children[3], "messaging.operation.type").as_deref(),
        Some("send")
    );
    assert_eq!(
        attribute(&last, "messaging.operation.type").as_deref(),
        Some("settle")
    );
}

#[tokio::test]
async fn the_producer_decides_what_is_recorded_and_the_ratio_where_there_is_none() {
    let world = World::new().await;
    let collector = Collector::start().await;
    let worker = worker(&world, &collector, "1").await;
    let mut client = world.client().await;
    let unsampled = format!("00-{TRACE}-{PARENT}-00");
    let reply = client
        .call_with(world.request(""), with_trace(&unsampled))
        .await;
    assert_eq!(reply.header("traceparent"), Some(unsampled));
    assert_eq!(reply.header("tracestate").as_deref(), Some("vendor=1"));
    let (new, first) = context(&client.call(world.request("")).await);
    let invalid = client
        .call_with(world.request(""), with_trace("00-nonsense-01"))
        .await;
    let (newer, second) = context(&invalid);
    assert_eq!(
        invalid.header("tracestate"),
        None,
        "it belongs to a trace that can't be read"
    );
    worker.signal("TERM").await;
    assert!(worker.end().await.0.success());
    // All are sent before the end.
    let processed: Vec<_> = collector
        .spans()
        .into_iter()
        .filter(|span| span.name.starts_with("process "))
        .collect();
    let ids: Vec<_> = processed
        .iter()
        .map(|span| (hex(&span.trace_id), hex(&span.span_id)))
        .collect();
    assert_eq!(ids, [(new, first), (newer, second)]);
    assert!(processed.iter().all(|span| span.parent_span_id.is_empty()));
}

#[tokio::test]
async fn with_a_ratio_of_none_a_request_without_a_trace_gets_none() {
    let world = World::new().await;
    let collector = Collector::start().await;
    let worker = worker(&world, &collector, "0").await;
    let mut client = world.client().await;
    for _ in 0..20 {
        assert_eq!(
            client.call(world.request("")).await.header("traceparent"),
            None
        );
    }
    worker.signal("TERM").await;
    assert!(worker.end().await.0.success());
    assert!(collector.spans().is_empty());
}

#[tokio::test]
async fn only_a_fault_of_ours_is_an_error() {
    let world = World::new().await;
    world.refuse_poison().await;
    let collector = Collector::start().await;
    let _worker = worker(&world, &collector, "1").await;
    let mut client = world.client().await;
    let data = |email: &str| world.request(&format!(r#""data":{{"email":"{email}@example.com"}}"#));
    let (_, taken) = {
        client.call(data("a")).await;
        context(&client.call(data("a")).await)
    };
    let (_, failed) = context(&client.call(data("poison")).await);
    let (_, unreadable) = context(&client.call("nonsense").await);
    let expected = [
        (&taken, "409", None),
        (&failed, "500", Some("500")),
        (&unreadable, "400", None),
    ];
    for (id, code, error) in expected {
        let span = collector.span(|span| is(span, id)).await;
        assert_eq!(
            attribute(&span, "profile_worker.code").as_deref(),
            Some(code)
        );
        assert_eq!(attribute(&span, "error.type").as_deref(), error);
        let status = span
            .status
            .as_ref()
            .map_or(StatusCode::Unset, |status| status.code());
        assert_eq!(status == StatusCode::Error, error.is_some(), "{code}");
    }
}

/// A large request is stored in parts; each part is a batch that links it.
#[tokio::test]
async fn every_part_of_a_large_request_links_it() {
    let world = World::new().await;
    let collector = Collector::start().await;
    let worker = worker(&world, &collector, "0").await;
    let mut client = world.client().await;
    let body = world.request(&format!(r#""data":[{}]"#, vec!["{}"; 600].join(",")));
    let (trace, id) = context(&client.call_with(body, recorded()).await);
    assert_eq!(trace, TRACE);
    worker.signal("TERM").await;
    assert!(worker.end().await.0.success());
    let spans = collector.spans();
    let request = spans
        .iter()
        .find(|span| is(span, &id))
        .expect("the request");
    assert_eq!(
        attribute(request, "profile_worker.profiles").as_deref(),
        Some("600")
    );
    let batches = spans.iter().filter(|span| {
        span.links
            .iter()
            .any(|link| link.span_id == request.span_id)
    });
    assert_eq!(batches.count(), 3);
}

/// Many requests at a time: each is recorded, whatever batches they come in.
#[tokio::test]
async fn of_a_full_queue_every_recorded_request_has_its_span() {
    let world = World::new().await;
    let collector = Collector::start().await;
    let worker = worker(&world, &collector, "0").await;
    let mut client = world.client().await;
    let count = 1000;
    let properties = |i: usize| {
        let properties = if i.is_multiple_of(2) {
            recorded()
        } else {
            props()
        };
        properties
            .with_reply_to(client.reply_queue.as_str().into())
            .with_correlation_id(format!("{i}").as_str().into())
    };
    client
        .publish_all((0..count).map(|i| (world.request(""), properties(i))))
        .await;
    for i in 0..count {
        let reply = client.reply(&i.to_string()).await;
        assert_eq!(reply.header("traceparent").is_some(), i.is_multiple_of(2));
    }
    worker.signal("TERM").await;
    assert!(worker.end().await.0.success());
    let spans = collector.spans();
    let requests: Vec<_> = spans
        .iter()
        .filter(|span| span.name.starts_with("process "))
        .collect();
    assert_eq!(requests.len(), count / 2);
    let batches: Vec<_> = spans
        .iter()
        .filter(|span| span.name.starts_with("process_batch "))
        .collect();
    let linked: usize = batches
        .iter()
        .map(|batch| batch.links.len() + batch.dropped_links_count as usize)
        .sum();
    assert_eq!(linked, count / 2);
    for request in requests {
        assert!(
            batches
                .iter()
                .any(|batch| batch.span_id == request.links[0].span_id)
        );
    }
}

#[tokio::test]
async fn a_collector_that_is_away_holds_nobody_up_and_gets_traces_when_it_comes() {
    let world = World::new().await;
    let address = Collector::start().await.address;
    let url = format!("http://{address}");
    let settings = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str()),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-key=s3cret%20key"),
        ("OTEL_SERVICE_NAME", "mine"),
        ("OTEL_TRACES_SAMPLER_ARG", "1"),
    ];
    let mut worker = world.worker_with(&settings).await;
    let mut client = world.client().await;
    assert_eq!(client.call(world.request("")).await.error(), 0);
    let line = worker
        .until_said("takes no traces; they are dropped until it does")
        .await;
    assert!(line.contains("Connection refused"), "{line}");
    let collector = Collector::start_at(address).await;
    testkit::worker::until(async || {
        assert_eq!(client.call(world.request("")).await.error(), 0);
        !collector.spans().is_empty()
    })
    .await;
    worker.until_said("takes traces again").await;
    assert_eq!(collector.resource("service.name").as_deref(), Some("mine"));
    assert!(collector.keys().iter().all(|key| key == "s3cret key") && !collector.keys().is_empty());
    worker.signal("TERM").await;
    let (status, said) = worker.end().await;
    assert!(
        status.success() && !said.contains("takes no traces") && !said.contains("s3cret"),
        "{said}"
    );
}

/// It accepts connections and answers nothing.
#[tokio::test]
async fn a_collector_that_hangs_holds_nobody_up_and_the_end_does_not_wait_for_it() {
    let world = World::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("its address"));
    let settings = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str()),
        ("OTEL_TRACES_SAMPLER_ARG", "1"),
    ];
    let (worker, admin) = observed(&world, &settings).await;
    let mut client = world.client().await;
    let dropped = async || samples(&admin).await["profile_worker_spans_dropped_total"];
    let calls = async {
        for round in 0.. {
            assert!(round < 10, "nothing was dropped in time");
            client
                .publish_all((0..1000).map(|i| ("{}".to_owned(), client.replying(&i.to_string()))))
                .await;
            for i in 0..1000 {
                assert_eq!(client.reply(&i.to_string()).await.error(), 400);
            }
            if dropped().await > 0.0 {
                break;
            }
        }
    };
    let (_connection, ()) = tokio::join!(
        async { listener.accept().await.expect("a connection") },
        calls
    );
    worker.signal("TERM").await;
    let (status, said) = worker.end().await;
    assert!(
        status.success() && said.contains("the last spans could not be delivered in time"),
        "{said}"
    );
}
