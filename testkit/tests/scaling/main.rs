//! One broker, one database and four workers, each in a container: the same load is answered by
//! one, two and four workers, two of which are then killed under load, and nothing is lost.
//! `scripts/scaling-test` builds the image and runs it.
//!
//! The load, its ledger and the comparison with what must be there are those of `tests/chaos`.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "that is its job")]

mod scene;

use std::ops::Range;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, interval};

use scene::{Figures, LOOK_EVERY, Scene, Worker};
use testkit::load::ledger::Ledger;
use testkit::load::plan::{Arena, Plan, Size};
use testkit::load::producer::Producer;
use testkit::load::readers::Readers;
use testkit::load::truth::{Check, Verdict};
use testkit::load::{request, truth};
use testkit::session::Session;
use testkit::signals;

use testkit::Failure;

/// The same load each time.
const SEED: u64 = 1;

/// Requests of each measurement, and of the load under which workers are killed.
const MEASURED: usize = 3000;
const ATTACKED: usize = 11_000;

/// How many workers the measurements are made with.
const WORKERS: [usize; 3] = [1, 2, 4];

/// The workers that are killed, each when so many of a hundred of the load are answered.
const KILLED: [(usize, usize); 2] = [(1, 15), (2, 40)];

/// How long all answers to a part of the load may take.
const ANSWERED_MAX: Duration = Duration::from_secs(120);

/// How long a worker that is to be killed may take until it holds something.
const WORKS_MAX: Duration = Duration::from_secs(30);

#[tokio::main]
async fn main() -> ExitCode {
    // Every container and the network are removed when they are dropped.
    let outcome = tokio::select! {
        outcome = test() => outcome,
        () = signals::asked_to_end() => {
            eprintln!("\nstopped; removing the containers");
            return ExitCode::from(130);
        }
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("\nthe test itself failed: {failure}");
            ExitCode::from(2)
        }
    }
}

/// Whether all is well.
async fn test() -> Result<bool, Failure> {
    let begun = Instant::now();
    let tokens = request::Tokens::of(SEED);
    let requests = MEASURED * WORKERS.len() + ATTACKED;
    let size = Size {
        requests,
        faults: 0,
        workers: WORKERS.len(),
        short: true,
        disk: false,
        arena: Arena::Pair,
    };
    let plan = Arc::new(Plan::new(SEED, size, &tokens));
    let ledger = Arc::new(Ledger::new(&plan));
    let scene = Scene::prepare(&tokens).await?;
    say(begun, "the broker and the database are up, in containers");
    let readers = Readers::start(&scene.servers.amqp_url, &ledger);
    let producer = Producer::start(&scene.servers.amqp_url, plan.clone(), ledger.clone());

    let mut workers: Vec<Worker> = Vec::new();
    let mut rates = Vec::new();
    for (place, count) in WORKERS.into_iter().enumerate() {
        while workers.len() < count {
            workers.push(scene.worker(workers.len() + 1).await?);
        }
        let part = place * MEASURED..(place + 1) * MEASURED;
        let from = Instant::now();
        publish(&producer, &plan, part.clone()).await;
        until_answered(&ledger, part, &workers).await?;
        rates.push((count, MEASURED as f64 / from.elapsed().as_secs_f64()));
        say(
            begun,
            &format!("{MEASURED} requests are answered by {count} of them"),
        );
    }
    for worker in &workers {
        worker.until_healthy().await?;
    }
    say(begun, "Docker calls all of them healthy");

    let attacked = MEASURED * WORKERS.len()..requests;
    let mut figures: Vec<Figures> = Vec::new();
    for worker in &workers {
        figures.push(worker.figures().await?);
    }
    publish(&producer, &plan, attacked.clone()).await;
    let mut killed = Vec::new();
    for (place, percent) in KILLED {
        let worker = &workers[place];
        until(ANSWERED_MAX, "the load is under way", async || {
            Ok(answered(&ledger, attacked.clone()) * 100 >= ATTACKED * percent)
        })
        .await?;
        figures[place] = until_it_works(worker).await?;
        worker.kill().await?;
        killed.push(worker.number);
        let open = ATTACKED - answered(&ledger, attacked.clone());
        say(
            begun,
            &format!(
                "worker {} is killed, {open} requests are not answered yet",
                worker.number
            ),
        );
        if open == 0 {
            return Err("the load was over when the worker was killed".into());
        }
    }
    let alive: Vec<_> = workers
        .iter()
        .filter(|worker| !killed.contains(&worker.number))
        .collect();
    until_all_seen(&scene, &ledger, &plan, &alive).await?;
    say(begun, "all is answered");
    for worker in &alive {
        figures[worker.number - 1] = worker.figures().await?;
    }
    for worker in &alive {
        worker.stop().await?;
    }
    until(ANSWERED_MAX, "our own queues are read", async || {
        Ok(scene.messages().await? == 0)
    })
    .await?;
    drop((producer, readers));

    let stored = truth::stored(&Session::open(&scene.servers.database_url).await?).await?;
    let verdict = truth::check(&plan, &ledger.seen(), stored);
    let idle: Vec<_> = figures
        .iter()
        .zip(1..)
        .filter(|(figures, _)| figures.answered == 0)
        .collect();
    let redelivered: u64 = figures.iter().map(|figures| figures.redelivered).sum();
    report(&workers, &figures, &killed, &rates);
    let mut is_good = tell(&verdict, requests);
    if !idle.is_empty() || redelivered == 0 {
        println!("NOT all took part, or the kills hit nothing: {figures:?}");
        is_good = false;
    }
    println!(
        "{} in {:.0} s",
        if is_good { "PASSED" } else { "FAILED" },
        begun.elapsed().as_secs_f64()
    );
    drop(workers);
    scene.servers.remove().await?;
    Ok(is_good)
}

fn say(begun: Instant, words: &str) {
    println!("{:>6.1} s  {words}", begun.elapsed().as_secs_f64());
}

/// All of a part, and what is sent several times once more behind it.
async fn publish(producer: &Producer, plan: &Plan, part: Range<usize>) {
    let again = part
        .clone()
        .filter(|request| plan.requests[*request].copies > 1);
    producer
        .publish(Instant::now(), part.clone().chain(again).collect())
        .await;
}

fn answered(ledger: &Ledger, mut part: Range<usize>) -> usize {
    let seen = ledger.seen();
    part.by_ref()
        .filter(|request| !seen.replies[*request].is_empty())
        .count()
}

async fn until_answered(
    ledger: &Ledger,
    part: Range<usize>,
    workers: &[Worker],
) -> Result<(), Failure> {
    let count = part.len();
    until(ANSWERED_MAX, "all is answered", async || {
        Ok(answered(ledger, part.clone()) == count)
    })
    .await?;
    all_run(workers).await
}

async fn all_run(workers: impl IntoIterator<Item = &Worker>) -> Result<(), Failure> {
    for worker in workers {
        if !worker.is_running().await? {
            return Err(format!("worker {} ended by itself", worker.number).into());
        }
    }
    Ok(())
}

/// Waits until the worker has answered something since it was last asked, so that the kill comes
/// into the middle of its work.
async fn until_it_works(worker: &Worker) -> Result<Figures, Failure> {
    let before = worker.figures().await?.answered;
    let mut figures = Figures::default();
    until(WORKS_MAX, "the worker has something to do", async || {
        figures = worker.figures().await?;
        Ok(figures.answered > before)
    })
    .await?;
    Ok(figures)
}

/// Every request is answered, and nothing is left in any queue.
async fn until_all_seen(
    scene: &Scene,
    ledger: &Ledger,
    plan: &Plan,
    alive: &[&Worker],
) -> Result<(), Failure> {
    let count = plan.requests.len();
    until(ANSWERED_MAX, "all is answered", async || {
        Ok(answered(ledger, 0..count) == count)
    })
    .await?;
    // What was sent twice may be answered once more, and our queues are being read.
    until(ANSWERED_MAX, "the queues are empty", async || {
        Ok(scene.messages().await? == 0)
    })
    .await?;
    all_run(alive.iter().copied()).await
}

async fn until(
    most: Duration,
    what: &str,
    mut condition: impl AsyncFnMut() -> Result<bool, Failure>,
) -> Result<(), Failure> {
    let limit = Instant::now() + most;
    let mut looks = interval(LOOK_EVERY);
    while !condition().await? {
        if Instant::now() > limit {
            return Err(format!("not within {most:?}: {what}").into());
        }
        looks.tick().await;
    }
    Ok(())
}

fn report(workers: &[Worker], figures: &[Figures], killed: &[usize], rates: &[(usize, f64)]) {
    println!(
        "\n{:<12}{:>14}{:>12}{:>14}{:>10}",
        "worker", "ready after", "answered", "taken over", "memory"
    );
    for (worker, figures) in workers.iter().zip(figures) {
        println!(
            "{:<12}{:>12.2} s{:>12}{:>14}{:>6} MiB{}",
            worker.number,
            worker.ready_after.as_secs_f64(),
            figures.answered,
            figures.redelivered,
            figures.memory_mib,
            if killed.contains(&worker.number) {
                "  killed; the figures are of just before"
            } else {
                ""
            }
        );
    }
    println!("  ready: from `docker run` until /ready says yes");
    println!("\n{:<12}{:>18}", "workers", "requests per s");
    for (count, rate) in rates {
        println!("{count:<12}{rate:>18.0}");
    }
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    println!(
        "  from the first publish to the last answer, with servers, workers and this (unoptimised) program on"
    );
    println!("  {cores} cores: it shows that they share the work, not how far that goes");
}

/// What came of the requests; whether that is right.
fn tell(verdict: &Verdict, requests: usize) -> bool {
    println!(
        "\n{requests} requests: {} profiles, {} trigger events, {} dead letters",
        verdict.profiles, verdict.events, verdict.dead_letters
    );
    println!(
        "answers that came more than once: {}, events: {}",
        verdict.answers_again, verdict.events_again
    );
    for (check, details) in &verdict.faults {
        for detail in details.iter().take(10) {
            println!("  {check}: {detail}");
        }
    }
    let [lost, twice, wrong] =
        [Check::Lost, Check::Twice, Check::Wrong].map(|check| verdict.count(check));
    println!("lost {lost}, twice {twice}, wrong {wrong}");
    lost + twice + wrong == 0
}
