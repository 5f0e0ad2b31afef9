//! Where the servers of a test come from: those of `make test`, or a pair of its own for a test
//! that stops and starts them.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use crate::worker::PATIENCE;

/// Addresses of a broker and a database server.
#[derive(Debug, Clone)]
pub struct Servers {
    pub amqp_url: String,
    pub database_url: String,
}

impl Servers {
    /// The ones that `make test` has started, or that its caller has named.
    pub fn shared() -> Self {
        static SHARED: LazyLock<Servers> = LazyLock::new(|| {
            let servers = Servers {
                amqp_url: variable("AMQP_URL"),
                database_url: variable("DATABASE_URL"),
            };
            // On a thread of its own, as a test may have a runtime already.
            let login = std::thread::scope(|scope| {
                scope.spawn(|| servers.log_in()).join().expect("no panic")
            });
            if let Err(reason) = login {
                give_up(&reason);
            }
            servers
        });
        SHARED.clone()
    }

    /// Where the same broker speaks MQTT.
    pub fn mqtt_url() -> String {
        variable("MQTT_URL")
    }

    /// Where the same broker speaks STOMP.
    pub fn stomp_url() -> String {
        variable("STOMP_URL")
    }

    /// Whether both let us in, or which one does not and why.
    #[tokio::main(flavor = "current_thread")]
    async fn log_in(&self) -> Result<(), String> {
        let broker =
            lapin::Connection::connect(&self.amqp_url, lapin::ConnectionProperties::default());
        let database = tokio_postgres::connect(&self.database_url, tokio_postgres::NoTls);
        match tokio::time::timeout(PATIENCE, broker).await {
            Err(_) => return Err("the RabbitMQ of AMQP_URL does not answer".to_owned()),
            Ok(Err(error)) => {
                return Err(format!(
                    "the RabbitMQ of AMQP_URL does not let us in: {error}"
                ));
            }
            Ok(Ok(connection)) => drop(connection.close(200, "".into()).await),
        }
        match tokio::time::timeout(PATIENCE, database).await {
            Err(_) => Err("the PostgreSQL of DATABASE_URL does not answer".to_owned()),
            Ok(Err(error)) => {
                let cause = std::error::Error::source(&error)
                    .map(|cause| format!(": {cause}"))
                    .unwrap_or_default();
                Err(format!(
                    "the PostgreSQL of DATABASE_URL does not let us in: {error}{cause}"
                ))
            }
            Ok(Ok(_)) => Ok(()),
        }
    }
}

fn variable(name: &str) -> String {
    #[expect(
        clippy::disallowed_methods,
        reason = "a test is told of its servers by the environment"
    )]
    std::env::var(name).unwrap_or_else(|_| give_up(&format!("{name} is not set")))
}

/// Ends all tests with a few words, where each of them would fail with a trace of its own.
fn give_up(reason: &str) -> ! {
    // Past the test harness, which keeps what is printed for later.
    let lines = format!(
        "\nNo servers to test with: {}.\n\
         `make test` starts its own where neither AMQP_URL nor DATABASE_URL is set; `scripts/servers up FOLDER` starts some to keep.\n",
        reason.trim_end_matches('.')
    );
    std::io::stderr()
        .write_all(lines.as_bytes())
        .expect("somebody listens");
    std::process::exit(1);
}

/// Servers of one test alone, which it may stop, start and kill. Gone when dropped.
#[derive(Debug)]
pub struct PrivateServers {
    /// What starts and stops them.
    script: &'static str,
    folder: PathBuf,
    pub servers: Servers,
}

impl PrivateServers {
    pub fn start(name: &str) -> Self {
        // With the same words as every other test, if `make test` is not behind this.
        Servers::shared();
        Self::up(
            "scripts/servers",
            &format!("{name}-{}", std::process::id()),
            &["--fast"],
        )
    }

    /// Servers in a folder of this name, started by `scripts/servers` or `scripts/cluster` with
    /// these options.
    pub fn up(script: &'static str, folder: &str, options: &[&str]) -> Self {
        let folder = root().join(".local").join(folder);
        let this = Self {
            script,
            folder,
            servers: Servers {
                amqp_url: String::new(),
                database_url: String::new(),
            },
        };
        this.tell(&["up"], options);
        let file =
            std::fs::read_to_string(this.folder.join("env")).expect("the servers' addresses");
        let value = |name: &str| {
            let line = file
                .lines()
                .find_map(|line| line.strip_prefix(&format!("{name}=")));
            line.expect("a line of the file")
                .trim_matches(['\'', '"'])
                .to_owned()
        };
        let servers = Servers {
            amqp_url: value("AMQP_URL"),
            database_url: value("DATABASE_URL"),
        };
        let folder = this.folder.clone();
        std::mem::forget(this);
        Self {
            script,
            folder,
            servers,
        }
    }

    /// A pair whose broker listens with TLS as well.
    pub fn start_with_tls(name: &str) -> Self {
        Servers::shared();
        Self::up(
            "scripts/servers",
            &format!("{name}-{}", std::process::id()),
            &["--fast", "--tls"],
        )
    }

    /// The broker's URL with TLS.
    pub fn amqps_url(&self) -> String {
        let file =
            std::fs::read_to_string(self.folder.join("env")).expect("the servers' addresses");
        let line = file
            .lines()
            .find_map(|line| line.strip_prefix("AMQPS_URL="));
        line.expect("servers with TLS").to_owned()
    }

    /// `start`, `stop` or `kill` the `broker` or the `database`; of a cluster, a node or one of the
    /// databases.
    pub fn tell_one(&self, what: &str, server: &str) {
        self.tell(&[what, server], &[]);
    }

    /// `rabbitmqctl` of the broker.
    pub fn ctl(&self, arguments: &[&str]) {
        self.tell(&["ctl"], arguments);
    }

    /// Their script, told to do something with them.
    pub fn command(&self, before: &[&str], after: &[&str]) -> Command {
        let mut command = Command::new(root().join(self.script));
        command
            .args(before)
            .arg(self.folder())
            .args(after)
            .stdin(Stdio::null());
        command
    }

    /// Where they have their files.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn tell(&self, before: &[&str], after: &[&str]) {
        let output = self
            .command(before, after)
            .output()
            .expect("scripts/servers can be run");
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "{} {before:?}: {words}",
            self.script
        );
    }
}

impl Drop for PrivateServers {
    fn drop(&mut self) {
        // What is left is removed by `make test` at its end.
        Command::new(root().join(self.script))
            .arg("down")
            .arg(&self.folder)
            .output()
            .ok();
    }
}

/// The project's folder.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the project's folder")
        .to_owned()
}
