//! What follows from a seed: the requests, the faults with their order and durations, and when
//! which requests are published.

use std::time::Duration;

use crate::load::request::{Maker, ReplyTo, Request, Tokens};
use crate::random::Random;

/// How large an attack is.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    pub requests: usize,
    pub faults: usize,
    pub workers: usize,
    /// Only faults that are over in seconds.
    pub short: bool,
    /// Whether the database has a disk that can be filled.
    pub disk: bool,
    pub arena: Arena,
}

/// What is attacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arena {
    /// One broker and one database.
    Pair,
    /// Three brokers, and a database with a standby for which commits wait.
    Cluster,
    /// The same, and commits do not wait.
    Asynchronous,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Server {
    Broker,
    Database,
}

/// What a user may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Right {
    /// Write to the exchange for events.
    Events,
    /// Insert profiles.
    Insert,
}

/// What the network does to the connections of a worker to a server; see [`crate::proxy::Network`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Damage {
    Cut,
    Slow,
    Swallow,
    SwallowAnswers,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultKind {
    WorkerKilled,
    WorkerStopped,
    WorkerPaused,
    DatabaseKilled,
    SessionsEnded,
    DiskFull,
    TableLocked,
    BrokerStopped,
    BrokerKilled,
    MemoryAlarm,
    ReplyQueueDeleted,
    Network(Damage, Server),
    /// The workers' user may not do something for a while.
    RightTaken(Right),
    /// A reply queue neither confirms nor refuses.
    ReplyQueueSilent,
    /// A node of the cluster that does not lead the request queue.
    NodeKilled,
    /// The one that does.
    LeaderKilled,
    /// The primary; the standby is promoted in its place.
    PrimaryKilled,
    /// The same, when the standby has not got the last of it.
    PrimaryKilledAhead,
    StandbyKilled,
}

/// A fault of the plan.
#[derive(Debug, Clone, Copy)]
pub struct Fault {
    pub kind: FaultKind,
    /// From when it has begun to when its end begins.
    pub lasts: Duration,
    /// The place of the worker that it is about, where that matters.
    pub worker: usize,
    /// All workers rather than that one (network faults).
    pub all_workers: bool,
}

/// One or two faults, and the load around them.
#[derive(Debug)]
pub struct Step {
    pub faults: Vec<Fault>,
    /// From the begin of the step to that of its faults.
    pub lead: Duration,
    pub bursts: Vec<Burst>,
    /// The request that is sent when the faults are over.
    pub probe: usize,
}

/// Requests that are published at once.
#[derive(Debug, Clone)]
pub struct Burst {
    /// Since the begin of the step.
    pub after: Duration,
    pub requests: Vec<usize>,
}

#[derive(Debug)]
pub struct Plan {
    /// All there are; elsewhere they go by their place here.
    pub requests: Vec<Request>,
    /// Published before the first fault.
    pub warm_up: Vec<usize>,
    pub steps: Vec<Step>,
}

/// So much of the load comes before the first fault, in percent.
const WARM_UP: usize = 5;

/// Of a step's load so much is published just before its faults, in percent.
const AT_ONCE: usize = 35;

/// Most requests of any other burst.
const BURST_MAX: usize = 150;

/// How long the load of a step goes on when its faults should be over.
const TAIL: Duration = Duration::from_secs(1);

impl FaultKind {
    /// The commonest ones stand here several times.
    const DECK: [Self; 36] = {
        use Damage::*;
        use FaultKind::*;
        use Server::*;
        [
            // Each kind once…
            WorkerKilled,
            WorkerStopped,
            WorkerPaused,
            DatabaseKilled,
            SessionsEnded,
            DiskFull,
            TableLocked,
            BrokerStopped,
            BrokerKilled,
            MemoryAlarm,
            ReplyQueueDeleted,
            Network(Cut, Broker),
            Network(Cut, Database),
            Network(Slow, Broker),
            Network(Slow, Database),
            Network(Swallow, Broker),
            Network(Swallow, Database),
            Network(SwallowAnswers, Broker),
            Network(SwallowAnswers, Database),
            RightTaken(Right::Events),
            RightTaken(Right::Insert),
            ReplyQueueSilent,
            // … and some more often.
            WorkerKilled,
            WorkerKilled,
            WorkerKilled,
            WorkerStopped,
            WorkerPaused,
            DatabaseKilled,
            DatabaseKilled,
            SessionsEnded,
            BrokerStopped,
            BrokerKilled,
            MemoryAlarm,
            ReplyQueueDeleted,
            ReplyQueueSilent,
            Network(SwallowAnswers, Database),
        ]
    };

    /// So many different ones stand at its begin.
    const KINDS: usize = 22;

    /// Over in seconds.
    const SHORT: [Self; 11] = [
        Self::RightTaken(Right::Events),
        Self::RightTaken(Right::Insert),
        Self::ReplyQueueSilent,
        Self::WorkerKilled,
        Self::Network(Damage::SwallowAnswers, Server::Database),
        Self::DatabaseKilled,
        Self::BrokerKilled,
        Self::Network(Damage::SwallowAnswers, Server::Broker),
        Self::SessionsEnded,
        Self::ReplyQueueDeleted,
        Self::WorkerStopped,
    ];

    /// Of a cluster. What follows a killed node is over in seconds, so the load is small.
    const CLUSTER: [Self; 12] = [
        Self::LeaderKilled,
        Self::NodeKilled,
        Self::PrimaryKilled,
        Self::LeaderKilled,
        Self::PrimaryKilled,
        Self::StandbyKilled,
        Self::WorkerKilled,
        Self::LeaderKilled,
        Self::PrimaryKilled,
        Self::NodeKilled,
        Self::StandbyKilled,
        Self::PrimaryKilled,
    ];

    pub fn name(self) -> String {
        let name = match self {
            Self::WorkerKilled => "worker killed (SIGKILL)",
            Self::WorkerStopped => "worker stopped (SIGTERM)",
            Self::WorkerPaused => "worker paused (SIGSTOP)",
            Self::DatabaseKilled => "database killed",
            Self::SessionsEnded => "database sessions ended",
            Self::DiskFull => "database disk full",
            Self::TableLocked => "table locked",
            Self::BrokerStopped => "broker stopped",
            Self::BrokerKilled => "broker killed",
            Self::MemoryAlarm => "broker: memory alarm",
            Self::ReplyQueueDeleted => "reply queue deleted",
            Self::NodeKilled => "node killed, not the queue's leader",
            Self::LeaderKilled => "node killed, the queue's leader",
            Self::PrimaryKilled => "primary killed, standby promoted",
            Self::PrimaryKilledAhead => "the same, the standby behind",
            Self::StandbyKilled => "standby killed",
            Self::RightTaken(Right::Events) => "right taken: write to events",
            Self::RightTaken(Right::Insert) => "right taken: insert profiles",
            Self::ReplyQueueSilent => "reply queue does not confirm",
            Self::Network(damage, server) => {
                let server = match server {
                    Server::Broker => "broker",
                    Server::Database => "database",
                };
                let damage = match damage {
                    Damage::Cut => "cut",
                    Damage::Slow => "slow",
                    Damage::Swallow => "swallows all",
                    Damage::SwallowAnswers => "swallows answers",
                };
                return format!("network to {server}: {damage}");
            }
        };
        name.to_owned()
    }

    /// Milliseconds, at least and at most. A paused worker must miss more than two heartbeats of
    /// two seconds, a lock outlast a statement.
    const fn lasts(self, short: bool) -> (usize, usize) {
        let (least, most) = match self {
            Self::WorkerKilled => (100, 1500),
            Self::WorkerStopped => (0, 500),
            Self::WorkerPaused => (5500, 8000),
            Self::DatabaseKilled => (500, 4000),
            Self::SessionsEnded => (500, 2000),
            Self::DiskFull => (2000, 5000),
            Self::TableLocked => (12_000, 12_500),
            Self::BrokerStopped | Self::BrokerKilled | Self::ReplyQueueDeleted => (500, 3000),
            Self::MemoryAlarm => (2000, 6000),
            Self::RightTaken(_) => (1000, 6000),
            // Shorter and longer than replies wait for it.
            Self::ReplyQueueSilent => (1200, 15_000),
            Self::Network(..) => (1000, 8000),
            // The node is down until a request got through without it.
            Self::NodeKilled | Self::LeaderKilled => (0, 0),
            // What takes the place of an operator needs some time to notice.
            Self::PrimaryKilled | Self::PrimaryKilledAhead => (500, 3000),
            // Shorter and longer than a statement may wait for its answer.
            Self::StandbyKilled => (3000, 16_000),
        };
        if short && most > 1500 {
            (least, 1500)
        } else {
            (least, most)
        }
    }

    /// What it is about: two faults at a time are about different things. A worker that is stopped
    /// must find all well, so it is about everything.
    const fn parts(self) -> &'static [Part] {
        match self {
            Self::WorkerKilled | Self::WorkerPaused => &[Part::Worker],
            Self::WorkerStopped => &[
                Part::Worker,
                Part::Server(Server::Broker),
                Part::Server(Server::Database),
            ],
            Self::DatabaseKilled | Self::SessionsEnded | Self::DiskFull | Self::TableLocked => {
                &[Part::Server(Server::Database)]
            }
            // A worker that starts meanwhile says what is missing and ends, as it should.
            Self::RightTaken(Right::Insert) => &[Part::Worker, Part::Server(Server::Database)],
            Self::RightTaken(Right::Events) => &[Part::Worker, Part::Server(Server::Broker)],
            Self::BrokerStopped
            | Self::BrokerKilled
            | Self::MemoryAlarm
            | Self::ReplyQueueDeleted
            | Self::ReplyQueueSilent => &[Part::Server(Server::Broker)],
            Self::Network(_, Server::Broker) | Self::NodeKilled | Self::LeaderKilled => {
                &[Part::Server(Server::Broker)]
            }
            Self::Network(_, Server::Database)
            | Self::PrimaryKilled
            | Self::PrimaryKilledAhead
            | Self::StandbyKilled => &[Part::Server(Server::Database)],
        }
    }

    fn goes_with(self, other: Self) -> bool {
        self.parts()
            .iter()
            .all(|part| !other.parts().contains(part))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Worker,
    Server(Server),
}

impl Plan {
    pub fn new(seed: u64, size: Size, tokens: &Tokens) -> Self {
        let mut maker = Maker::new(seed, tokens, size.requests);
        let mut requests: Vec<_> = (0..size.requests)
            .map(|number| maker.request(number))
            .collect();
        let mut order = Random::new(seed, 3);
        let mut faults = steps(seed, size);
        let probes = size.requests;
        requests.extend((0..faults.len()).map(|step| maker.probe(probes + step)));
        let mut publishes = publishes(&requests[..size.requests], &mut order);
        let rest = publishes.split_off(publishes.len() * WARM_UP / 100);
        let share = rest.len().div_ceil(faults.len().max(1));
        let mut shares = rest.chunks(share.max(1));
        let steps = faults.drain(..).enumerate().map(|(step, faults)| {
            let load = shares.next().unwrap_or_default();
            let lead = Duration::from_millis(order.between(300, 600) as u64);
            let longest = faults
                .iter()
                .map(|fault| fault.lasts)
                .max()
                .unwrap_or_default();
            let bursts = bursts(load, lead, lead + longest + TAIL, &mut order);
            Step {
                faults,
                lead,
                bursts,
                probe: probes + step,
            }
        });
        let steps = steps.collect();
        Self {
            requests,
            warm_up: publishes,
            steps,
        }
    }

    /// The faults of all steps.
    pub fn faults(&self) -> impl Iterator<Item = &Fault> {
        self.steps.iter().flat_map(|step| &step.faults)
    }

    /// What can be lost with the queue of its replies.
    pub fn is_fleeting(&self, request: usize) -> bool {
        self.requests[request].reply_to == ReplyTo::Fleeting
    }
}

/// The faults in their order, some of them in pairs.
fn steps(seed: u64, size: Size) -> Vec<Vec<Fault>> {
    let mut random = Random::new(seed, 4);
    let possible = |kind: &FaultKind| size.disk || *kind != FaultKind::DiskFull;
    let mut deck: Vec<FaultKind> = Vec::new();
    while deck.len() < size.faults {
        if size.arena == Arena::Cluster {
            deck.extend(FaultKind::CLUSTER);
        } else if size.arena == Arena::Asynchronous {
            deck.push(FaultKind::PrimaryKilledAhead);
        } else if size.short {
            deck.extend(FaultKind::SHORT);
        } else {
            // Of fewer faults than there are kinds, any.
            let (once, more) = FaultKind::DECK.split_at(FaultKind::KINDS);
            let mut once: Vec<_> = once.iter().copied().filter(possible).collect();
            random.shuffle(&mut once);
            deck.extend(once);
            deck.extend(more);
        }
    }
    deck.truncate(size.faults);
    random.shuffle(&mut deck);
    let mut steps = Vec::new();
    while let Some(kind) = deck.pop() {
        let mut kinds = vec![kind];
        if random.percent(25)
            && let Some(place) = deck.iter().rposition(|other| kind.goes_with(*other))
        {
            kinds.push(deck.remove(place));
        }
        steps.push(
            kinds
                .into_iter()
                .map(|kind| fault(kind, size, &mut random))
                .collect(),
        );
    }
    steps
}

fn fault(kind: FaultKind, size: Size, random: &mut Random) -> Fault {
    let (least, most) = kind.lasts(size.short);
    // The first worker is never ended, so that what it might leak can be seen at the end.
    let ends_worker = matches!(kind, FaultKind::WorkerKilled | FaultKind::WorkerStopped);
    let first = usize::from(ends_worker && size.workers > 1);
    Fault {
        kind,
        lasts: Duration::from_millis(random.between(least, most) as u64),
        worker: random.between(first, size.workers - 1),
        all_workers: random.percent(50),
    }
}

/// The order in which all are published; what is sent several times comes again a little later.
fn publishes(requests: &[Request], random: &mut Random) -> Vec<usize> {
    let mut publishes: Vec<(usize, usize)> = Vec::with_capacity(requests.len() * 11 / 10);
    for (number, request) in requests.iter().enumerate() {
        publishes.push((number, number));
        publishes.extend((1..request.copies).map(|_| (number + random.below(400), number)));
    }
    publishes.sort_by_key(|(place, _)| *place);
    publishes.into_iter().map(|(_, number)| number).collect()
}

/// A large one just before the faults begin, so that they come into the middle of it; the others
/// anywhere in the step.
fn bursts(load: &[usize], lead: Duration, span: Duration, random: &mut Random) -> Vec<Burst> {
    let (first, mut rest) = load.split_at(load.len() * AT_ONCE / 100);
    let before = Duration::from_millis(random.below(40) as u64);
    let mut bursts = vec![Burst {
        after: lead.saturating_sub(before),
        requests: first.to_vec(),
    }];
    while !rest.is_empty() {
        let (burst, others) = rest.split_at(random.between(1, BURST_MAX).min(rest.len()));
        rest = others;
        let after = Duration::from_millis(random.below(span.as_millis() as usize) as u64);
        bursts.push(Burst {
            after,
            requests: burst.to_vec(),
        });
    }
    bursts.sort_by_key(|burst| burst.after);
    bursts
}
