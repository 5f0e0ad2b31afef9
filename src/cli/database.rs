//! `profile-worker database`

use clap::Subcommand;

use super::block_on;
use super::flags::DatabaseFlags;
use super::output::{Failure, list, put, say};
use crate::store::pool::Store;

/// Make and list databases: the tenants' sets of profiles that requests name by `db_id`.
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
        name: String,
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
        Command::Create { name, flags } => {
            let url = flags.source().database()?;
            let id = block_on(async { Ok(Store::new(&url, 1)?.create_database(&name).await?) })?;
            say(format_args!("made database {name:?} with id {id}"));
            put(id)
        }
        Command::List { json, flags } => {
            let url = flags.source().database()?;
            let databases = block_on(async { Ok(Store::new(&url, 1)?.databases().await?) })?;
            list(json, &databases, &["ID", "NAME"], |database| vec![database.id.to_string(), database.name.clone()])
        }
    }
}
