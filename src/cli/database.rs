//! `profile-worker database`

use clap::Subcommand;
use clap::builder::NonEmptyStringValueParser;

use super::block_on;
use super::flags::DatabaseFlags;
use super::output::{Failure, list, put, say};
use crate::store::pool::Store;

/// Make, list and change databases: the tenants' sets of profiles that requests name by `db_id`.
#[derive(clap::Args)]
#[command(arg_required_else_help = true)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make a database; prints its id.
    Create {
        /// What people call it.
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        name: String,
        /// Take no custom fields but those that are defined (see `profile-worker field`).
        #[arg(long)]
        strict: bool,
        #[command(flatten)]
        flags: DatabaseFlags,
    },
    /// Take only custom fields that are defined, or any.
    Strict {
        /// Its id.
        id: i64,
        /// on: a request with another custom field is an error. off: such a field is stored as it
        /// comes.
        #[arg(value_name = "on|off", value_parser = ["on", "off"])]
        switch: String,
        #[command(flatten)]
        flags: DatabaseFlags,
    },
    /// List the databases.
    List {
        /// As JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        flags: DatabaseFlags,
    },
}

pub(super) fn run(arguments: Arguments) -> Result<(), Failure> {
    match arguments.command {
        Command::Create {
            name,
            strict,
            flags,
        } => {
            let url = flags.source().database()?;
            let id =
                block_on(async { Ok(Store::new(&url, 1)?.create_database(&name, strict).await?) })?;
            say(format_args!("made database {name:?} with id {id}"));
            put(id)
        }
        Command::Strict { id, switch, flags } => {
            let url = flags.source().database()?;
            block_on(async { Ok(Store::new(&url, 1)?.set_strict(id, switch == "on").await?) })?;
            say(format_args!(
                "database {id} is {}",
                if switch == "on" {
                    "strict"
                } else {
                    "not strict"
                }
            ));
            Ok(())
        }
        Command::List { json, flags } => {
            let url = flags.source().database()?;
            let databases = block_on(async { Ok(Store::new(&url, 1)?.databases().await?) })?;
            list(json, &databases, &["ID", "STRICT", "NAME"], |database| {
                let strict = if database.strict { "yes" } else { "no" };
                vec![
                    database.id.to_string(),
                    strict.to_owned(),
                    database.name.clone(),
                ]
            })
        }
    }
}
