//! An attack on the promises (no request lost, none added twice, each answered) that anyone can
//! repeat: real workers, servers and networks that fail while requests of all kinds are under way,
//! and then a look at everything that came of them. `scripts/chaos` runs it.
//!
//! There are two arenas: one broker and one database with a network that fails before each, and
//! with `--cluster` three brokers and a primary with a standby, which are killed.
//!
//! The order of the faults, their durations and the contents of the load follow from the seed
//! alone.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "that is its job")]
mod cluster;
mod faults;
mod report;
mod scene;

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{Parser, ValueEnum};
use tokio::time::{Instant, interval, sleep_until};

use report::{Happened, Outcome};
use scene::{LOOK_EVERY, Scene};
use testkit::load::ledger::{Ledger, Source};
use testkit::load::plan::{Arena, Plan, Size, Step};
use testkit::load::producer::Producer;
use testkit::load::readers::Readers;
use testkit::load::{REQUEST_QUEUE, plan, request, truth};
use testkit::{servers, signals};

use testkit::Failure;

/// How long the probe may wait for its answer before that is a trouble.
const RECOVERY_MAX: Duration = Duration::from_secs(90);

/// How long the rest of the answers may take when all faults are over.
const SETTLE_MAX: Duration = Duration::from_secs(120);

/// How long our own readers may take for the rest.
const READ_MAX: Duration = Duration::from_secs(60);

/// How much more memory a worker may have at the end than before the faults: one of a release
/// build, and one of a debug build, by which the cluster is attacked and which takes more.
const MEMORY_MAX_MIB: u64 = if cfg!(debug_assertions) { 48 } else { 32 };

/// How long it may take to give memory back.
const CALM_MAX: Duration = Duration::from_secs(10);

/// The seed of a short run: a test that is different each time would be a bad test.
const SHORT_SEED: u64 = 1;

/// Attack the promises of profile-worker with servers, workers and networks that fail.
#[derive(Debug, Clone, Parser)]
#[command(name = "scripts/chaos")]
pub(crate) struct Arguments {
    /// What the run follows from; by the clock, if not given
    #[arg(long)]
    seed: Option<u64>,
    /// Requests of the load
    #[arg(long, value_parser = clap::value_parser!(u32).range(100..))]
    requests: Option<u32>,
    /// Faults
    #[arg(long, value_parser = clap::value_parser!(u32).range(0..))]
    faults: Option<u32>,
    /// Worker processes
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=16))]
    workers: u32,
    /// Type of the queues
    #[arg(long, value_enum, default_value_t = Queue::Quorum)]
    queue: Queue,
    /// A cluster of three brokers, and a database with a standby: nodes and primaries are killed
    #[arg(long, conflicts_with_all = ["short", "queue"])]
    cluster: bool,
    /// What a fail-over loses if commits do not wait for the standby: a measurement, no test
    #[arg(long, requires = "cluster")]
    asynchronous: bool,
    /// So many seeds, one after the other
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// The essentials in less than a minute, always with the same seed
    #[arg(long)]
    short: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Queue {
    Quorum,
    Classic,
}

impl Queue {
    const fn name(self) -> &'static str {
        match self {
            Self::Quorum => "quorum",
            Self::Classic => "classic",
        }
    }
}

impl Arguments {
    fn first_seed(&self) -> u64 {
        let by_clock = || {
            SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| since.as_secs())
        };
        self.seed
            .unwrap_or_else(|| if self.short { SHORT_SEED } else { by_clock() })
    }

    fn size(&self) -> Size {
        let (requests, faults) = match self.arena() {
            Arena::Pair if self.short => (1500, 9),
            Arena::Pair => (22_000, 36),
            Arena::Cluster => (8000, 12),
            Arena::Asynchronous => (3000, 4),
        };
        Size {
            requests: self.requests.unwrap_or(requests) as usize,
            faults: self.faults.unwrap_or(faults) as usize,
            workers: self.workers as usize,
            short: self.short,
            disk: true,
            arena: self.arena(),
        }
    }

    fn arena(&self) -> Arena {
        match (self.cluster, self.asynchronous) {
            (false, _) => Arena::Pair,
            (true, false) => Arena::Cluster,
            (true, true) => Arena::Asynchronous,
        }
    }

    /// The command that repeats a run.
    pub(crate) fn to_command(&self, seed: u64) -> String {
        let mut command = format!("scripts/chaos --seed {seed}");
        for (name, is_given) in [
            ("short", self.short),
            ("cluster", self.cluster),
            ("asynchronous", self.asynchronous),
        ] {
            if is_given {
                command.push_str(&format!(" --{name}"));
            }
        }
        for (name, value) in [("requests", self.requests), ("faults", self.faults)] {
            if let Some(value) = value {
                command.push_str(&format!(" --{name} {value}"));
            }
        }
        command.push_str(&format!(" --workers {}", self.workers));
        if self.cluster {
            command
        } else {
            format!("{command} --queue {}", self.queue.name())
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // Whatever was started is ended when the rounds are dropped.
    tokio::select! {
        code = rounds(&arguments) => code,
        () = signals::asked_to_end() => {
            eprintln!("\nstopped; taking all down");
            ExitCode::from(130)
        }
    }
}

async fn rounds(arguments: &Arguments) -> ExitCode {
    let mut outcomes = Vec::new();
    for round in 0..u64::from(arguments.rounds) {
        match attack(arguments, arguments.first_seed() + round).await {
            Ok(outcome) => outcomes.push(outcome),
            Err(failure) => {
                eprintln!("\nthe attack itself failed: {failure}");
                return ExitCode::from(2);
            }
        }
    }
    if outcomes.len() > 1 {
        report::summary(&outcomes);
    }
    if outcomes.iter().all(Outcome::is_good) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// One run, from the servers to the verdict.
async fn attack(arguments: &Arguments, seed: u64) -> Result<Outcome, Failure> {
    println!("seed {seed}");
    let begun = Instant::now();
    let tokens = request::Tokens::of(seed);
    let arena = arguments.arena();
    let mut scene = Scene::prepare(
        &tokens,
        arguments.workers as usize,
        arguments.queue.name(),
        arena,
    )
    .await?;
    let has_disk = arena != Arena::Pair || scene.disk().is_some();
    let left_out = (!has_disk).then_some("needs Linux, and root to mount a small tmpfs");
    let plan = Arc::new(Plan::new(
        seed,
        Size {
            disk: left_out.is_none(),
            ..arguments.size()
        },
        &tokens,
    ));
    println!(
        "{} requests, {} faults, {} workers, {} queues",
        plan.requests.len(),
        plan.faults().count(),
        arguments.workers,
        arguments.queue.name()
    );
    if let Some(why) = left_out {
        println!("left out: {} ({why})", plan::FaultKind::DiskFull.name());
    }
    let ledger = Arc::new(Ledger::new(&plan));
    scene.start().await?;
    if arena != Arena::Pair {
        cluster::check(&scene).await?;
    }
    let amqp_url = scene.servers.servers.amqp_url.clone();
    let readers = Readers::start(&amqp_url, &ledger);
    let producer = Producer::start(&amqp_url, plan.clone(), ledger.clone());

    warm_up(&plan, &ledger, &producer, &mut scene).await?;
    let memory_before = scene.memory().await?;
    println!(
        "{:>6.1} s  the load is running",
        begun.elapsed().as_secs_f64()
    );
    let mut happened = Vec::new();
    for step in &plan.steps {
        happened.extend(take(step, begun, &mut scene, &ledger, &producer).await?);
    }
    let settled = settle(&plan, &ledger, &producer, &mut scene).await?;
    println!(
        "{:>6.1} s  {}",
        begun.elapsed().as_secs_f64(),
        if settled {
            "all is answered"
        } else {
            "NOT all is answered"
        }
    );
    let memory = memory(&memory_before, &mut scene).await?;
    end(&mut scene).await?;
    read_the_rest(&mut scene).await?;
    drop((producer, readers));

    let stored = truth::stored(&scene.database().await?).await?;
    let seen = ledger.seen();
    let verdict = truth::check(&plan, &seen, stored);
    let outcome = Outcome {
        seed,
        verdict,
        troubles: std::mem::take(&mut scene.troubles),
        took: begun.elapsed(),
        requests: plan.requests.len(),
        faults: happened.len(),
        may_lose: arena == Arena::Asynchronous,
    };
    report::faults(&happened, &plan, &seen, left_out);
    report::load(&plan, &seen);
    let logs = scene
        .logs
        .strip_prefix(servers::root())
        .unwrap_or(&scene.logs);
    report::verdict(
        &outcome,
        &seen,
        &memory,
        &logs.display().to_string(),
        arguments,
    );
    Ok(outcome)
}

/// Load without faults: a backlog shows what memory the workers need, and new queues grow old
/// enough to be remembered by a broker that is killed (RabbitMQ 3.10 takes half a second).
async fn warm_up(
    plan: &Plan,
    ledger: &Ledger,
    producer: &Producer,
    scene: &mut Scene,
) -> Result<(), Failure> {
    const AGE: Duration = Duration::from_secs(2);
    let begun = Instant::now();
    for worker in &scene.workers {
        worker.signal("STOP").await?;
    }
    producer.publish(begun, plan.warm_up.clone()).await;
    // Shorter than heartbeats are missed.
    let published = async || {
        plan.warm_up
            .iter()
            .all(|request| ledger.seen().confirmed.contains(request))
    };
    until(AGE, scene, published).await?;
    for worker in &scene.workers {
        worker.signal("CONT").await?;
    }
    let answered = async || {
        plan.warm_up
            .iter()
            .all(|request| ledger.is_answered(*request))
    };
    if !until(RECOVERY_MAX, scene, answered).await? {
        scene.troubles.push(format!(
            "the load before the faults was not answered within {RECOVERY_MAX:?}"
        ));
    }
    sleep_until(begun + AGE).await;
    Ok(())
}

/// One step of the plan.
async fn take(
    step: &Step,
    begun: Instant,
    scene: &mut Scene,
    ledger: &Ledger,
    producer: &Producer,
) -> Result<Vec<Happened>, Failure> {
    let start = Instant::now();
    for burst in &step.bursts {
        producer
            .publish(start + burst.after, burst.requests.clone())
            .await;
    }
    sleep_until(start + step.lead).await;
    let names: Vec<_> = step.faults.iter().map(|fault| fault.kind.name()).collect();
    print!(
        "{:>6.1} s  {}",
        begun.elapsed().as_secs_f64(),
        names.join(" + ")
    );
    std::io::stdout().flush()?;
    let repeats = ledger.seen().repeats;
    let mut ongoing = Vec::new();
    let mut broken = Vec::new();
    for (place, fault) in step.faults.iter().enumerate() {
        // A server may take seconds to end: that is a part of the fault.
        let since = Instant::now();
        ongoing.push((
            place,
            since,
            faults::begin(scene, *fault).await?,
            Instant::now(),
        ));
    }
    ongoing.sort_by_key(|(.., fault, begun)| *begun + fault.lasts());
    let mut lasted = vec![Duration::ZERO; ongoing.len()];
    for (place, since, fault, begun) in ongoing {
        sleep_until(begun + fault.lasts()).await;
        broken.extend(fault.end(scene).await?);
        lasted[place] = since.elapsed();
    }
    let over = Instant::now();
    producer.publish(over, vec![step.probe]).await;
    let recovery = until(RECOVERY_MAX, scene, async || ledger.is_answered(step.probe))
        .await?
        .then(|| over.elapsed());
    let in_words: Vec<_> = lasted
        .iter()
        .map(|lasted| format!("{:.1} s", lasted.as_secs_f64()))
        .collect();
    print!(", {}", in_words.join(" + "));
    match recovery {
        Some(recovery) => println!("; answering again after {:.1} s", recovery.as_secs_f64()),
        None => {
            println!("; NO ANSWER after {RECOVERY_MAX:?}");
            let words: Vec<_> = scene
                .workers
                .iter()
                .map(scene::Worker::last_words)
                .collect();
            let names = names.join(" + ");
            scene.troubles.push(format!(
                "no answer within {RECOVERY_MAX:?} after {names}:\n{}",
                words.join("\n--\n")
            ));
        }
    }
    for what in broken {
        faults::mend(scene, what).await?;
    }
    scene.until_all_take_requests().await?;
    scene.note_memory(&names.join(" + "))?;
    let repeats = ledger.seen().repeats - repeats;
    let happened = |(fault, lasted): (&plan::Fault, Duration)| {
        let kind = fault.kind;
        Happened {
            kind,
            lasted,
            start,
            over,
            recovery,
            repeats,
        }
    };
    Ok(step.faults.iter().zip(lasted).map(happened).collect())
}

/// Waits until something is true, and looks after the workers meanwhile. False if it does not
/// become true in time.
async fn until(
    most: Duration,
    scene: &mut Scene,
    mut condition: impl AsyncFnMut() -> bool,
) -> Result<bool, Failure> {
    let limit = Instant::now() + most;
    let mut looks = interval(LOOK_EVERY);
    while !condition().await {
        if Instant::now() > limit {
            return Ok(false);
        }
        scene.look()?;
        looks.tick().await;
    }
    Ok(true)
}

/// Waits until each request is answered and the queue is empty. A reply that was lost with its
/// queue is asked for again, as a producer would.
async fn settle(
    plan: &Plan,
    ledger: &Ledger,
    producer: &Producer,
    scene: &mut Scene,
) -> Result<bool, Failure> {
    /// How long a reply may be on its way to us when the queue is empty.
    const ON_ITS_WAY: Duration = Duration::from_secs(10);
    let limit = Instant::now() + SETTLE_MAX;
    let open = || {
        let seen = ledger.seen();
        (0..plan.requests.len())
            .filter(|request| seen.replies[*request].is_empty())
            .collect::<Vec<_>>()
    };
    let published = async || ledger.seen().confirmed.len() == plan.requests.len();
    until(SETTLE_MAX, scene, published).await?;
    let mut asked_again = false;
    let mut was_empty = false;
    loop {
        // What needs no second question may take its time as long as the queue is not empty.
        let steady = async || open().into_iter().all(|request| plan.is_fleeting(request));
        until(ON_ITS_WAY, scene, steady).await?;
        let (ready, unacknowledged) = scene.depth(REQUEST_QUEUE).await?;
        let is_empty = ready + unacknowledged == 0;
        // Twice in a row: the last replies may just have set out.
        let is_final = is_empty && std::mem::replace(&mut was_empty, is_empty);
        let open = open();
        if open.is_empty() && is_empty {
            return Ok(true);
        }
        let (fleeting, steady): (Vec<_>, Vec<_>) =
            open.iter().partition(|request| plan.is_fleeting(**request));
        if is_empty && steady.is_empty() && !asked_again {
            asked_again = true;
            ledger.seen().sent_again += fleeting.len();
            producer.publish(Instant::now(), fleeting).await;
            until(ON_ITS_WAY, scene, async || {
                open.iter().all(|request| ledger.is_answered(*request))
            })
            .await?;
        } else if is_final && (asked_again || !steady.is_empty()) || Instant::now() > limit {
            scene.troubles.push(format!(
                "{} requests are not answered, when {REQUEST_QUEUE} has {ready} ready and {unacknowledged} unacknowledged",
                open.len()
            ));
            return Ok(false);
        }
    }
}

/// What memory the workers have, once they are calm; for the report.
async fn memory(before: &[u64], scene: &mut Scene) -> Result<String, Failure> {
    let base = before.iter().max().copied().unwrap_or_default();
    let limit = Instant::now() + CALM_MAX;
    let mut looks = interval(LOOK_EVERY);
    loop {
        looks.tick().await;
        let after = scene.memory().await?;
        let is_fine = after.iter().all(|now| *now <= base + MEMORY_MAX_MIB);
        if !is_fine && Instant::now() < limit {
            continue;
        }
        let list = |all: &[u64]| {
            all.iter()
                .map(u64::to_string)
                .collect::<Vec<_>>()
                .join(" and ")
        };
        let text = format!(
            "{} MiB before the faults, {} MiB after them",
            list(before),
            list(&after)
        );
        if !is_fine {
            scene.troubles.push(format!(
                "a worker has grown by more than {MEMORY_MAX_MIB} MiB: {text}"
            ));
        }
        return Ok(text);
    }
}

/// All workers end in order; their logs hold nothing alarming.
async fn end(scene: &mut Scene) -> Result<(), Failure> {
    scene.look()?;
    for place in 0..scene.workers.len() {
        let wrong = scene.workers[place].stop().await?;
        scene.troubles.extend(wrong);
    }
    let lines = scene.alarming_lines()?;
    scene.troubles.extend(lines);
    Ok(())
}

/// Waits until everything in the queues has been read.
async fn read_the_rest(scene: &mut Scene) -> Result<(), Failure> {
    let limit = Instant::now() + READ_MAX;
    for source in Source::ALL {
        while scene.depth(source.queue()).await? != (0, 0) {
            if Instant::now() > limit {
                return Err(format!("{} was not read within {READ_MAX:?}", source.queue()).into());
            }
        }
    }
    Ok(())
}
