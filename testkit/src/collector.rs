//! A collector of traces: an HTTP server that takes spans as OpenTelemetry's own collector does.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// A running one.
pub struct Collector {
    pub address: SocketAddr,
    received: Arc<Mutex<Received>>,
    _serving: JoinSet<()>,
}

/// What came in.
#[derive(Default)]
struct Received {
    spans: Vec<Span>,
    resource: Vec<KeyValue>,
    keys: Vec<String>,
}

impl Collector {
    pub async fn start() -> Self {
        Self::start_at("127.0.0.1:0".parse().expect("an address")).await
    }

    /// At a port that was free a moment ago.
    pub async fn start_at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let received = Arc::<Mutex<Received>>::default();
        let mut serving = JoinSet::new();
        serving.spawn(serve(listener, received.clone()));
        Self {
            address,
            received,
            _serving: serving,
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// All spans so far.
    pub fn spans(&self) -> Vec<Span> {
        self.received.lock().expect("unpoisoned").spans.clone()
    }

    /// Waits for a span.
    pub async fn span(&self, wanted: impl Fn(&Span) -> bool) -> Span {
        crate::worker::until(async || self.spans().iter().any(&wanted)).await;
        self.spans().into_iter().find(wanted).expect("there it is")
    }

    /// What the worker says of itself.
    pub fn resource(&self, name: &str) -> Option<String> {
        text(&self.received.lock().expect("unpoisoned").resource, name)
    }

    /// What came as the header `x-key`.
    pub fn keys(&self) -> Vec<String> {
        self.received.lock().expect("unpoisoned").keys.clone()
    }
}

async fn serve(listener: TcpListener, received: Arc<Mutex<Received>>) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.expect("a connection");
        let received = received.clone();
        let service = service_fn(move |request| take(request, received.clone()));
        connections.spawn(async move {
            // A worker that is gone may leave it halfway.
            hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await
                .ok();
        });
    }
}

async fn take(
    request: Request<Incoming>,
    received: Arc<Mutex<Received>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    assert_eq!(
        (request.method().as_str(), request.uri().path()),
        ("POST", "/v1/traces")
    );
    assert_eq!(request.headers()["content-type"], "application/x-protobuf");
    let key = request
        .headers()
        .get("x-key")
        .map(|key| key.to_str().expect("a text").to_owned());
    let body = request
        .into_body()
        .collect()
        .await
        .expect("a body")
        .to_bytes();
    let export = ExportTraceServiceRequest::decode(body).expect("spans");
    let mut received = received.lock().expect("unpoisoned");
    received.keys.extend(key);
    for resource in export.resource_spans {
        received.resource = resource.resource.expect("a resource").attributes;
        received.spans.extend(
            resource
                .scope_spans
                .into_iter()
                .flat_map(|scope| scope.spans),
        );
    }
    let answer = ExportTraceServiceResponse::default().encode_to_vec();
    Ok(Response::new(Full::new(answer.into())))
}

/// An attribute as text.
pub fn text(attributes: &[KeyValue], name: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == name)?;
    match found.value.as_ref()? {
        AnyValue {
            value: Some(Value::StringValue(text)),
        } => Some(text.clone()),
        AnyValue {
            value: Some(Value::IntValue(number)),
        } => Some(number.to_string()),
        AnyValue {
            value: Some(Value::BoolValue(flag)),
        } => Some(flag.to_string()),
        other => panic!("{name}: {other:?}"),
    }
}

pub fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}
