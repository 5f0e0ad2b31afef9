//! Messages as frameworks write them, and the page that shows producers what to write instead. The
//! frameworks themselves run in `clients`, where they can be run.

use std::fs;
use std::path::{Path, PathBuf};

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldArray, FieldTable};
use serde_json::{Map, Value};

use testkit::client::props;
use testkit::worker::ends_well;
use testkit::world::World;

/// Each is a file with its source, its properties and its body, and what the answer is.
#[tokio::test]
async fn messages_of_frameworks_are_answered() {
    let world = World::new().await;
    let _worker = world.worker().await;
    let mut client = world.client().await;
    let files = files("tests/fixtures/frameworks");
    assert!(files.len() >= 11, "only {} messages", files.len());
    for file in files {
        let name = file.display();
        let text = fs::read_to_string(&file).expect("a fixture");
        let message: Value =
            serde_json::from_str(&text.replace("{token}", &world.token)).expect("JSON");
        let properties = properties(&message["properties"]);
        let reply = client.call_with(body(&message), properties).await;
        assert_eq!(reply.error(), message["error"], "{name}: {}", reply.text());
        let said = reply.json()["error_text"].to_string();
        let wanted = message["error_text"].as_str().expect("a text");
        assert!(said.contains(wanted), "{name}: {said}");
    }
}

/// As some set `expiration` to their time limit.
#[tokio::test]
async fn a_request_that_expires_becomes_a_dead_letter_of_the_brokers() {
    let world = World::new().await;
    let worker = world.worker().await;
    let client = world.client().await;
    ends_well(worker).await;
    let properties = client.replying("late").with_expiration("200".into());
    client
        .publish(world.request("").as_bytes(), properties)
        .await;
    let dead = client.take(&world.dead_letter_queue()).await;
    assert_eq!(dead.text(), world.request(""));
    assert_eq!(
        dead.header("x-first-death-reason").as_deref(),
        Some("expired")
    );
    assert_eq!(dead.header("x-error"), None);
    let (replies, results) = (&client.reply_queue, world.result_queue());
    assert_eq!(client.waiting(replies).await, 0);
    assert_eq!(client.waiting(&results).await, 0);
}

/// The files of a folder.
fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let entries = fs::read_dir(folder).expect("a folder");
    let mut files: Vec<_> = entries
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.is_file())
        .collect();
    files.sort();
    files
}

/// As text, or in hexadecimal digits where it is compressed.
fn body(message: &Value) -> Vec<u8> {
    let Some(digits) = message["body_hex"].as_str() else {
        return message["body"].as_str().expect("a body").into();
    };
    let pairs = digits.as_bytes().chunks(2);
    pairs
        .map(|pair| {
            let pair = str::from_utf8(pair).expect("digits");
            u8::from_str_radix(pair, 16).expect("hexadecimal digits")
        })
        .collect()
}

fn properties(given: &Value) -> BasicProperties {
    let mut properties = props();
    for (name, value) in given.as_object().expect("properties") {
        let text = || value.as_str().expect("a text").into();
        let number = || value.as_u64().and_then(|number| u8::try_from(number).ok());
        properties = match name.as_str() {
            "content_type" => properties.with_content_type(text()),
            "content_encoding" => properties.with_content_encoding(text()),
            "message_id" => properties.with_message_id(text()),
            "delivery_mode" => properties.with_delivery_mode(number().expect("a byte")),
            "priority" => properties.with_priority(number().expect("a byte")),
            "headers" => properties.with_headers(table(value.as_object().expect("headers"))),
            other => panic!("no fixture has {other} yet"),
        };
    }
    properties
}

fn table(entries: &Map<String, Value>) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in entries {
        table.insert(name.as_str().into(), amqp(value));
    }
    table
}

fn amqp(value: &Value) -> AMQPValue {
    match value {
        Value::Null => AMQPValue::Void,
        Value::Bool(value) => AMQPValue::Boolean(*value),
        Value::Number(value) => AMQPValue::LongLongInt(value.as_i64().expect("an integer")),
        Value::String(value) => AMQPValue::LongString(value.as_str().into()),
        Value::Array(values) => AMQPValue::FieldArray(FieldArray::from(
            values.iter().map(amqp).collect::<Vec<_>>(),
        )),
        Value::Object(entries) => AMQPValue::FieldTable(table(entries)),
    }
}

const PAGE: &str = include_str!("../../docs/producers.md");

/// Blocks that name a file of `examples/clients` are lines of it; whatever else is indented.
#[test]
fn the_page_shows_lines_of_the_clients() {
    let mut shown = Vec::new();
    for block in PAGE.split("\n```").skip(1).step_by(2) {
        let (fence, lines) = block.split_once('\n').expect("a line");
        let Some((_, name)) = fence.split_once(' ') else {
            continue;
        };
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/clients");
        let client = fs::read_to_string(path.join(name)).expect("a client");
        assert!(
            trimmed(&client).contains(&trimmed(lines)),
            "{name} has no such lines:\n{lines}"
        );
        shown.push(name);
    }
    let frameworks = ["faststream", "kombu", "celery", "nestjs", "rabbitmq_client"];
    for framework in frameworks {
        assert!(
            shown.iter().any(|name| name.contains(framework)),
            "no lines for {framework} in docs/producers.md"
        );
    }
}

/// Lines without their indentation, each ended.
fn trimmed(text: &str) -> String {
    text.lines().flat_map(|line| [line.trim(), "\n"]).collect()
}
