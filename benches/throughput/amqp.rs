//! The load generator's own AMQP client: blocking, one thread, one write per burst.
//!
//! Not lapin: a client on top of it spends as much CPU per message as the workers do, on the cores
//! that they need (docs/performance.md has the figures).

use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use lapin::uri::{AMQPScheme, AMQPUri};

use crate::Result;

/// A worker that says nothing for so long says nothing any more.
const SILENCE_MAX: Duration = Duration::from_secs(30);

const FRAME_MAX: u32 = 131_072;
const FRAME_END: u8 = 0xCE;
const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;

/// A method: its class and its number there.
type Method = (u16, u16);

/// An argument of a queue.
pub(crate) enum Argument<'a> {
    Text(&'a str),
    Integer(i64),
}

/// A message that came in.
#[derive(Debug, Default)]
pub(crate) struct Message {
    pub(crate) exchange: String,
    pub(crate) correlation_id: Option<String>,
    pub(crate) message_id: Option<String>,
    pub(crate) body: Vec<u8>,
}

/// A connection with one channel.
pub(crate) struct Client {
    input: BufReader<TcpStream>,
    socket: TcpStream,
    /// What is to be sent with the next [`Self::flush`].
    output: Vec<u8>,
    pub(crate) broker_version: String,
}

impl Client {
    pub(crate) fn connect(url: &str) -> Result<Self> {
        let uri: AMQPUri = url.parse()?;
        if uri.scheme != AMQPScheme::AMQP {
            return Err("the load generator speaks amqp:// only".into());
        }
        let socket = TcpStream::connect((uri.authority.host.as_str(), uri.authority.port))?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(SILENCE_MAX))?;
        let input = BufReader::with_capacity(256 * 1024, socket.try_clone()?);
        let mut client = Self {
            input,
            socket,
            output: b"AMQP\0\0\x09\x01".to_vec(),
            broker_version: String::new(),
        };
        let start = client.expect((10, 10))?;
        client.broker_version = text_in_table(&start, "version").unwrap_or_default();
        let user = &uri.authority.userinfo;
        let login = format!("\0{}\0{}", user.username, user.password);
        client.send(
            0,
            (10, 11),
            Writer::new()
                .table(&[])
                .short("PLAIN")
                .long(&login)
                .short("en_US"),
        );
        let tune = client.expect((10, 30))?;
        let frame_max = u32::from_be_bytes(tune[2..6].try_into()?).min(FRAME_MAX);
        // Without a heartbeat: measurements are short.
        client.send(0, (10, 31), Writer::new().u16(1).u32(frame_max).u16(0));
        client.send(0, (10, 40), Writer::new().short(&uri.vhost).short("").u8(0));
        client.expect((10, 41))?;
        client.send(1, (20, 10), Writer::new().short(""));
        client.expect((20, 11))?;
        Ok(client)
    }

    /// Declares a durable queue.
    pub(crate) fn declare_queue(
        &mut self,
        name: &str,
        arguments: &[(&str, Argument<'_>)],
    ) -> Result<()> {
        self.send(
            1,
            (50, 10),
            Writer::new().u16(0).short(name).u8(2).table(arguments),
        );
        self.expect((50, 11)).map(drop)
    }

    /// Declares a queue for this connection alone, and takes what comes into it.
    pub(crate) fn consume_own_queue(&mut self) -> Result<String> {
        self.send(1, (50, 10), Writer::new().u16(0).short("").u8(4).table(&[]));
        let declared = self.expect((50, 11))?;
        let name = Reader(&declared).short()?.to_owned();
        let no_ack = 2;
        self.send(
            1,
            (60, 20),
            Writer::new()
                .u16(0)
                .short(&name)
                .short("")
                .u8(no_ack)
                .table(&[]),
        );
        self.expect((60, 21))?;
        Ok(name)
    }

    /// How many messages wait in a queue.
    pub(crate) fn count(&mut self, queue: &str) -> Result<u32> {
        self.send(
            1,
            (50, 10),
            Writer::new().u16(0).short(queue).u8(1).table(&[]),
        );
        let declared = self.expect((50, 11))?;
        let mut reader = Reader(&declared);
        reader.short()?;
        reader.u32()
    }

    pub(crate) fn delete_queue(&mut self, name: &str) -> Result<()> {
        self.send(1, (50, 40), Writer::new().u16(0).short(name).u8(0));
        self.expect((50, 41)).map(drop)
    }

    pub(crate) fn declare_topic_exchange(&mut self, name: &str) -> Result<()> {
        self.send(
            1,
            (40, 10),
            Writer::new()
                .u16(0)
                .short(name)
                .short("topic")
                .u8(2)
                .table(&[]),
        );
        self.expect((40, 11)).map(drop)
    }

    pub(crate) fn bind_to_all(&mut self, queue: &str, exchange: &str) -> Result<()> {
        self.send(
            1,
            (50, 20),
            Writer::new()
                .u16(0)
                .short(queue)
                .short(exchange)
                .short("#")
                .u8(0)
                .table(&[]),
        );
        self.expect((50, 21)).map(drop)
    }

    pub(crate) fn delete_exchange(&mut self, name: &str) -> Result<()> {
        self.send(1, (40, 20), Writer::new().u16(0).short(name).u8(0));
        self.expect((40, 21)).map(drop)
    }

    /// A persistent request, sent with the next [`Self::flush`].
    pub(crate) fn publish(&mut self, queue: &str, reply_to: &str, id: &str, body: &[u8]) {
        self.send(
            1,
            (60, 40),
            Writer::new().u16(0).short("").short(queue).u8(0),
        );
        // content_type, delivery_mode, correlation_id, reply_to, message_id; in this order
        let flags = 1 << 15 | 1 << 12 | 1 << 10 | 1 << 9 | 1 << 7;
        let properties = Writer::new()
            .u16(60)
            .u16(0)
            .u64(body.len() as u64)
            .u16(flags);
        let properties = properties
            .short("application/json")
            .u8(2)
            .short(id)
            .short(reply_to)
            .short(id);
        self.frame(HEADER, 1, &properties.0);
        self.frame(BODY, 1, body);
    }

    /// Sends what was published.
    pub(crate) fn flush(&mut self) -> Result<()> {
        self.socket.write_all(&self.output)?;
        self.output.clear();
        Ok(())
    }

    /// Bytes that wait for [`Self::flush`].
    pub(crate) fn unsent(&self) -> usize {
        self.output.len()
    }

    /// The next message. Before it waits for one it sends what was published.
    pub(crate) fn next_message(&mut self) -> Result<Message> {
        let deliver = self.expect((60, 60))?;
        let mut reader = Reader(&deliver);
        reader.short()?;
        reader.take(9)?;
        let exchange = reader.short()?.to_owned();
        let (_, header) = self.next_frame()?;
        let mut message = Message {
            exchange,
            ..read_properties(&header)?
        };
        let size = usize::try_from(u64::from_be_bytes(header[4..12].try_into()?))?;
        while message.body.len() < size {
            message.body.extend(self.next_frame()?.1);
        }
        Ok(message)
    }

    fn send(&mut self, channel: u16, (class, number): Method, arguments: Writer) {
        let mut payload = [class.to_be_bytes(), number.to_be_bytes()].concat();
        payload.extend(arguments.0);
        self.frame(METHOD, channel, &payload);
    }

    fn frame(&mut self, kind: u8, channel: u16, payload: &[u8]) {
        self.output.push(kind);
        self.output.extend(channel.to_be_bytes());
        self.output.extend((payload.len() as u32).to_be_bytes());
        self.output.extend(payload);
        self.output.push(FRAME_END);
    }

    /// The arguments of the next method, which must be this one.
    fn expect(&mut self, method: Method) -> Result<Vec<u8>> {
        let (kind, mut payload) = self.next_frame()?;
        if payload.len() < 4 || kind != METHOD {
            return Err(format!("frame of kind {kind} instead of method {method:?}").into());
        }
        let rest = payload.split_off(4);
        let got = (
            u16::from_be_bytes(payload[..2].try_into()?),
            u16::from_be_bytes(payload[2..].try_into()?),
        );
        if got != method {
            let text = String::from_utf8_lossy(&rest);
            return Err(format!("the broker sent {got:?} instead of {method:?}: {text}").into());
        }
        Ok(rest)
    }

    fn next_frame(&mut self) -> Result<(u8, Vec<u8>)> {
        if self.input.buffer().is_empty() {
            self.flush()?;
        }
        let mut head = [0; 7];
        self.input.read_exact(&mut head)?;
        let size = u32::from_be_bytes(head[3..].try_into()?) as usize;
        let mut payload = vec![0; size + 1];
        self.input.read_exact(&mut payload)?;
        if payload.pop() != Some(FRAME_END) {
            return Err("a frame without its end".into());
        }
        Ok((head[0], payload))
    }
}

fn read_properties(header: &[u8]) -> Result<Message> {
    let mut reader = Reader(header);
    reader.take(12)?;
    let flags = reader.u16()?;
    let has = |bit: u32| flags & 1 << bit != 0;
    let mut message = Message::default();
    for _ in (14..=15).filter(|bit| has(*bit)) {
        reader.short()?; // content_type, content_encoding
    }
    if has(13) {
        let size = reader.u32()?;
        reader.take(size as usize)?; // headers
    }
    for _ in (11..=12).filter(|bit| has(*bit)) {
        reader.take(1)?; // delivery_mode, priority
    }
    if has(10) {
        message.correlation_id = Some(reader.short()?.to_owned());
    }
    for _ in (8..=9).filter(|bit| has(*bit)) {
        reader.short()?; // reply_to, expiration
    }
    if has(7) {
        message.message_id = Some(reader.short()?.to_owned());
    }
    Ok(message)
}

/// A text of the table in `bytes`, found by its name.
fn text_in_table(bytes: &[u8], name: &str) -> Option<String> {
    let key = [&[name.len() as u8], name.as_bytes(), b"S"].concat();
    let start = bytes.windows(key.len()).position(|window| window == key)? + key.len();
    let size = u32::from_be_bytes(bytes.get(start..start + 4)?.try_into().ok()?) as usize;
    Some(String::from_utf8_lossy(bytes.get(start + 4..start + 4 + size)?).into_owned())
}

struct Writer(Vec<u8>);

impl Writer {
    fn new() -> Self {
        Self(Vec::with_capacity(128))
    }

    fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }

    fn u8(self, value: u8) -> Self {
        self.bytes(&[value])
    }

    fn u16(self, value: u16) -> Self {
        self.bytes(&value.to_be_bytes())
    }

    fn u32(self, value: u32) -> Self {
        self.bytes(&value.to_be_bytes())
    }

    fn u64(self, value: u64) -> Self {
        self.bytes(&value.to_be_bytes())
    }

    /// A text of up to 255 bytes.
    fn short(self, text: &str) -> Self {
        self.u8(text.len() as u8).bytes(text.as_bytes())
    }

    fn long(self, text: &str) -> Self {
        self.u32(text.len() as u32).bytes(text.as_bytes())
    }

    fn table(self, entries: &[(&str, Argument<'_>)]) -> Self {
        let inner = entries
            .iter()
            .fold(Self::new(), |inner, (name, value)| match value {
                Argument::Text(text) => inner.short(name).u8(b'S').long(text),
                Argument::Integer(number) => {
                    inner.short(name).u8(b'l').bytes(&number.to_be_bytes())
                }
            });
        self.u32(inner.0.len() as u32).bytes(&inner.0)
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self
            .0
            .split_at_checked(count)
            .ok_or("a frame that ends too early")?;
        self.0 = rest;
        Ok(taken)
    }

    fn u16(&mut self) -> Result<u16> {
        Ok(u16::from_be_bytes(self.take(2)?.try_into()?))
    }

    fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_be_bytes(self.take(4)?.try_into()?))
    }

    fn short(&mut self) -> Result<&'a str> {
        let size = self.take(1)?[0];
        Ok(std::str::from_utf8(self.take(size.into())?)?)
    }
}
