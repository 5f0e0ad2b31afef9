//! What the batch form costs: profiles per second beside those of single requests, and how long a
//! small request waits while a large one is stored. `make bench` runs it.

#![expect(
    clippy::disallowed_methods,
    reason = "the script that starts this tells it all by the environment"
)]
#![expect(clippy::print_stdout, reason = "that is its job")]

use std::error::Error;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use lapin::options::{BasicConsumeOptions, BasicPublishOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Each figure is the median of so many runs, which take turns.
const ROUNDS: usize = 5;

/// Profiles of one run.
const PROFILES: usize = 20_000;

/// Requests under way.
const WINDOW: usize = 1000;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    // `cargo test --all-targets` runs this, too; there it has nothing to say.
    if !std::env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let _worker = Worker::start()?;
    let mut producer = Producer::connect().await?;
    // The first requests find cold caches.
    producer.throughput(1).await?;

    let sizes = [1, 10, 100, 1_000, 10_000];
    let mut rates = vec![Vec::new(); sizes.len()];
    let mut single = Vec::new();
    let mut idle = Vec::new();
    // About 1.5 MB, and nearly the limit of 10 MiB.
    let paddings = [0, 850];
    let mut behind = paddings.map(|_| (Vec::new(), Vec::new()));
    for _ in 0..ROUNDS {
        single.push(producer.throughput(0).await?);
        for (rates, size) in rates.iter_mut().zip(sizes) {
            rates.push(producer.throughput(size).await?);
        }
        idle.push(producer.small_requests(200).await?);
        for ((behind, large), padding) in behind.iter_mut().zip(paddings) {
            let (waits, whole) = producer.small_requests_behind_a_large_one(padding).await?;
            behind.push(waits);
            large.push(ms(whole));
        }
    }
    let base = median(single);
    println!("profiles per second, {PROFILES} profiles, median of {ROUNDS} interleaved runs");
    println!("  single requests               {base:>8.0}   1.00");
    for (rates, size) in rates.into_iter().zip(sizes) {
        let rate = median(rates);
        println!(
            "  batch form of {size:>6} profiles  {rate:>8.0}   {:.2}",
            rate / base
        );
    }
    let of = |runs: &[Vec<Duration>], which: fn(&[Duration]) -> Duration| {
        median(runs.iter().map(|r| ms(which(r))).collect())
    };
    println!("round trip of a small request in ms, one at a time (median, worst)");
    println!(
        "  nothing else to do            {:>8.1} {:>8.1}",
        of(&idle, middle),
        of(&idle, worst)
    );
    for (what, (behind, large)) in ["1.5 MB", "10 MB"].into_iter().zip(behind) {
        println!(
            "  behind 10000 profiles, {what:6} {:>8.1} {:>8.1}",
            of(&behind, middle),
            of(&behind, worst)
        );
        println!("    those 10000 themselves      {:>8.0}", median(large));
    }
    Ok(())
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn middle(sorted: &[Duration]) -> Duration {
    sorted[sorted.len() / 2]
}

fn worst(sorted: &[Duration]) -> Duration {
    sorted[sorted.len() - 1]
}

/// A worker with one lane, so that nothing but its own order lets small requests through. Ends with
/// this.
struct Worker(Child);

impl Worker {
    fn start() -> Result<Self> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_profile-worker"));
        command
            .args(["run", "--lanes", "1", "--admin-addr", "127.0.0.1:0"])
            .stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let words = BufReader::new(child.stderr.take().ok_or("no standard error")?);
        let mut lines = words.lines();
        while !lines
            .next()
            .ok_or("the worker did not start")??
            .contains("taking requests")
        {}
        std::thread::spawn(move || lines.for_each(drop));
        Ok(Self(child))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.0.kill().and_then(|()| self.0.wait()).ok();
    }
}

struct Producer {
    channel: Channel,
    replies: lapin::Consumer,
    reply_to: String,
    token: String,
    count: usize,
}

impl Producer {
    async fn connect() -> Result<Self> {
        let connection =
            Connection::connect(&std::env::var("AMQP_URL")?, Default::default()).await?;
        let channel = connection.create_channel().await?;
        let exclusive = QueueDeclareOptions {
            exclusive: true,
            ..Default::default()
        };
        let queue = channel
            .queue_declare("".into(), exclusive, FieldTable::default())
            .await?;
        let reply_to = queue.name().as_str().to_owned();
        let options = BasicConsumeOptions {
            no_ack: true,
            ..Default::default()
        };
        let replies = channel
            .basic_consume(
                reply_to.as_str().into(),
                "".into(),
                options,
                FieldTable::default(),
            )
            .await?;
        // It closes with the process.
        std::mem::forget(connection);
        Ok(Self {
            channel,
            replies,
            reply_to,
            token: std::env::var("TOKEN")?,
            count: 0,
        })
    }

    fn profile(&mut self) -> String {
        self.count += 1;
        let email = format!("u{}-{}@example.com", std::process::id(), self.count);
        let subscription = format!(r#"{{"resource_id":1,"channel":"email","email":"{email}"}}"#);
        format!(
            r#"{{"email":"{email}","_fname":"John","_lname":"Doe","_city":"Berlin","subscriptions":[{subscription}]}}"#
        )
    }

    /// A request for one profile, or in the batch form for `size` of them.
    fn request(&mut self, size: usize) -> String {
        let data = match size {
            0 => self.profile(),
            size => format!(
                "[{}]",
                (0..size)
                    .map(|_| self.profile())
                    .collect::<Vec<_>>()
                    .join(",")
            ),
        };
        format!(r#"{{"token":"{}","db_id":1,"data":{data}}}"#, self.token)
    }

    async fn publish(&self, body: &str, id: &str) -> Result<()> {
        let properties = BasicProperties::default()
            .with_reply_to(self.reply_to.as_str().into())
            .with_correlation_id(id.into())
            .with_message_id(id.into())
            .with_delivery_mode(2);
        let options = BasicPublishOptions::default();
        self.channel
            .basic_publish(
                "".into(),
                "profiles.add".into(),
                options,
                body.as_bytes(),
                properties,
            )
            .await?;
        Ok(())
    }

    /// The correlation id of the next reply, which must be a success.
    async fn reply(&mut self) -> Result<String> {
        let reply = self.replies.next().await.ok_or("no more replies")??;
        let text = std::str::from_utf8(&reply.data)?;
        if text.contains(r#""error":4"#)
            || text.contains(r#""error":5"#)
            || !text.starts_with(r#"{"error":0"#)
        {
            return Err(format!("refused: {}", &text[..text.len().min(200)]).into());
        }
        Ok(reply
            .properties
            .correlation_id()
            .as_ref()
            .ok_or("no correlation id")?
            .to_string())
    }

    /// Profiles per second.
    async fn throughput(&mut self, size: usize) -> Result<f64> {
        let requests: Vec<_> = (0..PROFILES / size.max(1))
            .map(|_| self.request(size))
            .collect();
        let window = (WINDOW / size.max(1)).max(2);
        let started = Instant::now();
        let mut answered = 0;
        for (sent, request) in requests.iter().enumerate() {
            if sent - answered >= window {
                self.reply().await?;
                answered += 1;
            }
            self.publish(request, &format!("{size}-{}-{sent}", self.count))
                .await?;
        }
        for _ in answered..requests.len() {
            self.reply().await?;
        }
        Ok(PROFILES as f64 / started.elapsed().as_secs_f64())
    }

    /// Round trips, one after the other, sorted.
    async fn small_requests(&mut self, count: usize) -> Result<Vec<Duration>> {
        let mut times = Vec::new();
        for i in 0..count {
            let request = self.request(0);
            let started = Instant::now();
            self.publish(&request, &format!("s{i}-{}", self.count))
                .await?;
            self.reply().await?;
            times.push(started.elapsed());
        }
        times.sort();
        Ok(times)
    }

    /// The same while a large request is under way; and how long that one took.
    async fn small_requests_behind_a_large_one(
        &mut self,
        padding: usize,
    ) -> Result<(Vec<Duration>, Duration)> {
        let padding = format!(r#""_fname":"{}John""#, "x".repeat(padding));
        let large = self.request(10_000).replace(r#""_fname":"John""#, &padding);
        let began = Instant::now();
        self.publish(&large, &format!("large{}", self.count))
            .await?;
        let mut times = Vec::new();
        loop {
            let request = self.request(0);
            let started = Instant::now();
            self.publish(&request, &format!("b{}", self.count)).await?;
            let first = self.reply().await?;
            if first.starts_with("large") {
                let whole = began.elapsed();
                self.reply().await?;
                times.push(started.elapsed());
                times.sort();
                return Ok((times, whole));
            }
            times.push(started.elapsed());
        }
    }
}
