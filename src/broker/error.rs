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
    /// The broker is away, or the connection to it was lost.
    #[error("{0}")]
    Lost(String),
    /// No answer in time; the connection is as good as lost.
    #[error("the broker did not answer to {0} within {1:?}")]
    TimedOut(&'static str, Duration),
    /// The broker ended the subscription: the queue was deleted, moved, or the broker goes down. From
    /// RabbitMQ 4.3 on also since a request was not acknowledged in time; before, that ends a channel.
    #[error(
        "the broker ended the subscription to the request queue: it was deleted or moved, or a request was not \
         acknowledged within the broker's consumer_timeout"
    )]
    Cancelled,
    /// A queue that must be there is not.
    #[error("RabbitMQ does not know {0} any more")]
    Unroutable(String),
}

impl BrokerError {
    /// Whether the same attempt can succeed later with nobody's help.
    pub fn is_temporary(&self) -> bool {
        !matches!(self, BrokerError::Refused(_))
    }
}

impl From<lapin::Error> for BrokerError {
    fn from(error: lapin::Error) -> Self {
        match error.kind() {
            ErrorKind::ProtocolError(refusal) => {
                let text = format!("the broker answered {}: {}", refusal.get_id(), refusal.get_message());
                if is_refusal(refusal.kind(), refusal.get_message().as_str()) {
                    Self::Refused(text)
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
/// A queue that is there but can't be reached (its node is down, it has crashed, it elects a leader) is
/// "not found", too, and a virtual host that is about to start is "not allowed". Those are waited for.
fn is_refusal(kind: &AMQPErrorKind, text: &str) -> bool {
    match kind {
        AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND) => {
            text.contains("NOT_FOUND - no queue") || text.contains("NOT_FOUND - no exchange")
        }
        AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED | AMQPSoftError::PRECONDITIONFAILED) => true,
        AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED) => !text.contains("is down"),
        AMQPErrorKind::Hard(AMQPHardError::INVALIDPATH | AMQPHardError::NOTIMPLEMENTED) => true,
        _ => false,
    }
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

    #[test]
    fn what_is_there_but_can_not_be_reached_is_waited_for() {
        use AMQPErrorKind::{Hard, Soft};
        for (kind, text, is_final) in [
            (Soft(AMQPSoftError::NOTFOUND), "NOT_FOUND - no queue 'q' in vhost '/'", true),
            (Soft(AMQPSoftError::NOTFOUND), "NOT_FOUND - no exchange 'e' in vhost '/'", true),
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
            (Soft(AMQPSoftError::PRECONDITIONFAILED), "PRECONDITION_FAILED - inequivalent arg 'x-queue-type'", true),
            (Hard(AMQPHardError::NOTALLOWED), "NOT_ALLOWED - vhost x not found", true),
            (
                Hard(AMQPHardError::NOTALLOWED),
                "NOT_ALLOWED - access to vhost '/' refused for user 'u': vhost '/' is down",
                false,
            ),
            (Hard(AMQPHardError::INTERNALERROR), "INTERNAL_ERROR", false),
        ] {
            let error = lapin::protocol::AMQPError::new(kind, text.into());
            let error = BrokerError::from(lapin::Error::from(ErrorKind::ProtocolError(error)));
            assert_eq!(error.is_temporary(), !is_final, "{text}");
        }
    }
}
