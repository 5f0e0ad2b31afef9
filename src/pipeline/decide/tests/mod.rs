//! The contract's tables, row by row, without a server.

mod half_surrogates;
mod texts;
mod values;

use jiff::Timestamp;

use super::*;
use crate::domain::channel::Channel;
use crate::domain::custom_field::FieldType;
use crate::domain::directory::Directory;
use crate::domain::email::Email;
use crate::domain::identity::{IdSource, RequestId, RequestIdentity, RequestName};
use crate::domain::token::{Scope, Token, TokenHash};

pub(super) const NOW: i64 = 1_800_000_000;

/// Databases 1 and 2; resource 10 of database 1 offers every channel, 11 only email, 20 is of
/// database 2; tokens "one" (database 1), "all", "revoked", "expired", "gone" (database 7, which
/// does not exist).
pub(super) fn directory() -> Directory {
    let token = |scope, expires_at, revoked| Token {
        scope,
        expires_at,
        revoked,
    };
    let past = Some(Timestamp::from_second(NOW - 1).unwrap());
    let only = |db_id| Scope::Databases(vec![db_id]);
    let tokens = [
        ("one", token(only(1), None, false)),
        ("all", token(Scope::AllDatabases, None, false)),
        ("revoked", token(only(1), None, true)),
        ("expired", token(only(1), past, false)),
        ("gone", token(only(7), None, false)),
    ];
    Directory {
        version: 1,
        tokens: tokens
            .into_iter()
            .map(|(text, token)| (TokenHash::of(text), token))
            .collect(),
        databases: FromIterator::from_iter([1, 2].map(|id| (id, Default::default()))),
        resources: FromIterator::from_iter([
            ((1, 10), Channel::ALL.into_iter().collect()),
            ((1, 11), [Channel::Email].into_iter().collect()),
            ((2, 20), Channel::ALL.into_iter().collect()),
        ]),
        ..Directory::default()
    }
}

pub(super) fn decide_with(body: &[u8], properties: &Properties<'_>) -> Decision {
    let ids = IdSource::from_random([7; 8]);
    let directory = directory();
    let now = Timestamp::from_second(NOW).unwrap();
    decide(
        body,
        properties,
        &Rules {
            directory: &directory,
            ids: &ids,
            now,
            body_max: 4096,
            warns: false,
        },
    )
}

fn decided(body: &str) -> Decision {
    decide_with(body.as_bytes(), &Properties::default())
}

pub(super) fn addition(decision: Decision) -> Addition {
    match decision.verdict {
        Verdict::Add(addition) => *addition,
        other => panic!("not added: {other:?}"),
    }
}

/// Code and text of a refusal, and whether the message is dead-lettered.
pub(super) fn refusal(decision: Decision) -> (u16, String, bool) {
    match decision.verdict {
        Verdict::Refuse(rejection) => (rejection.code.number(), rejection.text, false),
        Verdict::DeadLetter(_, rejection) => (rejection.code.number(), rejection.text, true),
        other => panic!("not refused: {other:?}"),
    }
}

/// A request of token "one" for database 1 with this profile.
fn with_data(data: &str) -> String {
    format!(r#"{{"token":"one","db_id":1,"data":{data}}}"#)
}

/// What is stored of a profile.
fn data_of(data: &str) -> String {
    addition(decided(&with_data(data)))
        .profile
        .data
        .as_str()
        .to_owned()
}

/// The text of the 400 that a profile gets.
fn flaw_of(data: &str) -> String {
    let body = with_data(data);
    let (code, text, dead_letter) = refusal(decided(&body));
    assert_eq!((code, dead_letter), (400, false), "{data}: {text}");
    text
}

// ---- the order of the checks

#[test]
fn error_400_unreadable_messages_are_dead_lettered() {
    for body in [
        "hello",
        "",
        "[]",
        "{\"db_id\":1",
        "<xml>",
        "<html></html>",
        "\u{feff}",
    ] {
        let (code, text, dead_letter) = refusal(decided(body));
        assert_eq!((code, dead_letter), (400, true), "{body:?}");
        assert!(text.starts_with("not a readable request: "), "{text}");
    }
    let latin1 = b"{\"token\":\"one\",\"db_id\":1,\"data\":{\"_fname\":\"Ren\xe9\"}}";
    let (code, text, dead_letter) = refusal(decide_with(latin1, &Properties::default()));
    assert_eq!(
        (code, text.as_str(), dead_letter),
        (
            400,
            "not a readable request: the body is not UTF-8 at byte 47: \
             declare its charset in content_type",
            true
        )
    );
}

#[test]
fn error_400_misshapen_requests_are_answered_only() {
    let (code, text, dead_letter) = refusal(decided(r#"{"token":"one"}"#));
    assert_eq!(
        (code, text.as_str(), dead_letter),
        (400, "db_id: is missing", false)
    );
}

#[test]
fn error_413_says_the_limit_and_comes_after_the_shape_and_before_the_token() {
    let blank = " ".repeat(5000);
    let large =
        format!(r#"{{"token":"nobody","db_id":1,"data":{{"a":[1]}},"feedback_id":"f"}}{blank}"#);
    let decision = decided(&large);
    assert_eq!(decision.feedback_id.as_deref(), Some("f"));
    assert_eq!(
        refusal(decision),
        (413, "the body is larger than 4096 bytes".to_owned(), false)
    );
    assert_eq!(
        refusal(decided(&format!(r#"{{"db_id":"1"}}{blank}"#))).0,
        400
    );
    assert!(refusal(decided(&format!("{{{blank}"))).2);
}

/// A body that is read twice is judged like one that is read once, check by check.
#[test]
fn a_large_body_is_judged_like_a_small_one() {
    let directory = directory();
    let ids = IdSource::from_random([7; 8]);
    let now = Timestamp::from_second(NOW).unwrap();
    let rules = Rules {
        directory: &directory,
        ids: &ids,
        now,
        body_max: 1 << 20,
        warns: false,
    };
    let judged = |body: &str| {
        let Decision {
            verdict,
            feedback_id,
            ..
        } = decide(body.as_bytes(), &Properties::default(), &rules);
        let said = match verdict {
            Verdict::Add(addition) => addition.profile.data.as_str().to_owned(),
            Verdict::AddEntries(each) => {
                format!("{:?}", each.iter().map(Result::is_ok).collect::<Vec<_>>())
            }
            Verdict::Refuse(rejection) => format!("{rejection:?}"),
            Verdict::DeadLetter(reason, rejection) => format!("{reason:?} {rejection:?}"),
        };
        (said, feedback_id)
    };
    let many = "{},".repeat(PROFILES_MAX);
    for body in [
        r#"{"token":"one","db_id":1,"feedback_id":"f","data":{"email":"a@example.com","_fname":"Eve","x":[1,{"y":2}]}}"#,
        r#"{"token":"one","db_id":1,"data":[{},{"email":"bad"},{}]}"#,
        r#"{"token":"one","db_id":1,"data":[]}"#,
        r#"{"token":"one","db_id":1,"data":{"email":"bad"},"feedback_id":"f"}"#,
        r#"{"token":"one","db_id":1,"data":{"x":1,"x":2},"data":{"x":1,"x":3}}"#,
        r#"{"token":"nobody","db_id":1,"data":{"email":"bad"}}"#,
        r#"{"token":"one","db_id":2,"data":{"email":"bad"}}"#,
        r#"{"token":"all","db_id":3,"data":{"email":"bad"}}"#,
        r#"{"token":[1],"db_id":1,"data":{"email":"bad"},"feedback_id":"f"}"#,
        r#"{"token":"nobody","db_id":1,"data":7}"#,
        r#"{"token":"nobody","db_id":1,"data":{"x":[1,]}}"#,
        "<xml><token>one</token><db_id>1</db_id><data><x>1</x><y array='true'>2</y></data></xml>",
        "<xml><token>one</token><db_id>1</db_id><data><email>bad</email></data></xml>",
        "<xml><token>one</token><db_id>1</db_id><data><_fname>a</_fname></data><data><_fname>b</_fname></data></xml>",
        "<xml><token>nobody</token><db_id>1</db_id><data><email>bad</email></data></xml>",
        "<xml><token>nobody</token><db_id>1</db_id><data><a>x<b/></a></data></xml>",
        &format!(r#"{{"token":"nobody","db_id":1,"data":[{many}{{}}]}}"#),
    ] {
        let large = format!("{body}{}", " ".repeat(READ_AT_ONCE_MAX));
        assert_eq!(
            judged(&large),
            judged(body),
            "{}",
            &body[..body.len().min(100)]
        );
    }
}

#[test]
fn error_401_says_which_and_never_the_token() {
    for (token, text) in [
        (r#""token":"nobody-knows","#, "unknown token"),
        (r#""token":"revoked","#, "the token was revoked"),
        (r#""token":"expired","#, "the token has expired"),
        (
            r#""token":"","#,
            "no token: give it as `token` or in the header `authorization: Bearer …`",
        ),
        (
            r#""token":null,"#,
            "no token: give it as `token` or in the header `authorization: Bearer …`",
        ),
        (
            "",
            "no token: give it as `token` or in the header `authorization: Bearer …`",
        ),
    ] {
        let body = format!(r#"{{{token}"db_id":9,"data":{{"email":"bad"}}}}"#);
        assert_eq!(
            refusal(decided(&body)),
            (401, text.to_owned(), false),
            "{token}"
        );
    }
}

#[test]
fn error_403_whether_or_not_the_database_exists() {
    for db_id in [2, 9] {
        let body = format!(r#"{{"token":"one","db_id":{db_id},"data":{{"email":"bad"}}}}"#);
        assert_eq!(
            refusal(decided(&body)),
            (
                403,
                format!("the token has no access to database {db_id}"),
                false
            )
        );
    }
}

#[test]
fn error_404_for_a_token_with_access_to_all() {
    let body = r#"{"token":"all","db_id":9,"data":{"email":"bad"}}"#;
    assert_eq!(
        refusal(decided(body)),
        (404, "database 9 does not exist".to_owned(), false)
    );
}

#[test]
fn the_directory_is_asked_again_before_it_says_no() {
    for body in [
        r#"{"token":"nobody","db_id":1}"#,
        r#"{"token":"one","db_id":2}"#,
        r#"{"token":"all","db_id":9}"#,
        r#"{"token":"one","db_id":1,"data":{"subscriptions":[{"resource_id":99}]}}"#,
        r#"{"token":"one","db_id":1,"data":{"subscriptions":[{"resource_id":99}]},"skip_invalid_subscriptions":true}"#,
        r#"{"token":"one","db_id":1,"data":{"subscriptions":[{"resource_id":11,"channel":"sms"}]}}"#,
    ] {
        assert!(decided(body).directory_missed, "{body}");
    }
    assert!(!decided(&with_data(r#"{"email":"bad"}"#)).directory_missed);
    assert!(!decided(r#"{"token":"revoked","db_id":1}"#).directory_missed);
}

#[test]
fn the_first_bad_field_in_the_order_of_the_document_answers() {
    assert_eq!(
        flaw_of(r#"{"_tz":"x","email":"bad"}"#),
        "data._tz: must be an IANA time zone name such as Europe/Moscow, is \"x\""
    );
    assert_eq!(
        flaw_of(r#"{"email":"bad","_tz":"x"}"#),
        "data.email: not an email address"
    );
}

// ---- the request's fields and properties

#[test]
fn token_in_the_body_or_in_the_authorization_header() {
    let header = |authorization| Properties {
        authorization: Some(authorization),
        ..Properties::default()
    };
    for authorization in ["Bearer one", "bearer  one ", "BEARER one"] {
        addition(decide_with(br#"{"db_id":1}"#, &header(authorization)));
    }
    // scala-oauth2-provider#6: what is there in another form is told apart from none.
    for authorization in [
        "one",
        "Token one",
        "Basic one",
        "Bearer",
        "Bearer ",
        "",
        " ",
    ] {
        let (code, text, _) = refusal(decide_with(br#"{"db_id":1}"#, &header(authorization)));
        assert_eq!(code, 401, "{authorization}");
        assert_eq!(
            text, "the header authorization is there but not of the form `Bearer <token>`",
            "{authorization}"
        );
    }
    // If both are given the body's wins.
    addition(decide_with(
        br#"{"token":"one","db_id":1}"#,
        &header("Bearer nobody"),
    ));
    assert_eq!(
        refusal(decide_with(
            br#"{"token":"nobody","db_id":1}"#,
            &header("Bearer one")
        ))
        .0,
        401
    );
}

#[test]
fn data_absent_null_or_empty_adds_an_empty_profile() {
    for body in [
        r#"{"token":"one","db_id":1}"#,
        &with_data("null"),
        &with_data("{}"),
        &with_data(r#"" \u00a0""#),
        "<xml><token>one</token><db_id>1</db_id><data> </data></xml>",
    ] {
        let profile = addition(decided(body)).profile;
        assert_eq!(
            (profile.data.as_str(), &profile.email),
            ("{}", &None),
            "{body}"
        );
        assert!(profile.subscriptions.is_empty());
    }
}

#[test]
fn skip_triggers_is_false_by_default() {
    assert!(!addition(decided(r#"{"token":"one","db_id":1}"#)).skip_triggers);
    assert!(addition(decided(r#"{"token":"one","db_id":1,"skip_triggers":true}"#)).skip_triggers);
}

#[test]
fn feedback_id_goes_into_every_answer() {
    for body in [
        r#"{"token":"one","db_id":1,"feedback_id":"f-1"}"#,
        r#"{"token":"nobody","db_id":1,"feedback_id":"f-1"}"#,
        r#"{"token":"one","feedback_id":"f-1"}"#,
    ] {
        assert_eq!(decided(body).feedback_id.as_deref(), Some("f-1"), "{body}");
    }
}

#[test]
fn a_profile_id_begins_with_the_second_of_its_making() {
    let body = with_data("{}");
    let profile = addition(decided(&body)).profile;
    assert!(
        profile.id.to_string().starts_with("6b49d200"),
        "{}",
        profile.id
    );
    assert_eq!(profile.added_at.as_second(), NOW);
}

// ---- never twice

fn identity(data: &str, properties: Properties<'_>) -> (Option<RequestId>, bool) {
    let body = with_data(data);
    let profile = addition(decide_with(body.as_bytes(), &properties)).profile;
    (profile.request_id, profile.repeatable)
}

const WITH_EMAIL: &str = r#"{"email":"a@example.com"}"#;

#[test]
fn a_request_with_message_id_knows_itself_always() {
    for data in [WITH_EMAIL, "{}"] {
        let named = Properties {
            message_id: Some(b"m"),
            ..Properties::default()
        };
        let (first, repeatable) = identity(data, named);
        assert!(first.is_some() && repeatable);
        let elsewhere = Properties {
            reply_to: Some(b"q"),
            redelivered: Some(b"p"),
            ..named
        };
        assert_eq!(
            identity(data, elsewhere).0,
            first,
            "only message_id and body count"
        );
        assert_ne!(
            identity(
                data,
                Properties {
                    message_id: Some(b"n"),
                    ..named
                }
            )
            .0,
            first
        );
    }
    let named = Properties {
        message_id: Some(b"m"),
        ..Properties::default()
    };
    assert_ne!(
        identity(WITH_EMAIL, named).0,
        identity("{}", named).0,
        "another body is another request"
    );
}

/// field-cases 88: where RabbitMQ 4 puts an id that is no text of up to 255 bytes.
#[test]
fn an_id_in_a_header_names_a_request_where_there_is_no_message_id() {
    let long = [b'm'; 300];
    let header = |is_text, id| Properties {
        message_id_header: Some((is_text, id)),
        ..Properties::default()
    };
    let (first, repeatable) = identity(WITH_EMAIL, header(true, &long));
    assert!(first.is_some() && repeatable);
    assert_eq!(identity(WITH_EMAIL, header(true, &long)).0, first);
    let named = Properties {
        message_id: Some(b"m"),
        ..Properties::default()
    };
    for other in [header(true, &long[1..]), header(false, &long), named] {
        assert_ne!(identity(WITH_EMAIL, other).0, first);
    }
    let both = Properties {
        message_id: Some(b"m"),
        ..header(true, &long)
    };
    assert_eq!(
        identity(WITH_EMAIL, both).0,
        identity(WITH_EMAIL, named).0,
        "the property counts first"
    );
}

/// field-cases 65: the bytes in a value of AMQP 1.0 are the request, also for its identity and its
/// format.
#[test]
fn a_value_of_amqp_1_0_that_is_a_text_is_read() {
    let plain = Properties {
        message_id: Some(b"m"),
        ..Properties::default()
    };
    let value = Properties {
        message_type: Some(b"amqp-1.0"),
        ..plain
    };
    let encoded = |body: &[u8]| {
        let length = u32::try_from(body.len()).unwrap().to_be_bytes();
        [b"\0Sw\xb1", &length[..], body].concat()
    };
    let body = with_data(WITH_EMAIL);
    assert_eq!(
        addition(decide_with(&encoded(body.as_bytes()), &value))
            .profile
            .request_id,
        addition(decide_with(body.as_bytes(), &plain))
            .profile
            .request_id
    );
    let xml = b"<xml><token>one</token><db_id>1</db_id></xml>";
    let decision = decide_with(&encoded(xml), &value);
    assert_eq!(decision.format, Format::Xml);
    addition(decision);
    let text = "not a readable request: the body is an AMQP 1.0 value that is null; send it as one data section";
    assert_eq!(
        refusal(decide_with(b"\0Sw@", &value)),
        (400, text.to_owned(), true)
    );
}

#[test]
fn a_request_without_message_id_knows_itself_if_it_is_redelivered_and_has_an_email() {
    let plain = Properties {
        reply_to: Some(b"q"),
        correlation_id: Some(b"1"),
        ..Properties::default()
    };
    let (first, repeatable) = identity(WITH_EMAIL, plain);
    assert!(first.is_some() && !repeatable);
    let (again, repeatable) = identity(
        WITH_EMAIL,
        Properties {
            redelivered: Some(b"p"),
            ..plain
        },
    );
    assert!(again == first && repeatable);
    assert_ne!(
        identity(
            WITH_EMAIL,
            Properties {
                correlation_id: Some(b"2"),
                ..plain
            }
        )
        .0,
        first
    );
    assert_ne!(
        identity(
            WITH_EMAIL,
            Properties {
                reply_to: Some(b"r"),
                ..plain
            }
        )
        .0,
        first
    );
    assert_eq!(
        identity("{}", plain).0,
        None,
        "two equal requests are two profiles"
    );
}

/// A profile that nothing names is stored without a trace once at most.
#[test]
fn a_redelivered_request_leaves_a_trace_in_any_case() {
    let again = Properties {
        redelivered: Some(b"p"),
        ..Properties::default()
    };
    let (id, repeatable) = identity("{}", again);
    assert!(id.is_some() && repeatable);
    assert_eq!(identity("{}", again).0, id);
    assert_ne!(
        identity(
            "{}",
            Properties {
                redelivered: Some(b"q"),
                ..again
            }
        )
        .0,
        id,
        "another message"
    );
    assert_ne!(identity(r#"{"x":1}"#, again).0, id, "another body");
    let body = with_data("{}");
    assert_eq!(
        Some(identity_of_unnamed(b"p", body.as_bytes()).profile(0)),
        id
    );
    let both = with_data(r#"[{"email":"a@example.com"},{}]"#);
    let Verdict::AddEntries(entries) = decide_with(both.as_bytes(), &again).verdict else {
        panic!("batch form")
    };
    let ids: Vec<_> = entries
        .into_iter()
        .map(|entry| entry.unwrap().profile.request_id)
        .collect();
    let named = RequestName::Unnamed {
        reply_to: b"",
        correlation_id: b"",
    };
    assert_eq!(
        ids[0],
        Some(RequestIdentity::of(named, both.as_bytes()).profile(0)),
        "as on its first delivery"
    );
    assert_eq!(
        ids[1],
        Some(identity_of_unnamed(b"p", both.as_bytes()).profile(1))
    );
}

// ---- profile fields

#[test]
fn field_email_is_trimmed_and_stored_apart() {
    let body = with_data(r#"{"email":" John@Example.com ","x":1}"#);
    let profile = addition(decided(&body)).profile;
    let email = profile.email.as_ref().map(Email::address);
    assert_eq!(
        (email, profile.data.as_str()),
        (Some("John@Example.com"), r#"{"x":1}"#)
    );
    for none in ["null", r#""""#, r#""  ""#] {
        let body = with_data(&format!(r#"{{"email":{none}}}"#));
        let profile = addition(decided(&body)).profile;
        assert_eq!(profile.email, None, "{none}");
    }
    assert_eq!(
        flaw_of(r#"{"email":"john"}"#),
        "data.email: not an email address"
    );
    assert_eq!(
        flaw_of(r#"{"email":5}"#),
        "data.email: must be a string, is the number 5"
    );
}

#[test]
fn field_phones_are_stored_in_e164() {
    assert_eq!(
        data_of(r#"{"phones":["+7 (900) 000-00-00","+442079460958"]}"#),
        r#"{"phones":["+79000000000","+442079460958"]}"#
    );
    let what = "not a phone number: must begin with + and the country code, such as +79000000000";
    assert_eq!(
        flaw_of(r#"{"phones":["+79000000000","x"]}"#),
        format!("data.phones[1]: {what}")
    );
    assert_eq!(
        flaw_of(r#"{"phones":"79"}"#),
        "data.phones: must be an array, is the string \"79\""
    );
    assert_eq!(
        flaw_of(r#"{"phones":[79000000000]}"#),
        "data.phones[0]: must be a string, is a number"
    );
}

/// Fields that are stored as they came: name, a good value, a bad one.
const PLAIN_FIELDS: &[(&str, &str, &str)] = &[
    ("_fname", r#""Fillipp""#, "1"),
    ("_lname", r#""Doe""#, "true"),
    ("_city", r#""Москва""#, "[]"),
    ("_region", r#""""#, "{}"),
    ("_browser", r#""Firefox""#, "1"),
    ("_os", r#""Linux""#, "1"),
    ("_vendor", r#""Apple""#, "1"),
    ("_regcity", r#""Rome""#, "1"),
    ("_regurl", r#""https://example.com/?a=b""#, "1"),
    ("_country", r#""RU""#, r#""RUS""#),
    ("_regcountry", r#""DE""#, "49"),
    ("_postal_code", r#""EC1A 1BB""#, "1.5"),
    ("_postal_code", "101000", "true"),
    ("_ip", r#""192.0.2.1""#, r#""192.0.2.256""#),
    ("_regip", r#""2001:db8::1""#, "1"),
    ("_bdate", r#""2001-12-31""#, r#""2001-02-30""#),
    (
        "_regdate",
        r#""2001-12-31T10:00:00+03:00""#,
        r#""yesterday""#,
    ),
    ("_tz", r#""Europe/Moscow""#, r#""Europe/Nowhere""#),
    ("_sex", "1", "3"),
    ("_sex", r#""female""#, r#""f""#),
    ("_status", "2", "2.5"),
    ("_status", r#""unsubscribed""#, r#""gone""#),
    (
        "loyalty",
        r#"{"level":[1,2.50,null,true,"x"]}"#,
        r#""\u0000""#,
    ),
    ("anything else", "12345678901234567890.123", "1e5000"),
];

#[test]
fn plain_fields_are_checked_and_stored_as_they_came() {
    for (name, good, bad) in PLAIN_FIELDS {
        let data = format!(r#"{{"{name}":{good}}}"#);
        assert_eq!(data_of(&data), data);
        let flaw = flaw_of(&format!(r#"{{"{name}":{bad}}}"#));
        assert!(flaw.starts_with(&format!("data.{name}: ")), "{flaw}");
        assert_eq!(
            data_of(&format!(r#"{{"{name}":null}}"#)),
            "{}",
            "null means not given"
        );
    }
}

#[test]
fn strings_with_u0000_are_refused_wherever_they_stand() {
    for data in [
        r#"{"_fname":"a\u0000b"}"#,
        r#"{"email":"a\u0000@example.com"}"#,
        r#"{"x":{"y":["\u0000"]}}"#,
        r#"{"x":{"\u0000":1}}"#,
        r#"{"\u0000":1}"#,
        r#"{"_postal_code":"\u0000"}"#,
    ] {
        assert!(flaw_of(data).contains("U+0000"), "{data}");
    }
}

#[test]
fn error_texts_have_nothing_private_of_the_request() {
    for data in [
        r#"{"email":"s3cret"}"#,
        r#"{"phones":["s3cret"]}"#,
        r#"{"_tz":"s3cret@example.com"}"#,
        r#"{"_status":"pw_s3cret"}"#,
        r#"{"_sex":["s3cret"]}"#,
    ] {
        assert!(!flaw_of(data).contains("s3cret"), "{data}");
    }
    assert!(flaw_of(r#"{"_sex":79000000000}"#).ends_with("\"female\", is a number"));
}

// ---- subscriptions

fn with_subscriptions(subscriptions: &str, skip: bool) -> String {
    format!(
        r#"{{"token":"one","db_id":1,"data":{{"subscriptions":[{subscriptions}]}},"skip_invalid_subscriptions":{skip}}}"#
    )
}

/// Channel, address and status of each subscription that is stored.
fn stored(subscriptions: &str) -> Vec<(&'static str, String, String)> {
    let body = with_subscriptions(subscriptions, false);
    let kept = addition(decided(&body)).profile.subscriptions;
    kept.into_iter()
        .map(|s| (s.channel.name(), s.address, s.status))
        .collect()
}

/// The address fields of each channel: the channel, its fields, the stored address.
const CHANNELS: &[(&str, &str, &str)] = &[
    ("email", r#""email":" J@example.com ""#, "J@example.com"),
    (
        "email",
        r#""email_data":{"email":"j@example.com"}"#,
        "j@example.com",
    ),
    ("sms", r#""phone":"+7 900 000 00 00""#, "+79000000000"),
    (
        "sms",
        r#""phone_data":{"phone":"+79000000000"}"#,
        "+79000000000",
    ),
    (
        "push",
        r#""provider":"android-firebase","subscription_id":"a:b""#,
        "android-firebase:a:b",
    ),
    (
        "telegram_bot",
        r#""cc_data":{"id":1234567890123}"#,
        "1234567890123",
    ),
    (
        "whatsapp",
        r#""cc_data":{"phone":"+79000000000"}"#,
        "+79000000000",
    ),
    (
        "viber",
        r#""cc_data":{"phone":"+79000000000"}"#,
        "+79000000000",
    ),
    (
        "notify",
        r#""cc_data":{"phone":"+79000000000"}"#,
        "+79000000000",
    ),
];

#[test]
fn every_channel_has_its_address() {
    for (channel, fields, address) in CHANNELS {
        let subscription = format!(r#"{{"resource_id":10,"channel":"{channel}",{fields}}}"#);
        assert_eq!(
            stored(&subscription),
            [(*channel, (*address).to_owned(), "subscribed".to_owned())]
        );
        let without = format!(r#"{{"resource_id":10,"channel":"{channel}"}}"#);
        let (code, text, _) = refusal(decided(&with_subscriptions(&without, false)));
        assert!(
            code == 400
                && text.starts_with("data.subscriptions[0].")
                && text.ends_with(" is missing"),
            "{text}"
        );
    }
}

#[test]
fn every_status_is_kept() {
    for (given, status) in
        crate::domain::parse::STATUSES.map(|word| (format!("\"{word}\""), word.to_owned()))
    {
        let subscription = format!(
            r#"{{"resource_id":11,"channel":"email","email":"a@example.com","status":{given}}}"#
        );
        assert_eq!(stored(&subscription)[0].2, status);
    }
    let numbered = r#"{"resource_id":11,"channel":"email","email":"a@example.com","status":4}"#;
    assert_eq!(stored(numbered)[0].2, "4");
}

#[test]
fn the_other_fields_of_a_subscription_are_kept() {
    let body = with_subscriptions(
        r#"{"resource_id":11,"channel":"email","email":"a@example.com","priority":-3,"custom_fields":{"a":1.50},
            "cats":["x","y"],"date":"2020-01-02T03:04:05Z","ip":"192.0.2.1","url":"https://example.com","unknown":[1]}"#,
        false,
    );
    let kept = addition(decided(&body)).profile.subscriptions.remove(0);
    assert_eq!(kept.priority, Some(-3));
    assert_eq!(kept.custom_fields.unwrap().as_str(), r#"{"a":1.50}"#);
    assert_eq!(kept.cats.unwrap().as_str(), r#"["x","y"]"#);
    assert_eq!(kept.date.unwrap().to_string(), "2020-01-02T03:04:05Z");
    assert_eq!(
        (kept.ip.unwrap().to_string(), kept.url.as_deref()),
        ("192.0.2.1".into(), Some("https://example.com"))
    );
}

/// What makes a subscription invalid, and the text that says so.
const INVALID: &[(&str, &str)] = &[
    (
        "5",
        "data.subscriptions[1]: must be an object, is the number 5",
    ),
    ("null", "data.subscriptions[1]: must be an object, is null"),
    (
        r#"{"channel":"email","email":"b@example.com"}"#,
        "data.subscriptions[1].resource_id: is missing",
    ),
    (
        r#"{"resource_id":99,"channel":"email"}"#,
        "data.subscriptions[1].resource_id: database 1 has no resource 99",
    ),
    (
        r#"{"resource_id":20,"channel":"email"}"#,
        "data.subscriptions[1].resource_id: database 1 has no resource 20",
    ),
    (
        r#"{"resource_id":"11"}"#,
        "data.subscriptions[1].resource_id: must be an integer, is the string \"11\"; write it without quotes",
    ),
    (
        r#"{"resource_id":11}"#,
        "data.subscriptions[1].channel: is missing",
    ),
    (
        r#"{"resource_id":11,"channel":"sms","phone":"+79000000000"}"#,
        "data.subscriptions[1].channel: resource 11 does not offer sms",
    ),
    (
        r#"{"resource_id":10,"channel":"fax"}"#,
        "data.subscriptions[1].channel: must be one of email, sms, push, telegram_bot, whatsapp, viber, notify, is \"fax\"",
    ),
    (
        r#"{"resource_id":11,"channel":"email","email":"b"}"#,
        "data.subscriptions[1].email: not an email address",
    ),
    (
        r#"{"resource_id":11,"channel":"email","email_data":{"email":"b"}}"#,
        "data.subscriptions[1].email_data.email: not an email address",
    ),
    (
        r#"{"resource_id":10,"channel":"telegram_bot","cc_data":{"id":"5"}}"#,
        "data.subscriptions[1].cc_data.id: must be an integer, is the string \"5\"; write it without quotes",
    ),
    (
        r#"{"resource_id":10,"channel":"viber","cc_data":"x"}"#,
        "data.subscriptions[1].cc_data: must be an object, is the string \"x\"",
    ),
    (
        r#"{"resource_id":10,"channel":"push","provider":" ","subscription_id":"x"}"#,
        "data.subscriptions[1].provider: is missing",
    ),
    (
        r#"{"resource_id":10,"channel":"push","provider":"a:b","subscription_id":"x"}"#,
        "data.subscriptions[1].provider: must not contain a colon, is \"a:b\"",
    ),
    (
        r#"{"resource_id":11,"channel":"email","email":"b@example.com","priority":"1"}"#,
        "data.subscriptions[1].priority: must be an integer, is the string \"1\"; write it without quotes",
    ),
    (
        r#"{"resource_id":11,"channel":"email","email":"b@example.com","custom_fields":[1]}"#,
        "data.subscriptions[1].custom_fields: must be an object, is an array",
    ),
    (
        r#"{"resource_id":11,"channel":"email","email":"b@example.com","cats":[1]}"#,
        "data.subscriptions[1].cats[0]: must be a string, is the number 1",
    ),
    (
        r#"{"resource_id":11,"channel":"email","email":"b@example.com","date":"2020-01-02"}"#,
        "data.subscriptions[1].date: must be a date-time of RFC 3339 with its offset, such as 2001-12-31T10:00:00Z, is \"2020-01-02\"",
    ),
    (
        r#"{"resource_id":11,"channel":"email","email":"b@example.com","ip":"x"}"#,
        "data.subscriptions[1].ip: must be an IPv4 or IPv6 address such as 192.0.2.1, and nothing else, is \"x\"",
    ),
    (
        r#"{"resource_id":11,"channel":"email","email":"b@example.com","url":1}"#,
        "data.subscriptions[1].url: must be a string, is the number 1",
    ),
    (
        r#"{"resource_id":11,"channel":"email","email":"b@example.com","status":"gone"}"#,
        "data.subscriptions[1].status: must be an integer or one of subscribed, unsubscribed, complainer, hardbounced, \
         unconfirmed, suspended, invalid, is \"gone\"",
    ),
    (
        r#"{"resource_id":11,"channel":"email","email":"A@EXAMPLE.com"}"#,
        "data.subscriptions[1]: the same resource, channel and address as an earlier one",
    ),
];

#[test]
fn an_invalid_subscription_refuses_the_request_or_is_dropped_as_it_wishes() {
    let first = r#"{"resource_id":11,"channel":"email","email":"a@example.com"}"#;
    let last = r#"{"resource_id":10,"channel":"email","email":"a@example.com"}"#;
    for (invalid, text) in INVALID {
        let three = format!("{first},{invalid},{last}");
        let strict = with_subscriptions(&three, false);
        assert_eq!(
            refusal(decided(&strict)),
            (400, (*text).to_owned(), false),
            "{invalid}"
        );
        let lenient = with_subscriptions(&three, true);
        let addition = addition(decided(&lenient));
        let kept: Vec<_> = addition
            .profile
            .subscriptions
            .iter()
            .map(|s| s.resource_id)
            .collect();
        assert_eq!(kept, [11, 10], "{invalid}");
        assert_eq!(
            addition.skipped,
            [Skipped {
                index: 1,
                error_text: (*text).to_owned()
            }]
        );
    }
}

#[test]
fn skip_invalid_subscriptions_is_false_by_default() {
    let body = with_data(r#"{"subscriptions":[{}]}"#);
    assert_eq!(
        refusal(decided(&body)).1,
        "data.subscriptions[0].resource_id: is missing"
    );
}

#[test]
fn what_is_no_array_of_subscriptions_is_refused_either_way() {
    for skip in [false, true] {
        let body = format!(
            r#"{{"token":"one","db_id":1,"data":{{"subscriptions":{{}}}},"skip_invalid_subscriptions":{skip}}}"#
        );
        assert_eq!(
            refusal(decided(&body)).1,
            "data.subscriptions: must be an array, is an object"
        );
    }
}

// ---- XML and the batch form

/// The same request in both formats: one is written, the other made from it.
fn both(data: &str, xml: &str) -> [Decision; 2] {
    [decided(&with_data(data)), decided(&with_xml(xml))]
}

/// A request of token "one" for database 1 with this profile.
fn with_xml(data: &str) -> String {
    format!("<xml><token>one</token><db_id>1</db_id><data>{data}</data></xml>")
}

#[test]
fn both_formats_are_judged_by_the_same_rules() {
    for (json, xml) in [
        (r#"{"email":" A@b.ru "}"#, "<email> A@b.ru </email>"),
        (r#"{"phones":["+7 900 000-00-00"]}"#, "<phones array='true'>+7 900 000-00-00</phones>"),
        (r#"{"_sex":1,"_status":"invalid"}"#, "<_sex>1</_sex><_status>invalid</_status>"),
        (r#"{"a":{"b":["x"]},"c":null}"#, "<a><b array='true'>x</b></a><c/>"),
        (
            r#"{"subscriptions":[{"resource_id":10,"channel":"push","provider":"p","subscription_id":"s","priority":-1}]}"#,
            "<subscriptions array='true'><resource_id>10</resource_id><channel>push</channel><provider>p</provider>
             <subscription_id>s</subscription_id><priority>-1</priority></subscriptions>",
        ),
    ] {
        let [json, xml] = both(json, xml).map(|decision| addition(decision).profile);
        assert_eq!((&json.email, &json.data, &json.subscriptions), (&xml.email, &xml.data, &xml.subscriptions));
    }
    for (json, xml) in [
        (r#"{"email":"x"}"#, "<email>x</email>"),
        (r#"{"_bdate":"yesterday"}"#, "<_bdate>yesterday</_bdate>"),
        (
            r#"{"_country":["RU","DE"]}"#,
            "<_country>RU</_country><_country>DE</_country>",
        ),
        (
            r#"{"subscriptions":[{"resource_id":10,"channel":"sms"}]}"#,
            "<subscriptions array='true'><resource_id>10</resource_id><channel>sms</channel></subscriptions>",
        ),
        (
            r#"{"subscriptions":[{"resource_id":"ten"}]}"#,
            "<subscriptions array='true'><resource_id>ten</resource_id></subscriptions>",
        ),
        (
            r#"{"subscriptions":[{"resource_id":10,"channel":"telegram_bot","cc_data":{"id":"me"}}]}"#,
            "<subscriptions array='true'><resource_id>10</resource_id><channel>telegram_bot</channel><cc_data><id>me</id></cc_data></subscriptions>",
        ),
    ] {
        let [json, xml] = both(json, xml).map(refusal);
        let of_xml = |text: String| text.replace("the string", "the text");
        assert_eq!((json.0, of_xml(json.1), json.2), xml);
        assert_eq!(json.0, 400);
    }
}

#[test]
fn a_reply_has_the_format_of_its_request() {
    for (body, content_type, format) in [
        ("{}", None, Format::Json),
        ("<xml/>", None, Format::Xml),
        ("<xml", None, Format::Xml),
        ("hello", Some("text/xml"), Format::Xml),
        ("<xml/>", Some("application/json"), Format::Json),
    ] {
        let properties = Properties {
            content_type,
            ..Properties::default()
        };
        assert_eq!(
            decide_with(body.as_bytes(), &properties).format,
            format,
            "{body}"
        );
    }
}

/// What becomes of each entry: its data, or code and text.
fn each(body: &str) -> Vec<Result<String, (u16, String)>> {
    match decided(body).verdict {
        Verdict::AddEntries(entries) => {
            let entry = |entry: Result<Addition, Rejection>| {
                entry
                    .map(|addition| addition.profile.data.as_str().to_owned())
                    .map_err(|r| (r.code.number(), r.text))
            };
            entries.into_iter().map(entry).collect()
        }
        other => panic!("not the batch form: {other:?}"),
    }
}

#[test]
fn each_entry_of_the_batch_form_is_judged_by_itself() {
    let entries = each(&with_data(
        r#"[{"a":1},{"_sex":7},[1],null,{"subscriptions":[{"resource_id":1}]},{}]"#,
    ));
    let flaw = |text: &str| Err((400, text.to_owned()));
    assert_eq!(
        entries,
        [
            Ok(r#"{"a":1}"#.to_owned()),
            flaw("data[1]._sex: must be 0, 1, 2, \"male\" or \"female\", is the number 7"),
            flaw("data[2]: must be an object, is an array"),
            Ok("{}".to_owned()),
            flaw("data[4].subscriptions[0].resource_id: database 1 has no resource 1"),
            Ok("{}".to_owned()),
        ]
    );
    assert_eq!(each(&with_data("[]")), []);
}

#[test]
fn entries_of_the_batch_form_have_identities_of_their_own() {
    let body = with_data(r#"[{"email":"a@b.ru"},{},{}]"#);
    let ids = |message_id: Option<&'static [u8]>| {
        let properties = Properties {
            message_id,
            ..Properties::default()
        };
        let Verdict::AddEntries(entries) = decide_with(body.as_bytes(), &properties).verdict else {
            panic!("batch form")
        };
        entries
            .into_iter()
            .map(|entry| entry.unwrap().profile.request_id)
            .collect::<Vec<_>>()
    };
    let named = ids(Some(b"m"));
    assert!(named.iter().all(Option::is_some));
    assert!(named[0] != named[1] && named[1] != named[2]);
    assert_eq!(ids(Some(b"m")), named);
    assert_ne!(ids(Some(b"n")), named);
    let unnamed = ids(None);
    assert!(
        unnamed[0].is_some() && unnamed[1].is_none(),
        "an email is needed where nothing names the request"
    );
}

#[test]
fn error_413_too_many_profiles_comes_before_the_token() {
    let many = |count: usize| format!(r#"{{"db_id":1,"data":[{}]}}"#, vec!["0"; count].join(","));
    let ids = IdSource::from_random([7; 8]);
    let directory = directory();
    let rules = Rules {
        directory: &directory,
        ids: &ids,
        now: Timestamp::UNIX_EPOCH,
        body_max: 1 << 20,
        warns: false,
    };
    let code = |body: String| refusal(decide(body.as_bytes(), &Properties::default(), &rules)).0;
    assert_eq!((code(many(10_000)), code(many(10_001))), (401, 413));
}

/// All of them would take hundreds of megabytes.
#[test]
fn error_413_too_many_values_comes_after_the_shape_and_before_the_token() {
    let directory = directory();
    let ids = IdSource::from_random([7; 8]);
    let now = Timestamp::from_second(NOW).unwrap();
    let rules = Rules {
        directory: &directory,
        ids: &ids,
        now,
        body_max: 10 << 20,
        warns: false,
    };
    let text = "more than 1000000 values in one request".to_owned();
    let zeros = format!("[0{}]", ",0".repeat(1_000_000));
    for (body, expected) in [
        (
            format!(r#"{{"token":"nobody","data":{{"x":{zeros}}},"db_id":1,"feedback_id":"f"}}"#),
            (413, text.clone(), false),
        ),
        (
            format!(r#"{{"token":"one","data":{zeros},"db_id":1,"feedback_id":"f"}}"#),
            (413, text.clone(), false),
        ),
        (
            format!(
                "<xml><db_id>1</db_id><data><x>{}</x></data><feedback_id>f</feedback_id></xml>",
                "<a/>".repeat(1_000_000)
            ),
            (413, text, false),
        ),
        (
            format!(r#"{{"token":"one","x":{zeros},"feedback_id":"f"}}"#),
            (400, "db_id: is missing".to_owned(), false),
        ),
    ] {
        let decision = decide(body.as_bytes(), &Properties::default(), &rules);
        assert_eq!(decision.feedback_id.as_deref(), Some("f"));
        assert_eq!(refusal(decision), expected);
    }
    let unreadable = format!(r#"{{"x":{zeros},"#);
    assert!(
        refusal(decide(
            unreadable.as_bytes(),
            &Properties::default(),
            &rules
        ))
        .2
    );
}

/// Each is told of in the reply, which the broker must be able to carry.
#[test]
fn subscriptions_have_limits() {
    let ids = IdSource::from_random([7; 8]);
    let directory = directory();
    let rules = Rules {
        directory: &directory,
        ids: &ids,
        now: Timestamp::UNIX_EPOCH,
        body_max: 1 << 20,
        warns: false,
    };
    let judge = |data: String| {
        let body = format!(
            r#"{{"token":"one","db_id":1,"skip_invalid_subscriptions":true,"data":{data}}}"#
        );
        decide(body.as_bytes(), &Properties::default(), &rules)
    };
    let profile = |count: usize| format!(r#"{{"subscriptions":[{}]}}"#, vec!["0"; count].join(","));
    assert_eq!(addition(judge(profile(1000))).skipped.len(), 1000);
    assert_eq!(
        refusal(judge(profile(1001))).1,
        "data.subscriptions: must be at most 1000 subscriptions"
    );
    let many = |count: usize| format!("[{}]", vec![profile(1000); count].join(","));
    assert!(matches!(judge(many(20)).verdict, Verdict::AddEntries(_)));
    let (code, text, _) = refusal(judge(many(21)));
    assert_eq!(
        (code, text.as_str()),
        (413, "more than 20000 invalid subscriptions in one request")
    );
}

// ---- custom fields that are defined

#[test]
fn a_defined_field_is_checked_and_a_strict_database_takes_no_other() {
    let ids = IdSource::from_random([7; 8]);
    let mut directory = directory();
    let database = directory.databases.get_mut(&1).unwrap();
    let types = FieldType::ALL.map(|field_type| (format!("f_{}", field_type.name()), field_type));
    database.fields = types.into_iter().collect();
    let judge = |directory: &Directory, data: &str| {
        let body = with_data(data);
        let rules = Rules {
            directory,
            ids: &ids,
            now: Timestamp::UNIX_EPOCH,
            body_max: 4096,
            warns: false,
        };
        decide(body.as_bytes(), &Properties::default(), &rules)
    };
    for (field, good, bad) in [
        ("f_string", r#""x""#, "1"),
        ("f_integer", "1", r#""1""#),
        ("f_number", "1.5", r#""1.5""#),
        ("f_boolean", "true", "1"),
        ("f_date", r#""2001-12-31""#, r#""2001-12-31T10:00:00Z""#),
        (
            "f_date-time",
            r#""2001-12-31T10:00:00Z""#,
            r#""2001-12-31""#,
        ),
        ("f_strings", r#"["x"]"#, "[1]"),
        ("f_object", r#"{"a":1}"#, "[1]"),
    ] {
        let decision = judge(&directory, &format!(r#"{{"{field}":{good}}}"#));
        assert_eq!(
            addition(decision).profile.data.as_str(),
            format!(r#"{{"{field}":{good}}}"#)
        );
        let decision = judge(&directory, &format!(r#"{{"{field}":{bad}}}"#));
        assert!(
            decision.directory_missed,
            "{field} may have another type by now"
        );
        assert!(
            refusal(decision).1.starts_with(&format!("data.{field}")),
            "{field}"
        );
        addition(judge(&directory, &format!(r#"{{"{field}":null}}"#)));
    }
    addition(judge(&directory, r#"{"other":1}"#));
    directory.databases.get_mut(&1).unwrap().is_strict = true;
    let decision = judge(
        &directory,
        r#"{"_fname":"x","email":"a@b.ru","f_integer":1,"other":1}"#,
    );
    assert!(decision.directory_missed, "it may be defined by now");
    assert_eq!(
        refusal(decision).1,
        "data.other: is not a field of this database"
    );
}
