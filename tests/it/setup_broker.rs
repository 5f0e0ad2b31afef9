//! A setup of the broker that is wrong: rights, queues and an exchange that are missing. It is said
//! at start, with the command that mends it; while running it is charged to no request. Users are
//! made for it, so the broker is this test's own, and its name contains "restart".

use lapin::options::{ExchangeDeleteOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::FieldTable;
use profile_worker::domain::token::Scope;

use testkit::admin::{get, is_ready, observed, samples, until_not_ready};
use testkit::client::{Client, props};
use testkit::operator::Operator;
use testkit::servers::PrivateServers;
use testkit::worker::{Worker, ends_well, until};
use testkit::world::World;
use testkit::world::queues::declare_exchange;

/// The worker's own user.
const USER: &str = "least";

/// A broker with the topology of a world and a user that may do what `write` says.
struct Setup {
    world: World,
    operator: Operator,
    /// By which a worker is that user.
    amqp_url: String,
}

impl Setup {
    async fn new(servers: &PrivateServers) -> Self {
        let command = format!("scripts/servers ctl {}", servers.folder().display());
        let operator = Operator::new(&command).expect("a command");
        let world = World::on(servers.servers.clone()).await;
        declare(&world).await;
        let mut url = url::Url::parse(&servers.servers.amqp_url).expect("a URL");
        url.set_username(USER).expect("a user");
        url.set_password(Some(USER)).expect("a password");
        let setup = Self {
            world,
            operator,
            amqp_url: url.into(),
        };
        setup.let_write_all().await;
        setup
    }

    /// Exactly what `docs/faults.md` says that a worker needs.
    async fn let_write_all(&self) {
        self.let_write(&format!(
            r"^(amq\.default|{})$",
            self.world.event_exchange().replace('.', r"\.")
        ))
        .await;
    }

    async fn let_write(&self, pattern: &str) {
        let read = format!("^{}$", self.world.request_queue().replace('.', r"\."));
        self.operator
            .set_permissions(USER, "", pattern, &read)
            .await
            .expect("rights");
        // A channel remembers what it was allowed once.
        self.operator.close_connections(USER).await.expect("closed");
    }

    fn settings(&self) -> [(&'static str, &str); 2] {
        [("AMQP_URL", self.amqp_url.as_str()), ("TOPOLOGY", "check")]
    }

    async fn worker(&self) -> (Worker, String) {
        observed(&self.world, &self.settings()).await
    }
}

/// The topology as an operator makes it.
async fn declare(world: &World) {
    let client = world.client().await;
    let durable = QueueDeclareOptions {
        durable: true,
        ..Default::default()
    };
    for queue in [
        world.request_queue(),
        world.result_queue(),
        world.dead_letter_queue(),
    ] {
        let mut arguments = FieldTable::default();
        arguments.insert(
            "x-queue-type".into(),
            lapin::types::AMQPValue::LongString("quorum".into()),
        );
        client
            .channel
            .queue_declare(queue.into(), durable, arguments)
            .await
            .expect("a queue");
    }
    declare_exchange(world, &client).await;
}

#[tokio::test]
#[ignore = "long: `make test-long`"]
async fn restart_rights_queues_and_an_exchange_that_are_missing_are_charged_to_no_request() {
    let servers = PrivateServers::start("restart-rights");
    let command = format!("scripts/servers ctl {}", servers.folder().display());
    let operator = Operator::new(&command).expect("a command");
    operator.make_user(USER, USER).await.expect("a user");
    a_worker_with_the_least_rights_works(&servers).await;
    a_missing_right_is_told_at_start_with_the_command_that_grants_it(&servers).await;
    a_right_that_is_taken_away_stops_the_intake_until_it_is_given_back(&servers).await;
    a_topic_permission_holds_only_the_requests_of_its_database(&servers).await;
    what_is_deleted_stops_the_intake_until_it_is_there_again(&servers).await;
}

async fn publish(setup: &Setup, client: &Client, from: usize, count: usize) {
    for i in from..from + count {
        let properties = client
            .replying(&format!("c{i}"))
            .with_message_id(format!("m{i}").as_str().into());
        client
            .publish(setup.world.request("").as_bytes(), properties)
            .await;
    }
}

async fn a_worker_with_the_least_rights_works(servers: &PrivateServers) {
    let setup = Setup::new(servers).await;
    let (worker, admin) = setup.worker().await;
    let mut client = setup.world.client().await;
    publish(&setup, &client, 0, 5).await;
    client.publish(b"garbage", props()).await;
    for i in 0..5 {
        assert_eq!(client.reply(&format!("c{i}")).await.error(), 0);
    }
    client.take(&setup.world.dead_letter_queue()).await;
    assert!(is_ready(&admin).await);
    ends_well(worker).await;
}

async fn a_missing_right_is_told_at_start_with_the_command_that_grants_it(
    servers: &PrivateServers,
) {
    let setup = Setup::new(servers).await;
    let exchange = setup.world.event_exchange();
    for (pattern, missing) in [
        (r"^amq\.default$", exchange.as_str()),
        (r"^.*\.events$", "amq.default"),
    ] {
        setup.let_write(pattern).await;
        let (status, said) = setup.world.start_worker(&setup.settings()).end().await;
        assert_eq!(status.code(), Some(1), "{said}");
        let last = said.lines().last().expect("a line");
        assert!(
            last.contains(missing)
                && last.contains("rabbitmqctl set_permissions -p '/' 'least' ''"),
            "{last}"
        );
        let command: Vec<_> = last.split('\'').collect();
        let [.., write, _, read, _] = command[..] else {
            panic!("{last}")
        };
        setup
            .operator
            .set_permissions(USER, "", write, read)
            .await
            .expect("the command is right");
        let (worker, _) = setup.worker().await;
        ends_well(worker).await;
    }
}

/// Rights that are taken under load: nothing is lost, nothing is answered twice or dead-lettered,
/// no request is charged.
async fn a_right_that_is_taken_away_stops_the_intake_until_it_is_given_back(
    servers: &PrivateServers,
) {
    let setup = Setup::new(servers).await;
    let (mut worker, admin) = setup.worker().await;
    let mut client = setup.world.client().await;
    let mut published = 0;
    for (pattern, missing) in [
        (r"^amq\.default$", ".events"),
        (r"^.*\.events$", "amq.default"),
    ] {
        publish(&setup, &client, published, 5).await;
        for i in published..published + 5 {
            assert_eq!(client.reply(&format!("c{i}")).await.error(), 0);
        }
        published += 5;
        setup.let_write(pattern).await;
        let line = worker.until_said("requests stay in the queue").await;
        assert!(
            line.contains(missing) && line.contains("rabbitmqctl set_permissions"),
            "{line}"
        );
        publish(&setup, &client, published, 5).await;
        until_not_ready(&admin, missing).await;
        let request_queue = setup.world.request_queue();
        until(async || client.waiting(&request_queue).await == 5).await;
        setup.let_write_all().await;
        for i in published..published + 5 {
            assert_eq!(client.reply(&format!("c{i}")).await.error(), 0);
        }
        published += 5;
        until(async || is_ready(&admin).await).await;
        worker.until_said("taking requests").await;
    }
    assert_eq!(
        setup.world.number("SELECT count(*) FROM profiles").await,
        published as i64
    );
    assert_eq!(client.waiting(&setup.world.dead_letter_queue()).await, 0);
    let again = samples(&admin).await["profile_worker_deliveries_total{redelivered=\"true\"}"];
    assert!(
        again <= published as f64 / 2.0,
        "each was delivered again once at most, and not in a loop: {again}"
    );
    ends_well(worker).await;
}

/// A topic permission holds the requests that it concerns, and no others.
async fn a_topic_permission_holds_only_the_requests_of_its_database(servers: &PrivateServers) {
    let setup = Setup::new(servers).await;
    let world = &setup.world;
    let exchange = world.event_exchange();
    assert_eq!(
        world
            .store
            .create_database("two", false)
            .await
            .expect("a database"),
        2
    );
    let (_, token) = world.new_token(&Scope::Databases(vec![2])).await;
    setup
        .operator
        .let_write_topic(USER, &exchange, r"^profile\.added\.(0|2)$")
        .await
        .expect("a right");
    let (mut worker, admin) = setup.worker().await;
    let mut client = world.client().await;
    publish(&setup, &client, 0, 3).await;
    worker.until_said("profile.added.1").await;
    for i in 0..20 {
        let body = format!(r#"{{"token":"{token}","db_id":2,"data":{{"n":{i}}}}}"#);
        assert_eq!(client.call(body).await.error(), 0);
    }
    until(async || get(&admin, "/ready").await.1.contains("profile.added.1")).await;
    setup
        .operator
        .let_write_topic(USER, &exchange, ".*")
        .await
        .expect("a right");
    let request_queue = world.request_queue();
    worker.until_said("takes messages again").await;
    until(async || client.waiting(&request_queue).await == 0 && is_ready(&admin).await).await;
    assert_eq!(world.number("SELECT count(*) FROM profiles").await, 23);
    ends_well(worker).await;
}

/// What is ours and is deleted while it is needed.
async fn what_is_deleted_stops_the_intake_until_it_is_there_again(servers: &PrivateServers) {
    let setup = Setup::new(servers).await;
    let world = &setup.world;
    let settings = [("AMQP_URL", setup.amqp_url.as_str()), ("TOPOLOGY", "none")];
    let (mut worker, admin) = observed(world, &settings).await;
    let mut client = world.client().await;
    let exchange = world.event_exchange();
    client
        .channel
        .exchange_delete(exchange.as_str().into(), ExchangeDeleteOptions::default())
        .await
        .expect("gone");
    publish(&setup, &client, 0, 5).await;
    let line = worker.until_said("requests stay in the queue").await;
    assert!(
        line.contains(&exchange) && line.contains("TOPOLOGY=declare"),
        "{line}"
    );
    declare_exchange(world, &client).await;
    for i in 0..5 {
        assert_eq!(client.reply(&format!("c{i}")).await.error(), 0);
    }
    let results = world.result_queue();
    client
        .channel
        .queue_delete(results.as_str().into(), QueueDeleteOptions::default())
        .await
        .expect("gone");
    client
        .publish(
            world.request("").as_bytes(),
            props().with_message_id("result".into()),
        )
        .await;
    let line = worker.until_said("requests stay in the queue").await;
    assert!(line.contains(&results), "{line}");
    let durable = QueueDeclareOptions {
        durable: true,
        ..Default::default()
    };
    client
        .channel
        .queue_declare(results.as_str().into(), durable, FieldTable::default())
        .await
        .expect("a queue");
    assert_eq!(client.take(&results).await.error(), 0);
    until(async || is_ready(&admin).await).await;
    assert_eq!(world.number("SELECT count(*) FROM profiles").await, 6);
    ends_well(worker).await;
}
