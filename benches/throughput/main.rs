//! How fast the worker is, beside others: `make bench` runs this, and docs/performance.md tells how
//! it measures.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "that is its job")]

mod amqp;
mod chart;
mod load;
mod plan;
mod processes;
mod report;
mod surroundings;
mod workers;

use std::fs;
use std::io::IsTerminal;
use std::path::Path;

use plan::{Plan, USAGE};
use report::{Measured, Report};
use surroundings::Surroundings;

/// Where results go.
const OUTPUT: &str = "target/bench";

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result<()> {
    // `cargo test --all-targets` runs this, too; there it has nothing to say.
    if !std::env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    if std::env::args().any(|argument| argument == "--help") {
        println!("{USAGE}");
        return Ok(());
    }
    let plan = Plan::from_words(std::env::args().skip(1)).unwrap_or_else(|error| {
        eprintln!("{error}");
        std::process::exit(64);
    });
    let surroundings = Surroundings::prepare(&plan)?;
    let report = Report::new(&surroundings, &plan, run(&surroundings, &plan)?);
    print!("{}", report.to_markdown());
    let folder = Path::new(OUTPUT);
    fs::create_dir_all(folder)?;
    fs::write(
        folder.join("throughput.json"),
        serde_json::to_string_pretty(&report)?,
    )?;
    if let Some(chart) = chart::draw(&report) {
        fs::write(folder.join("throughput.svg"), chart)?;
    }
    eprintln!("written to {}", folder.display());
    Ok(())
}

/// In each round every worker has its turn with a case before the next case comes: what is compared
/// is measured within seconds of each other, and another one begins each time.
fn run(surroundings: &Surroundings, plan: &Plan) -> Result<Vec<Measured>> {
    let mut measured: Vec<_> = plan
        .cases
        .iter()
        .flat_map(|(case, workers)| workers.iter().map(|worker| Measured::new(*worker, *case)))
        .collect();
    let all = measured.len() * plan.rounds;
    let mut done = 0;
    // Together all rounds of a case are one.
    let rounds = if plan.together { 1 } else { plan.rounds };
    for round in 0..rounds {
        let mut rest = measured.as_mut_slice();
        for (_, workers) in &plan.cases {
            let (turns, others) = rest.split_at_mut(workers.len());
            rest = others;
            if plan.together {
                let case = turns[0].case;
                let rounds = load::measure_together(surroundings, workers, case, plan)?;
                turns
                    .iter_mut()
                    .zip(rounds)
                    .for_each(|(turn, rounds)| turn.rounds = rounds);
                continue;
            }
            for place in 0..turns.len() {
                let turn = &mut turns[(place + round) % workers.len()];
                if std::io::stderr().is_terminal() {
                    eprint!("\r\x1b[K{done} of {all}: {turn}");
                }
                let measurement = load::measure(surroundings, turn.worker, turn.case, plan);
                turn.rounds
                    .push(measurement.map_err(|error| format!("{turn}: {error}"))?);
                done += 1;
            }
        }
        let clear = if std::io::stderr().is_terminal() {
            "\r\x1b[K"
        } else {
            ""
        };
        eprintln!("{clear}round {} of {rounds}", round + 1);
    }
    Ok(measured)
}
