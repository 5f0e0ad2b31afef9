//! The queues and the exchange that the service expects: declared, checked, or left alone.

use std::time::Duration;

use lapin::options::{ExchangeDeclareOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, ExchangeKind};

use super::connection::Connection;
use super::error::{ANSWER_MAX, BrokerError, within};

/// The queues and the exchange: names, and what to do about them.
#[derive(Debug, Clone)]
pub struct TopologySettings {
    /// `REQUEST_QUEUE`
    pub request_queue: String,
    /// `RESULT_QUEUE`
    pub result_queue: String,
    /// `DEAD_LETTER_QUEUE`
    pub dead_letter_queue: String,
    /// `EVENT_EXCHANGE`
    pub event_exchange: String,
    /// `QUEUE_TYPE`
    pub queue_type: QueueType,
    /// `TOPOLOGY`
    pub mode: TopologyMode,
    /// `RESULT_TTL`
    pub result_ttl: Duration,
}

/// How the broker keeps the queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueueType {
    /// Replicated.
    Quorum,
    /// On one node.
    Classic,
}

/// What a worker does about the topology at start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TopologyMode {
    /// Declare what is missing.
    Declare,
    /// Check that all is there.
    Check,
    /// Nothing.
    None,
}

/// After how many deliveries the broker itself gives up on a message. High, because a lost
/// connection counts against every message that was under way, the innocent ones too.
const DELIVERY_LIMIT: i64 = 100;

/// Makes sure of the topology, in the way that `settings` ask for.
pub(crate) async fn ensure(
    connection: &Connection,
    settings: &TopologySettings,
) -> Result<(), BrokerError> {
    match settings.mode {
        TopologyMode::Declare => declare(&connection.channel().await?, settings).await,
        TopologyMode::Check => check(&connection.channel().await?, settings).await,
        TopologyMode::None => Ok(()),
    }
}

async fn declare(channel: &Channel, settings: &TopologySettings) -> Result<(), BrokerError> {
    declare_queue(
        channel,
        &settings.dead_letter_queue,
        base_arguments(settings),
    )
    .await?;
    declare_queue(channel, &settings.result_queue, result_arguments(settings)).await?;
    declare_queue(
        channel,
        &settings.request_queue,
        request_arguments(settings),
    )
    .await?;
    exchange(
        channel,
        &settings.event_exchange,
        ExchangeDeclareOptions {
            durable: true,
            ..ExchangeDeclareOptions::default()
        },
    )
    .await
}

async fn check(channel: &Channel, settings: &TopologySettings) -> Result<(), BrokerError> {
    let passive = QueueDeclareOptions {
        passive: true,
        ..QueueDeclareOptions::default()
    };
    for name in [
        &settings.request_queue,
        &settings.result_queue,
        &settings.dead_letter_queue,
    ] {
        queue(channel, name, passive, FieldTable::default()).await?;
    }
    exchange(
        channel,
        &settings.event_exchange,
        ExchangeDeclareOptions {
            passive: true,
            ..ExchangeDeclareOptions::default()
        },
    )
    .await
}

async fn declare_queue(
    channel: &Channel,
    name: &str,
    arguments: FieldTable,
) -> Result<(), BrokerError> {
    let options = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    queue(channel, name, options, arguments).await
}

async fn queue(
    channel: &Channel,
    name: &str,
    options: QueueDeclareOptions,
    arguments: FieldTable,
) -> Result<(), BrokerError> {
    let declared = channel.queue_declare(name.into(), options, arguments);
    let declared = within(ANSWER_MAX, "declaring a queue", declared).await;
    declared
        .map(|_| ())
        .map_err(|error| explain(error, "queue", name))
}

async fn exchange(
    channel: &Channel,
    name: &str,
    options: ExchangeDeclareOptions,
) -> Result<(), BrokerError> {
    let declared = channel.exchange_declare(
        name.into(),
        ExchangeKind::Topic,
        options,
        FieldTable::default(),
    );
    let declared = within(ANSWER_MAX, "declaring an exchange", declared).await;
    declared.map_err(|error| explain(error, "exchange", name))
}

fn explain(error: BrokerError, what: &str, name: &str) -> BrokerError {
    match error {
        BrokerError::Refused(text) if text.contains("NOT_FOUND") => BrokerError::Refused(format!(
            "RabbitMQ has no {what} {name}: make it, or start with TOPOLOGY=declare; check its name among the settings"
        )),
        BrokerError::Refused(text) => BrokerError::Refused(format!(
            "RabbitMQ does not give us the {what} {name} as we need it: {text}; \
             delete or rename what is there, give the user its permissions, or set TOPOLOGY=none and see to it yourself"
        )),
        other => other,
    }
}

fn base_arguments(settings: &TopologySettings) -> FieldTable {
    let mut arguments = FieldTable::default();
    let kind = match settings.queue_type {
        QueueType::Quorum => "quorum",
        QueueType::Classic => "classic",
    };
    text(&mut arguments, "x-queue-type", kind);
    arguments
}

fn result_arguments(settings: &TopologySettings) -> FieldTable {
    let mut arguments = base_arguments(settings);
    let ttl_ms = i64::try_from(settings.result_ttl.as_millis()).unwrap_or(i64::MAX);
    arguments.insert("x-message-ttl".into(), AMQPValue::LongLongInt(ttl_ms));
    arguments
}

/// What the broker gives up on goes to the dead-letter queue. Quorum queues can do that without
/// losing it on the way ("at-least-once"), which needs `reject-publish` as overflow behaviour;
/// classic queues can't, but have no delivery limit either.
fn request_arguments(settings: &TopologySettings) -> FieldTable {
    let mut arguments = base_arguments(settings);
    text(&mut arguments, "x-dead-letter-exchange", "");
    text(
        &mut arguments,
        "x-dead-letter-routing-key",
        &settings.dead_letter_queue,
    );
    if settings.queue_type == QueueType::Quorum {
        arguments.insert(
            "x-delivery-limit".into(),
            AMQPValue::LongLongInt(DELIVERY_LIMIT),
        );
        text(&mut arguments, "x-dead-letter-strategy", "at-least-once");
        text(&mut arguments, "x-overflow", "reject-publish");
    }
    arguments
}

fn text(arguments: &mut FieldTable, name: &str, value: &str) {
    arguments.insert(name.into(), AMQPValue::LongString(value.into()));
}
