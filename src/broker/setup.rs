//! Whether the broker lets us do what we need: tried at start, and again while something is
//! missing.
//!
//! A right is tried by a message in a transaction that is rolled back: the broker checks user,
//! exchange and size when it takes the message, and nobody ever receives it.

use lapin::BasicProperties;
use lapin::Channel;
use lapin::options::{BasicPublishOptions, QueueDeclareOptions};
use lapin::types::FieldTable;

use super::connection::Connection;
use super::error::{ANSWER_MAX, BrokerError, within};
use super::messages::NO_EVENT;
use super::topology::{TopologyMode, TopologySettings};

/// The default exchange, as permissions name it.
const DEFAULT_EXCHANGE: &str = "amq.default";

/// Tries what every worker needs: to publish to our queues, and to the exchange for events.
pub(crate) async fn check(
    connection: &Connection,
    settings: &TopologySettings,
) -> Result<(), BrokerError> {
    try_publishing(connection, "", &settings.result_queue, 0)
        .await
        .map_err(|error| {
            explain(
                error,
                connection,
                settings,
                &format!("the default exchange ({DEFAULT_EXCHANGE})"),
            )
        })?;
    let exchange = &settings.event_exchange;
    match try_publishing(connection, exchange, NO_EVENT, 0).await {
        // It concerns this routing key, which no event has.
        Err(BrokerError::RefusedTopic { .. }) => Ok(()),
        tried => tried.map_err(|error| {
            explain(
                error,
                connection,
                settings,
                &format!("the exchange {exchange}"),
            )
        }),
    }
}

/// Looks whether there is a queue of this name.
pub(crate) async fn check_queue(connection: &Connection, name: &str) -> Result<(), BrokerError> {
    let options = QueueDeclareOptions {
        passive: true,
        ..QueueDeclareOptions::default()
    };
    let channel = connection.channel().await?;
    let look = channel.queue_declare(name.into(), options, FieldTable::default());
    match within(ANSWER_MAX, "looking at a queue", look).await {
        Ok(_) => Ok(()),
        Err(BrokerError::Refused(text)) => Err(BrokerError::Refused(format!(
            "RabbitMQ has no queue {name}, or does not let us look at it: {text}; make it, or start with \
             TOPOLOGY=declare"
        ))),
        Err(error) => Err(error),
    }
}

/// Tries whether the broker takes a body of so many bytes.
pub(crate) async fn check_size(
    connection: &Connection,
    settings: &TopologySettings,
    bytes: usize,
) -> Result<(), BrokerError> {
    try_publishing(connection, "", &settings.result_queue, bytes).await
}

async fn try_publishing(
    connection: &Connection,
    exchange: &str,
    routing_key: &str,
    bytes: usize,
) -> Result<(), BrokerError> {
    let channel = connection.channel().await?;
    within(ANSWER_MAX, "tx.select", channel.tx_select()).await?;
    let body = vec![0; bytes];
    let publishing = publish(&channel, exchange, routing_key, &body);
    within(ANSWER_MAX, "a message on trial", publishing).await?;
    within(ANSWER_MAX, "tx.rollback", channel.tx_rollback()).await?;
    within(
        ANSWER_MAX,
        "closing a channel",
        channel.close(200, "tried".into()),
    )
    .await
}

async fn publish(
    channel: &Channel,
    exchange: &str,
    routing_key: &str,
    body: &[u8],
) -> lapin::Result<()> {
    let (exchange, routing_key) = (exchange.into(), routing_key.into());
    let options = BasicPublishOptions::default();
    channel
        .basic_publish(
            exchange,
            routing_key,
            options,
            body,
            BasicProperties::default(),
        )
        .await?
        .await?;
    Ok(())
}

/// What is missing, and the command that mends it.
fn explain(
    error: BrokerError,
    connection: &Connection,
    settings: &TopologySettings,
    what: &str,
) -> BrokerError {
    match error {
        BrokerError::Refused(text) if text.contains("NOT_FOUND") => BrokerError::Refused(format!(
            "RabbitMQ has not got {what}: {text}; make it, or start with TOPOLOGY=declare; check its name among the \
             settings"
        )),
        BrokerError::Refused(text) => {
            let TopologySettings {
                request_queue,
                result_queue,
                dead_letter_queue,
                event_exchange,
                ..
            } = settings;
            let configure = match settings.mode {
                TopologyMode::Declare => pattern(&[
                    request_queue,
                    result_queue,
                    dead_letter_queue,
                    event_exchange,
                ]),
                TopologyMode::Check | TopologyMode::None => String::new(),
            };
            let write = pattern(&[DEFAULT_EXCHANGE, event_exchange]);
            let read = pattern(&[request_queue]);
            let (vhost, user) = connection.vhost_and_user();
            BrokerError::Refused(format!(
                "RabbitMQ does not let us publish to {what}: {text}; whoever administers it can grant that: \
                 rabbitmqctl set_permissions -p '{vhost}' '{user}' '{configure}' '{write}' '{read}'"
            ))
        }
        other => other,
    }
}

/// A regular expression for exactly these names, as RabbitMQ's permissions want it.
fn pattern(names: &[&str]) -> String {
    let names: Vec<_> = names.iter().map(|name| escape(name)).collect();
    format!("^({})$", names.join("|"))
}

fn escape(name: &str) -> String {
    name.chars()
        .flat_map(|c| {
            (!c.is_alphanumeric() && !"_-".contains(c))
                .then_some('\\')
                .into_iter()
                .chain([c])
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_names_exactly_what_is_needed() {
        assert_eq!(
            pattern(&["amq.default", "profiles.events"]),
            r"^(amq\.default|profiles\.events)$"
        );
        assert_eq!(pattern(&["a_b-c+"]), r"^(a_b-c\+)$");
    }
}
