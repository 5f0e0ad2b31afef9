//! Tables: CSV with whatever stands between its cells.

use std::io::Read;

use csv::{ReaderBuilder, StringRecord};

use super::outcome::{NAMES, Outcome};
use super::text::{Decoded, FOREIGN_BYTES};

/// A table that is read row by row.
pub(super) struct Table<R> {
    rows: csv::Reader<Decoded<R>>,
    /// The names of the columns, without those that a report adds.
    pub(super) header: Vec<String>,
    /// Whether it is a report, whose last columns say what became of its rows.
    is_report: bool,
}

/// A row of a table.
#[derive(Debug)]
pub(super) struct TableRow {
    /// The line that it begins in.
    pub(super) line: u64,
    /// As many cells as the header has.
    pub(super) cells: StringRecord,
    /// What became of it, if the table is a report.
    pub(super) outcome: Option<Outcome>,
    /// Why it is no row of this table.
    pub(super) flaw: Option<String>,
}

/// What can stand between cells.
const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];

/// So many rows are looked at for a guess.
const LOOKED_AT: usize = 20;

/// What Excel writes, and reads, as the first line: `sep=;`.
const SEPARATOR_LINE: &str = "sep=";

impl<R: Read> Table<R> {
    /// Reads the header. An error says why it is none.
    pub(super) fn open(text: Decoded<R>, delimiter: u8) -> Result<Self, String> {
        let mut rows = reader(delimiter).from_reader(text);
        let mut header = StringRecord::new();
        let mut read = |header: &mut StringRecord| match rows.read_record(header) {
            Ok(true) => Ok(()),
            Ok(false) => Err("has no header: its first row must name the columns".to_owned()),
            Err(error) => Err(error.to_string()),
        };
        read(&mut header)?;
        if header
            .get(0)
            .is_some_and(|cell| cell.starts_with(SEPARATOR_LINE))
        {
            read(&mut header)?;
        }
        let mut header: Vec<_> = header.iter().map(|name| name.trim().to_owned()).collect();
        if let Some(address) = header.iter().position(|name| name.contains('@')) {
            return Err(format!(
                "has no header: cell {} of its first row is no name of a column but an email \
                 address; put a row above it that names the columns",
                address + 1
            ));
        }
        let is_report = header.ends_with(&NAMES.map(str::to_owned));
        if is_report {
            header.truncate(header.len() - NAMES.len());
        }
        Ok(Self {
            rows,
            header,
            is_report,
        })
    }

    /// Reads the next row that is not empty.
    pub(super) fn next(&mut self) -> csv::Result<Option<TableRow>> {
        let mut record = StringRecord::new();
        loop {
            self.rows.get_mut().begin_row();
            if !self.rows.read_record(&mut record)? {
                return Ok(None);
            }
            if record.iter().all(|cell| cell.trim().is_empty()) {
                continue;
            }
            let flaw = self.flaw(&record);
            let width = self.header.len();
            let outcome = self
                .is_report
                .then(|| outcome(&record, width))
                .flatten()
                .filter(|_| flaw.is_none());
            let padding = std::iter::repeat("");
            let cells = record.iter().take(width).chain(padding).take(width);
            return Ok(Some(TableRow {
                line: self.line(&record),
                cells: cells.collect(),
                outcome,
                flaw,
            }));
        }
    }

    /// The line that a row begins in. The reader tells where the one before ended, which may be
    /// before its LF or before empty lines.
    fn line(&self, record: &StringRecord) -> u64 {
        let within = record.as_slice().matches('\n').count() as u64;
        let from_end = self.rows.position().line().saturating_sub(within);
        if self.rows.get_ref().has_crlf() {
            return from_end;
        }
        let told = record.position().map_or(0, csv::Position::line);
        told.max(from_end.saturating_sub(1))
    }

    fn flaw(&self, record: &StringRecord) -> Option<String> {
        let wanted = self.header.len();
        let has = record.len();
        let most = wanted + if self.is_report { NAMES.len() } else { 0 };
        if has < wanted {
            return Some(format!(
                "has {has} of the {wanted} cells of the header: is a line break in a cell without \
                 quotes, or a quote not closed?"
            ));
        }
        if let Some(cell) = record
            .iter()
            .skip(most)
            .find(|cell| !cell.trim().is_empty())
        {
            let cell = shortened(cell);
            return Some(format!(
                "has {has} cells, the header has {wanted}: is a delimiter in a cell without \
                 quotes? One too many is \"{cell}\""
            ));
        }
        let is_damaged = self.rows.get_ref().is_damaged() && record.as_slice().contains('\u{fffd}');
        is_damaged.then(|| FOREIGN_BYTES.to_owned())
    }
}

/// A reader of tables; rows may have too many cells or too few, which is told of each.
pub(super) fn reader(delimiter: u8) -> ReaderBuilder {
    let mut builder = ReaderBuilder::new();
    builder
        .delimiter(delimiter)
        .has_headers(false)
        .flexible(true);
    builder
}

/// What a report says behind so many cells.
fn outcome(record: &StringRecord, width: usize) -> Option<Outcome> {
    Some(Outcome {
        error: record.get(width)?.trim().parse().ok()?,
        error_text: record.get(width + 1)?.to_owned(),
        profile_id: record.get(width + 2)?.to_owned(),
    })
}

/// The begin of a text, for people.
fn shortened(text: &str) -> String {
    const CHARS_MAX: usize = 30;
    let text = text.replace(['\r', '\n'], " ");
    match text.char_indices().nth(CHARS_MAX) {
        None => text,
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

/// Guesses what stands between the cells of a table, by its beginning: what gives the most rows as
/// many cells as the header has, and of these the most cells. `None` where there is one column.
pub(super) fn guess_delimiter(head: &str) -> Option<u8> {
    if let Some(line) = head.strip_prefix(SEPARATOR_LINE) {
        let told = line.bytes().next();
        return told
            .filter(u8::is_ascii)
            .filter(|byte| !byte.is_ascii_control() || *byte == b'\t');
    }
    let score = |delimiter: &u8| {
        let mut rows = reader(*delimiter).from_reader(head.as_bytes());
        let rows = rows.records().map_while(Result::ok).take(LOOKED_AT);
        let widths: Vec<_> = rows.map(|row| row.len()).collect();
        let header = widths.first().copied().filter(|cells| *cells > 1)?;
        let alike = widths.iter().filter(|cells| **cells == header).count();
        Some((alike, header))
    };
    let scored = DELIMITERS.iter().filter_map(|it| Some((score(it)?, *it)));
    let best = scored.max_by_key(|(score, delimiter)| (*score, std::cmp::Reverse(*delimiter)));
    best.map(|(_, delimiter)| delimiter)
}

/// Reads a delimiter of the command line.
pub(super) fn delimiter(text: &str) -> Result<u8, String> {
    match (text, text.as_bytes()) {
        ("tab" | "\\t", _) => Ok(b'\t'),
        (_, [byte]) if byte.is_ascii() && !matches!(byte, b'"' | b'\r' | b'\n') => Ok(*byte),
        _ => Err("must be one ASCII character, or tab".to_owned()),
    }
}

/// What a delimiter is called.
pub(super) fn delimiter_name(delimiter: u8) -> String {
    match delimiter {
        b'\t' => "tab".to_owned(),
        other => format!("\"{}\"", char::from(other)),
    }
}

#[cfg(test)]
mod tests {
    use encoding_rs::UTF_8;

    use super::*;

    fn table(text: &str, delimiter: u8) -> Table<&[u8]> {
        Table::open(Decoded::new(text.as_bytes(), UTF_8), delimiter).unwrap()
    }

    fn rows(text: &str) -> Vec<TableRow> {
        let mut table = table(text, b';');
        std::iter::from_fn(|| table.next().unwrap()).collect()
    }

    #[test]
    fn the_delimiter_is_guessed() {
        for (source, head, wanted) in [
            (
                "Google Sheets",
                "Email,Name\na@b.de,\"Doe, Jane\"\n",
                Some(b','),
            ),
            (
                "Excel in German",
                "E-Mail;Name\na@b.de;Doe, Jane\nc@d.de;Roe, Jo, Dr.\n",
                Some(b';'),
            ),
            (
                "Excel, Unicode text",
                "Email\tName\na@b.de\tDoe, Jane\n",
                Some(b'\t'),
            ),
            ("a database", "email|name\na@b.de|Doe\n", Some(b'|')),
            ("Excel, told", "sep=;\nEmail;Name,x,y\n", Some(b';')),
            (
                "line breaks",
                "Email;Note\na@b.de;\"1,2\n3,4\n5,6\"\n",
                Some(b';'),
            ),
            (
                "decimal commas",
                "Email;Sum\na@b.de;1,5\nb@b.de;2,5\n",
                Some(b';'),
            ),
            ("one column", "Email\na@b.de\n", None),
            ("one column with commas in it", "Name\nDoe, Jane\n", None),
            ("nothing", "", None),
        ] {
            assert_eq!(guess_delimiter(head), wanted, "{source}");
        }
    }

    #[test]
    fn cells_have_line_breaks_and_quotes_and_rows_their_lines() {
        let text = "Email;Note\r\n\"a@b.de\";\"one\r\ntwo; \"\"three\"\"\"\r\n\r\n;\r\nc@d.de;x";
        let rows = rows(text);
        let told: Vec<_> = rows
            .iter()
            .map(|row| (row.line, &row.cells[0], &row.cells[1]))
            .collect();
        assert_eq!(
            told,
            [(2, "a@b.de", "one\r\ntwo; \"three\""), (6, "c@d.de", "x")]
        );
        assert!(
            rows.iter()
                .all(|row| row.flaw.is_none() && row.outcome.is_none())
        );
    }

    #[test]
    fn a_row_of_another_length_is_told_and_others_go_on() {
        let rows = rows("a;b\n1\n1;2;3\n1;2;; \n1;2\n");
        let flaws: Vec<_> = rows
            .iter()
            .map(|row| row.flaw.as_deref().unwrap_or_default())
            .collect();
        assert!(flaws[0].starts_with("has 1 of the 2 cells"), "{flaws:?}");
        assert!(flaws[1].ends_with("One too many is \"3\""), "{flaws:?}");
        assert_eq!(flaws[2..], ["", ""]);
        assert!(rows.iter().all(|row| row.cells.len() == 2));
    }

    #[test]
    fn a_row_in_another_encoding_is_told_and_others_go_on() {
        let bytes = b"a;b\nx;\xe9\nx;y\n";
        let mut table = Table::open(Decoded::new(&bytes[..], UTF_8), b';').unwrap();
        assert!(
            table
                .next()
                .unwrap()
                .unwrap()
                .flaw
                .unwrap()
                .contains("encoding")
        );
        assert!(table.next().unwrap().unwrap().flaw.is_none());
        // A character that was lost before is no fault of this file.
        assert!(rows("a;b\nx;\u{fffd}\n")[0].flaw.is_none());
    }

    #[test]
    fn a_report_is_a_table_with_outcomes() {
        let text = "a;b;error;error_text;profile_id\n1;2;0;;6638e1e8ee44bb50a67115c4\n3;4;400;no;\n5;6;;;\n7;8\n";
        assert_eq!(table(text, b';').header, ["a", "b"]);
        let rows = rows(text);
        let errors: Vec<_> = rows
            .iter()
            .map(|row| row.outcome.as_ref().map(|outcome| outcome.error))
            .collect();
        assert_eq!(errors, [Some(0), Some(400), None, None]);
        assert!(
            rows.iter()
                .all(|row| row.flaw.is_none() && row.cells.len() == 2)
        );
        assert_eq!(table("error;a\n", b';').header, ["error", "a"]);
    }

    #[test]
    fn a_table_needs_a_header() {
        let open = |text: &'static str| {
            Table::open(Decoded::new(text.as_bytes(), UTF_8), b';').map(|table| table.header)
        };
        assert_eq!(
            open("sep=;\na;b\n"),
            Ok(vec!["a".to_owned(), "b".to_owned()])
        );
        assert_eq!(open("\u{feff}a;b\n").unwrap(), ["a", "b"]);
        assert!(open("").unwrap_err().contains("no header"));
        assert!(
            open("Jane;jane@example.com\n")
                .unwrap_err()
                .contains("cell 2")
        );
    }

    #[test]
    fn a_delimiter_is_one_character() {
        assert_eq!(delimiter("tab"), Ok(b'\t'));
        assert_eq!(delimiter(";"), Ok(b';'));
        for bad in ["", ";;", "ж", "\""] {
            assert!(delimiter(bad).is_err(), "{bad}");
        }
        assert_eq!(delimiter_name(b'\t'), "tab");
        assert_eq!(delimiter_name(b';'), "\";\"");
    }
}
