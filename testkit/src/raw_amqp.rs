//! A client that speaks AMQP 0-9-1 by bytes: it sends and shows properties that no client library
//! would, as producers in other languages do.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Longer than any answer takes, also on a machine with much else to do: arrays within arrays cost
/// the broker a second of computing each time it passes them on. Only a failing test waits so long.
const ANSWER_MAX: Duration = Duration::from_secs(180);

/// How often a queue is asked for a message.
const ASK_EVERY: Duration = Duration::from_millis(10);

const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;
const FRAME_END: u8 = 0xce;
/// Bytes of a frame beside its payload.
const FRAME_OVERHEAD: usize = 8;
/// The class of everything that has to do with messages.
const BASIC: u16 = 60;
/// The class of transactions.
const TX: u16 = 90;

/// A connection with one channel, in confirm mode unless it is asked to be transactional.
#[derive(Debug)]
pub struct RawClient {
    stream: BufReader<TcpStream>,
    frame_max: usize,
    published: u64,
    /// What of it the broker has neither confirmed nor refused.
    unconfirmed: BTreeSet<u64>,
    refused: usize,
    /// What was delivered and nobody has asked for yet.
    delivered: VecDeque<RawMessage>,
}

/// A message as the broker delivers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawMessage {
    /// Flags and properties, as they stand in the content header.
    pub properties: Vec<u8>,
    pub body: Vec<u8>,
}

/// A method frame: class, method, arguments.
type Method = (u16, u16, Vec<u8>);

impl RawClient {
    /// Logs in at `amqp://user:password@host:port/vhost`.
    pub async fn connect(url: &str) -> Self {
        Self::try_connect(url).await.expect("the broker lets us in")
    }

    /// The same where the broker may be away.
    pub async fn try_connect(url: &str) -> Result<Self, String> {
        let mut client = Self::open(url).await?;
        client.try_call(1, (85, 10), &[0], (85, 11)).await?;
        Ok(client)
    }

    /// In transaction mode: what is published is there with [`Self::try_commit`], all or nothing.
    pub async fn connect_transactional(url: &str) -> Self {
        let mut client = Self::open(url).await.expect("the broker lets us in");
        client.call(1, (TX, 10), &[], (TX, 11)).await;
        client
    }

    async fn open(url: &str) -> Result<Self, String> {
        let url = url::Url::parse(url).expect("a URL");
        let host = url.host_str().expect("a host");
        let stream = TcpStream::connect((host, url.port().unwrap_or(5672)))
            .await
            .map_err(|error| error.to_string())?;
        stream
            .set_nodelay(true)
            .map_err(|error| error.to_string())?;
        let mut client = Self {
            stream: BufReader::new(stream),
            frame_max: 4096,
            published: 0,
            unconfirmed: BTreeSet::new(),
            refused: 0,
            delivered: VecDeque::new(),
        };
        client
            .stream
            .write_all(b"AMQP\x00\x00\x09\x01")
            .await
            .map_err(|error| error.to_string())?;
        client.try_answer((10, 10)).await?;
        let response = format!(
            "\0{}\0{}",
            decoded(url.username()),
            decoded(url.password().unwrap_or_default())
        );
        let start_ok = [
            table(&[]),
            short("PLAIN"),
            long(response.as_bytes()),
            short("en_US"),
        ]
        .concat();
        client.try_method(0, (10, 11), &start_ok).await?;
        let tune = client.try_answer((10, 30)).await?;
        client.frame_max = u32::from_be_bytes([tune[2], tune[3], tune[4], tune[5]]) as usize;
        // The same, but for the heartbeat: none.
        client
            .try_method(0, (10, 31), &[&tune[..6], &[0, 0]].concat())
            .await?;
        let vhost = match url.path() {
            "" => "/".to_owned(),
            path => decoded(&path[1..]),
        };
        client
            .try_call(
                0,
                (10, 40),
                &[short(&vhost), short(""), vec![0]].concat(),
                (10, 41),
            )
            .await?;
        client.try_call(1, (20, 10), &short(""), (20, 11)).await?;
        Ok(client)
    }

    /// The largest frame of this connection.
    pub fn frame_max(&self) -> usize {
        self.frame_max
    }

    /// Publishes a message. `properties` are flags and property list as they go over the wire; each
    /// of the names is at most 255 bytes. See [`Self::confirmed`].
    pub async fn publish(
        &mut self,
        exchange: &str,
        routing_key: impl AsRef<[u8]>,
        properties: &[u8],
        body: &[u8],
    ) {
        let result = self
            .try_publish(exchange, routing_key.as_ref(), properties, body)
            .await;
        result.expect("the broker takes the message");
    }

    /// The same; an error means that the broker has closed the connection.
    pub async fn try_publish(
        &mut self,
        exchange: &str,
        routing_key: &[u8],
        properties: &[u8],
        body: &[u8],
    ) -> io::Result<()> {
        let publish = [
            &[0, 0][..],
            &short(exchange),
            &short_bytes(routing_key),
            &[0],
        ]
        .concat();
        let mut bytes = frame(METHOD, 1, &[&method_id((BASIC, 40))[..], &publish].concat());
        let head = [
            &BASIC.to_be_bytes()[..],
            &[0, 0],
            &(body.len() as u64).to_be_bytes(),
            properties,
        ]
        .concat();
        bytes.extend(frame(HEADER, 1, &head));
        for part in body.chunks(self.frame_max - FRAME_OVERHEAD) {
            bytes.extend(frame(BODY, 1, part));
        }
        self.published += 1;
        self.unconfirmed.insert(self.published);
        self.stream.write_all(&bytes).await
    }

    /// Waits until the broker has answered for all that was published so far.
    pub async fn confirmed(&mut self) {
        self.try_confirmed().await.expect("the broker confirms");
    }

    /// The same; the error says why the broker has closed channel or connection.
    pub async fn try_confirmed(&mut self) -> Result<(), String> {
        while !self.unconfirmed.is_empty() {
            let (class, method, arguments) = self.next_method().await?;
            self.unasked((class, method), &arguments)?;
        }
        Ok(())
    }

    /// How often the broker has refused what was published: a full queue, a leader that went away.
    pub fn refused(&self) -> usize {
        self.refused
    }

    /// Commits what was published; after an error nothing of it is in a queue.
    pub async fn try_commit(&mut self) -> Result<(), String> {
        self.try_call(1, (TX, 20), &[], (TX, 21)).await?;
        self.unconfirmed.clear();
        Ok(())
    }

    /// Takes a message out of a queue, if there is one.
    pub async fn get(&mut self, queue: &str) -> Option<RawMessage> {
        let get = [&[0, 0][..], &short(queue), &[1]].concat();
        self.method(1, (BASIC, 70), &get).await;
        loop {
            let (class, method, arguments) = self.next_method().await.expect("an answer to get");
            match (class, method) {
                (BASIC, 71) => return Some(self.content().await.expect("a message")),
                (BASIC, 72) => return None,
                other => self
                    .unasked(other, &arguments)
                    .expect("the connection lives"),
            }
        }
    }

    /// Takes a message out of a queue; waits for it.
    pub async fn take(&mut self, queue: &str) -> RawMessage {
        let waiting = async {
            loop {
                if let Some(message) = self.get(queue).await {
                    return message;
                }
                tokio::time::sleep(ASK_EVERY).await;
            }
        };
        timeout(ANSWER_MAX, waiting)
            .await
            .expect("a message in time")
    }

    /// Makes a queue of its own and subscribes to it; its name.
    pub async fn consume_new(&mut self) -> String {
        const EXCLUSIVE: u8 = 0b100;
        let declare = [&[0, 0][..], &short(""), &[EXCLUSIVE], &table(&[])].concat();
        let declared = self.call(1, (50, 10), &declare, (50, 11)).await;
        let name =
            String::from_utf8(declared[1..=usize::from(declared[0])].to_vec()).expect("a name");
        self.consume(&name).await;
        name
    }

    /// Subscribes to a queue, or to `amq.rabbitmq.reply-to`, without acknowledgements.
    pub async fn consume(&mut self, queue: &str) {
        let consume = [&[0, 0][..], &short(queue), &short(""), &[0b10], &table(&[])].concat();
        self.call(1, (BASIC, 20), &consume, (BASIC, 21)).await;
    }

    /// The next message of what was subscribed to.
    pub async fn next(&mut self) -> RawMessage {
        loop {
            if let Some(message) = self.delivered.pop_front() {
                return message;
            }
            let (class, method, arguments) = self.next_method().await.expect("a delivery");
            self.unasked((class, method), &arguments)
                .expect("the connection lives");
        }
    }

    /// Takes what comes without being asked for.
    fn unasked(&mut self, id: (u16, u16), arguments: &[u8]) -> Result<(), String> {
        match id {
            (BASIC, 80 | 120) => {
                self.refused += usize::from(id.1 == 120);
                let tag = u64::from_be_bytes(arguments[..8].try_into().expect("8 bytes"));
                if arguments[8] & 1 == 1 {
                    self.unconfirmed = self.unconfirmed.split_off(&(tag + 1));
                } else {
                    self.unconfirmed.remove(&tag);
                }
                Ok(())
            }
            (20 | 10, _) => Err(format!(
                "closed by the broker: {}",
                String::from_utf8_lossy(arguments)
            )),
            _ => Ok(()),
        }
    }

    async fn call(
        &mut self,
        channel: u16,
        id: (u16, u16),
        arguments: &[u8],
        answer: (u16, u16),
    ) -> Vec<u8> {
        self.try_call(channel, id, arguments, answer)
            .await
            .expect("an answer")
    }

    async fn try_call(
        &mut self,
        channel: u16,
        id: (u16, u16),
        arguments: &[u8],
        answer: (u16, u16),
    ) -> Result<Vec<u8>, String> {
        self.try_method(channel, id, arguments).await?;
        self.try_answer(answer).await
    }

    async fn method(&mut self, channel: u16, id: (u16, u16), arguments: &[u8]) {
        self.try_method(channel, id, arguments)
            .await
            .expect("the connection lives");
    }

    async fn try_method(
        &mut self,
        channel: u16,
        id: (u16, u16),
        arguments: &[u8],
    ) -> Result<(), String> {
        let bytes = frame(METHOD, channel, &[&method_id(id)[..], arguments].concat());
        self.stream
            .write_all(&bytes)
            .await
            .map_err(|error| error.to_string())
    }

    async fn try_answer(&mut self, expected: (u16, u16)) -> Result<Vec<u8>, String> {
        loop {
            let (class, method, arguments) = self.next_method().await?;
            if (class, method) == expected {
                return Ok(arguments);
            }
            self.unasked((class, method), &arguments)?;
        }
    }

    /// The next method; a delivery is kept with its content for [`Self::next`].
    async fn next_method(&mut self) -> Result<Method, String> {
        loop {
            let (kind, payload) = self.frame().await?;
            if kind != METHOD {
                continue;
            }
            let number = |at: usize| u16::from_be_bytes([payload[at], payload[at + 1]]);
            let (class, method) = (number(0), number(2));
            if (class, method) == (BASIC, 60) {
                let message = self.content().await?;
                self.delivered.push_back(message);
            }
            return Ok((class, method, payload[4..].to_vec()));
        }
    }

    async fn content(&mut self) -> Result<RawMessage, String> {
        let (_, head) = self.frame().await?;
        let size = u64::from_be_bytes(head[4..12].try_into().expect("8 bytes"));
        let mut body = Vec::new();
        while (body.len() as u64) < size {
            body.extend(self.frame().await?.1);
        }
        Ok(RawMessage {
            properties: head[12..].to_vec(),
            body,
        })
    }

    async fn frame(&mut self) -> Result<(u8, Vec<u8>), String> {
        let reading = async {
            let mut head = [0; 7];
            self.stream.read_exact(&mut head).await?;
            let size = u32::from_be_bytes([head[3], head[4], head[5], head[6]]) as usize;
            let mut payload = vec![0; size + 1];
            self.stream.read_exact(&mut payload).await?;
            assert_eq!(payload.pop(), Some(FRAME_END));
            Ok::<_, io::Error>((head[0], payload))
        };
        let read = timeout(ANSWER_MAX, reading)
            .await
            .map_err(|_| "the broker is silent".to_owned())?;
        read.map_err(|error| format!("the connection is lost: {error}"))
    }
}

fn decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text)
        .decode_utf8_lossy()
        .into_owned()
}

fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let size = u32::try_from(payload.len()).expect("a frame's size");
    [
        &[kind][..],
        &channel.to_be_bytes(),
        &size.to_be_bytes(),
        payload,
        &[FRAME_END],
    ]
    .concat()
}

fn method_id((class, method): (u16, u16)) -> [u8; 4] {
    let [a, b] = class.to_be_bytes();
    let [c, d] = method.to_be_bytes();
    [a, b, c, d]
}

fn short(text: &str) -> Vec<u8> {
    short_bytes(text.as_bytes())
}

/// A short string of any bytes.
pub fn short_bytes(bytes: &[u8]) -> Vec<u8> {
    let size = u8::try_from(bytes.len()).expect("at most 255 bytes");
    [&[size][..], bytes].concat()
}

/// A long string or byte array: four bytes of length and the bytes.
pub fn long(bytes: &[u8]) -> Vec<u8> {
    let size = u32::try_from(bytes.len()).expect("less than 4 GiB");
    [&size.to_be_bytes()[..], bytes].concat()
}

/// A table of entries: name, type, value.
pub fn table(entries: &[(&[u8], u8, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, kind, value) in entries {
        bytes.extend([&short_bytes(name)[..], &[*kind], value].concat());
    }
    long(&bytes)
}

/// The value of a header of type `A`: so many arrays in one another, the innermost one empty.
pub fn nested_arrays(depth: usize) -> Vec<u8> {
    nested(depth, b"A")
}

/// The value of a header of type `F`: so many tables in one another, the innermost one empty.
pub fn nested_tables(depth: usize) -> Vec<u8> {
    nested(depth, b"\x01xF")
}

/// Each level is its length and, but for the innermost, `entry` and the next one.
fn nested(depth: usize, entry: &[u8]) -> Vec<u8> {
    let level = entry.len() + 4;
    let mut bytes = Vec::with_capacity(depth * level);
    for inner in (0..depth).rev() {
        let size = u32::try_from(inner * level).expect("less than 4 GiB");
        bytes.extend(size.to_be_bytes());
        if inner > 0 {
            bytes.extend(entry);
        }
    }
    bytes
}

/// Builds a property list by bytes. The last value of a property counts; headers add up.
#[derive(Debug, Clone, Default)]
pub struct Props {
    /// By their bit in the flags; the highest comes first.
    values: [Option<Vec<u8>>; 16],
    headers: Option<Vec<u8>>,
}

/// The bits of the properties (AMQP 0-9-1, class basic).
pub mod bit {
    pub const CONTENT_TYPE: usize = 15;
    pub const CONTENT_ENCODING: usize = 14;
    pub const HEADERS: usize = 13;
    pub const DELIVERY_MODE: usize = 12;
    pub const PRIORITY: usize = 11;
    pub const CORRELATION_ID: usize = 10;
    pub const REPLY_TO: usize = 9;
    pub const EXPIRATION: usize = 8;
    pub const MESSAGE_ID: usize = 7;
    pub const TIMESTAMP: usize = 6;
    pub const TYPE: usize = 5;
    pub const USER_ID: usize = 4;
    pub const APP_ID: usize = 3;
    pub const CLUSTER_ID: usize = 2;
}

impl Props {
    /// The value of a property as it goes over the wire; not of the headers.
    pub fn value(&self, bit: usize) -> Option<&[u8]> {
        self.values[bit].as_deref()
    }

    pub fn new() -> Self {
        Self::default()
    }

    /// The property of this bit as a short string of any bytes.
    pub fn short(self, bit: usize, bytes: impl AsRef<[u8]>) -> Self {
        self.raw(bit, &short_bytes(bytes.as_ref()))
    }

    /// The property of this bit, with whatever bytes.
    pub fn raw(mut self, bit: usize, bytes: &[u8]) -> Self {
        self.values[bit] = Some(bytes.to_vec());
        self
    }

    pub fn content_type(self, bytes: impl AsRef<[u8]>) -> Self {
        self.short(bit::CONTENT_TYPE, bytes)
    }

    pub fn correlation_id(self, bytes: impl AsRef<[u8]>) -> Self {
        self.short(bit::CORRELATION_ID, bytes)
    }

    pub fn reply_to(self, bytes: impl AsRef<[u8]>) -> Self {
        self.short(bit::REPLY_TO, bytes)
    }

    pub fn message_id(self, bytes: impl AsRef<[u8]>) -> Self {
        self.short(bit::MESSAGE_ID, bytes)
    }

    /// A header of any name, type and value; the value as it goes over the wire, with its length.
    pub fn header_raw(mut self, name: impl AsRef<[u8]>, kind: u8, value: &[u8]) -> Self {
        let entry = [&short_bytes(name.as_ref())[..], &[kind], value].concat();
        self.headers.get_or_insert_default().extend(entry);
        self
    }

    /// A header with a long string.
    pub fn header(self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.header_raw(name, b'S', &long(value.as_ref()))
    }

    /// Flags and property list.
    pub fn bytes(&self) -> Vec<u8> {
        let mut values = self.values.clone();
        if let Some(headers) = &self.headers {
            values[bit::HEADERS] = Some(long(headers));
        }
        let given = |bit: &usize| values[*bit].is_some();
        let flags = (0..16)
            .filter(given)
            .fold(0_u16, |flags, bit| flags | 1 << bit);
        let mut bytes = flags.to_be_bytes().to_vec();
        for value in values.iter().rev().flatten() {
            bytes.extend(value);
        }
        bytes
    }
}

impl RawMessage {
    /// The value of a property as it stands on the wire, with its length where it has one.
    pub fn property(&self, wanted: usize) -> Option<&[u8]> {
        let flags = u16::from_be_bytes([self.properties[0], self.properties[1]]);
        let mut rest = &self.properties[2..];
        for place in (0..16).rev().filter(|place| flags & 1 << place != 0) {
            let size = match place {
                bit::HEADERS => {
                    4 + u32::from_be_bytes([rest[0], rest[1], rest[2], rest[3]]) as usize
                }
                bit::DELIVERY_MODE | bit::PRIORITY => 1,
                bit::TIMESTAMP => 8,
                _ => 1 + usize::from(rest[0]),
            };
            if place == wanted {
                return Some(&rest[..size]);
            }
            rest = &rest[size..];
        }
        None
    }

    /// The bytes of a property that is a short string.
    pub fn short(&self, bit: usize) -> Option<&[u8]> {
        self.property(bit).map(|value| &value[1..])
    }

    pub fn correlation_id(&self) -> Option<&[u8]> {
        self.short(bit::CORRELATION_ID)
    }

    /// Type and bytes of a header that is a long string, a byte array or a 32-bit integer: what our
    /// own headers are. It must be before any of another type.
    pub fn header(&self, wanted: &str) -> Option<(u8, &[u8])> {
        let mut rest = &self.property(bit::HEADERS)?[4..];
        while !rest.is_empty() {
            let name_end = 1 + usize::from(rest[0]);
            let (name, kind) = (&rest[1..name_end], rest[name_end]);
            rest = &rest[name_end + 1..];
            let (start, end) = match kind {
                b'S' | b'x' | b'A' | b'F' => (
                    4,
                    4 + u32::from_be_bytes([rest[0], rest[1], rest[2], rest[3]]) as usize,
                ),
                b'I' | b'i' | b'f' => (0, 4),
                b'T' | b'l' | b'L' | b'd' => (0, 8),
                b't' | b'b' | b'B' => (0, 1),
                b's' | b'u' | b'U' => (0, 2),
                b'D' => (0, 5),
                b'V' => (0, 0),
                other => panic!("a header of type {:?}", char::from(other)),
            };
            if name == wanted.as_bytes() {
                return Some((kind, &rest[start..end]));
            }
            rest = &rest[end..];
        }
        None
    }
}
