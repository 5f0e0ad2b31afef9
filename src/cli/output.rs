//! What the commands print, and how they fail.

use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;
use std::sync::mpsc;
use std::time::Duration;

use serde::Serialize;

use crate::config::Problems;
use crate::store::access::AccessError;
use crate::store::email::{ContractError, CorrectError, FillError};
use crate::store::error::StoreError;
use crate::store::schema::MigrateError;

/// The exit code of a wrong command line or configuration (EX_USAGE of sysexits).
const USAGE: u8 = 64;

/// How long a command that failed waits for somebody to read why.
const LAST_WORDS_MAX: Duration = Duration::from_secs(1);

/// A command did not do what it was asked for.
#[derive(Debug)]
pub(super) struct Failure {
    code: u8,
    text: String,
}

impl Failure {
    pub(super) fn new(what: impl Display) -> Self {
        Self::with_code(1, what)
    }

    pub(super) fn with_code(code: u8, what: impl Display) -> Self {
        Self {
            code,
            text: what.to_string(),
        }
    }

    pub(super) fn usage(what: impl Display) -> Self {
        Self::with_code(USAGE, what)
    }

    /// Says so on standard error. Nobody need read it: a worker that has to end does so.
    pub(super) fn report(self) -> ExitCode {
        let (done, is_done) = mpsc::sync_channel(1);
        std::thread::spawn(move || {
            for line in self.text.lines() {
                say(format_args!("profile-worker: {line}"));
            }
            done.send(()).ok();
        });
        is_done.recv_timeout(LAST_WORDS_MAX).ok();
        ExitCode::from(self.code)
    }
}

impl From<Problems> for Failure {
    fn from(problems: Problems) -> Self {
        Self::usage(problems)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::new(match error {
            StoreError::Unavailable(text) => {
                format!(
                    "can't reach PostgreSQL: {text}; check DATABASE_URL and that the server runs"
                )
            }
            other => other.to_string(),
        })
    }
}

impl From<AccessError> for Failure {
    fn from(error: AccessError) -> Self {
        match error {
            AccessError::Store(error) => error.into(),
            other => Self::new(other),
        }
    }
}

impl From<FillError> for Failure {
    fn from(error: FillError) -> Self {
        match error {
            FillError::Store(error) => error.into(),
            FillError::Schema(error) => error.into(),
            other => Self::new(other),
        }
    }
}

impl From<ContractError> for Failure {
    fn from(error: ContractError) -> Self {
        match error {
            ContractError::Store(error) => error.into(),
            ContractError::Schema(error) => error.into(),
            ContractError::Fill(error) => error.into(),
            other => Self::new(other),
        }
    }
}

impl From<CorrectError> for Failure {
    fn from(error: CorrectError) -> Self {
        match error {
            CorrectError::Store(error) => error.into(),
            other => Self::new(other),
        }
    }
}

impl From<MigrateError> for Failure {
    fn from(error: MigrateError) -> Self {
        match error {
            MigrateError::Store(error) => error.into(),
            other => Self::new(other),
        }
    }
}

/// Prints clap's words: help and version are no failure, everything else is.
pub(super) fn usage(error: &clap::Error) -> ExitCode {
    // A closed standard output is nothing that anybody could be told of.
    drop(error.print());
    ExitCode::from(if error.use_stderr() { USAGE } else { 0 })
}

/// Words for people.
pub(super) fn say(words: impl Display) {
    drop(writeln!(std::io::stderr(), "{words}"));
}

/// Something for scripts, a line of its own. `Err` if nobody reads any more.
pub(super) fn put(line: impl Display) -> Result<(), Failure> {
    put_bytes(line.to_string().as_bytes())
}

/// Prints a line of bytes on standard output.
pub(super) fn put_bytes(line: &[u8]) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    let written = out.write_all(line).and_then(|()| out.write_all(b"\n"));
    written.map_err(|error| Failure::new(format_args!("can't write to standard output: {error}")))
}

/// A list: as JSON for scripts, or as a table with the given columns for people.
pub(super) fn list<T: Serialize>(
    json: bool,
    items: &[T],
    head: &[&str],
    row: impl Fn(&T) -> Vec<String>,
) -> Result<(), Failure> {
    if json {
        return put(serde_json::to_string_pretty(items).map_err(Failure::new)?);
    }
    let mut rows = vec![head.iter().map(ToString::to_string).collect::<Vec<_>>()];
    rows.extend(items.iter().map(row));
    let width = |column: usize| {
        rows.iter()
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<_> = (0..head.len()).map(width).collect();
    for row in &rows {
        let cells = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"));
        put(cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
}
