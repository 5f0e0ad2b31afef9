//! `profile-worker send`: the producer's side, for trying things out and for imports by hand.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, BufReader};

use super::block_on;
use super::flags::SenderFlags;
use super::output::{Failure, put_bytes, say};
use crate::broker::connection::{Connection, Frames};
use crate::broker::error::BrokerError;
use crate::broker::requester::{ReceivedReply, RequestMessage, Requester};

/// Publish requests and print their replies.
///
/// Each reply is one line on standard output, in the order of the requests. A file that was sent
/// halfway can be sent again with the same --message-id: nothing is added twice.
///
/// Exit codes: 0 all answered with error 0, 3 all answered but some refused, 1 not all answered,
/// 64 wrong command line.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The request, or "-" for standard input.
    file: String,
    /// Each line is a request of its own; empty lines are left out.
    #[arg(long)]
    lines: bool,
    /// Do not wait for replies; they go to the result queue.
    #[arg(long)]
    no_wait: bool,
    /// How long to wait for the next reply. [default: 30s]
    #[arg(long, value_name = "DURATION", default_value = "30s", hide_default_value = true, value_parser = humantime::parse_duration)]
    timeout: Duration,
    /// The idempotency key: what was sent with it before is not added again but answered as it was
    /// then. With --lines each line gets it with "-" and its number. At most 235 bytes. [default: a
    /// random one]
    #[arg(long, value_name = "ID", value_parser = message_id)]
    message_id: Option<String>,
    /// The content type, such as application/json. [default: none, the worker looks at the body]
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
    #[command(flatten)]
    flags: SenderFlags,
}

/// Requests under way: enough to keep the workers busy, few enough to hold the replies in order.
const WINDOW: u64 = 2000;

/// Requests published at a time.
const CHUNK: usize = 200;

/// Not all were answered with error 0.
const SOME_REFUSED: u8 = 3;

fn message_id(text: &str) -> Result<String, String> {
    // Room for a line's number behind it: a message id has at most 255 bytes.
    if (1..=235).contains(&text.len()) {
        Ok(text.to_owned())
    } else {
        Err("must have 1 to 235 bytes".to_owned())
    }
}

pub(super) fn run(arguments: Arguments) -> Result<(), Failure> {
    block_on(send(arguments))
}

async fn send(arguments: Arguments) -> Result<(), Failure> {
    let mut requests = Requests::open(&arguments).await?;
    let (url, queue) = arguments.flags.source().sender()?;
    let connection = Connection::open(&url, "profile-worker send", Frames::Large)
        .await
        .map_err(Failure::new)?;
    let requester = Requester::open(&connection, !arguments.no_wait)
        .await
        .map_err(Failure::new)?;
    let mut sending = Sending {
        queue,
        requester,
        message_id: requests.message_id.clone(),
        timeout: arguments.timeout,
        tally: Tally::default(),
        waiting: BTreeMap::new(),
        progress: progress(arguments.lines),
    };
    let started = Instant::now();
    let sent = sending.send_all(&mut requests, arguments.no_wait).await;
    sending.progress.finish_and_clear();
    let tally = sending.tally;
    connection.close().await;
    if sent.is_ok() || tally.answered > 0 {
        say(tally.summary(started.elapsed(), arguments.no_wait));
    }
    sent?;
    if tally.refused == 0 {
        Ok(())
    } else {
        Err(Failure::with_code(
            SOME_REFUSED,
            format_args!("{} of {} requests refused", tally.refused, tally.answered),
        ))
    }
}

/// Hidden where standard error is no terminal.
fn progress(lines: bool) -> ProgressBar {
    if !lines {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::no_length();
    if let Ok(style) =
        ProgressStyle::with_template("{spinner} {human_pos} requests, {per_sec}, {elapsed}")
    {
        bar.set_style(style);
    }
    bar
}

#[derive(Default, Clone, Copy)]
struct Tally {
    sent: u64,
    answered: u64,
    refused: u64,
}

impl Tally {
    fn summary(self, elapsed: Duration, no_wait: bool) -> String {
        let plural = |n: u64| if n == 1 { "request" } else { "requests" };
        let rate = |n: u64| {
            let rate = n as f64 / elapsed.as_secs_f64().max(1e-9);
            if n > 1 {
                format!(", {rate:.0} per second")
            } else {
                String::new()
            }
        };
        let time = if elapsed < Duration::from_secs(1) {
            format!("{:.1} ms", elapsed.as_secs_f64() * 1e3)
        } else {
            format!("{:.1} s", elapsed.as_secs_f64())
        };
        if no_wait {
            return format!(
                "{} {} published in {time}{}",
                self.sent,
                plural(self.sent),
                rate(self.sent)
            );
        }
        let missing = match self.sent - self.answered {
            0 => String::new(),
            n => format!(", {n} not answered"),
        };
        format!(
            "{} {} answered in {time}{}{missing}",
            self.answered,
            plural(self.answered),
            rate(self.answered)
        )
    }
}

struct Sending {
    queue: String,
    requester: Requester,
    message_id: String,
    timeout: Duration,
    tally: Tally,
    /// Replies that came before those of earlier requests, by the request's number.
    waiting: BTreeMap<u64, ReceivedReply>,
    progress: ProgressBar,
}

impl Sending {
    async fn send_all(&mut self, requests: &mut Requests, no_wait: bool) -> Result<(), Failure> {
        loop {
            let chunk = requests.next_chunk(self.tally.sent).await?;
            let last = chunk.is_empty();
            let count = chunk.len() as u64;
            self.requester
                .publish(&self.queue, chunk)
                .await
                .map_err(explain)?;
            self.tally.sent += count;
            if no_wait {
                self.progress.set_position(self.tally.sent);
            } else {
                let open_max = if last { 0 } else { WINDOW - CHUNK as u64 };
                self.receive(open_max).await?;
            }
            if last {
                return Ok(());
            }
        }
    }

    /// Receives replies until at most `open_max` requests wait for theirs.
    async fn receive(&mut self, open_max: u64) -> Result<(), Failure> {
        while self.tally.sent - self.tally.answered > open_max {
            let reply = tokio::time::timeout(self.timeout, self.requester.next_reply()).await;
            let Ok(reply) = reply else {
                return Err(Failure::new(format_args!(
                    "no reply within {}; what was sent stays in the queue {}. Is a worker running, and its database? \
                     To go on later without adding anything twice: --message-id {}",
                    humantime::format_duration(self.timeout),
                    self.queue,
                    self.message_id
                )));
            };
            let reply = reply
                .map_err(Failure::new)?
                .ok_or_else(|| Failure::new("the broker closed the channel"))?;
            if let Ok(number) = reply.correlation_id.parse() {
                self.waiting.insert(number, reply);
            }
            self.print_in_order()?;
        }
        Ok(())
    }

    fn print_in_order(&mut self) -> Result<(), Failure> {
        while let Some(reply) = self.waiting.remove(&self.tally.answered) {
            self.tally.answered += 1;
            self.tally.refused += u64::from(reply.error != Some(0));
            self.progress.set_position(self.tally.answered);
            self.progress.suspend(|| put_bytes(&reply.body))?;
        }
        Ok(())
    }
}

/// Where the requests come from.
struct Requests {
    input: Box<dyn AsyncBufRead + Unpin>,
    file: String,
    lines: bool,
    ended: bool,
    message_id: String,
    content_type: Option<String>,
}

impl Requests {
    async fn open(arguments: &Arguments) -> Result<Self, Failure> {
        let input: Box<dyn AsyncBufRead + Unpin> = if arguments.file == "-" {
            Box::new(BufReader::new(tokio::io::stdin()))
        } else {
            let file = tokio::fs::File::open(&arguments.file).await;
            let file = file.map_err(|error| {
                Failure::new(format_args!("can't open {}: {error}", arguments.file))
            })?;
            Box::new(BufReader::new(file))
        };
        Ok(Self {
            input,
            file: arguments.file.clone(),
            lines: arguments.lines,
            ended: false,
            message_id: match &arguments.message_id {
                Some(id) => id.clone(),
                None => random_id()?,
            },
            content_type: arguments.content_type.clone(),
        })
    }

    /// The next requests, numbered from `number` on; none at the end.
    async fn next_chunk(&mut self, number: u64) -> Result<Vec<RequestMessage>, Failure> {
        let mut chunk = Vec::new();
        while chunk.len() < CHUNK {
            let Some(body) = self.next_body().await? else {
                break;
            };
            let number = number + chunk.len() as u64;
            chunk.push(RequestMessage {
                body,
                message_id: if self.lines {
                    format!("{}-{}", self.message_id, number + 1)
                } else {
                    self.message_id.clone()
                },
                correlation_id: number.to_string(),
                content_type: self.content_type.clone(),
            });
        }
        Ok(chunk)
    }

    async fn next_body(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        let problem = |error| Failure::new(format_args!("can't read {}: {error}", self.file));
        while !self.ended {
            let mut body = Vec::new();
            if self.lines {
                self.ended = self
                    .input
                    .read_until(b'\n', &mut body)
                    .await
                    .map_err(problem)?
                    == 0;
                body.truncate(body.trim_ascii_end().len());
                if body.is_empty() {
                    continue;
                }
            } else {
                self.input.read_to_end(&mut body).await.map_err(problem)?;
                self.ended = true;
            }
            return Ok(Some(body));
        }
        Ok(None)
    }
}

/// Why a request could not be published, in words for people.
pub(super) fn explain(error: BrokerError) -> Failure {
    match error {
        BrokerError::Unroutable(queue) => Failure::new(format_args!(
            "there is no queue {queue}, or it is full: start a worker first, or check REQUEST_QUEUE"
        )),
        other => Failure::new(other),
    }
}

/// An idempotency key.
pub(super) fn random_id() -> Result<String, Failure> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(Failure::new)?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}
