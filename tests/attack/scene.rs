//! One case from the queues to what came of it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, interval, sleep, sleep_until, timeout};

use crate::case::{Case, Facts, Fate, Ground, MakeOne};
use crate::supervised::{Seen, Supervised};
use testkit::Failure;
use testkit::arbitrary;
use testkit::client::Client;
use testkit::neighbours::{Neighbours, Waits};
use testkit::operator::Operator;
use testkit::poisons::{MARKER, Means, Poison, given_out, has_reason};
use testkit::raw_amqp::{Props, RawClient, bit};
use testkit::servers::Servers;
use testkit::world::World;

/// Neighbours without anything else, before the first message.
const WARM_UP: Duration = Duration::from_secs(1);

/// So long neighbours are watched at least once the last message is published.
const WATCHED_MIN: Duration = Duration::from_secs(5);

/// So long a fault of the setup lasts, if the messages don't take longer.
const LASTS: Duration = Duration::from_secs(12);

/// How long the last neighbours may take for their answers when all is over.
const ANSWERS_MAX: Duration = Duration::from_secs(6);

/// Good requests among which a hundred others stand.
pub(crate) const GOOD: usize = 6000;

/// So many.
const ROW: usize = 100;

/// How often the queues are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The password of the worker's user where it has one of its own. It guards nothing: the user is
/// gone when the case is over.
const PASSWORD: &str = "attack";

/// What all cases have in common.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) servers: Servers,
    pub(crate) program: PathBuf,
    /// None where nobody may do an operator's work.
    pub(crate) operator: Option<Operator>,
    pub(crate) is_debug_build: bool,
    pub(crate) logs: PathBuf,
    /// How long a message may take to be settled before it is left as it is.
    pub(crate) patience: Duration,
}

/// What came of one case.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) waits: Waits,
    /// From the last message to when all were settled. None: not within the patience.
    pub(crate) settled: Option<Duration>,
    pub(crate) dead: u32,
    /// Dead letters without the header `x-error`: put there by the broker.
    pub(crate) dead_unexplained: u32,
    pub(crate) answers: u32,
    /// The most profiles of one message.
    pub(crate) stored_max: i64,
    /// Requests that are still in the queue.
    pub(crate) left: u32,
    pub(crate) seen: Arc<Seen>,
}

/// Everything of a case while it goes on.
struct Scene<'p> {
    place: &'p Place,
    world: World,
    client: Client,
    raw: RawClient,
    facts: Facts,
    queue_type: &'static str,
    ground: Ground,
    /// The broker's limit that was there before.
    max_message_size: Option<u64>,
}

impl Place {
    /// Why a case can't be tried here, if so.
    pub(crate) fn lacks(&self, case: &Case) -> Option<&'static str> {
        match case.ground {
            Ground::Plain => None,
            Ground::DebugBuild => {
                (!self.is_debug_build).then_some("needs a debug build of the worker")
            }
            _ => self
                .operator
                .is_none()
                .then_some("needs rabbitmqctl (--ctl)"),
        }
    }

    /// How long [`GOOD`] requests take that wait in the queue when the worker starts, from the
    /// first answer to the last; if there is poison, a hundred of it stand in the middle. None: not
    /// within the patience.
    pub(crate) async fn pace(
        &self,
        queue_type: &'static str,
        poison: Option<MakeOne>,
    ) -> Result<Option<Duration>, Failure> {
        let mut scene = self.crowd(queue_type, poison).await?;
        let log = self.logs.join(format!("pace-{queue_type}.log"));
        let worker = Supervised::start(&self.program, &scene.settings(), log);
        let answers = async {
            scene.client.next_reply().await;
            let first = Instant::now();
            for _ in 1..GOOD {
                scene.client.next_reply().await;
            }
            first.elapsed()
        };
        let took = timeout(self.patience, answers).await.ok();
        worker.end().await?;
        Ok(took)
    }

    /// How long the broker takes to deliver the same to somebody who only reads.
    pub(crate) async fn pace_of_broker(
        &self,
        queue_type: &'static str,
        poison: MakeOne,
    ) -> Result<Duration, Failure> {
        let mut scene = self.crowd(queue_type, Some(poison)).await?;
        let first = Instant::now();
        scene.raw.consume(&scene.world.request_queue()).await;
        for _ in 0..GOOD + ROW {
            scene.raw.next().await;
        }
        Ok(first.elapsed())
    }

    /// [`GOOD`] requests in the queue, with a row of others in their middle.
    async fn crowd(
        &self,
        queue_type: &'static str,
        poison: Option<MakeOne>,
    ) -> Result<Scene<'_>, Failure> {
        let mut scene = Scene::prepare(self, Ground::Plain, queue_type).await?;
        scene.declare_topology().await?;
        let poisons: Vec<_> = poison
            .iter()
            .flat_map(|make| (0..ROW).map(|_| make(&scene.facts)))
            .collect();
        scene.publish_good().await;
        scene.publish(&poisons, Duration::ZERO).await;
        scene.publish_good().await;
        Ok(scene)
    }

    pub(crate) async fn attack(
        &self,
        case: &Case,
        queue_type: &'static str,
        number: usize,
    ) -> Result<Outcome, Failure> {
        let mut scene = Scene::prepare(self, case.ground, queue_type).await?;
        let poisons = case.poisons(&scene.facts);
        scene.begin(&poisons).await?;
        let log = self.logs.join(format!("{number:02}-{queue_type}.log"));
        let worker = Supervised::start(&self.program, &scene.settings(), log);
        worker.until_it_takes_requests().await?;
        scene.begin_with_worker().await?;
        let watched = scene.watch(case, &poisons).await;
        // Also after a failure, as the broker is not ours alone.
        scene.end().await?;
        let (waits, settled, answers) = watched?;
        let seen = worker.end().await?;
        scene.look_back(waits, settled, answers, seen).await
    }
}

impl<'p> Scene<'p> {
    async fn prepare(
        place: &'p Place,
        ground: Ground,
        queue_type: &'static str,
    ) -> Result<Self, Failure> {
        let world = World::on(place.servers.clone()).await;
        let client = world.client().await;
        let raw = RawClient::connect(&world.servers.amqp_url).await;
        let queue = |name: &str| format!("{}.{name}", world.name);
        let (reply_queue, silent) = (queue("poison"), queue("silent"));
        client.declare_shared(&reply_queue).await;
        client.declare_shared(&silent).await;
        let gone = given_out(&world.servers.amqp_url, &reply_queue).await;
        let facts = Facts {
            means: Means {
                token: world.token.clone(),
                reply_queue,
            },
            gone,
            silent,
        };
        Ok(Self {
            place,
            world,
            client,
            raw,
            facts,
            queue_type,
            ground,
            max_message_size: None,
        })
    }

    fn operator(&self) -> Result<&'p Operator, Failure> {
        self.place
            .operator
            .as_ref()
            .ok_or_else(|| "nobody may do an operator's work".into())
    }

    /// The worker's settings.
    fn settings(&self) -> Vec<(&'static str, String)> {
        let mut settings = self.world.settings();
        settings.push(("QUEUE_TYPE", self.queue_type.to_owned()));
        if self.has_user() {
            let url = self
                .world
                .servers
                .amqp_url
                .replace("guest:guest@", &format!("{}:{PASSWORD}@", self.world.name));
            settings.extend([("AMQP_URL", url), ("TOPOLOGY", "check".to_owned())]);
        }
        settings
    }

    /// Whether the worker has a user of its own.
    fn has_user(&self) -> bool {
        matches!(self.ground, Ground::Writes(_) | Ground::NoTopicRight)
    }

    /// What must be so before the worker starts.
    async fn begin(&mut self, poisons: &[Poison]) -> Result<(), Failure> {
        match self.ground {
            Ground::SmallMessages => {
                let largest = poisons
                    .iter()
                    .map(|poison| poison.body.len())
                    .max()
                    .unwrap_or_default();
                let limit = largest as u64 + 1000;
                self.max_message_size = Some(self.operator()?.set_max_message_size(limit).await?);
            }
            Ground::Writes(_) | Ground::NoTopicRight => {
                self.declare_topology().await?;
                let (operator, user) = (self.operator()?, &self.world.name);
                operator.make_user(user, PASSWORD).await?;
                operator.let_write(user, ".*").await?;
            }
            _ => {}
        }
        Ok(())
    }

    /// By a worker that may.
    async fn declare_topology(&self) -> Result<(), Failure> {
        let mut settings = self.world.settings();
        settings.push(("QUEUE_TYPE", self.queue_type.to_owned()));
        let log = self.place.logs.join("declaring.log");
        let worker = Supervised::start(&self.place.program, &settings, log);
        worker.until_it_takes_requests().await?;
        worker.end().await.map(drop)
    }

    /// What becomes so when the worker is there.
    async fn begin_with_worker(&mut self) -> Result<(), Failure> {
        let (user, exchange) = (&self.world.name, self.world.event_exchange());
        match self.ground {
            Ground::DeadLettersFull => self.fill(&self.world.dead_letter_queue()).await?,
            Ground::ResultsFull => self.fill(&self.world.result_queue()).await?,
            Ground::SilentReplyQueue => self.operator()?.suspend(&self.facts.silent).await?,
            Ground::NoTopicRight => {
                self.operator()?
                    .let_write_topic(user, &exchange, "[.]2$")
                    .await?
            }
            Ground::Plain | Ground::DebugBuild | Ground::SmallMessages | Ground::Writes(_) => {}
        }
        Ok(())
    }

    async fn fill(&self, queue: &str) -> Result<(), Failure> {
        self.operator()?.fill(queue).await?;
        self.client
            .publish_to(queue, b"it is full", testkit::client::props())
            .await;
        Ok(())
    }

    /// Makes all as it was.
    async fn end(&mut self) -> Result<(), Failure> {
        let ground = std::mem::replace(&mut self.ground, Ground::Plain);
        match ground {
            Ground::DeadLettersFull => {
                self.operator()?
                    .make_room(&self.world.dead_letter_queue())
                    .await?
            }
            Ground::ResultsFull => {
                self.operator()?
                    .make_room(&self.world.result_queue())
                    .await?
            }
            Ground::SilentReplyQueue => self.operator()?.resume(&self.facts.silent).await?,
            Ground::SmallMessages => {
                if let Some(before) = self.max_message_size.take() {
                    self.operator()?.set_max_message_size(before).await?;
                }
            }
            Ground::Writes(_) | Ground::NoTopicRight => {
                self.operator()?.remove_user(&self.world.name).await?
            }
            Ground::Plain | Ground::DebugBuild => {}
        }
        Ok(())
    }

    /// Gives the right that is missing, or makes room: the fault is over, and the worker goes on.
    async fn mend(&mut self) -> Result<(), Failure> {
        let (user, exchange) = (&self.world.name, self.world.event_exchange());
        match self.ground {
            Ground::Writes(_) => self.operator()?.let_write(user, ".*").await?,
            Ground::NoTopicRight => {
                self.operator()?
                    .let_write_topic(user, &exchange, ".*")
                    .await?
            }
            // Limits of the broker hold to the end.
            Ground::SmallMessages => {}
            _ => self.end().await?,
        }
        Ok(())
    }

    /// The neighbours' waits, how long the messages took, and how many answers there were to them.
    async fn watch(
        &mut self,
        case: &Case,
        poisons: &[Poison],
    ) -> Result<(Waits, Option<Duration>, u32), Failure> {
        let fields = if case.ground == Ground::NoTopicRight {
            r#","skip_triggers":true"#
        } else {
            ""
        };
        let neighbours = Neighbours::start_with(&self.world, fields).await;
        sleep(WARM_UP).await;
        if let Fate::Arbitrary { seed, count } = case.fate {
            let found =
                arbitrary::publish_and_collect(&self.world, &self.facts.means, seed, count).await;
            let settled = found.unsettled.is_empty().then_some(found.settled_after);
            return Ok((neighbours.finish(ANSWERS_MAX).await, settled, 0));
        }
        if let Ground::Writes(pattern) = case.ground {
            self.operator()?
                .let_write(&self.world.name, pattern)
                .await?;
            self.operator()?.close_connections(&self.world.name).await?;
        }
        let begun = Instant::now();
        self.publish(poisons, case.every).await;
        let mut from = Instant::now();
        if matches!(
            case.fate,
            Fate::DeadLetterLater | Fate::AnswerLater | Fate::AllWait
        ) {
            sleep_until(begun + LASTS).await;
            self.mend().await?;
            from = Instant::now();
        }
        let mut looks = interval(LOOK_EVERY);
        let mut settled = None;
        while settled.is_none() && from.elapsed() < self.place.patience {
            looks.tick().await;
            if self.is_settled(case, poisons.len()).await {
                settled = Some(from.elapsed());
            }
        }
        sleep_until(from + WATCHED_MIN).await;
        let answers = self.answers().await;
        Ok((neighbours.finish(ANSWERS_MAX).await, settled, answers))
    }

    async fn publish(&mut self, poisons: &[Poison], every: Duration) {
        let mut turns = interval(every.max(Duration::from_millis(1)));
        for poison in poisons {
            turns.tick().await;
            self.raw
                .publish(
                    "",
                    self.world.request_queue(),
                    &persistent(&poison.properties),
                    &poison.body,
                )
                .await;
        }
        self.raw.confirmed().await;
    }

    /// Half of [`GOOD`].
    async fn publish_good(&self) {
        let requests = (0..GOOD / 2).map(|_| {
            let id = self.client.correlation_id();
            let properties = self
                .client
                .replying(&id)
                .with_message_id(id.as_str().into())
                .with_delivery_mode(2);
            (
                self.world
                    .request(&format!(r#""data":{{"email":"{id}@example.com"}}"#)),
                properties,
            )
        });
        self.client.publish_all(requests).await;
    }

    async fn is_settled(&self, case: &Case, count: usize) -> bool {
        let in_way = u32::from(matches!(case.ground, Ground::DeadLettersFull));
        let dead = self.dead().await.saturating_sub(in_way);
        let answers = self
            .answers()
            .await
            .saturating_sub(u32::from(case.ground == Ground::ResultsFull));
        let settled = match case.fate {
            Fate::DeadLetter | Fate::DeadLetterLater => dead,
            Fate::Answer | Fate::AnswerLater => answers,
            Fate::Either => dead.max(answers),
            // Whether it is, the look at the queue shows at the end.
            Fate::Done | Fate::AllWait | Fate::Arbitrary { .. } => return true,
        };
        settled as usize >= count
    }

    async fn dead(&self) -> u32 {
        self.client.waiting(&self.world.dead_letter_queue()).await
    }

    /// Replies to the messages, wherever they went; the neighbours have a queue of their own.
    async fn answers(&self) -> u32 {
        self.client.waiting(&self.world.result_queue()).await
            + self.client.waiting(&self.facts.means.reply_queue).await
    }

    /// What is to be seen when the worker has ended.
    async fn look_back(
        mut self,
        waits: Waits,
        settled: Option<Duration>,
        answers: u32,
        seen: Arc<Seen>,
    ) -> Result<Outcome, Failure> {
        let left = self.client.waiting(&self.world.request_queue()).await;
        let (mut dead, mut dead_unexplained) = (0, 0);
        while let Some(letter) = self.raw.get(&self.world.dead_letter_queue()).await {
            if letter.body != b"it is full" {
                dead += 1;
                dead_unexplained += u32::from(!has_reason(&letter));
            }
        }
        let sql = format!(
            "SELECT coalesce(max(count), 0) FROM (SELECT count(*) FROM profiles WHERE data ? '{MARKER}' \
             GROUP BY data->'{MARKER}') AS of_each"
        );
        let stored_max = self.world.number(&sql).await;
        Ok(Outcome {
            waits,
            settled,
            dead,
            dead_unexplained,
            answers,
            stored_max,
            left,
            seen,
        })
    }
}

/// The properties of a message that survives.
fn persistent(properties: &Props) -> Vec<u8> {
    properties.clone().raw(bit::DELIVERY_MODE, &[2]).bytes()
}

impl Outcome {
    /// How often the worker ended by itself, and how often it lost its sessions.
    pub(crate) fn ends_and_losses(&self) -> (u32, u32) {
        (
            self.seen.ends.load(Ordering::Relaxed),
            self.seen.sessions_lost.load(Ordering::Relaxed),
        )
    }

    pub(crate) fn memory_mib(&self) -> u32 {
        self.seen.memory_mib.load(Ordering::Relaxed)
    }
}
