//! Publishing the requests, and printing their replies.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::input::{CHUNK, Requests};
use super::replies::Replies;
use super::summary::Tally;
use crate::broker::requester::Requester;
use crate::cli::output::{Failure, put_bytes};
use crate::cli::sender::explain;

/// Requests under way: enough to keep the workers busy, few enough to hold the replies in order.
const WINDOW: u64 = 2000;

/// What has been sent, and what is known of it.
pub(super) struct Sending {
    queue: String,
    requester: Requester,
    message_id: String,
    timeout: Duration,
    tally: Tally,
    replies: Replies,
    progress: ProgressBar,
}

impl Sending {
    /// Makes ready; nothing is sent yet. `timeout` is how long to wait for the next reply.
    pub(super) fn new(
        queue: String,
        requester: Requester,
        requests: &Requests,
        timeout: Duration,
    ) -> Self {
        Self {
            queue,
            requester,
            message_id: requests.message_id.clone(),
            timeout,
            tally: Tally::default(),
            replies: Replies::default(),
            progress: progress(requests.lines),
        }
    }

    /// Clears the progress from the terminal, and returns what became of the requests.
    pub(super) fn finish(&self) -> Tally {
        self.progress.finish_and_clear();
        self.tally
    }

    /// Publishes all requests, and prints their replies unless nobody waits for them.
    pub(super) async fn send_all(
        &mut self,
        requests: &mut Requests,
        no_wait: bool,
    ) -> Result<(), Failure> {
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
                    "no reply within {}; what was sent stays in the queue {}, and its reply will not be kept. Is a worker running, \
                     and can it reach its database? To go on later without adding anything twice, and be told: --message-id {}",
                    humantime::format_duration(self.timeout),
                    self.queue,
                    self.message_id
                )));
            };
            let reply = reply
                .map_err(Failure::new)?
                .ok_or_else(|| Failure::new("the broker closed the channel"))?;
            self.replies.accept(reply);
            self.print_in_order()?;
        }
        Ok(())
    }

    fn print_in_order(&mut self) -> Result<(), Failure> {
        while let Some(reply) = self.replies.take(self.tally.answered) {
            self.tally.answered += 1;
            self.tally.refused += u64::from(reply.error != Some(0));
            self.progress.set_position(self.tally.answered);
            self.progress.suspend(|| put_bytes(&reply.body))?;
        }
        Ok(())
    }
}

/// Shows how far it is; hidden where standard error is no terminal.
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
