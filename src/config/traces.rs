//! Where traces go.

use super::parse::{one_of, ratio};
use super::setting;
use super::source::Source;
use crate::telemetry::otlp::{Endpoint, Headers};

/// The settings that begin with `OTEL_`.
#[derive(Debug, Clone)]
pub struct TraceConfig {
    /// `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`, or `OTEL_EXPORTER_OTLP_ENDPOINT` with the path of
    /// traces.
    pub endpoint: Endpoint,
    /// `OTEL_EXPORTER_OTLP_HEADERS`
    pub headers: Headers,
    /// `OTEL_SERVICE_NAME`
    pub service_name: String,
    /// `OTEL_TRACES_SAMPLER_ARG`
    pub ratio: f64,
}

impl Source {
    pub(super) fn read_traces(&mut self) -> Option<Option<TraceConfig>> {
        let everything = self.read(setting::OTEL_EXPORTER_OTLP_ENDPOINT, Endpoint::parse_base);
        let traces = self.read(setting::OTEL_EXPORTER_OTLP_TRACES_ENDPOINT, Endpoint::parse);
        let headers = self.read(setting::OTEL_EXPORTER_OTLP_HEADERS, Headers::parse);
        let service_name = self.read(setting::OTEL_SERVICE_NAME, |text| Ok(text.to_owned()));
        let ratio = self.read(setting::OTEL_TRACES_SAMPLER_ARG, ratio);
        let Some(endpoint) = traces?.or(everything?) else {
            return Some(None);
        };
        // It may be set for others on the machine: it is looked at only if traces are wanted.
        self.read(setting::OTEL_EXPORTER_OTLP_PROTOCOL, |text| {
            one_of(text, &[("http/protobuf", ())])
        })?;
        Some(Some(TraceConfig {
            endpoint,
            headers: headers?,
            service_name: service_name?,
            ratio: ratio?,
        }))
    }
}
