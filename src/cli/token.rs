//! `profile-worker token`

use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use clap::{ArgGroup, Subcommand};
use jiff::{SignedDuration, Timestamp};

use super::block_on;
use super::flags::DatabaseFlags;
use super::output::{Failure, list, put, say};
use crate::domain::token::{Scope, Secret};
use crate::store::access::TokenEntry;
use crate::store::pool::Store;

/// Make, list and revoke API tokens: what producers put into each request.
#[derive(clap::Args)]
#[command(arg_required_else_help = true)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make a token; prints the secret, this once.
    ///
    /// Only a hash of it is kept: a lost token can't be found again, only replaced.
    #[command(group = ArgGroup::new("scope").required(true))]
    Create {
        /// The databases that it opens, separated by commas.
        #[arg(long, value_name = "ID,…", value_delimiter = ',', group = "scope")]
        db: Vec<i64>,
        /// It opens every database, those to come included.
        #[arg(long, group = "scope")]
        all_databases: bool,
        /// After this time it opens nothing, such as 90d.
        #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
        expires: Option<Duration>,
        /// What people call it, such as the producer's name.
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        name: String,
        #[command(flatten)]
        flags: DatabaseFlags,
    },
    /// List the tokens, without their secrets.
    List {
        /// As JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        flags: DatabaseFlags,
    },
    /// Take a token back: within five seconds no worker accepts it any more.
    Revoke {
        /// Its id, as in `token list`.
        id: i64,
        #[command(flatten)]
        flags: DatabaseFlags,
    },
}

pub(super) fn run(arguments: Arguments) -> Result<(), Failure> {
    match arguments.command {
        Command::Create {
            mut db,
            all_databases,
            expires,
            name,
            flags,
        } => {
            let url = flags.source().database()?;
            db.sort_unstable();
            db.dedup();
            let scope = if all_databases {
                Scope::AllDatabases
            } else {
                Scope::Databases(db)
            };
            let expires_at = expires.map(expiry).transpose()?;
            let mut random = [0; 32];
            getrandom::fill(&mut random).map_err(Failure::new)?;
            let secret = Secret::from_random(random);
            let id = block_on(async {
                let store = Store::new(&url, 1)?;
                Ok(store
                    .create_token(secret.hash(), &scope, expires_at, &name)
                    .await?)
            })?;
            say(format_args!(
                "made token {name:?} with id {id}; keep it safe, it is shown only this once:"
            ));
            put(secret.reveal())
        }
        Command::List { json, flags } => {
            let url = flags.source().database()?;
            let tokens = block_on(async { Ok(Store::new(&url, 1)?.tokens().await?) })?;
            list(
                json,
                &tokens,
                &["ID", "NAME", "DATABASES", "STATE"],
                |token| {
                    vec![
                        token.id.to_string(),
                        token.name.clone(),
                        databases(token),
                        state(token),
                    ]
                },
            )
        }
        Command::Revoke { id, flags } => {
            let url = flags.source().database()?;
            block_on(async { Ok(Store::new(&url, 1)?.revoke_token(id).await?) })?;
            say(format_args!(
                "revoked token {id}; every running worker knows within 5 seconds"
            ));
            Ok(())
        }
    }
}

fn expiry(after: Duration) -> Result<Timestamp, Failure> {
    let too_long = |_| Failure::usage("--expires: must end before the year 10000");
    let after = SignedDuration::try_from(after).map_err(too_long)?;
    Timestamp::now().checked_add(after).map_err(too_long)
}

fn databases(token: &TokenEntry) -> String {
    if token.all_databases {
        return "all".to_owned();
    }
    token
        .databases
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(",")
}

fn state(token: &TokenEntry) -> String {
    match (token.revoked_at, token.expires_at) {
        (Some(at), _) => format!("revoked {at:.0}"),
        (None, Some(end)) if end <= Timestamp::now() => format!("expired {end:.0}"),
        (None, Some(end)) => format!("valid until {end:.0}"),
        (None, None) => "valid".to_owned(),
    }
}
