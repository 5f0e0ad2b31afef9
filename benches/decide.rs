//! What the pure core costs for typical requests, and what is recorded of a batch. `cargo bench
//! --bench decide`.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use jiff::Timestamp;
use profile_worker::domain::channel::Channel;
use profile_worker::domain::directory::Directory;
use profile_worker::domain::identity::IdSource;
use profile_worker::domain::outcome::Code;
use profile_worker::domain::token::{Scope, Token, TokenHash};
use profile_worker::pipeline::decide::{Properties, Rules, Verdict, decide};
use profile_worker::telemetry::labels::{ProfileOutcome, Redelivered, ReplyRoute, Stage};
use profile_worker::telemetry::metrics::Metrics;

const TOKEN: &str = "abcdefghijklmnqrstuvwxyz";

/// Database 1 with resource 1, which offers every channel, and one token.
fn directory() -> Directory {
    Directory {
        version: 1,
        tokens: FromIterator::from_iter([(
            TokenHash::of(TOKEN),
            Token {
                scope: Scope::Databases(vec![1]),
                expires_at: None,
                revoked: false,
            },
        )]),
        databases: FromIterator::from_iter([(1, Default::default())]),
        resources: FromIterator::from_iter([((1, 1), Channel::ALL.into_iter().collect())]),
        ..Directory::default()
    }
}

/// The request of Altcraft's page, word by word.
const SEED_JSON: &str = r#"{
"token": "abcdefghijklmnqrstuvwxyz",
"db_id": 1,
"data": {
"_fname": "Fillipp",
"_lname": "Doe"
},
"skip_triggers": true
}"#;

const SEED_XML: &str = "<xml>
<token>abcdefghijklmnqrstuvwxyz</token>
<db_id>1</db_id>
<skip_triggers>true</skip_triggers>
<data>
<_fname>Fillipp</_fname>
<_lname>Doe</_lname>
</data>
</xml>";

/// What a sign-up form sends.
fn sign_up(subscriptions: usize) -> String {
    let each = |i| {
        format!(
            r#"{{"resource_id":1,"channel":"email","email":"john.doe{i}@example.com","status":"subscribed","priority":{i},"cats":["news","offers"]}}"#
        )
    };
    let subscriptions: Vec<_> = (0..subscriptions).map(each).collect();
    format!(
        r#"{{"token":"{TOKEN}","db_id":1,"data":{{"email":"john.doe@example.com","phones":["+79000000000"],"_fname":"John","_lname":"Doe","_city":"Berlin","_regdate":"2026-11-24T10:00:00Z","plan":"free","subscriptions":[{}]}}}}"#,
        subscriptions.join(",")
    )
}

/// What the worker counts and times for a batch, apart from the reading of clocks.
fn record(criterion: &mut Criterion) {
    const REQUESTS: u64 = 250;
    let metrics = Metrics::default();
    let mut group = criterion.benchmark_group("record");
    group.throughput(Throughput::Elements(REQUESTS));
    group.bench_function("a batch of 250", |bencher| {
        bencher.iter(|| {
            for i in 0..REQUESTS {
                metrics.profiles.of(ProfileOutcome::Added).inc();
                metrics.request_duration.observe(black_box(i as f64 / 1e4));
            }
            metrics.deliveries.of(Redelivered::No).inc_by(REQUESTS);
            metrics.deliveries.of(Redelivered::Yes).inc_by(0);
            metrics.batch_requests.observe(REQUESTS as f64);
            metrics.batch_profiles.observe(REQUESTS as f64);
            metrics.decisions.of(Code::Added).inc_by(REQUESTS);
            metrics.replies.of(ReplyRoute::ReplyTo).inc_by(REQUESTS);
            metrics.events.inc_by(REQUESTS);
            for stage in [Stage::Decide, Stage::Store, Stage::Publish, Stage::Settle] {
                metrics.lanes.of(stage).inc();
                metrics.lanes.of(stage).dec();
                metrics.stage_duration.of(stage).observe(black_box(0.003));
            }
        });
    });
    group.finish();
}

fn main() {
    let directory = directory();
    let ids = IdSource::from_random([7; 8]);
    let rules = Rules {
        directory: &directory,
        ids: &ids,
        now: Timestamp::now(),
        body_max: 10 << 20,
        warns: false,
    };
    let properties = Properties {
        message_id: Some(b"8b0a45f2-6d4e-4b0e-9a71-0f6f0b7a5a10"),
        ..Properties::default()
    };
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("decide");
    for (name, body) in [
        ("seed, JSON", SEED_JSON.to_owned()),
        ("seed, XML", SEED_XML.to_owned()),
        ("no subscription", sign_up(0)),
        ("1 subscription", sign_up(1)),
        ("5 subscriptions", sign_up(5)),
        ("refused: no such token", SEED_JSON.replace(TOKEN, "x")),
        (
            "refused: not an email",
            sign_up(1).replace("john.doe@", "john.doe"),
        ),
    ] {
        let verdict = decide(body.as_bytes(), &properties, &rules).verdict;
        assert_eq!(
            matches!(verdict, Verdict::Add(_)),
            !name.starts_with("refused"),
            "{name}: {verdict:?}"
        );
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| decide(black_box(body.as_bytes()), &properties, &rules));
        });
    }
    group.finish();
    record(&mut criterion);
    criterion.final_summary();
}
