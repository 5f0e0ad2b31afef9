//! `profile-worker email`

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use clap::Subcommand;
use indicatif::{ProgressBar, ProgressStyle};

use super::block_on;
use super::flags::DatabaseFlags;
use super::output::{Failure, list, put, say};
use crate::domain::email::Email;
use crate::store::email::{Filled, Pace};
use crate::store::pool::Store;

/// Keep emails unique: look at conflicts, change single ones, bring older profiles under the rule.
///
/// Whether two emails are one is decided by the worker, the same in every database (docs/email.md).
/// Profiles from before that rule are brought under it by `fill` and then `contract`, while workers
/// go on.
#[derive(clap::Args)]
#[command(arg_required_else_help = true)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// List the profiles that can't have the hash of their email: another profile has the same, or
    /// it is no address. They stay as they are, and keep nobody else from that email.
    Check {
        /// As JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        flags: DatabaseFlags,
    },
    /// Fill in the hash for profiles from before it, in parts, beside running workers.
    ///
    /// An interruption loses nothing: run it again. It may be run at any time, and gives a conflict
    /// that is none any more its hash.
    Fill {
        /// Take no rest between the parts. By default half of the time is left to others.
        #[arg(long)]
        full_speed: bool,
        #[command(flatten)]
        flags: DatabaseFlags,
    },
    /// Remove what only workers from before the hash need. It can't be undone.
    ///
    /// Refused while such a worker is connected, or profiles are not filled in.
    Contract {
        /// Do it although a session looks like that of an older worker. One that is there after all
        /// stores nothing from then on, and loses nothing.
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        flags: DatabaseFlags,
    },
    /// Print how an email is stored, what it is compared by, and its hash (profiles.email_hash).
    Hash {
        /// An email address.
        email: String,
    },
    /// Give a profile another email, or none.
    Set {
        /// The database's id.
        #[arg(long = "db", value_name = "ID")]
        db_id: i64,
        /// The profile's id.
        profile_id: String,
        /// An email address; empty for none.
        email: String,
        #[command(flatten)]
        flags: DatabaseFlags,
    },
}

pub(super) fn run(arguments: Arguments) -> Result<(), Failure> {
    match arguments.command {
        Command::Check { json, flags } => check(json, flags),
        Command::Fill { full_speed, flags } => {
            fill(if full_speed { Pace::Full } else { Pace::Gentle }, flags)
        }
        Command::Contract { force, flags } => contract(force, flags),
        Command::Hash { email } => hash(&email),
        Command::Set {
            db_id,
            profile_id,
            email,
            flags,
        } => set(db_id, &profile_id, &email, flags),
    }
}

fn check(json: bool, flags: DatabaseFlags) -> Result<(), Failure> {
    let url = flags.source().database()?;
    let conflicts = block_on(async { Ok(Store::new(&url, 1)?.email_conflicts().await?) })?;
    if conflicts.is_empty() && !json {
        say("no conflicts");
        return Ok(());
    }
    list(
        json,
        &conflicts,
        &[
            "DB",
            "PROFILE",
            "EMAIL",
            "OTHER PROFILE",
            "OTHER EMAIL",
            "REASON",
        ],
        |conflict| {
            let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
            vec![
                conflict.db_id.to_string(),
                conflict.profile_id.clone(),
                text(&conflict.email),
                text(&conflict.other_profile_id),
                text(&conflict.other_email),
                conflict.reason.clone(),
            ]
        },
    )
}

fn fill(pace: Pace, flags: DatabaseFlags) -> Result<(), Failure> {
    let url = flags.source().database()?;
    let mut progress = Progress::new();
    let filled = block_on(async {
        let store = Store::new(&url, 1)?;
        Ok(store.fill_emails(pace, |done| progress.tell(done)).await?)
    });
    progress.bar.finish_and_clear();
    let filled = filled?;
    say(format_args!(
        "{} profiles: {} filled in, {} in conflict",
        filled.seen, filled.filled, filled.conflicts
    ));
    if filled.conflicts > 0 {
        say("`profile-worker email check` lists the conflicts");
    }
    Ok(())
}

/// A bar on a terminal, else a line now and then.
struct Progress {
    bar: ProgressBar,
    said_at: Instant,
}

/// Between two lines where there is no terminal.
const SAY_EVERY: Duration = Duration::from_secs(10);

impl Progress {
    fn new() -> Self {
        let bar = ProgressBar::no_length();
        let template = "{bar:30} {human_pos} of about {human_len} profiles, {per_sec}, {eta} left";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Self {
            bar,
            said_at: Instant::now(),
        }
    }

    fn tell(&mut self, done: &Filled) {
        if done.seen == 0 && done.by_new_rule {
            say("the rule has changed: emails that are not ASCII are hashed anew");
        }
        self.bar.set_length(done.total.max(done.seen));
        self.bar.set_position(done.seen);
        if !std::io::stderr().is_terminal() && self.said_at.elapsed() > SAY_EVERY {
            self.said_at = Instant::now();
            say(format_args!(
                "{} of about {} profiles",
                done.seen,
                done.total.max(done.seen)
            ));
        }
    }
}

fn contract(force: bool, flags: DatabaseFlags) -> Result<(), Failure> {
    let url = flags.source().database()?;
    let was_to_do = block_on(async { Ok(Store::new(&url, 1)?.contract_emails(force).await?) })?;
    say(if was_to_do {
        "emails are unique by their hash alone"
    } else {
        "nothing to do: that was done before"
    });
    Ok(())
}

fn hash(email: &str) -> Result<(), Failure> {
    let email = Email::parse(email).map_err(Failure::new)?;
    put(format_args!("stored as    {}", email.address()))?;
    put(format_args!("compared by  {}", email.canonical()))?;
    put(format_args!("email_hash   {}", email.key()))
}

fn set(db_id: i64, profile_id: &str, email: &str, flags: DatabaseFlags) -> Result<(), Failure> {
    let email = if email.is_empty() {
        None
    } else {
        Some(Email::parse(email).map_err(Failure::new)?)
    };
    let url = flags.source().database()?;
    block_on(async {
        Ok(Store::new(&url, 1)?
            .set_email(db_id, profile_id, email.as_ref())
            .await?)
    })?;
    say(format_args!(
        "profile {profile_id} of database {db_id} has {} email",
        if email.is_some() { "this" } else { "no" }
    ));
    Ok(())
}
