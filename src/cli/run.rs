//! `profile-worker run`: the worker itself.

use std::process;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;
use tracing::{info, warn};

use super::flags::WorkerFlags;
use super::output::Failure;
use crate::admin::Server;
use crate::config::{AdminAddress, WorkerConfig};

use crate::pipeline::shutdown::{self, StopHandle};
use crate::status::WorkerStatus;
use crate::telemetry::logs;
use crate::worker::{End, Worker};

/// Take requests, store them, answer them, until SIGTERM or SIGINT.
///
/// SIGTERM and SIGINT end it in order: it takes nothing new, finishes what it holds, and exits
/// with 0. A second signal ends it at once; what it held is then delivered to another worker.
///
/// Exit codes: 0 ended in order, 1 could not start or did not end in time, 64 wrong configuration.
#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    flags: WorkerFlags,
}

/// More threads only pass the work around.
const THREADS_MAX: usize = 4;

pub(super) fn run(arguments: Arguments) -> Result<(), Failure> {
    let (config, log) = arguments.flags.source().worker()?;
    logs::init(&log);
    let end = run_on_threads(config);
    logs::finish();
    end
}

fn run_on_threads(config: WorkerConfig) -> Result<(), Failure> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads.min(THREADS_MAX))
        .enable_all()
        .build()
        .map_err(Failure::new)?;
    let end = runtime.block_on(run_until_signalled(config));
    // Whatever still waits for a server is not waited for.
    runtime.shutdown_timeout(Duration::from_millis(100));
    end
}

async fn run_until_signalled(config: WorkerConfig) -> Result<(), Failure> {
    info!(version = env!("CARGO_PKG_VERSION"), "profile-worker starts");
    let (handle, stop) = shutdown::channel();
    let grace = config.shutdown_grace;
    let mut signals = Signals::listen().map_err(Failure::new)?;
    let admin = config.admin;
    let worker = Worker::new(config, worker_name()).map_err(Failure::new)?;
    let mut upkeep = JoinSet::new();
    if let Some(admin) = admin {
        serve_admin(admin, worker.status().clone(), &mut upkeep).await?;
    }
    let worker = worker.run(stop);
    tokio::pin!(worker);
    let ended = tokio::select! {
        ended = &mut worker => ended,
        () = stop_on_signal(&mut signals, &handle, grace) => match tokio::time::timeout(grace, &mut worker).await {
            Ok(ended) => ended,
            Err(_) => {
                warn!("not finished within SHUTDOWN_GRACE; what is held will be delivered again");
                return Err(Failure::new("did not end within SHUTDOWN_GRACE"));
            }
        },
    };
    match ended.map_err(Failure::new)? {
        End::Finished => info!("finished"),
        End::GaveBack => warn!("stopped; what could not be finished in time is back in the queue"),
    }
    Ok(())
}

/// Answers those who ask how the worker is. A port that somebody has asked for must be free; the
/// default one may be taken by another worker of the machine, and that is no reason not to work.
async fn serve_admin(
    admin: AdminAddress,
    status: Arc<WorkerStatus>,
    upkeep: &mut JoinSet<()>,
) -> Result<(), Failure> {
    let AdminAddress {
        address,
        is_default,
    } = admin;
    match Server::bind(address).await {
        Ok(server) => {
            info!("health, status and metrics at http://{}", server.address());
            upkeep.spawn(server.run(status));
        }
        Err(error) if is_default => {
            warn!(
                %error,
                %address,
                "can't listen for health, status and metrics: another worker of this machine may answer there; \
                 give this one an ADMIN_ADDR of its own"
            );
        }
        Err(error) => {
            return Err(Failure::new(format_args!(
                "ADMIN_ADDR: can't listen on {address}: {error}"
            )));
        }
    }
    Ok(())
}

/// Returns at the first signal, having passed it on. The second one ends the process.
async fn stop_on_signal(signals: &mut Signals, handle: &StopHandle, grace: Duration) {
    let name = signals.next().await.0;
    info!("got {name}");
    handle.stop(grace);
    let mut again = match Signals::listen() {
        Ok(signals) => signals,
        Err(error) => return warn!(%error, "a second signal will not be noticed"),
    };
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        if let Ok(runtime) = runtime {
            let (name, number) = runtime.block_on(again.next());
            warn!("got {name} again: ending at once");
            logs::finish();
            process::exit(128 + number);
        }
    });
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// The name and number of the next signal.
    async fn next(&mut self) -> (&'static str, i32) {
        tokio::select! {
            _ = self.terminate.recv() => ("SIGTERM", 15),
            _ = self.interrupt.recv() => ("SIGINT", 2),
        }
    }
}

/// Which process this is, for people who look at dead letters or at the broker's connections.
fn worker_name() -> String {
    let host = gethostname::gethostname();
    format!(
        "profile-worker@{}:{}",
        host.to_string_lossy(),
        process::id()
    )
}
