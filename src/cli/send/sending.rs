//! Publishing the requests, and telling what became of them.

use std::time::Duration;

use tokio::sync::mpsc;

use super::chunks::Chunk;
use super::outcome::Outcome;
use super::progress::Progress;
use super::report::Report;
use super::request::Naming;
use super::row::{Content, Row};
use super::summary::Tally;
use super::waiting::{Answer, Origin, Waiting};
use crate::broker::requester::{RequestMessage, Requester};
use crate::cli::output::{Failure, put_bytes, say};
use crate::cli::sender::explain;

/// Rows under way: enough to keep the workers busy, few enough to hold the replies in order.
const WINDOW: usize = 2000;

/// Rows that a report repeats are held until they are answered: fewer, if they are large.
const WINDOW_BYTES: usize = 64 << 20;

/// How requests are sent.
pub(super) struct Way {
    /// Where to.
    pub(super) queue: String,
    /// What they are called.
    pub(super) naming: Naming,
    /// The format that their bodies are said to have.
    pub(super) content_type: Option<String>,
    /// The token of those that have none.
    pub(super) token: Option<String>,
    /// How long to wait for the next reply; `None` if nobody waits.
    pub(super) timeout: Option<Duration>,
}

/// What has been sent, and what is known of it.
pub(super) struct Sending {
    way: Way,
    requester: Requester,
    /// Where it is told what became of the rows; else replies are printed.
    report: Option<Report>,
    waiting: Waiting,
    tally: Tally,
    progress: Progress,
}

impl Sending {
    /// Makes ready; nothing is sent yet. The first row has the number `first`.
    pub(super) fn new(
        way: Way,
        requester: Requester,
        report: Option<Report>,
        progress: Progress,
        first: u64,
    ) -> Self {
        Self {
            way,
            requester,
            report,
            waiting: Waiting::starting_at(first),
            tally: Tally::default(),
            progress,
        }
    }

    /// Brings the report up to date, and returns what became of the requests.
    pub(super) fn finish(mut self) -> (Tally, Result<(), Failure>) {
        self.progress.finish();
        (
            self.tally,
            self.report.as_mut().map_or(Ok(()), Report::flush),
        )
    }

    /// Publishes all rows, and tells what became of each unless nobody waits.
    pub(super) async fn send_all(
        &mut self,
        mut chunks: mpsc::Receiver<Result<Chunk, Failure>>,
    ) -> Result<(), Failure> {
        while let Some(chunk) = chunks.recv().await {
            let chunk = chunk?;
            self.receive(WINDOW.saturating_sub(chunk.len()), WINDOW_BYTES)
                .await?;
            self.publish(chunk).await?;
        }
        self.receive(0, 0).await
    }

    async fn publish(&mut self, chunk: Chunk) -> Result<(), Failure> {
        let mut messages = Vec::with_capacity(chunk.len());
        for row in chunk {
            messages.extend(self.take_in(row)?);
        }
        let count = messages.len() as u64;
        let publishing = self.requester.publish(&self.way.queue, messages);
        publishing.await.map_err(explain)?;
        self.tally.sent += count;
        self.tell()
    }

    /// Gives a row its place; returns what is to be published for it.
    fn take_in(&mut self, row: Row) -> Result<Option<RequestMessage>, Failure> {
        let (outcome, origin) = match row.content {
            Content::Request(body) => {
                let number = self.waiting.push(row.original, None);
                return Ok(Some(RequestMessage {
                    message_id: self.way.naming.name(number, &body),
                    correlation_id: number.to_string(),
                    content_type: self.way.content_type.clone(),
                    token: self.way.token.clone(),
                    body,
                }));
            }
            Content::Unreadable(flaw) => {
                let text = format!("{}{flaw}", row.place);
                (Outcome::unreadable(&text), Origin::Unreadable)
            }
            Content::Added(outcome) => (outcome, Origin::Report),
        };
        let answer = answer(&outcome, origin)?;
        self.waiting.push(row.original, Some(answer));
        Ok(None)
    }

    /// Receives replies until no more rows wait for theirs, nor more bytes.
    async fn receive(&mut self, rows_max: usize, bytes_max: usize) -> Result<(), Failure> {
        let Some(timeout) = self.way.timeout else {
            return Ok(());
        };
        while self.waiting.len() > rows_max || self.waiting.bytes > bytes_max {
            let reply = tokio::time::timeout(timeout, self.requester.next_reply()).await;
            let Ok(reply) = reply else {
                return Err(Failure::new(format_args!(
                    "no reply within {}; what was sent stays in the queue {}, and its reply will not be kept. Is a worker running, \
                     and can it reach its database?",
                    humantime::format_duration(timeout),
                    self.way.queue,
                )));
            };
            let reply = reply
                .map_err(Failure::new)?
                .ok_or_else(|| Failure::new("the broker closed the channel"))?;
            self.waiting.accept(reply);
            self.tell()?;
        }
        self.report.as_mut().map_or(Ok(()), Report::flush)
    }

    /// Tells of the rows whose turn it is.
    fn tell(&mut self) -> Result<(), Failure> {
        if self.way.timeout.is_none() {
            // Nobody will: of these rows no more will be known.
            self.waiting.forget_open();
        }
        while let Some((original, answer)) = self.waiting.take() {
            let outcome = Outcome::of_reply(&answer.body, answer.code);
            self.tally.add(answer.origin, outcome.error);
            match (&mut self.report, original) {
                (Some(report), Some(original)) => report.write(&original, &outcome)?,
                _ if self.way.timeout.is_none() => {
                    if answer.origin == Origin::Unreadable {
                        self.progress.suspend(|| say(outcome.error_text));
                    }
                }
                _ => self.progress.suspend(|| put_bytes(&answer.body))?,
            }
        }
        self.progress.set(match self.way.timeout {
            Some(_) => self.tally.rows(),
            None => self.tally.sent,
        });
        Ok(())
    }
}

fn answer(outcome: &Outcome, origin: Origin) -> Result<Answer, Failure> {
    Ok(Answer {
        body: serde_json::to_vec(outcome).map_err(Failure::new)?,
        code: Some(outcome.error),
        origin,
    })
}
