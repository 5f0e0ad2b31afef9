//! Worker processes: the real binary, started, watched, signalled and killed.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};

/// Longer than anything takes, even on a busy machine; only a failing test waits so long.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A running worker. Killed when dropped.
pub struct Worker {
    child: Child,
    lines: Lines<BufReader<ChildStderr>>,
    /// The last things it said, for a failing test.
    said: VecDeque<String>,
}

impl Worker {
    pub fn start(settings: &[(&'static str, String)]) -> Self {
        Self::start_as(command(), settings)
    }

    /// Starts a worker by this command, to which the argument `run` is added.
    pub fn start_as(mut command: Command, settings: &[(&'static str, String)]) -> Self {
        command
            .arg("run")
            .envs(settings.iter().map(|(name, value)| (name, value)));
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the worker can be started");
        let stderr = child.stderr.take().expect("its standard error");
        Self {
            child,
            lines: BufReader::new(stderr).lines(),
            said: VecDeque::new(),
        }
    }

    /// Waits until it says something with these words; the line.
    pub async fn until_said(&mut self, words: &str) -> String {
        let waiting = async {
            while let Some(line) = self.lines.next_line().await.expect("its words") {
                self.said.push_back(line.clone());
                if self.said.len() > 50 {
                    self.said.pop_front();
                }
                if line.contains(words) {
                    return Some(line);
                }
            }
            None
        };
        let found = tokio::time::timeout(PATIENCE, waiting).await;
        match found {
            Ok(Some(line)) => line,
            _ => panic!(
                "the worker did not say {words:?}; it said:\n{}",
                Vec::from(self.said.clone()).join("\n")
            ),
        }
    }

    pub fn id(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    /// Sends a signal such as `TERM`.
    pub async fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .arg(format!("-{name}"))
            .arg(self.id().to_string())
            .status()
            .await;
        assert!(sent.expect("kill can be run").success());
    }

    /// Waits until it has ended; how, and everything it said since the last look.
    pub async fn end(mut self) -> (ExitStatus, String) {
        let ending = async {
            let mut words = Vec::new();
            while let Some(line) = self.lines.next_line().await.expect("its words") {
                words.push(line);
            }
            (self.child.wait().await.expect("its end"), words.join("\n"))
        };
        tokio::time::timeout(PATIENCE, ending)
            .await
            .expect("the worker ends")
    }

    /// Waits until it has ended, and reads nothing of what it says.
    pub async fn status_unread(mut self) -> ExitStatus {
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        ended.expect("the worker ends").expect("its end")
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("its state").is_some()
    }

    /// SIGKILL: no chance to do anything.
    pub async fn kill(mut self) {
        self.child.kill().await.expect("it can be killed");
    }

    /// The most memory that it ever had, in bytes.
    pub fn peak_memory(&self) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.id())).expect("its status");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .expect("its peak memory");
        let kib: u64 = line
            .trim()
            .trim_end_matches(" kB")
            .parse()
            .expect("a number");
        kib * 1024
    }
}

/// The worker's program, which cargo builds together with every test: two folders above it, as a
/// test is in `target/<profile>/deps`.
pub fn binary() -> PathBuf {
    let test = std::env::current_exe().expect("where this test is");
    let folder = test.ancestors().nth(2).expect("cargo's folder");
    folder.join("profile-worker")
}

/// The binary, with no setting but what the test gives it.
pub fn command() -> Command {
    without_settings(Command::new(binary()))
}

/// The command, with no setting of the surroundings.
pub fn without_settings(mut command: Command) -> Command {
    use profile_worker::config::setting;
    for setting in setting::ALL.iter().chain(setting::PRODUCER) {
        command.env_remove(setting.name);
    }
    command
}

/// How often a server is asked whether something is true by now: it tells nobody by itself.
const ASK_EVERY: Duration = Duration::from_millis(20);

/// Waits until something is true, and fails if it does not become so.
pub async fn until(mut condition: impl AsyncFnMut() -> bool) {
    let waiting = async {
        let mut asking = tokio::time::interval(ASK_EVERY);
        while !condition().await {
            asking.tick().await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting)
        .await
        .expect("it becomes true");
}

/// Ends by SIGTERM, and with success; everything it said since the last look.
pub async fn ends_well(worker: Worker) -> String {
    worker.signal("TERM").await;
    let (status, said) = worker.end().await;
    assert!(status.success(), "{status}: {said}");
    said
}
