//! What stands in `/status` of the servers and the directory.

use serde::Serialize;

use crate::status::BrokerState;
use crate::store::directory::DirectoryState;
use crate::store::pool::PoolState;
use crate::store::schema::needed_version;

/// The session with the broker.
#[derive(Serialize)]
pub(super) struct Broker {
    address: String,
    publishing_blocked: bool,
    unsettled_requests: usize,
    unsettled_bytes: usize,
    prefetch: u16,
    /// Replies, events and dead letters that wait for a queue of their own.
    deferred_messages: usize,
}

/// The pool of connections to the database.
#[derive(Serialize)]
pub(super) struct Database {
    address: String,
    /// The number of the newest migration that this program knows; it does not start on an older
    /// schema.
    schema: i32,
    connections_idle: usize,
    connections_busy: usize,
    connections_max: usize,
}

/// The directory that requests are judged by.
#[derive(Serialize)]
pub(super) struct Directory {
    age_seconds: f64,
    tokens: usize,
    databases: usize,
    resources: usize,
    fields: usize,
}

impl From<BrokerState> for Broker {
    fn from(
        BrokerState {
            address,
            is_blocked,
            held,
            backlogs,
            ..
        }: BrokerState,
    ) -> Self {
        Self {
            address,
            publishing_blocked: is_blocked,
            unsettled_requests: held.requests,
            unsettled_bytes: held.bytes,
            prefetch: held.asked_for,
            deferred_messages: backlogs.iter().map(|backlog| backlog.messages).sum(),
        }
    }
}

impl Database {
    /// Describes a pool whose server is at `address`.
    pub(super) fn of(
        PoolState {
            max, idle, busy, ..
        }: PoolState,
        address: String,
    ) -> Self {
        Self {
            address,
            schema: needed_version(),
            connections_idle: idle,
            connections_busy: busy,
            connections_max: max,
        }
    }
}

impl From<DirectoryState> for Directory {
    fn from(
        DirectoryState {
            age,
            tokens,
            databases,
            resources,
            fields,
        }: DirectoryState,
    ) -> Self {
        Self {
            age_seconds: age.as_secs_f64(),
            tokens,
            databases,
            resources,
            fields,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::*;
    use crate::broker::consumer::Held;
    use crate::pipeline::deferred::Backlog;
    use crate::pipeline::destinations::Destination;

    fn backlog(destination: Destination, messages: usize) -> Backlog {
        Backlog {
            destination,
            messages,
            since: Instant::now(),
        }
    }

    #[test]
    fn what_waits_for_any_queue_is_one_number() {
        let broker = Broker::from(BrokerState {
            address: "mq:5672".to_owned(),
            is_open: true,
            is_blocked: true,
            held: Held {
                requests: 2,
                bytes: 300,
                asked_for: 40,
            },
            backlogs: vec![
                backlog(Destination::Results("results".to_owned()), 5),
                backlog(Destination::Requester("somebody".to_owned()), 6),
            ],
        });
        assert_eq!(
            serde_json::to_string(&broker).unwrap(),
            r#"{"address":"mq:5672","publishing_blocked":true,"unsettled_requests":2,"#.to_owned()
                + r#""unsettled_bytes":300,"prefetch":40,"deferred_messages":11}"#
        );
    }

    #[test]
    fn the_schema_is_that_of_this_program() {
        let pool = PoolState {
            max: 5,
            idle: 1,
            busy: 2,
            waiting: 7,
            opened: 9,
        };
        let database = serde_json::to_value(Database::of(pool, "db:5432".to_owned())).unwrap();
        assert_eq!(database["schema"], needed_version());
        assert_eq!(database["connections_idle"], 1);
        assert_eq!(database["connections_busy"], 2);
        assert_eq!(database["connections_max"], 5);
    }

    #[test]
    fn the_age_of_the_directory_has_fractions() {
        let directory = Directory::from(DirectoryState {
            age: Duration::from_millis(1500),
            tokens: 1,
            databases: 2,
            resources: 3,
            fields: 4,
        });
        assert_eq!(
            serde_json::to_string(&directory).unwrap(),
            r#"{"age_seconds":1.5,"tokens":1,"databases":2,"resources":3,"fields":4}"#
        );
    }
}
