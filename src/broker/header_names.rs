//! The headers of requests and of our messages, by the contract (`docs/contract.md`).

/// An id of AMQP 1.0 or MQTT 5 that is no text of up to 255 bytes; RabbitMQ 4 puts it here.
pub(super) const MESSAGE_ID: &str = "x-message-id";
/// Such an id again, by which a requester knows its reply.
pub(super) const CORRELATION_ID: &str = "x-correlation-id";
/// The response topic of MQTT 5, as a routing key.
pub(super) const REPLY_TO_TOPIC: &str = "x-reply-to-topic";
/// The code of the answer.
pub(super) const ERROR: &str = "x-error";
/// What is wrong.
pub(super) const ERROR_TEXT: &str = "x-error-text";
/// When it was found.
pub(super) const ERROR_TIME: &str = "x-error-time";
/// The process that gave the message up.
pub(super) const WORKER: &str = "x-worker";
/// Where the request was published to.
pub(super) const ORIGINAL_EXCHANGE: &str = "x-original-exchange";
/// With which routing key.
pub(super) const ORIGINAL_ROUTING_KEY: &str = "x-original-routing-key";
/// The property `user_id`, which only its owner may send.
pub(super) const ORIGINAL_USER_ID: &str = "x-original-user-id";
/// The property `expiration`, which would end a dead letter.
pub(super) const ORIGINAL_EXPIRATION: &str = "x-original-expiration";
/// Properties that could not be carried as they were.
pub(super) const ORIGINAL_PROPERTIES: &str = "x-original-properties";
/// Bytes of a body of which only the begin is kept.
pub(super) const ORIGINAL_BODY_SIZE: &str = "x-original-body-size";
/// Where a reply in the result queue was to go.
pub(super) const ORIGINAL_REPLY_TO: &str = "x-original-reply-to";
/// Headers that were cut.
pub(super) const CUT_HEADERS: &str = "x-cut-headers";
/// A dead letter's own id.
pub(super) const DEAD_LETTER_ID: &str = "x-dead-letter-id";
