//! Who asks, and what they get.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::status::Readiness;
use crate::status::WorkerStatus;
use crate::telemetry::metrics;

/// So many may ask at a time; others wait.
const CONNECTIONS_MAX: usize = 32;

/// How long somebody may take to say what they want.
const QUESTION_MAX: Duration = Duration::from_secs(5);

/// How long a connection may last, with question and answer: whoever does not read keeps nobody out
/// for long.
const CONNECTION_MAX: Duration = Duration::from_secs(10);

const TEXT: &str = "text/plain; charset=utf-8";

/// The HTTP server of a worker, which answers on one address.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
}

impl Server {
    /// Takes the port; nobody is answered yet.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        Ok(Self {
            address: listener.local_addr()?,
            listener,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers, until dropped.
    pub async fn run(self, status: Arc<WorkerStatus>) {
        let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let mut connections = JoinSet::new();
        loop {
            let Ok(permit) = room.clone().acquire_owned().await else {
                return;
            };
            while connections.try_join_next().is_some() {}
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let status = status.clone();
                    connections.spawn(async move {
                        serve(stream, status).await;
                        drop(permit);
                    });
                }
                // No file descriptors left, or somebody who was gone at once.
                Err(error) => {
                    tracing::debug!(%error, "nobody could be let in");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

async fn serve(stream: TcpStream, status: Arc<WorkerStatus>) {
    let service = service_fn(move |request| {
        let answer = answer(&request, &status);
        async move { Ok::<_, Infallible>(answer) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(QUESTION_MAX)
        .keep_alive(false)
        .max_buf_size(16 * 1024);
    let connection = http.serve_connection(TokioIo::new(stream), service);
    match tokio::time::timeout(CONNECTION_MAX, connection).await {
        Ok(Ok(())) | Err(_) => {}
        Ok(Err(error)) => tracing::trace!(%error, "a connection to ADMIN_ADDR broke"),
    }
}

fn answer(request: &Request<Incoming>, status: &WorkerStatus) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refusal = respond(
            StatusCode::METHOD_NOT_ALLOWED,
            TEXT,
            "only GET and HEAD\n".to_owned(),
        );
        refusal
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refusal;
    }
    match request.uri().path() {
        "/live" => respond(StatusCode::OK, TEXT, "alive\n".to_owned()),
        "/ready" => ready(&status.snapshot().readiness()),
        "/metrics" => match status.metrics_text() {
            Ok(text) => respond(StatusCode::OK, metrics::CONTENT_TYPE, text),
            Err(_) => respond(
                StatusCode::INTERNAL_SERVER_ERROR,
                TEXT,
                "the metrics can't be written\n".to_owned(),
            ),
        },
        "/status" => respond(
            StatusCode::OK,
            "application/json",
            super::status::of(status),
        ),
        "/" => respond(
            StatusCode::OK,
            TEXT,
            "profile-worker: /live /ready /metrics /status\n".to_owned(),
        ),
        _ => respond(
            StatusCode::NOT_FOUND,
            TEXT,
            "there is /live, /ready, /metrics and /status\n".to_owned(),
        ),
    }
}

fn ready(Readiness { troubles, notes }: &Readiness) -> Response<Full<Bytes>> {
    let (status, word) = if troubles.is_empty() {
        (StatusCode::OK, "ready")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready")
    };
    let lines: Vec<_> = [word]
        .into_iter()
        .chain(troubles.iter().chain(notes).map(String::as_str))
        .collect();
    respond(status, TEXT, format!("{}\n", lines.join("\n")))
}

fn respond(status: StatusCode, content_type: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
