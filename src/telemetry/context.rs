//! The trace context of a message: W3C's headers `traceparent` and `tracestate`.

use opentelemetry::Context;
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{SpanContext, TraceContextExt};
use opentelemetry_sdk::propagation::TraceContextPropagator;

/// The span that a message was published in, by its headers; one that is not valid is none.
pub(super) fn parent(traceparent: Option<&str>, tracestate: Option<&str>) -> Option<SpanContext> {
    traceparent.filter(|text| is_well_formed(text))?;
    let headers = Headers {
        traceparent,
        tracestate,
    };
    let context = TraceContextPropagator::new().extract_with_context(&Context::new(), &headers);
    let parent = context.span().span_context().clone();
    parent.is_valid().then_some(parent)
}

struct Headers<'a> {
    traceparent: Option<&'a str>,
    tracestate: Option<&'a str>,
}

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        match key {
            "traceparent" => self.traceparent,
            "tracestate" => self.tracestate,
            _ => None,
        }
    }

    fn keys(&self) -> Vec<&str> {
        vec!["traceparent", "tracestate"]
    }
}

/// Version, trace, span, flags, each of its length: the library takes shorter ones, too. A version
/// to come may have more behind.
fn is_well_formed(traceparent: &str) -> bool {
    const LENGTH: usize = 55;
    let fits = |(index, byte)| match index {
        2 | 35 | 52 => byte == b'-',
        _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
    };
    let is_long_enough = if traceparent.starts_with("00") {
        usize::eq
    } else {
        usize::ge
    };
    is_long_enough(&traceparent.len(), &LENGTH)
        && traceparent.bytes().take(LENGTH).enumerate().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

    fn came(traceparent: &str) -> Option<SpanContext> {
        parent(Some(traceparent), Some("a=1"))
    }

    #[test]
    fn a_traceparent_that_is_not_valid_is_none() {
        let valid = |flags| format!("00-{TRACE}-b7ad6b7169203331-{flags}");
        assert!(came(&valid("01")).unwrap().is_sampled());
        assert!(!came(&valid("00")).unwrap().is_sampled());
        assert!(
            came(&format!("cc-{TRACE}-b7ad6b7169203331-01-more")).is_some(),
            "a version to come"
        );
        for wrong in [
            "",
            "nonsense",
            "00-1-1-01",
            &valid("01-"),
            &valid("011"),
            &format!("00-{TRACE}-b7ad6b71692033-01-01"),
            &valid("01").replace("-b7", "-+7"),
            &valid("01").to_uppercase(),
            &format!("ff-{TRACE}-b7ad6b7169203331-01"),
            &format!("00-{TRACE}-b7ad6b7169203331"),
            &format!("00-{TRACE}-0000000000000000-01"),
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        ] {
            assert_eq!(came(wrong), None, "{wrong}");
        }
    }
}
