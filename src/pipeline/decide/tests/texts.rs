//! What error texts say of a field: what came, what was wanted, where; and what they never repeat.

use super::*;

/// Where it comes from, a profile in JSON, the text.
const TEXTS: &[(&str, &str, &str)] = &[
    (
        "libphonenumber-js#185",
        r#"{"phones":["0079000000000"]}"#,
        "data.phones[0]: not a phone number: must begin with + and the country code, not with 00",
    ),
    (
        "peeringdb#657",
        r#"{"phones":["+1 202 555 0123 x45"]}"#,
        "data.phones[0]: not a phone number: has an extension at position 17, which E.164 does not have",
    ),
    (
        "pandas users",
        r#"{"phones":[79000000000]}"#,
        "data.phones[0]: must be a string, is a number",
    ),
    (
        "cosmjs#1963",
        r#"{"_bdate":"2001-12-31T10:00:00+24:00"}"#,
        "data._bdate: must be a date such as 2001-12-31, or a date-time such as 2001-12-31T10:00:00Z, \
         is \"2001-12-31T10:00:00+24:00\"",
    ),
    (
        "ChurchCRM#9583",
        r#"{"_bdate":"0000-01-01"}"#,
        "data._bdate: must be a date such as 2001-12-31, or a date-time such as 2001-12-31T10:00:00Z, \
         is \"0000-01-01\"",
    ),
    (
        "row 86",
        r#"{"_bdate":"28.03.1979"}"#,
        "data._bdate: must be a date such as 2001-12-31, or a date-time such as 2001-12-31T10:00:00Z, \
         is \"28.03.1979\"",
    ),
    (
        "countries#735",
        r#"{"_country":"RUS"}"#,
        "data._country: must be a country code of two letters such as DE, is \"RUS\"",
    ),
    (
        "firezone#15013",
        r#"{"_ip":"192.0.2.1:8080"}"#,
        "data._ip: must be an IPv4 or IPv6 address such as 192.0.2.1, and nothing else, is \"192.0.2.1:8080\"",
    ),
    (
        "civicrm#1742",
        r#"{"_sex":"M"}"#,
        "data._sex: must be 0, 1, 2, \"male\" or \"female\", is \"M\"",
    ),
    (
        "monica#1951",
        r#"{"_sex":3}"#,
        "data._sex: must be 0, 1, 2, \"male\" or \"female\", is the number 3",
    ),
    (
        "csvbase#11",
        r#"{"_status":2.5}"#,
        "data._status: must be an integer, is a fraction",
    ),
    (
        "cerb#1349: what nobody sees",
        r#"{"_tz":"Europe\u200b/Moscow"}"#,
        "data._tz: must be an IANA time zone name such as Europe/Moscow, is \"Europe\\u{200b}/Moscow\"",
    ),
    (
        "a text that is long",
        r#"{"_tz":"ooooooooooooooooooooooooooooooooooooooooooooo"}"#,
        "data._tz: must be an IANA time zone name such as Europe/Moscow, is \"oooooooooooooooooooooooooooooooooooooooo…\"",
    ),
    (
        "an email in another field",
        r#"{"_tz":"john@example.com"}"#,
        "data._tz: must be an IANA time zone name such as Europe/Moscow",
    ),
    (
        "a token in another field",
        r#"{"_country":"pw_0123456789"}"#,
        "data._country: must be a country code of two letters such as DE",
    ),
    (
        "a phone number in another field",
        r#"{"_ip":"+7 900 000-00-00","_tz":1}"#,
        "data._ip: must be an IPv4 or IPv6 address such as 192.0.2.1, and nothing else",
    ),
    (
        "a name that nobody sees",
        r#"{"a\u200b\u0000":1}"#,
        "data.a\\u{200b}\\u{0}: must not have a field name with the character U+0000",
    ),
];

#[test]
fn a_text_says_what_came_and_what_was_wanted() {
    for (source, data, text) in TEXTS {
        assert_eq!(flaw_of(data), *text, "{source}");
    }
}

#[test]
fn without_a_good_token_nothing_is_repeated() {
    for (body, text) in [
        (
            r#"{"db_id":"s3cret"}"#,
            "db_id: must be an integer, is a string",
        ),
        (
            r#"{"db_id":"12"}"#,
            "db_id: must be an integer, is a string; write it without quotes",
        ),
        (
            r#"{"db_id":12.5}"#,
            "db_id: must be an integer, is a fraction",
        ),
        (
            r#"{"db_id":1,"token":5}"#,
            "token: must be a string, is a number",
        ),
        (
            r#"{"db_id":1,"skip_triggers":"yes"}"#,
            "skip_triggers: must be true or false, is a string",
        ),
        (
            "<xml><db_id>s3cret</db_id></xml>",
            "db_id: must be an integer, is a text",
        ),
        (
            "<xml><db_id>1</db_id><skip_triggers>yes</skip_triggers></xml>",
            "skip_triggers: must be true, false, 1 or 0, is a text",
        ),
    ] {
        assert_eq!(
            refusal(decided(body)),
            (400, text.to_owned(), false),
            "{body}"
        );
    }
}
