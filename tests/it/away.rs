//! Servers that are there but do not answer, or whose answers are lost: through a network that
//! fails.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;

use crate::commands::{err, run};
use testkit::client::{Client, deliveries, props};
use testkit::proxy::{Network, proxied};
use testkit::servers::PrivateServers;
use testkit::worker::{ends_well, until};
use testkit::world::World;

/// Publishes requests with the correlation ids from 0 on.
async fn publish(world: &World, client: &Client, count: usize) {
    for i in 0..count {
        client
            .publish(
                world.request("").as_bytes(),
                client.replying(&i.to_string()),
            )
            .await;
    }
}

async fn are_answered(client: &mut Client, count: usize) {
    for i in 0..count {
        assert_eq!(client.reply(&i.to_string()).await.error(), 0);
    }
}

/// The connection is lost in the middle of a commit: what came of it is looked up. Also for
/// profiles that nothing but their own id tells apart.
#[tokio::test]
async fn a_commit_whose_answer_is_lost_is_looked_up() {
    let world = World::new().await;
    let (network, database_url) = proxied(&world.database_url).await;
    let worker = world.worker_with(&[("DATABASE_URL", &database_url)]).await;
    let mut client = world.client().await;
    let mut stored = 0;
    for round in 0..8 {
        // After these the worker has no question to the database before it stores something.
        assert_eq!(
            client.call(r#"{"token":"nobody","db_id":1}"#).await.error(),
            401
        );
        assert_eq!(client.call(world.request("")).await.error(), 0);
        stored += 1;
        network.set(Network::SwallowAnswers);
        for i in 0..12 {
            let data = match i % 4 {
                0 => r#""data":{}"#.to_owned(),
                1 => format!(r#""data":{{"email":"{round}.{i}@example.com"}}"#),
                2 => format!(
                    r#""data":{{"subscriptions":[{{"resource_id":1,"channel":"email","email":"{round}.{i}@example.com"}}]}}"#
                ),
                _ => r#""data":[{},{"email":"x"},{}]"#.to_owned(),
            };
            client
                .publish(
                    world.request(&data).as_bytes(),
                    client.replying(&format!("{round}.{i}")),
                )
                .await;
        }
        // At least the first batch is committed, and nobody told the worker.
        until(async || world.number("SELECT count(*) FROM profiles").await > stored).await;
        network.set(Network::Cut);
        network.set(Network::Pass);
        for i in 0..12 {
            let reply = client.reply(&format!("{round}.{i}")).await;
            assert_eq!(reply.error(), 0, "{round}.{i}");
        }
        stored += 9 + 3 * 2;
        assert_eq!(
            world.number("SELECT count(*) FROM profiles").await,
            stored,
            "round {round}"
        );
        assert_eq!(
            world.number("SELECT count(*) FROM subscriptions").await,
            3 * (round + 1),
            "round {round}"
        );
    }
    let said = ends_well(worker).await;
    assert!(!said.contains("lost RabbitMQ"), "{said}");
}

/// The peer is gone and the socket does not say so.
#[tokio::test]
async fn a_silent_database_is_noticed_and_its_requests_are_held() {
    let world = World::new().await;
    let (network, database_url) = proxied(&world.database_url).await;
    let mut worker = world.worker_with(&[("DATABASE_URL", &database_url)]).await;
    let mut client = world.client().await;
    assert_eq!(client.call(world.request("")).await.error(), 0);
    network.set(Network::Swallow);
    publish(&world, &client, 20).await;
    worker.until_said("the database is away").await;
    network.set(Network::Pass);
    worker.until_said("the database is back").await;
    are_answered(&mut client, 20).await;
    assert_eq!(world.number("SELECT count(*) FROM profiles").await, 21);
    let said = ends_well(worker).await;
    assert!(!said.contains("lost RabbitMQ"), "{said}");
}

#[tokio::test]
async fn a_silent_broker_is_noticed_by_its_heartbeats() {
    let world = World::new().await;
    let (network, amqp_url) = proxied(&world.servers.amqp_url).await;
    let mut worker = world
        .worker_with(&[("AMQP_URL", &format!("{amqp_url}?heartbeat=1"))])
        .await;
    let mut client = world.client().await;
    assert_eq!(client.call(world.request("")).await.error(), 0);
    network.set(Network::Swallow);
    publish(&world, &client, 20).await;
    worker.until_said("lost RabbitMQ").await;
    network.set(Network::Pass);
    worker.until_said("taking requests").await;
    are_answered(&mut client, 20).await;
    ends_well(worker).await;
}

/// The answers of the broker come slowly, and nothing is lost or given up over it.
#[tokio::test]
async fn a_slow_network_is_slow_and_nothing_else() {
    let world = World::new().await;
    let (to_broker, amqp_url) = proxied(&world.servers.amqp_url).await;
    let (to_database, database_url) = proxied(&world.database_url).await;
    let worker = world
        .worker_with(&[("AMQP_URL", &amqp_url), ("DATABASE_URL", &database_url)])
        .await;
    let mut client = world.client().await;
    for network in [&to_broker, &to_database] {
        network.set(Network::Slow {
            bytes_per_second: 200_000,
            latency: Duration::from_millis(40),
        });
    }
    publish(&world, &client, 300).await;
    are_answered(&mut client, 300).await;
    assert_eq!(world.number("SELECT count(*) FROM profiles").await, 300);
    let said = ends_well(worker).await;
    assert!(!said.contains("lost") && !said.contains("away"), "{said}");
}

/// Away for longer than requests are held: others can take them, and they are taken once.
#[tokio::test]
async fn a_parked_worker_gives_its_requests_back_once() {
    let world = World::new().await;
    let (network, database_url) = proxied(&world.database_url).await;
    let mut parked = world
        .worker_with(&[("DATABASE_URL", &database_url), ("PARK_AFTER", "1s")])
        .await;
    let mut client = world.client().await;
    assert_eq!(client.call(world.request("")).await.error(), 0);
    network.set(Network::Cut);
    publish(&world, &client, 10).await;
    parked.until_said("parked").await;
    until(async || client.waiting(&world.request_queue()).await == 10).await;
    assert_eq!(world.number("SELECT count(*) FROM profiles").await, 1);
    // The broker itself gives back what it delivered while the subscription ended, so it may be
    // two.
    let at_first = deliveries(&world, &client).await;
    assert!(at_first <= 2, "given back {at_first} times");
    // From here on it asks the database again and again, and takes nothing.
    parked.until_said("taking no requests until").await;
    let later = deliveries(&world, &client).await;
    assert!(
        later <= at_first + 1,
        "ours was one; {at_first} before, now {later}"
    );
    let other = world.worker().await;
    are_answered(&mut client, 10).await;
    network.set(Network::Pass);
    parked.until_said("taking requests").await;
    ends_well(other).await;
    client.publish(world.request("").as_bytes(), props()).await;
    assert_eq!(client.take(&world.result_queue()).await.error(), 0);
    ends_well(parked).await;
}

/// A server that is stopped (SIGSTOP) takes packets and says nothing: whatever waits for an answer
/// gives up then, and says so.
#[tokio::test]
#[ignore = "long: `make test-long`"]
async fn restart_of_a_stopped_server_keeps_no_command_waiting() {
    const COMMANDS: [(&str, &[&str]); 5] = [
        ("databases", &["database", "list"]),
        ("resources", &["resource", "list"]),
        ("fields", &["field", "list"]),
        ("api_tokens", &["token", "list"]),
        ("schema_migrations", &["migrate"]),
    ];
    const ASLEEP: &str = "SELECT pid::text FROM pg_stat_activity
                          WHERE wait_event = 'PgSleep' AND datname = current_database()";
    let own = PrivateServers::start("restart-stopped");
    let world = World::on(own.servers.clone()).await;
    // Each looks at a table that takes long, so that there is time to stop its session.
    for (table, _) in COMMANDS {
        let sleepy = format!(
            "ALTER TABLE {table} RENAME TO real_{table}; CREATE VIEW {table} AS
             SELECT real.* FROM (SELECT pg_sleep(8)) AS slept LEFT JOIN real_{table} real ON true"
        );
        world.execute(&sleepy).await;
    }
    let mut worker = world.start_worker(&[]);
    let commands = COMMANDS.map(|(_, arguments)| run(&world, arguments));
    let mut stopped = BTreeSet::new();
    let stopping = until(async || {
        for backend in world.texts(ASLEEP).await {
            if stopped.insert(backend.clone()) {
                send("-STOP", &backend).await;
            }
        }
        stopped.len() > COMMANDS.len()
    });
    let (ended, (), _) = tokio::join!(
        join_all(commands),
        stopping,
        worker.until_said("did not answer in time")
    );
    for ((_, arguments), output) in COMMANDS.iter().zip(ended) {
        let line = err(&output);
        assert!(!output.status.success(), "{arguments:?}");
        assert!(
            line.contains("did not answer in time"),
            "{arguments:?}: {line}"
        );
    }
    for backend in &stopped {
        send("-CONT", backend).await;
    }
    worker.kill().await;
}

async fn send(signal: &str, process: &str) {
    let mut kill = tokio::process::Command::new("kill");
    let sent = kill.args([signal, process]).status().await;
    assert!(sent.expect("kill can be run").success());
}
