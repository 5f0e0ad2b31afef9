//! What the library reads from and writes to: a connection, with TLS where the URL says so, that is
//! not read from while too much is held ([`super::read_gate`]), and whose frames are looked at on
//! their way ([`super::frames`]). TLS is below, so those are never ciphertext.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use async_rs::traits::Reactor;
use async_rs::util::RuntimeParts;
use async_rs::{Runtime, Tokio};
use futures_util::io::{AsyncRead, AsyncWrite};
use futures_util::stream::Stream;
use lapin::AsyncTcpStream;
use lapin::tcp::AMQPUriTcpExt;
use lapin::uri::AMQPUri;

use super::frames::filter::{CHUNK_BYTES, Filter};
use super::frames::inbound::Inbound;
use super::frames::outbound::Outbound;
use super::frames::set_aside::SetAside;
use super::read_gate::ReadGate;

/// What a connection has beside its socket.
#[derive(Debug, Clone, Default)]
pub(super) struct Passage {
    /// How much may come in.
    pub(super) gate: Arc<ReadGate>,
    /// What came in that the library can't take.
    pub(super) set_aside: Arc<SetAside>,
    /// Whether it may carry correlation ids that are no text.
    pub(super) carries_raw_ids: bool,
}

type TokioStream = <Tokio as Reactor>::TcpStream;
type Kit = RuntimeParts<Tokio, Guarding>;

/// Connects to the broker.
pub(super) async fn connect(
    uri: AMQPUri,
    properties: lapin::ConnectionProperties,
    passage: Passage,
) -> lapin::Result<lapin::Connection> {
    let tokio = Tokio::current();
    let runtime = Runtime::new(RuntimeParts::new(
        tokio.clone(),
        Guarding {
            tokio,
            passage: passage.clone(),
        },
    ));
    let below = Runtime::tokio_current();
    let connect = async move |uri: AMQPUri, _: Runtime<Kit>| {
        let stream = uri.connect_async(&below).await?;
        Ok(AsyncTcpStream::Plain(GuardedStream::new(stream, &passage)))
    };
    lapin::Connection::connector(uri, runtime, connect, properties).await
}

/// Tokio, but for its connections.
#[derive(Debug, Clone)]
pub(super) struct Guarding {
    tokio: Tokio,
    passage: Passage,
}

impl Reactor for Guarding {
    type TcpStream = GuardedStream;
    type Sleep = <Tokio as Reactor>::Sleep;

    fn register<H>(
        &self,
        socket: H,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static>
    where
        H: io::Read + io::Write + AsFd + AsRawFd + Send + 'static,
    {
        self.tokio.register(socket)
    }

    fn sleep(&self, duration: Duration) -> Self::Sleep {
        self.tokio.sleep(duration)
    }

    fn interval(&self, duration: Duration) -> impl Stream<Item = Instant> + Send + 'static {
        self.tokio.interval(duration)
    }

    fn tcp_connect_addr(
        &self,
        address: SocketAddr,
    ) -> impl Future<Output = io::Result<Self::TcpStream>> + Send + 'static {
        let (connecting, passage) = (self.tokio.tcp_connect_addr(address), self.passage.clone());
        async move {
            Ok(GuardedStream::new(
                AsyncTcpStream::Plain(connecting.await?),
                &passage,
            ))
        }
    }
}

/// A connection whose frames are looked at on their way.
pub(super) struct GuardedStream {
    stream: AsyncTcpStream<TokioStream>,
    gate: Arc<ReadGate>,
    inbound: Filter<Inbound>,
    outbound: Option<Filter<Outbound>>,
}

impl GuardedStream {
    fn new(stream: AsyncTcpStream<TokioStream>, passage: &Passage) -> Self {
        Self {
            stream,
            gate: passage.gate.clone(),
            inbound: Filter::new(Inbound::new(passage.set_aside.clone())),
            outbound: passage.carries_raw_ids.then(|| Filter::new(Outbound)),
        }
    }

    /// Writes what was accepted and looked at.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(outbound) = &mut self.outbound else {
            return Poll::Ready(Ok(()));
        };
        while !outbound.ready().is_empty() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, outbound.ready()))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            outbound.gave(written);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for GuardedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        while this.inbound.ready().is_empty() {
            ready!(this.gate.poll_room(cx));
            let read = ready!(Pin::new(&mut this.stream).poll_read(cx, this.inbound.space()))?;
            if read == 0 {
                return Poll::Ready(Ok(0));
            }
            this.gate.read(read);
            this.inbound.filled(read)?;
        }
        let ready = this.inbound.ready();
        let count = ready.len().min(buffer.len());
        buffer[..count].copy_from_slice(&ready[..count]);
        this.inbound.gave(count);
        Poll::Ready(Ok(count))
    }
}

impl AsyncWrite for GuardedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_drain(cx))?;
        let Some(outbound) = &mut self.outbound else {
            return Pin::new(&mut self.stream).poll_write(cx, bytes);
        };
        let count = bytes.len().min(CHUNK_BYTES);
        outbound.space()[..count].copy_from_slice(&bytes[..count]);
        outbound.filled(count)?;
        // What the socket does not take now it takes at the next write or flush, and wakes us for
        // it.
        match self.poll_drain(cx)? {
            Poll::Ready(()) | Poll::Pending => Poll::Ready(Ok(count)),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx))?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx))?;
        Pin::new(&mut self.stream).poll_close(cx)
    }
}
