//! A client that speaks AMQP 0-9-1 by bytes: it sends and shows properties that no client library
//! would, as producers in other languages do.

mod connection;
mod message;
mod properties;
mod wire;

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::time::Duration;

use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

pub use self::message::RawMessage;
pub use self::properties::{Props, bit};
use self::wire::{BODY, FRAME_OVERHEAD, HEADER, METHOD, frame, method_id, short};
pub use self::wire::{long, nested_arrays, nested_tables, short_bytes, table};

/// Longer than any answer takes, also on a machine with much else to do: arrays within arrays cost
/// the broker a second of computing each time it passes them on. Only a failing test waits so long.
const ANSWER_MAX: Duration = Duration::from_secs(180);

/// How often a queue is asked for a message.
const ASK_EVERY: Duration = Duration::from_millis(10);

/// The class of everything that has to do with messages.
const BASIC: u16 = 60;
/// The class of transactions.
const TX: u16 = 90;

/// A connection with one channel, in confirm mode unless it is asked to be transactional.
#[derive(Debug)]
pub struct RawClient {
    stream: BufReader<TcpStream>,
    frame_max: usize,
    version: String,
    published: u64,
    /// What of it the broker has not confirmed.
    unconfirmed: BTreeSet<u64>,
    /// What was delivered and nobody has asked for yet.
    delivered: VecDeque<RawMessage>,
}

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

    /// The broker's version, such as `4.0.5`.
    pub fn version(&self) -> &str {
        &self.version
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

    /// Waits until the broker has all that was published so far.
    pub async fn confirmed(&mut self) {
        self.try_confirmed().await.expect("the broker confirms");
    }

    /// The same; the error says why the broker has closed channel or connection, or that it has
    /// refused a message.
    pub async fn try_confirmed(&mut self) -> Result<(), String> {
        while !self.unconfirmed.is_empty() {
            let (class, method, arguments) = self.next_method().await?;
            self.unasked((class, method), &arguments)?;
        }
        Ok(())
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
}
