//! Below the client: login, methods, frames.

use std::collections::{BTreeSet, VecDeque};
use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::wire::{FRAME_END, METHOD, frame, long, method_id, short, table};
use super::{ANSWER_MAX, BASIC, RawClient, RawMessage};

/// A method frame: class, method, arguments.
type Method = (u16, u16, Vec<u8>);

/// The text `version` among the properties in which the broker introduces itself.
fn broker_version(start: &[u8]) -> Option<String> {
    const NAME: &[u8] = b"\x07versionS";
    let place = start.windows(NAME.len()).position(|bytes| bytes == NAME)?;
    let (length, rest) = start[place + NAME.len()..].split_first_chunk()?;
    let text = rest.get(..u32::from_be_bytes(*length) as usize)?;
    String::from_utf8(text.to_vec()).ok()
}

impl RawClient {
    pub(super) async fn open(url: &str) -> Result<Self, String> {
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
            version: String::new(),
            published: 0,
            unconfirmed: BTreeSet::new(),
            delivered: VecDeque::new(),
        };
        client
            .stream
            .write_all(b"AMQP\x00\x00\x09\x01")
            .await
            .map_err(|error| error.to_string())?;
        let start = client.try_answer((10, 10)).await?;
        client.version = broker_version(&start).expect("every RabbitMQ says its version");
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

    /// Takes what comes without being asked for.
    pub(super) fn unasked(&mut self, id: (u16, u16), arguments: &[u8]) -> Result<(), String> {
        match id {
            (BASIC, 80) => {
                let tag = u64::from_be_bytes(arguments[..8].try_into().expect("8 bytes"));
                if arguments[8] & 1 == 1 {
                    self.unconfirmed = self.unconfirmed.split_off(&(tag + 1));
                } else {
                    self.unconfirmed.remove(&tag);
                }
                Ok(())
            }
            // A full queue, or a leader that went away.
            (BASIC, 120) => Err("the broker refused what was published".to_owned()),
            (20 | 10, _) => Err(format!(
                "closed by the broker: {}",
                String::from_utf8_lossy(arguments)
            )),
            _ => Ok(()),
        }
    }

    pub(super) async fn call(
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

    pub(super) async fn try_call(
        &mut self,
        channel: u16,
        id: (u16, u16),
        arguments: &[u8],
        answer: (u16, u16),
    ) -> Result<Vec<u8>, String> {
        self.try_method(channel, id, arguments).await?;
        self.try_answer(answer).await
    }

    pub(super) async fn method(&mut self, channel: u16, id: (u16, u16), arguments: &[u8]) {
        self.try_method(channel, id, arguments)
            .await
            .expect("the connection lives");
    }

    pub(super) async fn try_method(
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

    pub(super) async fn try_answer(&mut self, expected: (u16, u16)) -> Result<Vec<u8>, String> {
        loop {
            let (class, method, arguments) = self.next_method().await?;
            if (class, method) == expected {
                return Ok(arguments);
            }
            self.unasked((class, method), &arguments)?;
        }
    }

    /// The next method; a delivery is kept with its content for [`Self::next`].
    pub(super) async fn next_method(&mut self) -> Result<Method, String> {
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

    pub(super) async fn content(&mut self) -> Result<RawMessage, String> {
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
