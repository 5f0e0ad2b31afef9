//! PgBouncer between the worker and PostgreSQL, in the modes that docs/clusters.md tells of.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::Stdio;

use tokio::process::{Child, Command};

use testkit::worker::{Worker, until};
use testkit::world::World;

/// A pooler on a loopback port of its own. Gone when dropped.
struct Pooler {
    _process: Child,
    /// The world's database behind it.
    url: String,
}

impl Pooler {
    async fn start(world: &World, mode: &str, sessions_max: usize) -> Self {
        let mut url = url::Url::parse(&world.database_url).expect("a URL");
        let password = url
            .password()
            .map(|password| format!("password={password}"))
            .unwrap_or_default();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = listener.local_addr().expect("its number").port();
        let settings = format!(
            "[databases]\n* = host={} port={} user={} {password}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir =\nauth_type = any\npool_mode = {mode}\ndefault_pool_size = {sessions_max}\n",
            url.host_str().expect("a host"),
            url.port().unwrap_or(5432),
            url.username(),
        );
        let file = std::env::temp_dir().join(format!("{}-{mode}.ini", world.name));
        std::fs::write(&file, settings).expect("its settings");
        drop(listener);
        let mut command = Command::new(program());
        if is_root() {
            // It refuses to be.
            command.arg("--user=nobody");
        }
        command
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        let process = command
            .spawn()
            .expect("PgBouncer, which `make test` installs, can be started");
        until(async || std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()).await;
        std::fs::remove_file(file).expect("its settings were there");
        url.set_host(Some("127.0.0.1")).expect("a host");
        url.set_port(Some(port)).expect("a port");
        Self {
            _process: process,
            url: url.into(),
        }
    }

    fn start_worker(&self, world: &World) -> Worker {
        world.start_worker(&[("DATABASE_URL", &self.url)])
    }
}

/// Debian puts it where only root looks.
fn program() -> &'static str {
    let debian = "/usr/sbin/pgbouncer";
    if Path::new(debian).exists() {
        debian
    } else {
        "pgbouncer"
    }
}

fn is_root() -> bool {
    let output = std::process::Command::new("id")
        .arg("-u")
        .output()
        .expect("id can be run");
    output.stdout.trim_ascii() == b"0"
}

#[tokio::test]
#[ignore = "a program of others: `make test-foreign`"]
async fn a_pooler_in_session_mode_is_like_none() {
    let world = World::new().await;
    let pooler = Pooler::start(&world, "session", 20).await;
    let mut worker = pooler.start_worker(&world);
    worker.until_said("taking requests").await;
    let mut client = world.client().await;
    let reply = client
        .call(world.request(r#""data":{"email":"a@example.com"}"#))
        .await;
    assert_eq!(reply.error(), 0, "{}", reply.text());
}

#[tokio::test]
#[ignore = "a program of others: `make test-foreign`"]
async fn a_pooler_that_loses_prepared_statements_is_refused_at_start() {
    let world = World::new().await;
    let pooler = Pooler::start(&world, "transaction", 20).await;
    if keeps_prepared_statements() {
        // That is fine, and told.
        pooler
            .start_worker(&world)
            .until_said("lends us a session of PostgreSQL for each transaction")
            .await;
        return;
    }
    let mut worker = pooler.start_worker(&world);
    worker.until_said("pool_mode = session").await;
    let (status, words) = worker.end().await;
    assert_eq!(status.code(), Some(1), "{words}");
}

/// By default from 1.24 on. It is not tried, as whatever the pooler still did for the trial would
/// be in the way.
fn keeps_prepared_statements() -> bool {
    let output = std::process::Command::new(program())
        .arg("--version")
        .output()
        .expect("its version");
    let words = String::from_utf8_lossy(&output.stdout);
    let version = words
        .split_whitespace()
        .nth(1)
        .expect("PgBouncer and its version");
    let mut numbers = version
        .split('.')
        .map(|number| number.parse::<u32>().unwrap_or(0));
    (numbers.next(), numbers.next()) >= (Some(1), Some(24))
}

#[tokio::test]
#[ignore = "a program of others: `make test-foreign`"]
async fn a_pooler_with_too_few_sessions_is_told_of() {
    let world = World::new().await;
    let pooler = Pooler::start(&world, "session", 1).await;
    let mut worker = pooler.start_worker(&world);
    worker
        .until_said("PostgreSQL had no session free in time")
        .await;
}
