//! `profile-worker health`: asks the worker that runs here how it is.

use super::flags::AdminFlags;
use super::output::{Failure, put};
use crate::admin::client;

/// Ask the worker at ADMIN_ADDR whether it is ready.
///
/// Exit codes: 0 it is, 1 it is not or does not answer, 64 wrong configuration.
#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    flags: AdminFlags,
    /// Ask only whether it is alive
    #[arg(long)]
    live: bool,
}

pub(super) fn run(arguments: Arguments) -> Result<(), Failure> {
    let address = arguments.flags.source().admin()?;
    let path = if arguments.live { "/live" } else { "/ready" };
    let (is_good, text) =
        super::block_on(async { client::ask(address, path).await.map_err(Failure::new) })?;
    let text = text.trim_end();
    if is_good {
        put(text)
    } else {
        Err(Failure::new(text))
    }
}
