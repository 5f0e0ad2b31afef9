//! Where a measurement takes place: the servers, and a database and queues that nobody has used.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio_postgres::NoTls;

use crate::Result;
use crate::amqp::{Argument, Client};
use crate::plan::{Before, Case, Plan, QueueType};
use crate::processes::Roots;
use crate::workers::Worker;

/// The servers, with a database of each kind to copy from.
pub(crate) struct Surroundings {
    amqp_url: String,
    database_url: url::Url,
    runtime: tokio::runtime::Runtime,
    /// Our worker's tables, with database 1, resource 1 and the token.
    ours: String,
    /// The same with many tenants.
    tenants: String,
    /// The same with many profiles. It is measured in, not copied.
    filled: String,
    /// The reference workers' tables.
    plain: String,
    pub(crate) token: String,
    /// The servers' processes, if they are on this machine and known.
    pub(crate) servers: Roots,
    pub(crate) broker_version: String,
    pub(crate) database_version: String,
}

impl Surroundings {
    /// Servers come from the environment, as `scripts/bench` sets it.
    #[expect(clippy::disallowed_methods, reason = "the script that starts this tells it all by the environment")]
    pub(crate) fn prepare(plan: &Plan) -> Result<Self> {
        let amqp_url = std::env::var("AMQP_URL")?;
        let name = |kind| format!("pw_bench_{}_{kind}", std::process::id());
        let mut new = Self {
            broker_version: Client::connect(&amqp_url)?.broker_version,
            amqp_url,
            database_url: std::env::var("DATABASE_URL")?.parse()?,
            runtime: tokio::runtime::Builder::new_current_thread().enable_all().build()?,
            ours: name("ours"),
            tenants: name("tenants"),
            filled: name("filled"),
            plain: name("plain"),
            token: String::new(),
            servers: std::env::var("BENCH_SERVERS").map(|folder| servers_in(folder.as_ref())).unwrap_or_default(),
            database_version: String::new(),
        };
        new.database_version = new.ask(&new.database_url, "SELECT current_setting('server_version')")?;
        for database in [&new.ours, &new.plain] {
            new.execute(&new.database_url, &format!("CREATE DATABASE {database}"))?;
        }
        new.execute(&new.url_of(&new.plain), include_str!("../workers/plain.sql"))?;
        new.command(&["migrate"])?;
        new.command(&["database", "create", "bench"])?;
        new.command(&["resource", "create", "--db", "1", "--channels", "email", "bench"])?;
        new.token = new.command(&["token", "create", "--db", "1", "bench"])?;
        for (before, database, sql) in [
            (Before::Tenants, &new.tenants, include_str!("tenants.sql").to_owned()),
            (Before::Profiles, &new.filled, include_str!("filled.sql").replace("COUNT", &plan.profiles.to_string())),
        ] {
            if plan.has(before) {
                new.execute(&new.database_url, &format!("CREATE DATABASE {database} TEMPLATE {}", new.ours))?;
                new.execute(&new.url_of(database), &sql)?;
            }
        }
        Ok(new)
    }

    /// What one of our program's commands prints.
    fn command(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_profile-worker"));
        let output = command.args(arguments).env("DATABASE_URL", self.url_of(&self.ours).as_str()).output()?;
        if !output.status.success() {
            return Err(format!("{arguments:?}: {}", String::from_utf8_lossy(&output.stderr)).into());
        }
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    fn url_of(&self, database: &str) -> url::Url {
        let mut url = self.database_url.clone();
        url.set_path(database);
        url
    }

    fn execute(&self, url: &url::Url, sql: &str) -> Result<()> {
        self.runtime.block_on(async {
            let (client, connection) = tokio_postgres::connect(url.as_str(), NoTls).await?;
            self.runtime.spawn(connection);
            Ok(client.batch_execute(sql).await?)
        })
    }

    /// The first column of the only row, as text.
    fn ask(&self, url: &url::Url, sql: &str) -> Result<String> {
        self.runtime.block_on(async {
            let (client, connection) = tokio_postgres::connect(url.as_str(), NoTls).await?;
            self.runtime.spawn(connection);
            Ok(client.query_one(sql, &[]).await?.try_get(0)?)
        })
    }

    /// A new database and new queues, as this worker wants them.
    pub(crate) fn ground(&self, worker: Worker, case: Case) -> Result<Ground<'_>> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("pw_bench_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let mut ground = Ground { surroundings: self, database: name.clone(), name, queue_type: case.queue, before: 0 };
        let template = match case.shape.before {
            Before::Profiles => {
                ground.database = self.filled.clone();
                ground.before = ground.count("profiles")?;
                None
            }
            Before::Tenants => Some(&self.tenants),
            Before::Nothing if worker.has_our_tables() => Some(&self.ours),
            Before::Nothing => Some(&self.plain),
        };
        if let Some(template) = template {
            let create = format!("CREATE DATABASE {} TEMPLATE {template}", ground.database);
            self.execute(&self.database_url, &create)?;
        }
        ground.declare(&mut ground.client()?)?;
        Ok(ground)
    }
}

impl Drop for Surroundings {
    fn drop(&mut self) {
        for database in [&self.ours, &self.tenants, &self.filled, &self.plain] {
            self.execute(&self.database_url, &format!("DROP DATABASE IF EXISTS {database} WITH (FORCE)")).ok();
        }
    }
}

/// The processes of servers that `scripts/servers` has started in `folder`.
fn servers_in(folder: &Path) -> Roots {
    let first_line = |path: &Path| Some(fs::read_to_string(path).ok()?.lines().next()?.trim().to_owned());
    let id = |path: &Path| first_line(path)?.parse().ok();
    let data = first_line(&folder.join("database.dir"));
    Roots {
        workers: Vec::new(),
        broker: id(&folder.join("broker.pid")),
        database: data.and_then(|data| id(&Path::new(&data).join("data/postmaster.pid"))),
    }
}

/// A database and queues for one measurement, removed with this.
pub(crate) struct Ground<'a> {
    surroundings: &'a Surroundings,
    /// What its queues are called by.
    name: String,
    database: String,
    queue_type: QueueType,
    /// Profiles that stood there before.
    before: usize,
}

impl Ground<'_> {
    pub(crate) fn request_queue(&self) -> String {
        format!("{}.add", self.name)
    }

    pub(crate) fn event_exchange(&self) -> String {
        format!("{}.events", self.name)
    }

    fn other_queues(&self) -> [String; 2] {
        ["dead", "results"].map(|kind| format!("{}.{kind}", self.name))
    }

    /// A connection for the load.
    pub(crate) fn client(&self) -> Result<Client> {
        Client::connect(&self.surroundings.amqp_url)
    }

    /// What a worker is told.
    pub(crate) fn settings(&self) -> Vec<(&'static str, String)> {
        let [dead, results] = self.other_queues();
        vec![
            ("AMQP_URL", self.surroundings.amqp_url.clone()),
            ("DATABASE_URL", self.surroundings.url_of(&self.database).into()),
            ("REQUEST_QUEUE", self.request_queue()),
            ("DEAD_LETTER_QUEUE", dead),
            ("RESULT_QUEUE", results),
            ("EVENT_EXCHANGE", self.event_exchange()),
            ("ADMIN_ADDR", "127.0.0.1:0".to_owned()),
            ("QUEUE_TYPE", self.queue_type.name().to_owned()),
        ]
    }

    /// The request queue and the exchange, for all workers just as ours declares them.
    fn declare(&self, client: &mut Client) -> Result<()> {
        let [dead, _] = self.other_queues();
        let mut arguments = vec![
            ("x-queue-type", Argument::Text(self.queue_type.name())),
            ("x-dead-letter-exchange", Argument::Text("")),
            ("x-dead-letter-routing-key", Argument::Text(&dead)),
        ];
        if self.queue_type == QueueType::Quorum {
            arguments.extend([
                ("x-delivery-limit", Argument::Integer(100)),
                ("x-dead-letter-strategy", Argument::Text("at-least-once")),
                ("x-overflow", Argument::Text("reject-publish")),
            ]);
        }
        client.declare_queue(&self.request_queue(), &arguments)?;
        client.declare_topic_exchange(&self.event_exchange())
    }

    /// A part of the emails that are used here and nowhere else.
    pub(crate) fn mark(&self) -> &str {
        self.name.rsplit('_').next().unwrap_or_default()
    }

    /// Profiles and subscriptions that were stored.
    pub(crate) fn stored(&self) -> Result<(usize, usize)> {
        // Those that stood there before have a subscription each, too.
        Ok((self.count("profiles")? - self.before, self.count("subscriptions")? - self.before))
    }

    fn count(&self, table: &str) -> Result<usize> {
        let url = self.surroundings.url_of(&self.database);
        Ok(self.surroundings.ask(&url, &format!("SELECT count(*)::text FROM {table}"))?.parse()?)
    }

    fn remove(&self) -> Result<()> {
        if self.database != self.surroundings.filled {
            let drop_database = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.database);
            self.surroundings.execute(&self.surroundings.database_url, &drop_database)?;
        }
        let mut client = self.client()?;
        client.delete_queue(&self.request_queue())?;
        client.delete_exchange(&self.event_exchange())?;
        self.other_queues().iter().try_for_each(|queue| client.delete_queue(queue))
    }
}

impl Drop for Ground<'_> {
    fn drop(&mut self) {
        self.remove().ok();
    }
}
