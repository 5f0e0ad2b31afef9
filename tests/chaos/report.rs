//! What is printed.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::Arguments;
use crate::ledger::Seen;
use crate::plan::{FaultKind, Plan};
use crate::request::Kind;
use crate::truth::{Check, Verdict};

/// Details of each failing check that are printed.
const DETAILS_MAX: usize = 10;

/// What became of one fault.
#[derive(Debug)]
pub(crate) struct Happened {
    pub(crate) kind: FaultKind,
    pub(crate) lasted: Duration,
    /// From the end of the faults of its step until the probe was answered.
    pub(crate) recovery: Option<Duration>,
}

/// The outcome of one run.
pub(crate) struct Outcome {
    pub(crate) seed: u64,
    pub(crate) verdict: Verdict,
    pub(crate) troubles: Vec<String>,
    pub(crate) took: Duration,
    pub(crate) requests: usize,
    pub(crate) faults: usize,
}

impl Outcome {
    pub(crate) fn is_good(&self) -> bool {
        self.troubles.is_empty() && self.verdict.faults.values().all(Vec::is_empty)
    }
}

pub(crate) fn faults(happened: &[Happened], left_out: Option<&str>) {
    let mut by_kind: BTreeMap<FaultKind, Vec<&Happened>> = BTreeMap::new();
    for one in happened {
        by_kind.entry(one.kind).or_default().push(one);
    }
    println!("\n{:<38}{:>6}{:>12}{:>20}", "faults", "count", "lasted", "answering again");
    println!("{:<38}{:>6}{:>12}{:>10}{:>10}", "", "", "median", "median", "max");
    for (kind, all) in by_kind {
        let lasted = median(all.iter().map(|one| one.lasted).collect());
        let mut recovery: Vec<_> = all.iter().filter_map(|one| one.recovery).collect();
        recovery.sort();
        let max = recovery.last().copied();
        println!(
            "  {:<36}{:>6}{:>12}{:>10}{:>10}",
            kind.name(),
            all.len(),
            seconds(lasted),
            seconds(median(recovery)),
            seconds(max)
        );
    }
    if let Some(why) = left_out {
        println!("  {:<36}{:>6}  left out: {why}", FaultKind::DiskFull.name(), 0);
    }
}

fn median(mut durations: Vec<Duration>) -> Option<Duration> {
    durations.sort();
    durations.get(durations.len() / 2).copied()
}

fn seconds(duration: Option<Duration>) -> String {
    duration.map_or("never".to_owned(), |duration| format!("{:.1} s", duration.as_secs_f64()))
}

pub(crate) fn load(plan: &Plan, seen: &Seen) {
    println!("\n{:<38}{:>10}{:>12}{:>12}", "requests", "count", "published", "answers");
    let mut sums = (0, 0, 0);
    for kind in Kind::ALL {
        let of_kind = plan.requests.iter().enumerate().filter(|(_, request)| request.kind == kind);
        let (mut count, mut published, mut answers) = (0, 0, 0);
        for (number, _) in of_kind {
            count += 1;
            published += seen.published[number] as usize;
            answers += seen.replies[number].len();
        }
        println!("  {:<36}{count:>10}{published:>12}{answers:>12}", kind.name());
        sums = (sums.0 + count, sums.1 + published, sums.2 + answers);
    }
    println!("  {:<36}{:>10}{:>12}{:>12}", "all", sums.0, sums.1, sums.2);
}

pub(crate) fn verdict(outcome: &Outcome, seen: &Seen, memory: &str, logs: &str, arguments: &Arguments) {
    let verdict = &outcome.verdict;
    println!("\n{:<38}{:>10}", "outcomes", "requests");
    for (code, count) in &verdict.codes {
        println!("  {:<36}{count:>10}", if *code == 0 { "0 (added; batch form)".to_owned() } else { code.to_string() });
    }
    println!("\n{:<38}{:>10}{:>12}", "what came of them", "count", "repeats");
    println!("  {:<36}{:>10}{:>12}", "answers", seen.answered, verdict.answers_again);
    println!("  {:<36}{:>10}{:>12}", "profiles", verdict.profiles, format!("{} *", verdict.not_promised));
    println!("  {:<36}{:>10}{:>12}", "trigger events", verdict.events, verdict.events_again);
    println!("  {:<36}{:>10}{:>12}", "dead letters", verdict.dead_letters, verdict.dead_letters_again);
    println!("  * of requests with neither message_id nor email, of which that is not promised");
    println!("  published again, as the broker went away before it confirmed: {}", seen.published_again);
    println!("  sent again, as the queue of the reply was deleted: {}", seen.sent_again);
    println!("  memory of the workers: {memory}");
    println!("  what the workers said: {logs}");

    for (check, details) in verdict.faults.iter().filter(|(_, details)| !details.is_empty()) {
        list(&check.to_string(), details);
    }
    if !outcome.troubles.is_empty() {
        list("trouble", &outcome.troubles);
    }
    let [lost, twice, wrong] = [Check::Lost, Check::Twice, Check::Wrong].map(|check| verdict.count(check));
    println!("\nlost {lost}, twice {twice}, wrong {wrong}, trouble {}", outcome.troubles.len());
    println!("{} in {:.0} s", if outcome.is_good() { "PASSED" } else { "FAILED" }, outcome.took.as_secs_f64());
    println!("the same again: {}", arguments.to_command(outcome.seed));
}

fn list(title: &str, details: &[String]) {
    println!("\n{title}: {}", details.len());
    for detail in details.iter().take(DETAILS_MAX) {
        println!("  - {}", detail.replace('\n', "\n    "));
    }
    if details.len() > DETAILS_MAX {
        println!("  … and {} more", details.len() - DETAILS_MAX);
    }
}

pub(crate) fn summary(outcomes: &[Outcome]) {
    println!(
        "\n{:<22}{:>10}{:>8}{:>10}{:>6}{:>7}{:>7}{:>9}{:>8}",
        "seed", "requests", "faults", "profiles", "lost", "twice", "wrong", "trouble", ""
    );
    for outcome in outcomes {
        let verdict = &outcome.verdict;
        println!(
            "{:<22}{:>10}{:>8}{:>10}{:>6}{:>7}{:>7}{:>9}  {} in {:.0} s",
            outcome.seed,
            outcome.requests,
            outcome.faults,
            verdict.profiles,
            verdict.count(Check::Lost),
            verdict.count(Check::Twice),
            verdict.count(Check::Wrong),
            outcome.troubles.len(),
            if outcome.is_good() { "passed" } else { "FAILED" },
            outcome.took.as_secs_f64()
        );
    }
}
