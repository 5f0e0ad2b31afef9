//! What is printed.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::Arguments;
use testkit::load::ledger::Seen;
use testkit::load::plan::{FaultKind, Plan};
use testkit::load::request::Kind;
use testkit::load::truth::{Check, Verdict};

/// Details of each failing check that are printed.
const DETAILS_MAX: usize = 10;

/// What became of one fault.
#[derive(Debug)]
pub(crate) struct Happened {
    pub(crate) kind: FaultKind,
    pub(crate) lasted: Duration,
    /// The begin of its step, and the end of the faults of it.
    pub(crate) start: Instant,
    pub(crate) over: Instant,
    /// From then until the probe was answered.
    pub(crate) recovery: Option<Duration>,
    /// Answers and events that were said again during the step: what it has hit.
    pub(crate) repeats: usize,
}

impl Happened {
    /// From the end of the faults until all that was published in their step was answered. Replies
    /// that may be lost with their queue don't count.
    fn caught_up(&self, plan: &Plan, seen: &Seen) -> Option<Duration> {
        let mut last = self.over;
        for (request, times) in seen.times.iter().enumerate() {
            if times
                .published
                .is_some_and(|at| at >= self.start && at <= self.over)
                && !plan.is_fleeting(request)
            {
                last = last.max(times.answered?);
            }
        }
        Some(last - self.over)
    }
}

/// The outcome of one run.
pub(crate) struct Outcome {
    pub(crate) seed: u64,
    pub(crate) verdict: Verdict,
    pub(crate) troubles: Vec<String>,
    pub(crate) took: Duration,
    pub(crate) requests: usize,
    pub(crate) faults: usize,
    /// Without a standby that has each commit rows are lost, and what follows from it is no fault
    /// of ours.
    pub(crate) may_lose: bool,
}

impl Outcome {
    pub(crate) fn is_good(&self) -> bool {
        self.troubles.is_empty()
            && (self.may_lose || self.verdict.faults.values().all(Vec::is_empty))
    }
}

pub(crate) fn faults(happened: &[Happened], plan: &Plan, seen: &Seen, left_out: Option<&str>) {
    let mut by_kind: BTreeMap<FaultKind, Vec<&Happened>> = BTreeMap::new();
    for one in happened {
        by_kind.entry(one.kind).or_default().push(one);
    }
    println!(
        "\n{:<38}{:>6}{:>10}{:>20}{:>20}{:>10}",
        "faults", "count", "lasted", "answering again", "all answered", "repeats"
    );
    println!(
        "{:<38}{:>6}{:>10}{:>10}{:>10}{:>10}{:>10}",
        "", "", "median", "median", "max", "median", "max"
    );
    for (kind, all) in by_kind {
        let lasted = median(all.iter().map(|one| Some(one.lasted)).collect());
        let (recovery, recovery_max) = median_and_max(all.iter().map(|one| one.recovery).collect());
        let (caught_up, caught_up_max) =
            median_and_max(all.iter().map(|one| one.caught_up(plan, seen)).collect());
        println!(
            "  {:<36}{:>6}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}",
            kind.name(),
            all.len(),
            seconds(lasted),
            seconds(recovery),
            seconds(recovery_max),
            seconds(caught_up),
            seconds(caught_up_max),
            all.iter().map(|one| one.repeats).sum::<usize>()
        );
    }
    if let Some(why) = left_out {
        println!(
            "  {:<36}{:>6}  left out: {why}",
            FaultKind::DiskFull.name(),
            0
        );
    }
    println!(
        "  seconds from the end of the fault until a new request was answered, and all that were published since"
    );
    println!(
        "  shortly before it; answers and events that came once more, of which each is allowed"
    );
}

/// Of two in the middle the longer one; what never came is the longest.
fn median(mut durations: Vec<Option<Duration>>) -> Option<Duration> {
    durations.sort_by_key(|duration| duration.unwrap_or(Duration::MAX));
    durations.get(durations.len() / 2).copied().flatten()
}

fn median_and_max(durations: Vec<Option<Duration>>) -> (Option<Duration>, Option<Duration>) {
    let max = durations
        .iter()
        .max_by_key(|duration| duration.unwrap_or(Duration::MAX))
        .copied()
        .flatten();
    (median(durations), max)
}

fn seconds(duration: Option<Duration>) -> String {
    duration.map_or("never".to_owned(), |duration| {
        format!("{:.1} s", duration.as_secs_f64())
    })
}

pub(crate) fn load(plan: &Plan, seen: &Seen) {
    println!(
        "\n{:<38}{:>10}{:>12}{:>12}",
        "requests", "count", "published", "answers"
    );
    let mut sums = (0, 0, 0);
    for kind in Kind::ALL {
        let of_kind = plan
            .requests
            .iter()
            .enumerate()
            .filter(|(_, request)| request.kind == kind);
        let (mut count, mut published, mut answers) = (0, 0, 0);
        for (number, _) in of_kind {
            count += 1;
            published += seen.published[number] as usize;
            answers += seen.replies[number].len();
        }
        println!(
            "  {:<36}{count:>10}{published:>12}{answers:>12}",
            kind.name()
        );
        sums = (sums.0 + count, sums.1 + published, sums.2 + answers);
    }
    println!("  {:<36}{:>10}{:>12}{:>12}", "all", sums.0, sums.1, sums.2);
}

pub(crate) fn verdict(
    outcome: &Outcome,
    seen: &Seen,
    memory: &str,
    logs: &str,
    arguments: &Arguments,
) {
    let verdict = &outcome.verdict;
    println!("\n{:<38}{:>10}", "outcomes", "requests");
    for (code, count) in &verdict.codes {
        println!(
            "  {:<36}{count:>10}",
            if *code == 0 {
                "0 (added; batch form)".to_owned()
            } else {
                code.to_string()
            }
        );
    }
    println!(
        "\n{:<38}{:>10}{:>12}",
        "what came of them", "count", "repeats"
    );
    println!(
        "  {:<36}{:>10}{:>12}",
        "answers", seen.answered, verdict.answers_again
    );
    println!(
        "  {:<36}{:>10}{:>12}",
        "profiles",
        verdict.profiles,
        format!("{} *", verdict.not_promised)
    );
    println!(
        "  {:<36}{:>10}{:>12}",
        "trigger events", verdict.events, verdict.events_again
    );
    println!(
        "  {:<36}{:>10}{:>12}",
        "dead letters", verdict.dead_letters, verdict.dead_letters_again
    );
    println!("  * of requests with neither message_id nor email, of which that is not promised");
    if verdict.not_announced > 0 {
        println!(
            "    the first of the two was told of in a reply and in no event: {}",
            verdict.not_announced
        );
    }
    if verdict.own_conflicts > 0 {
        println!(
            "  told 409 of their own profile, as they had no message_id and were published again: {}",
            verdict.own_conflicts
        );
    }
    println!(
        "  published again, as the broker went away before it confirmed: {}",
        seen.published_again
    );
    println!(
        "  sent again, as the queue of the reply was deleted: {}",
        seen.sent_again
    );
    println!("  memory of the workers: {memory}");
    println!("  what the workers said: {logs}");

    if outcome.may_lose {
        println!(
            "\nAsynchronous replication: of the profiles that were answered as added {} are gone with the old primaries.",
            verdict.gone
        );
        println!(
            "What follows from that (an email that is free again, another id when asked again) fails nothing here."
        );
    } else {
        for (check, details) in verdict
            .faults
            .iter()
            .filter(|(_, details)| !details.is_empty())
        {
            list(&check.to_string(), details);
        }
    }
    if !outcome.troubles.is_empty() {
        list("trouble", &outcome.troubles);
    }
    let [lost, twice, wrong] =
        [Check::Lost, Check::Twice, Check::Wrong].map(|check| verdict.count(check));
    println!(
        "\nlost {lost}, twice {twice}, wrong {wrong}, trouble {}",
        outcome.troubles.len()
    );
    let word = match (outcome.is_good(), outcome.may_lose) {
        (false, _) => "FAILED",
        (true, false) => "PASSED",
        (true, true) => "MEASURED",
    };
    println!("{word} in {:.0} s", outcome.took.as_secs_f64());
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
            if outcome.is_good() {
                "passed"
            } else {
                "FAILED"
            },
            outcome.took.as_secs_f64()
        );
    }
}
