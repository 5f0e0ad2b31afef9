//! Values as producers write them, and what is stored of them: a table per kind. Each row has where
//! it was reported, or the rule.

use super::*;

/// Where it comes from, a value in JSON, the same in XML, what is stored in either case. Without a
/// text of XML there is none that says the same.
type Row<'a> = (&'a str, &'a str, Option<&'a str>, &'a str);

/// Checks a table of values of one field. What is stored of nothing is the empty text.
fn check(field: &str, rows: &[Row<'_>]) {
    for (source, json, xml, stored) in rows {
        let stored = match *stored {
            "" => "{}".to_owned(),
            stored => format!(r#"{{"{field}":{stored}}}"#),
        };
        let data = format!(r#"{{"{field}":{json}}}"#);
        assert_eq!(data_of(&data), stored, "{source}: {data}");
        if let Some(xml) = xml {
            let xml = with_xml(&elements(field, xml));
            let data = addition(decided(&xml)).profile.data;
            assert_eq!(data.as_str(), stored, "{source}: {xml}");
        }
    }
}

/// An element, or those that are written in full.
fn elements(field: &str, content: &str) -> String {
    if content.starts_with(&format!("<{field}")) {
        content.to_owned()
    } else {
        format!("<{field}>{content}</{field}>")
    }
}

#[test]
fn phones() {
    check(
        "phones",
        &[
            (
                "phony#185, zod#5563",
                r#"["+44 (0)20 7946 0958"]"#,
                Some("+44 (0)20 7946 0958"),
                r#"["+442079460958"]"#,
            ),
            (
                "row 86: a zero of the number",
                r#"["+39 06 6982 0001"]"#,
                Some("+39 06 6982 0001"),
                r#"["+390669820001"]"#,
            ),
            (
                "rapidpro#6998",
                r#"["+7 900 000-00-00","+49 30 901820","+79000000000"]"#,
                Some(
                    "<phones>+7 900 000-00-00</phones><phones>+49 30 901820</phones>\
                     <phones>+79000000000</phones>",
                ),
                r#"["+79000000000","+4930901820"]"#,
            ),
            (
                "woocommerce#58000",
                r#"["\u202a+7\u2011900\u202f000\u200b00 00\u202c"]"#,
                Some("&#x202a;+7&#x2011;900&#x202f;000&#x200b;00 00&#x202c;"),
                r#"["+79000000000"]"#,
            ),
            (
                "opencrvs#12668: an empty line of a form",
                r#"["", null, " ", "+79000000000"]"#,
                Some("<phones/><phones></phones><phones> </phones><phones>+79000000000</phones>"),
                r#"["+79000000000"]"#,
            ),
            (
                "opencrvs#12668",
                r#"[""]"#,
                Some("<phones array='true'/>"),
                "[]",
            ),
            ("opencrvs#12668", r#""""#, Some(""), ""),
            (
                "JSON-java#330: an array of one",
                r#"["+79000000000"]"#,
                Some("+79000000000"),
                r#"["+79000000000"]"#,
            ),
        ],
    );
}

#[test]
fn phones_of_subscriptions() {
    for (channel, json, xml) in [
        (
            "sms",
            r#""phone":"+44 (0)20 7946 0958""#,
            "<phone>+44 (0)20 7946 0958</phone>",
        ),
        (
            "sms",
            r#""phone":"","phone_data":{"phone":"+44\u202f20 7946 0958"}"#,
            "<phone/><phone_data><phone>+44&#x202f;20 7946 0958</phone></phone_data>",
        ),
        (
            "viber",
            r#""cc_data":{"phone":"tel:+44-20-7946-0958"}"#,
            "<cc_data><phone>tel:+44-20-7946-0958</phone></cc_data>",
        ),
    ] {
        let json =
            format!(r#"{{"subscriptions":[{{"resource_id":10,"channel":"{channel}",{json}}}]}}"#);
        let xml = format!(
            "<subscriptions><resource_id>10</resource_id><channel>{channel}</channel>{xml}</subscriptions>"
        );
        for decision in both(&json, &xml) {
            let address = &addition(decision).profile.subscriptions[0].address;
            assert_eq!(address, "+442079460958", "{json}");
        }
    }
}

#[test]
fn dates() {
    for same in [
        r#""2001-12-31""#,
        r#""1990-12-31T23:59:60Z""#,
        r#""1990-12-31T15:59:60-08:00""#,
        r#""9999-12-31T23:59:59-23:59""#,
        r#""0001-01-01T00:00:00+23:59""#,
        r#""2001-12-31t10:00:00.1234567z""#,
        r#""2001-12-31T10:00:00-00:00""#,
    ] {
        let text = same.trim_matches('"');
        check("_bdate", &[("RFC 3339", same, Some(text), same)]);
    }
    check(
        "_regdate",
        &[
            (
                "craft-campaign#268",
                r#"" 2001-12-31""#,
                Some("\n 2001-12-31 "),
                r#""2001-12-31""#,
            ),
            ("opencrvs#12668", r#""""#, Some(""), ""),
            ("Broadleaf#2020", r#"" \u200b""#, Some(" &#x200b;"), ""),
        ],
    );
}

#[test]
fn dates_of_subscriptions() {
    for (date, kept) in [
        ("2020-01-02T03:04:05+03:00", "2020-01-02T00:04:05Z"),
        (" 2016-12-31T23:59:60Z ", "2016-12-31T23:59:59Z"),
        ("9999-12-31T23:59:59-23:59", "9999-12-31T23:59:59-23:59"),
    ] {
        let json = format!(
            r#"{{"subscriptions":[{{"resource_id":11,"channel":"email","email":"a@b.ru","date":"{date}"}}]}}"#
        );
        let xml = format!(
            "<subscriptions><resource_id>11</resource_id><channel>email</channel><email>a@b.ru</email>
             <date>{date}</date></subscriptions>"
        );
        for decision in both(&json, &xml) {
            let subscription = addition(decision).profile.subscriptions.remove(0);
            assert_eq!(subscription.date.unwrap().to_string(), kept);
        }
    }
}

#[test]
fn time_zones_and_countries() {
    let (moscow, kiev) = (r#""Europe/Moscow""#, r#""Europe/Kiev""#);
    check(
        "_tz",
        &[
            (
                "flapjack#791",
                r#""europe/moscow""#,
                Some("europe/moscow"),
                moscow,
            ),
            ("nextcloud/server#41606", kiev, Some("Europe/Kiev"), kiev),
            (
                "craft-campaign#268",
                r#""Europe/Moscow ""#,
                Some(" Europe/Moscow"),
                moscow,
            ),
            ("opencrvs#12668", r#""""#, Some(""), ""),
        ],
    );
    for field in ["_country", "_regcountry"] {
        check(
            field,
            &[
                ("countries#735", r#""ru""#, Some("ru"), r#""RU""#),
                ("yup-phone-lite#18", r#""Xk""#, Some("Xk"), r#""XK""#),
                ("craft-campaign#268", r#""RU ""#, Some("\tRU"), r#""RU""#),
                ("opencrvs#12668", r#""""#, Some(""), ""),
            ],
        );
    }
}

#[test]
fn empties_and_blanks() {
    for (field, word) in [
        ("_ip", "192.0.2.1"),
        ("_regip", "2001:db8::1"),
        ("_sex", "male"),
        ("_status", "subscribed"),
        ("_postal_code", "EC1A 1BB"),
    ] {
        let with_blanks = format!(r#""\t{word}\u00a0\ufeff""#);
        let in_xml = format!("&#x3000;\n{word} ");
        let stored = format!("\"{word}\"");
        check(
            field,
            &[
                ("craft-campaign#268", &with_blanks, Some(&in_xml), &stored),
                ("opencrvs#12668", r#""""#, Some(""), ""),
                ("opencrvs#12668", r#""\u3000""#, Some("&#x3000;"), ""),
            ],
        );
    }
    // Free text of JSON is what it is; in XML the blanks around it are layout (row 75).
    check(
        "_fname",
        &[
            ("contract", r#"" Jo ""#, None, r#"" Jo ""#),
            ("contract", r#""""#, None, r#""""#),
            ("row 75", r#""Jo B""#, Some("\n    Jo B\n  "), r#""Jo B""#),
        ],
    );
    check(
        "nick",
        &[("contract", r#""\n Jo ""#, Some("\n Jo "), r#""\n Jo ""#)],
    );
}

#[test]
fn empties_of_a_request() {
    let no_token = "no token: give it as `token` or in the header `authorization: Bearer …`";
    for (body, text) in [
        (r#"{"token":"one","db_id":""}"#, "db_id: is missing"),
        ("<xml><token>one</token><db_id/></xml>", "db_id: is missing"),
        (r#"{"token":" ","db_id":1}"#, no_token),
    ] {
        assert_eq!(refusal(decided(body)).1, text, "{body}");
    }
    addition(decided(r#"{"token":" one ","db_id":1,"skip_triggers":""}"#));
}

#[test]
fn empties_of_subscriptions() {
    for (fields, missing) in [
        (r#""resource_id":"""#, "resource_id"),
        (r#""resource_id":10,"channel":" ""#, "channel"),
        (
            r#""resource_id":10,"channel":"push","provider":"p","subscription_id":"\u200b""#,
            "subscription_id",
        ),
        (
            r#""resource_id":10,"channel":"telegram_bot","cc_data":[]"#,
            "cc_data.id",
        ),
    ] {
        assert_eq!(
            flaw_of(&format!(r#"{{"subscriptions":[{{{fields}}}]}}"#)),
            format!("data.subscriptions[0].{missing}: is missing")
        );
    }
    let given = r#"{"resource_id":10,"channel":" push ","provider":" p ","subscription_id":"s\n","status":"",
        "priority":"","cats":"","custom_fields":"","date":"","ip":" ","url":""}"#;
    let body = with_subscriptions(given, false);
    let kept = addition(decided(&body)).profile.subscriptions.remove(0);
    assert_eq!(
        (kept.address.as_str(), kept.status.as_str()),
        ("p:s", "subscribed")
    );
    assert_eq!(
        (kept.priority, kept.cats, kept.custom_fields),
        (None, None, None)
    );
    assert_eq!((kept.date, kept.ip, kept.url), (None, None, None));
    assert_eq!(data_of(r#"{"subscriptions":""}"#), "{}");
}

#[test]
fn integers() {
    let rows: &[Row<'_>] = &[
        ("csvbase#11, pandas#58306", "2.0", Some("2.0"), "2"),
        ("JSON Schema, 6.1.1", "2e0", Some("2e0"), "2"),
        ("JSON Schema, 6.1.1", "0.20e1", Some("+2"), "2"),
        ("XML Schema, long", "2", Some(" 002 "), "2"),
        ("contract", "-0.0", Some("-0"), "0"),
    ];
    check("_status", rows);
    check("_sex", rows);
    check(
        "_postal_code",
        &[
            ("s2member#1148", r#""02138""#, Some("02138"), r#""02138""#),
            ("csvbase#11", "2138.0", None, "2138"),
        ],
    );
    let json = r#"{"subscriptions":[{"resource_id":10.0,"channel":"telegram_bot","cc_data":{"id":5e0},"priority":-1.0}]}"#;
    let xml = "<subscriptions><resource_id>10.0</resource_id><channel>telegram_bot</channel>
        <cc_data><id>05</id></cc_data><priority>-1.0</priority></subscriptions>";
    for decision in both(json, xml) {
        let kept = addition(decision).profile.subscriptions.remove(0);
        assert_eq!((kept.address.as_str(), kept.priority), ("5", Some(-1)));
    }
    addition(decided(r#"{"token":"one","db_id":1.0}"#));
    addition(decided("<xml><token>one</token><db_id>1.0</db_id></xml>"));
}

#[test]
fn arrays_and_booleans_of_xml() {
    let one =
        "<subscriptions><resource_id>11</resource_id><channel>email</channel><email>a@b.ru</email>
        <cats>\n news\n</cats></subscriptions>";
    let kept = addition(decided(&with_xml(one)))
        .profile
        .subscriptions
        .remove(0);
    assert_eq!(kept.cats.unwrap().as_str(), r#"["news"]"#, "xmljson#26");
    let text = refusal(decided(&with_xml("<subscriptions>none</subscriptions>"))).1;
    assert_eq!(
        text,
        "data.subscriptions[0]: must be an object, is the text \"none\""
    );
    for (flag, skips) in [
        ("1", true),
        ("true", true),
        (" 0 ", false),
        ("false", false),
    ] {
        let body = format!(
            "<xml><token>one</token><db_id>1</db_id><skip_triggers>{flag}</skip_triggers></xml>"
        );
        assert_eq!(
            addition(decided(&body)).skip_triggers,
            skips,
            "XML Schema, boolean: {flag}"
        );
    }
}

/// svix#2060, php-customerio#20: PHP has no other way to write an empty object.
#[test]
fn an_empty_array_is_an_empty_object() {
    let body = with_subscriptions(
        r#"{"resource_id":11,"channel":"email","email":"a@b.ru","custom_fields":[]}"#,
        false,
    );
    let kept = addition(decided(&body)).profile.subscriptions.remove(0);
    assert_eq!(kept.custom_fields.unwrap().as_str(), "{}");
    let empty = || Ok("{}".to_owned());
    assert_eq!(each(&with_data("[[],{}]")), [empty(), empty()]);
}
