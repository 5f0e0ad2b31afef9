//! The names in traces: of spans, their attributes and events. OpenTelemetry's conventions for
//! messaging are still in development, so they are named here and nowhere else.
//!
//! <https://opentelemetry.io/docs/specs/semconv/messaging/rabbitmq/>,
//! <https://opentelemetry.io/docs/specs/semconv/db/postgresql/>

pub(super) const SYSTEM: &str = "messaging.system";
pub(super) const RABBITMQ: &str = "rabbitmq";
pub(super) const OPERATION_NAME: &str = "messaging.operation.name";
pub(super) const OPERATION_TYPE: &str = "messaging.operation.type";
pub(super) const DESTINATION: &str = "messaging.destination.name";
pub(super) const ROUTING_KEY: &str = "messaging.rabbitmq.destination.routing_key";
pub(super) const MESSAGE_ID: &str = "messaging.message.id";
pub(super) const CONVERSATION_ID: &str = "messaging.message.conversation_id";
pub(super) const BODY_SIZE: &str = "messaging.message.body.size";
pub(super) const MESSAGE_COUNT: &str = "messaging.batch.message_count";
pub(super) const SERVER_ADDRESS: &str = "server.address";
pub(super) const SERVER_PORT: &str = "server.port";
pub(super) const ERROR_TYPE: &str = "error.type";

pub(super) const DB_SYSTEM: &str = "db.system.name";
pub(super) const POSTGRESQL: &str = "postgresql";
pub(super) const DB_NAMESPACE: &str = "db.namespace";
pub(super) const DB_COLLECTION: &str = "db.collection.name";
pub(super) const DB_OPERATION: &str = "db.operation.name";
pub(super) const DB_SUMMARY: &str = "db.query.summary";

pub(super) const SERVICE_VERSION: &str = "service.version";
pub(super) const SERVICE_INSTANCE: &str = "service.instance.id";

// Ours: the conventions know nothing of a reply's code.
pub(super) const CODE: &str = "profile_worker.code";
pub(super) const DB_ID: &str = "profile_worker.db_id";
pub(super) const PROFILES: &str = "profile_worker.profiles";
pub(super) const REDELIVERED: &str = "profile_worker.redelivered";

pub(super) const DECIDED: &str = "decided";
pub(super) const STORED: &str = "stored";
pub(super) const PUBLISHED: &str = "published";
