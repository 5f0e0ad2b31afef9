//! Messages that once did harm to others, each with its cause: what they hold that no client
//! library sends, where they want their reply, or how much of it there is. tests/it, tests/attack
//! and tests/chaos share them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::raw_amqp::{
    Props, RawClient, RawMessage, bit, long, nested_arrays, nested_tables, short_bytes,
};

/// A header that is larger than this makes a message that no client library can be sent: one frame
/// of RabbitMQ's default size holds all properties.
const FRAME_MAX: usize = 131_072;

/// The largest text of a header that RabbitMQ 3.10 and 4 both take within such a frame.
const LARGE_HEADER: usize = 130_800;

/// The field of a profile by which what a message stored is known.
pub const MARKER: &str = "poison";

/// A message as it is published.
#[derive(Debug, Clone)]
pub struct Poison {
    pub properties: Props,
    pub body: Vec<u8>,
}

/// What messages are made with.
#[derive(Debug, Clone)]
pub struct Means {
    /// Opens database 1.
    pub token: String,
    /// A queue that is there and is read.
    pub reply_queue: String,
}

impl Means {
    /// A sound request with this number and neither email nor `message_id`; it stores a profile.
    pub fn request(&self, number: usize) -> Vec<u8> {
        self.request_with(number, "")
    }

    /// The same, with fields at its end.
    pub fn request_with(&self, number: usize, fields: &str) -> Vec<u8> {
        format!(
            r#"{{"token":"{}","db_id":1,"data":{{"{MARKER}":{number}}}{fields}}}"#,
            self.token
        )
        .into_bytes()
    }
}

impl Poison {
    /// A message without a token: sound JSON, to be refused.
    pub fn refused(properties: Props) -> Self {
        Self {
            properties,
            body: b"{}".to_vec(),
        }
    }

    /// One that can't be read.
    pub fn garbage(properties: Props) -> Self {
        Self {
            properties,
            body: b"garbage".to_vec(),
        }
    }
}

/// Texts that are none: not UTF-8.
const NO_TEXT: &[u8] = b"\xff\xfe\x00 id";

pub fn arrays(depth: usize) -> Poison {
    Poison::refused(Props::new().header_raw("x", b'A', &nested_arrays(depth)))
}

pub fn tables(depth: usize) -> Poison {
    Poison::refused(Props::new().header_raw("x", b'F', &nested_tables(depth)))
}

/// The property of this bit is no text.
pub fn no_text(bit: usize) -> Poison {
    Poison::refused(Props::new().short(bit, NO_TEXT))
}

/// The same in a sound request, which is to be stored and answered.
pub fn no_text_in_request(bit: usize, means: &Means) -> Poison {
    let properties = Props::new()
        .reply_to(&means.reply_queue)
        .short(bit, NO_TEXT);
    Poison {
        properties,
        body: means.request(0),
    }
}

/// A header whose name is no text.
pub fn no_text_as_name() -> Poison {
    Poison::refused(Props::new().header(NO_TEXT, "value"))
}

/// The same, within a table within an array.
pub fn no_text_as_inner_name() -> Poison {
    let inner = long(&[&short_bytes(NO_TEXT)[..], b"t\x01"].concat());
    let array = long(&[b"F", &inner[..]].concat());
    Poison::refused(Props::new().header_raw("x", b'A', &array))
}

/// It fits into a frame, and no longer with what a dead letter says besides.
pub fn large_header() -> Poison {
    const { assert!(LARGE_HEADER < FRAME_MAX) };
    Poison::garbage(Props::new().header("x", "y".repeat(LARGE_HEADER)))
}

/// Ten thousand headers.
pub fn many_headers() -> Poison {
    let properties = (0..10_000).fold(Props::new(), |properties, i| {
        properties.header_raw(format!("h{i}"), b't', &[1])
    });
    Poison::garbage(properties)
}

/// Its reply is to go to a direct reply-to that nobody was given.
pub fn direct_reply_to(rest: &str) -> Poison {
    Poison::refused(Props::new().reply_to(format!("{DIRECT_REPLY_TO}.{rest}")))
}

/// The same in a sound request with neither email nor `message_id`.
pub fn direct_reply_to_in_request(rest: &str, means: &Means) -> Poison {
    let properties = Props::new().reply_to(format!("{DIRECT_REPLY_TO}.{rest}"));
    Poison {
        properties,
        body: means.request(0),
    }
}

/// Ids and a topic as RabbitMQ 4 hands them on from other protocols: the correlation id of so many
/// bytes, and nobody behind the topic.
pub fn of_other_protocols(id_bytes: usize) -> Poison {
    let properties = Props::new()
        .header("x-reply-to-topic", "nobody.is.here")
        .header("x-message-id", NO_TEXT)
        .header_raw("x-correlation-id", b'x', &long(&vec![0xff; id_bytes]));
    Poison::refused(properties)
}

/// An address in a form of RabbitMQ's plugins, which means another one.
pub fn meaning(name: &str) -> Poison {
    Poison::refused(Props::new().reply_to(format!("/queues/{name}")))
}

/// Begins all addresses of direct reply-to (RabbitMQ, "Direct Reply-to").
pub const DIRECT_REPLY_TO: &str = "amq.rabbitmq.reply-to";

/// A direct reply-to that the broker gives to a requester, who leaves.
pub async fn given_out(amqp_url: &str, by_way_of: &str) -> String {
    let mut requester = RawClient::connect(amqp_url).await;
    requester.consume(DIRECT_REPLY_TO).await;
    let properties = Props::new().reply_to(DIRECT_REPLY_TO).bytes();
    requester.publish("", by_way_of, &properties, b"").await;
    requester.confirmed().await;
    let message = requester
        .get(by_way_of)
        .await
        .expect("the message is there");
    String::from_utf8(message.short(bit::REPLY_TO).expect("an address").to_vec()).expect("a text")
}

/// The same with another node: well formed, and of no cluster that this broker is in.
pub fn of_unknown_node(address: &str) -> String {
    let suffix = address
        .strip_prefix(DIRECT_REPLY_TO)
        .and_then(|rest| rest.strip_prefix('.'))
        .expect("a suffix");
    let (process, key) = suffix.split_once('.').expect("two parts");
    let mut process = STANDARD.decode(process).expect("Base64");
    let digit = process
        .iter()
        .position(|byte| *byte == b'@')
        .expect("a node")
        + 1;
    process[digit] = if process[digit] == b'1' { b'2' } else { b'1' };
    format!("{DIRECT_REPLY_TO}.{}.{key}", STANDARD.encode(process))
}

/// An XML body of so many empty fields, without a token: about 9.8 MB for 990,000.
pub fn xml(fields: usize) -> Poison {
    let mut body = b"<xml><data>".to_vec();
    for field in 0..fields {
        body.extend(format!("<a{field}/>").into_bytes());
    }
    body.extend(b"</data></xml>");
    Poison {
        properties: Props::new(),
        body,
    }
}

/// Whether a dead letter says why it is one. A look at the bytes, as not every header before it can
/// be read.
pub fn has_reason(letter: &RawMessage) -> bool {
    const NAME: &[u8] = b"\x07x-error";
    letter
        .property(bit::HEADERS)
        .is_some_and(|headers| headers.windows(NAME.len()).any(|bytes| bytes == NAME))
}
