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
    /// The broker ended the subscription: the queue was deleted, moved, or the broker goes down.
    #[error("the broker ended the subscription to the request queue")]
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
                if is_refusal(refusal.kind()) { Self::Refused(text) } else { Self::Lost(text) }
            }
            ErrorKind::IOError(error) => Self::Lost(error.to_string()),
            // The client's words for "the connection is no more" are about its own states.
            _ => Self::Lost("the connection is closed".to_owned()),
        }
    }
}

/// The answers that mean a wrong setup: credentials, permissions, names, arguments.
fn is_refusal(kind: &AMQPErrorKind) -> bool {
    matches!(
        kind,
        AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED | AMQPSoftError::NOTFOUND | AMQPSoftError::PRECONDITIONFAILED)
            | AMQPErrorKind::Hard(
                AMQPHardError::NOTALLOWED | AMQPHardError::INVALIDPATH | AMQPHardError::NOTIMPLEMENTED
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
