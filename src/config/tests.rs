//! The settings, from their texts to what a worker gets.

use std::time::Duration;

use super::*;
use crate::broker::topology::{QueueType, TopologyMode};
use crate::telemetry::otlp::Endpoint;

const URLS: [(&str, &str); 2] = [
    ("AMQP_URL", "amqp://u:secret-a@localhost:5672/%2f"),
    ("DATABASE_URL", "postgres://u:secret-d@localhost/db"),
];

fn source(texts: &[(&'static str, &str)]) -> Source {
    Source {
        texts: texts
            .iter()
            .map(|(name, text)| (*name, (*text).to_owned()))
            .collect(),
        problems: Vec::new(),
    }
}

fn problems(texts: &[(&'static str, &str)]) -> Vec<String> {
    source(&[&URLS, texts].concat()).worker().unwrap_err().0
}

#[test]
fn the_documentation_has_the_table() {
    crate::documents::has_table("settings.md", &setting::table());
}

#[test]
fn the_defaults_are_those_of_the_contract() {
    let (worker, log) = source(&URLS).worker().unwrap();
    let topology = &worker.topology;
    assert_eq!(topology.request_queue, "profiles.add");
    assert_eq!(topology.result_queue, "profiles.add.results");
    assert_eq!(topology.dead_letter_queue, "profiles.add.dead");
    assert_eq!(topology.event_exchange, "profiles.events");
    assert_eq!(
        (topology.queue_type, topology.mode),
        (QueueType::Quorum, TopologyMode::Declare)
    );
    assert_eq!(topology.result_ttl, Duration::from_secs(24 * 3600));
    assert_eq!(worker.body_max, 10 * 1024 * 1024);
    assert_eq!(worker.shutdown_grace, Duration::from_secs(30));
    assert!(!log.json);
}

#[test]
fn all_problems_are_reported_at_once_and_none_repeats_a_value() {
    let problems = source(&[
        ("DATABASE_URL", "mysql://u:secret-d@localhost"),
        ("LANES", "0"),
        ("BATCH_MAX", "many"),
        ("BODY_MAX", "10"),
        ("SHUTDOWN_GRACE", "30"),
        ("QUEUE_TYPE", "stream"),
        ("RESULT_QUEUE", "profiles.add"),
    ])
    .worker()
    .unwrap_err();
    let names: Vec<_> = problems
        .0
        .iter()
        .map(|p| p.split(':').next().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "AMQP_URL",
            "DATABASE_URL",
            "QUEUE_TYPE",
            "LANES",
            "BATCH_MAX",
            "BODY_MAX",
            "SHUTDOWN_GRACE"
        ]
    );
    assert!(!problems.to_string().contains("secret"));
}

#[test]
fn units_are_required() {
    for (name, text) in [
        ("BODY_MAX", "1048576"),
        ("SHUTDOWN_GRACE", "30"),
        ("RESULT_TTL", "1"),
    ] {
        assert!(problems(&[(name, text)])[0].starts_with(name), "{name}");
    }
    let (worker, _) = source(
        &[
            &URLS[..],
            &[("BODY_MAX", "1MiB"), ("SHUTDOWN_GRACE", "1m 5s")],
        ]
        .concat(),
    )
    .worker()
    .unwrap();
    assert_eq!(
        (worker.body_max, worker.shutdown_grace),
        (1 << 20, Duration::from_secs(65))
    );
}

#[test]
fn a_quorum_queue_limits_the_prefetch() {
    assert!(problems(&[("PREFETCH", "2001")])[0].starts_with("PREFETCH"));
    assert!(
        source(
            &[
                &URLS[..],
                &[("PREFETCH", "2001"), ("QUEUE_TYPE", "classic")]
            ]
            .concat()
        )
        .worker()
        .is_ok()
    );
}

#[test]
fn queues_have_different_names() {
    assert_eq!(problems(&[("RESULT_QUEUE", "profiles.add")]).len(), 1);
    assert!(problems(&[("REQUEST_QUEUE", "amq.x")])[0].starts_with("REQUEST_QUEUE"));
}

/// A file of its own with these words.
fn file(name: &str, words: &str) -> String {
    let path = std::env::temp_dir().join(format!("profile-worker-{}-{name}", std::process::id()));
    std::fs::write(&path, words).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_file_may_have_the_urls() {
    let [amqp, database] = URLS.map(|(name, url)| file(name, &format!("{url}\n")));
    let files = [
        ("AMQP_URL_FILE", amqp.as_str()),
        ("DATABASE_URL_FILE", database.as_str()),
    ];
    assert!(source(&files).worker().is_ok());
    assert!(source(&files[1..]).database().is_ok());
    let both = problems(&files[..1]);
    assert_eq!(
        both,
        ["AMQP_URL, AMQP_URL_FILE: only one of them can be given"]
    );
    for path in [amqp, database] {
        std::fs::remove_file(path).unwrap();
    }
}

#[test]
fn what_is_wrong_with_a_file_names_it_and_not_what_it_says() {
    let path = file("wrong", "mysql://u:secret-d@localhost");
    let wrong = source(&[("DATABASE_URL_FILE", &path)])
        .database()
        .unwrap_err()
        .to_string();
    std::fs::remove_file(&path).unwrap();
    assert!(
        wrong.starts_with(&format!("DATABASE_URL_FILE ({path}): ")) && !wrong.contains("secret"),
        "{wrong}"
    );
    let missing = source(&[("DATABASE_URL_FILE", &path)])
        .database()
        .unwrap_err()
        .to_string();
    assert!(
        missing.starts_with(&format!("DATABASE_URL_FILE: can't read {path}: ")),
        "{missing}"
    );
    // Not of a command that needs none of it.
    assert!(
        source(&[URLS[1], ("AMQP_URL_FILE", &path)])
            .database()
            .is_ok()
    );
}

#[test]
fn the_address_of_the_admin_port_is_an_address_or_none() {
    let admin = |text| {
        source(&[&URLS[..], &[("ADMIN_ADDR", text)]].concat())
            .worker()
            .map(|(worker, _)| worker.admin)
    };
    assert_eq!(admin("none"), Ok(None));
    let address = "[::]:9000".parse().unwrap();
    assert_eq!(
        admin("[::]:9000"),
        Ok(Some(AdminAddress {
            address,
            is_default: false
        }))
    );
    for text in ["localhost:9464", "9464", ":9464", "127.0.0.1"] {
        assert!(
            problems(&[("ADMIN_ADDR", text)])[0].starts_with("ADMIN_ADDR"),
            "{text}"
        );
    }
    let (worker, _) = source(&URLS).worker().unwrap();
    assert!(
        worker
            .admin
            .is_some_and(|admin| admin.is_default && admin.address.ip().is_loopback())
    );
    for text in ["none", "127.0.0.1:0"] {
        assert!(source(&[("ADMIN_ADDR", text)]).admin().is_err(), "{text}");
    }
}

#[test]
fn traces_are_off_unless_they_have_somewhere_to_go() {
    let traces = |texts: &[_]| {
        source(&[&URLS, texts].concat())
            .worker()
            .map(|(worker, _)| worker.traces)
    };
    assert!(
        traces(&[("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")])
            .unwrap()
            .is_none()
    );
    let base = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318");
    let on = traces(&[base]).unwrap().unwrap();
    assert_eq!(
        (on.endpoint, on.ratio),
        (
            Endpoint::parse("http://c:4318/v1/traces").unwrap().unwrap(),
            0.01
        )
    );
    let own = traces(&[base, ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://t/x")])
        .unwrap()
        .unwrap();
    assert_eq!(
        own.endpoint,
        Endpoint::parse("http://t/x").unwrap().unwrap()
    );
    for (name, wrong) in [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "nonsense"),
        ("OTEL_TRACES_SAMPLER_ARG", "1.5"),
        ("OTEL_TRACES_SAMPLER_ARG", "NaN"),
    ] {
        assert!(
            problems(&[base, (name, wrong)])[0].starts_with(name),
            "{name}"
        );
    }
}

#[test]
fn secrets_do_not_print() {
    let secret = ("OTEL_EXPORTER_OTLP_HEADERS", "key=secret");
    let (worker, _) = source(
        &[
            &URLS[..],
            &[secret, ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c")],
        ]
        .concat(),
    )
    .worker()
    .unwrap();
    assert!(!format!("{worker:?}").contains("secret"));
}

#[test]
fn a_producers_token_may_be_missing_but_not_wrong() {
    let token = |texts: &[(&'static str, &str)]| {
        let sender = source(&[&URLS, texts].concat()).sender();
        sender.map(|(_, _, token)| token)
    };
    assert_eq!(token(&[]), Ok(None));
    assert_eq!(token(&[("API_TOKEN", "pw_1")]), Ok(Some("pw_1".to_owned())));
    for wrong in ["two words", "ж", "a\nb"] {
        let problems = token(&[("API_TOKEN", wrong)]).unwrap_err().to_string();
        assert!(
            problems.starts_with("API_TOKEN: must be a token"),
            "{problems}"
        );
        assert!(!problems.contains(wrong), "{problems}");
    }
    let file = source(&[&URLS[..], &[("API_TOKEN", "pw_1")]].concat());
    let problems = file
        .with_token_file(Some("/nowhere".to_owned()))
        .sender()
        .unwrap_err();
    assert!(
        problems.to_string().contains("can't read /nowhere"),
        "{problems}"
    );
}
