//! Messages that want to harm others: each with good neighbours beside it, one request every 10 ms,
//! whose waits are measured. `scripts/attack` runs it and fails where a bound of the contract is
//! broken.
//!
//! It prints a table: what neighbours waited, when the message was a dead letter or answered, how
//! often it was stored, how often the process ended and sessions were lost.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "that is its job")]
mod case;
mod report;
mod scene;
mod supervised;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use tokio::task::JoinSet;

use case::Case;
use report::{Report, Row};
use scene::Place;
use testkit::operator::Operator;
use testkit::servers::{Servers, root};

use testkit::Failure;

/// Attack a worker with messages that want to harm others.
#[derive(Debug, Clone, Parser)]
#[command(name = "scripts/attack")]
struct Arguments {
    /// The broker
    #[arg(long, env = "AMQP_URL", hide_env_values = true)]
    amqp_url: String,
    /// The database
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    database_url: String,
    /// How rabbitmqctl of this broker is run, such as `docker exec rabbit rabbitmqctl`
    #[arg(long, env = "ATTACK_CTL", default_value = "")]
    ctl: String,
    /// The worker's program; by default the one that was built
    #[arg(long, env = "ATTACK_WORKER")]
    worker: Option<PathBuf>,
    /// That program is a debug build, and takes faults on demand
    #[arg(long)]
    debug_build: bool,
    /// Only this type of queues
    #[arg(long, value_parser = ["quorum", "classic"])]
    queue: Option<String>,
    /// Only cases whose names contain one of these
    #[arg(long)]
    only: Vec<String>,
    /// No cases whose names contain one of these
    #[arg(long)]
    skip: Vec<String>,
    /// Begins with the case of this number
    #[arg(long, default_value_t = 0)]
    from: usize,
    /// Seconds to wait for a message to be settled before it is left
    #[arg(long, default_value_t = 40)]
    patience: u64,
    /// How many arbitrary messages
    #[arg(long, default_value_t = 10_000)]
    messages: usize,
    /// What these follow from
    #[arg(long, default_value_t = 22)]
    seed: u64,
    /// A folder for what the workers say
    #[arg(long, default_value = ".local/attack-logs")]
    logs: PathBuf,
    /// A file for the table besides
    #[arg(long)]
    output: Option<PathBuf>,
}

impl Arguments {
    fn place(&self) -> Result<Place, Failure> {
        let logs = root().join(&self.logs);
        std::fs::create_dir_all(&logs)?;
        Ok(Place {
            servers: Servers {
                amqp_url: self.amqp_url.clone(),
                database_url: self.database_url.clone(),
            },
            program: self.worker.clone().unwrap_or_else(testkit::worker::binary),
            operator: Operator::new(&self.ctl),
            is_debug_build: self.debug_build || self.worker.is_none() && cfg!(debug_assertions),
            logs,
            patience: Duration::from_secs(self.patience),
        })
    }

    fn queue_types(&self) -> impl Iterator<Item = &'static str> {
        ["quorum", "classic"]
            .into_iter()
            .filter(|one| self.queue.as_ref().is_none_or(|wanted| wanted == one))
    }

    fn wants(&self, name: &str) -> bool {
        let names = |parts: &[String]| parts.iter().any(|part| name.contains(part));
        (self.only.is_empty() || names(&self.only)) && !names(&self.skip)
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    match attack(&Arguments::parse()).await {
        Ok(report) if report.is_good() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("the attack itself failed: {failure}");
            ExitCode::from(2)
        }
    }
}

async fn attack(arguments: &Arguments) -> Result<Report, Failure> {
    let place = arguments.place()?;
    let version = match &place.operator {
        Some(operator) => operator.version().await?,
        None => "of an unknown version".to_owned(),
    };
    let mut report = Report::begin(&version, arguments.output.clone())?;
    let mut cases = case::all();
    cases.push(case::arbitrary(arguments.seed, arguments.messages));
    let place = Arc::new(place);
    for (number, case) in cases.into_iter().enumerate().skip(arguments.from) {
        let case = Arc::new(case);
        for queue_type in arguments
            .queue_types()
            .filter(|_| arguments.wants(case.name))
        {
            report.add(row(&place, &case, queue_type, number).await)?;
        }
    }
    if arguments.wants(PACE) {
        pace(arguments, &place, &mut report).await?;
    }
    report.end()?;
    Ok(report)
}

/// Tries one case. What it shares with tests/it ends it by a panic, which must not end the others.
async fn row(place: &Arc<Place>, case: &Arc<Case>, queue_type: &'static str, number: usize) -> Row {
    if let Some(why) = place.lacks(case) {
        return Row::left_out(case, queue_type, why);
    }
    let mut task = JoinSet::new();
    let (its_place, its_case) = (place.clone(), case.clone());
    task.spawn(async move { its_place.attack(&its_case, queue_type, number).await });
    match task.join_next().await {
        Some(Ok(Ok(outcome))) => Row::of(case, queue_type, &outcome),
        Some(Ok(Err(failure))) => Row::failed(case, queue_type, &failure.to_string()),
        Some(Err(panic)) => Row::failed(case, queue_type, &panic.to_string()),
        None => Row::failed(case, queue_type, "nothing came of it"),
    }
}

/// What `--only` calls the measurement of [`pace`].
const PACE: &str = "pace";

/// A hundred messages in a row, and how much slower good requests around them get.
async fn pace(arguments: &Arguments, place: &Place, report: &mut Report) -> Result<(), Failure> {
    report.begin_pace()?;
    for queue_type in arguments.queue_types() {
        // The first one is to warm up, as connections and caches are new.
        place.pace(queue_type, None).await?;
        let without = place.pace(queue_type, None).await?;
        for (name, poison) in case::ROWS {
            let with = place.pace(queue_type, Some(poison)).await?;
            let broker = place.pace_of_broker(queue_type, poison).await?;
            report.add(Row::of_pace(name, queue_type, without, with, broker))?;
        }
    }
    Ok(())
}
