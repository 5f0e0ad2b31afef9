//! The rows of a file, whatever its format: read, and made requests of.

use std::io::{self, BufRead, BufReader, Read};

use super::cards::Cards;
use super::input::unreadable;
use super::lines::without_outcome;
use super::mapping::Mapping;
use super::request::Wrapping;
use super::row::{Content, Original, Place, Row};
use super::table::{Table, TableRow};
use crate::cli::output::Failure;

/// Bytes of a file, as far as a reader has not taken them.
pub(super) type Bytes = Box<dyn Read + Send>;

/// The rows of a file.
pub(super) struct Rows {
    name: String,
    source: Source,
    /// Whether the rows keep what a report repeats.
    keeps_originals: bool,
}

/// What rows are read from.
pub(super) enum Source {
    /// A table, whose rows are profiles.
    Table {
        table: Records,
        mapping: Mapping,
        wrapping: Wrapping,
    },
    /// Lines, each of which is a request; or a profile, if it is said what to put them into.
    Lines {
        lines: BufReader<Bytes>,
        wrapping: Option<Wrapping>,
        number: u64,
    },
    /// All is one request; `None` once it is read.
    Whole(Option<Bytes>),
}

/// What has rows of cells.
pub(super) enum Records {
    /// CSV.
    Table(Box<Table<Bytes>>),
    /// vCard.
    Cards(Box<Cards<Bytes>>),
}

impl Records {
    fn next(&mut self) -> io::Result<Option<TableRow>> {
        match self {
            Self::Table(table) => table.next().map_err(io::Error::from),
            Self::Cards(cards) => cards.next(),
        }
    }
}

impl Source {
    /// Makes lines of bytes that are UTF-8, or at least were not found to be something else.
    pub(super) fn lines(bytes: Bytes, wrapping: Option<Wrapping>) -> Self {
        Self::Lines {
            lines: BufReader::new(bytes),
            wrapping,
            number: 0,
        }
    }
}

impl Rows {
    pub(super) fn new(name: String, source: Source, keeps_originals: bool) -> Self {
        Self {
            name,
            source,
            keeps_originals,
        }
    }

    fn read(&mut self) -> Result<Option<Row>, Failure> {
        let problem = |error| unreadable(&self.name, &error);
        match &mut self.source {
            Source::Table {
                table,
                mapping,
                wrapping,
            } => {
                let row = table.next().map_err(problem)?;
                row.map(|row| table_row(row, mapping, *wrapping))
                    .transpose()
            }
            Source::Lines {
                lines,
                wrapping,
                number,
            } => loop {
                let mut line = Vec::new();
                if lines.read_until(b'\n', &mut line).map_err(problem)? == 0 {
                    return Ok(None);
                }
                *number += 1;
                if *number == 1 && line.starts_with(b"\xef\xbb\xbf") {
                    line.drain(..3);
                }
                line.truncate(line.trim_ascii_end().len());
                if !line.is_empty() {
                    return Ok(Some(line_row(line, *number, *wrapping)));
                }
            },
            Source::Whole(bytes) => {
                let Some(mut bytes) = bytes.take() else {
                    return Ok(None);
                };
                let mut body = Vec::new();
                bytes.read_to_end(&mut body).map_err(problem)?;
                let text = String::from_utf8_lossy(&body).trim_end().to_owned();
                Ok(Some(Row {
                    place: Place(None),
                    original: Some(Original::Text(text)),
                    content: Content::Request(body),
                }))
            }
        }
    }
}

impl Iterator for Rows {
    type Item = Result<Row, Failure>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut row = self.read().transpose()?;
        if let Ok(row) = &mut row
            && !self.keeps_originals
        {
            row.original = None;
        }
        Some(row)
    }
}

fn table_row(row: TableRow, mapping: &Mapping, wrapping: Wrapping) -> Result<Row, Failure> {
    let content = match (row.flaw, row.outcome) {
        (Some(flaw), _) => Content::Unreadable(flaw),
        (None, Some(outcome)) if outcome.is_added() => Content::Added(outcome),
        _ => {
            let body = wrapping.wrap(&mapping.profile(row.cells.iter()));
            Content::Request(body.map_err(Failure::new)?)
        }
    };
    Ok(Row {
        place: Place(Some(row.line)),
        content,
        original: Some(Original::Cells(row.cells)),
    })
}

fn line_row(line: Vec<u8>, number: u64, wrapping: Option<Wrapping>) -> Row {
    let (text, outcome) = match str::from_utf8(&line) {
        Ok(text) => without_outcome(text),
        Err(_) => (String::from_utf8_lossy(&line).into_owned(), None),
    };
    let content = match (outcome, wrapping) {
        (Some(outcome), _) if outcome.is_added() => Content::Added(outcome),
        (_, Some(wrapping)) => match wrapping.wrap_line(&text) {
            Ok(body) => Content::Request(body),
            Err(flaw) => Content::Unreadable(flaw),
        },
        (Some(_), None) => Content::Request(text.clone().into_bytes()),
        (None, None) => Content::Request(line),
    };
    Row {
        place: Place(Some(number)),
        content,
        original: Some(Original::Text(text)),
    }
}
