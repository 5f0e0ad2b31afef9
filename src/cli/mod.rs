//! The commands: arguments to exit code. The only module that names `clap`, and the only one that
//! prints.
//!
//! What a script needs stands alone on standard output; words for people go to standard error.

mod contract;
mod database;
mod email;
mod field;
mod flags;
mod health;
mod migrate;
mod output;
mod resource;
mod run;
mod send;
mod sender;
mod token;
mod try_out;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use self::output::Failure;

/// Turns add-profile requests from RabbitMQ into rows in PostgreSQL, and answers every one of them.
#[derive(Parser)]
#[command(version, arg_required_else_help = true, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Run(run::Arguments),
    Migrate(migrate::Arguments),
    Database(database::Arguments),
    Resource(resource::Arguments),
    Field(field::Arguments),
    Email(email::Arguments),
    Token(token::Arguments),
    Health(health::Arguments),
    Send(send::Arguments),
    Try(try_out::Arguments),
    Contract(contract::Arguments),
}

/// Does what the command line says.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return output::usage(&error),
    };
    let result = match arguments.command {
        Command::Run(arguments) => run::run(arguments),
        Command::Migrate(arguments) => migrate::run(arguments),
        Command::Database(arguments) => database::run(arguments),
        Command::Resource(arguments) => resource::run(arguments),
        Command::Field(arguments) => field::run(arguments),
        Command::Email(arguments) => email::run(arguments),
        Command::Token(arguments) => token::run(arguments),
        Command::Health(arguments) => health::run(arguments),
        Command::Send(arguments) => send::run(arguments),
        Command::Try(arguments) => try_out::run(arguments),
        Command::Contract(arguments) => contract::run(arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

/// Runs a short command on one thread.
fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::new)?;
    runtime.block_on(work)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_of_the_commands_is_sound() {
        Arguments::command().debug_assert();
    }
}
