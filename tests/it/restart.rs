//! Servers that go away and come back. Each test has servers of its own; the names contain
//! "restart", so that `make test` can leave them out where the servers are somebody else's.

use crate::client::props;
use crate::servers::PrivateServers;
use crate::worker::Worker;
use crate::world::World;

async fn publish(world: &World, count: usize, message_id: &str) {
    let client = world.client().await;
    for i in 0..count {
        let properties = props().with_message_id(format!("{message_id}{i}").as_str().into());
        client.publish(world.request(&format!(r#""data":{{"n":{i}}}"#)).as_bytes(), properties).await;
    }
}

/// Waits until so many profiles are stored and nothing is left to do.
async fn until_done(world: &World, count: i64) {
    crate::worker::until(async || world.number("SELECT count(*) FROM profiles").await >= count).await;
    let client = world.client().await;
    crate::worker::until(async || client.waiting(&world.result_queue()).await as i64 >= count).await;
    assert_eq!(world.number("SELECT count(*) FROM profiles").await, count);
}

async fn ends_well(worker: Worker) {
    worker.signal("TERM").await;
    let (status, said) = worker.end().await;
    assert!(status.success(), "{status}: {said}");
}

/// The kill comes last: RabbitMQ 3.10 notes the name of a new quorum queue on disk only half a second
/// later, and a queue that it has forgotten by then never elects a leader.
#[tokio::test]
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
async fn restart_of_both_while_the_worker_starts_is_waited_for() {
    let own = PrivateServers::start("restart-both");
    let world = World::on(own.servers.clone()).await;
    own.tell_one("stop", "database");
    own.tell_one("stop", "broker");
    let mut worker = world.start_worker(&[]);
    worker.until_said("waiting for PostgreSQL at 127.0.0.1").await;
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
async fn restart_that_never_comes_does_not_keep_a_worker_from_stopping() {
    let own = PrivateServers::start("restart-never");
    let world = World::on(own.servers.clone()).await;
    let mut worker = world.worker().await;
    own.tell_one("stop", "broker");
    worker.until_said("waiting for RabbitMQ").await;
    ends_well(worker).await;
}

/// The broker takes back what is not acknowledged in time, which is 30 minutes unless set otherwise.
#[tokio::test]
async fn restart_of_the_session_by_the_acknowledgement_timeout_is_survived() {
    let own = PrivateServers::start("restart-timeout");
    for setting in ["consumer_timeout, 2000", "channel_tick_interval, 500"] {
        own.ctl(&["eval", &format!("application:set_env(rabbit, {setting}).")]);
    }
    let world = World::on(own.servers.clone()).await;
    let mut worker = world.worker().await;
    publish(&world, 20, "a").await;
    until_done(&world, 20).await;
    let lock = crate::world::connect(&world.database_url).await;
    lock.batch_execute("BEGIN; LOCK TABLE profiles").await.expect("locked");
    publish(&world, 30, "b").await;
    let line = worker.until_said("lost RabbitMQ").await;
    assert!(line.contains("timed out"), "{line}");
    lock.batch_execute("ROLLBACK").await.expect("unlocked");
    until_done(&world, 50).await;
    ends_well(worker).await;
}

/// What waiting does not mend ends the worker, with one line that says what to do.
#[tokio::test]
async fn restart_is_no_help_without_permission() {
    let own = PrivateServers::start("restart-permission");
    let world = World::on(own.servers.clone()).await;
    own.ctl(&["add_user", "weak", "weak"]);
    own.ctl(&["set_permissions", "weak", "", ".*", ".*"]);
    let amqp_url = own.servers.amqp_url.replace("guest:guest", "weak:weak");
    let (status, said) = world.start_worker(&[("AMQP_URL", &amqp_url)]).end().await;
    assert_eq!(status.code(), Some(1), "{said}");
    let line = said.lines().last().expect("a line");
    assert!(line.contains("ACCESS_REFUSED") && line.contains("give the user its permissions"), "{line}");
    let (status, said) = world.start_worker(&[("AMQP_URL", &amqp_url.replace(":weak@", ":wrong@"))]).end().await;
    assert_eq!(status.code(), Some(1), "{said}");
    let line = said.lines().last().expect("a line");
    assert!(line.contains("refuses the login") && !line.contains("wrong@"), "{line}");
}
