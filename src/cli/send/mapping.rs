//! From the columns of a table to the fields of a profile.

use std::collections::HashSet;

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use super::column_names::{meaning, plain};
use crate::cli::output::Failure;
use crate::domain::kind::{Field, Kind};
use crate::domain::{parse, profile};

/// What becomes of each column.
#[derive(Debug)]
pub(super) struct Mapping {
    columns: Vec<Column>,
}

#[derive(Debug)]
struct Column {
    name: String,
    /// The field; `None` if the column is left out.
    field: Option<String>,
    shape: Shape,
}

/// What a cell becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Text,
    /// A number if it is one, else a word.
    NumberOrWord,
    /// Any number of them, which other columns add to.
    Phones,
    /// JSON, as a cell has no other way to hold an object.
    Json,
}

impl Shape {
    fn of(field: &str) -> Self {
        if field == profile::SUBSCRIPTIONS {
            return Self::Json;
        }
        match Field::find(profile::FIELDS, field).map(|field| field.kind) {
            Some(Kind::Phones) => Self::Phones,
            Some(Kind::Sex | Kind::Status) => Self::NumberOrWord,
            _ => Self::Text,
        }
    }
}

/// A `column=field` of the command line; an empty field leaves the column out.
#[derive(Debug, Clone)]
pub(super) struct Told {
    column: String,
    field: String,
}

impl Told {
    /// Reads `column=field`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (column, field) = text
            .rsplit_once('=')
            .ok_or("must be COLUMN=FIELD, or COLUMN= to leave the column out")?;
        Ok(Self {
            column: column.trim().to_owned(),
            field: field.trim().to_owned(),
        })
    }
}

impl Mapping {
    /// Finds a field for each column: what the command line says, else what its name means, else a
    /// custom field of its name.
    pub(super) fn new(header: &[String], told: &[Told]) -> Result<Self, Failure> {
        let mut fields: Vec<Option<Option<String>>> = vec![None; header.len()];
        for Told { column, field } in told {
            let field = (!field.is_empty()).then(|| field.clone());
            for index in find(header, column)? {
                fields[index] = Some(field.clone());
            }
        }
        let mut taken: HashSet<String> = HashSet::new();
        for (field, name) in fields.iter().zip(header) {
            if let Some(Some(field)) = field {
                let is_new = taken.insert(field.clone());
                if !is_new && Shape::of(field) != Shape::Phones {
                    return Err(Failure::usage(format_args!(
                        "--map: the field {field} has one value, and \"{name}\" is the second \
                         column that goes there; leave one out: --map \"{name}=\""
                    )));
                }
            }
        }
        let columns = header.iter().zip(fields).map(|(name, told)| {
            let field = told.unwrap_or_else(|| guess(name, &mut taken));
            Column {
                name: name.clone(),
                shape: field.as_deref().map_or(Shape::Text, Shape::of),
                field,
            }
        });
        Ok(Self {
            columns: columns.collect(),
        })
    }

    /// Shows it, a column in each line.
    pub(super) fn describe(&self) -> String {
        let width = self
            .columns
            .iter()
            .map(|column| column.name.chars().count());
        let width = width.max().unwrap_or(0);
        let lines = self.columns.iter().map(|column| {
            let name = &column.name;
            match &column.field {
                None => format!("  {name:width$}  left out\n"),
                Some(field) if profile::is_reserved(field) => format!("  {name:width$}  {field}\n"),
                Some(field) => format!("  {name:width$}  {field} (custom field)\n"),
            }
        });
        lines.collect()
    }

    /// Makes the profile of a row. Blank cells are not given.
    pub(super) fn profile<'a>(&'a self, cells: impl Iterator<Item = &'a str>) -> Profile<'a> {
        let mut fields: Vec<(&str, Cell<'_>)> = Vec::with_capacity(self.columns.len());
        for (column, cell) in self.columns.iter().zip(cells) {
            let (Some(field), cell) = (&column.field, cell.trim()) else {
                continue;
            };
            if cell.is_empty() {
                continue;
            }
            let phones = (column.shape == Shape::Phones)
                .then(|| fields.iter_mut().find(|(name, _)| name == field))
                .flatten();
            match phones {
                Some((_, Cell::Phones(all))) => all.extend(phones_in(cell)),
                _ => fields.push((field, Cell::new(column.shape, cell))),
            }
        }
        Profile(fields)
    }
}

/// The columns of this name; what is wrong names those that there are.
fn find(header: &[String], column: &str) -> Result<Vec<usize>, Failure> {
    let all = |is_it: &dyn Fn(&str) -> bool| -> Vec<usize> {
        let columns = header.iter().enumerate();
        let found = columns.filter(|(_, name)| is_it(name));
        found.map(|(index, _)| index).collect()
    };
    let mut found = all(&|name| name == column);
    if found.is_empty() {
        found = all(&|name| plain(name) == plain(column));
    }
    if found.is_empty() {
        let names: Vec<_> = header.iter().map(|name| format!("\"{name}\"")).collect();
        return Err(Failure::usage(format_args!(
            "--map: there is no column \"{column}\"; the columns are {}",
            names.join(", ")
        )));
    }
    Ok(found)
}

/// The field that nobody has said; two columns never have one, but for phones.
fn guess(column: &str, taken: &mut HashSet<String>) -> Option<String> {
    let own = column.to_lowercase();
    let standard = if profile::is_reserved(&own) {
        Some(own.as_str())
    } else {
        meaning(column)
    };
    if let Some(field) = standard
        && (taken.insert(field.to_owned()) || Shape::of(field) == Shape::Phones)
    {
        return Some(field.to_owned());
    }
    let name = custom_name(column)?;
    let names = (2..).map(|number: u32| format!("{name}_{number}"));
    std::iter::once(name.clone())
        .chain(names)
        .find(|name| !profile::is_reserved(&name.to_lowercase()) && taken.insert(name.clone()))
}

/// The name of a custom field: a column's name as it is, if it is one word, else in lower case with
/// `_` between its words. `None` if it has no letters.
fn custom_name(column: &str) -> Option<String> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    if column.contains(char::is_alphanumeric) && column.chars().all(is_word) {
        return Some(column.to_owned());
    }
    let words = column
        .split(|c| !is_word(c))
        .filter(|word| !word.is_empty());
    let name = words.collect::<Vec<_>>().join("_").to_lowercase();
    (!name.is_empty()).then_some(name)
}

/// The fields of a profile, in the order of the columns.
pub(super) struct Profile<'a>(Vec<(&'a str, Cell<'a>)>);

impl Serialize for Profile<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, cell)| (name, cell)))
    }
}

#[derive(Serialize)]
#[serde(untagged)]
enum Cell<'a> {
    Text(&'a str),
    Integer(i64),
    Phones(Vec<&'a str>),
    Json(&'a RawValue),
}

impl<'a> Cell<'a> {
    fn new(shape: Shape, text: &'a str) -> Self {
        match shape {
            Shape::Text => Self::Text(text),
            Shape::NumberOrWord => parse::int64(text).map_or(Self::Text(text), Self::Integer),
            Shape::Phones => Self::Phones(phones_in(text).collect()),
            Shape::Json => serde_json::from_str(text).map_or(Self::Text(text), Self::Json),
        }
    }
}

/// The phone numbers of a cell: people put several into one, and none has such a sign in it.
fn phones_in(cell: &str) -> impl Iterator<Item = &str> {
    // Google Contacts writes ` ::: ` between them.
    let numbers = cell.split([',', ';', '|', '\n', '\r']);
    let numbers = numbers.flat_map(|numbers| numbers.split(":::"));
    numbers.map(str::trim).filter(|number| !number.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(header: &[&str], told: &[&str]) -> Result<Mapping, Failure> {
        let header: Vec<_> = header.iter().map(|&name| name.to_owned()).collect();
        let told: Vec<_> = told.iter().map(|text| Told::parse(text).unwrap()).collect();
        Mapping::new(&header, &told)
    }

    fn fields(header: &[&str], told: &[&str]) -> Vec<String> {
        let mapping = mapping(header, told).unwrap();
        let columns = mapping.columns.into_iter();
        columns
            .map(|column| column.field.unwrap_or_default())
            .collect()
    }

    fn profile(header: &[&str], cells: &[&str]) -> String {
        let mapping = mapping(header, &[]).unwrap();
        serde_json::to_string(&mapping.profile(cells.iter().copied())).unwrap()
    }

    #[test]
    fn a_column_goes_where_its_name_says() {
        for (header, wanted) in [
            (
                &["E-Mail", "Vorname", "Телефон", "PLZ"][..],
                &["email", "_fname", "phones", "_postal_code"][..],
            ),
            (&["_STATUS", "subscriptions"], &["_status", "subscriptions"]),
            // Not ours: anything may be called so.
            (&["Status", "OS"], &["Status", "OS"]),
            (&["Phone", "Mobile"], &["phones", "phones"]),
            (&["Email", "E-mail"], &["email", "e_mail"]),
            (
                &["Email", "email", "EMAIL"],
                &["email", "email_2", "EMAIL_2"],
            ),
            (
                &["Loyalty level", "userId", "Бонусы (руб.)", "", "№"],
                &["loyalty_level", "userId", "бонусы_руб", "", ""],
            ),
            (&["Tag", "Tag", "Tag"], &["Tag", "Tag_2", "Tag_3"]),
        ] {
            assert_eq!(fields(header, &[]), wanted, "{header:?}");
        }
    }

    #[test]
    fn the_command_line_wins() {
        let header = &["Email", "Work mail", "Notes"];
        let told = &["Work mail=email", "notes="];
        assert_eq!(fields(header, told), ["Email_2", "email", ""]);
        assert_eq!(fields(&["a=b"], &["a=b=x"]), ["x"]);
        assert_eq!(
            fields(&["x", "y"], &["x=phones", "y=phones"]),
            ["phones", "phones"]
        );
    }

    #[test]
    fn what_cannot_be_mapped_is_told() {
        let told = |told: &[&str]| format!("{:?}", mapping(&["Имя", "Email"], told).unwrap_err());
        let text = told(&["Фамилия=_lname"]);
        assert!(
            text.contains(r#"no column \"Фамилия\"; the columns are \"Имя\", \"Email\""#),
            "{text}"
        );
        let text = told(&["Имя=email", "Email=email"]);
        assert!(text.contains("has one value"), "{text}");
        assert!(Told::parse("Email").is_err());
    }

    #[test]
    fn cells_become_what_their_fields_want() {
        let header = &[
            "email", "phones", "Mobile", "_sex", "_status", "level", "_fname",
        ];
        for (cells, wanted) in [
            (
                &[
                    " a@b.de ",
                    "+7 900 000-00-00, +1 202 555 0123",
                    "+33 1 23 45 67 89",
                    "1",
                    "",
                    "7",
                    "Jo",
                ][..],
                r#"{"email":"a@b.de","phones":["+7 900 000-00-00","+1 202 555 0123","+33 1 23 45 67 89"],"_sex":1,"level":"7","_fname":"Jo"}"#,
            ),
            (
                &[
                    "",
                    "",
                    "+1 202 555 0123 ::: +1 202 555 0124",
                    "male",
                    "-3",
                    "",
                    "\u{a0}",
                ],
                r#"{"phones":["+1 202 555 0123","+1 202 555 0124"],"_sex":"male","_status":-3}"#,
            ),
            (&["a@b.de"], r#"{"email":"a@b.de"}"#),
        ] {
            assert_eq!(profile(header, cells), wanted);
        }
        let subscriptions = r#"[{"resource_id":1,"channel":"email"}]"#;
        assert_eq!(
            profile(&["subscriptions"], &[subscriptions]),
            format!(r#"{{"subscriptions":{subscriptions}}}"#)
        );
        assert_eq!(
            profile(&["subscriptions"], &["News"]),
            r#"{"subscriptions":"News"}"#
        );
    }

    #[test]
    fn it_can_be_shown() {
        let shown = mapping(&["E-Mail", "Level", "Notes"], &["Notes="])
            .unwrap()
            .describe();
        assert_eq!(
            shown,
            "  E-Mail  email\n  Level   Level (custom field)\n  Notes   left out\n"
        );
    }
}
