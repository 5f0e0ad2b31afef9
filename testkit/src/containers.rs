//! RabbitMQ and PostgreSQL in containers, through `testcontainers`.

use std::collections::HashMap;
use std::time::Duration;

use testcontainers::bollard::models::PortBinding;
use testcontainers::core::IntoContainerPort;
use testcontainers::runners::AsyncRunner;
use testcontainers::{ContainerAsync, ContainerRequest, GenericImage, ImageExt};
use tokio::time::{Instant, interval};
use tokio_postgres::NoTls;

use crate::Failure;
use crate::servers::root;

pub type Container = ContainerAsync<GenericImage>;

/// With the project's folder as its value: `scripts/containers` finds by it what a killed run has
/// left.
const LABEL: &str = "profile-worker.tests";

const BROKER_PORT: u16 = 5672;
const MQTT_PORT: u16 = 1883;
const STOMP_PORT: u16 = 61613;

/// What the broker speaks besides AMQP 0-9-1, and what its image has already.
const PLUGINS: &str =
    "[rabbitmq_management,rabbitmq_prometheus,rabbitmq_amqp1_0,rabbitmq_mqtt,rabbitmq_stomp].\n";
const DATABASE_PORT: u16 = 5432;

/// How long a server may take to answer, on a busy machine.
const UP_MAX: Duration = Duration::from_secs(120);

const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A broker and a database that answer. Removed when dropped.
pub struct Servers {
    pub amqp_url: String,
    pub database_url: String,
    pub mqtt_url: String,
    pub stomp_url: String,
    broker: Container,
    database: Container,
}

impl Servers {
    /// Starts both. In a network, others in it find them by the names `rabbitmq` and `postgres` of
    /// it.
    pub async fn start(network: Option<&str>) -> Result<Self, Failure> {
        // Not one after the other, and not the one without the other if that one fails.
        let (broker, database) = tokio::join!(start_broker(network), start_database(network));
        let (broker, database) = (broker?, database?);
        let amqp_url = format!(
            "amqp://guest:guest@127.0.0.1:{}/%2f",
            port(&broker, BROKER_PORT).await?
        );
        let mqtt_url = format!(
            "mqtt://guest:guest@127.0.0.1:{}",
            port(&broker, MQTT_PORT).await?
        );
        let stomp_url = format!(
            "stomp://guest:guest@127.0.0.1:{}",
            port(&broker, STOMP_PORT).await?
        );
        let database_url = format!(
            "postgres://profile_worker@127.0.0.1:{}/profile_worker",
            port(&database, DATABASE_PORT).await?
        );
        tokio::try_join!(
            until_up("RabbitMQ", &broker, async || is_broker_up(&amqp_url).await),
            until_up("PostgreSQL", &database, async || is_database_up(
                &database_url
            )
            .await),
        )?;
        Ok(Self {
            amqp_url,
            database_url,
            mqtt_url,
            stomp_url,
            broker,
            database,
        })
    }

    pub async fn remove(self) -> Result<(), Failure> {
        let (broker, database) = tokio::join!(self.broker.rm(), self.database.rm());
        Ok(broker.and(database)?)
    }
}

/// The name of a container that others in its network find it by: of all names on the machine.
pub fn name_in(network: &str, what: &str) -> String {
    format!("{network}-{what}")
}

/// A container of this image, with these ports on free ones of loopback.
pub fn container<const N: usize>(image: &str, ports: [u16; N]) -> ContainerRequest<GenericImage> {
    let (name, tag) = image.rsplit_once(':').unwrap_or((image, "latest"));
    // An image tells of the ports that are always used.
    let image = ports
        .into_iter()
        .fold(GenericImage::new(name, tag), |image, port| {
            image.with_exposed_port(port.tcp())
        });
    image
        .with_label(LABEL, root().display().to_string())
        .with_host_config_modifier(move |host| {
            // By itself testcontainers publishes every port, on every address of the machine.
            let here = |port| {
                let binding = PortBinding {
                    host_ip: Some("127.0.0.1".to_owned()),
                    host_port: None,
                };
                (format!("{port}/tcp"), Some(vec![binding]))
            };
            host.publish_all_ports = Some(false);
            host.port_bindings = Some(HashMap::from(ports.map(here)));
        })
}

/// Where a container's port is on this machine.
pub async fn port(container: &Container, port: u16) -> Result<u16, Failure> {
    Ok(container.get_host_port_ipv4(port.tcp()).await?)
}

/// An image by the variable that docker-compose.yml has for it.
fn image(variable: &str, default: &str) -> String {
    #[expect(
        clippy::disallowed_methods,
        reason = "a test is told of its servers by the environment"
    )]
    std::env::var(variable).unwrap_or_else(|_| default.to_owned())
}

fn placed(
    request: ContainerRequest<GenericImage>,
    network: Option<&str>,
    what: &str,
) -> ContainerRequest<GenericImage> {
    match network {
        Some(network) => request
            .with_network(network)
            .with_container_name(name_in(network, what)),
        None => request,
    }
}

async fn start_broker(network: Option<&str>) -> Result<Container, Failure> {
    let request = container(
        &image("RABBITMQ_IMAGE", "rabbitmq:4-management"),
        [BROKER_PORT, MQTT_PORT, STOMP_PORT],
    )
    .with_copy_to("/etc/rabbitmq/enabled_plugins", PLUGINS.as_bytes().to_vec());
    Ok(placed(request, network, "rabbitmq").start().await?)
}

/// Without the safety against a crash of the machine, as `scripts/servers --fast`.
async fn start_database(network: Option<&str>) -> Result<Container, Failure> {
    let options = [
        "postgres",
        "-c",
        "fsync=off",
        "-c",
        "full_page_writes=off",
        "-c",
        "max_connections=200",
    ];
    let request = container(&image("POSTGRES_IMAGE", "postgres:18"), [DATABASE_PORT])
        .with_env_var("POSTGRES_USER", "profile_worker")
        .with_env_var("POSTGRES_DB", "profile_worker")
        .with_env_var("POSTGRES_HOST_AUTH_METHOD", "trust")
        .with_cmd(options);
    Ok(placed(request, network, "postgres").start().await?)
}

/// What a server prints when it is up differs by version; that it answers does not.
async fn until_up(
    name: &str,
    container: &Container,
    is_up: impl AsyncFn() -> bool,
) -> Result<(), Failure> {
    let limit = Instant::now() + UP_MAX;
    let mut looks = interval(LOOK_EVERY);
    while !is_up().await {
        if Instant::now() > limit || !container.is_running().await? {
            return Err(format!(
                "{name} does not answer; it said:\n{}",
                last_words(container).await
            )
            .into());
        }
        looks.tick().await;
    }
    Ok(())
}

/// The end of what a container has said.
pub async fn last_words(container: &Container) -> String {
    let (out, err) = tokio::join!(container.stdout_to_vec(), container.stderr_to_vec());
    let said = [out.unwrap_or_default(), err.unwrap_or_default()].concat();
    let said = String::from_utf8_lossy(&said);
    let lines: Vec<_> = said.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

async fn is_broker_up(url: &str) -> bool {
    let opening = async {
        let connection = lapin::Connection::connect(url, Default::default()).await?;
        connection.create_channel().await?;
        connection.close(200, "".into()).await
    };
    matches!(
        tokio::time::timeout(Duration::from_secs(5), opening).await,
        Ok(Ok(()))
    )
}

async fn is_database_up(url: &str) -> bool {
    let asking = async {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
        let (answer, _) = tokio::join!(
            async move {
                // The connection ends with its client.
                client.simple_query("SELECT 1").await
            },
            connection
        );
        answer
    };
    matches!(
        tokio::time::timeout(Duration::from_secs(5), asking).await,
        Ok(Ok(_))
    )
}
