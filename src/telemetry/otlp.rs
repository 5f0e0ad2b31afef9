//! Spans on their way to a collector, over OTLP (http/protobuf).
//!
//! Whoever ends a span never waits: spans go through a bounded queue to a task that sends them,
//! many at a time. What does not fit while the collector is away, hangs or is slow is dropped and
//! counted.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _};
use percent_encoding::percent_decode_str;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::{info, warn};
use url::Url;

use super::http::{Client, Reason};

/// So many spans wait to be sent: some 6 MB.
const QUEUE_MAX: usize = 4096;

/// So many are sent at a time, as other clients do.
const SENT_AT_ONCE_MAX: usize = 512;

/// How long spans gather before they are sent, unless they are many.
const GATHER: Duration = Duration::from_millis(500);

/// How long the collector may take for one request, with all attempts.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// While spans are dropped all the time, this often it is said how many.
const SAY_EVERY: Duration = Duration::from_secs(60);

/// Where traces go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint(Url);

impl Endpoint {
    /// The address of a collector, without a path of its own for traces. `None` is `none`.
    pub fn parse_base(text: &str) -> Result<Option<Self>, String> {
        let Some(Self(mut url)) = Self::parse(text)? else {
            return Ok(None);
        };
        let path = format!("{}/v1/traces", url.path().trim_end_matches('/'));
        url.set_path(&path);
        Ok(Some(Self(url)))
    }

    /// The whole address. `None` is `none`.
    pub fn parse(text: &str) -> Result<Option<Self>, String> {
        if text == "none" {
            return Ok(None);
        }
        match Url::parse(text) {
            Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => {
                Ok(Some(Self(url)))
            }
            _ => Err("must begin with http:// or https:// and a host, or be none".to_owned()),
        }
    }

    /// The server, for people.
    fn address(&self) -> String {
        let port = self.0.port_or_known_default().unwrap_or_default();
        format!("{}:{port}", self.0.host_str().unwrap_or_default())
    }
}

/// What is sent to the collector with each request, such as a key. Never printed.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Headers(HeaderMap);

impl Headers {
    /// `name=value,name=value`, the values percent-encoded; or `none`.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self::default());
        }
        let each = text
            .split(',')
            .filter(|part| !part.trim().is_empty())
            .map(|part| {
                let (name, value) = part.split_once('=')?;
                let value = percent_decode_str(value.trim()).decode_utf8().ok()?;
                let mut value = HeaderValue::from_str(&value).ok()?;
                value.set_sensitive(true);
                Some((name.trim().parse::<HeaderName>().ok()?, value))
            });
        let headers = each.collect::<Option<_>>();
        headers
            .map(Self)
            .ok_or_else(|| "must be name=value,name=value or none".to_owned())
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// What takes spans.
#[derive(Debug)]
pub struct SpanSender {
    queue: Sender<SpanData>,
    dropped: Arc<AtomicU64>,
}

impl SpanSender {
    /// Hands over a span to be sent.
    pub fn end(&self, span: SpanData) {
        if self.queue.try_send(span).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many were dropped so far.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

/// The task that sends recorded spans to the collector, in batches.
#[derive(Debug)]
pub(crate) struct Exporter {
    queue: Receiver<SpanData>,
    gathered: Vec<SpanData>,
    exporter: SpanExporter,
    reason: Reason,
    address: String,
    dropped: Arc<AtomicU64>,
    told: u64,
    told_at: Option<Instant>,
    is_failing: bool,
}

/// Both ends of the queue; the error is for the operator.
pub(crate) fn open(
    endpoint: &Endpoint,
    headers: &Headers,
    resource: &Resource,
) -> Result<(SpanSender, Exporter), String> {
    let reason = Reason::default();
    let client = Client::new(
        endpoint.0.scheme() == "https",
        headers.0.clone(),
        ANSWER_MAX,
        reason.clone(),
    )?;
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(client)
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(endpoint.0.as_str())
        .with_timeout(ANSWER_MAX)
        .build();
    let mut exporter = exporter.map_err(|error| error.to_string())?;
    exporter.set_resource(resource);
    let (sender, receiver) = channel(QUEUE_MAX);
    let dropped = Arc::<AtomicU64>::default();
    let exporter = Exporter {
        queue: receiver,
        gathered: Vec::new(),
        exporter,
        reason,
        address: endpoint.address(),
        dropped: dropped.clone(),
        told: 0,
        told_at: None,
        is_failing: false,
    };
    Ok((
        SpanSender {
            queue: sender,
            dropped,
        },
        exporter,
    ))
}

/// An exporter at work.
#[derive(Debug)]
pub(crate) struct RunningExporter {
    stop: oneshot::Sender<()>,
    task: JoinSet<()>,
}

impl RunningExporter {
    /// Sends what is left, if that can be done in time.
    pub(crate) async fn finish(mut self, limit: Duration) {
        drop(self.stop);
        if tokio::time::timeout(limit, self.task.join_next())
            .await
            .is_err()
        {
            warn!("the last spans could not be delivered in time");
        }
    }
}

impl Exporter {
    /// Begins to send.
    pub(crate) fn start(self) -> RunningExporter {
        tracing::info!("traces go to {}", self.address);
        let (stop, stopped) = oneshot::channel();
        let mut task = JoinSet::new();
        task.spawn(self.run(stopped));
        RunningExporter { stop, task }
    }

    /// Sends spans, until it is stopped and all are sent.
    async fn run(mut self, mut stopped: oneshot::Receiver<()>) {
        let mut is_over = false;
        loop {
            tokio::select! {
                () = self.gather() => {}
                _ = &mut stopped, if !is_over => {
                    self.queue.close();
                    is_over = true;
                    continue;
                }
            }
            if self.gathered.is_empty() {
                return;
            }
            self.send().await;
        }
    }

    /// Waits for spans, and a moment longer for more; for none once the queue is closed.
    async fn gather(&mut self) {
        if self.gathered.is_empty() {
            self.queue
                .recv_many(&mut self.gathered, SENT_AT_ONCE_MAX)
                .await;
        }
        let until = Instant::now() + GATHER;
        while self.gathered.len() < SENT_AT_ONCE_MAX {
            let room = SENT_AT_ONCE_MAX - self.gathered.len();
            match tokio::time::timeout_at(until, self.queue.recv_many(&mut self.gathered, room))
                .await
            {
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            }
        }
    }

    async fn send(&mut self) {
        let spans = std::mem::take(&mut self.gathered);
        let count = spans.len() as u64;
        match self.exporter.export(spans).await {
            Ok(()) => self.delivered(),
            Err(error) => {
                self.dropped.fetch_add(count, Ordering::Relaxed);
                if !self.is_failing {
                    let error = self.reason.take().unwrap_or_else(|| error.to_string());
                    warn!(
                        error,
                        "the collector at {} takes no traces; they are dropped until it does",
                        self.address
                    );
                }
                self.is_failing = true;
            }
        }
    }

    fn delivered(&mut self) {
        let dropped = self.dropped.load(Ordering::Relaxed);
        let spans = dropped - self.told;
        if self.is_failing {
            info!(
                dropped = spans,
                "the collector at {} takes traces again", self.address
            );
        } else if spans > 0
            && self
                .told_at
                .is_none_or(|told_at| told_at.elapsed() > SAY_EVERY)
        {
            warn!(
                dropped = spans,
                "more spans than the collector at {} takes; record fewer", self.address
            );
        } else {
            return;
        }
        (self.told, self.told_at, self.is_failing) = (dropped, Some(Instant::now()), false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_has_the_path_of_traces_unless_it_is_theirs() {
        let base = |text| Endpoint::parse_base(text).unwrap().unwrap().0.to_string();
        assert_eq!(base("http://c:4318"), "http://c:4318/v1/traces");
        assert_eq!(base("https://c/otlp/"), "https://c/otlp/v1/traces");
        assert_eq!(
            Endpoint::parse("http://c/x").unwrap().unwrap().0.as_str(),
            "http://c/x"
        );
        assert_eq!(Endpoint::parse("none"), Ok(None));
        for wrong in ["c:4317", "grpc://c:4317", "/v1/traces", "http://"] {
            assert!(Endpoint::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn headers_are_percent_decoded_and_their_values_never_printed() {
        let headers = Headers::parse("authorization=Basic%20c2VjcmV0Cg==, x-team = a").unwrap();
        assert_eq!(headers.0["authorization"], "Basic c2VjcmV0Cg==");
        assert_eq!(headers.0["x-team"], "a");
        assert!(!format!("{headers:?}").contains("c2VjcmV0"));
        assert!(Headers::parse("nonsense").is_err());
        assert_eq!(Headers::parse("none"), Ok(Headers::default()));
    }
}
