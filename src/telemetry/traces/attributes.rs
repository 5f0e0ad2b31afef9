//! What spans say of the worker, its servers and their requests, as attributes.

use opentelemetry::KeyValue;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::TelemetryResourceDetector;

use super::recorded::Outline;
use crate::telemetry::names;

/// What all spans of a worker say.
#[derive(Debug)]
pub struct Origin {
    /// The queue that requests come from.
    pub request_queue: String,
    /// Host and port of the broker.
    pub broker: Option<(String, i64)>,
    /// Host and port of the database.
    pub database: Option<(String, i64)>,
    /// The name of the database.
    pub database_name: Option<String>,
}

/// Tells the collector who says so.
pub(crate) fn resource(service_name: &str, worker: &str) -> Resource {
    Resource::builder_empty()
        .with_detector(Box::new(TelemetryResourceDetector))
        .with_service_name(service_name.to_owned())
        .with_attribute(KeyValue::new(
            names::SERVICE_VERSION,
            env!("CARGO_PKG_VERSION"),
        ))
        .with_attribute(KeyValue::new(names::SERVICE_INSTANCE, worker.to_owned()))
        .build()
}

/// Takes `host:port` apart. Of several servers it is not known here which one is spoken to.
pub(crate) fn server(address: &str) -> Option<(String, i64)> {
    let (host, port) = address
        .rsplit_once(':')
        .filter(|(host, _)| !host.contains(','))?;
    Some((host.to_owned(), port.parse().ok()?))
}

impl Origin {
    /// Makes the attributes of a span about messages from, or for, `destination`.
    pub(super) fn messaging(
        &self,
        operation: &'static str,
        kind: &'static str,
        destination: String,
    ) -> Vec<KeyValue> {
        let mut attributes = self.operation(operation, kind);
        attributes.push(KeyValue::new(names::DESTINATION, destination));
        attributes
    }

    /// Makes those of a span about messages for many destinations.
    pub(super) fn operation(&self, operation: &'static str, kind: &'static str) -> Vec<KeyValue> {
        let mut attributes = vec![
            KeyValue::new(names::SYSTEM, names::RABBITMQ),
            KeyValue::new(names::OPERATION_NAME, operation),
            KeyValue::new(names::OPERATION_TYPE, kind),
        ];
        attributes.extend(server_attributes(self.broker.as_ref()));
        attributes
    }

    /// Makes those of a span about the insert.
    pub(super) fn storing(&self) -> Vec<KeyValue> {
        let mut attributes = vec![
            KeyValue::new(names::DB_SYSTEM, names::POSTGRESQL),
            KeyValue::new(names::DB_OPERATION, "INSERT"),
            KeyValue::new(names::DB_COLLECTION, "profiles"),
            KeyValue::new(names::DB_SUMMARY, "INSERT profiles"),
        ];
        attributes.extend(
            self.database_name
                .clone()
                .map(|name| KeyValue::new(names::DB_NAMESPACE, name)),
        );
        attributes.extend(server_attributes(self.database.as_ref()));
        attributes
    }

    /// Makes those of the span of an answered request.
    pub(super) fn answered(&self, outline: &Outline<'_>) -> Vec<KeyValue> {
        let Outline {
            message_id,
            correlation_id,
            ..
        } = outline;
        let Outline {
            exchange,
            routing_key,
            body_size,
            redelivered,
            code,
            db_id,
            profiles,
            ..
        } = *outline;
        let destination = destination(exchange, routing_key, &self.request_queue);
        let mut attributes = self.messaging("process", "process", destination);
        attributes.push(KeyValue::new(names::ROUTING_KEY, routing_key.to_owned()));
        attributes.extend(
            message_id
                .as_deref()
                .map(|id| KeyValue::new(names::MESSAGE_ID, id.to_owned())),
        );
        attributes.extend(
            correlation_id
                .as_deref()
                .map(|id| KeyValue::new(names::CONVERSATION_ID, id.to_owned())),
        );
        attributes.push(KeyValue::new(names::BODY_SIZE, number(body_size)));
        attributes.extend(redelivered.then(|| KeyValue::new(names::REDELIVERED, true)));
        attributes.push(KeyValue::new(names::CODE, i64::from(code)));
        attributes.extend(db_id.map(|id| KeyValue::new(names::DB_ID, id)));
        attributes.push(KeyValue::new(names::PROFILES, number(profiles)));
        attributes.extend(
            outline
                .has_failed()
                .then(|| KeyValue::new(names::ERROR_TYPE, code.to_string())),
        );
        attributes
    }
}

/// Joins exchange, routing key and queue, without what is empty or said twice.
fn destination(exchange: &str, routing_key: &str, queue: &str) -> String {
    let routing_key = if routing_key == queue {
        ""
    } else {
        routing_key
    };
    let parts = [exchange, routing_key, queue]
        .into_iter()
        .filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join(":")
}

fn server_attributes(address: Option<&(String, i64)>) -> impl Iterator<Item = KeyValue> {
    address.into_iter().flat_map(|(host, port)| {
        [
            KeyValue::new(names::SERVER_ADDRESS, host.clone()),
            KeyValue::new(names::SERVER_PORT, *port),
        ]
    })
}

/// Makes a count a number as attributes have them.
pub(super) fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_names_nothing_twice() {
        assert_eq!(
            destination("", "profiles.add", "profiles.add"),
            "profiles.add"
        );
        assert_eq!(
            destination("crm", "add", "profiles.add"),
            "crm:add:profiles.add"
        );
        assert_eq!(destination("crm", "", "profiles.add"), "crm:profiles.add");
    }

    #[test]
    fn of_several_servers_none_is_named() {
        assert_eq!(server("db:5432"), Some(("db".to_owned(), 5432)));
        assert_eq!(server("[::1]:5432"), Some(("[::1]".to_owned(), 5432)));
        assert_eq!(server("one:5432,two:5432"), None);
        assert_eq!(server("/run/postgresql"), None);
    }

    fn of_a_reply(code: u16) -> Vec<String> {
        let about = Origin {
            request_queue: "profiles.add".to_owned(),
            broker: Some(("mq".to_owned(), 5672)),
            database: None,
            database_name: None,
        };
        let outline = Outline {
            message_id: Some("m".into()),
            correlation_id: None,
            exchange: "",
            routing_key: "profiles.add",
            body_size: 2,
            redelivered: false,
            code,
            db_id: None,
            profile_id: None,
            profiles: 0,
        };
        let names = about.answered(&outline).into_iter();
        names.map(|attribute| attribute.key.to_string()).collect()
    }

    #[test]
    fn what_is_not_known_of_a_request_is_left_out() {
        let said = of_a_reply(400);
        for name in [names::MESSAGE_ID, names::SERVER_ADDRESS, names::CODE] {
            assert!(said.iter().any(|one| one == name), "{name}");
        }
        for name in [names::CONVERSATION_ID, names::REDELIVERED, names::DB_ID] {
            assert!(!said.iter().any(|one| one == name), "{name}");
        }
    }

    #[test]
    fn only_what_cannot_be_stored_is_an_error() {
        let is_error = |code| of_a_reply(code).iter().any(|one| one == names::ERROR_TYPE);
        assert!(is_error(500));
        assert!(!is_error(409));
    }
}
