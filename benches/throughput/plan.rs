//! What is measured: which workers, under which load, how often.

use serde::Serialize;

use crate::Result;
use crate::workers::Worker;

/// The kind of the queue that requests wait in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum QueueType {
    Classic,
    Quorum,
}

impl QueueType {
    pub(crate) const ALL: [Self; 2] = [Self::Classic, Self::Quorum];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Classic => "classic",
            Self::Quorum => "quorum",
        }
    }
}

/// How requests come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) enum Workload {
    /// All wait in the queue before the worker begins.
    #[serde(rename = "backlog")]
    Backlog,
    /// The next is sent when the one before is answered.
    #[serde(rename = "one")]
    One,
    /// 64 are always under way.
    #[serde(rename = "64")]
    SixtyFour,
}

impl Workload {
    pub(crate) const ALL: [Self; 3] = [Self::Backlog, Self::One, Self::SixtyFour];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Backlog => "backlog",
            Self::One => "one",
            Self::SixtyFour => "64",
        }
    }
}

/// What requests are like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Shape {
    pub(crate) name: &'static str,
    /// Trigger events are asked for.
    pub(crate) events: bool,
    /// Somebody listens to them.
    pub(crate) heard: bool,
    /// Each fifth request has the email of an earlier one.
    pub(crate) duplicates: bool,
    pub(crate) subscriptions: usize,
    /// What stands in the database before.
    pub(crate) before: Before,
    /// Processes of the worker.
    pub(crate) processes: usize,
}

/// What stands in a database before a measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) enum Before {
    /// One tenant and nothing else; never analysed.
    Nothing,
    /// 10,000 databases with ten tokens and ten resources each.
    Tenants,
    /// So many profiles as `--profiles` says.
    Profiles,
}

/// No events, since the reference workers publish none.
pub(crate) const BASE: Shape = Shape {
    name: "base",
    events: false,
    heard: false,
    duplicates: false,
    subscriptions: 1,
    before: Before::Nothing,
    processes: 1,
};

/// The base with one thing changed.
const VARIATIONS: [Shape; 8] = [
    Shape {
        name: "events-unheard",
        events: true,
        ..BASE
    },
    Shape {
        name: "events",
        events: true,
        heard: true,
        ..BASE
    },
    Shape {
        name: "duplicates",
        duplicates: true,
        ..BASE
    },
    Shape {
        name: "0-subscriptions",
        subscriptions: 0,
        ..BASE
    },
    Shape {
        name: "5-subscriptions",
        subscriptions: 5,
        ..BASE
    },
    Shape {
        name: "tenants",
        before: Before::Tenants,
        ..BASE
    },
    Shape {
        name: "two-workers",
        processes: 2,
        ..BASE
    },
    Shape {
        name: "filled",
        before: Before::Profiles,
        ..BASE
    },
];

/// One thing to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Case {
    pub(crate) workload: Workload,
    pub(crate) queue: QueueType,
    pub(crate) shape: Shape,
}

impl Case {
    fn workers(&self) -> &'static [Worker] {
        match self.shape.name {
            "base" => &Worker::ALL,
            // They know no events, and one that answers everything can't refuse duplicates.
            _ if self.shape.before != Before::Nothing || self.shape.processes > 1 => {
                &[Worker::Ours, Worker::Other]
            }
            _ if self.shape.events => &[Worker::Ours, Worker::Other],
            _ => &[Worker::Ours, Worker::Other, Worker::BarePipeline],
        }
    }
}

/// All that this run does.
#[derive(Debug)]
pub(crate) struct Plan {
    /// With the workers that take turns in each round.
    pub(crate) cases: Vec<(Case, Vec<Worker>)>,
    pub(crate) rounds: usize,
    /// Requests of a backlog; the other workloads have a part of that.
    pub(crate) requests: usize,
    /// Profiles that stand in the database before, where a shape wants some.
    pub(crate) profiles: usize,
    /// Of so many tenants in equal parts.
    pub(crate) databases: usize,
    /// The workers of a case run side by side, and a round is a part of the load for each in turn.
    pub(crate) together: bool,
    /// Each worker's calls are sampled while it is measured.
    pub(crate) profile: bool,
}

pub(crate) const USAGE: &str = "\
scripts/bench [--quick] [--rounds COUNT] [--requests COUNT] [--together] [--profile] [NAME…]

  --quick      the essentials: our worker, bare_pipeline and one_insert; the base shape
  --rounds     rounds of each measurement (5; quick 3)
  --requests   requests of a backlog (30000; quick 20000)
  --together   workers side by side, a round is a tenth of the load for each in turn: a machine that is
               faster now and slower then is so for all of them (not for backlog)
  --profiles   profiles that stand in the database before, for the shape `filled` (10000000)
  --databases  so many databases they are of, in equal parts (1)
  --profile    sample the workers' calls with perf, into target/bench (see scripts/profile)
  NAME         only these; names of one kind add up, names of different kinds narrow down
               workloads  backlog, one (at a time), 64 (at a time)
               queues     classic, quorum
               shapes     base, events, events-unheard, duplicates, 0-subscriptions, 5-subscriptions,
                          tenants, two-workers; filled (only if named, as it takes minutes and 6 GB)
               workers    profile-worker, other-build, bare_pipeline, bare_contract, broker_only, one_insert, amqplib_pg, aio_pika_asyncpg
               others     batch_form";

impl Plan {
    /// Whether any case begins with this.
    pub(crate) fn has(&self, before: Before) -> bool {
        self.cases
            .iter()
            .any(|(case, _)| case.shape.before == before)
    }

    /// From the words of the command line.
    pub(crate) fn from_words(words: impl Iterator<Item = String>) -> Result<Self> {
        let mut words = words;
        let (mut quick, mut profile, mut together) = (false, false, false);
        let (mut rounds, mut requests, mut names) = (None, None, Vec::new());
        let (mut profiles, mut databases) = (10_000_000, 1);
        while let Some(word) = words.next() {
            match word.as_str() {
                "--quick" => quick = true,
                "--profile" => profile = true,
                "--together" => together = true,
                "--rounds" => rounds = Some(words.next().ok_or(USAGE)?.parse()?),
                "--requests" => requests = Some(words.next().ok_or(USAGE)?.parse()?),
                "--databases" => databases = words.next().ok_or(USAGE)?.parse()?,
                "--profiles" => profiles = words.next().ok_or(USAGE)?.parse()?,
                "--bench" => {}
                _ => names.push(word),
            }
        }
        let shapes: Vec<_> = [BASE].into_iter().chain(VARIATIONS).collect();
        let workloads = chosen(&mut names, &Workload::ALL, |workload| workload.name());
        let queues = chosen(&mut names, &QueueType::ALL, |queue| queue.name());
        let shapes_named = chosen(&mut names, &shapes, |shape| shape.name);
        let workers = chosen(&mut names, &Worker::ALL, |worker| worker.name());
        if let Some(unknown) = names.first() {
            return Err(format!("what is {unknown}?\n{USAGE}").into());
        }
        let usual = || {
            shapes
                .iter()
                .copied()
                .filter(|shape| shape.before != Before::Profiles)
                .collect()
        };
        let shapes = shapes_named.unwrap_or_else(|| if quick { vec![BASE] } else { usual() });
        let mut cases = Vec::new();
        let usual_workloads = Workload::ALL
            .into_iter()
            .filter(|workload| !together || *workload != Workload::Backlog);
        let workloads = workloads.unwrap_or_else(|| usual_workloads.collect());
        if together && workloads.contains(&Workload::Backlog) {
            return Err(
                "a backlog is there before its worker is: it can't be measured with --together"
                    .into(),
            );
        }
        for workload in workloads {
            for queue in queues.clone().unwrap_or(QueueType::ALL.to_vec()) {
                // A variation comes right behind its base, to be compared with it.
                for shape in shapes.iter().copied() {
                    // One kind of queue is enough for variations; quorum is the worker's own
                    // default.
                    if shape != BASE && queues.is_none() && queue == QueueType::Classic {
                        continue;
                    }
                    let case = Case {
                        workload,
                        queue,
                        shape,
                    };
                    let wanted = |worker: &&Worker| match &workers {
                        Some(workers) => workers.contains(worker),
                        None => !quick || worker.is_essential(),
                    };
                    let there = case
                        .workers()
                        .iter()
                        .filter(wanted)
                        .filter(|worker| worker.is_there());
                    cases.push((case, there.copied().collect()));
                }
            }
        }
        let (default_rounds, default_requests) = if quick { (3, 20_000) } else { (5, 30_000) };
        let (rounds, requests) = (
            rounds.unwrap_or(default_rounds),
            requests.unwrap_or(default_requests),
        );
        Ok(Self {
            cases,
            rounds,
            requests,
            profiles,
            databases,
            together,
            profile,
        })
    }
}

/// Takes out of `names` those of this kind; `None` if there are none.
fn chosen<T: Copy>(
    names: &mut Vec<String>,
    all: &[T],
    name: impl Fn(&T) -> &'static str,
) -> Option<Vec<T>> {
    let chosen: Vec<_> = all
        .iter()
        .filter(|each| names.iter().any(|n| n == name(each)))
        .copied()
        .collect();
    names.retain(|n| !all.iter().any(|each| n == name(each)));
    (!chosen.is_empty()).then_some(chosen)
}
