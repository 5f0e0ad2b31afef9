//! `profile-worker resource`

use clap::Subcommand;
use clap::builder::NonEmptyStringValueParser;

use super::block_on;
use super::flags::DatabaseFlags;
use super::output::{Failure, list, put, say};
use crate::domain::channel::Channel;
use crate::store::pool::Store;

/// Make and list resources: what profiles of a database can subscribe to.
#[derive(clap::Args)]
#[command(arg_required_else_help = true)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make a resource; prints its id.
    Create {
        /// The database that it belongs to.
        #[arg(long, value_name = "ID")]
        db: i64,
        /// What it offers, separated by commas: email, sms, push, telegram_bot, whatsapp, viber,
        /// notify.
        #[arg(long, value_name = "CHANNEL,…", value_delimiter = ',', required = true, value_parser = channel)]
        channels: Vec<Channel>,
        /// What people call it.
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        name: String,
        #[command(flatten)]
        flags: DatabaseFlags,
    },
    /// List the resources.
    List {
        /// As JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        flags: DatabaseFlags,
    },
}

fn channel(name: &str) -> Result<Channel, String> {
    Channel::parse(name.trim()).ok_or_else(|| {
        format!(
            "must be one of {}",
            Channel::ALL.map(Channel::name).join(", ")
        )
    })
}

pub(super) fn run(arguments: Arguments) -> Result<(), Failure> {
    match arguments.command {
        Command::Create {
            db,
            mut channels,
            name,
            flags,
        } => {
            let url = flags.source().database()?;
            channels.sort_unstable_by_key(|channel| *channel as u8);
            channels.dedup();
            let id = block_on(async {
                Ok(Store::new(&url, 1)?
                    .create_resource(db, &channels, &name)
                    .await?)
            })?;
            say(format_args!(
                "made resource {name:?} of database {db} with id {id}"
            ));
            put(id)
        }
        Command::List { json, flags } => {
            let url = flags.source().database()?;
            let resources = block_on(async { Ok(Store::new(&url, 1)?.resources().await?) })?;
            list(
                json,
                &resources,
                &["ID", "DB", "CHANNELS", "NAME"],
                |resource| {
                    vec![
                        resource.id.to_string(),
                        resource.db_id.to_string(),
                        resource.channels.join(","),
                        resource.name.clone(),
                    ]
                },
            )
        }
    }
}
