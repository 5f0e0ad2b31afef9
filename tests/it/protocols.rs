//! Requests over other protocols than AMQP 0-9-1, through RabbitMQ: the programs of
//! `docs/protocols.md` as they stand there, and its table of ids. `scripts/clients` gets what they
//! need.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Output, Stdio};

use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::timeout;

use testkit::client::Client;
use testkit::raw_amqp::{RawClient, RawMessage, bit};
use testkit::servers::{Servers, root};
use testkit::worker::{PATIENCE, Worker};
use testkit::world::World;

const PAGE: &str = include_str!("../../docs/protocols.md");

/// A worker, and what others reach it by.
struct Scene {
    world: World,
    worker: Worker,
    client: Client,
    /// The routing key of `amq.topic` that leads to the request queue.
    key: String,
    /// A queue that anybody may read.
    replies: String,
    /// The broker's version.
    version: (u32, u32),
}

impl Scene {
    async fn new() -> Self {
        let world = World::new().await;
        let worker = world.worker().await;
        let client = world.client().await;
        let key = format!("{}.requests", world.name);
        let replies = format!("{}.replies", world.name);
        bind(&client, &world.request_queue(), &key).await;
        declare(&client, &replies).await;
        let raw = RawClient::connect(&world.servers.amqp_url).await;
        let mut numbers = raw.version().split('.').map_while(|part| part.parse().ok());
        let version = (numbers.next(), numbers.next());
        Self {
            world,
            worker,
            client,
            key,
            replies,
            version: (
                version.0.expect("a number"),
                version.1.expect("another number"),
            ),
        }
    }

    /// Runs a program with what the page says that it has.
    async fn run(&self, mut command: Command, settings: &[(&str, &str)]) -> Output {
        command
            .env_remove("MESSAGE_ID")
            .env("AMQP_URL", &self.world.servers.amqp_url)
            .env("MQTT_URL", Servers::mqtt_url())
            .env("STOMP_URL", Servers::stomp_url())
            .env("REQUEST_QUEUE", self.world.request_queue())
            .env("REQUEST_TOPIC", self.key.replace('.', "/"))
            .env("REQUEST_KEY", &self.key)
            .env("REPLY_QUEUE", &self.replies)
            .env("TOKEN", &self.world.token)
            .envs(settings.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let running = command.output();
        timeout(PATIENCE, running)
            .await
            .expect("it ends in time")
            .expect("it can be run: `make test-foreign` prepares it")
    }

    /// The reply that a program of the page prints.
    async fn reply(&self, program: &str, body: &str, settings: &[(&str, &str)]) -> Value {
        let output = self.run(of_page(program, body), settings).await;
        serde_json::from_str(&printed(&output)).expect("a reply and nothing else")
    }

    async fn end(mut self) {
        assert!(!self.worker.has_ended());
        delete(&self.client, &self.replies).await;
    }
}

/// A queue that anybody may read.
async fn declare(client: &Client, queue: &str) {
    let durable = QueueDeclareOptions {
        durable: true,
        ..Default::default()
    };
    let declared = client
        .channel
        .queue_declare(queue.into(), durable, FieldTable::default());
    declared.await.expect("a queue");
}

async fn delete(client: &Client, queue: &str) {
    let deleted = client
        .channel
        .queue_delete(queue.into(), Default::default());
    deleted.await.expect("deleted");
}

async fn bind(client: &Client, queue: &str, key: &str) {
    let binding = client.channel.queue_bind(
        queue.into(),
        "amq.topic".into(),
        key.into(),
        Default::default(),
        FieldTable::default(),
    );
    binding.await.expect("bound");
}

fn prepared(name: &str) -> PathBuf {
    root().join(".local/clients").join(name)
}

fn node(file: PathBuf) -> Command {
    let mut command = Command::new("node");
    command
        .arg(file)
        .env("NODE_PATH", prepared("protocols/node_modules"));
    command
}

/// A program of the page, written to a file, with a request.
fn of_page(name: &str, body: &str) -> Command {
    let (_, rest) = PAGE
        .split_once(&format!(" {name}\n"))
        .expect("a program of this name");
    let (code, _) = rest.split_once("\n```").expect("its end");
    let file = prepared("protocols").join(name);
    std::fs::write(&file, code).expect("a file");
    let mut command = if name.ends_with(".js") {
        node(file)
    } else {
        let mut python = Command::new("python3");
        let packages = [prepared("paho-mqtt"), prepared("stomp.py")];
        let packages = std::env::join_paths(packages).expect("two folders");
        python.arg(file).env("PYTHONPATH", packages);
        python
    };
    command.arg(body);
    command
}

fn printed(output: &Output) -> String {
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test]
#[ignore = "a program of others: `make test-foreign`"]
async fn amqp_1_0() {
    let scene = Scene::new().await;
    let body = scene
        .world
        .request(r#""data":{"email":"a@example.com","_fname":"Фёдор"}"#);
    let reply = scene.reply("amqp10.js", &body, &[]).await;
    assert_eq!(reply["error"], 0, "{reply}");
    let again = scene.reply("amqp10.js", &body, &[]).await;
    assert_eq!(again["error"], 409, "another id is another request");
    assert_eq!(
        scene
            .world
            .texts("SELECT email || ' ' || (data ->> '_fname') FROM profiles")
            .await,
        ["a@example.com Фёдор"]
    );
    scene.end().await;
}

#[tokio::test]
#[ignore = "a program of others: `make test-foreign`"]
async fn mqtt_5() {
    let scene = Scene::new().await;
    let body = scene.world.request("");
    let settings = [("MESSAGE_ID", "one")];
    if scene.version < (3, 13) {
        let output = scene.run(of_page("mqtt5.py", &body), &settings).await;
        let words = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{words}");
        assert!(words.contains("the broker ends the connection"), "{words}");
    } else {
        let reply = scene.reply("mqtt5.py", &body, &settings).await;
        assert_eq!(reply["error"], 0, "{reply}");
        let again = scene.reply("mqtt5.py", &body, &settings).await;
        assert_eq!(again, reply, "the same request");
        let other = scene.reply("mqtt5.py", &body, &[]).await;
        assert_ne!(other["profile_id"], reply["profile_id"]);
    }
    scene.end().await;
}

#[tokio::test]
#[ignore = "a program of others: `make test-foreign`"]
async fn mqtt_3_1_1() {
    let scene = Scene::new().await;
    let body = scene.world.request(r#""feedback_id":"device 5""#);
    printed(&scene.run(of_page("mqtt311.js", &body), &[]).await);
    let reply = scene.client.take(&scene.world.result_queue()).await;
    assert_eq!(reply.error(), 0);
    assert_eq!(reply.json()["feedback_id"], "device 5");
    scene.end().await;
}

#[tokio::test]
#[ignore = "a program of others: `make test-foreign`"]
async fn stomp() {
    let scene = Scene::new().await;
    let body = scene.world.request("");
    let reply = scene.reply("stomp_1_2.py", &body, &[]).await;
    assert_eq!(reply["error"], 0, "{reply}");
    // The plugin declares the queue in its own way.
    let queue = scene.world.request_queue();
    let error = stomp_answer(&format!("destination:/queue/{queue}\n"), &body, "ERROR").await;
    assert!(error.contains("inequivalent arg"), "{error}");
    scene.end().await;
}

#[tokio::test]
#[ignore = "a program of others: `make test-foreign`"]
async fn ids() {
    let scene = Scene::new().await;
    let mut raw = RawClient::connect(&scene.world.servers.amqp_url).await;
    let copies = format!("{}.copies", scene.world.name);
    declare(&scene.client, &copies).await;
    bind(&scene.client, &copies, &scene.key).await;
    raw.consume(&copies).await;
    let mut back = BTreeMap::new();
    let mut protocols = vec!["AMQP 1.0"];
    if scene.version >= (3, 13) {
        protocols.push("MQTT 5");
    }
    for protocol in protocols {
        let mut command = node(root().join("tests/protocols/ids.js"));
        command.arg(protocol);
        for line in printed(&scene.run(command, &[]).await).lines() {
            let line: Value = serde_json::from_str(line).expect("a line of JSON");
            let text = |name| line[name].as_str().expect("a text").to_owned();
            back.insert(text("kind"), text("back"));
        }
    }
    back.insert("STOMP, text".to_owned(), stomp_id(&scene).await);
    for _ in 0..back.len() {
        let copy = raw.next().await;
        let name = name(&copy);
        let (kind, back) = back
            .iter()
            .find(|(kind, _)| kind.split_once(", ").is_some_and(|(_, kind)| kind == name))
            .unwrap_or_else(|| panic!("no reply to {name}"));
        let arrived = arrived(&copy, bit::CORRELATION_ID, "x-correlation-id");
        if !kind.starts_with("MQTT") {
            let message_id = self::arrived(&copy, bit::MESSAGE_ID, "x-message-id");
            assert_eq!(message_id, arrived, "{kind}");
        }
        let row = PAGE
            .lines()
            .find(|line| line.starts_with(&format!("| {kind} |")))
            .unwrap_or_else(|| panic!("no row for {kind}"));
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let first = if scene.version.0 == 3 { 2 } else { 4 };
        assert_eq!(
            (arrived, back.as_str()),
            (cells[first], cells[first + 1]),
            "{kind}"
        );
    }
    delete(&scene.client, &copies).await;
    scene.end().await;
}

/// The name that a request of `tests/protocols/ids.js` has.
fn name(copy: &RawMessage) -> String {
    let start = copy.body.iter().position(|byte| *byte == b'{');
    let json: Value =
        serde_json::from_slice(&copy.body[start.expect("JSON")..]).expect("a request");
    json["feedback_id"].as_str().expect("a text").to_owned()
}

/// As what an id arrives, in the words of the page.
fn arrived(copy: &RawMessage, property: usize, header: &str) -> &'static str {
    match (copy.short(property), copy.header(header)) {
        (Some(id), None) if std::str::from_utf8(id).is_ok() => "property, text",
        (Some(_), None) => "property, bytes",
        (None, Some((b'S', _))) => "header, text",
        (None, Some((b'x', _))) => "header, bytes",
        other => panic!("{other:?}"),
    }
}

/// As what the correlation id of a STOMP request comes back.
async fn stomp_id(scene: &Scene) -> String {
    let headers = format!(
        "destination:/topic/{}\nreply-to:/temp-queue/x\ncorrelation-id:one\namqp-message-id:one\n",
        scene.key
    );
    let body = scene.world.request(r#""feedback_id":"text""#);
    let message = stomp_answer(&headers, &body, "MESSAGE").await;
    if message.contains("\ncorrelation-id:one\n") {
        "as it was".to_owned()
    } else {
        message
    }
}

/// Sends a message over STOMP, and returns the frame of this kind that comes for it.
async fn stomp_answer(headers: &str, body: &str, wanted: &str) -> String {
    let url = url::Url::parse(&Servers::stomp_url()).expect("a URL");
    let place = (url.host_str().expect("a host"), url.port().expect("a port"));
    let mut stream = TcpStream::connect(place).await.expect("the broker answers");
    let login = format!(
        "CONNECT\naccept-version:1.2\nhost:/\nlogin:{}\npasscode:{}\n\n\0",
        url.username(),
        url.password().unwrap_or_default()
    );
    let frames = format!("{login}SEND\n{headers}\n{body}\0");
    stream.write_all(frames.as_bytes()).await.expect("written");
    let reading = async {
        let (mut read, mut buffer) = (Vec::new(), [0; 4096]);
        loop {
            let text = String::from_utf8_lossy(&read).into_owned();
            let mut frames = text.split('\0').map(str::trim_start);
            if let Some(frame) = frames.find(|frame| frame.starts_with(wanted))
                && text.ends_with(['\0', '\n'])
            {
                return frame.to_owned();
            }
            let count = stream.read(&mut buffer).await.expect("the broker answers");
            assert!(count > 0, "no {wanted}: {text}");
            read.extend_from_slice(&buffer[..count]);
        }
    };
    timeout(PATIENCE, reading).await.expect("an answer in time")
}
