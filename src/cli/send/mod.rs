//! `profile-worker send`: the producer's side, for trying things out and for imports by hand.

mod input;
mod replies;
mod sending;
mod summary;

use std::time::{Duration, Instant};

use self::input::Requests;
use self::sending::Sending;
use super::block_on;
use super::flags::SenderFlags;
use super::output::{Failure, say};
use super::sender::random_id;
use crate::broker::connection::{Connection, Frames};
use crate::broker::requester::Requester;

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
    /// The idempotency key: a request that was sent with it before is not added again but answered
    /// as it was then; another body is another request. With --lines each line gets it with "-" and
    /// its number. At most 235 bytes. [default: a random one]
    #[arg(long, value_name = "ID", value_parser = message_id)]
    message_id: Option<String>,
    /// The content type, such as application/json. [default: none, the worker looks at the body]
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
    #[command(flatten)]
    flags: SenderFlags,
}

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
    let mut requests = Requests {
        input: input::open(&arguments.file).await?,
        file: arguments.file,
        lines: arguments.lines,
        message_id: match arguments.message_id {
            Some(id) => id,
            None => random_id()?,
        },
        content_type: arguments.content_type,
        ended: false,
    };
    let (url, queue) = arguments.flags.source().sender()?;
    let connection = Connection::open(&url, "profile-worker send", Frames::Large)
        .await
        .map_err(Failure::new)?;
    let requester = Requester::open(&connection, !arguments.no_wait)
        .await
        .map_err(Failure::new)?;
    let mut sending = Sending::new(queue, requester, &requests, arguments.timeout);
    let started = Instant::now();
    let sent = sending.send_all(&mut requests, arguments.no_wait).await;
    let tally = sending.finish();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_leaves_room_for_the_number_of_a_line() {
        assert!(message_id("").is_err());
        assert!(message_id(&"x".repeat(235)).is_ok());
        assert!(message_id(&"x".repeat(236)).is_err());
        assert!(message_id(&"ж".repeat(118)).is_err());
    }
}
