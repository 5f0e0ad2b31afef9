//! The report: each row of the file with what became of it, in the order of the file.
//!
//! It grows at its end only, row by row. So whatever ends us, it says what is done, but for the
//! last row, which may be torn.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, BufWriter, Seek, SeekFrom, Write};

use csv::{StringRecord, WriterBuilder};

use super::extent::{self, Extent};
use super::lines::{with_outcome, without_outcome};
use super::outcome::{NAMES, Outcome};
use super::row::Original;
use super::table::reader;
use crate::cli::output::Failure;

/// How a report is written: as the file that it is of.
#[derive(Debug, Clone)]
pub(super) enum Form {
    /// A table with these columns, and what stands between them.
    Table {
        /// The names of the columns, without the report's own.
        header: Vec<String>,
        /// What stands between cells.
        delimiter: u8,
    },
    /// An object in each line.
    Lines,
}

impl Form {
    /// What a report begins with, before its rows.
    fn head(&self) -> io::Result<Vec<u8>> {
        match self {
            Self::Table { header, delimiter } => {
                let mut builder = WriterBuilder::new();
                let mut row = builder.delimiter(*delimiter).from_writer(MARK.to_vec());
                row.write_record(header.iter().map(String::as_str).chain(NAMES))?;
                row.into_inner().map_err(|error| error.into_error())
            }
            Self::Lines => Ok(Vec::new()),
        }
    }
}

/// A report that is being written.
pub(super) struct Report {
    name: String,
    rows: Writer,
}

enum Writer {
    Table(Box<csv::Writer<File>>),
    Lines(BufWriter<File>),
}

/// The rows that a report has from an earlier run.
pub(super) struct Past {
    /// How many there are that have not been taken.
    pub(super) rows: u64,
    reader: PastReader,
}

enum PastReader {
    Table(csv::Reader<File>),
    Lines(BufReader<File>),
}

/// Excel takes a file for UTF-8 only if it begins with this.
const MARK: &[u8] = b"\xef\xbb\xbf";

impl Report {
    /// Begins a report. One that is there is never overwritten.
    pub(super) fn create(name: &str, form: &Form) -> Result<Self, Failure> {
        let file = OpenOptions::new().write(true).create_new(true).open(name);
        let file = file.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => Failure::usage(format_args!(
                "{name} is there already: --resume goes on with it, or choose another name"
            )),
            _ => Failure::new(format_args!("can't make {name}: {error}")),
        })?;
        lock(name, &file)?;
        Self::begin(name, form, file).map_err(|error| unwritable(name, &error))
    }

    fn begin(name: &str, form: &Form, mut file: File) -> io::Result<Self> {
        file.write_all(&form.head()?)?;
        Ok(Self::at_end(name, form, file))
    }

    fn at_end(name: &str, form: &Form, file: File) -> Self {
        Self {
            name: name.to_owned(),
            rows: match form {
                Form::Table { delimiter, .. } => {
                    let mut builder = WriterBuilder::new();
                    Writer::Table(Box::new(builder.delimiter(*delimiter).from_writer(file)))
                }
                Form::Lines => Writer::Lines(BufWriter::new(file)),
            },
        }
    }

    /// Goes on with a report that is there; a torn end is cut off. If none is there, it begins one.
    pub(super) fn resume(name: &str, form: &Form) -> Result<(Self, Option<Past>), Failure> {
        let mut file = match OpenOptions::new().read(true).write(true).open(name) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok((Self::create(name, form)?, None));
            }
            Err(error) => return Err(unwritable(name, &error)),
        };
        lock(name, &file)?;
        let foreign = |what: String| {
            Failure::usage(format_args!(
                "{name} is not the report of this file: {what}"
            ))
        };
        let past = Past::open(name, form).map_err(|error| unwritable(name, &error))?;
        let Extent { rows, end } = past.extent(form).map_err(foreign)?;
        let resumed = (|| {
            file.set_len(end)?;
            file.seek(SeekFrom::Start(end))?;
            if end == 0 {
                return Ok((Self::begin(name, form, file)?, None));
            }
            let mut past = Past::open(name, form)?;
            past.rows = rows;
            past.skip_header()?;
            Ok((Self::at_end(name, form, file), Some(past)))
        })();
        resumed.map_err(|error| unwritable(name, &error))
    }

    /// Adds a row.
    pub(super) fn write(&mut self, original: &Original, outcome: &Outcome) -> Result<(), Failure> {
        let written = match (&mut self.rows, original) {
            (Writer::Table(rows), Original::Cells(cells)) => {
                let said = outcome.cells().map(|cell| cell.replace(['\r', '\n'], " "));
                let cells = cells.iter().chain(said.iter().map(String::as_str));
                rows.write_record(cells).map_err(io::Error::from)
            }
            (Writer::Lines(rows), Original::Text(text)) => with_outcome(text, outcome)
                .map_err(io::Error::from)
                .and_then(|line| writeln!(rows, "{line}")),
            _ => unreachable!("a report has the form of its file"),
        };
        written.map_err(|error| unwritable(&self.name, &error))
    }

    /// Hands what was written to the operating system, which keeps it if this process is killed.
    pub(super) fn flush(&mut self) -> Result<(), Failure> {
        self.flush_file()
            .map_err(|error| unwritable(&self.name, &error))
    }

    fn flush_file(&mut self) -> io::Result<()> {
        match &mut self.rows {
            Writer::Table(rows) => rows.flush(),
            Writer::Lines(rows) => rows.flush(),
        }
    }
}

/// Keeps others from writing it, until this process ends.
fn lock(name: &str, file: &File) -> Result<(), Failure> {
    file.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => {
            Failure::new(format_args!("{name} is being written by another `send`"))
        }
        TryLockError::Error(error) => unwritable(name, &error),
    })
}

fn unwritable(name: &str, error: &io::Error) -> Failure {
    Failure::new(format_args!("can't write the report {name}: {error}"))
}

impl Past {
    fn open(name: &str, form: &Form) -> io::Result<Self> {
        let file = File::open(name)?;
        let reader = match form {
            Form::Table { delimiter, .. } => {
                PastReader::Table(reader(*delimiter).from_reader(file))
            }
            Form::Lines => PastReader::Lines(BufReader::new(file)),
        };
        Ok(Self { rows: 0, reader })
    }

    fn skip_header(&mut self) -> io::Result<()> {
        match &mut self.reader {
            PastReader::Table(rows) => {
                rows.read_record(&mut StringRecord::new())?;
            }
            PastReader::Lines(_) => {}
        }
        Ok(())
    }

    /// Finds what of the report is whole; an error says why it is another file's.
    fn extent(self, form: &Form) -> Result<Extent, String> {
        match (self.reader, form) {
            (PastReader::Table(mut rows), Form::Table { header, .. }) => {
                let head = form.head().map_err(|error| error.to_string())?;
                extent::of_table(&mut rows, header, &head)
            }
            (PastReader::Lines(mut lines), _) => extent::of_lines(&mut lines),
            _ => unreachable!("a report has the form of its file"),
        }
    }

    /// Takes the next row; none once all whole ones were taken.
    pub(super) fn next(&mut self) -> Result<Option<Original>, Failure> {
        if self.rows == 0 {
            return Ok(None);
        }
        self.rows -= 1;
        let problem = |error| Failure::new(format_args!("can't read the report: {error}"));
        Ok(Some(match &mut self.reader {
            PastReader::Table(rows) => {
                let mut row = StringRecord::new();
                rows.read_record(&mut row)
                    .map_err(|error| problem(error.into()))?;
                row.truncate(row.len().saturating_sub(NAMES.len()));
                Original::Cells(row)
            }
            PastReader::Lines(lines) => {
                let mut line = String::new();
                lines.read_line(&mut line).map_err(problem)?;
                Original::Text(without_outcome(line.trim_end()).0)
            }
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A name for a file that no other test has.
    fn new_name(what: &str) -> String {
        let name = format!("profile-worker-report-{}-{what}", std::process::id());
        let path = std::env::temp_dir().join(name);
        drop(fs::remove_file(&path));
        path.to_str().unwrap().to_owned()
    }

    fn table() -> Form {
        Form::Table {
            header: vec!["a".to_owned(), "b".to_owned()],
            delimiter: b';',
        }
    }

    fn cells(cells: &[&str]) -> Original {
        Original::Cells(cells.iter().collect())
    }

    fn text(text: &str) -> Original {
        Original::Text(text.to_owned())
    }

    fn added() -> Outcome {
        Outcome {
            error: 0,
            error_text: String::new(),
            profile_id: "6638e1e8ee44bb50a67115c4".to_owned(),
        }
    }

    /// What a report has, whatever was cut off its end: whole rows, then nothing.
    fn survives_any_cut(name: &str, form: &Form, rows: &[Original], from: usize) {
        let mut report = Report::create(name, form).unwrap();
        for (row, outcome) in rows
            .iter()
            .zip([added(), Outcome::unreadable("x;\n\"y")].iter().cycle())
        {
            report.write(row, outcome).unwrap();
        }
        report.flush().unwrap();
        drop(report);
        let whole = fs::read(name).unwrap();
        for end in from..=whole.len() {
            fs::write(name, &whole[..end]).unwrap();
            let (mut report, past) = Report::resume(name, form).unwrap();
            let mut done = 0;
            if let Some(mut past) = past {
                while let Some(row) = past.next().unwrap() {
                    assert_eq!(row, rows[done], "cut at {end}");
                    done += 1;
                }
            }
            for (index, row) in rows.iter().enumerate().skip(done) {
                let outcome = if index % 2 == 0 {
                    added()
                } else {
                    Outcome::unreadable("x;\n\"y")
                };
                report.write(row, &outcome).unwrap();
            }
            report.flush().unwrap();
            drop(report);
            assert_eq!(fs::read(name).unwrap(), whole, "cut at {end}");
            if end == whole.len() {
                assert_eq!(done, rows.len());
            }
        }
        fs::remove_file(name).unwrap();
    }

    #[test]
    fn a_torn_table_goes_on_where_it_was_whole() {
        let rows = [
            cells(&["1", "two\nlines"]),
            cells(&["3;", "\"4\""]),
            cells(&["", "ж\r\n\n"]),
            cells(&["7", "\n"]),
        ];
        survives_any_cut(&new_name("table"), &table(), &rows, 0);
    }

    #[test]
    fn torn_lines_go_on_where_they_were_whole() {
        let rows = [
            text("{\"a\":1}"),
            text("<xml>\n</xml>"),
            text("{}"),
            text("ж"),
        ];
        let first = with_outcome("{\"a\":1}", &added()).unwrap();
        survives_any_cut(&new_name("lines"), &Form::Lines, &rows, first.len() + 1);
    }

    #[test]
    fn a_table_is_for_spreadsheets() {
        let name = new_name("spreadsheet");
        let mut report = Report::create(&name, &table()).unwrap();
        report
            .write(&cells(&["1", "x;y"]), &Outcome::unreadable("no"))
            .unwrap();
        report.flush().unwrap();
        assert_eq!(
            fs::read_to_string(&name).unwrap(),
            "\u{feff}a;b;error;error_text;profile_id\n1;\"x;y\";400;no;\n"
        );
        fs::remove_file(name).unwrap();
    }

    #[test]
    fn a_report_has_one_writer() {
        let name = new_name("writer");
        let report = Report::create(&name, &Form::Lines).unwrap();
        assert!(Report::resume(&name, &Form::Lines).is_err());
        drop(report);
        assert!(Report::resume(&name, &Form::Lines).is_ok());
        fs::remove_file(name).unwrap();
    }

    #[test]
    fn a_file_of_others_is_left_alone() {
        let name = new_name("others");
        for (form, content) in [
            (table(), "a;c;error;error_text;profile_id\n1;2;0;;\n"),
            (table(), "a;b\n1;2\n"),
            (
                table(),
                "\u{feff}a;b;error;error_text;profile_id\n1;2\n3;4;0;;\n",
            ),
            (table(), "mine"),
            (table(), "mine\n"),
            (Form::Lines, "{\"a\":1}\n"),
            (Form::Lines, "mine"),
        ] {
            fs::write(&name, content).unwrap();
            assert!(Report::create(&name, &form).is_err());
            assert!(Report::resume(&name, &form).is_err(), "{content}");
            assert_eq!(fs::read_to_string(&name).unwrap(), content);
        }
        fs::remove_file(name).unwrap();
    }
}
