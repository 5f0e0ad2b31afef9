//! Where it takes place: private servers, worker processes, and a network between them for each
//! worker.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel as AmqpChannel, Connection, ExchangeKind};
use profile_worker::store::migrate;
use profile_worker::store::pool::Store;
use profile_worker::store::url::DatabaseUrl;
use tokio::process::{Child, Command};
use tokio::time::{Instant, interval, timeout};
use url::Url;

use testkit::Failure;
use testkit::load::connect;
use testkit::load::ledger::Source;
use testkit::load::plan::Arena;
use testkit::load::request::Tokens;
use testkit::load::tenants;
use testkit::proxy::{Network, Proxy};
use testkit::servers::{PrivateServers, root};
use testkit::session::Session;
use testkit::worker::command;

/// The servers' folder in `.local`; `scripts/chaos` takes it down as well.
pub(crate) const FOLDER: &str = "chaos";
const CLUSTER_FOLDER: &str = "cluster";

/// The workers' user on both servers, whose rights are taken now and then. It guards nothing, so
/// its password is its name.
pub(crate) const WORKERS_USER: &str = "chaos_worker";

/// How large a disk the database gets.
const DISK: &str = "600M";

/// What the workers get as SHUTDOWN_GRACE, and some more for a busy machine.
const GRACE: &str = "10s";
pub(crate) const END_MAX: Duration = Duration::from_secs(15);

/// How long a script may take.
const SCRIPT_MAX: Duration = Duration::from_secs(120);

/// How long anything else may take to come up.
const UP_MAX: Duration = Duration::from_secs(60);

/// How long a connection of our own may take.
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// How often something is looked at that tells nobody by itself.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(20);

pub(crate) struct Scene {
    pub(crate) servers: PrivateServers,
    pub(crate) workers: Vec<Worker>,
    /// The folder of what the workers say.
    pub(crate) logs: PathBuf,
    /// What must not have happened.
    pub(crate) troubles: Vec<String>,
    queue_type: &'static str,
}

/// One worker and its network.
pub(crate) struct Worker {
    child: Option<Child>,
    /// None before the servers of a cluster, which fail by themselves.
    network: Option<[Proxy; 2]>,
    settings: Vec<(&'static str, String)>,
    log: PathBuf,
    /// How long the log was when it was started.
    said_before: u64,
    number: usize,
}

impl Scene {
    /// Servers with a schema, two databases, tokens and queues; no worker yet.
    pub(crate) async fn prepare(
        tokens: &Tokens,
        workers: usize,
        queue_type: &'static str,
        arena: Arena,
    ) -> Result<Self, Failure> {
        let servers = match arena {
            Arena::Pair => {
                PrivateServers::up("scripts/servers", FOLDER, &["--database-disk", DISK])
            }
            Arena::Cluster => PrivateServers::up("scripts/cluster", CLUSTER_FOLDER, &[]),
            Arena::Asynchronous => {
                PrivateServers::up("scripts/cluster", CLUSTER_FOLDER, &["--asynchronous"])
            }
        };
        let logs = root().join(".local/chaos-logs");
        std::fs::create_dir_all(&logs)?;
        File::create(logs.join("memory.log"))?;
        let mut scene = Self {
            servers,
            workers: Vec::new(),
            logs,
            troubles: Vec::new(),
            queue_type,
        };
        let store = Store::new(&DatabaseUrl::parse(&scene.servers.servers.database_url)?, 2)?;
        migrate::run(&store, || {}).await?;
        tenants::make(&store, tokens).await?;
        if arena == Arena::Pair {
            scene.make_user().await?;
        }
        for number in 1..=workers {
            let worker =
                Worker::new(number, &scene.servers, &scene.logs, queue_type, arena).await?;
            scene.workers.push(worker);
        }
        Ok(scene)
    }

    /// The user of the workers, with all rights that one needs.
    async fn make_user(&self) -> Result<(), Failure> {
        self.tell(&["ctl"], &["add_user", WORKERS_USER, WORKERS_USER])
            .await?;
        self.tell(
            &["ctl"],
            &["set_permissions", WORKERS_USER, ".*", ".*", ".*"],
        )
        .await?;
        let statements = format!(
            "CREATE ROLE {WORKERS_USER} LOGIN;
             GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {WORKERS_USER};
             GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {WORKERS_USER}"
        );
        Ok(self
            .database()
            .await?
            .client
            .batch_execute(&statements)
            .await?)
    }

    /// The workers, and then the queues of the harness.
    pub(crate) async fn start(&mut self) -> Result<(), Failure> {
        for worker in &mut self.workers {
            worker.start()?;
        }
        self.until_all_take_requests().await?;
        let (connection, channel) = self.broker().await?;
        let durable = QueueDeclareOptions {
            durable: true,
            ..Default::default()
        };
        for queue in [Source::Steady.queue(), Source::Events.queue()] {
            let mut arguments = FieldTable::default();
            arguments.insert(
                "x-queue-type".into(),
                AMQPValue::LongString(self.queue_type.into()),
            );
            channel
                .queue_declare(queue.into(), durable, arguments)
                .await?;
        }
        declare_fleeting(&channel).await?;
        let exchange = "profiles.events";
        let options = ExchangeDeclareOptions {
            durable: true,
            ..Default::default()
        };
        channel
            .exchange_declare(
                exchange.into(),
                ExchangeKind::Topic,
                options,
                FieldTable::default(),
            )
            .await?;
        let binding = channel.queue_bind(
            Source::Events.queue().into(),
            exchange.into(),
            "profile.added.#".into(),
            QueueBindOptions::default(),
            FieldTable::default(),
        );
        binding.await?;
        connection.close(200, "".into()).await?;
        Ok(())
    }

    /// A direct connection to the broker.
    pub(crate) async fn broker(&self) -> Result<(Connection, AmqpChannel), Failure> {
        let url = &self.servers.servers.amqp_url;
        let connection = timeout(CONNECT_MAX, connect(url)).await??;
        let channel = timeout(CONNECT_MAX, connection.create_channel()).await??;
        Ok((connection, channel))
    }

    /// A direct connection to the database.
    pub(crate) async fn database(&self) -> Result<Session, Failure> {
        // Of several servers the primary.
        let url = format!(
            "{}?target_session_attrs=read-write",
            self.servers.servers.database_url
        );
        Session::open(&url).await
    }

    /// The script of our servers, told to do something with them; what it prints.
    pub(crate) async fn tell(&self, before: &[&str], after: &[&str]) -> Result<String, Failure> {
        let mut command = Command::from(self.servers.command(before, after));
        let output = timeout(SCRIPT_MAX, command.output()).await;
        let output = output.map_err(|_| {
            format!("the servers' script {before:?} takes more than {SCRIPT_MAX:?}")
        })??;
        if !output.status.success() {
            let words = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(format!("the servers' script {before:?} {after:?} fails: {words}").into());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Ready and unacknowledged messages of a queue.
    pub(crate) async fn depth(&self, queue: &str) -> Result<(u64, u64), Failure> {
        let columns = [
            "list_queues",
            "--quiet",
            "--no-table-headers",
            "name",
            "messages_ready",
            "messages_unacknowledged",
        ];
        let table = self.tell(&["ctl"], &columns).await?;
        for line in table.lines() {
            let mut words = line.split_whitespace();
            if words.next() == Some(queue) {
                let mut number = || {
                    words
                        .next()
                        .and_then(|word| word.parse().ok())
                        .ok_or("no number")
                };
                return Ok((number()?, number()?));
            }
        }
        Err(format!("the broker has no queue {queue}: {table}").into())
    }

    /// Whether the database has a disk that can be filled; its folder.
    pub(crate) fn disk(&self) -> Option<PathBuf> {
        let folder = std::fs::read_to_string(self.servers.folder().join("disk")).ok()?;
        Some(PathBuf::from(folder.trim()))
    }

    /// A worker that ended by itself is a trouble, and is started again.
    pub(crate) fn look(&mut self) -> Result<(), Failure> {
        for worker in &mut self.workers {
            if let Some(child) = &mut worker.child
                && let Some(status) = child.try_wait()?
            {
                let words = worker.last_words();
                self.troubles.push(format!(
                    "worker {} ended by itself ({status}):\n{words}",
                    worker.number
                ));
                worker.start()?;
            }
        }
        Ok(())
    }

    pub(crate) async fn until_all_take_requests(&mut self) -> Result<(), Failure> {
        let limit = Instant::now() + UP_MAX;
        let mut looks = interval(LOOK_EVERY);
        loop {
            looks.tick().await;
            self.look()?;
            let Some(waiting) = self.workers.iter().find(|worker| !worker.takes_requests()) else {
                return Ok(());
            };
            if Instant::now() > limit {
                let words = waiting.last_words();
                return Err(format!(
                    "worker {} takes no requests after {UP_MAX:?}:\n{words}",
                    waiting.number
                )
                .into());
            }
        }
    }

    /// The memory of each worker, in MiB.
    pub(crate) async fn memory(&self) -> Result<Vec<u64>, Failure> {
        let mut all = Vec::new();
        for worker in &self.workers {
            let output = Command::new("ps")
                .args(["-o", "rss=", "-p", &worker.id()?.to_string()])
                .output()
                .await?;
            let kib: u64 = String::from_utf8_lossy(&output.stdout).trim().parse()?;
            all.push(kib / 1024);
        }
        Ok(all)
    }

    /// Notes the memory and threads of each worker in a file beside their logs: by what a growth
    /// can be traced to a fault.
    pub(crate) fn note_memory(&self, when: &str) -> Result<(), Failure> {
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.logs.join("memory.log"))?;
        for worker in &self.workers {
            let status = std::fs::read_to_string(format!("/proc/{}/status", worker.id()?))
                .unwrap_or_default();
            let figures = status
                .lines()
                .filter(|line| line.starts_with("VmRSS") || line.starts_with("Threads"));
            let figures: Vec<_> = figures.flat_map(str::split_whitespace).collect();
            writeln!(
                file,
                "worker {}: {}; after {when}",
                worker.number,
                figures.join(" ")
            )?;
        }
        Ok(())
    }

    /// Lines in the workers' logs that must not be there.
    pub(crate) fn alarming_lines(&self) -> Result<Vec<String>, Failure> {
        let mut found = Vec::new();
        for worker in &self.workers {
            let said = std::fs::read_to_string(&worker.log)?;
            let lines = said
                .lines()
                .filter(|line| line.contains("ERROR") || line.contains("panicked"));
            found.extend(lines.map(|line| format!("worker {}: {line}", worker.number)));
        }
        Ok(found)
    }
}

/// The reply queue that is deleted now and then. Classic: a quorum queue would be forgotten if the
/// broker is killed within half a second (RabbitMQ 3.10).
pub(crate) async fn declare_fleeting(channel: &AmqpChannel) -> lapin::Result<()> {
    let options = QueueDeclareOptions {
        durable: true,
        ..Default::default()
    };
    channel
        .queue_declare(
            Source::Fleeting.queue().into(),
            options,
            FieldTable::default(),
        )
        .await?;
    Ok(())
}

impl Worker {
    async fn new(
        number: usize,
        servers: &PrivateServers,
        logs: &Path,
        queue_type: &str,
        arena: Arena,
    ) -> Result<Self, Failure> {
        let (amqp_url, database_url) = (&servers.servers.amqp_url, &servers.servers.database_url);
        let (amqp_url, database_url, network) = match arena {
            Arena::Pair => Self::through_proxies(amqp_url, database_url).await?,
            Arena::Cluster | Arena::Asynchronous => (amqp_url.clone(), database_url.clone(), None),
        };
        let settings = vec![
            // So that a worker that is paused for seconds is missed.
            ("AMQP_URL", format!("{amqp_url}?heartbeat=2")),
            ("DATABASE_URL", database_url),
            ("QUEUE_TYPE", queue_type.to_owned()),
            ("SHUTDOWN_GRACE", GRACE.to_owned()),
            ("ADMIN_ADDR", "127.0.0.1:0".to_owned()),
        ];
        let log = logs.join(format!("worker-{number}.log"));
        File::create(&log)?;
        Ok(Self {
            child: None,
            network,
            settings,
            log,
            said_before: 0,
            number,
        })
    }

    /// The URLs that lead through a network which can fail.
    async fn through_proxies(
        amqp_url: &str,
        database_url: &str,
    ) -> Result<(String, String, Option<[Proxy; 2]>), Failure> {
        let through = |url: &str, port: u16| -> Result<Url, Failure> {
            let mut url = Url::parse(url)?;
            url.set_port(Some(port))
                .map_err(|()| "the URL takes no port")?;
            url.set_username(WORKERS_USER)
                .map_err(|()| "the URL takes no user")?;
            url.set_password(Some(WORKERS_USER))
                .map_err(|()| "the URL takes no password")?;
            Ok(url)
        };
        let address = |url: &str| -> Result<String, Failure> {
            let url = Url::parse(url)?;
            Ok(format!(
                "127.0.0.1:{}",
                url.port().ok_or("the URL has no port")?
            ))
        };
        let to_broker = Proxy::before(&address(amqp_url)?).await?;
        let to_database = Proxy::before(&address(database_url)?).await?;
        let amqp_url = through(amqp_url, to_broker.port())?;
        let database_url = through(database_url, to_database.port())?;
        Ok((
            amqp_url.into(),
            database_url.into(),
            Some([to_broker, to_database]),
        ))
    }

    pub(crate) fn start(&mut self) -> Result<(), Failure> {
        let mut log = OpenOptions::new().append(true).open(&self.log)?;
        writeln!(log, "---- started")?;
        self.said_before = log.metadata()?.len();
        let mut command = command();
        command
            .arg("run")
            .envs(self.settings.iter().map(|(name, value)| (name, value)));
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()?;
        // For scripts/chaos, should we be killed.
        let file = self.log.with_extension("pid");
        std::fs::write(file, format!("{}\n", child.id().unwrap_or_default()))?;
        self.child = Some(child);
        Ok(())
    }

    fn id(&self) -> Result<u32, Failure> {
        let id = self.child.as_ref().and_then(Child::id);
        Ok(id.ok_or_else(|| format!("worker {} does not run", self.number))?)
    }

    pub(crate) async fn signal(&self, name: &str) -> Result<(), Failure> {
        let status = Command::new("kill")
            .arg(format!("-{name}"))
            .arg(self.id()?.to_string())
            .status()
            .await?;
        if status.success() {
            Ok(())
        } else {
            Err(format!("kill -{name} fails").into())
        }
    }

    pub(crate) async fn kill(&mut self) -> Result<(), Failure> {
        if let Some(mut child) = self.child.take() {
            child.kill().await?;
        }
        Ok(())
    }

    /// SIGTERM; it must end in order and in time. What is wrong with its end, if anything.
    pub(crate) async fn stop(&mut self) -> Result<Option<String>, Failure> {
        self.signal("TERM").await?;
        let Some(mut child) = self.child.take() else {
            return Ok(None);
        };
        let wrong = match timeout(END_MAX, child.wait()).await {
            Ok(status) if status.as_ref().is_ok_and(std::process::ExitStatus::success) => {
                return Ok(None);
            }
            Ok(status) => format!("ended with {}", status?),
            Err(_) => {
                child.kill().await?;
                format!("did not end within {END_MAX:?}")
            }
        };
        Ok(Some(format!(
            "worker {} {wrong} after SIGTERM:\n{}",
            self.number,
            self.last_words()
        )))
    }

    fn said(&self) -> String {
        let said = std::fs::read(&self.log).unwrap_or_default();
        let from = usize::try_from(self.said_before)
            .unwrap_or(0)
            .min(said.len());
        String::from_utf8_lossy(&said[from..]).into_owned()
    }

    /// Whether it has begun since it was started.
    fn takes_requests(&self) -> bool {
        self.said().contains("taking requests")
    }

    pub(crate) fn last_words(&self) -> String {
        let said = self.said();
        let lines: Vec<_> = said.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }

    pub(crate) fn set_network(&self, server: testkit::load::plan::Server, network: Network) {
        let Some([to_broker, to_database]) = &self.network else {
            return;
        };
        match server {
            testkit::load::plan::Server::Broker => to_broker.set(network),
            testkit::load::plan::Server::Database => to_database.set(network),
        }
    }
}
