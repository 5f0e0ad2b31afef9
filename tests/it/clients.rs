//! The clients of `examples/clients`, which producers copy: each against a real worker, and against
//! nobody. `scripts/clients` gets what they need, and says which can't be run on a machine.

use std::path::Path;
use std::process::{Output, Stdio};

use lapin::options::{BasicPublishOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use serde_json::Value;
use tokio::process::Command;

use testkit::client::{Client, Message, props};
use testkit::worker::PATIENCE;
use testkit::world::World;

/// What clients differ in.
#[derive(Clone, Copy)]
struct Manner {
    attempts: Attempts,
    formats: Formats,
    matching: Matching,
}

/// How often a request is published before a client gives up.
#[derive(Clone, Copy, PartialEq)]
enum Attempts {
    /// With the same `message_id`.
    Three,
    /// By tools that can't send a `message_id`.
    One,
}

impl Attempts {
    fn count(self) -> u32 {
        match self {
            Self::Three => 3,
            Self::One => 1,
        }
    }
}

/// What a request may be written in.
#[derive(Clone, Copy, PartialEq)]
enum Formats {
    Any,
    /// The framework makes the body, of values.
    Json,
}

/// Which reply a client takes for that to its request.
#[derive(Clone, Copy, PartialEq)]
enum Matching {
    /// The one with the request's correlation id.
    CorrelationId,
    /// The first that comes to an address of this request alone.
    Address,
}

const LIBRARY: Manner = Manner {
    attempts: Attempts::Three,
    formats: Formats::Any,
    matching: Matching::CorrelationId,
};

const FRAMEWORK: Manner = Manner {
    formats: Formats::Json,
    ..LIBRARY
};

const FRAMEWORK_BY_ADDRESS: Manner = Manner {
    matching: Matching::Address,
    ..FRAMEWORK
};

const TOOLS: Manner = Manner {
    attempts: Attempts::One,
    ..LIBRARY
};

/// Three tests per client, in a module of its name. What stands before it holds for each of them.
macro_rules! clients {
    ($($(#[$attribute:meta])? $name:ident: $manner:ident, $program:expr;)*) => {$(
        mod $name {
            use super::$manner;

            #[tokio::test]
            $(#[$attribute])?
            async fn prints_replies() {
                super::prints_replies($program, $manner).await;
            }

            #[tokio::test]
            $(#[$attribute])?
            async fn sends_again_and_gives_up() {
                super::sends_again_and_gives_up($program, $manner).await;
            }

            #[tokio::test]
            $(#[$attribute])?
            async fn names_a_missing_queue() {
                super::names_a_missing_queue($program).await;
            }
        }
    )*};
}

clients! {
    #[ignore = "a program of others: `make test-foreign`"]
    python_pika: LIBRARY, super::python("pika", "add_profile_pika.py");
    #[ignore = "a program of others: `make test-foreign`"]
    python_aio_pika: LIBRARY, super::python("aio-pika", "add_profile_aio_pika.py");
    #[ignore = "a program of others: `make test-foreign`"]
    python_faststream: FRAMEWORK_BY_ADDRESS, super::python("faststream", "add_profile_faststream.py");
    #[ignore = "a program of others: `make test-foreign`"]
    python_faststream_queue: FRAMEWORK, super::python("faststream", "add_profile_faststream_queue.py");
    #[ignore = "a program of others: `make test-foreign`"]
    python_kombu: FRAMEWORK, super::python("celery", "add_profile_kombu.py");
    #[ignore = "a program of others: `make test-foreign`"]
    python_celery: FRAMEWORK, super::python("celery", "add_profile_celery.py");
    #[ignore = "a program of others: `make test-foreign`"]
    node_amqplib: LIBRARY, super::node("node", "add_profile_amqplib.js");
    #[ignore = "a program of others: `make test-foreign`"]
    node_rabbitmq_client: FRAMEWORK, super::node("rabbitmq-client", "add_profile_rabbitmq_client.js");
    #[ignore = "a program of others: `make test-foreign`"]
    node_nestjs: FRAMEWORK, super::node("nestjs", "add_profile_nestjs.js");
    #[ignore = "a program of others: `make test-foreign`"]
    go_amqp091: LIBRARY, super::go;
    #[ignore = "a program of others: `make test-foreign`"]
    java_amqp_client: LIBRARY, super::java;
    rust_lapin: LIBRARY, super::rust;
    #[ignore = "a program of others: `make test-foreign`"]
    shell_amqp_tools: TOOLS, super::shell;
}

fn python(package: &str, file: &str) -> impl Fn() -> Command {
    let (packages, file) = (prepared(package), source(file));
    move || {
        let mut command = Command::new("python3");
        command.arg(&file).env("PYTHONPATH", &packages);
        command
    }
}

fn node(folder: &str, file: &str) -> impl Fn() -> Command {
    let (packages, file) = (prepared(&format!("{folder}/node_modules")), source(file));
    move || {
        let mut command = Command::new("node");
        command.arg(&file).env("NODE_PATH", &packages);
        command
    }
}

fn go() -> Command {
    Command::new(prepared("add_profile_go"))
}

fn java() -> Command {
    let classes = prepared("java");
    let mut command = Command::new("java");
    command
        .arg("-cp")
        .arg(format!("{classes}:{classes}/*"))
        .arg("AddProfile");
    command
}

/// Beside the worker's binary, where cargo puts examples.
fn rust() -> Command {
    let worker = Path::new(env!("CARGO_BIN_EXE_profile-worker"));
    Command::new(worker.with_file_name("examples").join("add_profile_lapin"))
}

fn shell() -> Command {
    Command::new(source("add_profile_amqp_tools.sh"))
}

fn source(name: &str) -> String {
    format!("{}/examples/clients/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn prepared(name: &str) -> String {
    format!("{}/.local/clients/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// A client's run, which the caller waits for: what it was given, and nothing of the tests' own
/// environment that would change it.
fn run(
    mut command: Command,
    world: &World,
    body: &str,
    settings: &[(&str, &str)],
) -> impl Future<Output = Output> + use<> {
    command
        .arg(body)
        .env_remove("MESSAGE_ID")
        .env_remove("REPLY_TIMEOUT")
        // Java reads its arguments in the character set of the locale.
        .env("LC_ALL", "C.UTF-8")
        .env("AMQP_URL", &world.servers.amqp_url)
        .env("REQUEST_QUEUE", world.request_queue())
        .env("REPLY_QUEUE", world.reply_queue())
        .envs(settings.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let child = command
        .spawn()
        .expect("it can be run: `make test` prepares the clients");
    async {
        tokio::time::timeout(PATIENCE, child.wait_with_output())
            .await
            .expect("it ends in time")
            .expect("its end")
    }
}

/// The reply that a client printed.
async fn reply(run: impl Future<Output = Output>) -> Value {
    let output = run.await;
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words}");
    json(&output.stdout)
}

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).expect("the reply and nothing else")
}

/// What a client that failed said, and that it failed properly.
async fn failure(run: impl Future<Output = Output>) -> String {
    let output = run.await;
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{words}");
    assert!(
        output.stdout.is_empty(),
        "only replies are printed on standard output"
    );
    words
}

async fn prints_replies(program: impl Fn() -> Command, manner: Manner) {
    let world = World::new().await;
    let _worker = world.worker().await;
    let good = world.request(r#""data":{"email":"a@example.com","_fname":"Фёдор"}"#);
    let first = reply(run(program(), &world, &good, &[("MESSAGE_ID", "one")])).await;
    assert_eq!(first["error"], 0, "{first}");

    let again = reply(run(program(), &world, &good, &[("MESSAGE_ID", "one")])).await;
    match manner.attempts {
        Attempts::Three => assert_eq!(again, first, "the same request gets the same reply"),
        Attempts::One => assert_eq!(again["error"], 409, "{again}"),
    }
    // With an id of its own it is another request, for the same email.
    let other = reply(run(program(), &world, &good, &[])).await;
    assert_eq!(other["error"], 409, "{other}");
    // A refusal is an answer.
    let bad = reply(run(
        program(),
        &world,
        &world.request(r#""data":{"email":"a"}"#),
        &[],
    ))
    .await;
    assert_eq!(bad["error"], 400, "{bad}");
    assert_eq!(
        world
            .texts("SELECT email || ' ' || (data ->> '_fname') FROM profiles")
            .await,
        ["a@example.com Фёдор"]
    );
    if manner.formats == Formats::Any {
        // XML is answered in XML.
        let xml = format!("<xml><token>{}</token><db_id>1</db_id></xml>", world.token);
        let output = run(program(), &world, &xml, &[]).await;
        assert!(String::from_utf8_lossy(&output.stdout).starts_with("<xml><error>0</error>"));
    }
}

async fn sends_again_and_gives_up(program: impl Fn() -> Command, manner: Manner) {
    let world = World::new().await;
    let queue = world.request_queue();
    let client = world.client().await;
    let declare = client.channel.queue_declare(
        queue.as_str().into(),
        QueueDeclareOptions::default(),
        FieldTable::default(),
    );
    declare.await.expect("a request queue that nobody reads");
    let (body, anothers, answered) = match manner.formats {
        Formats::Any => (
            "<xml><db_id>1</db_id></xml>",
            "<xml>the reply of another</xml>",
            "<xml>ответ</xml>",
        ),
        Formats::Json => (
            r#"{"db_id":1}"#,
            r#"{"reply":"of another"}"#,
            r#"{"a":"ответ"}"#,
        ),
    };

    // Nobody answers the first attempt, and before the reply to the second comes that of another.
    let settings = [("MESSAGE_ID", "two"), ("REPLY_TIMEOUT", "2")];
    let running = tokio::join!(run(program(), &world, body, &settings), async {
        let mut request = client.take(&queue).await;
        check_request(&request, body, "two", manner);
        if manner.attempts == Attempts::Three {
            request = client.take(&queue).await;
            check_request(&request, body, "two", manner);
            if manner.matching == Matching::CorrelationId {
                answer(&client, &request, "another", anothers).await;
            }
        }
        let correlation_id = request.properties.correlation_id().clone();
        let correlation_id = correlation_id.map_or("two".to_owned(), |id| id.to_string());
        answer(&client, &request, &correlation_id, answered).await;
    });
    let words = String::from_utf8_lossy(&running.0.stderr);
    assert!(running.0.status.success(), "{words}");
    let printed = String::from_utf8_lossy(&running.0.stdout);
    match manner.formats {
        Formats::Any => assert_eq!(printed, format!("{answered}\n")),
        Formats::Json => assert_eq!(json(printed.as_bytes()), json(answered.as_bytes())),
    }

    let body = r#"{"db_id":1}"#;
    let settings = [("MESSAGE_ID", "three"), ("REPLY_TIMEOUT", "1")];
    // Taken at once, as some of them expire with the client's patience.
    let (words, ()) = tokio::join!(failure(run(program(), &world, body, &settings)), async {
        for _ in 0..manner.attempts.count() {
            check_request(&client.take(&queue).await, body, "three", manner);
        }
    });
    assert!(client.take_now(&queue).await.is_none(), "it gives up");
    if manner.attempts == Attempts::Three {
        assert!(words.contains("MESSAGE_ID=three"), "how to go on: {words}");
    }
}

/// That a request is what it should be.
fn check_request(request: &Message, body: &str, message_id: &str, manner: Manner) {
    let properties = &request.properties;
    match manner.formats {
        Formats::Any => assert_eq!(request.text(), body),
        Formats::Json => assert_eq!(request.json(), json(body.as_bytes())),
    }
    assert_eq!(
        properties
            .content_type()
            .as_ref()
            .map(|value| value.as_str()),
        Some(content_type(body))
    );
    assert_eq!(
        properties.delivery_mode(),
        &Some(2),
        "it survives the broker"
    );
    if manner.attempts == Attempts::Three {
        assert_eq!(
            properties.message_id().as_ref().map(|value| value.as_str()),
            Some(message_id)
        );
    }
}

fn content_type(body: &str) -> &'static str {
    if body.starts_with('<') {
        "application/xml"
    } else {
        "application/json"
    }
}

async fn answer(client: &Client, request: &Message, correlation_id: &str, body: &str) {
    let reply_to = request
        .properties
        .reply_to()
        .clone()
        .expect("a place for the reply");
    let properties = props()
        .with_correlation_id(correlation_id.into())
        .with_content_type(content_type(body).into());
    // Not mandatory: what that means for direct reply-to differs between brokers.
    let options = BasicPublishOptions::default();
    let publishing =
        client
            .channel
            .basic_publish("".into(), reply_to, options, body.as_bytes(), properties);
    assert!(
        publishing
            .await
            .expect("published")
            .await
            .expect("confirmed")
            .is_ack()
    );
}

/// By the broker's return of the request; from tools that don't ask for it, by what they say when
/// nobody answers.
async fn names_a_missing_queue(program: impl Fn() -> Command) {
    let world = World::new().await;
    let words = failure(run(program(), &world, "{}", &[("REPLY_TIMEOUT", "3")])).await;
    assert!(
        words.contains(&format!("queue {}", world.request_queue())),
        "{words}"
    );
}
