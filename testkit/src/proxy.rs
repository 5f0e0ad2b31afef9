//! A network that can fail: a TCP proxy between a worker and one server, whose behaviour can be
//! changed while connections are open.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What the network does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// Its duty.
    Pass,
    /// All connections are reset, and new ones, too.
    Cut,
    /// Chunks of at most a tenth of a second's bytes, each late.
    Slow {
        bytes_per_second: usize,
        latency: Duration,
    },
    /// A black hole: whatever is sent is taken and gone, new connections as well. Nobody is told.
    Swallow,
    /// The server hears everything and its answers are gone: a commit nobody hears of.
    SwallowAnswers,
}

/// A proxy on a loopback port of its own. Its connections end when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    network: watch::Sender<Network>,
    _accepting: JoinSet<()>,
}

impl Proxy {
    /// A proxy before the server at `server`, such as `127.0.0.1:5672`.
    pub async fn before(server: &str) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (network, now) = watch::channel(Network::Pass);
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, server.to_owned(), now));
        Ok(Self {
            address,
            network,
            _accepting: accepting,
        })
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// From now on the network does this, also for connections that are open. Those of which it has
    /// swallowed something are reset when it passes again.
    pub fn set(&self, network: Network) {
        self.network.send_replace(network);
    }
}

async fn accept(listener: TcpListener, server: String, network: watch::Receiver<Network>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => if let Ok((client, _)) = accepted {
                connections.spawn(serve(client, server.clone(), network.clone()));
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// One connection, until either side or the network ends it.
async fn serve(mut client: TcpStream, server: String, mut network: watch::Receiver<Network>) {
    let now = *network.borrow_and_update();
    if now == Network::Swallow {
        // Nobody is behind it, so it can't be mended later.
        let (mut from, _to) = client.split();
        tokio::select! {
            () = swallow(&mut from) => {}
            _ = network.wait_for(|now| *now != Network::Swallow) => {}
        }
        return reset(&[&client]);
    }
    if now == Network::Cut {
        return reset(&[&client]);
    }
    let Ok(mut server) = TcpStream::connect(server).await else {
        return reset(&[&client]);
    };
    client.set_nodelay(true).ok();
    server.set_nodelay(true).ok();
    let ends_in_order = {
        let ((from_client, to_client), (from_server, to_server)) = (client.split(), server.split());
        tokio::select! {
            ended = pump(from_client, to_server, network.clone(), false) => ended,
            ended = pump(from_server, to_client, network.clone(), true) => ended,
            _ = network.wait_for(|now| *now == Network::Cut) => false,
        }
    };
    if !ends_in_order {
        reset(&[&client, &server]);
    }
}

/// Carries bytes one way. True if the sender has ended the connection and nothing was lost.
async fn pump(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut network: watch::Receiver<Network>,
    are_answers: bool,
) -> bool {
    let mut buffer = vec![0; 64 * 1024];
    let mut lost = false;
    loop {
        let now = *network.borrow_and_update();
        let swallows = now == Network::Swallow || (now == Network::SwallowAnswers && are_answers);
        if lost && !swallows {
            return false;
        }
        let most = match now {
            Network::Slow {
                bytes_per_second, ..
            } => (bytes_per_second / 10).clamp(1, buffer.len()),
            _ => buffer.len(),
        };
        let read = tokio::select! {
            // A change may have been what we wait for.
            _ = network.changed() => continue,
            read = from.read(&mut buffer[..most]) => read.unwrap_or(0),
        };
        if swallows {
            lost = true;
            if read == 0 {
                // The other side is not told of the end either.
                network.changed().await.ok();
            }
            continue;
        }
        if read == 0 {
            return true;
        }
        if let Network::Slow {
            bytes_per_second,
            latency,
        } = now
        {
            let seconds = read as f64 / bytes_per_second.max(1) as f64;
            let late = latency + Duration::from_secs_f64(seconds);
            // The latency itself, which ends with the slow network.
            tokio::time::timeout(late, network.changed()).await.ok();
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            return false;
        }
    }
}

async fn swallow(from: &mut ReadHalf<'_>) {
    let mut buffer = vec![0; 64 * 1024];
    while from.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
}

/// The peer gets "connection reset" when these are dropped, as from a machine that knows nothing of
/// it any more.
fn reset(connections: &[&TcpStream]) {
    for connection in connections {
        connection.set_zero_linger().ok();
    }
}

/// A proxy before the server of this URL, and the URL that leads through it.
pub async fn proxied(url: &str) -> (Proxy, String) {
    let mut url = url::Url::parse(url).expect("a URL");
    let server = format!(
        "{}:{}",
        url.host_str().expect("a host"),
        url.port().expect("a port")
    );
    let proxy = Proxy::before(&server).await.expect("a free port");
    url.set_host(Some("127.0.0.1")).expect("a host");
    url.set_port(Some(proxy.port())).expect("a port");
    (proxy, url.into())
}
