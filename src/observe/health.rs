//! What keeps a worker from being ready, in words.

use std::sync::{Mutex, MutexGuard};

use crate::sync::lock;

/// What a worker needs to do its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The worker itself: it is not asked to stop.
    Worker,
    /// A database that can store profiles.
    Database,
    /// A broker that delivers requests.
    Broker,
    /// Queues with room for what is to be said.
    Queues,
}

const PARTS: usize = 4;

/// What is wrong with each part, if anything is.
#[derive(Debug)]
pub struct Health(Mutex<[Option<String>; PARTS]>);

impl Default for Health {
    /// The health of a worker that has just started.
    fn default() -> Self {
        let health = Self(Mutex::default());
        health.trouble(Part::Database, "not connected to PostgreSQL yet");
        health.trouble(Part::Broker, "not connected to RabbitMQ yet");
        health
    }
}

impl Health {
    /// Something is wrong with this part; the words say what, for the operator.
    pub fn trouble(&self, part: Part, words: impl Into<String>) {
        self.parts()[part as usize] = Some(words.into());
    }

    /// Nothing is wrong with this part any more.
    pub fn well(&self, part: Part) {
        self.parts()[part as usize] = None;
    }

    /// All that is wrong, in the order of the parts.
    pub fn troubles(&self) -> Vec<String> {
        self.parts().iter().flatten().cloned().collect()
    }

    fn parts(&self) -> MutexGuard<'_, [Option<String>; PARTS]> {
        lock(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_worker_is_not_ready_until_both_servers_are_there() {
        let health = Health::default();
        assert_eq!(health.troubles().len(), 2);
        health.well(Part::Database);
        health.well(Part::Broker);
        assert!(health.troubles().is_empty());
        health.trouble(Part::Worker, "stopping");
        assert_eq!(health.troubles(), ["stopping"]);
    }
}
