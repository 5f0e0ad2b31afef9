//! The table, and what of the bounds is broken.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use crate::case::{Case, Fate};
use crate::scene::{GOOD, Outcome};
use testkit::Failure;

/// A message is a dead letter or answered after so long at the latest (docs/contract.md).
const SETTLED_MAX: Duration = Duration::from_secs(15);

/// What the worker may have at most (docs/operations.md: 256 MiB), in MiB.
const MEMORY_MAX_MIB: u32 = 256;

const HEAD: &str = "| case | queue | neighbours: median | longest | unanswered | settled after | dead letters (without x-error) | \
                    answers | stored | ends | sessions lost | MiB | broken |";

const HEAD_OF_PACE: &str =
    "| a hundred of | queue | requests a second without | with | the broker alone with | broken |";

/// The table while it grows.
#[derive(Debug)]
pub(crate) struct Report {
    file: Option<File>,
    broken: usize,
    left_out: usize,
    rows: usize,
}

/// One line of it.
#[derive(Debug)]
pub(crate) struct Row {
    text: String,
    kind: Kind,
}

#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Good,
    Broken,
    LeftOut,
}

impl Report {
    pub(crate) fn begin(version: &str, output: Option<PathBuf>) -> Result<Self, Failure> {
        let file = output.map(File::create).transpose()?;
        let mut report = Self {
            file,
            broken: 0,
            left_out: 0,
            rows: 0,
        };
        report.say(&format!("RabbitMQ {version}\n"))?;
        report.say(HEAD)?;
        report.say(&rule(HEAD))?;
        Ok(report)
    }

    pub(crate) fn begin_pace(&mut self) -> Result<(), Failure> {
        self.say(&format!(
            "\n{GOOD} good requests that wait when the worker starts, with a hundred of these in the middle:\n"
        ))?;
        self.say(HEAD_OF_PACE)?;
        self.say(&rule(HEAD_OF_PACE))
    }

    pub(crate) fn add(&mut self, row: Row) -> Result<(), Failure> {
        self.rows += 1;
        self.broken += usize::from(row.kind == Kind::Broken);
        self.left_out += usize::from(row.kind == Kind::LeftOut);
        self.say(&row.text)
    }

    pub(crate) fn end(&mut self) -> Result<(), Failure> {
        let Self {
            rows,
            broken,
            left_out,
            ..
        } = *self;
        self.say(&format!(
            "\n{rows} attacks: {broken} break a bound, {left_out} are left out."
        ))
    }

    pub(crate) fn is_good(&self) -> bool {
        self.broken == 0 && self.rows > self.left_out
    }

    fn say(&mut self, line: &str) -> Result<(), Failure> {
        println!("{line}");
        if let Some(file) = &mut self.file {
            writeln!(file, "{line}")?;
        }
        Ok(())
    }
}

impl Row {
    pub(crate) fn left_out(case: &Case, queue_type: &str, why: &str) -> Self {
        let text = format!(
            "| {} | {queue_type} | left out: {why} |||||||||||",
            case.name
        );
        Self {
            text,
            kind: Kind::LeftOut,
        }
    }

    /// The harness itself could not go on.
    pub(crate) fn failed(case: &Case, queue_type: &str, why: &str) -> Self {
        let why = why.replace(['\n', '|'], " ");
        let text = format!(
            "| {} | {queue_type} | the attack itself failed: {why} |||||||||||",
            case.name
        );
        Self {
            text,
            kind: Kind::Broken,
        }
    }

    /// They may make it half as fast; nobody is faster than the broker delivers.
    pub(crate) fn of_pace(
        name: &str,
        queue_type: &str,
        without: Option<Duration>,
        with: Option<Duration>,
        broker: Duration,
    ) -> Self {
        let is_good = matches!((without, with), (Some(without), Some(with)) if with <= 2 * without.max(broker));
        let rate = |took: Option<Duration>| {
            took.map_or("not within the patience".to_owned(), |took| {
                format!("{:.0}", GOOD as f64 / took.as_secs_f64())
            })
        };
        let broken = if is_good {
            ""
        } else {
            "less than half as fast"
        };
        let (without, with, broker) = (rate(without), rate(with), rate(Some(broker)));
        let text = format!("| {name} | {queue_type} | {without} | {with} | {broker} | {broken} |");
        Self {
            text,
            kind: if is_good { Kind::Good } else { Kind::Broken },
        }
    }

    pub(crate) fn of(case: &Case, queue_type: &str, outcome: &Outcome) -> Self {
        let broken = broken(case, outcome);
        let Outcome {
            waits,
            settled,
            dead,
            dead_unexplained,
            answers,
            stored_max,
            ..
        } = outcome;
        let (ends, losses) = outcome.ends_and_losses();
        let settled = match settled {
            Some(_) if matches!(case.fate, Fate::Done | Fate::AllWait) => "–".to_owned(),
            Some(after) => seconds(*after),
            None => "not".to_owned(),
        };
        let text = format!(
            "| {} | {queue_type} | {} | {} | {} of {} | {settled} | {dead} ({dead_unexplained}) | {answers} | {stored_max} | {ends} | \
             {losses} | {} | {} |",
            case.name,
            seconds(waits.median()),
            seconds(waits.longest()),
            waits.unanswered,
            waits.count(),
            outcome.memory_mib(),
            broken.join("; "),
        );
        Self {
            text,
            kind: if broken.is_empty() {
                Kind::Good
            } else {
                Kind::Broken
            },
        }
    }
}

/// The line under the head of a table.
fn rule(head: &str) -> String {
    format!("|{}", "---|".repeat(head.matches('|').count() - 1))
}

/// The bounds that are broken, in words.
fn broken(case: &Case, outcome: &Outcome) -> Vec<String> {
    let Outcome {
        waits,
        settled,
        dead,
        dead_unexplained,
        stored_max,
        left,
        ..
    } = outcome;
    let (ends, _) = outcome.ends_and_losses();
    let mut broken = Vec::new();
    let mut note = |is_broken: bool, what: String| {
        if is_broken {
            broken.push(what);
        }
    };
    note(
        settled.is_none_or(|after| after > SETTLED_MAX),
        format!("not settled within {SETTLED_MAX:?}"),
    );
    note(
        *dead_unexplained > 0,
        format!("{dead_unexplained} dead letters without x-error"),
    );
    note(
        *stored_max > case.stored_max,
        format!("stored {stored_max} times"),
    );
    note(*left > 0, format!("{left} requests are left"));
    note(
        ends > case.ends_max(),
        format!("the process ended {ends} times"),
    );
    note(
        outcome.memory_mib() > MEMORY_MAX_MIB,
        format!("{} MiB", outcome.memory_mib()),
    );
    if case.fate == Fate::AllWait {
        note(
            waits.unanswered + waits.refused > 0,
            format!(
                "{} neighbours unanswered, {} refused",
                waits.unanswered, waits.refused
            ),
        );
        note(*dead > 0, format!("{dead} sound requests are dead letters"));
        note(
            waits.repeats as usize > waits.count(),
            format!("{} replies too many", waits.repeats),
        );
    } else if case.is_brokers_time {
        note(
            waits.unanswered + waits.refused > 0,
            format!("{} unanswered, {} refused", waits.unanswered, waits.refused),
        );
        note(
            waits.longest() > SETTLED_MAX,
            format!("a neighbour waits {:?}", waits.longest()),
        );
    } else {
        broken.extend(waits.broken());
    }
    broken
}

fn seconds(duration: Duration) -> String {
    if duration < Duration::from_secs(1) {
        format!("{} ms", duration.as_millis())
    } else {
        format!("{:.1} s", duration.as_secs_f64())
    }
}
