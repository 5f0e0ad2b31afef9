//! Contact cards (vCard 2.1, 3.0 and 4.0) as the rows of a table.

use std::io::{self, BufRead, BufReader, Read};

use calcard::vcard::{VCard, VCardEntry, VCardParameterName, VCardProperty, VCardSex, VCardValue};
use calcard::{Entry, Parser};
use csv::StringRecord;

use super::table::TableRow;
use super::text::{Decoded, FOREIGN_BYTES};

/// The columns that a card has.
pub(super) const COLUMNS: [&str; 18] = [
    "email",
    "other_emails",
    "phones",
    "first_name",
    "last_name",
    "full_name",
    "birthday",
    "birthday_without_year",
    "gender",
    "city",
    "region",
    "postal_code",
    "country_name",
    "time_zone",
    "organization",
    "job_title",
    "url",
    "note",
];

/// Cards that are read one by one.
pub(super) struct Cards<R> {
    lines: BufReader<Decoded<R>>,
    /// The lines that were read.
    number: u64,
}

const BEGIN: &str = "BEGIN:VCARD";
const END: &str = "END:VCARD";

impl<R: Read> Cards<R> {
    pub(super) fn new(text: Decoded<R>) -> Self {
        Self {
            lines: BufReader::new(text),
            number: 0,
        }
    }

    /// Reads the next card. What stands between cards is left out.
    pub(super) fn next(&mut self) -> io::Result<Option<TableRow>> {
        self.lines.get_mut().begin_row();
        let mut text = String::new();
        let mut begin = 0;
        let mut has_end = false;
        while !has_end {
            let start = text.len();
            if self.lines.read_line(&mut text)? == 0 {
                break;
            }
            self.number += 1;
            let line = text[start..].trim();
            if begin == 0 {
                if line.eq_ignore_ascii_case(BEGIN) {
                    begin = self.number;
                } else {
                    text.clear();
                }
            } else {
                has_end = line.eq_ignore_ascii_case(END);
            }
        }
        Ok((begin > 0).then(|| self.row(begin, &text, has_end)))
    }

    fn row(&self, line: u64, text: &str, has_end: bool) -> TableRow {
        let is_damaged = self.lines.get_ref().is_damaged() && text.contains('\u{fffd}');
        let (cells, flaw) = match Parser::new(text).entry() {
            _ if !has_end => (none(), Some("is a vCard without END:VCARD")),
            _ if is_damaged => (none(), Some(FOREIGN_BYTES)),
            Entry::VCard(card) => (cells(&card), None),
            _ => (none(), Some("is no vCard")),
        };
        TableRow {
            line,
            cells: StringRecord::from(Vec::from(cells)),
            outcome: None,
            flaw: flaw.map(str::to_owned),
        }
    }
}

fn none() -> [String; COLUMNS.len()] {
    COLUMNS.map(|_| String::new())
}

fn cells(card: &VCard) -> [String; COLUMNS.len()] {
    let mut emails = all(card, &VCardProperty::Email).into_iter();
    let email = emails.next().unwrap_or_default();
    let name = entry(card, &VCardProperty::N);
    let address = entry(card, &VCardProperty::Adr);
    let (birthday, birthday_without_year) = birthday(entry(card, &VCardProperty::Bday));
    let phones = all(card, &VCardProperty::Tel).into_iter();
    let phones = phones.map(|number| match number.strip_prefix("tel:") {
        Some(number) => number.to_owned(),
        None => number,
    });
    let only = |property| all(card, &property).into_iter().next().unwrap_or_default();
    // The order of RFC 6350, 6.2.2 and 6.3.1.
    [
        email,
        emails.collect::<Vec<_>>().join(", "),
        phones.collect::<Vec<_>>().join(", "),
        part(name, 1),
        part(name, 0),
        only(VCardProperty::Fn),
        birthday,
        birthday_without_year,
        sex(entry(card, &VCardProperty::Gender)),
        part(address, 3),
        part(address, 4),
        part(address, 5),
        part(address, 6),
        only(VCardProperty::Tz),
        only(VCardProperty::Org),
        only(VCardProperty::Title),
        only(VCardProperty::Url),
        only(VCardProperty::Note),
    ]
}

fn entry<'c>(card: &'c VCard, property: &VCardProperty) -> Option<&'c VCardEntry> {
    card.entries.iter().find(|entry| entry.name == *property)
}

/// The texts of all properties of this name.
fn all(card: &VCard, property: &VCardProperty) -> Vec<String> {
    let entries = card.entries.iter().filter(|entry| entry.name == *property);
    let texts = entries.map(|entry| part(Some(entry), 0));
    texts.filter(|text| !text.is_empty()).collect()
}

/// One of the parts of a structured text; of several values of a part all.
fn part(entry: Option<&VCardEntry>, index: usize) -> String {
    match entry.and_then(|entry| entry.values.get(index)) {
        Some(VCardValue::Text(text)) => text.trim().to_owned(),
        Some(VCardValue::Component(texts)) => texts.join(", ").trim().to_owned(),
        _ => String::new(),
    }
}

/// A day, or what of one is known: people leave out the year, and Apple writes 1604 for none.
fn birthday(entry: Option<&VCardEntry>) -> (String, String) {
    let Some(entry) = entry else {
        return Default::default();
    };
    let has_no_year = entry.params.iter().any(|parameter| {
        matches!(&parameter.name, VCardParameterName::Other(name)
            if name.eq_ignore_ascii_case("X-APPLE-OMIT-YEAR"))
    });
    match entry.values.first() {
        Some(VCardValue::PartialDateTime(date)) => match (date.year, date.month, date.day) {
            (Some(year), Some(month), Some(day)) if !has_no_year => {
                (format!("{year:04}-{month:02}-{day:02}"), String::new())
            }
            (_, Some(month), Some(day)) => (String::new(), format!("--{month:02}-{day:02}")),
            _ => Default::default(),
        },
        _ => (part(Some(entry), 0), String::new()),
    }
}

fn sex(entry: Option<&VCardEntry>) -> String {
    match entry.and_then(|entry| entry.values.first()) {
        Some(VCardValue::Sex(VCardSex::Male)) => "male".to_owned(),
        Some(VCardValue::Sex(VCardSex::Female)) => "female".to_owned(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use encoding_rs::UTF_8;

    use super::*;

    fn rows(text: &str) -> Vec<TableRow> {
        let mut cards = Cards::new(Decoded::new(text.as_bytes(), UTF_8));
        std::iter::from_fn(|| cards.next().unwrap()).collect()
    }

    /// The cells of the only card that are not empty, each with its column.
    fn told(text: &str) -> Vec<String> {
        let rows = rows(text);
        assert_eq!((rows.len(), &rows[0].flaw), (1, &None));
        let cells = COLUMNS.iter().zip(&rows[0].cells);
        let given = cells.filter(|(_, cell)| !cell.is_empty());
        given.map(|(name, cell)| format!("{name}={cell}")).collect()
    }

    #[test]
    fn cards_as_programs_write_them() {
        for (source, card, wanted) in [
            (
                "RFC 6350, 8",
                "BEGIN:VCARD\r\nVERSION:4.0\r\nFN:Simon Perreault\r\nN:Perreault;Simon;;;ing. jr,M.Sc.\r\n\
                 BDAY:--0203\r\nANNIVERSARY:20090808T1430-0500\r\nGENDER:M\r\nLANG;PREF=1:fr\r\n\
                 ORG;TYPE=work:Viagenie\r\nADR;TYPE=work:;Suite D2-630;2875 Laurier;Quebec;QC;G1V 2M2;Canada\r\n\
                 TEL;VALUE=uri;TYPE=\"work,voice\";PREF=1:tel:+1-418-656-9254;ext=102\r\n\
                 TEL;VALUE=uri;TYPE=\"work,cell\":tel:+1-418-262-6501\r\nEMAIL;TYPE=work:simon.perreault@viagenie.ca\r\n\
                 TZ:-0500\r\nEND:VCARD\r\n",
                &[
                    "email=simon.perreault@viagenie.ca",
                    "phones=+1-418-656-9254;ext=102, +1-418-262-6501",
                    "first_name=Simon",
                    "last_name=Perreault",
                    "full_name=Simon Perreault",
                    "birthday_without_year=--02-03",
                    "gender=male",
                    "city=Quebec",
                    "region=QC",
                    "postal_code=G1V 2M2",
                    "country_name=Canada",
                    "organization=Viagenie",
                ][..],
            ),
            (
                "Apple Contacts",
                "BEGIN:VCARD\nVERSION:3.0\nN:Doe;Jane;;;\nFN:Jane Doe\nitem1.EMAIL;type=INTERNET;type=pref:jane@example.com\n\
                 item1.X-ABLabel:_$!<Other>!$_\nEMAIL;type=HOME:j@example.org\nTEL;type=CELL;type=VOICE:+1 (202) 555-0123\n\
                 BDAY;X-APPLE-OMIT-YEAR=1604:1604-04-15\nNOTE:one\\, two\\nthree and a line th\n at is folded\nEND:VCARD\n",
                &[
                    "email=jane@example.com",
                    "other_emails=j@example.org",
                    "phones=+1 (202) 555-0123",
                    "first_name=Jane",
                    "last_name=Doe",
                    "full_name=Jane Doe",
                    "birthday_without_year=--04-15",
                    "note=one, two\nthree and a line that is folded",
                ],
            ),
            (
                "Google Contacts",
                "BEGIN:VCARD\r\nVERSION:3.0\r\nFN:Иван Петров\r\nN:Петров;Иван;;;\r\nTEL;TYPE=CELL:+7 900 000-00-00\r\n\
                 BDAY:19960415\r\nTZ:Europe/Moscow\r\nEND:VCARD\r\n",
                &[
                    "phones=+7 900 000-00-00",
                    "first_name=Иван",
                    "last_name=Петров",
                    "full_name=Иван Петров",
                    "birthday=1996-04-15",
                    "time_zone=Europe/Moscow",
                ],
            ),
            (
                "Android, 2.1",
                "BEGIN:VCARD\nVERSION:2.1\nN;CHARSET=UTF-8;ENCODING=QUOTED-PRINTABLE:=D0=9F=D0=B5=D1=82=D1=80=D0=BE=D0=B2;=D0=98=D0=B2=D0=B0=D0=BD;;;\n\
                 TEL;CELL:+79000000000\nBDAY:1996-04-15\nEND:VCARD\n",
                &[
                    "phones=+79000000000",
                    "first_name=Иван",
                    "last_name=Петров",
                    "birthday=1996-04-15",
                ],
            ),
        ] {
            assert_eq!(told(card), wanted, "{source}");
        }
    }

    #[test]
    fn cards_follow_each_other() {
        let card = |name| format!("BEGIN:VCARD\nVERSION:3.0\nFN:{name}\nEND:VCARD\n");
        let rows = rows(&format!("{}\n{}begin:vcard\nFN:torn", card("a"), card("b")));
        let lines: Vec<_> = rows.iter().map(|row| (row.line, &row.cells[5])).collect();
        assert_eq!(lines[..2], [(1, "a"), (6, "b")]);
        assert_eq!(lines.len(), 3);
        assert!(rows[0].flaw.is_none() && rows[2].flaw.is_some());
    }

    #[test]
    fn the_columns_mean_the_fields_of_a_profile() {
        for (column, field) in [
            ("phones", Some("phones")),
            ("first_name", Some("_fname")),
            ("last_name", Some("_lname")),
            ("birthday", Some("_bdate")),
            ("gender", Some("_sex")),
            ("postal_code", Some("_postal_code")),
            ("time_zone", Some("_tz")),
            ("country_name", None),
            ("full_name", None),
            ("birthday_without_year", None),
        ] {
            assert_eq!(
                crate::cli::send::column_names::meaning(column),
                field,
                "{column}"
            );
            assert!(COLUMNS.contains(&column));
        }
    }
}
