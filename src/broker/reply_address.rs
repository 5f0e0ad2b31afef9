//! Where a reply may go: what the `reply_to` of a message can name.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;

/// Where a request wants its reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReplyAddress<'a> {
    /// A queue.
    Queue(&'a str),
    /// A requester that waits for its reply without a queue (RabbitMQ's direct reply-to), in the
    /// form that the broker gives out.
    Direct(&'a str),
    /// A topic of MQTT, as the routing key of [`TOPIC_EXCHANGE`].
    Topic(&'a str),
}

/// The exchange of MQTT's topics, unless RabbitMQ's `mqtt.exchange` names another.
pub(crate) const TOPIC_EXCHANGE: &str = "amq.topic";

/// A routing key is a short string of AMQP 0-9-1.
const ROUTING_KEY_MAX_BYTES: usize = 255;

/// The queue that a requester consumes from for direct reply-to. No reply goes there.
const PSEUDO_QUEUE: &str = "amq.rabbitmq.reply-to";

impl<'a> ReplyAddress<'a> {
    /// Looks at a `reply_to` as it came; none if no reply could be sent there.
    ///
    /// What begins as an address of direct reply-to but has another form is no address: RabbitMQ
    /// ends the connection over it (`decode_reply_to_v2` in `rabbit_direct_reply_to`, up to 4.1).
    pub(crate) fn of(raw: &'a [u8]) -> Option<Self> {
        let name = std::str::from_utf8(raw).ok()?;
        match name.strip_prefix(PSEUDO_QUEUE) {
            None if name.is_empty() => None,
            None => Some(Self::Queue(name)),
            Some("") => None,
            Some(rest) => match rest.strip_prefix('.') {
                Some(suffix) => is_given_out(suffix).then_some(Self::Direct(name)),
                None => Some(Self::Queue(name)),
            },
        }
    }

    /// Whether a reply there is published so that the broker returns it if nobody is behind it. Not
    /// for direct reply-to: up to RabbitMQ 4.1 such a reply is returned although it was delivered,
    /// from 4.2 on it is never returned.
    pub(crate) fn is_mandatory(self) -> bool {
        !matches!(self, Self::Direct(_))
    }

    /// Looks at a response topic; none if it can't be a routing key.
    pub(crate) fn of_topic(key: &'a str) -> Option<Self> {
        let is_key = (1..=ROUTING_KEY_MAX_BYTES).contains(&key.len());
        is_key.then_some(Self::Topic(key))
    }
}

/// The queue that is meant by an address in a form of RabbitMQ's plugins: those of STOMP and of
/// AMQP 1.0 (address version 1, and 2 since RabbitMQ 4), in which names are percent-encoded, and
/// the one that STOMP gives to a queue of its own for replies.
pub(crate) fn meant_queue(address: &str) -> Option<Cow<'_, str>> {
    const ENCODED: [&str; 3] = ["/queue/", "/amq/queue/", "/queues/"];
    if let Some(name) = address.strip_prefix("/reply-queue/") {
        return Some(Cow::Borrowed(name));
    }
    let name = ENCODED.iter().find_map(|form| address.strip_prefix(form))?;
    percent_decode_str(name).decode_utf8().ok()
}

/// A topic as RabbitMQ's plugins write it, for the header of a reply that could not go there.
pub(crate) fn topic_address(key: &str) -> String {
    format!("/topic/{key}")
}

/// Bytes of a key: RabbitMQ's GUIDs.
const KEY_BYTES: usize = 16;

/// Whether RabbitMQ makes such addresses, as far as the form tells. One whose node is in no cluster
/// of ours still ends the connection that it is published over. Its form: a process, a dot, a key,
/// both in Base64. So does every version from 3.8.17 on (`compute_key_and_suffix_v2`, from 4.2 on
/// `rabbit_volatile_queue:new_name`). Older ones had the whole name of the node, over which newer
/// ones fail.
fn is_given_out(suffix: &str) -> bool {
    let Some((process, key)) = suffix.split_once('.') else {
        return false;
    };
    let (Ok(process), Ok(key)) = (STANDARD.decode(process), STANDARD.decode(key)) else {
        return false;
    };
    key.len() == KEY_BYTES && node_of(&process).is_some_and(is_hashed_node)
}

/// The node of a process in Erlang's external term format (Erlang/OTP, ERTS User's Guide, "External
/// Term Format": `NEW_PID_EXT`, `PID_EXT`, and the four forms of an atom).
fn node_of(process: &[u8]) -> Option<&[u8]> {
    const VERSION: u8 = 131;
    let (creation_bytes, rest) = match process {
        [VERSION, 88, rest @ ..] => (4, rest),
        [VERSION, 103, rest @ ..] => (1, rest),
        _ => return None,
    };
    let (length, rest) = match rest {
        [100 | 118, high, low, rest @ ..] => (u16::from_be_bytes([*high, *low]), rest),
        [115 | 119, length, rest @ ..] => (u16::from(*length), rest),
        _ => return None,
    };
    let (node, numbers) = rest.split_at_checked(usize::from(length))?;
    let [a, b, c, d, e, f, g, h] = *numbers.first_chunk()?;
    let (number, serial) = (
        u32::from_be_bytes([a, b, c, d]),
        u32::from_be_bytes([e, f, g, h]),
    );
    let is_process =
        numbers.len() == 4 + 4 + creation_bytes && number < NUMBER_END && serial < SERIAL_END;
    is_process.then_some(node)
}

/// Erlang makes no process with a number or serial of more than 28 and 13 bits, and can't read one:
/// the connection ends over it (seen with RabbitMQ 3.10 on Erlang 25).
const NUMBER_END: u32 = 1 << 28;
const SERIAL_END: u32 = 1 << 13;

/// Whether a name made of a hash, `reply@68781334`, stands for the node's own.
fn is_hashed_node(node: &[u8]) -> bool {
    let Some(at) = node.iter().position(|byte| *byte == b'@') else {
        return false;
    };
    let (name, hash) = (&node[..at], &node[at + 1..]);
    // A hash of Erlang's phash2 is less than 2^27.
    matches!(name, b"reply" | b"generated")
        && (1..=9).contains(&hash.len())
        && hash.iter().all(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From RabbitMQ's own documentation of its Python client, as 4.2 gives them out.
    const GIVEN_OUT: &str = "amq.rabbitmq.reply-to.g1h2AA5yZXBseUA2ODc4MTMzNAAAcEoAAAAAaS8eQg==.1Rk5P2JvwJgHqLcAmxuQlg==";

    fn direct(process: &[u8], key: &[u8]) -> String {
        format!(
            "{PSEUDO_QUEUE}.{}.{}",
            STANDARD.encode(process),
            STANDARD.encode(key)
        )
    }

    fn process(tag: u8, atom: &[u8], node: &[u8], numbers: usize) -> Vec<u8> {
        [&[131, tag][..], atom, node, &vec![0; numbers]].concat()
    }

    #[test]
    fn what_the_broker_gives_out_is_an_address() {
        let node = b"generated@68781334";
        let key = [7; 16];
        for address in [
            GIVEN_OUT.to_owned(),
            direct(&process(88, &[118, 0, 18], node, 12), &key),
            direct(&process(88, &[100, 0, 18], node, 12), &key),
            direct(&process(88, &[119, 18], node, 12), &key),
            direct(&process(103, &[100, 0, 18], node, 9), &key),
        ] {
            assert_eq!(
                ReplyAddress::of(address.as_bytes()),
                Some(ReplyAddress::Direct(&address))
            );
        }
    }

    #[test]
    fn what_only_looks_like_one_is_none() {
        let key = [7; 16];
        let real = process(88, &[118, 0, 14], b"reply@68781334", 12);
        let with_node = |node: &[u8]| process(88, &[119, node.len() as u8], node, 12);
        let mut addresses: Vec<String> = [
            ".x.y",
            ".!!!.x",
            ".aaa.bbb",
            ".",
            "..",
            "",
            ".aaaa",
            ".AAAA.BBBB",
        ]
        .iter()
        .map(|suffix| format!("{PSEUDO_QUEUE}{suffix}"))
        .collect();
        addresses.extend([
            // In upper case but for what it begins with.
            format!(
                "{PSEUDO_QUEUE}{}",
                GIVEN_OUT[PSEUDO_QUEUE.len()..].to_uppercase()
            ),
            direct(&real, &key[1..]),
            direct(
                &[&real[..real.len() - 12], &[0x10], &[0; 11]].concat(),
                &key,
            ),
            direct(
                &[&real[..real.len() - 8], &[0, 0, 0x20, 0], &[0; 4]].concat(),
                &key,
            ),
            direct(&real, b""),
            direct(&real[..real.len() - 1], &key),
            direct(&[&real[..], &[0]].concat(), &key),
            direct(&process(88, &[118, 0, 14], b"reply@6878133x", 12), &key),
            direct(&with_node(b"rabbit@host"), &key),
            direct(&with_node(b"rabbit@12345678"), &key),
            direct(&with_node(b"reply@"), &key),
            direct(&with_node(b"reply"), &key),
            direct(&[131, 100, 0, 1, b'a'], &key),
            direct(&[131, 104, 0], &key),
            format!("{GIVEN_OUT}.x"),
            format!("{GIVEN_OUT} "),
        ]);
        for address in &addresses {
            assert_eq!(ReplyAddress::of(address.as_bytes()), None, "{address}");
        }
        assert_eq!(ReplyAddress::of(b"q\xff"), None);
        assert_eq!(ReplyAddress::of(b""), None);
    }

    #[test]
    fn everything_else_is_the_name_of_a_queue() {
        for name in [
            "q",
            "amq.gen-xyz",
            "amq.rabbitmq.reply-too",
            "AMQ.RABBITMQ.REPLY-TO.x",
            "a b\n",
        ] {
            assert_eq!(
                ReplyAddress::of(name.as_bytes()),
                Some(ReplyAddress::Queue(name))
            );
        }
    }

    #[test]
    fn a_topic_is_a_routing_key() {
        let long = "k".repeat(255);
        assert_eq!(
            ReplyAddress::of_topic(&long),
            Some(ReplyAddress::Topic(&long))
        );
        assert_eq!(ReplyAddress::of_topic(&format!("{long}k")), None);
        assert_eq!(ReplyAddress::of_topic(""), None);
    }

    #[test]
    fn the_forms_of_plugins_mean_a_queue() {
        for (address, meant) in [
            // rabbitmq-stomp#75, and RabbitMQ's STOMP guide.
            ("/queue/st.replies", Some("st.replies")),
            ("/amq/queue/replies", Some("replies")),
            ("/reply-queue/amq.gen-x", Some("amq.gen-x")),
            // rabbit_routing_util: names are percent-encoded, but not that of a reply queue.
            ("/queue/a%2Fb", Some("a/b")),
            ("/reply-queue/a%2Fb", Some("a%2Fb")),
            // RabbitMQ 4, AMQP 1.0 address version 2.
            ("/queues/%D0%B0%20b", Some("а b")),
            (
                "/queues/amq.rabbitmq.reply-to.x.y",
                Some("amq.rabbitmq.reply-to.x.y"),
            ),
            // What is no encoding stands for itself.
            ("/queue/100%", Some("100%")),
            ("/queue/a/b", Some("a/b")),
            ("/queues/%ff", None),
            // Another exchange is not gone to.
            ("field.replies/rk1", None),
            ("/exchange/amq.topic/x", None),
            ("/exchanges/amq.topic/x", None),
            ("/topic/x", None),
            ("/temp-queue/x", None),
            ("queue/x", None),
            ("/Queue/x", None),
            ("q", None),
            ("", None),
        ] {
            assert_eq!(meant_queue(address).as_deref(), meant, "{address}");
        }
    }
}
