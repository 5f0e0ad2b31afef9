//! What is true of a worker at one moment, and whether it is ready.

use std::sync::Arc;
use std::time::Duration;

use crate::broker::consumer::Held;
use crate::pipeline::deferred::Backlog;
use crate::store::directory::DirectoryState;
use crate::store::pool::PoolState;

/// The directory is compared with the database every two seconds; when it was not for so long the
/// database does not answer.
const DIRECTORY_AGE_MAX: Duration = Duration::from_secs(10);

/// Everything that changes by itself, at one moment.
#[derive(Debug)]
pub struct Snapshot {
    /// What those who wait for a server have reported.
    pub reported: Vec<String>,
    /// The pool of connections to the database.
    pub pool: PoolState,
    /// Who may do what; `None` before it is loaded.
    pub directory: Option<DirectoryState>,
    /// Why the last comparison of the directory with the database failed, if it did.
    pub directory_failure: Option<Arc<str>>,
    /// The session with the broker, if there is one.
    pub broker: Option<BrokerState>,
}

/// The session with the broker.
#[derive(Debug, Clone)]
pub struct BrokerState {
    /// The server.
    pub address: String,
    /// Both its connections are open.
    pub is_open: bool,
    /// It takes no messages, because it is low on memory or disk.
    pub is_blocked: bool,
    /// What came in and is not acknowledged, but for what waits beside the lanes.
    pub held: Held,
    /// What waits beside the lanes.
    pub backlogs: Vec<Backlog>,
}

/// Whether a worker is ready, in words.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// What keeps it from being ready; empty if nothing does.
    pub troubles: Vec<String>,
    /// What else an operator should know.
    pub notes: Vec<String>,
}

impl Snapshot {
    /// Whether the worker is ready.
    pub fn readiness(&self) -> Readiness {
        let mut readiness = Readiness {
            troubles: self.reported.clone(),
            notes: Vec::new(),
        };
        match &self.broker {
            Some(broker) => broker.judge(&mut readiness),
            None if self.reported.is_empty() => {
                let words = "no requests are taken at this moment";
                readiness.troubles.push(words.to_owned());
            }
            None => {}
        }
        if let Some(age) = self.directory.as_ref().map(|directory| directory.age)
            && age > DIRECTORY_AGE_MAX
        {
            let reason = self.directory_failure.as_ref();
            let reason = reason.map_or_else(String::new, |reason| format!(": {reason}"));
            let seconds = age.as_secs();
            let words = format!("PostgreSQL has not answered for {seconds} s{reason}");
            readiness.troubles.push(words);
        }
        readiness
    }
}

impl BrokerState {
    fn judge(&self, readiness: &mut Readiness) {
        let troubles = &mut readiness.troubles;
        if !self.is_open {
            troubles.push("the connection to RabbitMQ is lost".to_owned());
        }
        if self.is_blocked {
            let words = "RabbitMQ is low on memory or disk and takes no messages";
            troubles.push(words.to_owned());
        }
        for backlog in self.backlogs.iter().filter(|one| one.is_worth_telling()) {
            // A queue that a request named is no trouble of the worker's.
            if backlog.destination.is_requesters() {
                readiness.notes.push(backlog.words());
            } else {
                readiness.troubles.push(backlog.words());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;
    use crate::pipeline::destinations::Destination;

    /// Of a worker that has all that it needs.
    fn well() -> Snapshot {
        Snapshot {
            reported: Vec::new(),
            pool: PoolState {
                max: 5,
                idle: 1,
                busy: 0,
                waiting: 0,
                opened: 1,
            },
            directory: Some(DirectoryState {
                age: Duration::from_secs(2),
                tokens: 1,
                databases: 1,
                resources: 1,
                fields: 0,
            }),
            directory_failure: None,
            broker: Some(BrokerState {
                address: "one:5672".to_owned(),
                is_open: true,
                is_blocked: false,
                held: Held::default(),
                backlogs: Vec::new(),
            }),
        }
    }

    fn changed(change: impl FnOnce(&mut Snapshot)) -> Readiness {
        let mut snapshot = well();
        change(&mut snapshot);
        snapshot.readiness()
    }

    fn session(change: impl FnOnce(&mut BrokerState)) -> Readiness {
        changed(|snapshot| change(snapshot.broker.as_mut().unwrap()))
    }

    fn backlog(destination: Destination, seconds: u64) -> Backlog {
        Backlog {
            destination,
            messages: 3,
            since: Instant::now() - Duration::from_secs(seconds),
        }
    }

    #[test]
    fn a_worker_that_has_all_it_needs_is_ready() {
        assert_eq!(well().readiness(), Readiness::default());
    }

    #[test]
    fn each_thing_that_is_missing_is_told() {
        let old = |snapshot: &mut Snapshot| {
            snapshot.directory.as_mut().unwrap().age = DIRECTORY_AGE_MAX + Duration::from_secs(1);
            snapshot.directory_failure = Some("too slow".into());
        };
        for (readiness, words) in [
            (
                changed(|snapshot| snapshot.reported = vec!["stopping".to_owned()]),
                "stopping",
            ),
            (
                changed(|snapshot| snapshot.broker = None),
                "no requests are taken",
            ),
            (session(|broker| broker.is_open = false), "RabbitMQ is lost"),
            (
                session(|broker| broker.is_blocked = true),
                "low on memory or disk",
            ),
            (changed(old), "not answered for 11 s: too slow"),
        ] {
            let [trouble] = &readiness.troubles[..] else {
                panic!("one trouble for {words}: {readiness:?}")
            };
            assert!(
                trouble.contains(words) && readiness.notes.is_empty(),
                "{readiness:?}"
            );
        }
    }

    #[test]
    fn without_a_session_the_reason_for_that_is_enough() {
        let readiness = changed(|snapshot| {
            snapshot.reported = vec!["waiting for RabbitMQ".to_owned()];
            snapshot.broker = None;
        });
        assert_eq!(readiness.troubles, ["waiting for RabbitMQ"]);
    }

    #[test]
    fn a_queue_of_ours_that_takes_nothing_is_a_trouble_and_one_of_a_request_a_note() {
        let readiness = session(|broker| {
            broker.backlogs = vec![
                backlog(Destination::Results("results".to_owned()), 5),
                backlog(Destination::Requester("somebody".to_owned()), 5),
                backlog(Destination::DeadLetters("dead".to_owned()), 0),
            ];
        });
        assert!(readiness.troubles.len() == 1 && readiness.troubles[0].contains("results"));
        assert!(readiness.notes.len() == 1 && readiness.notes[0].contains("somebody"));
    }
}
