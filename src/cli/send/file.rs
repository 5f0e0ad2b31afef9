//! Opening the file: what it is, in which encoding, with what between its cells; and saying so.

use encoding_rs::{Encoding, UTF_8};

use super::cards::{COLUMNS, Cards};
use super::format::Format;
use super::input::{HEAD_BYTES, Input, Position};
use super::mapping::{Mapping, Told};
use super::report::Form;
use super::request::Wrapping;
use super::rows::{Records, Rows, Source};
use super::table::{Table, delimiter, delimiter_name, guess_delimiter};
use super::text::{Charset, Decoded, KnownBy, encoding};
use crate::cli::output::{Failure, say};

/// What the command line says of the file.
#[derive(clap::Args)]
#[command(next_help_heading = "The file")]
pub(super) struct FileFlags {
    /// What the file is: csv, json-lines, vcard or request (all of it is one). [default: by its
    /// name, else by how it begins]
    #[arg(long, value_name = "FORMAT", hide_possible_values = true)]
    format: Option<Format>,
    /// Each line is a request of its own: --format json-lines. Empty lines are left out.
    #[arg(long, conflicts_with = "format")]
    lines: bool,
    /// Its encoding, such as windows-1251 or utf-16le. [default: by its byte order mark; else UTF-8
    /// if it is that; else, of CSV and vCard, a guess that is shown]
    #[arg(long, value_name = "NAME", value_parser = encoding)]
    encoding: Option<&'static Encoding>,
    /// What stands between the cells of CSV: one character, or tab. [default: a guess that is
    /// shown]
    #[arg(long, value_name = "CHARACTER", value_parser = delimiter)]
    delimiter: Option<u8>,
    /// The field that a column becomes, or none (--map Notes=); can be repeated. [default: by the
    /// column's name, shown; what is no standard field becomes a custom field]
    #[arg(long, value_name = "COLUMN=FIELD", value_parser = Told::parse)]
    map: Vec<Told>,
    /// The database that profiles are added to: needed for files of profiles, not of requests.
    #[arg(long, value_name = "ID", value_parser = clap::value_parser!(i64).range(1..))]
    db: Option<i64>,
    /// Publish no trigger events for these profiles.
    #[arg(long, requires = "db")]
    skip_triggers: bool,
    /// Drop invalid subscriptions of these profiles and add the rest.
    #[arg(long, requires = "db")]
    skip_invalid_subscriptions: bool,
}

/// A file that is ready to be read.
pub(super) struct OpenFile {
    /// Its rows.
    pub(super) rows: Rows,
    /// What it is.
    pub(super) format: Format,
    /// Whether its rows are profiles, of which requests are made.
    pub(super) has_profiles: bool,
    /// How a report on it is written.
    pub(super) form: Form,
    /// How far it is read.
    pub(super) position: Position,
}

impl FileFlags {
    /// Opens the file; says what it was taken for, where that is a guess.
    pub(super) fn open(self, name: &str, keeps_originals: bool) -> Result<OpenFile, Failure> {
        let told = if self.lines {
            Some(Format::JsonLines)
        } else {
            self.format
        };
        let head_bytes = match told {
            // Requests may come slowly, by a pipe: just for a byte order mark.
            Some(Format::JsonLines | Format::Request) => 4,
            _ => HEAD_BYTES,
        };
        let mut input = Input::open(name, head_bytes)?;
        let format = told.unwrap_or_else(|| Format::guess(name, &input.head, self.db.is_some()));
        self.check_place(name, format)?;
        let position = input.position.clone();
        let wrapping = self.db.map(|db_id| Wrapping {
            db_id,
            skip_triggers: self.skip_triggers,
            skip_invalid_subscriptions: self.skip_invalid_subscriptions,
        });
        let (source, form) = match format {
            Format::Csv => self.table(input, needed(wrapping, format)?)?,
            Format::Vcard => self.cards(input, needed(wrapping, format)?)?,
            Format::JsonLines => {
                if told.is_none() {
                    say(format_args!("{name}: {}", format.name()));
                }
                (self.lines(input, wrapping)?, Form::Lines)
            }
            Format::Request => (Source::Whole(Some(input.bytes())), Form::Lines),
        };
        Ok(OpenFile {
            rows: Rows::new(name.to_owned(), source, keeps_originals),
            format,
            has_profiles: wrapping.is_some(),
            form,
            position,
        })
    }

    /// Finds flags that are for other formats.
    fn check_place(&self, name: &str, format: Format) -> Result<(), Failure> {
        let is_request = format == Format::Request;
        let has_columns = matches!(format, Format::Csv | Format::Vcard);
        let text = if !has_columns && !self.map.is_empty() {
            "--map: is for columns"
        } else if format != Format::Csv && self.delimiter.is_some() {
            "--delimiter: is for CSV"
        } else if is_request && self.db.is_some() {
            "--db: is for profiles, of which JSON has one in each line"
        } else if is_request && self.encoding.is_some() {
            "--encoding: a request says it in its content type"
        } else {
            return Ok(());
        };
        let format = format.name();
        Err(Failure::usage(format_args!("{text}; {name} is {format}")))
    }

    fn charset(&self, input: &Input) -> Result<Charset, Failure> {
        Charset::of(&input.head, self.encoding)
            .map_err(|flaw| Failure::new(format_args!("{} {flaw}", input.name)))
    }

    fn table(&self, mut input: Input, wrapping: Wrapping) -> Result<(Source, Form), Failure> {
        let charset = self.charset(&input)?;
        let head = charset.encoding.decode(&input.head).0;
        let guessed = self.delimiter.or_else(|| guess_delimiter(&head));
        let delimiter = guessed.unwrap_or(b',');
        let between = match guessed {
            Some(delimiter) => format!("{} between cells", delimiter_name(delimiter)),
            None => "one column".to_owned(),
        };
        say(format_args!(
            "{}: CSV, {between}, {}",
            input.name,
            charset.describe()
        ));
        let text = Decoded::new(input.bytes(), charset.encoding);
        let table = Table::open(text, delimiter);
        let table = table.map_err(|flaw| Failure::new(format_args!("{} {flaw}", input.name)))?;
        let header = table.header.clone();
        let mapping = self.mapping(&header)?;
        Ok((
            Source::Table {
                table: Records::Table(Box::new(table)),
                mapping,
                wrapping,
            },
            Form::Table { header, delimiter },
        ))
    }

    fn cards(&self, mut input: Input, wrapping: Wrapping) -> Result<(Source, Form), Failure> {
        let charset = self.charset(&input)?;
        say(format_args!(
            "{}: vCard, {}",
            input.name,
            charset.describe()
        ));
        let header = COLUMNS.map(str::to_owned).to_vec();
        let mapping = self.mapping(&header)?;
        let text = Decoded::new(input.bytes(), charset.encoding);
        Ok((
            Source::Table {
                table: Records::Cards(Box::new(Cards::new(text))),
                mapping,
                wrapping,
            },
            Form::Table {
                header,
                delimiter: b',',
            },
        ))
    }

    fn mapping(&self, header: &[String]) -> Result<Mapping, Failure> {
        let mapping = Mapping::new(header, &self.map)?;
        say(format_args!(
            "Its columns become these fields (--map COLUMN=FIELD changes that):\n{}",
            mapping.describe().trim_end()
        ));
        Ok(mapping)
    }

    /// Lines are passed on as they are, if nothing says that they are not UTF-8.
    fn lines(&self, mut input: Input, wrapping: Option<Wrapping>) -> Result<Source, Failure> {
        let charset = match self.encoding {
            Some(_) => self.charset(&input)?,
            None => Encoding::for_bom(&input.head).map_or(
                Charset {
                    encoding: UTF_8,
                    known_by: KnownBy::Validity,
                },
                |(encoding, _)| Charset {
                    encoding,
                    known_by: KnownBy::Mark,
                },
            ),
        };
        let bytes = input.bytes();
        Ok(if charset.encoding == UTF_8 {
            Source::lines(bytes, wrapping)
        } else {
            Source::lines(Box::new(Decoded::new(bytes, charset.encoding)), wrapping)
        })
    }
}

fn needed(wrapping: Option<Wrapping>, format: Format) -> Result<Wrapping, Failure> {
    wrapping.ok_or_else(|| {
        let format = format.name();
        Failure::usage(format_args!(
            "--db: is missing; {format} has profiles, which are added to a database"
        ))
    })
}
