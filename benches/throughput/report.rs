//! What was measured, as tables for people and as JSON for programs.

use std::fmt;
use std::fs;
use std::process::Command;

use serde::Serialize;

use crate::load::Measurement;
use crate::plan::{BASE, Case, Plan, Workload};
use crate::surroundings::Surroundings;
use crate::workers::Worker;

/// Everything about one run.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) date: String,
    pub(crate) machine: String,
    pub(crate) versions: String,
    pub(crate) rounds: usize,
    pub(crate) requests: usize,
    pub(crate) figures: Vec<Figures>,
    builds: Vec<Builds>,
}

/// A worker under one load, round by round.
pub(crate) struct Measured {
    pub(crate) worker: Worker,
    pub(crate) case: Case,
    pub(crate) rounds: Vec<Measurement>,
}

impl Measured {
    pub(crate) fn new(worker: Worker, case: Case) -> Self {
        Self {
            worker,
            case,
            rounds: Vec::new(),
        }
    }

    /// Over all rounds, of those that have it.
    fn spread(&self, value: impl Fn(&Measurement) -> Option<f64>) -> Option<Spread> {
        Spread::of(self.rounds.iter().filter_map(value).collect())
    }

    /// Round by round: this one's to the other's.
    fn ratios(&self, other: &Self, value: impl Fn(&Measurement) -> Option<f64>) -> Vec<f64> {
        let pairs = self.rounds.iter().zip(&other.rounds);
        pairs
            .filter_map(|(own, other)| Some(value(own)? / value(other)?))
            .collect()
    }

    fn ratio(&self, other: &Self, value: impl Fn(&Measurement) -> Option<f64>) -> Option<Spread> {
        Spread::of(self.ratios(other, value))
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Case {
            workload,
            queue,
            shape,
        } = self.case;
        write!(
            f,
            "{} with {}, {}, {}",
            self.worker.name(),
            workload.name(),
            queue.name(),
            shape.name
        )
    }
}

/// The median with the least and the most.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            values[middle]
        } else {
            (values[middle - 1] + values[middle]) / 2.0
        };
        Some(Self { median, min, max })
    }
}

/// What can be said of the median of pairs: it lies between `low` and `high` with 95 % certainty,
/// whatever the distribution is.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Interval {
    pairs: usize,
    median: f64,
    low: f64,
    high: f64,
}

impl Interval {
    /// `None` with fewer than six pairs, of which nothing can be said with that certainty.
    fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let pairs = values.len();
        // How many of the pairs lie below the true median is binomial with 1/2 (sign test): as many
        // are left out at each end as that allows.
        let (mut tail, mut term, mut left_out) = (0.0, 0.5_f64.powi(i32::try_from(pairs).ok()?), 0);
        while tail + term <= 0.025 {
            tail += term;
            term *= (pairs - left_out) as f64 / (left_out + 1) as f64;
            left_out += 1;
        }
        let place = left_out.checked_sub(1)?;
        let (low, high) = (*values.get(place)?, *values.get(pairs - 1 - place)?);
        Some(Self {
            pairs,
            median: Spread::of(values)?.median,
            low,
            high,
        })
    }
}

/// Our worker beside another build of it, pair by pair.
#[derive(Debug, Serialize)]
pub(crate) struct Builds {
    case: Case,
    rate: Option<Interval>,
    p50: Option<Interval>,
    p99: Option<Interval>,
    worker_cpu: Option<Interval>,
}

impl Builds {
    fn new(own: &Measured, other: &Measured) -> Self {
        let pairs = |value: fn(&Measurement) -> Option<f64>| Interval::of(own.ratios(other, value));
        Self {
            case: own.case,
            rate: pairs(|m| Some(m.rate)),
            p50: pairs(|m| m.p50),
            p99: pairs(|m| m.p99),
            worker_cpu: pairs(|m| m.cpu.map(|cpu| cpu.worker)),
        }
    }
}

/// What is told of a worker under one load.
#[derive(Debug, Serialize)]
pub(crate) struct Figures {
    pub(crate) worker: &'static str,
    pub(crate) case: Case,
    /// Requests per second.
    pub(crate) rate: Spread,
    /// The rate, to what it is compared with.
    rate_ratio: Option<Spread>,
    p50_ms: Option<Spread>,
    p50_ratio: Option<Spread>,
    p99_ms: Option<Spread>,
    p99_ratio: Option<Spread>,
    /// CPU in ms per 1000 requests.
    worker_cpu: Option<Spread>,
    worker_cpu_ratio: Option<Spread>,
    broker_cpu: Option<Spread>,
    database_cpu: Option<Spread>,
    generator_cpu: Option<Spread>,
    /// The most in any round, in MiB.
    peak_memory: Option<f64>,
}

impl Figures {
    fn new(own: &Measured, other: Option<&Measured>) -> Option<Self> {
        let rate = |m: &Measurement| Some(m.rate);
        let worker_cpu = |m: &Measurement| m.cpu.map(|cpu| cpu.worker);
        Some(Self {
            worker: own.worker.name(),
            case: own.case,
            rate: own.spread(rate)?,
            rate_ratio: other.and_then(|other| own.ratio(other, rate)),
            p50_ms: own.spread(|m| m.p50),
            p50_ratio: other.and_then(|other| own.ratio(other, |m| m.p50)),
            p99_ms: own.spread(|m| m.p99),
            p99_ratio: other.and_then(|other| own.ratio(other, |m| m.p99)),
            worker_cpu: own.spread(worker_cpu),
            worker_cpu_ratio: other.and_then(|other| own.ratio(other, worker_cpu)),
            broker_cpu: own.spread(|m| m.cpu.map(|cpu| cpu.broker)),
            database_cpu: own.spread(|m| m.cpu.map(|cpu| cpu.database)),
            generator_cpu: own.spread(|m| m.cpu.map(|cpu| cpu.generator)),
            peak_memory: own.spread(|m| m.memory).map(|memory| memory.max),
        })
    }
}

impl Report {
    pub(crate) fn new(surroundings: &Surroundings, plan: &Plan, measured: Vec<Measured>) -> Self {
        let find = |worker: Worker, case: Case| {
            measured
                .iter()
                .find(|m| m.worker == worker && m.case == case)
        };
        let figures = measured.iter().filter_map(|own| {
            // The base shows the workers side by side, a variation what it costs the same worker.
            let other = if own.case.shape == BASE {
                find(Worker::BarePipeline, own.case)
            } else {
                find(
                    own.worker,
                    Case {
                        shape: BASE,
                        ..own.case
                    },
                )
            };
            Figures::new(own, other.filter(|other| !std::ptr::eq(*other, own)))
        });
        let builds = measured
            .iter()
            .filter(|own| own.worker == Worker::Ours)
            .filter_map(|own| {
                let other = find(Worker::Other, own.case)?;
                Some(Builds::new(own, other))
            });
        Self {
            date: jiff::Timestamp::now().strftime("%Y-%m-%d").to_string(),
            machine: machine(),
            versions: format!(
                "profile-worker {}, RabbitMQ {}, PostgreSQL {}, lapin {}, tokio-postgres {}, {}",
                output("git", &["describe", "--always", "--dirty"]).unwrap_or_default(),
                surroundings.broker_version,
                surroundings.database_version,
                locked("lapin"),
                locked("tokio-postgres"),
                output("rustc", &["--version"]).unwrap_or_default(),
            ),
            rounds: plan.rounds,
            requests: plan.requests,
            figures: figures.collect(),
            builds: builds.collect(),
        }
    }

    /// Tables in Markdown.
    pub(crate) fn to_markdown(&self) -> String {
        let Self {
            date,
            machine,
            versions,
            rounds,
            requests,
            ..
        } = self;
        let mut text = format!(
            "{date}. {machine}. {versions}. Medians of {rounds} rounds (least–most), backlogs of {requests}.\n"
        );
        for workload in Workload::ALL {
            let heading = match workload {
                Workload::Backlog => "Backlog",
                Workload::One => "One at a time",
                Workload::SixtyFour => "64 at a time",
            };
            self.table(&mut text, heading, "×bare", "queue", |case| {
                (case.workload == workload && case.shape == BASE)
                    .then(|| case.queue.name().to_owned())
            });
        }
        self.table(&mut text, "One thing changed", "×base", "load", |case| {
            let Case {
                workload,
                queue,
                shape,
            } = case;
            (shape != BASE)
                .then(|| format!("{}, {}, {}", shape.name, workload.name(), queue.name()))
        });
        self.beside_other_build(&mut text);
        text
    }

    /// Where no line is, there were too few pairs.
    fn beside_other_build(&self, text: &mut String) {
        let rows: Vec<_> = self
            .builds
            .iter()
            .filter(|builds| builds.rate.is_some())
            .collect();
        if rows.is_empty() {
            return;
        }
        *text += "\n### Beside the other build\n\nOurs to the other, pair by pair: median (its 95 % interval).\n\n";
        let head = ["load", "pairs", "requests/s", "p50", "p99", "worker CPU"];
        *text += &line(&head);
        *text += &line(&["---"; 6]);
        for Builds {
            case:
                Case {
                    workload,
                    queue,
                    shape,
                },
            rate,
            p50,
            p99,
            worker_cpu,
        } in rows
        {
            *text += &line(&[
                format!("{}, {}, {}", workload.name(), queue.name(), shape.name),
                rate.map_or(0, |rate| rate.pairs).to_string(),
                interval(*rate),
                interval(*p50),
                interval(*p99),
                interval(*worker_cpu),
            ]);
        }
    }

    fn table(
        &self,
        text: &mut String,
        heading: &str,
        ratio: &str,
        label: &str,
        choose: impl Fn(Case) -> Option<String>,
    ) {
        let rows: Vec<_> = self
            .figures
            .iter()
            .filter_map(|f| Some((choose(f.case)?, f)))
            .collect();
        if rows.is_empty() {
            return;
        }
        let has_trips = rows.iter().any(|(_, f)| f.p50_ms.is_some());
        let mut head = vec![label, "worker", "requests/s", ratio];
        if has_trips {
            head.extend(["p50 ms", ratio, "p99 ms", ratio]);
        }
        head.extend([
            "worker CPU",
            ratio,
            "broker CPU",
            "PostgreSQL CPU",
            "generator CPU",
            "peak MiB",
        ]);
        *text += &format!("\n### {heading}\n\n{}", line(&head));
        *text += &line(&vec!["---"; head.len()]);
        for (label, f) in &rows {
            let mut cells = vec![
                label.clone(),
                f.worker.to_owned(),
                spread(Some(f.rate), 0),
                spread(f.rate_ratio, 2),
            ];
            if has_trips {
                cells.extend([spread(f.p50_ms, 2), spread(f.p50_ratio, 2)]);
                cells.extend([spread(f.p99_ms, 2), spread(f.p99_ratio, 2)]);
            }
            cells.extend([median(f.worker_cpu, 0), spread(f.worker_cpu_ratio, 2)]);
            cells.extend([f.broker_cpu, f.database_cpu, f.generator_cpu].map(|cpu| median(cpu, 0)));
            cells.push(
                f.peak_memory
                    .map_or("–".to_owned(), |memory| format!("{memory:.0}")),
            );
            *text += &line(&cells);
        }
    }
}

fn line(cells: &[impl AsRef<str>]) -> String {
    cells.iter().fold("|".to_owned(), |line, cell| {
        line + " " + cell.as_ref() + " |"
    }) + "\n"
}

fn median(value: Option<Spread>, digits: usize) -> String {
    value.map_or("–".to_owned(), |value| {
        format!("{:.digits$}", value.median)
    })
}

fn spread(value: Option<Spread>, digits: usize) -> String {
    value.map_or("–".to_owned(), |Spread { median, min, max }| {
        format!("{median:.digits$} ({min:.digits$}–{max:.digits$})")
    })
}

fn interval(value: Option<Interval>) -> String {
    value.map_or(
        "–".to_owned(),
        |Interval {
             median, low, high, ..
         }| format!("{median:.3} ({low:.3}–{high:.3})"),
    )
}

fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = processors
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map(|(_, m)| m);
    let system = output("uname", &["-sr"]).unwrap_or_default();
    format!(
        "{cores} cores for everything ({}), {system}",
        model.unwrap_or(std::env::consts::ARCH)
    )
}

/// The version of a dependency.
fn locked(name: &str) -> &'static str {
    let lock = include_str!("../../Cargo.lock");
    let entry = lock.split_once(&format!("name = \"{name}\"\nversion = \""));
    entry
        .and_then(|(_, rest)| rest.split('"').next())
        .unwrap_or_default()
}

fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}
