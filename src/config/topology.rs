//! The queues and the exchange.

use std::time::Duration;

use super::parse::{duration, name, one_of};
use super::setting;
use super::source::Source;
use crate::broker::topology::{QueueType, TopologyMode, TopologySettings};

/// RabbitMQ keeps a message's time to live in 32 bits of milliseconds.
const RESULT_TTL_MAX: Duration = Duration::from_millis(u32::MAX as u64);

impl Source {
    pub(super) fn read_topology(&mut self) -> Option<TopologySettings> {
        let request_queue = self.read(setting::REQUEST_QUEUE, name);
        let result_queue = self.read(setting::RESULT_QUEUE, name);
        let dead_letter_queue = self.read(setting::DEAD_LETTER_QUEUE, name);
        let event_exchange = self.read(setting::EVENT_EXCHANGE, name);
        let queue_type = self.read(setting::QUEUE_TYPE, |text| {
            one_of(
                text,
                &[
                    ("quorum", QueueType::Quorum),
                    ("classic", QueueType::Classic),
                ],
            )
        });
        let mode = self.read(setting::TOPOLOGY, |text| {
            one_of(
                text,
                &[
                    ("declare", TopologyMode::Declare),
                    ("check", TopologyMode::Check),
                    ("none", TopologyMode::None),
                ],
            )
        });
        let result_ttl = self.read(setting::RESULT_TTL, |text| {
            duration(text, Duration::from_secs(1), RESULT_TTL_MAX)
        });
        let topology = TopologySettings {
            request_queue: request_queue?,
            result_queue: result_queue?,
            dead_letter_queue: dead_letter_queue?,
            event_exchange: event_exchange?,
            queue_type: queue_type?,
            mode: mode?,
            result_ttl: result_ttl?,
        };
        self.check_names(&topology);
        Some(topology)
    }

    fn check_names(&mut self, topology: &TopologySettings) {
        let queues = [
            &topology.request_queue,
            &topology.result_queue,
            &topology.dead_letter_queue,
        ];
        if queues[0] == queues[1] || queues[0] == queues[2] || queues[1] == queues[2] {
            self.problems.push(
                "REQUEST_QUEUE, RESULT_QUEUE, DEAD_LETTER_QUEUE: must be three different names"
                    .to_owned(),
            );
        }
    }
}
