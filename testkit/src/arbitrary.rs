//! Messages with arbitrary properties, headers and bodies, made from a seed, and what became of
//! each.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::poisons::{DIRECT_REPLY_TO, Means, Poison, has_reason};
use crate::random::Random;
use crate::raw_amqp::{Props, RawClient, bit, long, nested_arrays, nested_tables, short_bytes};
use crate::world::World;

/// Begins what each message is known by, in its `correlation_id`, its `message_id` or its body.
const MARK: &[u8] = b"mark-";
const MARK_DIGITS: usize = 6;

/// What a frame needs beside flags and properties, which must fit into one.
const FRAME_OVERHEAD: usize = 100;

/// RabbitMQ's own time for a header grows with the square of its depth: seconds for 20,000.
const DEPTH_MAX: usize = 2000;

/// So many are published in one transaction.
const AT_ONCE: usize = 20;

/// How long publishing may take: a broker that is kept busy by what comes back again and again
/// takes for ever.
const PUBLISHED_MAX: Duration = Duration::from_secs(180);

/// How long the last one may take until it is answered or a dead letter (docs/contract.md).
const SETTLED_MAX: Duration = Duration::from_secs(15);

/// Names of headers that mean something to the broker or to us.
const KNOWN_NAMES: [&[u8]; 20] = [
    b"authorization",
    b"traceparent",
    b"tracestate",
    b"x-message-id",
    b"x-reply-to-topic",
    b"x-death",
    b"x-delivery-count",
    b"x-acquired-count",
    b"x-first-death-queue",
    b"x-error",
    b"x-error-text",
    b"x-worker",
    b"x-original-reply-to",
    b"x-original-properties",
    b"x-dead-letter-id",
    b"error",
    b"CC",
    b"BCC",
    b"",
    // The last one: it takes the place of a correlation_id.
    b"x-correlation-id",
];

/// Of these those that name further queues.
const COPIES: [&[u8]; 2] = [b"CC", b"BCC"];

/// What messages are made for.
struct Place<'w> {
    means: &'w Means,
    world: &'w World,
    /// Most bytes of flags and properties.
    properties_max: usize,
}

/// What became of them.
#[derive(Debug, Default)]
pub struct Found {
    /// Neither answered nor dead-lettered in time.
    pub unsettled: Vec<usize>,
    /// The broker itself would not take them.
    pub refused: usize,
    /// Dead letters that the broker has made.
    pub letters_without_reason: usize,
    /// From when the last one was published until none was open.
    pub settled_after: Duration,
}

/// Publishes so many messages to a world's request queue, and waits until all are settled.
pub async fn publish_and_collect(world: &World, means: &Means, seed: u64, count: usize) -> Found {
    let (published, is_published) = oneshot::channel();
    let publishing = async {
        let refused = publish_all(world, means, seed, count).await;
        published.send(refused).expect("somebody collects");
    };
    let ((), found) = tokio::join!(publishing, collect(world, means, count, is_published));
    found
}

/// The numbers of those that the broker itself would not take.
async fn publish_all(world: &World, means: &Means, seed: u64, count: usize) -> Vec<usize> {
    let mut random = Random::new(seed, 7);
    let mut publisher = RawClient::connect_transactional(&world.servers.amqp_url).await;
    let properties_max = publisher.frame_max() - FRAME_OVERHEAD;
    let place = Place {
        means,
        world,
        properties_max,
    };
    let mut refused = Vec::new();
    let messages: Vec<_> = (0..count)
        .map(|number| message(&mut random, number, &place))
        .collect();
    let begun = Instant::now();
    for (part, messages) in messages.chunks(AT_ONCE).enumerate() {
        // What is not published is not settled either.
        if begun.elapsed() > PUBLISHED_MAX {
            break;
        }
        if publish(&mut publisher, world, messages).await.is_ok() {
            continue;
        }
        // One of them is to blame: the broker takes the others.
        for (place, message) in messages.iter().enumerate() {
            publisher = RawClient::connect_transactional(&world.servers.amqp_url).await;
            if publish(&mut publisher, world, std::slice::from_ref(message))
                .await
                .is_err()
            {
                refused.push(part * AT_ONCE + place);
            }
        }
        publisher = RawClient::connect_transactional(&world.servers.amqp_url).await;
    }
    refused
}

/// All of them or none.
async fn publish(
    publisher: &mut RawClient,
    world: &World,
    messages: &[Poison],
) -> Result<(), String> {
    let queue = world.request_queue();
    for Poison { properties, body } in messages {
        let published = publisher
            .try_publish("", queue.as_bytes(), &properties.bytes(), body)
            .await;
        published.map_err(|error| error.to_string())?;
    }
    publisher.try_commit().await
}

/// Takes replies and dead letters while the messages are published, and until none is open or time
/// is over.
async fn collect(
    world: &World,
    means: &Means,
    count: usize,
    published: oneshot::Receiver<Vec<usize>>,
) -> Found {
    let mut open: BTreeSet<usize> = (0..count).collect();
    let mut found = Found::default();
    let mut readers = JoinSet::new();
    let (sender, mut messages) = mpsc::channel(100);
    let dead = world.dead_letter_queue();
    for queue in [&dead, &world.result_queue(), &means.reply_queue] {
        let mut reader = RawClient::connect(&world.servers.amqp_url).await;
        reader.consume(queue).await;
        let (sender, is_dead) = (sender.clone(), *queue == dead);
        readers.spawn(
            async move { while sender.send((is_dead, reader.next().await)).await.is_ok() {} },
        );
    }
    let mut ended = None;
    let mut published = std::pin::pin!(published);
    loop {
        let limit = ended.map(|ended| ended + SETTLED_MAX);
        tokio::select! {
            Some((is_dead, message)) = messages.recv() => {
                found.letters_without_reason += usize::from(is_dead && !has_reason(&message));
                for number in marks(&message.properties).chain(marks(&message.body)) {
                    open.remove(&number);
                }
            }
            refused = &mut published, if ended.is_none() => {
                let refused = refused.expect("somebody publishes");
                found.refused = refused.len();
                open.retain(|number| !refused.contains(number));
                ended = Some(Instant::now());
            }
            () = sleep_until(limit.unwrap_or_else(Instant::now)), if limit.is_some() => break,
        }
        if ended.is_some() && open.is_empty() {
            break;
        }
    }
    found.settled_after = ended.map(|ended| ended.elapsed()).unwrap_or_default();
    found.unsettled = open.into_iter().collect();
    found
}

/// The numbers of all marks in some bytes.
fn marks(bytes: &[u8]) -> impl Iterator<Item = usize> {
    let number = |found: &[u8]| std::str::from_utf8(&found[MARK.len()..]).ok()?.parse().ok();
    bytes
        .windows(MARK.len() + MARK_DIGITS)
        .filter(|found| found.starts_with(MARK))
        .filter_map(number)
}

/// The message with this number. What stands in its place depends on those before, so all are made
/// in order.
fn message(random: &mut Random, number: usize, place: &Place) -> Poison {
    let mark = [MARK, format!("{number:0MARK_DIGITS$}").as_bytes()].concat();
    let means = place.means;
    let mut properties = properties(random, means, place.world);
    let marked = |random: &mut Random, most| [&mark[..], &bytes(random, most)].concat();
    let mut names = &KNOWN_NAMES[..];
    let body = match random.below(10) {
        // Unreadable, and known by its body.
        0..3 => {
            if random.percent(50) {
                properties = properties.correlation_id(bytes(random, 255));
            }
            [b"no request ", &mark[..], &bytes(random, 3000)].concat()
        }
        // It comes back in the place of the correlation_id that there is not.
        3..5 => {
            names = &KNOWN_NAMES[..KNOWN_NAMES.len() - 1];
            properties = properties.message_id(marked(random, 100));
            body(random, number, means)
        }
        _ => {
            properties = properties.correlation_id(marked(random, 100));
            body(random, number, means)
        }
    };
    Poison {
        properties: headers(random, properties, names, place.properties_max),
        body,
    }
}

fn body(random: &mut Random, number: usize, means: &Means) -> Vec<u8> {
    match random.below(9) {
        0 => b"{}".to_vec(),
        1 => Vec::new(),
        2 => bytes(random, 20_000),
        3 => format!("{}{}", "[".repeat(5000), "]".repeat(5000)).into_bytes(),
        4 => b"<!DOCTYPE xml [<!ENTITY a 'b'>]><xml/>".to_vec(),
        5 => b"<xml><token>nobody</token><db_id>1</db_id></xml>".to_vec(),
        6 => {
            let mut request = means.request(number);
            let place = random.below(request.len());
            // But for numbers, by which what is stored is known.
            if !request[place].is_ascii_digit() {
                request[place] = random.bits() as u8;
            }
            request
        }
        7 => means.request(number)[..20].to_vec(),
        _ => means.request(number),
    }
}

/// All but headers; each is there half of the time.
fn properties(random: &mut Random, means: &Means, world: &World) -> Props {
    let mut properties = Props::new();
    for short in [bit::MESSAGE_ID, bit::TYPE, bit::APP_ID, bit::CLUSTER_ID] {
        if random.percent(40) {
            properties = properties.short(short, bytes(random, 255));
        }
    }
    if random.percent(50) {
        let types: [&[u8]; 5] = [
            b"application/json",
            b"text/xml; charset=latin1",
            b"text/xml",
            b"",
            b"a/b; charset=\xff",
        ];
        properties = properties.content_type(types[random.below(types.len())]);
    }
    if random.percent(15) {
        let encodings: [&[u8]; 5] = [b"gzip", b"deflate", b"zstd", b"identity", b"\xfe\xff"];
        properties = properties.short(
            bit::CONTENT_ENCODING,
            encodings[random.below(encodings.len())],
        );
    }
    if random.percent(50) {
        properties = properties.raw(bit::DELIVERY_MODE, &[1 + (random.bits() & 1) as u8]);
    }
    if random.percent(30) {
        properties = properties.raw(bit::PRIORITY, &[random.bits() as u8]);
    }
    if random.percent(30) {
        properties = properties.raw(bit::TIMESTAMP, &random.bits().to_be_bytes());
    }
    // Whom the broker does not know it refuses; what is no number, too.
    if random.percent(5) {
        properties = properties.short(
            bit::USER_ID,
            if random.percent(95) {
                "guest"
            } else {
                "nobody"
            },
        );
    }
    if random.percent(5) {
        properties = properties.short(
            bit::EXPIRATION,
            if random.percent(95) { "600000" } else { "soon" },
        );
    }
    match random.below(10) {
        0 => properties.reply_to(bytes(random, 255)),
        1 => properties.reply_to(format!("{DIRECT_REPLY_TO}.{}", random.text(40))),
        2 => properties.reply_to([DIRECT_REPLY_TO.as_bytes(), b".", &bytes(random, 100)].concat()),
        3 => properties
            .reply_to([world.request_queue(), world.dead_letter_queue()][random.below(2)].as_str()),
        4 => properties.reply_to("nobody.there"),
        5..8 => properties.reply_to(&means.reply_queue),
        _ => properties,
    }
}

/// Adds headers of all types, mostly few and small.
fn headers(random: &mut Random, properties: Props, names: &[&[u8]], bytes_max: usize) -> Props {
    let count = [0, 1, 3, 10, 200][random.below(5)];
    let (mut made, mut name) = (properties.clone(), Vec::new());
    for _ in 0..count {
        // Every now and then the same name again.
        if !random.percent(10) {
            name = if random.percent(30) {
                names[random.below(names.len())].to_vec()
            } else {
                bytes(random, 30)
            };
        }
        let (kind, value) = if COPIES.contains(&&name[..]) {
            copies(random)
        } else {
            value(random, 5)
        };
        made = made.header_raw(&name, kind, &value);
    }
    let (kind, value) = match random.below(60) {
        0 => (b'A', nested_arrays(random.between(50, DEPTH_MAX))),
        1 => (b'F', nested_tables(random.between(50, DEPTH_MAX))),
        2 => {
            let length = random.between(1000, 130_700);
            (b'S', long(random.text(length).as_bytes()))
        }
        _ => (b'V', Vec::new()),
    };
    made = made.header_raw("large", kind, &value);
    if made.bytes().len() <= bytes_max {
        made
    } else {
        properties
    }
}

/// Queues that are not there, in the only form that the broker takes for [`COPIES`].
fn copies(random: &mut Random) -> (u8, Vec<u8>) {
    let queues =
        (0..random.below(3)).flat_map(|_| [b"S", &long(random.text(12).as_bytes())[..]].concat());
    (b'A', long(&queues.collect::<Vec<_>>()))
}

/// Type and bytes of a value of any type that RabbitMQ knows.
fn value(random: &mut Random, depth: usize) -> (u8, Vec<u8>) {
    let of = |random: &mut Random, size: usize| random.bits().to_be_bytes()[..size].to_vec();
    let kinds = if depth == 0 { 15 } else { 17 };
    match random.below(kinds) {
        0 => (b't', vec![(random.bits() & 1) as u8]),
        1 => (b'b', of(random, 1)),
        2 => (b'B', of(random, 1)),
        3 => (b's', of(random, 2)),
        4 => (b'u', of(random, 2)),
        5 => (b'I', of(random, 4)),
        6 => (b'i', of(random, 4)),
        7 => (b'l', of(random, 8)),
        8 => (b'f', of(random, 4)),
        9 => (b'd', of(random, 8)),
        10 => (b'D', of(random, 5)),
        11 => (b'T', of(random, 8)),
        12 => (b'V', Vec::new()),
        13 => (b'x', long(&bytes(random, 200))),
        14 => (b'S', long(&bytes(random, 200))),
        15 => {
            let values = (0..random.below(4)).flat_map(|_| {
                let (kind, value) = value(random, depth - 1);
                [vec![kind], value].concat()
            });
            (b'A', long(&values.collect::<Vec<_>>()))
        }
        _ => {
            let entries = (0..random.below(4)).flat_map(|_| {
                let (kind, value) = value(random, depth - 1);
                [short_bytes(&bytes(random, 20)), vec![kind], value].concat()
            });
            (b'F', long(&entries.collect::<Vec<_>>()))
        }
    }
}

/// Up to so many bytes; every other time letters only.
fn bytes(random: &mut Random, most: usize) -> Vec<u8> {
    // Mostly short.
    let most = if random.percent(80) {
        most.min(24)
    } else {
        most
    };
    let length = random.below(most + 1);
    if random.percent(50) {
        return random.text(length).into_bytes();
    }
    (0..length).map(|_| random.bits() as u8).collect()
}
