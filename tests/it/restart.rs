//! Servers that go away and come back. Each test has servers of its own; the names contain
//! "restart", so that `make test` can leave them out where the servers are somebody else's.

use std::time::Duration;

use lapin::options::QueueDeclareOptions;
use lapin::types::{AMQPValue, FieldTable};

use testkit::client::props;
use testkit::servers::{PrivateServers, Servers};
use testkit::worker::ends_well;
use testkit::world::World;

async fn publish(world: &World, count: usize, message_id: &str) {
    let client = world.client().await;
    for i in 0..count {
        let properties = props().with_message_id(format!("{message_id}{i}").as_str().into());
        client
            .publish(
                world.request(&format!(r#""data":{{"n":{i}}}"#)).as_bytes(),
                properties,
            )
            .await;
    }
}

/// Waits until so many profiles are stored and nothing is left to do.
async fn until_done(world: &World, count: i64) {
    testkit::worker::until(async || world.number("SELECT count(*) FROM profiles").await >= count)
        .await;
    let client = world.client().await;
    testkit::worker::until(async || client.waiting(&world.result_queue()).await as i64 >= count)
        .await;
    assert_eq!(world.number("SELECT count(*) FROM profiles").await, count);
}

/// The kill comes last: RabbitMQ 3.10 notes the name of a new quorum queue on disk only half a
/// second later, and a queue that it has forgotten by then never elects a leader.
#[tokio::test]
#[ignore = "long: `make test-long`"]
async fn restart_of_the_broker_is_survived() {
    let own = PrivateServers::start("restart-broker");
    let world = World::on(own.servers.clone()).await;
    let mut worker = world.worker().await;
    publish(&world, 50, "a").await;
    until_done(&world, 50).await;
    for (how, message_ids, stored) in [("stop", "b", 100), ("kill", "c", 150)] {
        own.tell_one(how, "broker");
        worker.until_said("lost RabbitMQ").await;
        worker.until_said("waiting for RabbitMQ").await;
        own.tell_one("start", "broker");
        worker.until_said("taking requests").await;
        publish(&world, 50, message_ids).await;
        until_done(&world, stored).await;
    }
    ends_well(worker).await;
}

#[tokio::test]
async fn restart_of_the_database_is_survived_and_held_requests_are_stored() {
    let own = PrivateServers::start("restart-database");
    let world = World::on(own.servers.clone()).await;
    let mut worker = world.worker().await;
    publish(&world, 20, "a").await;
    until_done(&world, 20).await;
    for (how, message_ids, stored) in [("stop", "b", 70), ("kill", "c", 120)] {
        own.tell_one(how, "database");
        publish(&world, 50, message_ids).await;
        worker.until_said("the database is away").await;
        own.tell_one("start", "database");
        worker.until_said("the database is back").await;
        until_done(&world, stored).await;
    }
    ends_well(worker).await;
}

#[tokio::test]
#[ignore = "long: `make test-long`"]
async fn restart_of_both_while_the_worker_starts_is_waited_for() {
    let own = PrivateServers::start("restart-both");
    let world = World::on(own.servers.clone()).await;
    own.tell_one("stop", "database");
    own.tell_one("stop", "broker");
    let mut worker = world.start_worker(&[]);
    worker
        .until_said("waiting for PostgreSQL at 127.0.0.1")
        .await;
    own.tell_one("start", "database");
    worker.until_said("waiting for RabbitMQ").await;
    own.tell_one("start", "broker");
    worker.until_said("taking requests").await;
    publish(&world, 10, "a").await;
    until_done(&world, 10).await;
    ends_well(worker).await;
}

/// A worker may be told to stop while it waits.
#[tokio::test]
#[ignore = "long: `make test-long`"]
async fn restart_that_never_comes_does_not_keep_a_worker_from_stopping() {
    let own = PrivateServers::start("restart-never");
    let world = World::on(own.servers.clone()).await;
    let mut worker = world.worker().await;
    own.tell_one("stop", "broker");
    worker.until_said("waiting for RabbitMQ").await;
    ends_well(worker).await;
}

/// The broker takes back what is not acknowledged in time, which is 30 minutes unless set
/// otherwise.
#[tokio::test]
#[ignore = "long: `make test-long`"]
async fn restart_of_the_session_by_the_acknowledgement_timeout_is_survived() {
    let own = PrivateServers::start("restart-timeout");
    for setting in ["consumer_timeout, 2000", "channel_tick_interval, 500"] {
        own.ctl(&["eval", &format!("application:set_env(rabbit, {setting}).")]);
    }
    let world = World::on(own.servers.clone()).await;
    let mut worker = world.worker().await;
    publish(&world, 20, "a").await;
    until_done(&world, 20).await;
    let lock = testkit::world::connect(&world.database_url).await;
    lock.batch_execute("BEGIN; LOCK TABLE profiles")
        .await
        .expect("locked");
    publish(&world, 30, "b").await;
    let line = worker.until_said("lost RabbitMQ").await;
    // The first words are those of RabbitMQ before 4.3, which closes the channel.
    assert!(
        line.contains("timed out") || line.contains("consumer_timeout"),
        "{line}"
    );
    lock.batch_execute("ROLLBACK").await.expect("unlocked");
    until_done(&world, 50).await;
    ends_well(worker).await;
}

/// A commit that waits for its standby is done on this server alone. Killed and started again it
/// shows the row, which the standby may not have: an answer now would be a lie if that one became
/// the primary.
#[tokio::test]
#[ignore = "long: `make test-long`"]
async fn restart_of_a_primary_shows_rows_that_are_answered_only_once_a_standby_has_them() {
    const WAITING: &str = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    let own = PrivateServers::start("restart-primary");
    let world = World::on(own.servers.clone()).await;
    let worker = world.worker().await;
    let mut client = world.client().await;
    assert_eq!(client.call(world.request("")).await.error(), 0);
    world
        .execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
        .await;
    world.execute("SELECT pg_reload_conf()").await;
    // It is so from some moment on, which nothing tells but a commit that waits.
    testkit::worker::until(async || {
        let writing = testkit::world::connect(&world.database_url).await;
        let commit = writing.batch_execute("SELECT pg_logical_emit_message(true, 'test', '')");
        tokio::time::timeout(Duration::from_millis(200), commit)
            .await
            .is_err()
    })
    .await;
    let others = world.number(WAITING).await;
    publish(&world, 1, "a").await;
    testkit::worker::until(async || world.number(WAITING).await > others).await;
    own.tell_one("kill", "database");
    own.tell_one("start", "database");
    assert_eq!(world.number("SELECT count(*) FROM profiles").await, 2);
    // The worker has found the row, and waits again.
    testkit::worker::until(async || world.number(WAITING).await > 0).await;
    assert_eq!(client.waiting(&world.result_queue()).await, 0);
    world
        .execute("ALTER SYSTEM RESET synchronous_standby_names")
        .await;
    world.execute("SELECT pg_reload_conf()").await;
    assert_eq!(client.take(&world.result_queue()).await.error(), 0);
    assert_eq!(world.number("SELECT count(*) FROM profiles").await, 2);
    ends_well(worker).await;
}

/// A primary that is made read-only, as before another one takes its place, ends no connection by
/// itself.
#[tokio::test]
#[ignore = "long: `make test-long`"]
async fn restart_is_not_needed_to_leave_a_server_that_takes_no_writes_any_more() {
    const OURS: &str = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'two/%'";
    let own = PrivateServers::start("restart-readonly");
    let world = World::on(own.servers.clone()).await;
    // One server is two here: what counts is that the one which takes writes is meant.
    let (before, server) = world.database_url.split_once('@').expect("a user");
    let (host, name) = server.split_once('/').expect("a name");
    let mut worker = world
        .worker_with(&[(
            "DATABASE_URL",
            &format!("{before}@{host},{host}/{name}?application_name=two"),
        )])
        .await;
    let mut client = world.client().await;
    assert_eq!(client.call(world.request("")).await.error(), 0);
    let admin = testkit::world::connect(&world.database_url).await;
    admin
        .batch_execute("ALTER SYSTEM SET default_transaction_read_only = on")
        .await
        .expect("set");
    admin
        .batch_execute("SELECT pg_reload_conf()")
        .await
        .expect("reloaded");
    // Also those that nobody uses.
    testkit::worker::until(async || world.number(OURS).await == 0).await;
    publish(&world, 10, "a").await;
    worker.until_said("does not allow writes").await;
    admin
        .batch_execute("SET default_transaction_read_only = off")
        .await
        .expect("set");
    admin
        .batch_execute("ALTER SYSTEM RESET default_transaction_read_only")
        .await
        .expect("reset");
    admin
        .batch_execute("SELECT pg_reload_conf()")
        .await
        .expect("reloaded");
    testkit::worker::until(async || client.waiting(&world.result_queue()).await == 10).await;
    assert_eq!(world.number("SELECT count(*) FROM profiles").await, 11);
    ends_well(worker).await;
}

/// A quorum queue whose leader is gone refuses what comes from a channel that is new to it, until
/// there is another one. That is no reason to send a reply to the result queue.
#[tokio::test]
#[ignore = "long: `make test-long`"]
async fn restart_of_a_node_that_led_reply_queues_leads_no_reply_astray() {
    const QUEUES: usize = 30;
    let own = PrivateServers::up(
        "scripts/cluster",
        &format!("cluster-{}", std::process::id()),
        &["--asynchronous"],
    );
    let of = |url: &str, place: usize| {
        let (before, rest) = url.split_once('@').expect("a user");
        let (hosts, after) = rest.split_once('/').expect("a path");
        format!(
            "{before}@{}/{after}",
            hosts.split(',').nth(place).expect("a host")
        )
    };
    let amqp_url = of(&own.servers.amqp_url, 1);
    let world = World::on(Servers {
        amqp_url,
        database_url: of(&own.servers.database_url, 0),
    })
    .await;
    let worker = world.worker().await;
    let client = world.client().await;
    // A queue is led from where it is declared.
    let first = lapin::Connection::connect(&of(&own.servers.amqp_url, 0), Default::default())
        .await
        .expect("node1");
    let channel = first.create_channel().await.expect("a channel");
    let queue = |i: usize| format!("{}.replies.{i}", world.name);
    for i in 0..QUEUES {
        let durable = QueueDeclareOptions {
            durable: true,
            ..Default::default()
        };
        let mut arguments = FieldTable::default();
        arguments.insert(
            "x-queue-type".into(),
            AMQPValue::LongString("quorum".into()),
        );
        channel
            .queue_declare(queue(i).as_str().into(), durable, arguments)
            .await
            .expect("a queue");
    }
    own.tell_one("kill", "node1");
    let request = |i: usize| {
        (
            world.request(""),
            props().with_reply_to(queue(i).as_str().into()),
        )
    };
    client.publish_all((0..QUEUES).map(request)).await;
    testkit::worker::until(async || {
        world.number("SELECT count(*) FROM profiles").await == QUEUES as i64
    })
    .await;
    for i in 0..QUEUES {
        assert_eq!(client.take(&queue(i)).await.error(), 0);
    }
    assert_eq!(client.waiting(&world.result_queue()).await, 0);
    ends_well(worker).await;
}

/// What waiting does not mend ends the worker, with one line that says what to do.
#[tokio::test]
#[ignore = "long: `make test-long`"]
async fn restart_is_no_help_without_permission() {
    let own = PrivateServers::start("restart-permission");
    let world = World::on(own.servers.clone()).await;
    own.ctl(&["add_user", "weak", "weak"]);
    own.ctl(&["set_permissions", "weak", "", ".*", ".*"]);
    let amqp_url = own.servers.amqp_url.replace("guest:guest", "weak:weak");
    let (status, said) = world.start_worker(&[("AMQP_URL", &amqp_url)]).end().await;
    assert_eq!(status.code(), Some(1), "{said}");
    let line = said.lines().last().expect("a line");
    assert!(
        line.contains("ACCESS_REFUSED") && line.contains("give the user its permissions"),
        "{line}"
    );
    let (status, said) = world
        .start_worker(&[("AMQP_URL", &amqp_url.replace(":weak@", ":wrong@"))])
        .end()
        .await;
    assert_eq!(status.code(), Some(1), "{said}");
    let line = said.lines().last().expect("a line");
    assert!(
        line.contains("refuses the login") && !line.contains("wrong@"),
        "{line}"
    );
}
