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

/// How often a request is published before a client gives up.
#[derive(Clone, Copy, PartialEq)]
enum Attempts {
    /// With the same `message_id`.
    Three,
    /// By tools that can't send a `message_id`.
    One,
}

/// Three tests per client, in a module of its name. What stands before it holds for each of them.
macro_rules! clients {
    ($($(#[$attribute:meta])? $name:ident: $attempts:ident, $program:expr;)*) => {$(
        mod $name {
            use super::Attempts::$attempts;

            #[tokio::test]
            $(#[$attribute])?
            async fn prints_replies() {
                super::prints_replies($program, $attempts).await;
            }

            #[tokio::test]
            $(#[$attribute])?
            async fn sends_again_and_gives_up() {
                super::sends_again_and_gives_up($program, $attempts).await;
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
    python_pika: Three, super::python("pika", "add_profile_pika.py");
    #[ignore = "a program of others: `make test-foreign`"]
    python_aio_pika: Three, super::python("aio-pika", "add_profile_aio_pika.py");
    #[ignore = "a program of others: `make test-foreign`"]
    node_amqplib: Three, super::node;
    #[ignore = "a program of others: `make test-foreign`"]
    go_amqp091: Three, super::go;
    #[ignore = "a program of others: `make test-foreign`"]
    java_amqp_client: Three, super::java;
    rust_lapin: Three, super::rust;
    #[ignore = "a program of others: `make test-foreign`"]
    shell_amqp_tools: One, super::shell;
}

fn python(package: &str, file: &str) -> impl Fn() -> Command {
    let (packages, file) = (prepared(package), source(file));
    move || {
        let mut command = Command::new("python3");
        command.arg(&file).env("PYTHONPATH", &packages);
        command
    }
}

fn node() -> Command {
    let mut command = Command::new("node");
    command
        .arg(source("add_profile_amqplib.js"))
        .env("NODE_PATH", prepared("node/node_modules"));
    command
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
    serde_json::from_slice(&output.stdout).expect("the reply and nothing else")
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

async fn prints_replies(program: impl Fn() -> Command, attempts: Attempts) {
    let world = World::new().await;
    let _worker = world.worker().await;
    let good = world.request(r#""data":{"email":"a@example.com","_fname":"Фёдор"}"#);
    let first = reply(run(program(), &world, &good, &[("MESSAGE_ID", "one")])).await;
    assert_eq!(first["error"], 0, "{first}");

    let again = reply(run(program(), &world, &good, &[("MESSAGE_ID", "one")])).await;
    match attempts {
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
    // XML is answered in XML.
    let xml = format!("<xml><token>{}</token><db_id>1</db_id></xml>", world.token);
    let output = run(program(), &world, &xml, &[]).await;
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("<xml><error>0</error>"));
}

async fn sends_again_and_gives_up(program: impl Fn() -> Command, attempts: Attempts) {
    let world = World::new().await;
    let queue = world.request_queue();
    let client = world.client().await;
    let declare = client.channel.queue_declare(
        queue.as_str().into(),
        QueueDeclareOptions::default(),
        FieldTable::default(),
    );
    declare.await.expect("a request queue that nobody reads");
    let body = "<xml><db_id>1</db_id></xml>";

    // Nobody answers the first attempt, and before the reply to the second comes that of another.
    let settings = [("MESSAGE_ID", "two"), ("REPLY_TIMEOUT", "2")];
    let running = tokio::join!(run(program(), &world, body, &settings), async {
        let mut request = client.take(&queue).await;
        check_request(&request, body, "two", attempts);
        if attempts == Attempts::Three {
            request = client.take(&queue).await;
            check_request(&request, body, "two", attempts);
            answer(
                &client,
                &request,
                "another",
                "<xml>the reply of another</xml>",
            )
            .await;
        }
        answer(&client, &request, "two", "<xml>ответ</xml>").await;
    });
    let words = String::from_utf8_lossy(&running.0.stderr);
    assert!(running.0.status.success(), "{words}");
    assert_eq!(
        String::from_utf8_lossy(&running.0.stdout),
        "<xml>ответ</xml>\n"
    );

    let body = r#"{"db_id":1}"#;
    let words = failure(run(
        program(),
        &world,
        body,
        &[("MESSAGE_ID", "three"), ("REPLY_TIMEOUT", "1")],
    ))
    .await;
    let mut count = 0;
    while let Some(request) = client.take_now(&queue).await {
        check_request(&request, body, "three", attempts);
        count += 1;
    }
    match attempts {
        Attempts::Three => {
            assert_eq!(count, 3);
            assert!(words.contains("MESSAGE_ID=three"), "how to go on: {words}");
        }
        Attempts::One => assert_eq!(count, 1),
    }
}

/// That a request is what it should be.
fn check_request(request: &Message, body: &str, message_id: &str, attempts: Attempts) {
    let properties = &request.properties;
    assert_eq!(request.text(), body);
    let content_type = if body.starts_with('<') {
        "application/xml"
    } else {
        "application/json"
    };
    assert_eq!(
        properties
            .content_type()
            .as_ref()
            .map(|value| value.as_str()),
        Some(content_type)
    );
    assert_eq!(
        properties.delivery_mode(),
        &Some(2),
        "it survives the broker"
    );
    if attempts == Attempts::Three {
        assert_eq!(
            properties.message_id().as_ref().map(|value| value.as_str()),
            Some(message_id)
        );
    }
}

async fn answer(client: &Client, request: &Message, correlation_id: &str, body: &str) {
    let reply_to = request
        .properties
        .reply_to()
        .clone()
        .expect("a place for the reply");
    let properties = props().with_correlation_id(correlation_id.into());
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
