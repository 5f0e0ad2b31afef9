//! The workers: how each is started, and when it has begun.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::Result;
use crate::surroundings::Ground;

/// Each has a program of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Worker {
    Ours,
    /// Another build of ours: what a change has brought is seen side by side.
    Other,
    BrokerOnly,
    BarePipeline,
    BareContract,
    OneInsert,
    AmqplibPg,
    AioPikaAsyncpg,
}

impl Worker {
    pub(crate) const ALL: [Self; 8] = [
        Self::Ours,
        Self::Other,
        Self::BarePipeline,
        Self::BareContract,
        Self::BrokerOnly,
        Self::OneInsert,
        Self::AmqplibPg,
        Self::AioPikaAsyncpg,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ours => "profile-worker",
            Self::Other => "other-build",
            Self::BrokerOnly => "broker_only",
            Self::BarePipeline => "bare_pipeline",
            Self::BareContract => "bare_contract",
            Self::OneInsert => "one_insert",
            Self::AmqplibPg => "amqplib_pg",
            Self::AioPikaAsyncpg => "aio_pika_asyncpg",
        }
    }

    /// By how much fewer requests a slow one gets, so that all take about the same time.
    pub(crate) fn slowness(self) -> usize {
        match self {
            Self::Ours
            | Self::Other
            | Self::BrokerOnly
            | Self::BarePipeline
            | Self::BareContract => 1,
            Self::OneInsert => 4,
            Self::AmqplibPg => 8,
            Self::AioPikaAsyncpg => 16,
        }
    }

    /// Whether it is in the quick selection.
    pub(crate) fn is_essential(self) -> bool {
        matches!(
            self,
            Self::Ours | Self::Other | Self::BarePipeline | Self::OneInsert
        )
    }

    /// Whether it stores in our tables.
    pub(crate) fn has_our_tables(self) -> bool {
        matches!(self, Self::Ours | Self::Other | Self::BareContract)
    }

    /// Whether it stores what it is asked to.
    pub(crate) fn stores(self) -> bool {
        self != Self::BrokerOnly
    }

    /// Whether what it needs is on this machine.
    pub(crate) fn is_there(self) -> bool {
        let clients = Path::new(".local/bench-clients");
        match self {
            Self::Other => other_build().is_some(),
            Self::AmqplibPg => clients.join("node/node_modules/pg").exists(),
            Self::AioPikaAsyncpg => clients.join("python/asyncpg").exists(),
            _ => true,
        }
    }

    fn command(self) -> Command {
        let ours = Path::new(env!("CARGO_BIN_EXE_profile-worker"));
        let sources = Path::new("benches/workers");
        match self {
            Self::Ours => {
                let mut command = Command::new(ours);
                command.arg("run");
                command
            }
            Self::Other => {
                let mut command = Command::new(other_build().unwrap_or_else(|| ours.into()));
                command.arg("run");
                command
            }
            Self::BareContract => {
                let mut command = Command::new(
                    ours.with_file_name("examples")
                        .join(Self::BarePipeline.name()),
                );
                command.env("FORM", "contract");
                command
            }
            Self::BrokerOnly | Self::BarePipeline | Self::OneInsert => {
                Command::new(ours.with_file_name("examples").join(self.name()))
            }
            Self::AmqplibPg => {
                let mut command = Command::new("node");
                command.arg(sources.join("amqplib_pg.js"));
                command.env(
                    "NODE_PATH",
                    PathBuf::from(".local/bench-clients/node/node_modules"),
                );
                command
            }
            Self::AioPikaAsyncpg => {
                let mut command = Command::new("python3");
                command.arg(sources.join("aio_pika_asyncpg.py"));
                command.env("PYTHONPATH", PathBuf::from(".local/bench-clients/python"));
                command
            }
        }
    }
}

/// Where another build of ours is, if one is to be compared.
pub(crate) fn other_build() -> Option<PathBuf> {
    std::env::var_os("OTHER_BUILD").map(PathBuf::from)
}

/// A worker that takes requests. Ends with this.
pub(crate) struct Running(Child);

impl Running {
    /// Starts a worker, and returns as soon as it takes requests.
    pub(crate) fn start(worker: Worker, ground: &Ground<'_>) -> Result<Self> {
        let mut command = worker.command();
        command
            .envs(ground.settings())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut running = Self(
            command
                .spawn()
                .map_err(|error| format!("{}: {error}", worker.name()))?,
        );
        let mut words = BufReader::new(running.0.stderr.take().ok_or("no standard error")?).lines();
        let mut said = String::new();
        loop {
            let line = words
                .next()
                .ok_or_else(|| format!("{} did not start: {said}", worker.name()))??;
            if line.contains("taking requests") {
                break;
            }
            said = said + &line + "\n";
        }
        std::thread::spawn(move || {
            #[expect(
                clippy::print_stderr,
                reason = "what a worker complains of explains a failed measurement"
            )]
            for line in words
                .map_while(std::io::Result::ok)
                .filter(|line| !line.contains("INFO"))
            {
                eprintln!("{}: {line}", worker.name());
            }
        });
        Ok(running)
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    /// Whether it is still there, as it should be.
    pub(crate) fn is_alive(&mut self) -> bool {
        matches!(self.0.try_wait(), Ok(None))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().and_then(|()| self.0.wait()).ok();
    }
}
