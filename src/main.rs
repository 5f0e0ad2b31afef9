//! The `profile-worker` command. All of it is in the library; see its documentation.

use std::process::ExitCode;

fn main() -> ExitCode {
    profile_worker::cli::main()
}
