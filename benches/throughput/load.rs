//! One measurement: requests out, replies in, each of them checked.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use crate::Result;
use crate::amqp::{Client, Message};
use crate::plan::{Case, Plan, Shape, Workload};
use crate::processes::{self, Cpu, Roots, Sampler};
use crate::surroundings::{Ground, Surroundings};
use crate::workers::{Running, Worker};

/// Requests are handed to the system in pieces of about this size.
const BURST_BYTES: usize = 64 * 1024;

/// What came out.
#[derive(Debug, Clone)]
pub(crate) struct Measurement {
    /// Requests per second.
    pub(crate) rate: f64,
    /// Of the round trips, in ms; a backlog has none.
    pub(crate) p50: Option<f64>,
    pub(crate) p99: Option<f64>,
    /// In ms per 1000 requests.
    pub(crate) cpu: Option<Cpu>,
    /// In MiB.
    pub(crate) memory: Option<f64>,
}

/// Requests to warm up with, requests that are measured, and how many are under way at a time.
fn amounts(worker: Worker, case: Case, plan: &Plan) -> (usize, usize, usize) {
    match case.workload {
        Workload::Backlog => (0, plan.requests / worker.slowness(), usize::MAX),
        Workload::One => (100, (plan.requests / 20).clamp(200, 1000), 1),
        Workload::SixtyFour => (
            1000 / worker.slowness(),
            plan.requests / 2 / worker.slowness(),
            64,
        ),
    }
}

/// Measures a worker on fresh ground.
pub(crate) fn measure(
    surroundings: &Surroundings,
    worker: Worker,
    case: Case,
    plan: &Plan,
) -> Result<Measurement> {
    let (warm_up, count, window) = amounts(worker, case, plan);
    let mut trial = Trial::on_fresh_ground(surroundings, worker, case, warm_up + count)?;
    if case.workload == Workload::Backlog {
        trial.load.send(count)?;
        trial.load.wait_until_queued(count)?;
    }
    trial.start()?;
    trial.load.run(warm_up, window)?;
    if plan.profile {
        trial.sampler = Some(Sampler::attach(
            trial.running[0].id(),
            &profile_name(worker, case),
        )?);
    }
    let measurement = trial.part(count, window)?;
    trial.finish()?;
    Ok(measurement)
}

/// Measures workers that run side by side, each on ground of its own: a part of the load for one
/// after the other, again and again. Whatever else the machine does concerns both of a pair.
///
/// A part is too short for its CPU time to be told.
pub(crate) fn measure_together(
    surroundings: &Surroundings,
    workers: &[Worker],
    case: Case,
    plan: &Plan,
) -> Result<Vec<Vec<Measurement>>> {
    let mut trials = Vec::with_capacity(workers.len());
    for &worker in workers {
        let (warm_up, count, window) = amounts(worker, case, plan);
        let part = count / PARTS;
        let mut trial =
            Trial::on_fresh_ground(surroundings, worker, case, warm_up + part * plan.rounds)?;
        trial.start()?;
        trial.load.run(warm_up, window)?;
        trials.push((trial, part, window, Vec::with_capacity(plan.rounds)));
    }
    for round in 0..plan.rounds {
        for turn in 0..trials.len() {
            let place = (turn + round) % workers.len();
            let (trial, part, window, measured) = &mut trials[place];
            measured.push(Measurement {
                cpu: None,
                ..trial.part(*part, *window)?
            });
        }
    }
    let mut all = Vec::with_capacity(workers.len());
    for (trial, _, _, measured) in trials {
        trial.finish()?;
        all.push(measured);
    }
    Ok(all)
}

/// So many parts make what is measured at once otherwise.
const PARTS: usize = 10;

/// A worker on fresh ground with its load.
struct Trial<'s> {
    worker: Worker,
    case: Case,
    ground: Ground<'s>,
    load: Load,
    running: Vec<Running>,
    roots: Roots,
    sampler: Option<Sampler>,
}

impl<'s> Trial<'s> {
    fn on_fresh_ground(
        surroundings: &'s Surroundings,
        worker: Worker,
        case: Case,
        count: usize,
    ) -> Result<Self> {
        let ground = surroundings.ground(worker, case)?;
        let mut client = ground.client()?;
        let replies = client.consume_own_queue()?;
        if case.shape.heard {
            client.bind_to_all(&replies, &ground.event_exchange())?;
        }
        let load = Load {
            client,
            queue: ground.request_queue(),
            replies,
            ledger: Ledger::new(
                case.shape,
                surroundings.token.clone(),
                ground.mark().to_owned(),
                count,
            ),
            sent: Vec::new(),
            trips: Vec::new(),
        };
        let roots = Roots {
            workers: Vec::new(),
            broker: surroundings.servers.broker,
            database: surroundings.servers.database,
        };
        Ok(Self {
            worker,
            case,
            ground,
            load,
            running: Vec::new(),
            roots,
            sampler: None,
        })
    }

    fn start(&mut self) -> Result<()> {
        let processes = 0..self.case.shape.processes;
        self.running = processes
            .map(|_| Running::start(self.worker, &self.ground))
            .collect::<Result<_>>()?;
        self.roots.workers = self.running.iter().map(Running::id).collect();
        Ok(())
    }

    /// So many more requests, so many of them under way at a time.
    fn part(&mut self, count: usize, window: usize) -> Result<Measurement> {
        let load = &mut self.load;
        load.trips.clear();
        let (began, before) = (Instant::now(), Cpu::now(&self.roots));
        load.run(load.ledger.answered + count, window)?;
        let took = began.elapsed();
        let cpu = before
            .zip(Cpu::now(&self.roots))
            .map(|(before, after)| after.per_1000(before, count));
        load.trips.sort();
        let percentile = |percent: usize| {
            let trip = load
                .trips
                .get((load.trips.len() * percent / 100).min(load.trips.len().saturating_sub(1)));
            trip.filter(|_| self.case.workload != Workload::Backlog)
                .map(|trip| trip.as_secs_f64() * 1e3)
        };
        let memory = self
            .running
            .iter()
            .filter_map(|running| processes::peak_memory(running.id()));
        Ok(Measurement {
            rate: count as f64 / took.as_secs_f64(),
            p50: percentile(50),
            p99: percentile(99),
            cpu,
            memory: memory.max_by(f64::total_cmp),
        })
    }

    /// Whether all is as it should be.
    fn finish(mut self) -> Result<()> {
        self.load.check(self.worker, &self.ground)?;
        if !self.running.iter_mut().all(Running::is_alive) {
            return Err("the worker ended by itself".into());
        }
        self.running.clear();
        self.sampler.map(Sampler::finish).transpose()?;
        Ok(())
    }
}

fn profile_name(
    worker: Worker,
    Case {
        workload,
        queue,
        shape,
    }: Case,
) -> String {
    [worker.name(), workload.name(), queue.name(), shape.name].join("-") + ".perf"
}

/// Requests under way.
struct Load {
    client: Client,
    queue: String,
    replies: String,
    ledger: Ledger,
    /// When each was sent.
    sent: Vec<Instant>,
    /// How long each took, in the order of the replies.
    trips: Vec<Duration>,
}

impl Load {
    /// Sends requests until so many are sent.
    fn send(&mut self, until: usize) -> Result<()> {
        for number in self.sent.len()..until {
            let body = self.ledger.request(number);
            self.client.publish(
                &self.queue,
                &self.replies,
                &number.to_string(),
                body.as_bytes(),
            );
            self.sent.push(Instant::now());
            if self.client.unsent() > BURST_BYTES {
                self.client.flush()?;
            }
        }
        Ok(())
    }

    /// Until the broker has them all: it takes them without a word.
    fn wait_until_queued(&mut self, count: usize) -> Result<()> {
        for _ in 0..3000 {
            if self.client.count(&self.queue)? as usize == count {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Err("the broker does not have all requests".into())
    }

    /// Takes replies until there are so many; meanwhile keeps `window` requests under way.
    fn run(&mut self, until: usize, window: usize) -> Result<()> {
        while self.ledger.answered < until {
            self.send(
                until
                    .min(self.ledger.answered + window)
                    .max(self.sent.len()),
            )?;
            let message = self.client.next_message()?;
            if let Some(number) = self.ledger.enter(&message)? {
                self.trips.push(self.sent[number].elapsed());
            }
        }
        Ok(())
    }

    /// Whether everything is as it should be at the end.
    fn check(&mut self, worker: Worker, ground: &Ground<'_>) -> Result<()> {
        let profiles = self.ledger.emails.iter().filter(|added| **added).count();
        while self.ledger.shape.heard && self.ledger.events.len() < profiles {
            self.ledger.enter(&self.client.next_message()?)?;
        }
        self.ledger.check()?;
        let waiting = self.client.count(&self.queue)?;
        if waiting > 0 {
            return Err(format!("{waiting} requests are in the queue again").into());
        }
        let wanted = (profiles, profiles * self.ledger.shape.subscriptions);
        let stored = ground.stored()?;
        if worker.stores() && stored != wanted {
            return Err(format!(
                "profiles and subscriptions in the database: {stored:?}, expected {wanted:?}"
            )
            .into());
        }
        Ok(())
    }
}

/// What was asked, and what was answered.
struct Ledger {
    shape: Shape,
    token: String,
    /// Makes its emails others than those of other measurements.
    mark: String,
    /// By the request's number.
    replied: Vec<bool>,
    answered: usize,
    /// By the email's number: a profile with it was added.
    emails: Vec<bool>,
    profiles: HashSet<u128>,
    events: HashSet<u128>,
}

impl Ledger {
    fn new(shape: Shape, token: String, mark: String, count: usize) -> Self {
        let (profiles, events) = (HashSet::with_capacity(count), HashSet::new());
        Self {
            shape,
            token,
            mark,
            replied: vec![false; count],
            answered: 0,
            emails: vec![false; count],
            profiles,
            events,
        }
    }

    /// Which email a request has. A duplicate has that of a request half as far from the beginning,
    /// which may be in the same batch, under way elsewhere, or long since stored.
    fn email(&self, request: usize) -> usize {
        let is_duplicate = |number: usize| self.shape.duplicates && number % 5 == 4;
        match request / 2 {
            earlier if is_duplicate(request) => earlier - usize::from(is_duplicate(earlier)),
            _ => request,
        }
    }

    fn request(&self, number: usize) -> String {
        let email = self.email(number);
        let subscription = |which: usize| {
            format!(
                r#"{{"resource_id":1,"channel":"email","email":"user{email}.{which}@mail{}.example.com"}}"#,
                self.mark
            )
        };
        let subscriptions = (0..self.shape.subscriptions)
            .map(subscription)
            .collect::<Vec<_>>()
            .join(",");
        format!(
            r#"{{"token":"{}","db_id":1,"data":{{"email":"user{email}@mail{}.example.com","_fname":"John","_lname":"Doe","_city":"Berlin","subscriptions":[{subscriptions}]}},"skip_triggers":{}}}"#,
            self.token, self.mark, !self.shape.events,
        )
    }

    /// Notes a message; returns which request it answers, if it is a reply.
    fn enter(&mut self, message: &Message) -> Result<Option<usize>> {
        if !message.exchange.is_empty() {
            let id = message
                .message_id
                .as_deref()
                .and_then(|id| id.strip_suffix(".profile.added"));
            let id = id
                .and_then(profile_id)
                .ok_or_else(|| format!("a strange event: {message:?}"))?;
            return if self.events.insert(id) {
                Ok(None)
            } else {
                Err("an event came twice".into())
            };
        }
        let number = message
            .correlation_id
            .as_deref()
            .and_then(|id| id.parse::<usize>().ok());
        let number = number.filter(|number| self.replied.get(*number) == Some(&false));
        let number = number.ok_or_else(|| format!("nobody waits for this reply: {message:?}"))?;
        self.replied[number] = true;
        self.answered += 1;
        let email = self.email(number);
        let body = std::str::from_utf8(&message.body)?;
        if let Some(added) = body.strip_prefix(r#"{"error":0,"error_text":"","profile_id":""#) {
            let id = added
                .strip_suffix(r#""}"#)
                .and_then(profile_id)
                .ok_or("a success without a profile_id")?;
            if std::mem::replace(&mut self.emails[email], true) || !self.profiles.insert(id) {
                return Err(format!("this was added already: {body}").into());
            }
        } else if !self.shape.duplicates || !body.starts_with(r#"{"error":409,"#) {
            return Err(format!("an unexpected reply: {body}").into());
        }
        Ok(Some(number))
    }

    /// Whether every reply came, and one request for each email was the one that was added.
    fn check(&self) -> Result<()> {
        let emails: HashSet<_> = (0..self.replied.len())
            .map(|request| self.email(request))
            .collect();
        if self.answered != self.replied.len() || emails.iter().any(|email| !self.emails[*email]) {
            return Err("some requests were refused that should not have been".into());
        }
        if self.shape.heard && self.events != self.profiles {
            return Err("the events are not those of the profiles that were added".into());
        }
        Ok(())
    }
}

/// The 24 hex digits of a profile's id.
fn profile_id(text: &str) -> Option<u128> {
    (text.len() == 24)
        .then(|| u128::from_str_radix(text, 16).ok())
        .flatten()
}
