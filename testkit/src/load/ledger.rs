//! What was published and what came back, all of it in memory.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard};

use lapin::message::Delivery;
use lapin::types::AMQPValue;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::load::plan::Plan;

/// The queues that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    Steady,
    Fleeting,
    Results,
    DeadLetters,
    Events,
}

impl Source {
    pub const ALL: [Self; 5] = [
        Self::Steady,
        Self::Fleeting,
        Self::Results,
        Self::DeadLetters,
        Self::Events,
    ];

    pub const fn queue(self) -> &'static str {
        match self {
            Self::Steady => "chaos.replies",
            Self::Fleeting => "chaos.fleeting",
            Self::Results => "profiles.add.results",
            Self::DeadLetters => "profiles.add.dead",
            Self::Events => "chaos.events",
        }
    }
}

/// A reply as it came.
#[derive(Debug, Clone)]
pub struct Reply {
    pub source: Source,
    /// The header `x-original-reply-to`.
    pub original_reply_to: Option<String>,
    /// What it says, also if it is XML.
    pub said: Value,
    /// The header `error`.
    pub error_header: Option<i64>,
}

/// A trigger event as it came.
#[derive(Debug, Clone)]
pub struct Event {
    pub routing_key: String,
    pub said: Value,
}

/// Everything that was seen.
#[derive(Debug, Default)]
pub struct Seen {
    /// How often each request was published.
    pub published: Vec<u32>,
    /// When it was published and answered for the first time.
    pub times: Vec<Times>,
    /// Whether the broker has confirmed it at least once.
    pub confirmed: HashSet<usize>,
    /// Published once more, as the broker went away before it had confirmed.
    pub published_again: usize,
    /// Sent once more, as the queue of the reply was deleted.
    pub sent_again: usize,
    pub replies: Vec<Vec<Reply>>,
    pub answered: usize,
    /// Answers and events that had come before.
    pub repeats: usize,
    /// The bodies of the dead letters of each request.
    pub dead_letters: HashMap<usize, Vec<DeadLetter>>,
    /// By their message_id.
    pub events: HashMap<String, Vec<Event>>,
    /// Messages that belong to nothing.
    pub strays: Vec<String>,
}

#[derive(Debug, Clone, Copy, Default)]
pub struct Times {
    pub published: Option<Instant>,
    pub answered: Option<Instant>,
}

#[derive(Debug, Clone)]
pub struct DeadLetter {
    pub body: Vec<u8>,
    pub error: Option<i64>,
}

/// The same, shared between those who publish and those who read.
#[derive(Debug)]
pub struct Ledger(Mutex<Seen>);

impl Ledger {
    pub fn new(plan: &Plan) -> Self {
        let count = plan.requests.len();
        let (published, times, replies) = (
            vec![0; count],
            vec![Times::default(); count],
            vec![Vec::new(); count],
        );
        Self(Mutex::new(Seen {
            published,
            times,
            replies,
            ..Seen::default()
        }))
    }

    pub fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub fn is_answered(&self, request: usize) -> bool {
        !self.seen().replies[request].is_empty()
    }

    /// Notes that a request is about to be published.
    pub fn publish(&self, request: usize) {
        let mut seen = self.seen();
        seen.published[request] += 1;
        seen.times[request]
            .published
            .get_or_insert_with(Instant::now);
    }

    /// Notes a message.
    pub fn take(&self, source: Source, delivery: &Delivery) {
        let properties = &delivery.properties;
        let text = |property: &Option<lapin::types::ShortString>| {
            property.as_ref().map(|text| text.as_str().to_owned())
        };
        let header = |name: &str| {
            properties
                .headers()
                .as_ref()
                .and_then(|headers| headers.inner().get(name))
        };
        let number = |name: &str| match header(name) {
            Some(AMQPValue::LongInt(number)) => Some(i64::from(*number)),
            _ => None,
        };
        let mut seen = self.seen();
        if source == Source::Events {
            let id = text(properties.message_id()).unwrap_or_default();
            let said = serde_json::from_slice(&delivery.data).unwrap_or(Value::Null);
            let event = Event {
                routing_key: delivery.routing_key.as_str().to_owned(),
                said,
            };
            let same = seen.events.entry(id).or_default();
            same.push(event);
            let is_repeated = same.len() > 1;
            seen.repeats += usize::from(is_repeated);
            return;
        }
        // A dead letter has the request's properties; a reply has its correlation_id or, where
        // there is none, its message_id in the place of it.
        let name = text(properties.correlation_id());
        let request = name
            .as_deref()
            .and_then(|name| name.get(1..)?.parse::<usize>().ok());
        let Some(request) = request.filter(|request| *request < seen.replies.len()) else {
            let body = String::from_utf8_lossy(&delivery.data);
            let body: String = body.chars().take(200).collect();
            return seen.strays.push(format!(
                "{} in {}: {body}",
                name.unwrap_or_default(),
                source.queue()
            ));
        };
        if source == Source::DeadLetters {
            let letter = DeadLetter {
                body: delivery.data.clone(),
                error: number("x-error"),
            };
            return seen.dead_letters.entry(request).or_default().push(letter);
        }
        let original_reply_to = match header("x-original-reply-to") {
            Some(AMQPValue::LongString(text)) => {
                Some(String::from_utf8_lossy(text.as_bytes()).into_owned())
            }
            _ => None,
        };
        let is_xml = properties
            .content_type()
            .as_ref()
            .is_some_and(|content_type| content_type.as_str().contains("xml"));
        let said = if is_xml {
            read_xml(&delivery.data)
        } else {
            serde_json::from_slice(&delivery.data).ok()
        };
        let said = said.unwrap_or_else(|| {
            json!(format!(
                "unreadable: {}",
                String::from_utf8_lossy(&delivery.data)
            ))
        });
        if seen.replies[request].is_empty() {
            seen.answered += 1;
            seen.times[request].answered = Some(Instant::now());
        } else {
            seen.repeats += 1;
        }
        seen.replies[request].push(Reply {
            source,
            original_reply_to,
            said,
            error_header: number("error"),
        });
    }
}

/// A reply in XML to a single request, as the same reply in JSON but for its texts.
fn read_xml(bytes: &[u8]) -> Option<Value> {
    let text = std::str::from_utf8(bytes).ok()?;
    let field = |name: &str| {
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        Some(rest.split_once(&format!("</{name}>"))?.0)
    };
    let mut reply = json!({"error": field("error")?.parse::<i64>().ok()?});
    for name in ["error_text", "profile_id"] {
        if let Some(value) = field(name) {
            reply[name] = json!(value);
        }
    }
    Some(reply)
}
