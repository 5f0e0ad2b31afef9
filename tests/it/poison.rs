//! What one message holds, or where its reply is to go, costs the others nothing: good neighbours
//! send a request every 10 ms meanwhile, and each has its answer within the bound of the contract.
//! `make attack` has all cases; these are the ones that once did most harm.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use testkit::arbitrary::{self, Found};
use testkit::client::{Client, props};
use testkit::neighbours::Neighbours;
use testkit::operator::Operator;
use testkit::poisons::{self, DIRECT_REPLY_TO, Means, Poison, given_out, has_reason};
use testkit::raw_amqp::{Props, RawClient, bit};
use testkit::servers::PrivateServers;
use testkit::worker::Worker;
use testkit::world::World;

/// A message is a dead letter or answered after so long at the latest (docs/contract.md).
const SETTLED_MAX: Duration = Duration::from_secs(15);

/// So long neighbours are watched at least.
const WATCHED: Duration = Duration::from_secs(2);

/// How long the last neighbours may take for their answers.
const ANSWERS_MAX: Duration = Duration::from_secs(5);

/// For arbitrary messages; another seed finds other faults, and a test must find the same each
/// time.
const SEED: u64 = 22;

/// A world with a worker and neighbours.
struct Street {
    worker: Worker,
    neighbours: Neighbours,
    client: Client,
    raw: RawClient,
    means: Means,
    world: World,
}

impl Street {
    async fn on(world: World, queue_type: &str) -> Self {
        let worker = world.worker_with(&[("QUEUE_TYPE", queue_type)]).await;
        let client = world.client().await;
        let raw = RawClient::connect(&world.servers.amqp_url).await;
        let neighbours = Neighbours::start(&world).await;
        let reply_queue = format!("{}.poison", world.name);
        client.declare_shared(&reply_queue).await;
        let means = Means {
            token: world.token.clone(),
            reply_queue,
        };
        testkit::worker::until(async || neighbours.answered() > 10).await;
        Self {
            worker,
            neighbours,
            client,
            raw,
            means,
            world,
        }
    }

    async fn publish(&mut self, poison: &Poison) {
        let properties = poison
            .properties
            .clone()
            .raw(bit::DELIVERY_MODE, &[2])
            .bytes();
        self.raw
            .publish("", self.world.request_queue(), &properties, &poison.body)
            .await;
        self.raw.confirmed().await;
    }

    /// Dead letters, and replies that are no neighbour's.
    async fn dead_and_answered(&self) -> (usize, usize) {
        let dead = self.client.waiting(&self.world.dead_letter_queue()).await;
        let results = self.client.waiting(&self.world.result_queue()).await;
        let replies = self.client.waiting(&self.means.reply_queue).await;
        (dead as usize, (results + replies) as usize)
    }

    /// Publishes messages, and waits until there are so many dead letters or answers of them.
    async fn settles(&mut self, what: &str, poisons: &[Poison]) {
        let (dead_before, answered_before) = self.dead_and_answered().await;
        for poison in poisons {
            self.publish(poison).await;
        }
        let begun = Instant::now();
        loop {
            let (dead, answered) = self.dead_and_answered().await;
            if (dead - dead_before).max(answered - answered_before) >= poisons.len() {
                return;
            }
            assert!(
                begun.elapsed() < SETTLED_MAX,
                "{what}: not settled after {SETTLED_MAX:?}"
            );
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// The neighbours had their answers in time, the worker lives, and every dead letter says why
    /// it is one.
    async fn end_well(mut self, queue_type: &str) {
        let waits = self.neighbours.finish(ANSWERS_MAX).await;
        assert_eq!(waits.broken(), Vec::<String>::new(), "{queue_type}");
        assert_eq!(waits.repeats, 0, "{queue_type}: a session was lost");
        assert!(
            !self.worker.has_ended(),
            "{queue_type}: the worker has ended"
        );
        while let Some(letter) = self.raw.get(&self.world.dead_letter_queue()).await {
            assert!(
                has_reason(&letter),
                "{queue_type}: a dead letter without a reason"
            );
        }
        self.worker.signal("TERM").await;
        let (status, said) = self.worker.end().await;
        assert!(
            status.success() && !said.contains("lost RabbitMQ"),
            "{queue_type}: {said}"
        );
        assert_eq!(
            self.client.waiting(&self.world.request_queue()).await,
            0,
            "{queue_type}: requests are left"
        );
    }

    async fn stored(&self) -> i64 {
        self.world
            .number("SELECT count(*) FROM profiles WHERE data ? 'poison'")
            .await
    }
}

/// Each of these on its own street, with both types of queues.
async fn do_no_harm(what: &str, poisons: impl Fn(&Means) -> Vec<Poison>, stored: i64) {
    for queue_type in ["quorum", "classic"] {
        let mut street = Street::on(World::new().await, queue_type).await;
        let until = Instant::now() + WATCHED;
        for poison in poisons(&street.means.clone()) {
            street.settles(what, std::slice::from_ref(&poison)).await;
        }
        sleep_until(until).await;
        assert_eq!(street.stored().await, stored, "{what}, {queue_type}");
        street.end_well(queue_type).await;
    }
}

#[tokio::test]
#[ignore = "long: `make test-long`"]
async fn headers_in_one_another_end_nothing() {
    // Deeper ones keep RabbitMQ itself busy for seconds.
    let deep = |_: &Means| vec![poisons::arrays(5000), poisons::tables(5000)];
    do_no_harm("deep headers", deep, 0).await;
}

#[tokio::test]
async fn a_reply_address_that_was_never_given_out_costs_no_session() {
    let forged = |means: &Means| {
        let mut all: Vec<_> = ["x.y", "!!!.x", "aaa.bbb", ""]
            .map(poisons::direct_reply_to)
            .into();
        all.push(poisons::direct_reply_to_in_request("x.y", means));
        all
    };
    do_no_harm("forged reply addresses", forged, 1).await;
}

/// An id may need a frame that only a connection of its own has; an address may hide another one.
#[tokio::test]
async fn addresses_and_ids_of_other_protocols_cost_no_session() {
    let strange = |means: &Means| {
        let mut all: Vec<_> = [1, 30_000, 65_535, 65_536]
            .map(poisons::of_other_protocols)
            .into();
        let hidden = [
            "nobody.is.here",
            "",
            "%ff",
            "%00",
            "amq.rabbitmq.reply-to",
            "amq.rabbitmq.reply-to.x.y",
            "%2Fqueues%2Fnobody.is.here",
        ];
        all.extend(hidden.map(poisons::meaning));
        all.push(poisons::meaning(&means.reply_queue));
        all
    };
    do_no_harm("addresses and ids of other protocols", strange, 0).await;
}

/// Whoever asks over direct reply-to is answered, also when one that is gone asked before.
#[tokio::test]
async fn a_requester_that_is_gone_is_stored_once_and_one_that_waits_is_answered() {
    for queue_type in ["quorum", "classic"] {
        let mut street = Street::on(World::new().await, queue_type).await;
        let gone = given_out(&street.world.servers.amqp_url, &street.means.reply_queue).await;
        street
            .publish(&Poison {
                properties: Props::new().reply_to(gone),
                body: street.means.request(0),
            })
            .await;
        let mut requester = RawClient::connect(&street.world.servers.amqp_url).await;
        requester.consume(DIRECT_REPLY_TO).await;
        let properties = Props::new()
            .reply_to(DIRECT_REPLY_TO)
            .correlation_id("waits")
            .bytes();
        requester
            .publish(
                "",
                street.world.request_queue(),
                &properties,
                &street.means.request(1),
            )
            .await;
        let reply = requester.next().await;
        assert_eq!(reply.correlation_id(), Some(&b"waits"[..]), "{queue_type}");
        assert!(reply.body.starts_with(br#"{"error":0,"#), "{queue_type}");
        assert_eq!(street.stored().await, 2, "{queue_type}");
        street.end_well(queue_type).await;
    }
}

/// A well-formed address of a node that the broker does not know costs the connection that is
/// published on. Whoever's reply was under way with it has it all the same.
#[tokio::test]
async fn an_address_of_an_unknown_node_costs_nobody_else_a_reply() {
    const EVERY: usize = 10;
    const COUNT: usize = 60;
    for queue_type in ["quorum", "classic"] {
        let mut street = Street::on(World::new().await, queue_type).await;
        let gone = given_out(&street.world.servers.amqp_url, &street.means.reply_queue).await;
        let unknown = poisons::of_unknown_node(&gone);
        let mut requester = RawClient::connect(&street.world.servers.amqp_url).await;
        requester.consume(DIRECT_REPLY_TO).await;
        for number in 0..COUNT {
            let reply_to = if number % EVERY == 0 {
                unknown.as_str()
            } else {
                DIRECT_REPLY_TO
            };
            let properties = Props::new()
                .reply_to(reply_to)
                .correlation_id(number.to_string())
                .bytes();
            let body = street.means.request(number);
            requester
                .publish("", street.world.request_queue(), &properties, &body)
                .await;
        }
        let mut answered = BTreeSet::new();
        while answered.len() < COUNT - COUNT / EVERY {
            // Some of them twice, as the broker had them when the connection was lost.
            answered.insert(requester.next().await.correlation_id().map(<[u8]>::to_vec));
        }
        // Some versions of RabbitMQ drop what nobody can receive without a word; others end the
        // connection, and the reply goes to the result queue.
        let begun = Instant::now();
        while street.client.waiting(&street.world.request_queue()).await > 0
            || street.stored().await < COUNT as i64
        {
            assert!(
                begun.elapsed() < SETTLED_MAX,
                "{queue_type}: not settled after {SETTLED_MAX:?}"
            );
            sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(street.stored().await, COUNT as i64, "{queue_type}");
        let results = street.client.waiting(&street.world.result_queue()).await;
        for _ in 0..results {
            let result = street
                .raw
                .get(&street.world.result_queue())
                .await
                .expect("a reply");
            assert_eq!(
                result.header("x-original-reply-to").map(|(_, text)| text),
                Some(unknown.as_bytes())
            );
        }
        street.end_well(queue_type).await;
    }
}

#[tokio::test]
#[ignore = "long: `make test-long`"]
async fn properties_that_are_no_text_cost_no_session() {
    let no_text = |means: &Means| {
        let bits = [
            bit::CORRELATION_ID,
            bit::MESSAGE_ID,
            bit::REPLY_TO,
            bit::CONTENT_TYPE,
            bit::TYPE,
        ];
        let mut all: Vec<_> = bits.map(poisons::no_text).into();
        all.extend([poisons::no_text_as_name(), poisons::no_text_as_inner_name()]);
        all.push(poisons::no_text_in_request(bit::CORRELATION_ID, means));
        all
    };
    do_no_harm("properties that are no text", no_text, 1).await;
}

#[tokio::test]
#[ignore = "long: `make test-long`"]
async fn headers_that_fill_a_frame_are_cut_in_the_dead_letter() {
    let large = |_: &Means| vec![poisons::large_header(), poisons::many_headers()];
    do_no_harm("large headers", large, 0).await;
}

#[tokio::test]
#[ignore = "long: `make test-long`"]
async fn a_hundred_messages_in_a_row_do_no_more_harm_than_one() {
    for queue_type in ["quorum", "classic"] {
        let mut street = Street::on(World::new().await, queue_type).await;
        let kinds = [
            poisons::direct_reply_to("x.y"),
            poisons::no_text(bit::CORRELATION_ID),
            poisons::no_text_as_name(),
        ];
        // Few deep headers, as each costs RabbitMQ itself some time.
        let deep = std::iter::repeat_n(poisons::arrays(5000), 4);
        let hundred: Vec<_> = kinds.into_iter().cycle().take(96).chain(deep).collect();
        let mut raw = RawClient::connect(&street.world.servers.amqp_url).await;
        for Poison { properties, body } in &hundred {
            raw.publish("", street.world.request_queue(), &properties.bytes(), body)
                .await;
        }
        raw.confirmed().await;
        let begun = Instant::now();
        loop {
            let (dead, answered) = street.dead_and_answered().await;
            // Each is one or the other, or both.
            if dead + answered >= hundred.len() {
                break;
            }
            assert!(
                begun.elapsed() < SETTLED_MAX,
                "{queue_type}: {dead} dead, {answered} answered"
            );
            sleep(Duration::from_millis(50)).await;
        }
        sleep(WATCHED).await;
        street.publish(&Poison::refused(Props::new())).await;
        street.end_well(queue_type).await;
    }
}

#[tokio::test]
#[ignore = "long: `make test-long`"]
async fn arbitrary_messages_are_answered_or_kept_and_harm_nobody() {
    for queue_type in ["quorum", "classic"] {
        let street = Street::on(World::new().await, queue_type).await;
        let Found {
            unsettled,
            refused,
            letters_without_reason,
            ..
        } = arbitrary::publish_and_collect(&street.world, &street.means, SEED, 1000).await;
        assert_eq!(
            unsettled,
            Vec::<usize>::new(),
            "{queue_type}: neither answered nor dead letters"
        );
        assert_eq!(letters_without_reason, 0, "{queue_type}");
        assert!(
            refused < 100,
            "{queue_type}: the broker itself refuses {refused}"
        );
        let twice = "SELECT count(*) FROM (SELECT 1 FROM profiles WHERE data ? 'poison' \
                     GROUP BY data->'poison' HAVING count(*) > 1) AS of_each";
        assert_eq!(
            street.world.number(twice).await,
            0,
            "{queue_type}: stored twice"
        );
        street.end_well(queue_type).await;
    }
}

/// What an operator does needs servers of the test's own, which its name says (see
/// [`crate::restart`]).
#[tokio::test]
#[ignore = "long: `make test-long`"]
async fn restart_a_queue_that_takes_nothing_holds_up_only_what_needs_it() {
    let own = PrivateServers::start("restart-poison");
    let operator = Operator::new(&format!("scripts/servers ctl {}", own.folder().display()))
        .expect("a command");
    for queue_type in ["quorum", "classic"] {
        let mut street = Street::on(World::on(own.servers.clone()).await, queue_type).await;
        let silent = format!("{}.silent", street.world.name);
        street.client.declare_shared(&silent).await;
        operator.suspend(&silent).await.expect("it stands still");
        let slow: Vec<_> = (0..8)
            .map(|number| Poison {
                properties: Props::new().reply_to(&silent),
                body: street.means.request(number),
            })
            .collect();
        street
            .settles("replies to a queue that does not confirm", &slow)
            .await;
        operator.resume(&silent).await.expect("it goes on");
        assert_eq!(street.stored().await, 8);

        let dead = street.world.dead_letter_queue();
        operator.fill(&dead).await.expect("a policy");
        street
            .client
            .publish_to(&dead, b"it is full", props())
            .await;
        for _ in 0..20 {
            street.publish(&Poison::garbage(Props::new())).await;
            sleep(Duration::from_millis(100)).await;
        }
        operator.make_room(&dead).await.expect("no policy");
        let begun = Instant::now();
        while street.client.waiting(&dead).await < 21 {
            assert!(
                begun.elapsed() < SETTLED_MAX,
                "{queue_type}: no dead letters though there is room"
            );
            sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(street.client.take(&dead).await.body, b"it is full");
        street.end_well(queue_type).await;
    }
}

/// Direct reply-to needs a connection of its own, and the broker may allow no further one.
#[tokio::test]
#[ignore = "long: `make test-long`"]
async fn restart_a_broker_that_allows_no_further_connection_holds_up_only_direct_reply_to() {
    let own = PrivateServers::start("restart-connections");
    let operator = Operator::new(&format!("scripts/servers ctl {}", own.folder().display()))
        .expect("a command");
    let street = Street::on(World::on(own.servers.clone()).await, "quorum").await;
    let mut requester = RawClient::connect(&own.servers.amqp_url).await;
    requester.consume(DIRECT_REPLY_TO).await;
    let mut later = RawClient::connect(&own.servers.amqp_url).await;
    later.consume(DIRECT_REPLY_TO).await;
    operator.limit_connections(1).await.expect("a limit");
    let properties = Props::new()
        .reply_to(DIRECT_REPLY_TO)
        .correlation_id("waits")
        .bytes();
    requester
        .publish(
            "",
            street.world.request_queue(),
            &properties,
            &street.means.request(0),
        )
        .await;
    // It waits as long as a reply may, and then goes to where all replies go that can't be sent.
    let reply = street.client.take(&street.world.result_queue()).await;
    assert_eq!(reply.error(), 0);
    assert!(
        reply
            .header("x-original-reply-to")
            .is_some_and(|address| address.starts_with(DIRECT_REPLY_TO))
    );
    operator.limit_connections(-1).await.expect("no limit");
    later
        .publish(
            "",
            street.world.request_queue(),
            &properties,
            &street.means.request(1),
        )
        .await;
    assert_eq!(later.next().await.correlation_id(), Some(&b"waits"[..]));
    assert_eq!(street.stored().await, 2);
    street.end_well("quorum").await;
}

/// The one exception: what RabbitMQ 3.x itself can't deliver. It ends the connection each time,
/// until the message has reached the queue's delivery limit; the worker connects again at once,
/// takes one request at a time, and says what to do.
#[tokio::test]
#[ignore = "long: `make test-long`"]
async fn restart_what_the_broker_can_not_deliver_is_given_up_by_the_broker() {
    // A dozen seconds on a machine that has nothing else to do.
    const GIVEN_UP_MAX: Duration = Duration::from_secs(150);
    let own = PrivateServers::start("restart-undeliverable");
    let operator = Operator::new(&format!("scripts/servers ctl {}", own.folder().display()))
        .expect("a command");
    let version = operator.version().await.expect("a version");
    if !version.starts_with("3.") {
        tell(&format!(
            "nothing to try: RabbitMQ {version} delivers every message"
        ));
        return;
    }
    let mut street = Street::on(World::on(own.servers.clone()).await, "quorum").await;
    let begun = Instant::now();
    operator
        .publish_what_can_not_be_delivered(&street.world.request_queue())
        .await
        .expect("it is in the queue");
    while street
        .client
        .waiting(&street.world.dead_letter_queue())
        .await
        == 0
    {
        if begun.elapsed() > GIVEN_UP_MAX {
            street.worker.signal("KILL").await;
            panic!(
                "not given up after {GIVEN_UP_MAX:?}: {}",
                street.worker.end().await.1
            );
        }
        sleep(Duration::from_millis(100)).await;
    }
    let took = begun.elapsed();
    let waits = street.neighbours.finish(GIVEN_UP_MAX).await;
    tell(&format!(
        "given up after {took:?}; neighbours waited {:?}, {:?} at most",
        waits.median(),
        waits.longest()
    ));
    assert_eq!((waits.unanswered, waits.refused), (0, 0));
    assert!(!street.worker.has_ended());
    street.worker.signal("TERM").await;
    let (status, said) = street.worker.end().await;
    assert!(
        status.success() && said.contains("it may be unable to deliver one (docs/faults.md, 541)"),
        "{said}"
    );
    assert_eq!(
        street.client.waiting(&street.world.request_queue()).await,
        0
    );
    assert_eq!(
        street
            .client
            .waiting(&street.world.dead_letter_queue())
            .await,
        1,
        "nobody else was given up"
    );
}

#[expect(
    clippy::print_stderr,
    reason = "figures for who runs it with --nocapture"
)]
fn tell(what: &str) {
    eprintln!("{what}");
}
