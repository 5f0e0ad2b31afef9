//! Asking a worker's HTTP port: for `profile-worker health`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// How long the worker may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(5);

const BODY_MAX_BYTES: usize = 64 * 1024;

/// The worker could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody listens there, or is not a worker.
    #[error("no worker answers at {0}: {1}")]
    NoAnswer(SocketAddr, String),
    /// Somebody listens, but does not answer.
    #[error("the worker at {0} did not answer within {ANSWER_MAX:?}")]
    TimedOut(SocketAddr),
}

/// Asks for a path; whether the answer is a good one (200), and its text.
pub async fn ask(address: SocketAddr, path: &str) -> Result<(bool, String), AskError> {
    let address = reachable(address);
    match tokio::time::timeout(ANSWER_MAX, get(address, path)).await {
        Ok(Ok((status, text))) => Ok((status == StatusCode::OK, text)),
        Ok(Err(error)) => Err(AskError::NoAnswer(address, error.to_string())),
        Err(_) => Err(AskError::TimedOut(address)),
    }
}

async fn get(
    address: SocketAddr,
    path: &str,
) -> Result<(StatusCode, String), Box<dyn std::error::Error + Send + Sync>> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let request = Request::get(path)
        .header(HOST, address.to_string())
        .body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = Limited::new(response.into_body(), BODY_MAX_BYTES)
        .collect()
        .await?
        .to_bytes();
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

/// A worker that listens on all addresses listens on loopback, too.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}
