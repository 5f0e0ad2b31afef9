//! Half of a surrogate pair: what a producer sends that cuts off a text in the middle of an emoji
//! (serde-rs/json#495, codex-trace#279). RFC 8259, 8.2: it is JSON, and nobody knows what it means.

use super::*;

const WHAT: &str = r"has half of a surrogate pair (such as \ud83d alone), or the character U+0000";

/// The same request, read at once, and with an outline first.
fn decided_twice(body: &str) -> [Decision; 2] {
    let directory = directory();
    let ids = IdSource::from_random([7; 8]);
    let rules = Rules {
        directory: &directory,
        ids: &ids,
        now: Timestamp::UNIX_EPOCH,
        body_max: 1 << 20,
        warns: false,
    };
    let large = format!("{body}{}", " ".repeat(READ_AT_ONCE_MAX));
    [body, &large].map(|body| decide(body.as_bytes(), &Properties::default(), &rules))
}

#[test]
fn it_is_a_fault_of_its_field() {
    let in_name = r"has a field name with half of a surrogate pair (such as \ud83d), or U+0000";
    for (body, path, what) in [
        (with_data(r#"{"_fname":"Jo \ud83d"}"#), "data._fname", WHAT),
        (with_data(r#"{"_fname":"\ude00 Jo"}"#), "data._fname", WHAT),
        (
            with_data(r#"{"email":"jo\ud83d@b.ru"}"#),
            "data.email",
            WHAT,
        ),
        (
            with_data(r#"{"phones":["+7\ud83d"]}"#),
            "data.phones[0]",
            WHAT,
        ),
        (with_data(r#"{"x":{"y":["\ud83d"]}}"#), "data.x", WHAT),
        (with_data(r#"{"x":{"\ud83d":1}}"#), "data.x", in_name),
        (with_data(r#"{"Jo \ud83d":1}"#), "data.Jo \u{fffd}", in_name),
        (r#"{"token":"\ud83d","db_id":1}"#.to_owned(), "token", WHAT),
        (
            r#"{"token":"one","db_id":1,"feedback_id":"\ud83d"}"#.to_owned(),
            "feedback_id",
            WHAT,
        ),
        (
            r#"{"token":"one","db_id":"\ud83d"}"#.to_owned(),
            "db_id",
            "must be an integer, is a string",
        ),
        (
            with_subscriptions(
                r#"{"resource_id":11,"channel":"email","email":"a@b.ru","url":"\ud83d"}"#,
                false,
            ),
            "data.subscriptions[0].url",
            WHAT,
        ),
    ] {
        for decision in decided_twice(&body) {
            let told = (400, format!("{path}: {what}"), false);
            assert_eq!(refusal(decision), told, "{body}");
        }
    }
}

#[test]
fn where_nobody_looks_it_is_nothing() {
    for body in [
        r#"{"token":"one","db_id":1,"comment":"\ud83d","data":{"_fname":"😀 \ud83d\ude00"}}"#,
        r#"{"token":"one","db_id":1,"\ud83d":{"\ude00":["\ud83d"]},"data":{"_fname":"😀 \ud83d\ude00"}}"#,
        r#"{"token":"one","db_id":1,"data":{"_fname":"\ud83d"},"data":{"_fname":"😀 \ud83d\ude00"}}"#,
        r#"{"token":"one","db_id":1,"data":{"_fname":"\ud83d","_fname":"😀 \ud83d\ude00"}}"#,
    ] {
        for decision in decided_twice(body) {
            let data = addition(decision).profile.data;
            assert_eq!(data.as_str(), r#"{"_fname":"😀 😀"}"#, "{body}");
        }
    }
}

#[test]
fn in_the_batch_form_it_is_a_fault_of_its_profile() {
    let body = with_data(r#"[{"_fname":"Ann"},{"_fname":"\ud83d"},{"email":"bob@b.ru"}]"#);
    for decision in decided_twice(&body) {
        let Verdict::AddEntries(each) = decision.verdict else {
            panic!("not the batch form")
        };
        let texts = each
            .into_iter()
            .map(|entry| entry.err().map(|rejection| rejection.text));
        let flaw = Some(format!("data[1]._fname: {WHAT}"));
        assert_eq!(texts.collect::<Vec<_>>(), [None, flaw, None]);
    }
}

#[test]
fn a_body_that_is_no_json_besides_is_told_as_before() {
    for (body, text) in [
        (
            r#"{"a":"\ud83d","b":}"#,
            "the body is not JSON at line 1, column 19",
        ),
        (
            r#"{"a":"\ud83d","b":["#,
            "the body ends too early at line 1, column 19",
        ),
        (r#"["\ud83d"]"#, "the body is an array, not an object"),
        (
            r#"{"a":"\ud83"}"#,
            "the body is not JSON at line 1, column 12",
        ),
    ] {
        let (code, told, is_dead_letter) = refusal(decided(body));
        assert!(told.contains(text), "{body}: {told}");
        assert_eq!((code, is_dead_letter), (400, true), "{body}");
    }
}
