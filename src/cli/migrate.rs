//! `profile-worker migrate`

use super::block_on;
use super::flags::DatabaseFlags;
use super::output::{Failure, say};
use crate::store::migrate;
use crate::store::pool::Store;
use crate::store::schema;

/// Bring the schema of the database up to date.
///
/// Several may be started at once: one does the work, the others wait for it.
#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    flags: DatabaseFlags,
}

pub(super) fn run(arguments: Arguments) -> Result<(), Failure> {
    let url = arguments.flags.source().database()?;
    block_on(async {
        let store = Store::new(&url, 1)?;
        let done = migrate::run(&store, || {
            say("another process migrates this database; waiting for it")
        })
        .await?;
        for name in &done {
            say(format_args!("ran migration {name}"));
        }
        say(format_args!(
            "the schema is up to date (version {})",
            schema::needed_version()
        ));
        if store.has_old_email_key().await? {
            say(
                "next, once all workers are of this version: `profile-worker email fill`, then `profile-worker email contract`",
            );
        }
        Ok(())
    })
}
