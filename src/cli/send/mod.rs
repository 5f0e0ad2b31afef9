//! `profile-worker send`: the producer's side, for trying things out and for files of people.
//!
//! A [`mod@file`] of some [`mod@format`] and [`text`] encoding has [`rows`]: those of a [`table`]
//! or of [`cards`], which become profiles by a [`mapping`], or [`lines`]. Of each a [`request`] is
//! made. They are checked without servers ([`check`]), or read ahead ([`chunks`]), sent
//! ([`sending`]) and told of in the order of the file ([`waiting`], [`report`]).

mod cards;
mod check;
mod chunks;
mod column_names;
mod dry_run;
mod extent;
mod file;
mod format;
mod input;
mod lines;
mod mapping;
mod outcome;
mod progress;
mod report;
mod request;
mod row;
mod rows;
mod sending;
mod summary;
mod table;
mod text;
mod waiting;

use std::fs;
use std::time::{Duration, Instant};

use self::file::{FileFlags, OpenFile};
use self::format::Format;
use self::progress::Progress;
use self::report::Report;
use self::request::Naming;
use self::sending::{Sending, Way};
use self::summary::{SOME_REFUSED, rows as in_words};
use super::block_on;
use super::flags::SenderFlags;
use super::output::{Failure, say};
use super::sender::random_id;
use crate::broker::connection::{Connection, Frames};
use crate::broker::requester::Requester;

/// Send profiles or requests from a file, and tell what became of each.
///
/// The file can be a table with a header, as Excel, Google Sheets and others save it (CSV);
/// contacts (vCard); a request or a profile in each line (JSON Lines); or one request, in JSON or
/// XML. Of profiles requests are made: they need --db and a token (API_TOKEN, API_TOKEN_FILE or
/// --token-file). See first what becomes of them: --dry-run.
///
/// Each reply is one line on standard output, in the order of the file, or a row of the --report.
/// What was sent halfway can be sent again: nothing is added twice.
///
/// Exit codes: 0 all answered with error 0, 3 all answered but some refused, 1 not all answered,
/// 64 wrong command line.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The file, or "-" for standard input.
    file: String,
    #[command(flatten)]
    file_flags: FileFlags,
    #[command(flatten)]
    what: Sent,
    #[command(flatten)]
    settings: SenderFlags,
}

#[derive(clap::Args)]
#[command(next_help_heading = "What to do")]
struct Sent {
    /// Send nothing: print the requests, a line each, and say what a worker would find wrong. Needs
    /// no servers; tokens, resources and emails that are taken are not known.
    #[arg(long, conflicts_with_all = ["check", "report", "no_wait"])]
    dry_run: bool,
    /// The same without the requests: print what is wrong, and where.
    #[arg(long, conflicts_with_all = ["report", "no_wait"])]
    check: bool,
    /// Write each row with what became of it (error, error_text, profile_id) into this file, CSV
    /// for CSV. It can be mended and sent itself: rows that were added are not sent again.
    #[arg(long, value_name = "FILE", conflicts_with = "no_wait")]
    report: Option<String>,
    /// Go on after an interruption: rows that the report has are not sent again.
    #[arg(long, requires = "report")]
    resume: bool,
    /// Do not wait for replies; they go to the result queue.
    #[arg(long)]
    no_wait: bool,
    /// How long to wait for the next reply. [default: 30s]
    #[arg(long, value_name = "DURATION", default_value = "30s", hide_default_value = true, value_parser = humantime::parse_duration)]
    timeout: Duration,
    /// The idempotency key: a request that was sent with it before is not added again but answered
    /// as it was then; another body is another request. With --lines each line gets it with "-" and
    /// its number. At most 235 bytes. [default: a random one; for profiles, and with --report, the
    /// same each time, with a hash of the request]
    #[arg(long, value_name = "ID", value_parser = message_id)]
    message_id: Option<String>,
    /// The content type, such as application/json. [default: none, the worker looks at the body]
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
    /// A file with the API token of requests that have none.
    #[arg(long, value_name = "FILE")]
    token_file: Option<String>,
}

/// The key of requests that are known by what they are.
const KEY: &str = "send";

fn message_id(text: &str) -> Result<String, String> {
    // Room for a line's number behind it: a message id has at most 255 bytes.
    if (1..=235).contains(&text.len()) {
        Ok(text.to_owned())
    } else {
        Err("must have 1 to 235 bytes".to_owned())
    }
}

pub(super) fn run(arguments: Arguments) -> Result<(), Failure> {
    let Arguments {
        file,
        file_flags,
        what,
        settings,
    } = arguments;
    if let Some(report) = &what.report
        && is_same_file(report, &file)
    {
        return Err(Failure::usage(
            "--report: must be another file than the one that is sent",
        ));
    }
    let file = file_flags.open(&file, what.report.is_some())?;
    if what.dry_run || what.check {
        let body_max = settings.source().checker()?;
        let checker = check::Checker::new(body_max, what.content_type)?;
        return dry_run::run(file.rows, &checker, what.dry_run);
    }
    block_on(send(file, what, settings))
}

fn is_same_file(one: &str, other: &str) -> bool {
    let [one, other] = [one, other].map(|name| fs::canonicalize(name).ok());
    one.is_some() && one == other
}

async fn send(file: OpenFile, what: Sent, settings: SenderFlags) -> Result<(), Failure> {
    let source = settings.source().with_token_file(what.token_file.clone());
    let (url, queue, token) = source.sender()?;
    if token.is_none() && file.has_profiles && file.format != Format::JsonLines {
        return Err(Failure::usage(
            "no API token: give it as API_TOKEN, or in a file: --token-file FILE, API_TOKEN_FILE",
        ));
    }
    let way = Way {
        queue,
        naming: naming(&file, &what)?,
        content_type: what.content_type,
        token,
        timeout: (!what.no_wait).then_some(what.timeout),
    };
    let go_on = go_on(&way.naming, what.report.is_some());
    let connection = Connection::open(&url, "profile-worker send", Frames::Large)
        .await
        .map_err(Failure::new)?;
    let requester = Requester::open(&connection, !what.no_wait)
        .await
        .map_err(Failure::new)?;
    let (report, past) = match &what.report {
        Some(name) if what.resume => {
            let (report, past) = Report::resume(name, &file.form)?;
            (Some(report), past)
        }
        Some(name) => (Some(Report::create(name, &file.form)?), None),
        None => (None, None),
    };
    let reported = past.as_ref().map_or(0, |past| past.rows);
    if what.resume {
        say(format_args!(
            "The report has {} already",
            in_words(reported)
        ));
    }
    let progress = if file.format == Format::Request {
        Progress::hidden()
    } else {
        Progress::shown(file.position)
    };
    let mut sending = Sending::new(way, requester, report, progress, reported);
    let started = Instant::now();
    let chunks = chunks::read(file.rows, past)?;
    let sent = tokio::select! {
        sent = sending.send_all(chunks) => sent,
        _ = tokio::signal::ctrl_c() => Err(Failure::new("stopped")),
    };
    let (tally, flushed) = sending.finish();
    connection.close().await;
    if sent.is_ok() || tally.rows() > 0 {
        say(tally.summary(started.elapsed(), what.no_wait));
    }
    if sent.is_err() && tally.sent > 0 && !what.no_wait {
        say(go_on);
    }
    sent.and(flushed)?;
    if tally.refused() + tally.unreadable == 0 {
        Ok(())
    } else {
        Err(Failure::with_code(
            SOME_REFUSED,
            format_args!(
                "{} of {} requests refused",
                tally.refused() + tally.unreadable,
                tally.answered() + tally.unreadable
            ),
        ))
    }
}

fn naming(file: &OpenFile, what: &Sent) -> Result<Naming, Failure> {
    let given = what.message_id.clone();
    let is_by_contents = file.has_profiles || (given.is_none() && what.report.is_some());
    Ok(match file.format {
        _ if is_by_contents => Naming::Contents(given.unwrap_or_else(|| KEY.to_owned())),
        Format::Request => Naming::Whole(given.map_or_else(random_id, Ok)?),
        _ => Naming::Numbers(given.map_or_else(random_id, Ok)?),
    })
}

/// Says how to go on after an interruption.
fn go_on(naming: &Naming, has_report: bool) -> String {
    match naming {
        _ if has_report => "To go on: the same command with --resume".to_owned(),
        Naming::Contents(_) => {
            "To go on: the same command again, nothing is added twice".to_owned()
        }
        Naming::Whole(key) | Naming::Numbers(key) => {
            format!("To go on later without adding anything twice, and be told: --message-id {key}")
        }
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
