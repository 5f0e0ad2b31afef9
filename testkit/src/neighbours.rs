//! Good neighbours: a producer that sends one sound request after the other while somebody else
//! does harm, and measures how long each waits for its reply.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use lapin::options::{BasicConsumeOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::world::World;

/// Between two requests.
pub const EVERY: Duration = Duration::from_millis(10);

/// Whatever one message does, the middle one of the neighbours waits no longer (docs/contract.md).
pub const MEDIAN_MAX: Duration = Duration::from_secs(2);

/// The same for each of them.
pub const LONGEST_MAX: Duration = Duration::from_secs(5);

/// How often it is looked whether the last ones are answered.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Requests under way; no more are sent when dropped.
pub struct Neighbours {
    sent: Arc<Mutex<Vec<Sent>>>,
    stop: watch::Sender<()>,
    publisher: JoinSet<()>,
    _reader: JoinSet<()>,
    _connection: Connection,
}

/// One request and what came of it.
#[derive(Debug, Clone, Copy)]
struct Sent {
    at: Instant,
    answered: Option<Duration>,
    replies: u32,
    /// Answered with another code than 0.
    is_refused: bool,
}

/// How long they waited.
#[derive(Debug, Clone)]
pub struct Waits {
    /// In order; who has no answer has waited since it was published.
    waits: Vec<Duration>,
    pub unanswered: usize,
    /// How many were not told error 0.
    pub refused: usize,
    /// Replies beyond the first.
    pub repeats: u32,
}

impl Neighbours {
    /// Begins to send to a world's request queue. Each request has a `message_id` and an email of
    /// its own.
    pub async fn start(world: &World) -> Self {
        Self::start_with(world, "").await
    }

    /// The same, with fields at the end of each request.
    pub async fn start_with(world: &World, fields: &str) -> Self {
        let connection = Connection::connect(&world.servers.amqp_url, Default::default())
            .await
            .expect("RabbitMQ answers");
        let channel = connection.create_channel().await.expect("a channel");
        let exclusive = QueueDeclareOptions {
            exclusive: true,
            ..Default::default()
        };
        let queue = channel
            .queue_declare("".into(), exclusive, FieldTable::default())
            .await
            .expect("a queue");
        let queue = queue.name().as_str().to_owned();
        let options = BasicConsumeOptions {
            no_ack: true,
            ..Default::default()
        };
        let replies = channel.basic_consume(
            queue.as_str().into(),
            "".into(),
            options,
            FieldTable::default(),
        );
        let replies = replies.await.expect("a consumer");
        let sent = Arc::new(Mutex::new(Vec::new()));
        let mut reader = JoinSet::new();
        reader.spawn(read(replies, sent.clone()));
        let mut publisher = JoinSet::new();
        let (stop, stopped) = watch::channel(());
        let bodies = world.request(&format!(
            r#""data":{{"email":"neighbour-N@example.com"}}{fields}"#
        ));
        publisher.spawn(publish(
            channel,
            world.request_queue(),
            queue,
            bodies,
            sent.clone(),
            stopped,
        ));
        Self {
            sent,
            stop,
            publisher,
            _reader: reader,
            _connection: connection,
        }
    }

    fn sent(&self) -> MutexGuard<'_, Vec<Sent>> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many are answered so far.
    pub fn answered(&self) -> usize {
        self.sent()
            .iter()
            .filter(|one| one.answered.is_some())
            .count()
    }

    /// Sends no more, and waits so long for the last answers.
    pub async fn finish(mut self, patience: Duration) -> Waits {
        // Not in the middle of one, which would then have no answer.
        self.stop.send_replace(());
        while self.publisher.join_next().await.is_some() {}
        let limit = Instant::now() + patience;
        let mut looks = interval(LOOK_EVERY);
        while self.sent().iter().any(|one| one.answered.is_none()) && Instant::now() < limit {
            looks.tick().await;
        }
        let sent = self.sent();
        let mut waits: Vec<_> = sent
            .iter()
            .map(|one| one.answered.unwrap_or_else(|| one.at.elapsed()))
            .collect();
        waits.sort_unstable();
        Waits {
            waits,
            unanswered: sent.iter().filter(|one| one.answered.is_none()).count(),
            refused: sent.iter().filter(|one| one.is_refused).count(),
            repeats: sent.iter().map(|one| one.replies.saturating_sub(1)).sum(),
        }
    }
}

async fn publish(
    channel: Channel,
    to: String,
    reply_to: String,
    bodies: String,
    sent: Arc<Mutex<Vec<Sent>>>,
    mut stopped: watch::Receiver<()>,
) {
    let mut turns = interval(EVERY);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for number in 0_usize.. {
        tokio::select! {
            _ = turns.tick() => {}
            _ = stopped.changed() => return,
        }
        let name = number.to_string();
        let properties = BasicProperties::default()
            .with_delivery_mode(2)
            .with_message_id(format!("neighbour-{name}").as_str().into())
            .with_correlation_id(name.as_str().into())
            .with_reply_to(reply_to.as_str().into());
        let body = bodies.replace("neighbour-N", &format!("neighbour-{name}"));
        let one = Sent {
            at: Instant::now(),
            answered: None,
            replies: 0,
            is_refused: false,
        };
        sent.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(one);
        let options = Default::default();
        let publishing = channel
            .basic_publish(
                "".into(),
                to.as_str().into(),
                options,
                body.as_bytes(),
                properties,
            )
            .await;
        // That it was answered says more than a confirm.
        drop(publishing.expect("published"));
    }
}

async fn read(mut replies: lapin::Consumer, sent: Arc<Mutex<Vec<Sent>>>) {
    while let Some(Ok(reply)) = replies.next().await {
        let name = reply
            .properties
            .correlation_id()
            .as_ref()
            .expect("a correlation id");
        let number: usize = name.as_str().parse().expect("one of ours");
        let mut sent = sent.lock().unwrap_or_else(PoisonError::into_inner);
        let one = &mut sent[number];
        one.replies += 1;
        one.answered.get_or_insert_with(|| one.at.elapsed());
        one.is_refused |= !reply.data.starts_with(br#"{"error":0,"#);
    }
}

impl Waits {
    pub fn count(&self) -> usize {
        self.waits.len()
    }

    pub fn median(&self) -> Duration {
        self.waits
            .get(self.waits.len() / 2)
            .copied()
            .unwrap_or_default()
    }

    pub fn longest(&self) -> Duration {
        self.waits.last().copied().unwrap_or_default()
    }

    /// What of the promise to neighbours is broken, in words; empty if nothing is.
    pub fn broken(&self) -> Vec<String> {
        let mut broken = Vec::new();
        if self.median() > MEDIAN_MAX {
            broken.push(format!(
                "neighbours wait {:.1?} in the median",
                self.median()
            ));
        }
        if self.longest() > LONGEST_MAX {
            broken.push(format!("a neighbour waits {:.1?}", self.longest()));
        }
        if self.unanswered > 0 {
            broken.push(format!(
                "{} of {} neighbours have no answer",
                self.unanswered,
                self.count()
            ));
        }
        if self.refused > 0 {
            broken.push(format!("{} neighbours are refused", self.refused));
        }
        broken
    }
}
