//! What stands in `/status` of lanes and requests: numbers by name.

use serde::Serialize;

use crate::domain::outcome::Code;
use crate::telemetry::labels::{Label, Redelivered, Stage};
use crate::telemetry::metrics::Metrics;

/// Numbers by name, in their order.
pub(super) struct Counts<N>(Vec<(&'static str, N)>);

impl<N: Serialize> Serialize for Counts<N> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, number)| (name, number)))
    }
}

/// The requests since the start.
#[derive(Serialize)]
pub(super) struct Requests {
    delivered: u64,
    redelivered: u64,
    answered: Counts<u64>,
    dead_lettered: u64,
}

/// Counts the lanes in each stage.
pub(super) fn lanes(metrics: &Metrics) -> Counts<i64> {
    let of = |stage: &Stage| (stage.value(), metrics.lanes.of(*stage).get());
    Counts(Stage::ALL.iter().map(of).collect())
}

impl Requests {
    /// Reads what was counted so far.
    pub(super) fn of(metrics: &Metrics) -> Self {
        let [first, again] =
            [Redelivered::No, Redelivered::Yes].map(|label| metrics.deliveries.of(label).get());
        let answered = Code::ALL
            .iter()
            .map(|code| (code.value(), metrics.decisions.of(*code).get()));
        Self {
            delivered: first + again,
            redelivered: again,
            answered: Counts(answered.collect()),
            dead_lettered: metrics.dead_letters.sum(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redelivered_request_is_a_delivered_one_too() {
        let metrics = Metrics::default();
        metrics.deliveries.of(Redelivered::No).inc_by(3);
        metrics.deliveries.of(Redelivered::Yes).inc_by(2);
        let Requests {
            delivered,
            redelivered,
            ..
        } = Requests::of(&metrics);
        assert_eq!((delivered, redelivered), (5, 2));
    }

    #[test]
    fn every_code_has_a_number_in_the_order_of_the_codes() {
        let metrics = Metrics::default();
        metrics.decisions.of(Code::EmailTaken).inc();
        let Requests { answered, .. } = Requests::of(&metrics);
        assert_eq!(
            serde_json::to_string(&answered).unwrap(),
            r#"{"0":0,"400":0,"401":0,"403":0,"404":0,"409":1,"413":0,"500":0}"#
        );
    }

    #[test]
    fn every_stage_has_its_lanes() {
        let metrics = Metrics::default();
        metrics.lanes.of(Stage::Store).set(2);
        let lanes = serde_json::to_value(lanes(&metrics)).unwrap();
        assert_eq!(lanes["store"], 2);
        assert_eq!(lanes.as_object().unwrap().len(), Stage::ALL.len());
    }
}
