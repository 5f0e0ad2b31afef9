//! What must hold of the decision on any message. Tests and the fuzz targets (`fuzz/`) share it.

use std::collections::HashSet;
use std::sync::LazyLock;

use jiff::Timestamp;
use profile_worker::domain::blank;
use profile_worker::domain::channel::Channel;
use profile_worker::domain::custom_field::FieldType;
use profile_worker::domain::directory::{Database, Directory};
use profile_worker::domain::email::Email;
use profile_worker::domain::identity::{IdSource, ProfileId};
use profile_worker::domain::kind::{Field, Kind};
use profile_worker::domain::outcome::{Code, Rejection};
use profile_worker::domain::profile;
use profile_worker::domain::subscription::{SUBSCRIPTIONS_MAX, Subscription};
use profile_worker::domain::token::{Scope, Token, TokenHash};
use profile_worker::domain::value::{Object, Value};
use profile_worker::encoding::charset;
use profile_worker::encoding::declared::Declared;
use profile_worker::pipeline::decide::{Addition, Decision, Properties, Rules, Verdict, decide};
use profile_worker::wire::event;
use profile_worker::wire::reply::{Added, Reply, Success};
use profile_worker::wire::request::{DATA, FEEDBACK_ID_MAX_BYTES, NAMES, PROFILES_MAX};
use profile_worker::wire::{DEPTH_MAX, Format, VALUES_MAX};
use serde_json::Value as Json;

/// A token for databases 1 and 3, named as in the fixtures.
pub const TOKEN: &str = "{token}";
/// A token for every database.
pub const TOKEN_FOR_ALL: &str = "{token for all databases}";
/// What no text may repeat when it stands in a request as a value: a token, as its beginning says.
pub const SECRET: &str = "pw_s3cr3t";
/// Tokens that open nothing here: database 7 does not exist.
pub const DEAD_TOKENS: [&str; 3] = ["{revoked}", "{expired}", "{gone}"];

const NOW: i64 = 1_800_000_000;
/// No text is longer, as names are cut off.
const TEXT_MAX_BYTES: usize = 1000;

/// Database 1 takes any field, 2 only those that are defined, as in the fixtures; 3 defines one.
static DIRECTORY: LazyLock<Directory> = LazyLock::new(|| {
    let past = Timestamp::from_second(NOW - 1).ok();
    let token = |scope, expires_at, revoked| Token {
        scope,
        expires_at,
        revoked,
    };
    let only = |db_ids: &[i64]| Scope::Databases(db_ids.to_vec());
    let tokens = [
        (TOKEN, token(only(&[1, 3]), None, false)),
        (TOKEN_FOR_ALL, token(Scope::AllDatabases, None, false)),
        (DEAD_TOKENS[0], token(Scope::AllDatabases, None, true)),
        (DEAD_TOKENS[1], token(Scope::AllDatabases, past, false)),
        (DEAD_TOKENS[2], token(only(&[7]), None, false)),
    ];
    let names = [
        "nick",
        "loyalty_level",
        "score",
        "vip",
        "birthday",
        "last_seen",
        "tags",
        "address",
    ];
    let defined = names
        .map(str::to_owned)
        .into_iter()
        .zip(FieldType::ALL)
        .collect();
    let level = FromIterator::from_iter([("level".to_owned(), FieldType::Integer)]);
    Directory {
        version: 1,
        tokens: tokens
            .into_iter()
            .map(|(text, token)| (TokenHash::of(text), token))
            .collect(),
        databases: FromIterator::from_iter([
            (1, Database::default()),
            (
                2,
                Database {
                    is_strict: true,
                    fields: defined,
                },
            ),
            (
                3,
                Database {
                    is_strict: false,
                    fields: level,
                },
            ),
        ]),
        resources: FromIterator::from_iter([
            ((1, 1), Channel::ALL.into_iter().collect()),
            ((1, 2), [Channel::Email].into_iter().collect()),
            ((2, 1), [Channel::Sms, Channel::Push].into_iter().collect()),
        ]),
        ..Directory::default()
    }
});

/// The kinds of the custom fields that the database defines.
pub fn defined_fields(db_id: i64) -> Vec<(String, Kind)> {
    let database = DIRECTORY.databases.get(&db_id);
    let fields = database.into_iter().flat_map(|database| &database.fields);
    let mut fields: Vec<_> = fields
        .map(|(name, field_type)| (name.clone(), Kind::of(*field_type)))
        .collect();
    fields.sort_by(|a, b| a.0.cmp(&b.0));
    fields
}

/// A message, and the size limit that it is judged by.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    pub body: &'a [u8],
    pub properties: Properties<'a>,
    pub body_max: u64,
}

impl<'a> Message<'a> {
    /// A body without properties.
    pub fn of(body: &'a [u8]) -> Self {
        Self {
            body,
            properties: Properties::default(),
            body_max: 10 << 20,
        }
    }

    /// Reads what the fuzzer makes: a body; or, if it begins with `#`, a line with properties, and
    /// a body. The line is `#content type|authorization|letters|content encoding`: `m`essage id,
    /// `c`orrelation id, `r`eply to, re`d`elivered, `s`mall size limit.
    pub fn parse(input: &'a [u8]) -> Self {
        let mut message = Message::of(input);
        let Some(rest) = input.strip_prefix(b"#") else {
            return message;
        };
        let end = rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len());
        let Ok(line) = std::str::from_utf8(&rest[..end]) else {
            return message;
        };
        message.body = rest.get(end + 1..).unwrap_or_default();
        let mut parts = line.split('|');
        let mut part = || parts.next().filter(|part| !part.is_empty());
        message.properties.content_type = part();
        message.properties.authorization = part();
        let letters = part().unwrap_or_default();
        message.properties.content_encoding = part();
        let given = |letter: char, text: &'static [u8]| letters.contains(letter).then_some(text);
        message.properties.message_id = given('m', b"m-1");
        message.properties.correlation_id = given('c', b"c-1");
        message.properties.reply_to = given('r', b"r-1");
        message.properties.redelivered = given('d', b"p-1");
        if letters.contains('s') {
            message.body_max = 64;
        }
        message
    }

    /// Whether its body is neither packed nor in another character set than UTF-8.
    fn is_plain(&self) -> bool {
        let properties = &self.properties;
        let is_xml = Format::of(properties.content_type, self.body) == Format::Xml;
        Declared::read(
            properties.content_type,
            properties.content_encoding,
            properties.compression,
        )
        .is_ok_and(|declared| {
            declared.coding.is_none()
                && charset::of(self.body, declared.charset, is_xml)
                    .is_ok_and(|charset| charset::is_utf8(charset, self.body))
        })
    }

    pub fn decide(&self) -> Decision {
        let ids = IdSource::from_random([7; 8]);
        let now = Timestamp::from_second(NOW).expect("a moment");
        let rules = Rules {
            directory: &DIRECTORY,
            ids: &ids,
            now,
            body_max: self.body_max,
            warns: false,
        };
        decide(self.body, &self.properties, &rules)
    }
}

/// Decides on the message that the input stands for, and panics if the decision breaks the
/// contract.
pub fn check(input: &[u8]) {
    let message = Message::parse(input);
    let decision = message.decide();
    check_reply(&message, &decision);
    assert_eq!(
        format!("{decision:?}"),
        format!("{:?}", message.decide()),
        "decided twice"
    );
    check_redelivery(&message);
    if !message.is_plain() {
        return;
    }
    check_decision(&message, &decision);
    check_size_limit(&message);
    if decision.format == Format::Json {
        check_by_other_reader(&message, &decision);
    }
}

fn check_decision(message: &Message<'_>, decision: &Decision) {
    assert_eq!(
        decision.format,
        Format::of(message.properties.content_type, message.body)
    );
    if let Some(feedback_id) = &decision.feedback_id {
        assert!(feedback_id.len() <= FEEDBACK_ID_MAX_BYTES && !feedback_id.contains('\0'));
    }
    match &decision.verdict {
        Verdict::DeadLetter(_, rejection) => {
            check_text(message, rejection);
            assert_eq!(rejection.code, Code::Invalid);
            assert!(
                rejection.text.starts_with("not a readable request: "),
                "{}",
                rejection.text
            );
        }
        Verdict::Refuse(rejection) => {
            check_text(message, rejection);
            match rejection.code {
                Code::Invalid => check_path(&rejection.text, NAMES),
                // Only a directory that is up to date says so.
                Code::Forbidden | Code::NotFound => assert!(decision.directory_missed),
                Code::Unauthenticated => {}
                Code::TooLarge => check_too_large(message, &rejection.text),
                Code::Added | Code::EmailTaken | Code::Failed => {
                    panic!("decided by itself: {rejection:?}")
                }
            }
        }
        Verdict::Add(addition) => check_addition(message, addition, "data."),
        Verdict::AddEntries(each) => {
            assert!(each.len() <= PROFILES_MAX);
            let mut ids = HashSet::new();
            for (i, entry) in each.iter().enumerate() {
                match entry {
                    Ok(addition) => {
                        check_addition(message, addition, &format!("data[{i}]."));
                        assert!(
                            ids.insert((addition.profile.id, addition.profile.request_id)),
                            "ids are different"
                        );
                    }
                    Err(rejection) => {
                        check_text(message, rejection);
                        assert_eq!(rejection.code, Code::Invalid, "all else is judged before");
                        assert!(
                            rejection.text.starts_with(&format!("data[{i}]")),
                            "{}",
                            rejection.text
                        );
                    }
                }
            }
        }
    }
}

fn check_path(text: &str, names: &[&str]) {
    let name = text.split([':', '.', '[']).next().unwrap_or_default();
    assert!(
        names.contains(&name) && text.contains(": "),
        "no path: {text}"
    );
}

fn check_too_large(message: &Message<'_>, text: &str) {
    let limits = [
        (
            format!("the body is larger than {} bytes", message.body_max),
            message.body_max as usize + 1,
        ),
        (
            format!("more than {VALUES_MAX} values in one request"),
            VALUES_MAX,
        ),
        (
            format!("more than {PROFILES_MAX} profiles in one request"),
            PROFILES_MAX,
        ),
        (
            "more than 20000 invalid subscriptions in one request".to_owned(),
            20_000,
        ),
    ];
    let limit = limits.iter().find(|(limit, _)| limit == text);
    assert!(
        limit.is_some_and(|(_, bytes)| message.body.len() >= *bytes),
        "{text}"
    );
}

/// Texts are short. They repeat the names of fields, as paths, and of values only such as are no
/// tokens and stand in a profile, for whoever has shown a good token.
fn check_text(message: &Message<'_>, rejection: &Rejection) {
    let text = &rejection.text;
    assert!(
        !text.is_empty() && text.len() <= TEXT_MAX_BYTES,
        "{} bytes: {text}",
        text.len()
    );
    for secret in [TOKEN, TOKEN_FOR_ALL, SECRET]
        .into_iter()
        .chain(DEAD_TOKENS)
    {
        if text.contains(secret) {
            assert_eq!(rejection.code, Code::Invalid, "{text}");
            let format = Format::of(message.properties.content_type, message.body);
            let document = format
                .read(message.body)
                .expect("what has names is readable");
            let data = document.get(DATA).filter(|_| text.starts_with(DATA));
            let is_repeated = secret != SECRET && data.is_some_and(|data| has_string(data, secret));
            assert!(
                is_repeated || has_name(&Value::Object(document), secret),
                "{secret:?} in {text}"
            );
        }
    }
}

fn has_name(value: &Value<'_>, part: &str) -> bool {
    match value {
        Value::Array(items) => items.iter().any(|item| has_name(item, part)),
        Value::Object(object) => object
            .iter()
            .any(|(name, value)| name.contains(part) || has_name(value, part)),
        _ => false,
    }
}

fn has_string(value: &Value<'_>, part: &str) -> bool {
    match value {
        Value::String(text) | Value::Text(text) => text.contains(part),
        Value::Array(items) => items.iter().any(|item| has_string(item, part)),
        Value::Object(object) => object.iter().any(|(_, value)| has_string(value, part)),
        _ => false,
    }
}

fn check_addition(message: &Message<'_>, addition: &Addition, path: &str) {
    let profile = &addition.profile;
    let properties = &message.properties;
    assert!(DIRECTORY.databases.contains_key(&profile.db_id));
    assert!(profile.id.to_string().starts_with(&format!("{NOW:08x}")));
    assert_eq!(profile.added_at.as_second(), NOW);
    let is_repeatable = properties.message_id.is_some() || properties.redelivered.is_some();
    assert_eq!(
        profile.request_id.is_some(),
        is_repeatable || profile.email.is_some()
    );
    assert_eq!(profile.repeatable, is_repeatable);
    if let Some(email) = &profile.email {
        check_email(email.address());
    }
    check_data(profile.db_id, profile.data.as_str());
    let mut keys = HashSet::new();
    for subscription in &profile.subscriptions {
        check_subscription(profile.db_id, subscription);
        let Subscription {
            resource_id,
            channel,
            address,
            ..
        } = subscription;
        let address = if *channel == Channel::Email {
            canonical(address)
        } else {
            address.clone()
        };
        assert!(
            keys.insert((*resource_id, *channel, address)),
            "two of a kind: {subscription:?}"
        );
    }
    assert!(profile.subscriptions.len() + addition.skipped.len() <= SUBSCRIPTIONS_MAX);
    for (i, skipped) in addition.skipped.iter().enumerate() {
        assert!(i == 0 || addition.skipped[i - 1].index < skipped.index);
        let place = format!("{path}subscriptions[{}]", skipped.index);
        assert!(
            skipped.error_text.starts_with(&place),
            "{}",
            skipped.error_text
        );
        check_text(
            message,
            &Rejection {
                code: Code::Invalid,
                text: skipped.error_text.clone(),
            },
        );
    }
    let Subscribed {
        email,
        subscriptions,
    } = read_event(addition);
    assert_eq!(
        (email, subscriptions),
        (
            profile
                .email
                .as_ref()
                .map(|email| email.address().to_owned()),
            profile.subscriptions.len()
        )
    );
}

struct Subscribed {
    email: Option<String>,
    subscriptions: usize,
}

fn read_event(addition: &Addition) -> Subscribed {
    let profile = &addition.profile;
    let event = event::Added::new(
        profile.db_id,
        profile.id,
        profile.email.as_ref().map(Email::address),
        &profile.subscriptions,
        profile.added_at,
    );
    let event: Json = serde_json::from_slice(&event.to_json()).expect("an event is JSON");
    Subscribed {
        email: event["email"].as_str().map(str::to_owned),
        subscriptions: event["subscriptions"].as_array().map_or(0, Vec::len),
    }
}

/// What is stored is an address that is stored as it is.
fn check_email(email: &str) {
    assert!(
        email.len() <= 254 && email.trim() == email && email.contains('@') && !email.contains('\0'),
        "{email:?}"
    );
    assert_eq!(Email::parse(email).expect("an address").address(), email);
    let form = canonical(email);
    assert_eq!(canonical(&form), form);
}

fn canonical(email: &str) -> String {
    Email::parse(email)
        .expect("an address")
        .canonical()
        .to_owned()
}

fn check_phone(phone: &str) {
    let digits = phone.strip_prefix('+').unwrap_or_default();
    let sound = (7..=15).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    assert!(sound && !digits.starts_with('0'), "{phone:?}");
}

/// What is stored is JSON, without what stands elsewhere or can't be stored; and each field, sent
/// again as it is stored, is what it was.
fn check_data(db_id: i64, data: &str) {
    let object = Format::Json
        .read(data.as_bytes())
        .expect("what is stored is JSON");
    let defined = defined_fields(db_id);
    for (name, value) in object.iter() {
        assert!(
            name != "email" && name != profile::SUBSCRIPTIONS && !name.contains('\0'),
            "{name:?} in {data}"
        );
        assert_ne!(*value, Value::Null, "{data}");
        let known = Field::find(profile::FIELDS, name).map(|field| field.kind);
        let kind = known.or_else(|| {
            defined
                .iter()
                .find(|(known, _)| known == name)
                .map(|(_, kind)| *kind)
        });
        assert!(
            kind.is_some() || db_id != 2,
            "{name:?} in a strict database"
        );
        assert_eq!(
            kind.unwrap_or(Kind::Any).check(value.clone()).as_ref(),
            Ok(value),
            "{name:?} in {data}"
        );
        if name == "phones" {
            let Value::Array(phones) = value else {
                panic!("{data}")
            };
            for phone in phones {
                let Value::String(phone) = phone else {
                    panic!("{data}")
                };
                check_phone(phone);
            }
        }
    }
    assert!(!has_nul(&Value::Object(object)), "{data}");
}

fn has_nul(value: &Value<'_>) -> bool {
    match value {
        Value::String(text) | Value::Text(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(has_nul),
        Value::Object(object) => object
            .iter()
            .any(|(name, value)| name.contains('\0') || has_nul(value)),
        _ => false,
    }
}

fn check_subscription(db_id: i64, subscription: &Subscription) {
    let Subscription {
        resource_id,
        channel,
        address,
        status,
        ..
    } = subscription;
    let offered = DIRECTORY.resources.get(&(db_id, *resource_id));
    assert!(
        offered.is_some_and(|channels| channels.contains(*channel)),
        "{subscription:?}"
    );
    match channel {
        Channel::Email => check_email(address),
        Channel::Sms | Channel::Whatsapp | Channel::Viber | Channel::Notify => check_phone(address),
        Channel::TelegramBot => assert_eq!(
            address.parse::<i64>().map(|id| id.to_string()).as_ref(),
            Ok(address)
        ),
        Channel::Push => {
            let parts = address.split_once(':').expect("provider and id");
            assert!(
                !parts.0.trim().is_empty() && !parts.1.trim().is_empty(),
                "{address:?}"
            );
        }
    }
    let is_integer = status
        .parse::<i64>()
        .is_ok_and(|number| number.to_string() == *status);
    assert!(
        is_integer || profile_worker::domain::parse::STATUSES.contains(&status.as_str()),
        "{status:?}"
    );
    let texts = [Some(address), Some(status), subscription.url.as_ref()];
    assert!(texts.into_iter().flatten().all(|text| !text.contains('\0')));
    let json = |json: &Option<profile_worker::domain::value::Json>| {
        json.as_ref()
            .map(|json| serde_json::from_str::<Json>(json.as_str()).expect("JSON"))
    };
    if let Some(cats) = json(&subscription.cats) {
        assert!(
            cats.as_array()
                .is_some_and(|cats| cats.iter().all(Json::is_string)),
            "{cats}"
        );
    }
    if let Some(custom) = json(&subscription.custom_fields) {
        assert!(
            custom.is_object() && !custom.to_string().contains("\\u0000"),
            "{custom}"
        );
    }
}

fn added(addition: &Addition) -> Added<'_> {
    Added {
        profile_id: addition.profile.id,
        skipped: &addition.skipped,
    }
}

/// The reply in the request's format can be read again, and is not much longer than the request.
fn check_reply(message: &Message<'_>, decision: &Decision) {
    let (result, entries) = match &decision.verdict {
        Verdict::Refuse(rejection) | Verdict::DeadLetter(_, rejection) => (Err(rejection), 1),
        Verdict::Add(addition) => (
            Ok(Success::One(added(addition))),
            1 + addition.skipped.len(),
        ),
        Verdict::AddEntries(each) => {
            let skipped: usize = each
                .iter()
                .flatten()
                .map(|addition| addition.skipped.len())
                .sum();
            let each: Vec<_> = each.iter().map(|entry| entry.as_ref().map(added)).collect();
            let entries = 1 + each.len() + skipped;
            (Ok(Success::Many(each)), entries)
        }
    };
    let reply = Reply {
        result,
        feedback_id: decision.feedback_id.as_deref(),
        warnings: &decision.warnings,
    };
    let bytes = reply.to_bytes(decision.format);
    assert!(
        bytes.len() <= 6 * message.body.len() + entries * (TEXT_MAX_BYTES + 200),
        "{} bytes",
        bytes.len()
    );
    let read = decision.format.read(&bytes).expect("a reply is readable");
    let text = |object: &Object<'_>, name: &str| match object.get(name) {
        Some(Value::String(text) | Value::Text(text) | Value::Number(text)) => {
            Some(text.clone().into_owned())
        }
        None => None,
        Some(other) => panic!("{name} is {other:?}"),
    };
    assert_eq!(
        text(&read, "error"),
        Some(reply.code().number().to_string())
    );
    // In XML our reader takes blanks for layout.
    let feedback_id = decision.feedback_id.clone();
    let is_sent = feedback_id
        .as_ref()
        .is_some_and(|text| decision.format == Format::Json || !text.trim().is_empty());
    assert!(
        !is_sent || text(&read, "feedback_id") == feedback_id,
        "{feedback_id:?} in {read:?}"
    );
    let id = text(&read, "profile_id");
    assert_eq!(id.is_some(), matches!(decision.verdict, Verdict::Add(_)));
    assert!(id.is_none_or(|id| ProfileId::parse(&id).is_some()));
    if let Err(rejection) = reply.result {
        assert_eq!(
            text(&read, "error_text").as_deref(),
            Some(rejection.text.as_str())
        );
    }
}

/// That the broker has delivered it before changes two things only: it counts as repeatable, and a
/// profile that nothing names has an identity.
fn check_redelivery(message: &Message<'_>) {
    let mut other = *message;
    other.properties.redelivered = match message.properties.redelivered {
        Some(_) => None,
        None => Some(b"p-1"),
    };
    let (mut decision, mut other) = (message.decide(), other.decide());
    for addition in additions(&mut decision)
        .into_iter()
        .chain(additions(&mut other))
    {
        addition.profile.repeatable = true;
        if message.properties.message_id.is_none() && addition.profile.email.is_none() {
            addition.profile.request_id = None;
        }
    }
    assert_eq!(format!("{decision:?}"), format!("{other:?}"), "redelivered");
}

fn additions(decision: &mut Decision) -> Vec<&mut Addition> {
    match &mut decision.verdict {
        Verdict::Add(addition) => vec![addition],
        Verdict::AddEntries(each) => each.iter_mut().flatten().collect(),
        _ => vec![],
    }
}

/// Over the size limit a body is read in another way, which must come to the same as far as it
/// goes.
fn check_size_limit(message: &Message<'_>) {
    if message.body.is_empty() {
        return;
    }
    let [decision, large] = [u64::MAX, 0].map(|body_max| {
        Message {
            body_max,
            ..*message
        }
        .decide()
    });
    assert_eq!(
        large.feedback_id, decision.feedback_id,
        "feedback_id over the size limit"
    );
    let is_shape = |text: &str| {
        NAMES
            .iter()
            .any(|name| text.starts_with(&format!("{name}: ")))
    };
    match (&decision.verdict, &large.verdict) {
        (Verdict::DeadLetter(_, a), Verdict::DeadLetter(_, b)) => assert_eq!(a, b),
        (Verdict::Refuse(a), Verdict::Refuse(b))
            if a.code == Code::Invalid && is_shape(&a.text) =>
        {
            assert_eq!(a, b)
        }
        (Verdict::DeadLetter(..), _) => {
            panic!("unreadable, but not over the size limit: {large:?}")
        }
        (_, Verdict::Refuse(b)) => assert_eq!(b.text, "the body is larger than 0 bytes"),
        _ => panic!("over the size limit: {large:?}"),
    }
}

/// A body of JSON, read by another reader and judged in another way.
fn check_by_other_reader(message: &Message<'_>, decision: &Decision) {
    let body = message
        .body
        .strip_prefix(b"\xef\xbb\xbf")
        .unwrap_or(message.body);
    // To the other reader a field of this name is a number.
    let has = |part: &[u8]| body.windows(part.len()).any(|window| window == part);
    if has(b"serde_json") || has(b"private") || has(b"Number") {
        return;
    }
    // Half of a surrogate pair it takes for a fault of the body.
    if has(b"\\ud") || has(b"\\uD") {
        return;
    }
    let document = match serde_json::from_slice::<Json>(body) {
        Ok(Json::Object(document)) if depth(&document) <= DEPTH_MAX => document,
        _ => {
            assert!(
                matches!(decision.verdict, Verdict::DeadLetter(..)),
                "unreadable, but {decision:?}"
            );
            return;
        }
    };
    let code = match &decision.verdict {
        Verdict::DeadLetter(_, rejection) => panic!("readable, but {rejection:?}"),
        Verdict::Refuse(rejection) => rejection.code,
        _ => Code::Added,
    };
    if matches!(
        code,
        Code::Added | Code::Unauthenticated | Code::Forbidden | Code::NotFound
    ) {
        let db_id = &document["db_id"];
        let of_float = || db_id.as_f64().map(|id| id as i64);
        let db_id = db_id.as_i64().or_else(of_float);
        let db_id = db_id.expect("the shape was right");
        let in_body = document
            .get("token")
            .and_then(Json::as_str)
            .map(blank::trim)
            .filter(|token| !token.is_empty());
        let in_header = message
            .properties
            .authorization
            .and_then(|header| Some(header.trim().split_once(' ')?.1.trim()));
        let token = in_body
            .or(in_header)
            .and_then(|token| DIRECTORY.tokens.get(&TokenHash::of(token)));
        let is_live = |token: &&Token| !token.revoked && token.expires_at.is_none();
        let expected = match token.filter(is_live) {
            None => Code::Unauthenticated,
            Some(token) if !token.scope.allows(db_id) => Code::Forbidden,
            Some(_) if !DIRECTORY.databases.contains_key(&db_id) => Code::NotFound,
            Some(_) => Code::Added,
        };
        let in_wrong_scheme = in_body.is_none() && code == Code::Unauthenticated;
        assert!(
            code == expected || in_wrong_scheme,
            "{code:?}, expected {expected:?}"
        );
    }
    match (&decision.verdict, document.get("data")) {
        (Verdict::Add(addition), data) => check_stored(addition, data.unwrap_or(&Json::Null)),
        (Verdict::AddEntries(each), Some(Json::Array(profiles))) => {
            assert_eq!(each.len(), profiles.len());
            for (entry, profile) in each.iter().zip(profiles) {
                if let Ok(addition) = entry {
                    check_stored(addition, profile);
                }
            }
        }
        (Verdict::AddEntries(_), data) => panic!("many profiles in {data:?}"),
        _ => {}
    }
}

/// How deep the objects and arrays are nested.
fn depth(document: &serde_json::Map<String, Json>) -> usize {
    fn of(value: &Json) -> usize {
        match value {
            Json::Array(items) => 1 + items.iter().map(of).max().unwrap_or_default(),
            Json::Object(fields) => 1 + fields.values().map(of).max().unwrap_or_default(),
            _ => 0,
        }
    }
    1 + document.values().map(of).max().unwrap_or_default()
}

/// What is stored is what was sent, but for what does not count in a field that has a format.
fn check_stored(addition: &Addition, sent: &Json) {
    let stored: Json = serde_json::from_str(addition.profile.data.as_str()).expect("JSON");
    let stored = stored.as_object().expect("an object");
    let none = serde_json::Map::new();
    let sent = sent.as_object().unwrap_or(&none);
    let email = sent
        .get("email")
        .and_then(Json::as_str)
        .and_then(|email| Email::parse(email).ok());
    assert_eq!(addition.profile.email, email);
    let elsewhere = |name: &str| name == "email" || name == profile::SUBSCRIPTIONS;
    let defined = defined_fields(addition.profile.db_id);
    let kind_of = |name: &str| {
        let known = Field::find(profile::FIELDS, name).map(|field| field.kind);
        let defined = || defined.iter().find(|(known, _)| known == name);
        known
            .or_else(|| defined().map(|(_, kind)| *kind))
            .unwrap_or(Kind::Any)
    };
    let mut kept = 0;
    for (name, value) in sent.iter().filter(|(name, _)| !elsewhere(name)) {
        let is_free = matches!(kind_of(name), Kind::Any | Kind::String | Kind::Text);
        let is_blank = value.as_str().is_some_and(blank::is_blank);
        if value.is_null() || !is_free && is_blank {
            continue;
        }
        kept += 1;
        let stored = stored.get(name).unwrap_or(&Json::Null);
        let is_same = if is_free {
            stored == value
        } else {
            is_same(value, stored)
        };
        assert!(is_same, "{name}: {value} stored as {stored}");
    }
    assert_eq!(stored.len(), kept, "{stored:?}");
    let subscriptions = sent
        .get(profile::SUBSCRIPTIONS)
        .and_then(Json::as_array)
        .map_or(0, Vec::len);
    assert_eq!(
        addition.profile.subscriptions.len() + addition.skipped.len(),
        subscriptions
    );
}

/// Whether a value is stored as its format has it.
fn is_same(sent: &Json, stored: &Json) -> bool {
    match (sent, stored) {
        (Json::String(sent), Json::String(stored)) => {
            blank::trim(sent).eq_ignore_ascii_case(stored)
        }
        (Json::Number(_), Json::Number(_)) => sent.as_f64() == stored.as_f64(),
        // Phone numbers are rewritten, and kept once.
        (Json::Array(sent), Json::Array(stored)) => stored.len() <= sent.len(),
        (Json::Array(sent), Json::Object(stored)) => sent.is_empty() && stored.is_empty(),
        _ => sent == stored,
    }
}
