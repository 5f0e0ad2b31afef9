//! A message on its way out: its form in AMQP, and what may be done with it on the way.

use lapin::BasicProperties;
use lapin::types::{AMQPValue, ShortString};

use super::connection::SMALL_HEADERS_MAX_BYTES;
use super::header_names;
use super::outgoing_properties::{CorrelationId, OurProperties, Properties, bare, short};
use super::properties_size::table_size;
use super::reply_address::{ReplyAddress, meant_queue, topic_address};

/// A message on its way out.
#[derive(Debug)]
pub struct Outgoing {
    pub(super) exchange: ShortString,
    pub(super) routing_key: ShortString,
    pub(super) mandatory: bool,
    /// Ours alone, so that a returned message can be told from its neighbours.
    pub(super) message_id: ShortString,
    pub(super) body: Vec<u8>,
    pub(super) properties: Properties,
}

impl AsRef<Self> for Outgoing {
    fn as_ref(&self) -> &Self {
        self
    }
}

impl Outgoing {
    /// A message with whatever properties.
    pub(super) fn other(
        queue: &str,
        message_id: &str,
        body: Vec<u8>,
        properties: BasicProperties,
    ) -> Self {
        Self {
            exchange: ShortString::default(),
            routing_key: short(queue),
            mandatory: true,
            message_id: short(message_id),
            body,
            properties: Properties::Other(Box::new(properties)),
        }
    }

    /// The exchange and routing key that it is published with, for people.
    pub fn destination(&self) -> String {
        match self.exchange.as_str() {
            "" => format!("the queue {}", self.routing_key),
            exchange => format!(
                "a queue behind the exchange {exchange} and the routing key {}",
                self.routing_key
            ),
        }
    }

    /// The address of a requester that this reply is on its way to.
    pub(crate) fn requester(&self, result_queue: &str) -> Option<ReplyAddress<'_>> {
        let is_reply = matches!(&self.properties, Properties::Ours(ours) if ours.error.is_some());
        let name = self.routing_key.as_str();
        if !is_reply {
            None
        } else if !self.is_to_queue() {
            Some(ReplyAddress::Topic(name))
        } else if name == result_queue {
            None
        } else {
            ReplyAddress::of(name.as_bytes())
        }
    }

    /// How it is to be published.
    pub fn route(&self, result_queue: &str) -> Route {
        match self.requester(result_queue) {
            _ if self.has_large_headers() => Route::Alone,
            Some(ReplyAddress::Direct(_) | ReplyAddress::Topic(_)) => Route::Interpreted,
            _ if self.has_unusual_id() => Route::Interpreted,
            Some(ReplyAddress::Queue(_)) => Route::Requester,
            None => Route::Own,
        }
    }

    /// About the memory that it takes, in bytes.
    pub fn size(&self) -> usize {
        const PROPERTIES: usize = 512;
        let headers = match &self.properties {
            Properties::Ours(ours) => ours.header_size(),
            Properties::Other(properties) => properties.headers().as_ref().map_or(0, table_size),
        };
        PROPERTIES + self.body.len() + headers
    }

    /// Keeps no more of the body of a dead letter than the broker takes; a header says how large it
    /// was.
    pub fn cut_body(&mut self, bytes_max: usize) {
        let size = self.body.len();
        if size <= bytes_max {
            return;
        }
        self.body.truncate(bytes_max);
        if let Properties::Other(properties) = &mut self.properties {
            let mut headers = properties.headers().clone().unwrap_or_default();
            let size = i64::try_from(size).unwrap_or(i64::MAX);
            headers.insert(
                header_names::ORIGINAL_BODY_SIZE.into(),
                AMQPValue::LongLongInt(size),
            );
            **properties = properties.as_ref().clone().with_headers(headers);
        }
    }

    /// Whether it goes to a queue by the queue's name.
    pub fn is_to_queue(&self) -> bool {
        self.exchange.as_str().is_empty()
    }

    /// Bytes of its body, which the broker has a limit for.
    pub fn body_size(&self) -> usize {
        self.body.len()
    }

    /// The exchange; empty for the default one.
    pub fn exchange(&self) -> &str {
        self.exchange.as_str()
    }

    /// The routing key.
    pub fn routing_key(&self) -> &str {
        self.routing_key.as_str()
    }

    /// Leaves out what is not needed: publishing it as it is cost the connection. False if there is
    /// nothing to be left out any more.
    pub fn strip(&mut self, result_queue: &str) -> bool {
        if self.redirect(result_queue) {
            return true;
        }
        match &mut self.properties {
            Properties::Ours(ours) => ours.strip(),
            Properties::Other(properties) => {
                let bare = bare(properties);
                let is_less = bare != **properties;
                **properties = bare;
                is_less
            }
        }
    }

    /// A reply that came back, as there is no queue of the address's own name, goes to the queue
    /// that the address means. False if it means none, or is on its way to that already.
    pub fn readdress(&mut self, result_queue: &str) -> bool {
        let Some(ReplyAddress::Queue(name)) = self.requester(result_queue) else {
            return false;
        };
        let Some(meant) = meant_queue(name) else {
            return false;
        };
        let Some(address) = ReplyAddress::of(meant.as_bytes()) else {
            return false;
        };
        let is_mandatory = address.is_mandatory();
        let meant = short(&meant);
        match &mut self.properties {
            // Once: what the name of a queue might mean again is not looked for.
            Properties::Ours(ours) if ours.meant_by.is_none() => {
                ours.meant_by = Some(std::mem::replace(&mut self.routing_key, meant));
                self.mandatory = is_mandatory;
                true
            }
            _ => false,
        }
    }

    /// A reply that its requester does not get, to be kept in the result queue. False if it is no
    /// reply, or was on its way there already.
    pub fn redirect(&mut self, result_queue: &str) -> bool {
        if self.requester(result_queue).is_none() {
            return false;
        }
        let Properties::Ours(ours) = &mut self.properties else {
            return false;
        };
        let name = std::mem::replace(&mut self.routing_key, short(result_queue));
        let original = ours.meant_by.take().unwrap_or(name);
        ours.original_reply_to = Some(if self.exchange.as_str().is_empty() {
            original.as_str().into()
        } else {
            topic_address(original.as_str()).into()
        });
        self.exchange = ShortString::default();
        self.mandatory = true;
        true
    }

    /// Whether its correlation id is no text, or stands in a header that the broker interprets.
    /// Then it must be published over a connection that others do not depend on, and that carries
    /// such ids ([`Options::carries_raw_ids`](super::connection::Options::carries_raw_ids)): else
    /// it has none but a header of ours.
    pub fn has_unusual_id(&self) -> bool {
        matches!(
            &self.properties,
            Properties::Ours(OurProperties {
                correlation_id: Some(CorrelationId::Bytes(_) | CorrelationId::Header(_)),
                ..
            })
        )
    }

    /// Whether its headers may be too large for a small frame.
    pub(super) fn has_large_headers(&self) -> bool {
        let size = match &self.properties {
            Properties::Ours(ours) => ours.header_size(),
            Properties::Other(properties) => properties.headers().as_ref().map_or(0, table_size),
        };
        size > SMALL_HEADERS_MAX_BYTES
    }

    /// The properties in AMQP's form.
    pub(super) fn properties(&self) -> BasicProperties {
        match &self.properties {
            Properties::Ours(ours) => ours.with_id(self.message_id.clone()),
            Properties::Other(properties) => (**properties).clone(),
        }
    }
}

/// Over what a message is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// To our own queues and exchange, over the channel for those.
    Own,
    /// To a queue that a request named, over the channel for those.
    Requester,
    /// To an address that the broker interprets, or with an id that is not text: over a connection
    /// for those.
    Interpreted,
    /// It does not fit into the frames of the other connections.
    Alone,
}

#[cfg(test)]
mod tests {
    use lapin::types::FieldTable;

    use super::*;

    const RESULTS: &str = "results";

    fn ours(queue: &str, error: Option<u16>, correlation_id: &[u8]) -> Outgoing {
        Outgoing {
            exchange: ShortString::default(),
            routing_key: short(queue),
            mandatory: false,
            message_id: short("our id"),
            body: Vec::new(),
            properties: Properties::Ours(OurProperties {
                content_type: "application/json",
                kind: "profiles.add.result",
                timestamp: 0,
                correlation_id: Some(CorrelationId::of(correlation_id)),
                error,
                meant_by: None,
                original_reply_to: None,
                trace: Vec::new(),
            }),
        }
    }

    fn reply(queue: &str) -> Outgoing {
        ours(queue, Some(0), b"7")
    }

    fn dead_letter(header: usize, body: usize) -> Outgoing {
        let mut headers = FieldTable::default();
        headers.insert(
            "x-theirs".into(),
            AMQPValue::LongString(vec![b'h'; header].into()),
        );
        headers.insert(header_names::ERROR.into(), AMQPValue::LongInt(400));
        let properties = BasicProperties::default().with_headers(headers);
        Outgoing::other("dead", "our id", vec![b'b'; body], properties)
    }

    fn header<'p>(properties: &'p BasicProperties, name: &str) -> Option<&'p AMQPValue> {
        properties.headers().as_ref()?.inner().get(name)
    }

    #[test]
    fn each_message_has_the_route_on_which_it_can_hurt_nobody() {
        let direct = "amq.rabbitmq.reply-to.g1h2AAxyZXBseUAx.abc";
        for (message, expected) in [
            (reply("answers"), Route::Requester),
            (reply(RESULTS), Route::Own),
            (ours("profile.added.1", None, b"7"), Route::Own),
            (ours("answers", Some(0), b"\xff"), Route::Interpreted),
            (dead_letter(10, 10), Route::Own),
            (dead_letter(SMALL_HEADERS_MAX_BYTES, 10), Route::Alone),
        ] {
            assert_eq!(message.route(RESULTS), expected, "{message:?}");
        }
        let is_interpreted = reply(direct).route(RESULTS) == Route::Interpreted;
        let is_direct = matches!(
            ReplyAddress::of(direct.as_bytes()),
            Some(ReplyAddress::Direct(_))
        );
        assert_eq!(is_interpreted, is_direct);
    }

    #[test]
    fn a_reply_is_redirected_once_and_says_where_it_should_have_gone() {
        let mut reply = reply("gone");
        assert_eq!(reply.requester(RESULTS), Some(ReplyAddress::Queue("gone")));
        assert!(reply.redirect(RESULTS) && !reply.redirect(RESULTS));
        assert_eq!(
            (reply.routing_key(), reply.requester(RESULTS)),
            (RESULTS, None)
        );
        assert!(reply.mandatory);
        let properties = reply.properties();
        assert_eq!(
            header(&properties, header_names::ORIGINAL_REPLY_TO),
            Some(&AMQPValue::LongString("gone".into()))
        );
    }

    fn original(reply: &Outgoing) -> Option<AMQPValue> {
        header(&reply.properties(), header_names::ORIGINAL_REPLY_TO).cloned()
    }

    #[test]
    fn a_reply_that_came_back_goes_to_the_queue_that_is_meant_and_then_to_the_result_queue() {
        let mut reply = reply("/queue/answers");
        assert!(reply.readdress(RESULTS));
        assert_eq!(
            (reply.routing_key(), reply.mandatory, original(&reply)),
            ("answers", true, None)
        );
        assert!(!reply.readdress(RESULTS) && reply.redirect(RESULTS));
        assert_eq!(reply.routing_key(), RESULTS);
        assert_eq!(
            original(&reply),
            Some(AMQPValue::LongString("/queue/answers".into()))
        );
    }

    #[test]
    fn only_one_name_is_looked_for_in_an_address() {
        // A loop could hide behind the second.
        let mut twice = reply("/queue/%2Fqueue%2Frequests");
        assert!(twice.readdress(RESULTS));
        assert_eq!(twice.routing_key(), "/queue/requests");
        assert!(!twice.readdress(RESULTS));
        for name in [
            "answers",
            "/queue/",
            "/queue/amq.rabbitmq.reply-to.x.y",
            RESULTS,
        ] {
            assert!(!reply(name).readdress(RESULTS), "{name}");
        }
        assert!(!dead_letter(1, 1).readdress(RESULTS));
    }

    #[test]
    fn a_reply_to_a_topic_is_kept_from_others_and_says_where_it_should_have_gone() {
        let mut to_topic = reply("replies.5");
        to_topic.exchange = short("amq.topic");
        assert_eq!(to_topic.route(RESULTS), Route::Interpreted);
        // A topic may have the name of any queue.
        to_topic.routing_key = short(RESULTS);
        assert!(!to_topic.readdress(RESULTS) && to_topic.redirect(RESULTS));
        assert_eq!((to_topic.exchange(), to_topic.routing_key()), ("", RESULTS));
        assert_eq!(
            original(&to_topic),
            Some(AMQPValue::LongString("/topic/results".into()))
        );
        assert_eq!(to_topic.route(RESULTS), Route::Own);
    }

    #[test]
    fn an_id_that_stands_in_a_header_stays_away_from_others() {
        let with_id = |id| {
            let mut reply = reply("answers");
            if let Properties::Ours(ours) = &mut reply.properties {
                ours.correlation_id = Some(CorrelationId::Header(id));
            }
            reply
        };
        let bytes = |count| AMQPValue::ByteArray(vec![7; count].into());
        for (size, route) in [
            (16, Route::Interpreted),
            (SMALL_HEADERS_MAX_BYTES, Route::Alone),
        ] {
            let mut reply = with_id(bytes(size));
            assert_eq!(reply.route(RESULTS), route);
            assert!(reply.size() > size);
            let properties = reply.properties();
            assert_eq!(
                header(&properties, header_names::CORRELATION_ID),
                Some(&bytes(size))
            );
            assert!(reply.redirect(RESULTS) && reply.strip(RESULTS));
            assert!(header(&reply.properties(), header_names::CORRELATION_ID).is_none());
        }
    }

    #[test]
    fn nothing_but_a_reply_is_redirected() {
        assert!(!ours("profile.added.1", None, b"7").redirect(RESULTS));
        assert!(!dead_letter(1, 1).redirect(RESULTS));
    }

    #[test]
    fn a_message_that_costs_the_connection_says_less_each_time_until_nothing_is_left() {
        let mut reply = reply("answers");
        assert!(reply.strip(RESULTS), "to the result queue first");
        assert!(reply.strip(RESULTS), "without what came with the request");
        assert!(!reply.strip(RESULTS));
        assert_eq!(*reply.properties().correlation_id(), None);
        let mut letter = dead_letter(10, 10);
        assert!(letter.strip(RESULTS) && !letter.strip(RESULTS));
        let properties = letter.properties();
        assert!(header(&properties, "x-theirs").is_none());
        assert!(header(&properties, header_names::ERROR).is_some());
    }

    #[test]
    fn a_body_that_is_cut_says_how_large_it_was() {
        let mut letter = dead_letter(1, 1000);
        letter.cut_body(1000);
        assert!(header(&letter.properties(), header_names::ORIGINAL_BODY_SIZE).is_none());
        letter.cut_body(100);
        assert_eq!(letter.body_size(), 100);
        assert!(header(&letter.properties(), header_names::ORIGINAL_BODY_SIZE).is_some());
    }
}
