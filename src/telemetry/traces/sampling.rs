//! Which requests are recorded that no producer has decided on.

use opentelemetry::trace::TraceId;

/// The share of traces that are recorded, from 0 to 1.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ratio(pub(super) f64);

impl Ratio {
    /// Decides on a trace, as the SDK's own sampler does, so that others who see the same id agree.
    pub(super) fn records(self, id: TraceId) -> bool {
        let bytes = id.to_bytes();
        let (_, low) = bytes.split_at(8);
        let low = low.iter().fold(0, |low, byte| low << 8 | u64::from(*byte)) >> 1;
        (low as f64) < self.0 * (1_u64 << 63) as f64
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::SpanKind;
    use opentelemetry_sdk::trace::{
        IdGenerator, RandomIdGenerator, Sampler, SamplingDecision, ShouldSample,
    };

    use super::*;

    #[test]
    fn everything_or_nothing_is_recorded_at_the_ends() {
        for low in [0, 1, u64::MAX / 2, u64::MAX - u64::from(u16::MAX)] {
            let id = TraceId::from(u128::from(low));
            assert!(Ratio(1.0).records(id), "{id}");
            assert!(!Ratio(0.0).records(id), "{id}");
        }
    }

    #[test]
    fn the_sampler_of_the_sdk_agrees() {
        let ids = RandomIdGenerator::default();
        for ratio in [0.0, 0.01, 0.5, 0.99] {
            let sampler = Sampler::TraceIdRatioBased(ratio);
            for _ in 0..1000 {
                let id = ids.new_trace_id();
                let theirs = sampler
                    .should_sample(None, id, "", &SpanKind::Consumer, &[], &[])
                    .decision;
                assert_eq!(
                    Ratio(ratio).records(id),
                    theirs == SamplingDecision::RecordAndSample,
                    "{id} {ratio}"
                );
            }
        }
    }
}
