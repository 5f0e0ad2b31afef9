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
use crate::workers::{Worker, other_build};

/// The servers, with a database of each kind to copy from.
pub(crate) struct Surroundings {
    amqp_url: String,
    database_url: url::Url,
    runtime: tokio::runtime::Runtime,
    /// Our worker's tables.
    ours: Tables,
    /// The tables of another build of it, whose schema may be another one.
    other: Option<Tables>,
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
    #[expect(
        clippy::disallowed_methods,
        reason = "the script that starts this tells it all by the environment"
    )]
    pub(crate) fn prepare(plan: &Plan) -> Result<Self> {
        let amqp_url = std::env::var("AMQP_URL")?;
        let name = |kind| format!("pw_bench_{}_{kind}", std::process::id());
        let mut new = Self {
            broker_version: Client::connect(&amqp_url)?.broker_version,
            amqp_url,
            database_url: std::env::var("DATABASE_URL")?.parse()?,
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?,
            ours: Tables::named(&name("ours")),
            other: other_build().map(|_| Tables::named(&name("other"))),
            plain: name("plain"),
            token: String::new(),
            servers: std::env::var("BENCH_SERVERS")
                .map(|folder| servers_in(folder.as_ref()))
                .unwrap_or_default(),
            database_version: String::new(),
        };
        new.database_version = new.ask(
            &new.database_url,
            "SELECT current_setting('server_version')",
        )?;
        new.execute(&new.database_url, &format!("CREATE DATABASE {}", new.plain))?;
        new.execute(
            &new.url_of(&new.plain),
            include_str!("../workers/plain.sql"),
        )?;
        new.token = new.make(
            Path::new(env!("CARGO_BIN_EXE_profile-worker")),
            &new.ours,
            plan,
        )?;
        if let (Some(program), Some(tables)) = (other_build(), &new.other) {
            new.make(&program, tables, plan)?;
            // One token for both.
            let hash = format!(
                "UPDATE api_tokens SET token_hash = sha256('{}') WHERE id = 1",
                new.token
            );
            for database in tables.made(plan) {
                new.execute(&new.url_of(database), &hash)?;
            }
        }
        Ok(new)
    }

    /// Makes a program's tables; returns the token.
    fn make(&self, program: &Path, tables: &Tables, plan: &Plan) -> Result<String> {
        self.execute(
            &self.database_url,
            &format!("CREATE DATABASE {}", tables.new),
        )?;
        let url = self.url_of(&tables.new);
        let tell = |arguments: &[&str]| -> Result<String> {
            let output = Command::new(program)
                .args(arguments)
                .env("DATABASE_URL", url.as_str())
                .output()?;
            if !output.status.success() {
                return Err(
                    format!("{arguments:?}: {}", String::from_utf8_lossy(&output.stderr)).into(),
                );
            }
            Ok(String::from_utf8(output.stdout)?.trim().to_owned())
        };
        tell(&["migrate"])?;
        tell(&["database", "create", "bench"])?;
        tell(&[
            "resource",
            "create",
            "--db",
            "1",
            "--channels",
            "email",
            "bench",
        ])?;
        let token = tell(&["token", "create", "--db", "1", "bench"])?;
        let has_hash = self.ask(
            &url,
            "SELECT (to_regprocedure('hash_of_email(text)') IS NOT NULL)::text",
        )? == "true";
        let (column, value) = if has_hash {
            ("email_hash,", "hash_of_email(email),")
        } else {
            ("", "")
        };
        let filled = include_str!("filled.sql")
            .replace("COUNT", &plan.profiles.to_string())
            .replace("DATABASES", &plan.databases.to_string())
            .replace("HASH_OF_EMAIL", value)
            .replace("EMAIL_HASH", column);
        for (before, database, sql) in [
            (
                Before::Tenants,
                &tables.tenants,
                include_str!("tenants.sql"),
            ),
            (Before::Profiles, &tables.filled, &filled),
        ] {
            if plan.has(before) {
                self.execute(
                    &self.database_url,
                    &format!("CREATE DATABASE {database} TEMPLATE {}", tables.new),
                )?;
                self.execute(&self.url_of(database), sql)?;
            }
        }
        Ok(token)
    }

    fn tables_of(&self, worker: Worker) -> &Tables {
        match (worker, &self.other) {
            (Worker::Other, Some(tables)) => tables,
            _ => &self.ours,
        }
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
        let name = format!(
            "pw_bench_{}_{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let mut ground = Ground {
            surroundings: self,
            database: name.clone(),
            name,
            queue_type: case.queue,
            is_shared: false,
            before: 0,
        };
        let template = match case.shape.before {
            Before::Profiles => {
                ground.database = self.tables_of(worker).filled.clone();
                ground.is_shared = true;
                ground.before = ground.count("profiles")?;
                None
            }
            Before::Tenants => Some(&self.tables_of(worker).tenants),
            Before::Nothing if worker.has_our_tables() => Some(&self.tables_of(worker).new),
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
        let tables = [Some(&self.ours), self.other.as_ref()]
            .into_iter()
            .flatten();
        let tables = tables.flat_map(|tables| [&tables.new, &tables.tenants, &tables.filled]);
        for database in tables.chain([&self.plain]) {
            self.execute(
                &self.database_url,
                &format!("DROP DATABASE IF EXISTS {database} WITH (FORCE)"),
            )
            .ok();
        }
    }
}

/// Databases of PostgreSQL with the tables of one build of ours, with database 1, resource 1 and
/// the token.
struct Tables {
    /// Nothing else in it. It is copied.
    new: String,
    /// The same with many tenants.
    tenants: String,
    /// The same with many profiles. It is measured in, not copied.
    filled: String,
}

impl Tables {
    fn named(name: &str) -> Self {
        Self {
            new: name.to_owned(),
            tenants: format!("{name}_tenants"),
            filled: format!("{name}_filled"),
        }
    }

    /// Those that this plan needs.
    fn made(&self, plan: &Plan) -> impl Iterator<Item = &String> {
        let tenants = plan.has(Before::Tenants).then_some(&self.tenants);
        let filled = plan.has(Before::Profiles).then_some(&self.filled);
        [Some(&self.new), tenants, filled].into_iter().flatten()
    }
}

/// The processes of servers that `scripts/servers` has started in `folder`.
fn servers_in(folder: &Path) -> Roots {
    let first_line = |path: &Path| {
        Some(
            fs::read_to_string(path)
                .ok()?
                .lines()
                .next()?
                .trim()
                .to_owned(),
        )
    };
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
    /// Other measurements use the same database.
    is_shared: bool,
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
            (
                "DATABASE_URL",
                self.surroundings.url_of(&self.database).into(),
            ),
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
        Ok((
            self.count("profiles")? - self.before,
            self.count("subscriptions")? - self.before,
        ))
    }

    fn count(&self, table: &str) -> Result<usize> {
        let url = self.surroundings.url_of(&self.database);
        Ok(self
            .surroundings
            .ask(&url, &format!("SELECT count(*)::text FROM {table}"))?
            .parse()?)
    }

    fn remove(&self) -> Result<()> {
        if !self.is_shared {
            let drop_database = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.database);
            self.surroundings
                .execute(&self.surroundings.database_url, &drop_database)?;
        }
        let mut client = self.client()?;
        client.delete_queue(&self.request_queue())?;
        client.delete_exchange(&self.event_exchange())?;
        self.other_queues()
            .iter()
            .try_for_each(|queue| client.delete_queue(queue))
    }
}

impl Drop for Ground<'_> {
    fn drop(&mut self) {
        self.remove().ok();
    }
}
