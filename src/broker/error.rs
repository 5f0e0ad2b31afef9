//! What can go wrong with the broker, and whether waiting helps. The only place that reads AMQP
//! reply codes.

use std::future::Future;
use std::time::Duration;

use lapin::ErrorKind;
use lapin::protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError};

/// Something the broker was asked for did not happen.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BrokerError {
    /// The broker said no. Trying again will not help until somebody changes something.
    #[error("{0}")]
    Refused(String),
    /// The broker lets the user publish to an exchange, but not with this routing key (a topic
    /// permission). It concerns the messages with this key and no others.
    #[error("{text}")]
    RefusedTopic {
        /// The routing key.
        routing_key: String,
        /// The broker's words.
        text: String,
    },
    /// A message is larger than the broker takes (its setting `max_message_size`).
    #[error("RabbitMQ takes no message over {0} bytes")]
    TooLarge(usize),
    /// The broker closed the connection because of something that it was sent, or could not send.
    #[error("{0}")]
    Fault(String),
    /// The broker is away, or the connection to it was lost.
    #[error("{0}")]
    Lost(String),
    /// No answer in time; the connection is as good as lost.
    #[error("the broker did not answer to {0} within {1:?}")]
    TimedOut(&'static str, Duration),
    /// The broker ended the subscription: the queue was deleted, moved, or the broker goes down.
    /// From RabbitMQ 4.3 on also since a request was not acknowledged in time; before, that ends a
    /// channel.
    #[error(
        "the broker ended the subscription to the request queue: it was deleted or moved, or a request was not \
         acknowledged within the broker's consumer_timeout"
    )]
    Cancelled,
    /// A queue that must be there is not.
    #[error("RabbitMQ does not know {0} any more")]
    Unroutable(String),
}

/// A fault that is no message's: something that the worker needs is missing or forbidden.
impl BrokerError {
    /// Whether the setup is at fault: a right, a queue or an exchange of the worker's own.
    pub fn is_setup(&self) -> bool {
        matches!(
            self,
            Self::Refused(_) | Self::RefusedTopic { .. } | Self::Unroutable(_)
        )
    }

    /// Whether one message may be to blame. A server that is away, a network that is cut and an
    /// operator who closes connections accuse none.
    pub fn accuses(&self) -> bool {
        matches!(self, Self::Fault(_))
    }

    /// Which of two errors of one channel tells more. When a channel is closed only one of those
    /// who wait on it may hear why.
    pub(super) fn or_more_telling(self, other: Self) -> Self {
        if matches!(self, Self::Lost(_) | Self::TimedOut(..)) {
            other
        } else {
            self
        }
    }
}

impl BrokerError {
    /// Whether the same attempt can succeed later with nobody's help.
    pub fn is_temporary(&self) -> bool {
        !matches!(self, Self::Refused(_) | Self::RefusedTopic { .. })
    }
}

impl From<lapin::Error> for BrokerError {
    fn from(error: lapin::Error) -> Self {
        match error.kind() {
            ErrorKind::ProtocolError(refusal) => {
                let words = refusal.get_message().as_str();
                let text = format!("the broker answered {}: {words}", refusal.get_id());
                if let Some(limit) = size_limit(refusal.kind(), words) {
                    Self::TooLarge(limit)
                } else if let Some(routing_key) = refused_topic(refusal.kind(), words) {
                    Self::RefusedTopic { routing_key, text }
                } else if is_refusal(refusal.kind(), words) {
                    Self::Refused(text)
                } else if is_fault(refusal.kind()) {
                    Self::Fault(text)
                } else {
                    Self::Lost(text)
                }
            }
            ErrorKind::IOError(error) => Self::Lost(error.to_string()),
            // The client's words for "the connection is no more" are about its own states.
            _ => Self::Lost("the connection is closed".to_owned()),
        }
    }
}

/// The answers that mean a wrong setup: credentials, permissions, names, arguments.
///
/// A queue that is there but can't be reached (its node is down, it has crashed, it elects a
/// leader) is "not found", too, and a virtual host that is about to start is "not allowed". Those
/// are waited for.
fn is_refusal(kind: &AMQPErrorKind, text: &str) -> bool {
    match kind {
        AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND) => {
            text.contains("NOT_FOUND - no queue") || text.contains("NOT_FOUND - no exchange")
        }
        AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED) => true,
        // "delivery acknowledgement on channel 1 timed out", "unknown delivery tag 1" are no wrong
        // setup.
        AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED) => !text.contains(" delivery "),
        AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED) => !text.contains("is down"),
        AMQPErrorKind::Hard(AMQPHardError::INVALIDPATH | AMQPHardError::NOTIMPLEMENTED) => true,
        _ => false,
    }
}

/// The limit that a message was over: "message size 70 is larger than configured max size 60"
/// (RabbitMQ 4; earlier versions leave out "configured").
fn size_limit(kind: &AMQPErrorKind, words: &str) -> Option<usize> {
    if !matches!(kind, AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED)) {
        return None;
    }
    let (_, limit) = words.split_once("message size")?.1.split_once("max size")?;
    limit
        .trim()
        .split(|c: char| !c.is_ascii_digit())
        .next()?
        .parse()
        .ok()
}

/// The routing key of "access to topic 'KEY' in exchange 'NAME' in vhost … refused for user …".
fn refused_topic(kind: &AMQPErrorKind, words: &str) -> Option<String> {
    if !matches!(kind, AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED)) {
        return None;
    }
    let (_, rest) = words.split_once("access to topic '")?;
    rest.split_once("' in exchange '")
        .map(|(routing_key, _)| routing_key.to_owned())
}

/// What closes a connection because of what went over it. Not when an operator closes it (320).
fn is_fault(kind: &AMQPErrorKind) -> bool {
    matches!(
        kind,
        AMQPErrorKind::Hard(
            AMQPHardError::FRAMEERROR
                | AMQPHardError::SYNTAXERROR
                | AMQPHardError::COMMANDINVALID
                | AMQPHardError::CHANNELERROR
                | AMQPHardError::UNEXPECTEDFRAME
                | AMQPHardError::INTERNALERROR
        )
    )
}

/// How long the broker may take to answer a question.
pub(super) const ANSWER_MAX: Duration = Duration::from_secs(20);

/// How long the broker may take to confirm what was published. It is long, since a broker low on
/// memory or disk makes publishers wait, and that is no fault of the connection.
pub(super) const CONFIRM_MAX: Duration = Duration::from_secs(120);

/// Waits for an answer, but not for ever: the client library has no time limits of its own.
pub(super) async fn within<T, E>(
    limit: Duration,
    what: &'static str,
    answer: impl Future<Output = Result<T, E>>,
) -> Result<T, BrokerError>
where
    BrokerError: From<E>,
{
    match tokio::time::timeout(limit, answer).await {
        Ok(result) => Ok(result?),
        Err(_) => Err(BrokerError::TimedOut(what, limit)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(kind: AMQPErrorKind, text: &str) -> BrokerError {
        let error = lapin::protocol::AMQPError::new(kind, text.into());
        BrokerError::from(lapin::Error::from(ErrorKind::ProtocolError(error)))
    }

    #[test]
    fn the_limit_of_a_message_that_is_too_large_is_read() {
        for text in [
            "PRECONDITION_FAILED - message size 70000 is larger than max size 60000",
            "PRECONDITION_FAILED - message size 70000 is larger than configured max size 60000",
        ] {
            let error = error(AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED), text);
            assert!(matches!(error, BrokerError::TooLarge(60_000)), "{error:?}");
        }
    }

    #[test]
    fn a_topic_permission_concerns_one_routing_key() {
        let text = "ACCESS_REFUSED - access to topic 'profile.added.7' in exchange 'profiles.events' in vhost '/' \
                    refused for user 'worker'";
        let error = error(AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED), text);
        assert!(
            matches!(&error, BrokerError::RefusedTopic { routing_key, .. } if routing_key == "profile.added.7")
        );
        assert!(error.is_setup() && !error.accuses());
    }

    #[test]
    fn only_what_was_sent_accuses() {
        use AMQPErrorKind::{Hard, Soft};
        for (kind, accuses) in [
            (Hard(AMQPHardError::INTERNALERROR), true),
            (Hard(AMQPHardError::FRAMEERROR), true),
            (Hard(AMQPHardError::CONNECTIONFORCED), false),
            (Soft(AMQPSoftError::ACCESSREFUSED), false),
        ] {
            assert_eq!(error(kind.clone(), "x").accuses(), accuses, "{kind:?}");
        }
        assert!(!BrokerError::Lost("gone".to_owned()).accuses());
    }

    #[test]
    fn what_is_there_but_can_not_be_reached_is_waited_for() {
        use AMQPErrorKind::{Hard, Soft};
        for (kind, text, is_final) in [
            (
                Soft(AMQPSoftError::NOTFOUND),
                "NOT_FOUND - no queue 'q' in vhost '/'",
                true,
            ),
            (
                Soft(AMQPSoftError::NOTFOUND),
                "NOT_FOUND - no exchange 'e' in vhost '/'",
                true,
            ),
            (
                Soft(AMQPSoftError::NOTFOUND),
                "NOT_FOUND - home node 'rabbit@one' of durable queue 'q' in vhost '/' is down or inaccessible",
                false,
            ),
            (
                Soft(AMQPSoftError::NOTFOUND),
                "NOT_FOUND - queue 'q' in vhost '/' has crashed and failed to restart",
                false,
            ),
            (
                Soft(AMQPSoftError::NOTFOUND),
                "NOT_FOUND - failed to perform operation on queue 'q' in vhost '/' due to timeout",
                false,
            ),
            (
                Soft(AMQPSoftError::PRECONDITIONFAILED),
                "PRECONDITION_FAILED - inequivalent arg 'x-queue-type'",
                true,
            ),
            (
                Soft(AMQPSoftError::PRECONDITIONFAILED),
                "PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out. Timeout value used: 2000 ms",
                false,
            ),
            (
                Soft(AMQPSoftError::PRECONDITIONFAILED),
                "PRECONDITION_FAILED - unknown delivery tag 1",
                false,
            ),
            (
                Hard(AMQPHardError::NOTALLOWED),
                "NOT_ALLOWED - vhost x not found",
                true,
            ),
            (
                Hard(AMQPHardError::NOTALLOWED),
                "NOT_ALLOWED - access to vhost '/' refused for user 'u': vhost '/' is down",
                false,
            ),
            (Hard(AMQPHardError::INTERNALERROR), "INTERNAL_ERROR", false),
        ] {
            let error = error(kind, text);
            assert_eq!(error.is_temporary(), !is_final, "{text}");
        }
    }
}
