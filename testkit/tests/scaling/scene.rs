//! Where it takes place: a network of containers with one broker, one database and some workers.

use std::net::SocketAddr;
use std::time::Duration;

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel as AmqpChannel, Connection, ExchangeKind};
use profile_worker::admin::client::ask;
use profile_worker::store::pool::Store;
use profile_worker::store::url::DatabaseUrl;
use testcontainers::ImageExt;
use testcontainers::runners::AsyncRunner;
use tokio::process::Command;
use tokio::time::{Instant, interval};

use testkit::Failure;
use testkit::containers::{Container, Servers, container, last_words, name_in, port};
use testkit::load::ledger::Source;
use testkit::load::request::Tokens;
use testkit::load::tenants;

/// The image that is tested; `scripts/scaling-test` builds it.
const IMAGE: &str = "profile-worker:scaling-test";

/// Where a worker in a container listens.
const ADMIN_PORT: u16 = 9464;

/// How long a container may take to do what it was started for.
const UP_MAX: Duration = Duration::from_secs(60);

/// Docker takes a while to answer.
const ASK_DOCKER_EVERY: Duration = Duration::from_millis(200);

/// Short, as it is the resolution of the time to ready.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Longer than SHUTDOWN_GRACE.
const STOP_SECONDS: i32 = 40;

const QUEUES: &str = "quorum";

pub(crate) struct Scene {
    pub(crate) servers: Servers,
    network: String,
}

/// A worker in its container. Removed when dropped.
pub(crate) struct Worker {
    container: Container,
    admin: SocketAddr,
    pub(crate) number: usize,
    /// From the order to start it until it was ready.
    pub(crate) ready_after: Duration,
}

/// What a worker tells of itself.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Figures {
    /// Requests that it has answered.
    pub(crate) answered: u64,
    /// Of those it took up, the ones that another had before.
    pub(crate) redelivered: u64,
    pub(crate) memory_mib: u64,
}

impl Scene {
    /// Servers with a schema, two databases, tokens and queues; no worker yet.
    pub(crate) async fn prepare(tokens: &Tokens) -> Result<Self, Failure> {
        let network = format!("profile-worker-scaling-{}", std::process::id());
        let servers = Servers::start(Some(&network)).await?;
        let scene = Self { servers, network };
        scene.migrate().await?;
        let store = Store::new(&DatabaseUrl::parse(&scene.servers.database_url)?, 2)?;
        tenants::make(&store, tokens).await?;
        scene.declare().await?;
        Ok(scene)
    }

    /// The queues of the harness, and the exchange that one of them is bound to.
    async fn declare(&self) -> Result<(), Failure> {
        let (connection, channel) = self.broker().await?;
        let durable = QueueDeclareOptions {
            durable: true,
            ..Default::default()
        };
        for queue in [Source::Steady, Source::Fleeting, Source::Events].map(Source::queue) {
            let mut arguments = FieldTable::default();
            arguments.insert("x-queue-type".into(), AMQPValue::LongString(QUEUES.into()));
            channel
                .queue_declare(queue.into(), durable, arguments)
                .await?;
        }
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
        let (queue, key) = (Source::Events.queue(), "profile.added.#");
        let options = QueueBindOptions::default();
        channel
            .queue_bind(
                queue.into(),
                exchange.into(),
                key.into(),
                options,
                FieldTable::default(),
            )
            .await?;
        connection.close(200, "".into()).await?;
        Ok(())
    }

    async fn broker(&self) -> Result<(Connection, AmqpChannel), Failure> {
        let connection = Connection::connect(&self.servers.amqp_url, Default::default()).await?;
        let channel = connection.create_channel().await?;
        Ok((connection, channel))
    }

    /// How many messages are in all queues, those included that somebody works on.
    pub(crate) async fn messages(&self) -> Result<u64, Failure> {
        let broker = name_in(&self.network, "rabbitmq");
        let list = [
            "rabbitmqctl",
            "--quiet",
            "list_queues",
            "--no-table-headers",
            "messages",
        ];
        let table = docker(&[&["exec", broker.as_str()], &list[..]].concat()).await?;
        let counts: Result<Vec<u64>, _> = table.split_whitespace().map(str::parse).collect();
        Ok(counts?.into_iter().sum())
    }

    /// The schema, by a container that ends.
    async fn migrate(&self) -> Result<(), Failure> {
        let container = self.ours(["migrate"]).start().await?;
        let limit = Instant::now() + UP_MAX;
        let mut looks = interval(LOOK_EVERY);
        while container.is_running().await? && Instant::now() < limit {
            looks.tick().await;
        }
        match container.exit_code().await? {
            Some(0) => Ok(container.rm().await?),
            _ => Err(format!("migrate failed:\n{}", last_words(&container).await).into()),
        }
    }

    /// Starts a worker and waits until it is ready.
    pub(crate) async fn worker(&self, number: usize) -> Result<Worker, Failure> {
        let begun = Instant::now();
        let request = self
            .ours(["run"])
            .with_container_name(name_in(&self.network, &format!("worker-{number}")));
        let container = request.start().await?;
        let admin = SocketAddr::from(([127, 0, 0, 1], port(&container, ADMIN_PORT).await?));
        let mut looks = interval(LOOK_EVERY);
        while !matches!(ask(admin, "/ready").await, Ok((true, _))) {
            if begun.elapsed() > UP_MAX || !container.is_running().await? {
                return Err(format!(
                    "worker {number} is not ready:\n{}",
                    last_words(&container).await
                )
                .into());
            }
            looks.tick().await;
        }
        Ok(Worker {
            container,
            admin,
            number,
            ready_after: begun.elapsed(),
        })
    }

    /// A container of our image, as docker-compose.yml has it.
    fn ours<const N: usize>(
        &self,
        command: [&str; N],
    ) -> testcontainers::ContainerRequest<testcontainers::GenericImage> {
        let amqp_url = format!(
            "amqp://guest:guest@{}:5672/%2f",
            name_in(&self.network, "rabbitmq")
        );
        let database_url = format!(
            "postgres://profile_worker@{}:5432/profile_worker",
            name_in(&self.network, "postgres")
        );
        container(IMAGE, [ADMIN_PORT])
            .with_network(&self.network)
            .with_env_var("AMQP_URL", amqp_url)
            .with_env_var("DATABASE_URL", database_url)
            .with_readonly_rootfs(true)
            .with_cap_drop("ALL")
            .with_security_opt("no-new-privileges:true")
            .with_cmd(command)
    }
}

impl Worker {
    /// SIGKILL, as by a machine that is gone.
    pub(crate) async fn kill(&self) -> Result<(), Failure> {
        docker(&["kill", "--signal", "KILL", self.container.id()]).await?;
        Ok(())
    }

    /// SIGTERM; it must end in order and in time.
    pub(crate) async fn stop(&self) -> Result<(), Failure> {
        self.container.stop_with_timeout(Some(STOP_SECONDS)).await?;
        match self.container.exit_code().await? {
            Some(0) => Ok(()),
            code => {
                let said = last_words(&self.container).await;
                Err(format!(
                    "worker {} ended with {code:?} after SIGTERM:\n{said}",
                    self.number
                )
                .into())
            }
        }
    }

    pub(crate) async fn is_running(&self) -> Result<bool, Failure> {
        Ok(self.container.is_running().await?)
    }

    /// Waits until Docker, by the image's own check, calls it healthy.
    pub(crate) async fn until_healthy(&self) -> Result<(), Failure> {
        let limit = Instant::now() + UP_MAX;
        let mut looks = interval(ASK_DOCKER_EVERY);
        loop {
            looks.tick().await;
            let state = docker(&[
                "inspect",
                "--format",
                "{{.State.Health.Status}}",
                self.container.id(),
            ])
            .await?;
            if state == "healthy" {
                return Ok(());
            }
            if Instant::now() > limit {
                return Err(format!("Docker calls worker {} {state}", self.number).into());
            }
        }
    }

    pub(crate) async fn figures(&self) -> Result<Figures, Failure> {
        let (_, text) = ask(self.admin, "/metrics").await?;
        let sum = |name: &str| {
            let of_name = text.lines().filter(|line| line.starts_with(name));
            of_name
                .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
                .sum::<f64>() as u64
        };
        Ok(Figures {
            answered: sum("profile_worker_decisions_total"),
            redelivered: sum("profile_worker_deliveries_total{redelivered=\"true\"}"),
            memory_mib: sum("process_resident_memory_bytes ") >> 20,
        })
    }
}

/// The client of Docker, told to do something; what it prints.
async fn docker(arguments: &[&str]) -> Result<String, Failure> {
    let output = Command::new("docker").args(arguments).output().await?;
    if !output.status.success() {
        return Err(format!(
            "docker {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        )
        .into());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
