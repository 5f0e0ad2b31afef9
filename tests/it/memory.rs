//! The promise of 256 MiB: the kernel holds the worker to it, while it is sent the worst bodies.

use std::time::{Duration, Instant};

use lapin::types::{AMQPValue, FieldTable};
use tokio::sync::Mutex;

use testkit::memory_limit::MemoryLimit;
use testkit::packing::{SLOW, gzip, zlib, zstd};
use testkit::worker::Worker;
use testkit::world::World;

/// What docs/operations.md and the manifests promise that a worker does with.
const LIMIT: u64 = 256 << 20;

/// The longest that a neighbour may wait (contract, promise 4). A build without optimization takes
/// a second to read a large body, and half a minute to store a profile of a million fields.
const WAIT_MAX: Duration = Duration::from_secs(if cfg!(debug_assertions) { 200 } else { 5 });

/// How long a reply is waited for.
const PATIENCE: Duration = Duration::from_secs(300);

/// They would wait for each other.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

/// As large as bodies come that are not refused for their size.
const BODY_SIZE: usize = 9_800_000;

/// A body: what it begins with, what is repeated (`@` is a number that grows), what it ends with.
struct Worst {
    head: &'static str,
    repeated: &'static str,
    tail: &'static str,
}

/// The bodies that take the most memory once they are read (`benches/worst_case`).
const WORST: [Worst; 4] = [
    Worst {
        head: "<xml><token>TOKEN</token><db_id>1</db_id><data>",
        repeated: "<a@/>",
        tail: "</data></xml>",
    },
    Worst {
        head: r#"{"token":"TOKEN","db_id":1,"data":{"a":0"#,
        repeated: r#","@":0"#,
        tail: "}}",
    },
    Worst {
        head: "<xml><token>TOKEN</token><db_id>1</db_id><data><x",
        repeated: " a@=''",
        tail: "/></data></xml>",
    },
    Worst {
        head: r#"{"token":"TOKEN","db_id":1,"data":{"x":["#,
        repeated: "0,",
        tail: "0]}}",
    },
];

impl Worst {
    fn body(&self, token: &str) -> Vec<u8> {
        let mut body = self.head.replace("TOKEN", token);
        for i in 0.. {
            let repeated = self.repeated.replace('@', &i.to_string());
            if body.len() + repeated.len() + self.tail.len() > BODY_SIZE {
                break;
            }
            body.push_str(&repeated);
        }
        body.push_str(self.tail);
        body.into_bytes()
    }
}

/// A body as it is sent.
struct Sent {
    body: Vec<u8>,
    content_encoding: Option<&'static str>,
}

/// The worst bodies as they are.
fn plain(tokens: &[&str]) -> Vec<Sent> {
    let bodies = WORST
        .iter()
        .flat_map(|worst| tokens.iter().map(|token| worst.body(token)));
    bodies
        .map(|body| Sent {
            body,
            content_encoding: None,
        })
        .collect()
}

/// The same, packed in each way, and in a character set that makes the text anew.
fn packed(tokens: &[&str]) -> Vec<Sent> {
    let ways = ["gzip", "deflate", "zstd", "zstd, iso-2022-jp"];
    let bodies = plain(tokens).into_iter().zip(ways.into_iter().cycle());
    bodies
        .map(|(sent, content_encoding)| {
            let body = match content_encoding {
                "gzip" => gzip(&sent.body),
                "deflate" => zlib(&sent.body),
                _ => zstd(&sent.body),
            };
            bomb(body, content_encoding)
        })
        .collect()
}

const BODY_MAX: usize = 10 << 20;

/// Bodies of 10 MiB that unpack to gigabytes, or are only slow to unpack.
fn large_bombs() -> Vec<Sent> {
    let many = |part: Vec<u8>| part.repeat(BODY_MAX / part.len());
    let blanks = vec![b' '; BODY_MAX];
    let mut bombs = vec![
        bomb(many(gzip(&blanks)), "gzip"),
        bomb(many(zstd(&blanks)), "zstd"),
        bomb(zlib(&vec![b' '; 500 << 20]), "deflate"),
    ];
    bombs.extend(slow(BODY_MAX - 100));
    bombs
}

/// Small bodies that unpack to 10 MiB and to more, or are only slow to unpack.
fn small_bombs() -> Vec<Sent> {
    let mut bombs: Vec<_> = [BODY_MAX, 2 * BODY_MAX]
        .map(|size| vec![b' '; size])
        .iter()
        .flat_map(|blanks| {
            [
                bomb(gzip(blanks), "gzip"),
                bomb(zstd(blanks), "zstd"),
                bomb(zlib(blanks), "deflate"),
            ]
        })
        .collect();
    bombs.extend(slow(4 << 10));
    bombs.extend(slow(120 << 10));
    bombs
}

fn slow(size: usize) -> impl Iterator<Item = Sent> {
    SLOW.iter()
        .map(move |slow| bomb((slow.make)(size), slow.content_encoding))
}

fn bomb(body: Vec<u8>, content_encoding: &'static str) -> Sent {
    Sent {
        body,
        content_encoding: Some(content_encoding),
    }
}

/// The worker under the limit. Where the machine has no control groups its memory is looked at
/// instead, which does not count what the kernel keeps for it.
struct Limited {
    worker: Worker,
    limit: Option<MemoryLimit>,
}

impl Limited {
    async fn start(world: &World) -> Self {
        let limit = MemoryLimit::new(&world.name, LIMIT)
            .map_err(without_limit)
            .ok();
        let mut worker = match &limit {
            Some(limit) => Worker::start_as(limit.command(), &world.settings()),
            None => world.start_worker(&[]),
        };
        worker.until_said("taking requests").await;
        Self { worker, limit }
    }

    /// Fails as soon as the worker ends.
    async fn stays_alive(&mut self) {
        let mut looking = tokio::time::interval(Duration::from_millis(100));
        loop {
            looking.tick().await;
            let peak = self.limit.as_ref().and_then(MemoryLimit::peak);
            assert!(
                !self.worker.has_ended(),
                "the worker was killed, its group at {peak:?} bytes"
            );
        }
    }

    fn check(self) {
        let (own, group) = (
            self.worker.peak_memory(),
            self.limit.as_ref().and_then(MemoryLimit::peak),
        );
        say(&format!(
            "peak: {} MiB of its own, {:?} MiB of its group",
            own >> 20,
            group.map(|bytes| bytes >> 20)
        ));
        assert!(own < LIMIT, "{} MiB", own >> 20);
    }
}

fn without_limit(why: String) {
    say(&format!(
        "no limit of memory ({why}): only the worker's own peak is checked"
    ));
}

#[expect(
    clippy::print_stderr,
    reason = "figures for who runs it with --nocapture"
)]
fn say(what: &str) {
    eprintln!("{what}");
}

/// Publishes so many of each body, and asks for a small profile every 50 ms until all are answered:
/// the longest that one of these took.
async fn longest_wait(world: &World, bodies: &[Sent], count: usize) -> Duration {
    let mut attacker = world.client().await;
    let mut neighbour = world.client().await;
    (attacker.patience, neighbour.patience) = (PATIENCE, PATIENCE);
    let attack = async {
        for (i, sent) in (0..count).zip(bodies.iter().cycle()) {
            let mut properties = attacker.replying(&i.to_string());
            if let Some(content_encoding) = sent.content_encoding {
                properties = properties.with_content_encoding(content_encoding.into());
            }
            attacker.publish(&sent.body, properties).await;
        }
        for i in 0..count {
            let reply = attacker.reply(&i.to_string()).await;
            let text = reply.text();
            assert!(
                !["{\"error\":500", "<xml><error>500"]
                    .iter()
                    .any(|failed| text.starts_with(failed)),
                "{text}"
            );
        }
    };
    let mut longest = Duration::ZERO;
    let neighbours = async {
        let mut asking = tokio::time::interval(Duration::from_millis(50));
        loop {
            asking.tick().await;
            let start = Instant::now();
            let reply = neighbour
                .call(world.request(r#""data":{"_fname":"Eve"}"#))
                .await;
            assert_eq!(reply.error(), 0);
            longest = longest.max(start.elapsed());
        }
    };
    tokio::select! {
        () = attack => {}
        () = neighbours => {}
    }
    longest
}

async fn survives(bodies: impl FnOnce(&World) -> Vec<Sent>, count: usize, wait_max: Duration) {
    let _alone = ONE_AT_A_TIME.lock().await;
    let world = World::new().await;
    let mut limited = Limited::start(&world).await;
    let bodies = bodies(&world);
    let longest = tokio::select! {
        longest = longest_wait(&world, &bodies, count) => longest,
        () = limited.stays_alive() => unreachable!("it looks for ever"),
    };
    say(&format!(
        "{count} bodies, {} kinds: a neighbour waited {longest:?} at most",
        bodies.len()
    ));
    limited.check();
    assert!(longest < wait_max, "a neighbour waited {longest:?}");
}

#[tokio::test]
#[ignore = "long: `make test-long`"]
async fn twelve_of_the_worst_bodies_without_a_token_fit_into_the_memory() {
    survives(|_| plain(&["nobody"]), 12, WAIT_MAX).await;
}

#[tokio::test]
#[cfg_attr(
    debug_assertions,
    ignore = "minutes in a debug build: `make test-long` runs it by a release build"
)]
async fn many_of_the_worst_bodies_without_a_token_fit_into_the_memory() {
    survives(|_| plain(&["nobody"]), 40, WAIT_MAX).await;
}

/// With a token each of them is stored, as a profile of a million fields. Those are sound requests:
/// who comes behind them in the queue waits until they are taken.
#[tokio::test]
#[cfg_attr(
    debug_assertions,
    ignore = "minutes in a debug build: `make test-long` runs it by a release build"
)]
async fn many_of_the_worst_bodies_with_and_without_a_token_fit_into_the_memory() {
    survives(|world| plain(&["nobody", &world.token]), 40, PATIENCE).await;
}

#[tokio::test]
#[cfg_attr(
    debug_assertions,
    ignore = "minutes in a debug build: `make test-long` runs it by a release build"
)]
async fn many_of_the_worst_bodies_packed_fit_into_the_memory() {
    survives(|world| packed(&["nobody", &world.token]), 40, PATIENCE).await;
}

#[tokio::test]
#[cfg_attr(
    debug_assertions,
    ignore = "minutes in a debug build: `make test-long` runs it by a release build"
)]
async fn many_large_bombs_fit_into_the_memory() {
    survives(|_| large_bombs(), 40, WAIT_MAX).await;
}

#[tokio::test]
#[cfg_attr(
    debug_assertions,
    ignore = "minutes in a debug build: `make test-long` runs it by a release build"
)]
async fn a_thousand_small_bombs_fit_into_the_memory() {
    survives(|_| small_bombs(), 1000, WAIT_MAX).await;
}

/// Headers count for what a worker takes at a time, as bodies do. These fill a frame each.
#[tokio::test]
#[ignore = "long: `make test-long`"]
async fn many_messages_with_headers_that_fill_a_frame_fit_into_the_memory() {
    const COUNT: usize = 1500;
    let _alone = ONE_AT_A_TIME.lock().await;
    let world = World::new().await;
    let mut limited = Limited::start(&world).await;
    let mut attacker = world.client().await;
    let mut neighbour = world.client().await;
    (attacker.patience, neighbour.patience) = (PATIENCE, PATIENCE);
    let mut headers = FieldTable::default();
    headers.insert(
        "x-large".into(),
        AMQPValue::LongString("x".repeat(130_000).into()),
    );
    let attack = async {
        for i in 0..COUNT {
            let properties = attacker
                .replying(&i.to_string())
                .with_headers(headers.clone());
            attacker.publish(b"no request", properties).await;
        }
        for i in 0..COUNT {
            assert_eq!(attacker.reply(&i.to_string()).await.error(), 400);
        }
    };
    let mut longest = Duration::ZERO;
    let neighbours = async {
        loop {
            let start = Instant::now();
            assert_eq!(neighbour.call(world.request("")).await.error(), 0);
            longest = longest.max(start.elapsed());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        () = attack => {}
        () = neighbours => unreachable!("it asks for ever"),
        () = limited.stays_alive() => unreachable!("it looks for ever"),
    }
    say(&format!(
        "{COUNT} large headers: a neighbour waited {longest:?} at most"
    ));
    limited.check();
    assert!(longest < WAIT_MAX, "a neighbour waited {longest:?}");
}
