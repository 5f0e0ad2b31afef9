//! `profile-worker field`

use clap::Subcommand;

use super::block_on;
use super::flags::DatabaseFlags;
use super::output::{Failure, list, say};
use crate::domain::custom_field::FieldType;
use crate::domain::profile::is_reserved;
use crate::store::pool::Store;

/// Define, list and remove custom fields of a database.
///
/// A field that is defined is checked in each request, and in XML converted to its type. One that
/// is not is stored as it comes, unless the database is strict (see `profile-worker database
/// strict`). Profiles that are stored already are left as they are.
#[derive(clap::Args)]
#[command(arg_required_else_help = true)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Define a field, or change its type.
    Add {
        /// The database that it belongs to.
        #[arg(long, value_name = "ID")]
        db: i64,
        /// Its name in requests.
        #[arg(value_parser = name)]
        name: String,
        /// string, integer, number, boolean, date, date-time, strings (an array of them) or object.
        #[arg(value_name = "TYPE", value_parser = field_type)]
        field_type: FieldType,
        #[command(flatten)]
        flags: DatabaseFlags,
    },
    /// List the fields.
    List {
        /// As JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        flags: DatabaseFlags,
    },
    /// Remove a definition; values that are stored stay.
    Remove {
        /// The database that it belongs to.
        #[arg(long, value_name = "ID")]
        db: i64,
        /// Its name in requests.
        name: String,
        #[command(flatten)]
        flags: DatabaseFlags,
    },
}

fn name(name: &str) -> Result<String, String> {
    if name.is_empty() || name.contains('\0') {
        return Err("must not be empty".to_owned());
    }
    if is_reserved(name) {
        return Err("every database has this field, with a type of its own".to_owned());
    }
    Ok(name.to_owned())
}

fn field_type(name: &str) -> Result<FieldType, String> {
    FieldType::parse(name).ok_or_else(|| {
        format!(
            "must be one of {}",
            FieldType::ALL.map(FieldType::name).join(", ")
        )
    })
}

pub(super) fn run(arguments: Arguments) -> Result<(), Failure> {
    match arguments.command {
        Command::Add {
            db,
            name,
            field_type,
            flags,
        } => {
            let url = flags.source().database()?;
            block_on(async {
                Ok(Store::new(&url, 1)?
                    .define_field(db, &name, field_type)
                    .await?)
            })?;
            say(format_args!(
                "field {name:?} of database {db} is {}",
                field_type.name()
            ));
            Ok(())
        }
        Command::List { json, flags } => {
            let url = flags.source().database()?;
            let fields = block_on(async { Ok(Store::new(&url, 1)?.fields().await?) })?;
            list(json, &fields, &["DB", "NAME", "TYPE"], |field| {
                vec![
                    field.db_id.to_string(),
                    field.name.clone(),
                    field.field_type.clone(),
                ]
            })
        }
        Command::Remove { db, name, flags } => {
            let url = flags.source().database()?;
            block_on(async { Ok(Store::new(&url, 1)?.remove_field(db, &name).await?) })?;
            say(format_args!(
                "removed the definition of field {name:?} of database {db}"
            ));
            Ok(())
        }
    }
}
