//! Settings as flags: made from the one table in `config`, so that a setting can't have another
//! name, default or description on the command line.

use std::collections::HashMap;

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};

use crate::config::{Setting, Source, setting};

/// The settings of a worker.
pub(super) struct WorkerFlags(HashMap<&'static str, String>);

/// The setting that the operator's commands need.
pub(super) struct DatabaseFlags(HashMap<&'static str, String>);

/// The settings of a producer.
pub(super) struct SenderFlags(HashMap<&'static str, String>);

/// The setting of those who ask a worker.
pub(super) struct AdminFlags(HashMap<&'static str, String>);

/// The settings of somebody who is both.
pub(super) struct TryFlags(HashMap<&'static str, String>);

macro_rules! flags {
    ($name:ident, $settings:expr) => {
        impl $name {
            /// The flags over the environment.
            pub(super) fn source(self) -> Source {
                Source::from_flags_and_environment(self.0)
            }
        }

        impl Args for $name {
            fn augment_args(command: Command) -> Command {
                add_flags(command, $settings)
            }

            fn augment_args_for_update(command: Command) -> Command {
                add_flags(command, $settings)
            }
        }

        impl FromArgMatches for $name {
            fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
                Ok(Self(given(matches, $settings)))
            }

            fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
                self.0.extend(given(matches, $settings));
                Ok(())
            }
        }
    };
}

flags!(WorkerFlags, setting::ALL);
flags!(DatabaseFlags, &[setting::DATABASE_URL]);
flags!(AdminFlags, &[setting::ADMIN_ADDR]);
flags!(SenderFlags, &[setting::AMQP_URL, setting::REQUEST_QUEUE]);
flags!(
    TryFlags,
    &[
        setting::AMQP_URL,
        setting::DATABASE_URL,
        setting::REQUEST_QUEUE
    ]
);

fn add_flags(command: Command, settings: &[Setting]) -> Command {
    settings.iter().fold(command, |command, setting| {
        let default = match setting.default {
            Some(default) => format!("[default: {default}]"),
            None => "[required]".to_owned(),
        };
        let file = setting
            .file()
            .map(|file| format!(" [in a file: {file}]"))
            .unwrap_or_default();
        let flag = Arg::new(setting.name)
            .long(setting.flag())
            .value_name(setting.value)
            .help(format!(
                "{}\n[env: {}]{file} {default}",
                setting.plain_help(),
                setting.name
            ))
            .help_heading("Settings (a flag wins over its environment variable)");
        command.arg(flag)
    })
}

fn given(matches: &ArgMatches, settings: &[Setting]) -> HashMap<&'static str, String> {
    let text = |setting: &Setting| {
        let text = matches.get_one::<String>(setting.name)?;
        Some((setting.name, text.clone()))
    };
    settings.iter().filter_map(text).collect()
}
