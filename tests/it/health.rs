//! What operators see of a worker: metrics, readiness, status.

use profile_worker::admin::client;
use profile_worker::telemetry::metrics;
use serde_json::Value;

use testkit::admin::{admin_of, get, is_ready, observed, samples, until_not_ready};
use testkit::client::props;
use testkit::proxy::{Network, proxied};
use testkit::servers::PrivateServers;
use testkit::worker::{command, until};
use testkit::world::queues::full_event_queue;
use testkit::world::{World, connect};

#[tokio::test]
async fn metrics_tell_what_became_of_each_request() {
    let world = World::new().await;
    world.refuse_poison().await;
    let (_worker, admin) = observed(&world, &[]).await;
    let mut client = world.client().await;
    for (body, error) in [
        (world.request(r#""data":{"email":"a@example.com"}"#), 0),
        (world.request(r#""data":{"email":"a@example.com"}"#), 409),
        (world.request(r#""data":{"email":"no address"}"#), 400),
        (
            world.request(r#""data":{"email":"poison@example.com"}"#),
            500,
        ),
        (
            world.request(r#""data":[{"email":"b@example.com"},{"email":"c@example.com"}]"#),
            0,
        ),
        (r#"{"token":"nobody's","db_id":1}"#.to_owned(), 401),
        ("{".to_owned(), 400),
    ] {
        assert_eq!(client.call(body).await.error(), error);
    }
    let again = || client.replying("again").with_message_id("the same".into());
    for _ in 0..2 {
        client.publish(world.request("").as_bytes(), again()).await;
    }
    let one = client.reply("again").await.profile_id();
    assert_eq!(client.reply("again").await.profile_id(), one);
    client
        .publish(
            world.request("").as_bytes(),
            props().with_reply_to("nobody".into()),
        )
        .await;
    client.take(&world.result_queue()).await;
    client.publish(world.request("").as_bytes(), props()).await;
    client.take(&world.result_queue()).await;
    // The last one is acknowledged a moment after its reply.
    until(async || samples(&admin).await["profile_worker_request_duration_seconds_count"] >= 11.0)
        .await;
    let samples = samples(&admin).await;
    let expected = [
        (r#"decisions_total{code="0"}"#, 6.0),
        (r#"decisions_total{code="400"}"#, 2.0),
        (r#"decisions_total{code="401"}"#, 1.0),
        (r#"decisions_total{code="403"}"#, 0.0),
        (r#"decisions_total{code="409"}"#, 1.0),
        (r#"decisions_total{code="500"}"#, 1.0),
        (r#"profiles_total{outcome="added"}"#, 6.0),
        (r#"profiles_total{outcome="added_before"}"#, 1.0),
        (r#"profiles_total{outcome="email_taken"}"#, 1.0),
        (r#"profiles_total{outcome="unstorable"}"#, 1.0),
        (r#"replies_total{way="reply_to"}"#, 9.0),
        (r#"replies_total{way="returned"}"#, 1.0),
        (r#"replies_total{way="result_queue"}"#, 1.0),
        // Those of the second delivery, too.
        ("events_total", 7.0),
        (r#"dead_letters_total{reason="unreadable"}"#, 1.0),
        (r#"dead_letters_total{reason="unstorable"}"#, 1.0),
        (r#"dead_letters_total{reason="panic"}"#, 0.0),
        (r#"database_failures_total{kind="refused"}"#, 1.0),
        ("broker_sessions_total", 1.0),
        ("request_duration_seconds_count", 11.0),
        (r#"lanes{stage="idle"}"#, 4.0),
        ("ready", 1.0),
        ("unsettled_requests", 0.0),
        ("unsettled_bytes", 0.0),
        (r#"directory_entries{kind="resources"}"#, 2.0),
        (r#"directory_entries{kind="tokens"}"#, 1.0),
        (r#"build_info{version="0.1.0"}"#, 1.0),
    ];
    let wrong: Vec<_> = expected
        .map(|(name, value)| (name, samples.get(&format!("profile_worker_{name}")), value))
        .into_iter()
        .filter(|(_, is, should_be)| *is != Some(should_be))
        .collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    // After the first requests the worker subscribes anew, to ask for more at a time. What the
    // broker sends at that moment it takes back and sends again: the first of it is counted as
    // redelivered.
    let deliveries =
        |again| samples[&format!("profile_worker_deliveries_total{{redelivered=\"{again}\"}}")];
    assert_eq!(
        deliveries(false) + deliveries(true),
        11.0,
        "{} again",
        deliveries(true)
    );
    for stage in ["decide", "store", "publish", "settle"] {
        let count =
            samples[&format!("profile_worker_stage_duration_seconds_count{{stage=\"{stage}\"}}")];
        assert!((1.0..=13.0).contains(&count), "{stage}: {count}");
    }
    assert!(samples["profile_worker_database_connections_opened_total"] >= 1.0);
    assert!(
        samples["process_resident_memory_bytes"] > 1e6
            && samples["process_start_time_seconds"] > 1.7e9
    );
    let named: Vec<_> = metrics::catalogue()
        .iter()
        .map(|entry| entry.name)
        .collect();
    let strangers: Vec<_> = samples
        .keys()
        .filter(|sample| !named.iter().any(|name| sample.starts_with(name)))
        .collect();
    assert!(strangers.is_empty(), "{strangers:?}");
}

#[tokio::test]
async fn status_and_health_say_the_same() {
    let world = World::new().await;
    let (worker, admin) = observed(&world, &[]).await;
    until(async || is_ready(&admin).await).await;
    let (is_good, text) = get(&admin, "/status").await;
    let status: Value = serde_json::from_str(&text).expect("JSON");
    assert!(is_good);
    assert_eq!(
        (&status["ready"], &status["lanes"]["idle"]),
        (&Value::Bool(true), &4.into())
    );
    assert!(
        !text.contains("guest:") && !text.contains(&world.token),
        "no secrets"
    );
    let health = async |arguments: &[&str]| {
        let output = command()
            .arg("health")
            .args(arguments)
            .env("ADMIN_ADDR", &admin)
            .output()
            .await
            .expect("its end");
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).expect("text"))
    };
    assert_eq!(health(&[]).await, (Some(0), "ready\n".to_owned()));
    assert_eq!(health(&["--live"]).await, (Some(0), "alive\n".to_owned()));
    assert!(!get(&admin, "/other").await.0);
    worker.kill().await;
    let (code, text) = health(&[]).await;
    assert_eq!(code, Some(1));
    assert!(text.contains("no worker answers"), "{text}");
    let output = command()
        .arg("health")
        .env("ADMIN_ADDR", "none")
        .output()
        .await
        .expect("its end");
    assert_eq!(output.status.code(), Some(64));
}

#[tokio::test]
async fn a_port_that_is_asked_for_must_be_free() {
    let world = World::new().await;
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let (status, said) = world.start_worker(&[("ADMIN_ADDR", &address)]).end().await;
    assert_eq!(status.code(), Some(1));
    assert!(said.contains("ADMIN_ADDR: can't listen on"), "{said}");
    world.worker_with(&[("ADMIN_ADDR", "none")]).await;
}

/// Whoever connects and says nothing, or too much, keeps nobody else from an answer.
#[tokio::test]
async fn silent_and_talkative_visitors_are_no_trouble() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let world = World::new().await;
    let mut worker = world.start_worker(&[]);
    let admin = admin_of(&mut worker).await;
    let mut visitors = Vec::new();
    for _ in 0..40 {
        visitors.push(
            tokio::net::TcpStream::connect(&admin)
                .await
                .expect("let in"),
        );
    }
    // These ask again and again and never read.
    for visitor in &mut visitors[1..] {
        visitor
            .write_all("GET /metrics HTTP/1.1\r\n\r\n".repeat(200).as_bytes())
            .await
            .ok();
    }
    visitors[0]
        .write_all(format!("GET /ready HTTP/1.1\r\nx: {}\r\n", "y".repeat(64 * 1024)).as_bytes())
        .await
        .ok();
    let mut answer = Vec::new();
    visitors[0].read_to_end(&mut answer).await.ok();
    assert!(
        answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"),
        "{}",
        String::from_utf8_lossy(&answer)
    );
    until(async || {
        client::ask(admin.parse().expect("an address"), "/live")
            .await
            .is_ok_and(|(is_good, _)| is_good)
    })
    .await;
}

/// One row that somebody has locked is no fault of the database.
#[tokio::test]
async fn a_locked_row_leaves_a_worker_ready() {
    let world = World::new().await;
    let (mut worker, admin) = observed(&world, &[]).await;
    let mut client = world.client().await;
    let profile = world.request(r#""data":{"email":"a@example.com"}"#);
    assert_eq!(client.call(&profile).await.error(), 0);
    let mut somebody = connect(&world.database_url).await;
    let transaction = somebody.transaction().await.expect("a transaction");
    transaction
        .execute("DELETE FROM profiles", &[])
        .await
        .expect("a locked row");
    client
        .publish(profile.as_bytes(), client.replying("locked"))
        .await;
    worker.until_said("requests wait in the database").await;
    assert!(is_ready(&admin).await, "{}", get(&admin, "/ready").await.1);
    assert_eq!(client.call(world.request("")).await.error(), 0);
    assert!(is_ready(&admin).await, "{}", get(&admin, "/ready").await.1);
    transaction.commit().await.expect("unlocked");
    assert_eq!(client.reply("locked").await.error(), 0);
}

/// What a trigger of somebody says may quote the profile, and goes nowhere. Whatever its code is,
/// it stands for one request.
#[tokio::test]
async fn a_refusal_with_a_code_of_its_own_is_told_to_nobody_else() {
    let world = World::new().await;
    let refuse = "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
                  BEGIN
                      IF NEW.email LIKE 'poison%' THEN RAISE 'not for %', NEW.email USING ERRCODE = '45000'; END IF;
                      RETURN NEW;
                  END $$;
                  CREATE TRIGGER refuse BEFORE INSERT ON profiles FOR EACH ROW EXECUTE FUNCTION refuse()";
    world.execute(refuse).await;
    let (worker, admin) = observed(&world, &[]).await;
    let mut client = world.client().await;
    // The lock makes the lane wait before it is refused: that is over then, too.
    let mut somebody = connect(&world.database_url).await;
    let transaction = somebody.transaction().await.expect("a transaction");
    transaction
        .batch_execute("LOCK TABLE profiles IN SHARE MODE")
        .await
        .expect("a lock");
    let poison = world.request(r#""data":{"email":"poison@example.com"}"#);
    client
        .publish(poison.as_bytes(), client.replying("refused"))
        .await;
    until_not_ready(&admin, "requests are held").await;
    transaction.commit().await.expect("unlocked");
    assert_eq!(client.reply("refused").await.error(), 500);
    assert_eq!(
        client
            .call(world.request(r#""data":{"email":"b@example.com"}"#))
            .await
            .error(),
        0
    );
    assert!(is_ready(&admin).await, "{}", get(&admin, "/ready").await.1);
    worker.signal("TERM").await;
    let said = worker.end().await.1;
    assert!(!said.contains("poison"), "{said}");
}

/// What lanes of a lost session have waited for is over with them.
#[tokio::test]
async fn a_queue_that_was_full_before_a_reconnect_is_forgotten() {
    let world = World::new().await;
    let (network, amqp_url) = proxied(&world.servers.amqp_url).await;
    let (_worker, admin) = observed(&world, &[("AMQP_URL", &amqp_url)]).await;
    let mut client = world.client().await;
    let full = full_event_queue(&world, &client).await;
    client
        .publish(world.request("").as_bytes(), client.replying("waits"))
        .await;
    until_not_ready(&admin, "is full").await;
    network.set(Network::Cut);
    until_not_ready(&admin, "RabbitMQ").await;
    client
        .channel
        .queue_delete(full.into(), Default::default())
        .await
        .expect("gone");
    network.set(Network::Pass);
    assert_eq!(client.reply("waits").await.error(), 0);
    until(async || is_ready(&admin).await).await;
}

#[tokio::test]
#[ignore = "long: `make test-long`"]
async fn restart_of_a_server_makes_a_worker_unready_and_it_says_why() {
    let own = PrivateServers::start("restart-health");
    let world = World::on(own.servers.clone()).await;
    own.tell_one("stop", "database");
    let mut worker = world.start_worker(&[]);
    let admin = admin_of(&mut worker).await;
    until_not_ready(&admin, "waiting for PostgreSQL").await;
    own.tell_one("start", "database");
    until(async || is_ready(&admin).await).await;

    // Without a single request it is noticed, too: the directory grows old.
    own.tell_one("stop", "database");
    until_not_ready(&admin, "PostgreSQL has not answered for").await;
    own.tell_one("start", "database");
    until(async || is_ready(&admin).await).await;

    own.tell_one("stop", "broker");
    until_not_ready(&admin, "RabbitMQ").await;
    own.tell_one("start", "broker");
    until(async || is_ready(&admin).await).await;
    let samples = samples(&admin).await;
    assert_eq!(samples["profile_worker_broker_sessions_total"], 2.0);
    let losses: f64 = samples
        .iter()
        .filter(|(name, _)| name.starts_with("profile_worker_broker_losses_total"))
        .map(|(_, value)| value)
        .sum();
    assert_eq!(losses, 1.0);

    // Held requests: the lane says so before the directory does.
    own.tell_one("stop", "database");
    let mut client = world.client().await;
    client
        .publish(world.request("").as_bytes(), client.replying("held"))
        .await;
    until_not_ready(&admin, "requests are held").await;

    // A broker that is low on memory says so to those who publish.
    own.ctl(&["set_vm_memory_high_watermark", "absolute", "1MB"]);
    own.tell_one("start", "database");
    until_not_ready(&admin, "low on memory").await;
    own.ctl(&["set_vm_memory_high_watermark", "0.4"]);
    assert_eq!(client.reply("held").await.error(), 0);
    until(async || is_ready(&admin).await).await;
    worker.signal("TERM").await;
    worker.end().await;
}
