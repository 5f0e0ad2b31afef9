//! What goes wrong: how each fault begins and ends.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lapin::options::QueueDeleteOptions;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, timeout};

use crate::cluster;
use crate::scene::{LOOK_EVERY, Scene, WORKERS_USER, declare_fleeting};
use testkit::Failure;
use testkit::load::ledger::Source;
use testkit::load::plan::{Damage, Fault, FaultKind, Right};
use testkit::proxy::Network;
use testkit::session::Session;

/// How long an action of ours on a server may take.
const ACTION_MAX: Duration = Duration::from_secs(30);

/// How long the database may take to come back.
const BACK_MAX: Duration = Duration::from_secs(60);

/// What a slow network still carries.
const SLOW: Network = Network::Slow {
    bytes_per_second: 64 * 1024,
    latency: Duration::from_millis(20),
};

/// The least memory that RabbitMQ may be told to have, and its default.
const NO_MEMORY: &str = "0.0000001";
const ENOUGH_MEMORY: &str = "0.4";

/// A fault that has begun. What goes on by itself ends with it.
pub(crate) struct Ongoing {
    fault: Fault,
    holds: Holds,
}

enum Holds {
    Nothing,
    /// A task that does it again and again.
    Task(JoinSet<()>),
    /// A transaction with a lock.
    Lock(Session),
    /// What fills the disk.
    Ballast(JoinSet<()>, PathBuf),
    /// A node that is down.
    Node(&'static str),
}

/// What a fault leaves behind, to be mended once a request got through in spite of it.
pub(crate) enum Broken {
    /// A node is down.
    Node(&'static str),
    /// The database has no standby.
    Standby,
}

pub(crate) async fn begin(scene: &mut Scene, fault: Fault) -> Result<Ongoing, Failure> {
    scene.look()?;
    let holds = match fault.kind {
        FaultKind::WorkerKilled => {
            scene.workers[fault.worker].kill().await?;
            Holds::Nothing
        }
        FaultKind::WorkerStopped => {
            let wrong = scene.workers[fault.worker].stop().await?;
            scene.troubles.extend(wrong);
            Holds::Nothing
        }
        FaultKind::WorkerPaused => {
            scene.workers[fault.worker].signal("STOP").await?;
            Holds::Nothing
        }
        FaultKind::DatabaseKilled => tell(scene, "kill", "database").await?,
        FaultKind::BrokerStopped => tell(scene, "stop", "broker").await?,
        FaultKind::BrokerKilled => tell(scene, "kill", "broker").await?,
        FaultKind::SessionsEnded => end_sessions(scene).await?,
        FaultKind::DiskFull => fill_disk(scene)?,
        FaultKind::TableLocked => {
            let session = scene.database().await?;
            let locking = session
                .client
                .batch_execute("BEGIN; LOCK TABLE profiles IN ACCESS EXCLUSIVE MODE");
            timeout(ACTION_MAX, locking).await??;
            Holds::Lock(session)
        }
        FaultKind::MemoryAlarm => set_memory(scene, NO_MEMORY).await?,
        FaultKind::ReplyQueueDeleted => {
            let (connection, channel) = scene.broker().await?;
            let deleting = channel.queue_delete(
                Source::Fleeting.queue().into(),
                QueueDeleteOptions::default(),
            );
            timeout(ACTION_MAX, deleting).await??;
            connection.close(200, "".into()).await?;
            Holds::Nothing
        }
        FaultKind::RightTaken(right) => set_right(scene, right, false).await?,
        FaultKind::ReplyQueueSilent => set_silent(scene, "suspend").await?,
        FaultKind::NodeKilled | FaultKind::LeaderKilled => {
            let leader = cluster::leader(scene).await?;
            let node = match fault.kind {
                FaultKind::LeaderKilled => leader,
                _ => cluster::other_node(leader, fault.all_workers),
            };
            scene.tell(&["kill", node], &[]).await?;
            Holds::Node(node)
        }
        FaultKind::PrimaryKilled => tell(scene, "kill", "primary").await?,
        FaultKind::PrimaryKilledAhead => {
            scene.tell(&["pause"], &[]).await?;
            cluster::until_ahead(scene).await?;
            tell(scene, "kill", "primary").await?
        }
        FaultKind::StandbyKilled => tell(scene, "kill", "standby").await?,
        FaultKind::Network(damage, _) => {
            let network = match damage {
                Damage::Cut => Network::Cut,
                Damage::Slow => SLOW,
                Damage::Swallow => Network::Swallow,
                Damage::SwallowAnswers => Network::SwallowAnswers,
            };
            set_network(scene, fault, network)
        }
    };
    Ok(Ongoing { fault, holds })
}

impl Ongoing {
    pub(crate) fn lasts(&self) -> Duration {
        self.fault.lasts
    }

    /// Ends it; what is still broken then.
    pub(crate) async fn end(self, scene: &mut Scene) -> Result<Option<Broken>, Failure> {
        let Fault { kind, worker, .. } = self.fault;
        match (kind, self.holds) {
            (_, Holds::Node(node)) => return Ok(Some(Broken::Node(node))),
            (FaultKind::PrimaryKilled | FaultKind::PrimaryKilledAhead, _) => {
                scene.tell(&["promote"], &[]).await?;
                return Ok(Some(Broken::Standby));
            }
            (FaultKind::StandbyKilled, _) => drop(tell(scene, "start", "standby").await?),
            (_, Holds::Task(mut task)) => task.shutdown().await,
            (_, Holds::Lock(session)) => {
                timeout(ACTION_MAX, session.client.batch_execute("ROLLBACK")).await??
            }
            (_, Holds::Ballast(mut task, file)) => {
                task.shutdown().await;
                std::fs::remove_file(file)?;
                until_database_is_back(scene).await?;
            }
            (FaultKind::WorkerKilled | FaultKind::WorkerStopped, _) => {
                scene.workers[worker].start()?
            }
            (FaultKind::WorkerPaused, _) => scene.workers[worker].signal("CONT").await?,
            (FaultKind::DatabaseKilled, _) => drop(tell(scene, "start", "database").await?),
            (FaultKind::BrokerStopped | FaultKind::BrokerKilled, _) => {
                drop(tell(scene, "start", "broker").await?)
            }
            (FaultKind::MemoryAlarm, _) => drop(set_memory(scene, ENOUGH_MEMORY).await?),
            (FaultKind::RightTaken(right), _) => drop(set_right(scene, right, true).await?),
            (FaultKind::ReplyQueueSilent, _) => drop(set_silent(scene, "resume").await?),
            (FaultKind::ReplyQueueDeleted, _) => {
                let (connection, channel) = scene.broker().await?;
                timeout(ACTION_MAX, declare_fleeting(&channel)).await??;
                connection.close(200, "".into()).await?;
            }
            (FaultKind::Network(..), _) => drop(set_network(scene, self.fault, Network::Pass)),
            (
                FaultKind::SessionsEnded
                | FaultKind::DiskFull
                | FaultKind::TableLocked
                | FaultKind::NodeKilled
                | FaultKind::LeaderKilled,
                Holds::Nothing,
            ) => {}
        }
        Ok(None)
    }
}

/// Makes whole what a fault has left behind.
pub(crate) async fn mend(scene: &Scene, broken: Broken) -> Result<(), Failure> {
    match broken {
        Broken::Node(node) => scene.tell(&["start", node], &[]).await?,
        Broken::Standby => scene.tell(&["rebuild"], &[]).await?,
    };
    Ok(())
}

async fn tell(scene: &Scene, what: &str, server: &str) -> Result<Holds, Failure> {
    scene.tell(&[what, server], &[]).await?;
    Ok(Holds::Nothing)
}

async fn set_memory(scene: &Scene, share: &str) -> Result<Holds, Failure> {
    scene
        .tell(&["ctl"], &["set_vm_memory_high_watermark", share])
        .await?;
    Ok(Holds::Nothing)
}

/// Gives or takes a right of the workers. A channel of RabbitMQ remembers what it was allowed once,
/// so what the workers have open is closed with it; PostgreSQL looks each time.
async fn set_right(scene: &Scene, right: Right, is_given: bool) -> Result<Holds, Failure> {
    match right {
        Right::Events => {
            let write = if is_given {
                ".*"
            } else {
                "^(?!profiles[.]events$)"
            };
            scene
                .tell(
                    &["ctl"],
                    &["set_permissions", WORKERS_USER, ".*", write, ".*"],
                )
                .await?;
            if !is_given {
                scene
                    .tell(
                        &["ctl"],
                        &[
                            "close_all_user_connections",
                            WORKERS_USER,
                            "a right was taken",
                        ],
                    )
                    .await?;
            }
        }
        Right::Insert => {
            let (what, whom) = if is_given {
                ("GRANT", "TO")
            } else {
                ("REVOKE", "FROM")
            };
            let statement = format!("{what} INSERT ON profiles {whom} {WORKERS_USER}");
            timeout(
                ACTION_MAX,
                scene.database().await?.client.batch_execute(&statement),
            )
            .await??;
        }
    }
    Ok(Holds::Nothing)
}

/// Lets the process of a reply queue stand still, or go on: meanwhile it neither confirms nor
/// refuses, as a quorum queue without its majority.
async fn set_silent(scene: &Scene, what: &str) -> Result<Holds, Failure> {
    let queue = Source::Fleeting.queue();
    let code = format!(
        r#"{{ok,Q}}=rabbit_amqqueue:lookup(rabbit_misc:r(<<"/">>,queue,<<"{queue}">>)), sys:{what}(amqqueue:get_pid(Q))."#
    );
    scene.tell(&["ctl"], &["eval", &code]).await?;
    Ok(Holds::Nothing)
}

fn set_network(scene: &Scene, fault: Fault, network: Network) -> Holds {
    if let FaultKind::Network(_, server) = fault.kind {
        for (place, worker) in scene.workers.iter().enumerate() {
            if fault.all_workers || place == fault.worker {
                worker.set_network(server, network);
            }
        }
    }
    Holds::Nothing
}

/// All sessions of workers, again and again, so that new ones don't get far either.
async fn end_sessions(scene: &Scene) -> Result<Holds, Failure> {
    let mut again = interval(Duration::from_millis(70));
    let session = scene.database().await?;
    let mut task = JoinSet::new();
    task.spawn(async move {
        let sql =
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'profile-worker%'";
        while session.client.batch_execute(sql).await.is_ok() {
            again.tick().await;
        }
    });
    Ok(Holds::Task(task))
}

/// Fills the database's disk, and what becomes free of it.
fn fill_disk(scene: &Scene) -> Result<Holds, Failure> {
    let mut again = interval(Duration::from_millis(20));
    let file = scene
        .disk()
        .ok_or("the database has no disk of its own")?
        .join("ballast");
    fill(&file)?;
    let mut task = JoinSet::new();
    let ballast = file.clone();
    task.spawn(async move {
        while fill(&ballast).is_ok() {
            again.tick().await;
        }
    });
    Ok(Holds::Ballast(task, file))
}

/// Writes until there is no space left.
fn fill(file: &Path) -> std::io::Result<()> {
    let mut file = OpenOptions::new().create(true).append(true).open(file)?;
    let mut chunk = vec![0; 1024 * 1024];
    while !chunk.is_empty() {
        match file.write_all(&chunk) {
            Ok(()) => {}
            // Ever smaller, down to a page.
            Err(error) if error.kind() == std::io::ErrorKind::StorageFull => {
                chunk.truncate(if chunk.len() > 4096 {
                    chunk.len() / 4
                } else {
                    0
                });
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// PostgreSQL ends itself over a full disk now and then; an operator starts it again.
async fn until_database_is_back(scene: &Scene) -> Result<(), Failure> {
    let limit = Instant::now() + BACK_MAX;
    let mut looks = interval(LOOK_EVERY);
    loop {
        looks.tick().await;
        scene.tell(&["up"], &[]).await?;
        match scene.database().await {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() > limit => return Err(error),
            Err(_) => {}
        }
    }
}
