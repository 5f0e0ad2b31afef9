//! Adds a profile and prints the reply. Rust, lapin.
//!
//! ```sh
//! AMQP_URL=amqp://… cargo run --example add_profile_lapin -- \
//!   '{"token": "…", "db_id": 1, "data": {…}}'
//! ```

#![expect(
    clippy::disallowed_methods,
    reason = "a program on its own: it reads its own environment"
)]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "that is its job")]

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use futures_util::TryStreamExt;
use lapin::options::{BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use tokio::time::timeout;

const ATTEMPTS: usize = 3;
const REPLY_TO: &str = "amq.rabbitmq.reply-to";

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Returns the reply. A refusal is a reply, too: look at its `error`.
async fn add_profile(
    channel: &Channel,
    queue: &str,
    body: &str,
    id: &str,
    patience: Duration,
) -> Result<Vec<u8>> {
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await?;
    // RabbitMQ wants the consumer there before the request that names it.
    let no_ack = BasicConsumeOptions {
        no_ack: true,
        ..Default::default()
    };
    let mut replies = channel
        .basic_consume(REPLY_TO.into(), "".into(), no_ack, FieldTable::default())
        .await?;
    let properties = BasicProperties::default()
        .with_content_type(
            if body.starts_with('<') {
                "application/xml"
            } else {
                "application/json"
            }
            .into(),
        )
        .with_delivery_mode(2) // persistent
        .with_message_id(id.into())
        .with_correlation_id(id.into())
        .with_reply_to(REPLY_TO.into());
    // The same body with the same message_id is the same request, so it is safe to send it again.
    for _ in 0..ATTEMPTS {
        let mandatory = BasicPublishOptions {
            mandatory: true,
            ..Default::default()
        };
        let publish = channel.basic_publish(
            "".into(),
            queue.into(),
            mandatory,
            body.as_bytes(),
            properties.clone(),
        );
        let confirmation = timeout(patience, publish.await?).await??;
        if !confirmation.is_ack() {
            return Err("the broker did not take the request".into());
        }
        if confirmation.take_message().is_some() {
            return Err(format!("there is no queue {queue}").into());
        }
        let reply = async {
            while let Some(reply) = replies.try_next().await? {
                if reply
                    .properties
                    .correlation_id()
                    .as_ref()
                    .is_some_and(|correlation| correlation.as_str() == id)
                {
                    return Ok(reply.data);
                }
            }
            Err("the connection was lost".into())
        };
        if let Ok(reply) = timeout(patience, reply).await {
            return reply;
        }
    }
    Err(format!("no reply to {ATTEMPTS} attempts; MESSAGE_ID={id} continues this request").into())
}

async fn run() -> Result<Vec<u8>> {
    let setting = |name, otherwise: String| std::env::var(name).unwrap_or(otherwise);
    let body = std::env::args()
        .nth(1)
        .ok_or("give the body of the request")?;
    let queue = setting("REQUEST_QUEUE", "profiles.add".to_owned());
    let id = setting(
        "MESSAGE_ID",
        format!("{:016x}{:016x}", getrandom::u64()?, getrandom::u64()?),
    );
    let patience = Duration::from_secs(setting("REPLY_TIMEOUT", "10".to_owned()).parse()?);
    let connection =
        Connection::connect(&std::env::var("AMQP_URL")?, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    let reply = add_profile(&channel, &queue, &body, &id, patience).await;
    connection.close(200, "bye".into()).await.ok(); // it may be lost already, which is not the news
    reply
}

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(reply) => println!("{}", String::from_utf8_lossy(&reply)),
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
