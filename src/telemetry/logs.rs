//! Logs, on standard error: text for people, JSON for machines.
//!
//! Levels: `error` somebody must act; `warn` degraded, or recovered from a fault; `info` start,
//! stop, changes of state; `debug` one line per batch and one per request. Never a token, a body,
//! an email address or a phone number.
//!
//! Fields have one name everywhere: `message_id` and `correlation_id` of a request ([`truncated`],
//! as the producer chooses them), `db_id`, `profile_id`, `code` of a reply, `elapsed_ms`.
//!
//! Whoever logs never waits: lines go through a bounded queue to a thread that writes them. A pipe
//! behind standard error that nobody reads would stop lanes and heartbeats else. What does not fit
//! into the queue is dropped and counted, and the log says so once it is read again.

use std::borrow::Cow;
use std::io::{IsTerminal, Stderr, Write, stderr};
use std::sync::{Mutex, OnceLock, mpsc};
use std::time::{Duration, Instant};

use tracing::Dispatch;
use tracing::dispatcher::{set_global_default, with_default};
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::Directive;
use tracing_subscriber::fmt::{MakeWriter, Subscriber};

use crate::sync::lock;

/// `LOG_FORMAT` and `RUST_LOG`.
#[derive(Debug, Clone)]
pub struct LogConfig {
    /// JSON for machines rather than text for people.
    pub json: bool,
    /// In the syntax of `tracing_subscriber::EnvFilter`.
    pub filter: String,
}

/// So many lines wait for the thread that writes them; some megabytes at most.
const LINES_MAX: usize = 8192;

/// While lines are dropped all the time, this often it is said how many.
const SAY_EVERY: Duration = Duration::from_secs(1);

/// What may happen with every batch is said this often.
const SELDOM: Duration = Duration::from_secs(10);

/// How long the end of the process waits for somebody to read its last lines. The library's own
/// limit is a little shorter, but then it prints to standard output, which may be the same pipe.
const LAST_LINES_MAX: Duration = Duration::from_millis(1200);

/// The longest part of an id that is logged: a producer may choose ids of any length.
const ID_MAX_BYTES: usize = 128;

/// The thread that writes. Kept for [`finish`].
static WRITING: Mutex<Option<WorkerGuard>> = Mutex::new(None);

/// Lines that did not fit into the queue.
static DROPPED: OnceLock<ErrorCounter> = OnceLock::new();

/// Begins to log, for the rest of the process. [`finish`] must be called before it ends.
pub(crate) fn init(config: &LogConfig) {
    let writer = Writer {
        stderr: stderr(),
        config: config.clone(),
        told: 0,
        told_at: Instant::now(),
    };
    let builder = NonBlockingBuilder::default()
        .buffered_lines_limit(LINES_MAX)
        .lossy(true)
        .thread_name("log");
    let (queue, guard) = builder.finish(writer);
    let dropped = queue.error_counter();
    if set_global_default(dispatch(config, queue)).is_err() {
        tracing::warn!("logging was set up twice; the first one stays");
        return;
    }
    // There is one, as there is one default.
    drop(DROPPED.set(dropped));
    *lock(&WRITING) = Some(guard);
    std::panic::set_hook(Box::new(|panic| {
        // Only the place: the message of a panic may quote the text that it stumbled over.
        let place = panic
            .location()
            .map(ToString::to_string)
            .unwrap_or_default();
        tracing::error!(place, "panic");
    }));
}

/// Waits until the last lines are written, if somebody reads them.
pub(crate) fn finish() {
    // Locked until then: who ends the process meanwhile waits, too.
    let mut writing = lock(&WRITING);
    let guard = writing.take();
    let (done, is_done) = mpsc::sync_channel(1);
    std::thread::spawn(move || {
        drop(guard);
        done.send(()).ok();
    });
    is_done.recv_timeout(LAST_LINES_MAX).ok();
}

/// Lines that were dropped so far.
pub(crate) fn dropped() -> u64 {
    DROPPED
        .get()
        .map_or(0, |counter| counter.dropped_lines() as u64)
}

/// Something that may happen very often and is said now and then, all of it together.
#[derive(Debug, Default)]
pub struct RateLimitedLog(Mutex<Untold>);

#[derive(Debug, Default)]
struct Untold {
    count: u64,
    told_at: Option<Instant>,
}

impl RateLimitedLog {
    /// Counts so many more; returns how many since the last line, if it is time for another.
    pub fn happened(&self, count: u64) -> Option<u64> {
        let mut untold = lock(&self.0);
        untold.count += count;
        if untold
            .told_at
            .is_some_and(|told_at| told_at.elapsed() < SELDOM)
        {
            return None;
        }
        untold.told_at = Some(Instant::now());
        Some(std::mem::take(&mut untold.count))
    }
}

/// The id of a request as it is logged: cut, and what is no text replaced.
pub(crate) fn truncated(id: Option<&[u8]>) -> Option<Cow<'_, str>> {
    let id = id?;
    match std::str::from_utf8(id) {
        Ok(text) => Some(Cow::Borrowed(
            &text[..text.floor_char_boundary(ID_MAX_BYTES)],
        )),
        Err(_) => Some(String::from_utf8_lossy(&id[..id.len().min(ID_MAX_BYTES)])),
    }
}

/// What makes lines of events.
fn dispatch(
    config: &LogConfig,
    writer: impl for<'w> MakeWriter<'w> + Send + Sync + 'static,
) -> Dispatch {
    let builder = Subscriber::builder()
        .with_writer(writer)
        .with_env_filter(filter(&config.filter));
    if config.json {
        builder.json().flatten_event(true).finish().into()
    } else {
        builder
            .with_ansi(stderr().is_terminal())
            .with_target(false)
            .finish()
            .into()
    }
}

/// Writes lines, and says how many were dropped before.
struct Writer {
    stderr: Stderr,
    config: LogConfig,
    told: u64,
    told_at: Instant,
}

impl Writer {
    fn tell(&mut self) {
        let dropped = dropped();
        let lines = dropped - self.told;
        if lines == 0 {
            return;
        }
        (self.told, self.told_at) = (dropped, Instant::now());
        // Past the queue, which may be full again.
        with_default(&dispatch(&self.config, stderr), || {
            tracing::warn!(
                lines,
                "log lines were dropped, as standard error was not read in time"
            );
        });
    }
}

impl Write for Writer {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        let written = self.stderr.write(line)?;
        if line[..written].ends_with(b"\n") && self.told_at.elapsed() >= SAY_EVERY {
            self.tell();
        }
        Ok(written)
    }

    /// The queue is empty.
    fn flush(&mut self) -> std::io::Result<()> {
        self.tell();
        self.stderr.flush()
    }
}

/// The operator's filter, and what must hold whatever it says.
fn filter(text: &str) -> EnvFilter {
    let mut filter = EnvFilter::new(text);
    if !text.contains("lapin") {
        // Says in its own words what we say in ours: that a connection is lost.
        filter = filter.add_directive(off("lapin=off"));
    }
    if !text.contains("deadpool") {
        // The same.
        filter = filter.add_directive(off("deadpool=off"));
    }
    // Logs whole messages that the broker returned, and a reply may hold an email address.
    filter.add_directive(off("lapin::returned_messages=off"))
}

fn off(directive: &'static str) -> Directive {
    match directive.parse() {
        Ok(directive) => directive,
        Err(_) => unreachable!("a constant of the right form"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn returned_messages_are_never_logged() {
        for text in ["trace", "lapin=trace", "info,lapin::returned_messages=warn"] {
            let printed = filter(text).to_string();
            assert!(
                printed.contains("lapin::returned_messages=off"),
                "{printed}"
            );
            assert!(
                !printed.contains("lapin::returned_messages=warn"),
                "{printed}"
            );
        }
    }

    #[test]
    fn what_happens_often_is_said_at_first_and_then_log() {
        let log = RateLimitedLog::default();
        assert_eq!(log.happened(3), Some(3));
        assert_eq!(log.happened(2), None);
        assert_eq!(log.happened(2), None);
        let long_ago = Instant::now().checked_sub(SELDOM * 2);
        log.0.lock().unwrap().told_at = long_ago;
        assert_eq!(log.happened(1), Some(5));
    }

    #[test]
    fn a_long_id_is_cut_between_characters() {
        assert_eq!(truncated(None), None);
        assert_eq!(truncated(Some(b"m-1")).as_deref(), Some("m-1"));
        assert_eq!(truncated(Some(b"m\xff1")).as_deref(), Some("m\u{fffd}1"));
        let long = "é".repeat(100);
        assert_eq!(
            truncated(Some(long.as_bytes())).as_deref(),
            Some(&*"é".repeat(64))
        );
    }
}
