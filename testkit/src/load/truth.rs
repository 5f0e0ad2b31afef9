//! The check: what was published against what was answered, stored and announced.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;

use serde_json::Value;

use crate::Failure;
use crate::load::ledger::{Reply, Seen, Source};
use crate::load::plan::Plan;
use crate::load::request::{Entry, Expected, MARKER, ReplyTo, Request, Subscription, same};
use crate::load::{FORGED, GONE, reply_queue};
use crate::session::Session;

/// How often a request with neither `message_id` nor email may be stored at most
/// (docs/contract.md).
const STORED_MAX: usize = 2;

/// The promises, and what else must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Check {
    /// A request without an answer, a profile, an event or a dead letter that is missing.
    Lost,
    /// A profile or an email that is there twice.
    Twice,
    /// Anything that is not as it should be.
    Wrong,
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lost => "lost",
            Self::Twice => "twice",
            Self::Wrong => "wrong",
        })
    }
}

/// What was found.
#[derive(Debug, Default)]
pub struct Verdict {
    pub faults: BTreeMap<Check, Vec<String>>,
    pub profiles: usize,
    pub events: usize,
    pub dead_letters: usize,
    /// Profiles of requests with neither message_id nor email that are there once more.
    pub not_promised: usize,
    /// Of those that are there once more: told of in a reply, and in no event.
    pub not_announced: usize,
    /// Requests without a message_id that were told 409 of their own profile, as they had been
    /// published once more.
    pub own_conflicts: usize,
    /// Profiles that an answer told of and that are not there.
    pub gone: usize,
    /// Answers beyond the first of each request.
    pub answers_again: usize,
    pub events_again: usize,
    pub dead_letters_again: usize,
    /// How many requests were answered with which code.
    pub codes: BTreeMap<i64, usize>,
}

impl Verdict {
    pub fn count(&self, check: Check) -> usize {
        self.faults.get(&check).map_or(0, Vec::len)
    }

    fn note(&mut self, check: Check, what: String) {
        self.faults.entry(check).or_default().push(what);
    }
}

/// What stands in the database.
pub struct Stored {
    /// All profiles, by their markers.
    rows: HashMap<String, Vec<Row>>,
    /// Of which profiles there are subscriptions only.
    orphans: Vec<(i64, String)>,
}

/// A row of `profiles` with its subscriptions.
struct Row {
    db_id: i64,
    id: String,
    email: Option<String>,
    data: Value,
    subscriptions: Vec<Subscription>,
}

/// What the replies say of one entry.
#[derive(Default)]
struct Told {
    ids: HashSet<String>,
    conflicts: usize,
}

/// Compares.
pub fn check(plan: &Plan, seen: &Seen, stored: Stored) -> Verdict {
    let mut verdict = Verdict::default();
    for (db_id, id) in stored.orphans {
        verdict.note(
            Check::Wrong,
            format!("subscriptions without a profile: {id} of database {db_id}"),
        );
    }
    let mut rows = stored.rows;
    verdict.profiles = rows.values().map(Vec::len).sum();
    let mut told: HashMap<&str, Told> = HashMap::new();
    for (number, request) in plan.requests.iter().enumerate() {
        check_replies(number, request, seen, &mut told, &mut verdict);
    }
    let mut excused = HashSet::new();
    let mut announced = HashSet::new();
    for (number, request) in plan.requests.iter().enumerate() {
        for entry in request.entries() {
            let stored = rows.remove(&entry.marker).unwrap_or_default();
            let is_told = told
                .get(entry.marker.as_str())
                .is_some_and(|told| !told.ids.is_empty());
            // The broker may have delivered a copy that it had not confirmed and lost when it was
            // killed. The next copy is another request, as it has no name.
            if request.message_id.is_none()
                && seen.published[number] > 1
                && !is_told
                && !stored.is_empty()
            {
                excused.insert(&entry.marker);
                verdict.own_conflicts += 1;
            } else {
                check_rows(number, request, entry, &stored, &told, seen, &mut verdict);
            }
            check_events(
                number,
                request,
                entry,
                &stored,
                &told,
                seen,
                &mut announced,
                &mut verdict,
            );
        }
    }
    check_emails(plan, seen, &told, &excused, &mut verdict);
    for (marker, rows) in rows {
        verdict.note(
            Check::Wrong,
            format!("{} profiles that nobody asked for: {marker}", rows.len()),
        );
    }
    for id in seen.events.keys().filter(|id| !announced.contains(*id)) {
        verdict.note(
            Check::Wrong,
            format!("an event {id} that belongs to no profile that wanted one"),
        );
    }
    check_dead_letters(plan, seen, &mut verdict);
    for stray in &seen.strays {
        verdict.note(
            Check::Wrong,
            format!("a message that belongs to no request: {stray}"),
        );
    }
    verdict.events = seen.events.len();
    verdict.events_again = seen.events.values().map(|events| events.len() - 1).sum();
    verdict.answers_again = seen
        .replies
        .iter()
        .map(|replies| replies.len().saturating_sub(1))
        .sum();
    verdict
}

/// Reads the database.
pub async fn stored(database: &Session) -> Result<Stored, Failure> {
    let mut subscriptions: HashMap<(i64, String), Vec<Subscription>> = HashMap::new();
    let sql = "SELECT db_id, profile_id, resource_id, channel, address FROM subscriptions \
               ORDER BY db_id, profile_id, position";
    for row in database.client.query(sql, &[]).await? {
        let list = subscriptions.entry((row.get(0), row.get(1))).or_default();
        list.push((row.get(2), row.get(3), row.get(4)));
    }
    let mut rows: HashMap<String, Vec<Row>> = HashMap::new();
    for row in database
        .client
        .query("SELECT db_id, id, email, data::text FROM profiles", &[])
        .await?
    {
        let (db_id, id): (i64, String) = (row.get(0), row.get(1));
        let data: Value = serde_json::from_str(row.get(3))?;
        let marker = data[MARKER].as_str().unwrap_or_default().to_owned();
        let subscriptions = subscriptions
            .remove(&(db_id, id.clone()))
            .unwrap_or_default();
        rows.entry(marker).or_default().push(Row {
            db_id,
            id,
            email: row.get(2),
            data,
            subscriptions,
        });
    }
    Ok(Stored {
        rows,
        orphans: subscriptions.into_keys().collect(),
    })
}

fn check_replies<'p>(
    number: usize,
    request: &'p Request,
    seen: &Seen,
    told: &mut HashMap<&'p str, Told>,
    verdict: &mut Verdict,
) {
    let replies = &seen.replies[number];
    let Some(first) = replies.first() else {
        let published = seen.published[number];
        let confirmed = seen.confirmed.contains(&number);
        let what = format!(
            "no answer to {}, published {published} times, confirmed: {confirmed}",
            describe(number, request)
        );
        return verdict.note(Check::Lost, what);
    };
    *verdict.codes.entry(code(&first.said)).or_default() += 1;
    // Only of a request without a name may each copy be a request of its own, and only of one with
    // neither name nor email each delivery.
    let is_one = request.message_id.is_some()
        || (seen.published[number] == 1
            && request
                .entries()
                .iter()
                .all(|entry| request.promises(entry)));
    if is_one && let Some(other) = replies.iter().find(|reply| reply.said != first.said) {
        let what = format!(
            "two answers to {}: {} and {}",
            describe(number, request),
            first.said,
            other.said
        );
        verdict.note(Check::Wrong, what);
    }
    for reply in replies {
        if let Some(wrong) = wrong_place(request.reply_to, reply) {
            verdict.note(
                Check::Wrong,
                format!("the reply to {} {wrong}", describe(number, request)),
            );
        }
        if let Some(wrong) = wrong_reply(request, reply, told) {
            verdict.note(
                Check::Wrong,
                format!(
                    "{wrong} in the reply to {}: {}",
                    describe(number, request),
                    reply.said
                ),
            );
        }
    }
}

/// What is wrong with where a reply came.
fn wrong_place(reply_to: ReplyTo, reply: &Reply) -> Option<String> {
    let original = reply.original_reply_to.as_deref();
    let is_right = match (reply_to, reply.source) {
        (ReplyTo::Steady, Source::Steady)
        | (ReplyTo::Fleeting, Source::Fleeting)
        | (ReplyTo::Nowhere, Source::Results) => original.is_none(),
        (ReplyTo::Fleeting, Source::Results) => original == reply_queue(ReplyTo::Fleeting),
        (ReplyTo::Gone, Source::Results) => original == Some(GONE),
        (ReplyTo::Forged, Source::Results) => original == Some(FORGED),
        _ => false,
    };
    (!is_right).then(|| {
        let wanted = reply_queue(reply_to).unwrap_or("the result queue");
        format!(
            "came in {} instead of {wanted} (x-original-reply-to: {original:?})",
            reply.source.queue()
        )
    })
}

/// What is wrong with what a reply says; and what it says of each profile.
fn wrong_reply<'p>(
    request: &'p Request,
    reply: &Reply,
    told: &mut HashMap<&'p str, Told>,
) -> Option<String> {
    let said = &reply.said;
    if reply.error_header != Some(code(said)) {
        return Some(format!("the header error is {:?}", reply.error_header));
    }
    match &request.expected {
        Expected::Error(expected) => wrong_code(*expected, said),
        Expected::DeadLetter | Expected::Refused => wrong_code(400, said),
        Expected::One(entry) => wrong_outcome(entry, said, told),
        Expected::Many(entries) => {
            let results = said["result"].as_array().map_or(&[][..], Vec::as_slice);
            if code(said) != 0 || results.len() != entries.len() {
                return Some(format!(
                    "{} outcomes of {} profiles",
                    results.len(),
                    entries.len()
                ));
            }
            let mut wrong = entries
                .iter()
                .zip(results)
                .map(|(entry, result)| wrong_outcome(entry, result, told));
            // All of them, as each is noted.
            wrong
                .by_ref()
                .fold(None, |first: Option<String>, next| first.or(next))
        }
    }
}

fn code(said: &Value) -> i64 {
    said["error"].as_i64().unwrap_or(-1)
}

fn wrong_code(expected: i64, said: &Value) -> Option<String> {
    (code(said) != expected).then(|| format!("{} instead of {expected}", code(said)))
}

fn wrong_outcome<'p>(
    entry: &'p Entry,
    said: &Value,
    told: &mut HashMap<&'p str, Told>,
) -> Option<String> {
    if entry.is_bad {
        return wrong_code(400, said);
    }
    let told = told.entry(&entry.marker).or_default();
    match (code(said), said["profile_id"].as_str()) {
        (0, Some(id)) => {
            told.ids.insert(id.to_owned());
            let skipped = said["skipped_subscriptions"]
                .as_array()
                .map_or(&[][..], Vec::as_slice);
            let skipped: Vec<_> = skipped
                .iter()
                .map(|one| one["index"].as_i64().unwrap_or(-1))
                .collect();
            (skipped != entry.skipped).then(|| {
                format!(
                    "dropped subscriptions {skipped:?} instead of {:?}",
                    entry.skipped
                )
            })
        }
        (409, None) if entry.email.is_some() => {
            told.conflicts += 1;
            None
        }
        _ => Some(format!("neither added nor a conflict of {}", entry.marker)),
    }
}

/// Of the profiles with one email, exactly one was added.
fn check_emails(
    plan: &Plan,
    seen: &Seen,
    told: &HashMap<&str, Told>,
    excused: &HashSet<&String>,
    verdict: &mut Verdict,
) {
    let mut groups: HashMap<(i64, String), Vec<(usize, &Entry)>> = HashMap::new();
    for (number, request) in plan.requests.iter().enumerate() {
        for entry in request.entries().iter().filter(|entry| !entry.is_bad) {
            if let Some(email) = &entry.email {
                groups
                    .entry((entry.db_id, same(email)))
                    .or_default()
                    .push((number, entry));
            }
        }
    }
    for ((db_id, email), group) in groups {
        let answered: Vec<_> = group
            .iter()
            .filter_map(|(number, entry)| Some((*number, *entry, told.get(entry.marker.as_str())?)))
            .collect();
        let added: Vec<_> = answered
            .iter()
            .filter(|(.., told)| !told.ids.is_empty())
            .collect();
        let about = format!(
            "{email} of database {db_id}, which {} profiles wanted",
            group.len()
        );
        match added[..] {
            // Unanswered ones are noted already.
            [] if answered.len() < group.len() => {}
            [] if group
                .iter()
                .any(|(_, entry)| excused.contains(&entry.marker)) => {}
            [] => {
                let published: Vec<_> = group
                    .iter()
                    .map(|(number, _)| seen.published[*number])
                    .collect();
                verdict.note(
                    Check::Lost,
                    format!("nobody got {about}; published {published:?} times"),
                );
            }
            [(number, entry, told)] => {
                let request = &plan.requests[*number];
                if told.ids.len() > 1 {
                    verdict.note(
                        Check::Twice,
                        format!("{} has several ids: {:?}", entry.marker, told.ids),
                    );
                }
                // A copy without a name is another request.
                if told.conflicts > 0
                    && (request.message_id.is_some() || seen.published[*number] == 1)
                {
                    let what = format!("{} was told both 0 and 409", describe(*number, request));
                    verdict.note(Check::Wrong, what);
                }
                let first = group.iter().find(|(other, _)| other == number);
                if first.is_some_and(|(_, first)| first.marker != entry.marker) {
                    let what =
                        format!("not the first of its request got {about}: {}", entry.marker);
                    verdict.note(Check::Wrong, what);
                }
            }
            _ => {
                let markers: Vec<_> = added.iter().map(|(_, entry, _)| &entry.marker).collect();
                verdict.note(Check::Twice, format!("several got {about}: {markers:?}"));
            }
        }
    }
}

/// A profile stands there once if it was told to be added, and not at all otherwise.
fn check_rows(
    number: usize,
    request: &Request,
    entry: &Entry,
    stored: &[Row],
    told: &HashMap<&str, Told>,
    seen: &Seen,
    verdict: &mut Verdict,
) {
    let about = || format!("{} of {}", entry.marker, describe(number, request));
    let told = told.get(entry.marker.as_str());
    let ids = told.map(|told| &told.ids).filter(|ids| !ids.is_empty());
    match (ids, stored) {
        (None, []) => {}
        (None, _) if told.is_some() || entry.is_bad => {
            verdict.note(
                Check::Wrong,
                format!("stored although it was refused: {}", about()),
            );
        }
        // Without an answer, which is noted already.
        (None, _) => {}
        (Some(ids), _) => {
            for id in ids
                .iter()
                .filter(|id| stored.iter().all(|row| row.id != **id))
            {
                verdict.gone += 1;
                verdict.note(
                    Check::Lost,
                    format!("told to be added as {id}, but not there: {}", about()),
                );
            }
        }
    }
    if stored.len() > 1 {
        if request.promises(entry) {
            let ids: Vec<_> = stored.iter().map(|row| &row.id).collect();
            verdict.note(
                Check::Twice,
                format!("stored {} times, as {ids:?}: {}", ids.len(), about()),
            );
        } else {
            verdict.not_promised += stored.len() - 1;
            // A copy without a name is another request.
            let most = STORED_MAX * seen.published[number] as usize;
            if stored.len() > most {
                let what = format!(
                    "stored {} times, and {most} at most are allowed: {}",
                    stored.len(),
                    about()
                );
                verdict.note(Check::Twice, what);
            }
        }
    }
    for row in stored {
        if row.db_id != entry.db_id || row.email != entry.email || row.data != entry.data {
            let there = format!(
                "database {}, email {:?}, {}",
                row.db_id,
                row.email,
                shortened(&row.data.to_string())
            );
            verdict.note(
                Check::Wrong,
                format!("stored otherwise than sent: {}: {there}", about()),
            );
        }
        if row.subscriptions != entry.subscriptions {
            let (is, should) = (&row.subscriptions, &entry.subscriptions);
            verdict.note(
                Check::Wrong,
                format!("subscriptions {is:?} instead of {should:?}: {}", about()),
            );
        }
    }
}

/// Whoever wanted an event of a profile that was added gets it, always the same one.
#[expect(clippy::too_many_arguments, reason = "all that is known of one entry")]
fn check_events(
    number: usize,
    request: &Request,
    entry: &Entry,
    stored: &[Row],
    told: &HashMap<&str, Told>,
    seen: &Seen,
    announced: &mut HashSet<String>,
    verdict: &mut Verdict,
) {
    if !entry.wants_event {
        return;
    }
    let about = || format!("{} of {}", entry.marker, describe(number, request));
    let ids = || {
        told.get(entry.marker.as_str())
            .into_iter()
            .flat_map(|told| &told.ids)
    };
    let has_event = |id: &String| seen.events.contains_key(&format!("{id}.profile.added"));
    for id in ids().filter(|id| !has_event(id)) {
        // A delivery that ended between its reply and its event comes again. If nothing tells the
        // two apart that is another profile, and the event is of that one.
        if !request.promises(entry) && stored.len() > 1 && ids().any(has_event) {
            verdict.not_announced += 1;
        } else {
            let (published, ids) = (seen.published[number], ids().count());
            let what = format!(
                "no event for {id}, one of {ids}, published {published} times: {}",
                about()
            );
            verdict.note(Check::Lost, what);
        }
    }
    for row in stored {
        let message_id = format!("{}.profile.added", row.id);
        let Some(events) = seen.events.get(&message_id) else {
            continue;
        };
        let right = events.iter().all(|event| {
            let said = &event.said;
            said == &events[0].said
                && said["event"] == "profile.added"
                && said["db_id"].as_i64() == Some(entry.db_id)
                && said["profile_id"] == row.id.as_str()
                && said["email"].as_str() == entry.email.as_deref()
                && said["subscriptions"]
                    .as_array()
                    .is_some_and(|list| list.len() == entry.subscriptions.len())
                && event.routing_key == format!("profile.added.{}", entry.db_id)
        });
        if !right {
            let said: Vec<_> = events.iter().map(|event| event.said.to_string()).collect();
            verdict.note(
                Check::Wrong,
                format!("events of {}: {}", about(), said.join(" and ")),
            );
        }
        announced.insert(message_id);
    }
}

/// Everything unreadable is kept, and nothing else: no sound request ends as a 500.
fn check_dead_letters(plan: &Plan, seen: &Seen, verdict: &mut Verdict) {
    for (number, request) in plan.requests.iter().enumerate() {
        let letters = seen
            .dead_letters
            .get(&number)
            .map_or(&[][..], Vec::as_slice);
        let is_unreadable = matches!(request.expected, Expected::DeadLetter);
        match letters {
            [] if is_unreadable => verdict.note(
                Check::Lost,
                format!("no dead letter of {}", describe(number, request)),
            ),
            [] => {}
            // What can't be carried as it came.
            [..] if matches!(request.expected, Expected::Refused) => verdict.dead_letters += 1,
            [first, ..] if !is_unreadable => {
                let what = format!(
                    "a dead letter ({:?}) of {}",
                    first.error,
                    describe(number, request)
                );
                verdict.note(Check::Wrong, what);
            }
            letters => {
                verdict.dead_letters += 1;
                verdict.dead_letters_again += letters.len() - 1;
                if letters
                    .iter()
                    .any(|letter| letter.body != request.body || letter.error != Some(400))
                {
                    verdict.note(
                        Check::Wrong,
                        format!(
                            "a dead letter that is not as it was sent: {}",
                            describe(number, request)
                        ),
                    );
                }
            }
        }
    }
}

/// A request for people.
fn describe(number: usize, request: &Request) -> String {
    format!(
        "request {number} ({}; message_id {}; reply_to {})",
        request.kind.name(),
        request.message_id.as_deref().unwrap_or("none"),
        reply_queue(request.reply_to).unwrap_or("none")
    )
}

fn shortened(text: &str) -> String {
    text.chars().take(200).collect()
}
