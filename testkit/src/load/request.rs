//! The load: requests of every kind of the contract, made from the seed, each with what must come
//! of it.

use profile_worker::domain::token::Secret;
use serde_json::{Map, Value, json};

use crate::load::reply_queue;
use crate::random::Random;
use crate::raw_amqp::{Props, bit, nested_arrays};

/// The field of a profile that says which entry of which request it is of.
pub const MARKER: &str = "chaos";

/// What a request is there for; the rows of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Email,
    EmailUnnamed,
    SharedEmail,
    Repeated,
    NoEmail,
    NoEmailUnnamed,
    Xml,
    BatchForm,
    Refused,
    Unreadable,
    Poison,
    Probe,
}

impl Kind {
    pub const ALL: [Self; 12] = [
        Self::Email,
        Self::EmailUnnamed,
        Self::SharedEmail,
        Self::Repeated,
        Self::NoEmail,
        Self::NoEmailUnnamed,
        Self::Xml,
        Self::BatchForm,
        Self::Refused,
        Self::Unreadable,
        Self::Poison,
        Self::Probe,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Email => "an email of its own",
            Self::EmailUnnamed => "the same, no message_id",
            Self::SharedEmail => "an email that others have, too",
            Self::Repeated => "sent two or three times",
            Self::NoEmail => "no email",
            Self::NoEmailUnnamed => "no email, no message_id",
            Self::Xml => "in XML",
            Self::BatchForm => "batch form, 1 to 300 profiles",
            Self::Refused => "to be refused (400 to 404)",
            Self::Unreadable => "unreadable",
            Self::Poison => "properties that do harm",
            Self::Probe => "probes of the recovery",
        }
    }
}

/// Where the reply shall go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ReplyTo {
    /// A queue that is always there.
    Steady,
    /// One that is deleted now and then.
    Fleeting,
    /// One that never was.
    Gone,
    /// A direct reply-to that nobody was given.
    Forged,
    Nowhere,
}

/// One request and what must come of it.
#[derive(Debug)]
pub struct Request {
    pub kind: Kind,
    pub body: Vec<u8>,
    pub content_type: Option<&'static str>,
    pub message_id: Option<String>,
    pub correlation_id: Option<String>,
    pub reply_to: ReplyTo,
    /// A header in the place of the body's token.
    pub authorization: Option<String>,
    /// How often it is sent on purpose.
    pub copies: usize,
    pub expected: Expected,
    /// Properties that no client library sends.
    pub raw: Option<Props>,
}

/// What must come of a request.
#[derive(Debug)]
pub enum Expected {
    /// This error, and nothing stored.
    Error(i64),
    /// A 400 and a dead letter.
    DeadLetter,
    /// Refused without a token; what can't be carried is a dead letter besides.
    Refused,
    One(Entry),
    Many(Vec<Entry>),
}

/// Resource, channel and address.
pub type Subscription = (i64, String, String);

/// One profile of a request.
#[derive(Debug)]
pub struct Entry {
    /// In the profile's field [`MARKER`].
    pub marker: String,
    pub db_id: i64,
    pub email: Option<String>,
    /// What must stand in the column `data`.
    pub data: Value,
    /// As they must be stored.
    pub subscriptions: Vec<Subscription>,
    /// The places of the subscriptions that are to be dropped.
    pub skipped: Vec<i64>,
    pub wants_event: bool,
    /// It must be refused as a bad field, without harm for its neighbours.
    pub is_bad: bool,
}

impl Request {
    /// The profiles that it holds.
    pub fn entries(&self) -> &[Entry] {
        match &self.expected {
            Expected::One(entry) => std::slice::from_ref(entry),
            Expected::Many(entries) => entries,
            Expected::Error(_) | Expected::DeadLetter | Expected::Refused => &[],
        }
    }

    /// Whether the contract promises that an entry of it is never stored twice.
    pub fn promises(&self, entry: &Entry) -> bool {
        self.message_id.is_some() || entry.email.is_some()
    }
}

/// Whom the requests are from. The secrets follow from the seed, as the bodies hold them.
#[derive(Debug)]
pub struct Tokens {
    /// Opens databases 1 and 2.
    pub both: Secret,
    /// Opens all.
    pub all: Secret,
    unknown: Secret,
}

impl Tokens {
    pub fn of(seed: u64) -> Self {
        let mut random = Random::new(seed, 1);
        let mut secret = || {
            let mut bytes = [0; 32];
            bytes
                .chunks_exact_mut(8)
                .for_each(|eight| eight.copy_from_slice(&random.bits().to_le_bytes()));
            Secret::from_random(bytes)
        };
        Self {
            both: secret(),
            all: secret(),
            unknown: secret(),
        }
    }
}

/// Makes the requests one after the other.
pub struct Maker<'t> {
    random: Random,
    tokens: &'t Tokens,
    /// How many emails are shared by several requests.
    shared: usize,
}

/// Of so many requests the first third only has some that the worker refuses after it has asked the
/// database once more. A batch with one of those asks first and inserts then, so that its insert
/// comes through no network that swallows answers; the others are there to lose the answer of a
/// commit.
const STRETCH: usize = 300;

/// One email in several spellings, but for a number behind the local part.
const SHARED: [(&str, &str); 5] = [
    ("иван", "пример.рф"),
    ("ИВАН", "ПРИМЕР.РФ"),
    ("Иван", "xn--e1afmkfd.xn--p1ai"),
    ("иван", "XN--E1AFMKFD.xn--p1ai"),
    ("иваН", "пример。рф"),
];

/// What all spellings have in common of an email that this module makes.
pub fn same(email: &str) -> String {
    let (_, host) = SHARED[0];
    let small = email.to_lowercase();
    SHARED.iter().fold(small, |text, (_, spelling)| {
        text.replace(&spelling.to_lowercase(), host)
    })
}

/// Bytes of padding of a large request.
const LARGE: usize = 200_000;

impl<'t> Maker<'t> {
    pub fn new(seed: u64, tokens: &'t Tokens, requests: usize) -> Self {
        Self {
            random: Random::new(seed, 2),
            tokens,
            shared: (requests / 24).max(1),
        }
    }

    /// The request with this number, of some kind.
    pub fn request(&mut self, number: usize) -> Request {
        match self.random.below(1000) {
            0..380 => self.single(number, Kind::Email),
            380..500 => self.single(number, Kind::EmailUnnamed),
            500..620 => self.single(number, Kind::SharedEmail),
            620..680 => self.single(number, Kind::Repeated),
            680..760 => self.single(number, Kind::NoEmail),
            760..810 => self.single(number, Kind::NoEmailUnnamed),
            810..870 => self.xml(number),
            870..890 => self.batch_form(number),
            890..970 => self.refused(number),
            970..978 => self.poison(number),
            _ => self.unreadable(number),
        }
    }

    /// A small request whose answer shows that all is well again.
    pub fn probe(&mut self, number: usize) -> Request {
        let entry = self.plain_entry(
            format!("{number}.0"),
            Some(format!("probe{number}@example.com")),
        );
        let body = self.body(&entry, json!(data_of(&entry)), Map::new());
        Request {
            reply_to: ReplyTo::Steady,
            copies: 1,
            ..self.finish(number, Kind::Probe, body, true, Expected::One(entry))
        }
    }

    fn single(&mut self, number: usize, kind: Kind) -> Request {
        let named = match kind {
            Kind::EmailUnnamed | Kind::NoEmailUnnamed => false,
            Kind::SharedEmail => self.random.percent(60),
            _ => true,
        };
        let email = match kind {
            Kind::NoEmail | Kind::NoEmailUnnamed => None,
            Kind::Repeated if self.random.percent(25) => None,
            Kind::SharedEmail => {
                let (local, host) = SHARED[self.random.below(SHARED.len())];
                Some(format!("{local}{}@{host}", self.random.below(self.shared)))
            }
            _ => Some(format!("r{number}@example.com")),
        };
        let mut entry = self.plain_entry(format!("{number}.0"), email);
        let mut data = data_of(&entry);
        let mut rest = Map::new();
        self.subscribe(&mut entry, &mut data, &mut rest);
        if self.random.percent(20) {
            entry.wants_event = self.random.percent(30);
            rest.insert("skip_triggers".to_owned(), json!(!entry.wants_event));
        }
        let token_in_header = self.random.percent(5);
        if token_in_header {
            rest.insert("token".to_owned(), Value::Null);
        }
        let body = self.body(&entry, Value::Object(data), rest);
        let mut request = self.finish(number, kind, body, named, Expected::One(entry));
        request.authorization =
            token_in_header.then(|| format!("Bearer {}", self.tokens.both.reveal()));
        if kind == Kind::Repeated {
            request.copies = self.random.between(2, 3);
        }
        request
    }

    /// A profile with some fields and no subscriptions.
    fn plain_entry(&mut self, marker: String, email: Option<String>) -> Entry {
        let mut data = Map::new();
        data.insert(MARKER.to_owned(), json!(marker));
        data.insert("_fname".to_owned(), json!(self.random.text(8)));
        if self.random.percent(30) {
            data.insert("note".to_owned(), json!(self.random.text(60)));
        }
        if self.random.below(120) == 0 {
            data.insert("padding".to_owned(), json!(self.random.text(LARGE)));
        }
        Entry {
            marker,
            db_id: if self.random.percent(80) { 1 } else { 2 },
            email,
            data: Value::Object(data),
            subscriptions: Vec::new(),
            skipped: Vec::new(),
            wants_event: true,
            is_bad: false,
        }
    }

    /// Gives a profile up to three subscriptions, and now and then one that is to be dropped.
    fn subscribe(
        &mut self,
        entry: &mut Entry,
        data: &mut Map<String, Value>,
        rest: &mut Map<String, Value>,
    ) {
        let mut list = Vec::new();
        let drops = self.random.percent(6);
        let bad_one = self.random.below(3);
        let resource = if entry.db_id == 1 { 1 } else { 3 };
        for place in 0..self.random.below(4) {
            if drops && place == bad_one {
                entry.skipped.push(place as i64);
                list.push(json!({"resource_id": resource, "channel": "sms", "phone": "call me"}));
                continue;
            }
            let (channel, address, given) = self.address(place);
            entry
                .subscriptions
                .push((resource, channel.to_owned(), address));
            let mut item = json!({"resource_id": resource, "channel": channel});
            if let (Value::Object(item), Value::Object(given)) = (&mut item, given) {
                item.extend(given);
            }
            list.push(item);
        }
        if !entry.skipped.is_empty() {
            rest.insert("skip_invalid_subscriptions".to_owned(), json!(true));
        }
        if !list.is_empty() {
            data.insert("subscriptions".to_owned(), Value::Array(list));
        }
    }

    /// A channel, the address as it must be stored, and the fields that give it.
    fn address(&mut self, place: usize) -> (&'static str, String, Value) {
        let number = self.random.below(100_000_000);
        match self.random.below(4) {
            0 => {
                let email = format!("s{number}.{place}@example.com");
                ("email", email.clone(), json!({"email": email}))
            }
            1 => {
                let phone = format!("+790{place}{number:08}");
                ("sms", phone.clone(), json!({"phone": phone}))
            }
            2 => {
                let id = format!("{place}-{number}");
                (
                    "push",
                    format!("fcm:{id}"),
                    json!({"provider": "fcm", "subscription_id": id}),
                )
            }
            _ => {
                let id = number as i64 * 10 + place as i64 + 1;
                (
                    "telegram_bot",
                    id.to_string(),
                    json!({"cc_data": {"id": id}}),
                )
            }
        }
    }

    /// The body of a single request in JSON; `rest` is what it has besides.
    fn body(&self, entry: &Entry, data: Value, mut rest: Map<String, Value>) -> Vec<u8> {
        rest.entry("token")
            .or_insert_with(|| json!(self.tokens.both.reveal()));
        rest.insert("db_id".to_owned(), json!(entry.db_id));
        rest.insert("data".to_owned(), data);
        json!(rest).to_string().into_bytes()
    }

    fn xml(&mut self, number: usize) -> Request {
        let email = format!("r{number}@example.com");
        let entry = self.plain_entry(format!("{number}.0"), Some(email.clone()));
        let mut fields = String::new();
        for (name, value) in entry.data.as_object().into_iter().flatten() {
            fields.push_str(&format!(
                "<{name}>{}</{name}>",
                value.as_str().unwrap_or_default()
            ));
        }
        let body = format!(
            "<xml><token>{}</token><db_id>{}</db_id><data><email>{email}</email>{fields}</data></xml>",
            self.tokens.both.reveal(),
            entry.db_id
        );
        let mut request = self.finish(
            number,
            Kind::Xml,
            body.into_bytes(),
            true,
            Expected::One(entry),
        );
        request.content_type = self.random.percent(70).then_some("application/xml");
        request
    }

    fn batch_form(&mut self, number: usize) -> Request {
        // Small ones mostly.
        let most = self.random.between(1, 300);
        let size = self.random.between(1, most);
        let db_id = if self.random.percent(80) { 1 } else { 2 };
        let mut entries = Vec::with_capacity(size);
        let mut list = Vec::with_capacity(size);
        for place in 0..size {
            let email = match self.random.below(20) {
                0..4 => None,
                // One that stands further up as well, in capitals.
                4 if place > 0 => Some(format!(
                    "B{number}.{}@EXAMPLE.com",
                    self.random.below(place)
                )),
                _ => Some(format!("b{number}.{place}@example.com")),
            };
            let mut entry = self.plain_entry(format!("{number}.{place}"), email);
            entry.db_id = db_id;
            let mut data = data_of(&entry);
            if self.random.percent(8) {
                entry.is_bad = true;
                data.insert("_tz".to_owned(), json!("Nowhere"));
            }
            entries.push(entry);
            list.push(Value::Object(data));
        }
        let mut body = json!({"token": self.tokens.both.reveal(), "db_id": db_id, "data": list});
        if self.random.percent(15) {
            body["skip_triggers"] = json!(true);
            entries
                .iter_mut()
                .for_each(|entry| entry.wants_event = false);
        }
        let named = self.random.percent(85);
        self.finish(
            number,
            Kind::BatchForm,
            body.to_string().into_bytes(),
            named,
            Expected::Many(entries),
        )
    }

    fn refused(&mut self, number: usize) -> Request {
        let email = format!("refused{number}@example.com");
        let (both, all) = (self.tokens.both.reveal(), self.tokens.all.reveal());
        let marker = format!("{number}.0");
        let (code, body) = match self.random.below(if number % STRETCH < STRETCH / 3 {
            6
        } else {
            2
        }) {
            0 => (
                400,
                json!({"token": both, "db_id": 1, "data": {"email": "no address", MARKER: marker}}),
            ),
            1 => (
                400,
                json!({"token": both, "db_id": "one", "data": {MARKER: marker}}),
            ),
            2 => {
                let bad = json!([{"resource_id": 99, "channel": "email", "email": email}]);
                (
                    400,
                    json!({"token": both, "db_id": 1, "data": {"email": email, MARKER: marker, "subscriptions": bad}}),
                )
            }
            3 => (
                401,
                json!({"token": self.tokens.unknown.reveal(), "db_id": 1, "data": {MARKER: marker}}),
            ),
            4 => (
                403,
                json!({"token": both, "db_id": 3, "data": {"email": email, MARKER: marker}}),
            ),
            _ => (
                404,
                json!({"token": all, "db_id": 999, "data": {"email": email, MARKER: marker}}),
            ),
        };
        let named = self.random.percent(50);
        self.finish(
            number,
            Kind::Refused,
            body.to_string().into_bytes(),
            named,
            Expected::Error(code),
        )
    }

    fn unreadable(&mut self, number: usize) -> Request {
        let body = match self.random.below(6) {
            0 => format!("hello, world {number}").into_bytes(),
            1 => format!(r#"{{"token":"x","n":{number},"#).into_bytes(),
            2 => [
                &b"{\"a\":\"\xff\xfe"[..],
                number.to_string().as_bytes(),
                b"\"}",
            ]
            .concat(),
            3 => format!("<!DOCTYPE xml [<!ENTITY a 'b'>]><xml><n>{number}</n></xml>").into_bytes(),
            4 => format!("{}{number}{}", "[".repeat(80), "]".repeat(80)).into_bytes(),
            _ => format!("[{number}]").into_bytes(),
        };
        let named = self.random.percent(50);
        let mut request = self.finish(number, Kind::Unreadable, body, named, Expected::DeadLetter);
        // By what the dead letter is known.
        request.correlation_id = Some(format!("r{number}"));
        request
    }

    /// What once cost the connection or the process: nested headers, texts that are none, a reply
    /// address that was never given out, headers that fill a frame.
    fn poison(&mut self, number: usize) -> Request {
        let (kind, correlation_id) = (Kind::Poison, format!("r{number}"));
        let mut request = match self.random.below(4) {
            0 => {
                let nested = Props::new().header_raw(
                    "x",
                    b'A',
                    &nested_arrays(self.random.between(3000, 6000)),
                );
                let request = self.finish(number, kind, b"{}".to_vec(), false, Expected::Refused);
                Request {
                    reply_to: ReplyTo::Nowhere,
                    raw: Some(nested),
                    ..request
                }
            }
            1 => {
                let garbage = format!("garbage {number}").into_bytes();
                let large = Props::new().header("x", "y".repeat(130_800));
                let request = self.finish(number, kind, garbage, false, Expected::DeadLetter);
                Request {
                    reply_to: ReplyTo::Nowhere,
                    raw: Some(large),
                    ..request
                }
            }
            2 => {
                let no_text = [&[0xff, 0xfe][..], &number.to_be_bytes()].concat();
                let raw = Props::new()
                    .message_id(&no_text)
                    .short(bit::APP_ID, &no_text)
                    .header(&no_text, "x");
                let request = self.single(number, Kind::EmailUnnamed);
                let raw =
                    reply_queue(request.reply_to).map_or(raw.clone(), |queue| raw.reply_to(queue));
                let raw = request
                    .authorization
                    .as_ref()
                    .map_or(raw.clone(), |value| raw.header("authorization", value));
                Request {
                    kind,
                    raw: Some(raw),
                    ..request
                }
            }
            _ => {
                // Half of them are the worst: nothing tells a second delivery from another request.
                let unnamed = if self.random.percent(50) {
                    Kind::NoEmailUnnamed
                } else {
                    Kind::EmailUnnamed
                };
                Request {
                    kind,
                    reply_to: ReplyTo::Forged,
                    ..self.single(number, unnamed)
                }
            }
        };
        // By what its reply and its dead letter are known.
        request.raw = request.raw.map(|raw| {
            raw.correlation_id(&correlation_id)
                .raw(bit::DELIVERY_MODE, &[2])
        });
        request.correlation_id = Some(correlation_id);
        request
    }

    /// What all have: names, and where the reply goes.
    fn finish(
        &mut self,
        number: usize,
        kind: Kind,
        body: Vec<u8>,
        named: bool,
        expected: Expected,
    ) -> Request {
        let reply_to = match self.random.below(100) {
            0..70 => ReplyTo::Steady,
            // What is lost with the queue can only be asked for again by its message_id.
            70..82 if named => ReplyTo::Fleeting,
            70..82 => ReplyTo::Steady,
            82..90 => ReplyTo::Gone,
            _ => ReplyTo::Nowhere,
        };
        // Where there is none the message_id stands for it.
        let correlated = !named || self.random.percent(93);
        Request {
            kind,
            body,
            content_type: None,
            message_id: named.then(|| format!("m{number}")),
            correlation_id: correlated.then(|| format!("r{number}")),
            reply_to,
            authorization: None,
            copies: 1,
            expected,
            raw: None,
        }
    }
}

/// The profile as the request has it, but for subscriptions.
fn data_of(entry: &Entry) -> Map<String, Value> {
    let mut data = entry.data.as_object().cloned().unwrap_or_default();
    if let Some(email) = &entry.email {
        data.insert("email".to_owned(), json!(email));
    }
    data
}
