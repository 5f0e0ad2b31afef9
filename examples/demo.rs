//! The teller of `make demo`: sends requests with `profile-worker send` and shows what became of
//! them. `scripts/demo` starts the servers and the worker, and sets the environment.
//!
//!     demo PROGRAM     send requests, show replies, rows, trigger events and dead letters
//!     demo remove      remove what demos have left on servers that go on

#![expect(
    clippy::disallowed_methods,
    reason = "the script that starts this tells it all by the environment"
)]
#![expect(clippy::print_stdout, reason = "that is its job")]

use std::error::Error;
use std::io::{IsTerminal, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use lapin::options::{
    BasicAckOptions, BasicGetOptions, ExchangeDeleteOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection};
use tokio_postgres::{NoTls, Row};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// A request, and what its sender wants to see.
struct Case {
    title: &'static str,
    body: String,
}

/// What all cases together lead to.
const EVENTS: usize = 4;

/// What becomes a dead letter.
const UNREADABLE: &str = "hello, world";

/// How long events and dead letters may be behind their replies.
const BEHIND_MAX: Duration = Duration::from_secs(10);

fn cases(token: &str, db_id: i64, resource: i64) -> Vec<Case> {
    let case = |title, body: &str| {
        let body = body
            .replace("$TOKEN", token)
            .replace("$DB_ID", &db_id.to_string());
        Case {
            title,
            body: body.replace("$RESOURCE", &resource.to_string()),
        }
    };
    vec![
        case(
            "A profile with two fields; no trigger event is wanted",
            r#"{
  "token": "$TOKEN",
  "db_id": $DB_ID,
  "data": {
    "_fname": "Fillipp",
    "_lname": "Doe"
  },
  "skip_triggers": true
}"#,
        ),
        case(
            "The same in XML gets its answer in XML",
            "<xml>
  <token>$TOKEN</token>
  <db_id>$DB_ID</db_id>
  <skip_triggers>true</skip_triggers>
  <data>
    <_fname>Fillipp</_fname>
    <_lname>Doe</_lname>
  </data>
</xml>",
        ),
        case(
            "Subscriptions of several channels",
            r#"{"token": "$TOKEN", "db_id": $DB_ID, "data": {
  "email": "jane@example.com", "_fname": "Jane", "_bdate": "1990-05-17", "loyalty_level": 3,
  "subscriptions": [
    {"resource_id": $RESOURCE, "channel": "email", "email": "jane@example.com", "cats": ["news"]},
    {"resource_id": $RESOURCE, "channel": "sms", "phone": "+49 30 901820", "status": "unconfirmed"},
    {"resource_id": $RESOURCE, "channel": "push", "provider": "android-firebase", "subscription_id": "d-1"},
    {"resource_id": $RESOURCE, "channel": "telegram_bot", "cc_data": {"id": 123456}}
  ]
}}"#,
        ),
        case(
            "The same email again, in capitals",
            r#"{"token": "$TOKEN", "db_id": $DB_ID, "data": {"email": "JANE@example.com"}}"#,
        ),
        case(
            "An invalid subscription: the whole request is refused, nothing is stored",
            r#"{"token": "$TOKEN", "db_id": $DB_ID, "data": {"email": "pat@example.com", "subscriptions": [
  {"resource_id": $RESOURCE, "channel": "email", "email": "pat@example.com"},
  {"resource_id": $RESOURCE, "channel": "sms", "phone": "call me"}
]}}"#,
        ),
        case(
            "The same with skip_invalid_subscriptions: the bad one is dropped, the rest is stored",
            r#"{"token": "$TOKEN", "db_id": $DB_ID, "data": {"email": "pat@example.com", "subscriptions": [
  {"resource_id": $RESOURCE, "channel": "email", "email": "pat@example.com"},
  {"resource_id": $RESOURCE, "channel": "sms", "phone": "call me"}
]}, "skip_invalid_subscriptions": true}"#,
        ),
        case(
            "Three profiles in one request, each with its own outcome",
            r#"{"token": "$TOKEN", "db_id": $DB_ID, "data": [
  {"email": "ann@example.com"}, {"email": "Ann@example.com"}, {"_tz": "Nowhere"}
]}"#,
        ),
        case(
            "No data: an empty profile",
            r#"{"token": "$TOKEN", "db_id": $DB_ID}"#,
        ),
        case(
            "A wrong token",
            r#"{"token": "abcdefghijklmnqrstuvwxyz", "db_id": $DB_ID, "data": {"_fname": "Eve"}}"#,
        ),
        case(
            "A body that can't be read: answered, and kept as a dead letter",
            UNREADABLE,
        ),
    ]
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let argument = std::env::args()
        .nth(1)
        .ok_or("usage: demo PROGRAM | demo remove")?;
    if argument == "remove" {
        return remove().await;
    }
    let connection = Connection::connect(&variable("AMQP_URL")?, Default::default()).await?;
    let channel = connection.create_channel().await?;
    let db_id = variable("DB_ID")?.parse()?;
    let database = database().await?;
    let resource_id = database
        .query_one("SELECT id FROM resources WHERE db_id = $1", &[&db_id])
        .await?
        .get(0);
    let events = listen_for_events(&channel, db_id).await?;

    println!(
        "\nDatabase {db_id} with resource {resource_id}; a worker waits. Requests go through RabbitMQ, one by one:"
    );
    let token = variable("TOKEN")?;
    for (number, case) in (1..).zip(cases(&token, db_id, resource_id)) {
        heading(&format!("{number}. {}", case.title));
        show("request", &case.body.replace(&token, "…"));
        let (reply, time) = send(&argument, &case.body)?;
        show("reply", &reply);
        show("", &dimmed(&time));
    }

    heading("The rows in PostgreSQL");
    let profiles = "SELECT id, coalesce(email, '') AS email, data::text FROM profiles WHERE db_id = $1 ORDER BY id";
    table("profiles", &database.query(profiles, &[&db_id]).await?);
    let subscriptions =
        "SELECT profile_id, resource_id::text, channel, address, status FROM subscriptions
                         WHERE db_id = $1 ORDER BY profile_id, position";
    table(
        "subscriptions",
        &database.query(subscriptions, &[&db_id]).await?,
    );

    heading(&format!(
        "The trigger events, routing key profile.added.{db_id}"
    ));
    for event in take(&channel, &events, EVENTS).await? {
        println!("  {}", String::from_utf8_lossy(&event));
    }
    heading("The dead letter");
    println!("  {UNREADABLE}");
    let properties = take_dead_letter(&connection).await?;
    for (name, value) in properties
        .headers()
        .iter()
        .flatten()
        .filter(|(name, _)| name.as_str().starts_with("x-"))
    {
        println!("  {}", dimmed(&format!("{name}: {}", text(value))));
    }
    connection.close(200, "".into()).await?;
    Ok(())
}

/// Sends one request as anybody would, with the command; the reply, and how long it took.
fn send(program: &str, body: &str) -> Result<(String, String)> {
    let mut command = Command::new(program);
    command
        .args(["send", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn()?;
    child
        .stdin
        .take()
        .ok_or("no standard input")?
        .write_all(body.as_bytes())?;
    let output = child.wait_with_output()?;
    let words = String::from_utf8(output.stderr)?;
    let reply = String::from_utf8(output.stdout)?;
    if reply.is_empty() {
        return Err(words.into());
    }
    let time = words
        .lines()
        .next()
        .and_then(|line| line.split_once(" answered "));
    Ok((
        reply,
        time.map(|(_, time)| time.to_owned()).unwrap_or_default(),
    ))
}

async fn database() -> Result<tokio_postgres::Client> {
    let (client, connection) = tokio_postgres::connect(&variable("DATABASE_URL")?, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

async fn listen_for_events(channel: &Channel, db_id: i64) -> Result<String> {
    let exclusive = QueueDeclareOptions {
        exclusive: true,
        ..Default::default()
    };
    let queue = channel
        .queue_declare("".into(), exclusive, FieldTable::default())
        .await?;
    let name = queue.name().as_str().to_owned();
    let exchange = variable_or("EVENT_EXCHANGE", "profiles.events");
    let key = format!("profile.added.{db_id}");
    let options = QueueBindOptions::default();
    channel
        .queue_bind(
            name.as_str().into(),
            exchange.into(),
            key.into(),
            options,
            FieldTable::default(),
        )
        .await?;
    Ok(name)
}

/// Takes so many messages out of a queue; they may be a moment behind their replies.
async fn take(channel: &Channel, queue: &str, count: usize) -> Result<Vec<Vec<u8>>> {
    let until = Instant::now() + BEHIND_MAX;
    let mut messages = Vec::new();
    while messages.len() < count {
        match channel
            .basic_get(queue.into(), BasicGetOptions { no_ack: true })
            .await?
        {
            Some(got) => messages.push(got.delivery.data),
            None if Instant::now() > until => {
                return Err(format!("{queue} has no {count} messages").into());
            }
            None => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
    Ok(messages)
}

/// Takes the dead letter of [`UNREADABLE`]. Others, which somebody has sent since an earlier demo,
/// stay in the queue: they go back when the channel is closed.
async fn take_dead_letter(connection: &Connection) -> Result<BasicProperties> {
    let channel = connection.create_channel().await?;
    let queue = variable_or("DEAD_LETTER_QUEUE", "profiles.add.dead");
    let until = Instant::now() + BEHIND_MAX;
    loop {
        match channel
            .basic_get(queue.as_str().into(), BasicGetOptions::default())
            .await?
        {
            Some(got) if got.delivery.data == UNREADABLE.as_bytes() => {
                got.delivery.ack(BasicAckOptions::default()).await?;
                channel.close(200, "".into()).await?;
                return Ok(got.delivery.properties);
            }
            Some(_) => {}
            None if Instant::now() > until => {
                return Err(format!("{queue} has no such message").into());
            }
            None => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

/// Only for servers that are not the demo's own: their queues, exchange and rows.
async fn remove() -> Result<()> {
    let connection = Connection::connect(&variable("AMQP_URL")?, Default::default()).await?;
    let channel = connection.create_channel().await?;
    for queue in ["REQUEST_QUEUE", "RESULT_QUEUE", "DEAD_LETTER_QUEUE"] {
        channel
            .queue_delete(variable(queue)?.into(), Default::default())
            .await?;
    }
    channel
        .exchange_delete(
            variable("EVENT_EXCHANGE")?.into(),
            ExchangeDeleteOptions::default(),
        )
        .await?;
    connection.close(200, "".into()).await?;
    let demos = "SELECT id FROM databases WHERE name LIKE 'profile-worker demo %'";
    let statements = format!(
        "DELETE FROM subscriptions WHERE db_id IN ({demos}); DELETE FROM profiles WHERE db_id IN ({demos});
         DELETE FROM api_tokens WHERE name LIKE 'profile-worker demo %';
         DELETE FROM databases WHERE name LIKE 'profile-worker demo %'"
    );
    database().await?.batch_execute(&statements).await?;
    Ok(())
}

fn variable(name: &str) -> Result<String> {
    std::env::var(name).map_err(|_| format!("{name} is not set: run `make demo`").into())
}

fn variable_or(name: &str, default: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| default.to_owned())
}

// ---- for the eye

fn heading(text: &str) {
    println!("\n{}", styled("1", text));
}

fn dimmed(text: &str) -> String {
    styled("2", text)
}

/// With an attribute of ECMA-48, where somebody sees it.
fn styled(attribute: &str, text: &str) -> String {
    if std::io::stdout().is_terminal() {
        format!("\x1b[{attribute}m{text}\x1b[0m")
    } else {
        text.to_owned()
    }
}

/// A text with a label before its first line.
fn show(label: &str, text: &str) {
    for (number, line) in text.lines().enumerate() {
        println!("  {:8} {line}", if number == 0 { label } else { "" });
    }
}

/// Rows of texts.
fn table(name: &str, rows: &[Row]) {
    let Some(first) = rows.first() else {
        println!("  {name}: none");
        return;
    };
    let head = first
        .columns()
        .iter()
        .map(|column| column.name().to_owned())
        .collect::<Vec<_>>();
    let cells = |row: &Row| {
        (0..head.len())
            .map(|i| row.get::<_, String>(i))
            .collect::<Vec<_>>()
    };
    let lines: Vec<_> = std::iter::once(head.clone())
        .chain(rows.iter().map(cells))
        .collect();
    let width = |i: usize| {
        lines
            .iter()
            .map(|line| line[i].chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<_> = (0..head.len()).map(width).collect();
    println!("  {name}");
    for (number, line) in lines.iter().enumerate() {
        let padded = line
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect::<Vec<_>>();
        let line = padded.join("  ").trim_end().to_owned();
        println!("    {}", if number == 0 { dimmed(&line) } else { line });
    }
}

fn text(value: &AMQPValue) -> String {
    match value {
        AMQPValue::LongString(text) => text.to_string(),
        AMQPValue::LongInt(number) => number.to_string(),
        AMQPValue::LongLongInt(number) => number.to_string(),
        AMQPValue::Timestamp(seconds) => seconds.to_string(),
        other => format!("{other:?}"),
    }
}
