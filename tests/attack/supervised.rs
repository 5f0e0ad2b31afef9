//! A worker process that is started again whenever it ends, as a supervisor of services would do.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use tokio::fs::File;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, timeout};

use testkit::Failure;
use testkit::worker::without_settings;

/// How long a worker may take until it takes requests.
const START_MAX: Duration = Duration::from_secs(30);

/// How long it may take to end in order; the default of SHUTDOWN_GRACE is 30 s.
const END_MAX: Duration = Duration::from_secs(5);

/// Between an end and the next start.
const RESTART_AFTER: Duration = Duration::from_millis(100);

/// How often it is looked whether something has come true.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Runs until dropped or ended.
pub(crate) struct Supervised {
    seen: Arc<Seen>,
    stop: watch::Sender<()>,
    task: JoinSet<Result<(), Failure>>,
}

/// What was seen of it.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) ends: AtomicU32,
    pub(crate) sessions_lost: AtomicU32,
    /// The most memory of any of its lives, in MiB.
    pub(crate) memory_mib: AtomicU32,
    takes_requests: AtomicBool,
}

impl Supervised {
    /// Starts a program with some settings; what it says goes to a file.
    pub(crate) fn start(program: &Path, settings: &[(&'static str, String)], log: PathBuf) -> Self {
        let seen = Arc::new(Seen::default());
        let mut command = without_settings(Command::new(program));
        command
            .arg("run")
            .envs(settings.iter().map(|(name, value)| (name, value)));
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let (stop, stopped) = watch::channel(());
        let mut task = JoinSet::new();
        task.spawn(live(command, log, seen.clone(), stopped));
        Self { seen, stop, task }
    }

    /// Waits until it takes requests.
    pub(crate) async fn until_it_takes_requests(&self) -> Result<(), Failure> {
        let limit = Instant::now() + START_MAX;
        let mut looks = interval(LOOK_EVERY);
        while !self.seen.takes_requests.load(Ordering::Relaxed) {
            if Instant::now() > limit {
                return Err(format!("the worker takes no requests after {START_MAX:?}").into());
            }
            looks.tick().await;
        }
        Ok(())
    }

    /// Ends it, in order if it can; what was seen.
    pub(crate) async fn end(mut self) -> Result<Arc<Seen>, Failure> {
        self.stop.send_replace(());
        while let Some(ended) = self.task.join_next().await {
            ended??;
        }
        Ok(self.seen.clone())
    }
}

async fn live(
    mut command: Command,
    log: PathBuf,
    seen: Arc<Seen>,
    mut stopped: watch::Receiver<()>,
) -> Result<(), Failure> {
    let mut log = File::create(log).await?;
    loop {
        let mut child = command.spawn()?;
        let id = child.id().unwrap_or_default();
        let mut lines = BufReader::new(child.stderr.take().ok_or("no standard error")?).lines();
        let is_over = loop {
            tokio::select! {
                line = lines.next_line() => match line? {
                    Some(line) => {
                        look_at(&line, id, &seen);
                        log.write_all(format!("{line}\n").as_bytes()).await?;
                    }
                    None => break false,
                },
                _ = stopped.changed() => break true,
            }
        };
        note_memory(id, &seen);
        if is_over {
            return end_in_order(child, lines).await;
        }
        let status = child.wait().await?;
        seen.ends.fetch_add(1, Ordering::Relaxed);
        log.write_all(format!("---- ended by itself: {status}\n").as_bytes())
            .await?;
        tokio::time::sleep(RESTART_AFTER).await;
    }
}

fn look_at(line: &str, id: u32, seen: &Seen) {
    if line.contains("taking requests") {
        seen.takes_requests.store(true, Ordering::Relaxed);
    }
    if line.contains("lost RabbitMQ") {
        seen.sessions_lost.fetch_add(1, Ordering::Relaxed);
    }
    note_memory(id, seen);
}

/// Its peak so far, if it still lives.
fn note_memory(id: u32, seen: &Seen) {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let peak = status.lines().find_map(|line| {
        line.strip_prefix("VmHWM:")?
            .trim()
            .strip_suffix(" kB")?
            .parse()
            .ok()
    });
    seen.memory_mib
        .fetch_max(peak.unwrap_or(0_u32) / 1024, Ordering::Relaxed);
}

async fn end_in_order(
    mut child: Child,
    mut lines: Lines<BufReader<ChildStderr>>,
) -> Result<(), Failure> {
    let id = child.id().ok_or("it has ended already")?.to_string();
    Command::new("kill").args(["-TERM", &id]).status().await?;
    let ending = async {
        // What it says now is of no interest; but it must not wait for us.
        while let Ok(Some(_)) = lines.next_line().await {}
        child.wait().await
    };
    if timeout(END_MAX, ending).await.is_err() {
        child.kill().await?;
    }
    Ok(())
}
