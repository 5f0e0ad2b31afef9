//! Every setting: its name, its default, its unit, its check.
//!
//! A setting is an environment variable and a flag of the same name (`BATCH_MAX`, `--batch-max`);
//! the flag wins. All problems are reported at once. The only place that reads the environment.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use bytesize::ByteSize;

use crate::broker::connection::BrokerUrl;
use crate::broker::subscription::LANES_MAX;
use crate::broker::topology::{QueueType, TopologyMode, TopologySettings};
use crate::store::url::DatabaseUrl;
use crate::telemetry::logs::LogConfig;
use crate::telemetry::otlp::{Endpoint, Headers};

/// One setting.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// The environment variable; the flag is the same in lower case with dashes.
    pub name: &'static str,
    /// What stands for its value in `--help`.
    pub value: &'static str,
    /// The value where none is given; `None` if one must be given.
    pub default: Option<&'static str>,
    /// What it does, in Markdown.
    pub help: &'static str,
}

impl Setting {
    /// The flag without its dashes in front.
    pub fn flag(&self) -> String {
        self.name.to_lowercase().replace('_', "-")
    }

    /// What it does, for `--help`.
    pub fn plain_help(&self) -> String {
        self.help.replace('`', "")
    }

    /// The variable that may name a file with the value instead, as Docker and Kubernetes mount
    /// secrets: of the settings that hold a password.
    pub fn file(&self) -> Option<&'static str> {
        match self.name {
            "AMQP_URL" => Some("AMQP_URL_FILE"),
            "DATABASE_URL" => Some("DATABASE_URL_FILE"),
            _ => None,
        }
    }
}

macro_rules! settings {
    ($($constant:ident = $value:literal, $default:expr, $help:literal;)*) => {
        $(
            #[doc = $help]
            pub const $constant: Setting = Setting {
                name: stringify!($constant),
                value: $value,
                default: $default,
                help: $help,
            };
        )*
        /// All of them.
        pub const ALL: &[Setting] = &[$($constant),*];
    };
}

/// The settings, in the order of `--help`.
pub mod setting {
    use super::Setting;

    settings! {
        AMQP_URL = "URL", None,
            "RabbitMQ: `amqp://user:password@host:5672/vhost`, or `amqps://` for TLS; of a cluster \
             several nodes, `amqp://user:password@one,two:5673,[::3]/%2f`, which are tried in turn";
        DATABASE_URL = "URL", None,
            "PostgreSQL: `postgres://user:password@host:5432/name?sslmode=verify-full`; `sslmode` \
             and `sslrootcert` as libpq has them; of several hosts, \
             `postgres://user@one,two:5433/name`, the one that takes writes";
        REQUEST_QUEUE = "NAME", Some("profiles.add"),
            "Queue that requests are taken from";
        RESULT_QUEUE = "NAME", Some("profiles.add.results"),
            "Queue for replies to requests without a `reply_to`, or with nobody behind it";
        DEAD_LETTER_QUEUE = "NAME", Some("profiles.add.dead"),
            "Queue for messages that can't be read or stored";
        EVENT_EXCHANGE = "NAME", Some("profiles.events"),
            "Topic exchange for trigger events";
        QUEUE_TYPE = "TYPE", Some("quorum"),
            "Type of the queues that are declared: `quorum` or `classic`";
        TOPOLOGY = "MODE", Some("declare"),
            "What to do about queues and exchange at start: `declare` what is missing, `check` \
             that they are there, or `none`";
        LANES = "COUNT", Some("4"),
            "Most batches that are worked on side by side, each with a publishing channel and a \
             database connection of its own (1 to 64)";
        BATCH_MAX = "COUNT", Some("250"),
            "Most profiles stored in one transaction (1 to 10000)";
        PREFETCH = "COUNT", Some("1500"),
            "Most unsettled requests that the worker holds, fewer if they are large (1 to 65535, \
             quorum queues 2000); with less than `LANES` times `BATCH_MAX` lanes stand idle";
        BODY_MAX = "SIZE", Some("10MiB"),
            "Largest request body (1KiB to 128MiB)";
        RESULT_TTL = "DURATION", Some("24h"),
            "How long a reply stays in the result queue (from 1s)";
        PARK_AFTER = "DURATION", Some("60s"),
            "How long requests are held while the database is away, before they are given back to \
             the queue (1s to 20m)";
        SHUTDOWN_GRACE = "DURATION", Some("30s"),
            "Most time for finishing what is held after SIGTERM or SIGINT (1s to 1h)";
        ADMIN_ADDR = "ADDRESS", Some("127.0.0.1:9464"),
            "Where health, status and metrics are served over HTTP: address and port (port 0: \
             any), or `none`";
        OTEL_EXPORTER_OTLP_ENDPOINT = "URL", Some("none"),
            "Where traces go, by OTLP over HTTP: a collector such as `http://localhost:4318`, or \
             `none`";
        OTEL_EXPORTER_OTLP_TRACES_ENDPOINT = "URL", Some("none"),
            "The same with the whole path, such as `http://localhost:4318/v1/traces`; it wins over \
             `OTEL_EXPORTER_OTLP_ENDPOINT`";
        OTEL_EXPORTER_OTLP_PROTOCOL = "PROTOCOL", Some("http/protobuf"),
            "Protocol that the collector is spoken to in; there is no other";
        OTEL_EXPORTER_OTLP_HEADERS = "LIST", Some("none"),
            "What the collector wants to be told, such as a key: `name=value,name=value`";
        OTEL_SERVICE_NAME = "NAME", Some("profile-worker"),
            "Name of the service whose traces these are";
        OTEL_TRACES_SAMPLER_ARG = "RATIO", Some("0.01"),
            "How many of the requests without a `traceparent` are recorded (0 to 1); where there \
             is one, it says whether its request is";
        LOG_FORMAT = "FORMAT", Some("text"),
            "`text` for people, `json` for machines";
        RUST_LOG = "FILTER", Some("info"),
            "Which log lines: `error`, `warn`, `info`, `debug`, `trace`, also by module \
             (`info,profile_worker::pipeline=debug`)";
    }
}

/// The settings as a table in Markdown.
pub fn table() -> String {
    let mut table = String::from("| setting | default | meaning |\n|---|---|---|\n");
    for setting in setting::ALL {
        let Setting { name, help, .. } = setting;
        let default = setting
            .default
            .map_or("required".to_owned(), |default| format!("`{default}`"));
        table.push_str(&format!("| `{name}` | {default} | {help} |\n"));
        if let Some(file) = setting.file() {
            let meaning = format!(
                "In the place of `{name}`: a file that has it, as Docker and Kubernetes mount \
                 secrets"
            );
            table.push_str(&format!("| `{file}` | | {meaning} |\n"));
        }
    }
    table
}

/// All that a worker needs to know.
#[derive(Debug, Clone)]
pub struct WorkerConfig {
    /// `AMQP_URL`
    pub broker_url: BrokerUrl,
    /// `DATABASE_URL`
    pub database_url: DatabaseUrl,
    /// The queues and the exchange.
    pub topology: TopologySettings,
    /// `LANES`
    pub lanes: usize,
    /// `BATCH_MAX`
    pub batch_max: usize,
    /// `PREFETCH`
    pub prefetch: u16,
    /// `BODY_MAX`, in bytes.
    pub body_max: u64,
    /// `PARK_AFTER`
    pub park_after: Duration,
    /// `SHUTDOWN_GRACE`
    pub shutdown_grace: Duration,
    /// `ADMIN_ADDR`
    pub admin: Option<AdminAddress>,
    /// Where traces go, if anywhere.
    pub traces: Option<TraceConfig>,
}

/// The settings that begin with `OTEL_`.
#[derive(Debug, Clone)]
pub struct TraceConfig {
    /// `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`, or `OTEL_EXPORTER_OTLP_ENDPOINT` with the path of
    /// traces.
    pub endpoint: Endpoint,
    /// `OTEL_EXPORTER_OTLP_HEADERS`
    pub headers: Headers,
    /// `OTEL_SERVICE_NAME`
    pub service_name: String,
    /// `OTEL_TRACES_SAMPLER_ARG`
    pub ratio: f64,
}

/// Where health, status and metrics are to be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdminAddress {
    /// To listen on.
    pub address: SocketAddr,
    /// Nobody has asked for this very address: another worker of the machine may have it.
    pub is_default: bool,
}

/// Everything that is wrong with the configuration.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub struct Problems(pub Vec<String>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

/// Settings as texts, and what was found wrong with those read so far.
#[derive(Debug, Default)]
pub struct Source {
    texts: HashMap<&'static str, String>,
    problems: Vec<String>,
}

impl Source {
    /// Texts from the command line, by the setting's name; what is missing there comes from the
    /// environment.
    pub fn from_flags_and_environment(flags: HashMap<&'static str, String>) -> Self {
        let mut source = Self {
            texts: flags,
            problems: Vec::new(),
        };
        for setting in setting::ALL {
            if !source.texts.contains_key(setting.name) {
                source.take_variable(setting.name);
                if let Some(file) = setting.file() {
                    source.take_variable(file);
                }
            }
        }
        source
    }

    fn take_variable(&mut self, name: &'static str) {
        #[expect(
            clippy::disallowed_methods,
            reason = "the one place that reads the environment"
        )]
        match std::env::var(name) {
            // An empty variable is how many deployment tools write "not set".
            Ok(text) if text.is_empty() => {}
            Ok(text) => {
                self.texts.insert(name, text);
            }
            Err(std::env::VarError::NotPresent) => {}
            Err(std::env::VarError::NotUnicode(_)) => {
                self.problems.push(format!("{name}: is not UTF-8"))
            }
        }
    }

    /// Reads one setting; what is wrong is kept for [`Self::finish`]. The text itself never goes
    /// into a problem, as it may hold a password.
    fn read<T>(
        &mut self,
        setting: Setting,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let value = self.given(setting).and_then(|(origin, text)| {
            let value = parse(&text);
            value.map_err(|what| format!("{origin}: {what}"))
        });
        match value {
            Ok(value) => Some(value),
            Err(problem) => {
                self.problems.push(problem);
                None
            }
        }
    }

    /// The text of a setting, and where it is from.
    fn given(&self, setting: Setting) -> Result<(String, String), String> {
        let name = setting.name;
        let file = setting
            .file()
            .and_then(|variable| Some((variable, self.texts.get(variable)?)));
        match (
            self.texts.get(name).map(String::as_str).or(setting.default),
            file,
        ) {
            (Some(_), Some((variable, _))) => {
                Err(format!("{name}, {variable}: only one of them can be given"))
            }
            (Some(text), None) => Ok((name.to_owned(), text.to_owned())),
            (None, Some((variable, path))) => {
                let text = std::fs::read_to_string(path);
                let text =
                    text.map_err(|error| format!("{variable}: can't read {path}: {error}"))?;
                Ok((format!("{variable} ({path})"), text.trim().to_owned()))
            }
            (None, None) => Err(format!(
                "{name}: is not set; give it as environment variable or as --{} {} ({})",
                setting.flag(),
                setting.value,
                setting.plain_help()
            )),
        }
    }

    fn finish<T>(self, value: Option<T>) -> Result<T, Problems> {
        match value {
            Some(value) if self.problems.is_empty() => Ok(value),
            _ => Err(Problems(self.problems)),
        }
    }

    /// What `run` needs, and how it logs.
    pub fn worker(mut self) -> Result<(WorkerConfig, LogConfig), Problems> {
        let log = self.read_log();
        let worker = self.read_worker();
        self.finish(worker.zip(log))
    }

    /// What the operator's commands need.
    pub fn database(mut self) -> Result<DatabaseUrl, Problems> {
        let url = self.read(setting::DATABASE_URL, DatabaseUrl::parse);
        self.finish(url)
    }

    /// What `send` needs: the broker and the request queue.
    pub fn sender(mut self) -> Result<(BrokerUrl, String), Problems> {
        let url = self.read(setting::AMQP_URL, BrokerUrl::parse);
        let queue = self.read(setting::REQUEST_QUEUE, name);
        self.finish(url.zip(queue))
    }

    /// What `health` needs: where the worker listens.
    pub fn admin(mut self) -> Result<SocketAddr, Problems> {
        let address = self.read(setting::ADMIN_ADDR, |text| match admin_address(text)? {
            Some(address) if address.port() != 0 => Ok(address),
            _ => Err("must be the address that the worker listens on".to_owned()),
        });
        self.finish(address)
    }

    /// What `try` needs: the broker, the request queue and the database.
    pub fn trial(mut self) -> Result<(BrokerUrl, String, DatabaseUrl), Problems> {
        let broker = self.read(setting::AMQP_URL, BrokerUrl::parse);
        let queue = self.read(setting::REQUEST_QUEUE, name);
        let database = self.read(setting::DATABASE_URL, DatabaseUrl::parse);
        let all = broker.zip(queue).zip(database);
        self.finish(all.map(|((broker, queue), database)| (broker, queue, database)))
    }

    fn read_log(&mut self) -> Option<LogConfig> {
        let json = self.read(setting::LOG_FORMAT, |text| {
            one_of(text, &[("text", false), ("json", true)])
        });
        let filter = self.read(setting::RUST_LOG, |text| {
            tracing_subscriber::EnvFilter::try_new(text)
                .map(|_| text.to_owned())
                .map_err(|error| format!("is no log filter: {error}"))
        });
        let (json, filter) = json.zip(filter)?;
        Some(LogConfig { json, filter })
    }

    fn read_worker(&mut self) -> Option<WorkerConfig> {
        let broker_url = self.read(setting::AMQP_URL, BrokerUrl::parse);
        let database_url = self.read(setting::DATABASE_URL, DatabaseUrl::parse);
        let topology = self.read_topology();
        let lanes = self.read(setting::LANES, |text| count(text, 1, LANES_MAX));
        let batch_max = self.read(setting::BATCH_MAX, |text| count(text, 1, 10_000));
        let prefetch = self.read(setting::PREFETCH, |text| count(text, 1, u16::MAX));
        let body_max = self.read(setting::BODY_MAX, |text| {
            size(text, ByteSize::kib(1), ByteSize::mib(128))
        });
        // RabbitMQ takes back what is not acknowledged after 30 minutes.
        let park_after = self.read(setting::PARK_AFTER, |text| {
            duration(text, Duration::from_secs(1), Duration::from_secs(1200))
        });
        let shutdown_grace = self.read(setting::SHUTDOWN_GRACE, |text| {
            duration(text, Duration::from_secs(1), Duration::from_secs(3600))
        });
        let admin = self.read_admin();
        let traces = self.read_traces();
        let (topology, prefetch) = topology.zip(prefetch)?;
        if topology.queue_type == QueueType::Quorum && prefetch > QUORUM_PREFETCH_MAX {
            self.problems.push(format!(
                "PREFETCH: quorum queues allow at most {QUORUM_PREFETCH_MAX}"
            ));
        }
        Some(WorkerConfig {
            broker_url: broker_url?,
            database_url: database_url?,
            topology,
            lanes: lanes?,
            batch_max: batch_max?,
            prefetch,
            body_max: body_max?,
            park_after: park_after?,
            shutdown_grace: shutdown_grace?,
            admin: admin?,
            traces: traces?,
        })
    }

    fn read_admin(&mut self) -> Option<Option<AdminAddress>> {
        let is_default = !self.texts.contains_key(setting::ADMIN_ADDR.name);
        let address = self.read(setting::ADMIN_ADDR, admin_address)?;
        Some(address.map(|address| AdminAddress {
            address,
            is_default,
        }))
    }

    fn read_traces(&mut self) -> Option<Option<TraceConfig>> {
        let everything = self.read(setting::OTEL_EXPORTER_OTLP_ENDPOINT, Endpoint::parse_base);
        let traces = self.read(setting::OTEL_EXPORTER_OTLP_TRACES_ENDPOINT, Endpoint::parse);
        let headers = self.read(setting::OTEL_EXPORTER_OTLP_HEADERS, Headers::parse);
        let service_name = self.read(setting::OTEL_SERVICE_NAME, |text| Ok(text.to_owned()));
        let ratio = self.read(setting::OTEL_TRACES_SAMPLER_ARG, ratio);
        let Some(endpoint) = traces?.or(everything?) else {
            return Some(None);
        };
        // It may be set for others on the machine: it is looked at only if traces are wanted.
        self.read(setting::OTEL_EXPORTER_OTLP_PROTOCOL, |text| {
            one_of(text, &[("http/protobuf", ())])
        })?;
        Some(Some(TraceConfig {
            endpoint,
            headers: headers?,
            service_name: service_name?,
            ratio: ratio?,
        }))
    }

    fn read_topology(&mut self) -> Option<TopologySettings> {
        let request_queue = self.read(setting::REQUEST_QUEUE, name);
        let result_queue = self.read(setting::RESULT_QUEUE, name);
        let dead_letter_queue = self.read(setting::DEAD_LETTER_QUEUE, name);
        let event_exchange = self.read(setting::EVENT_EXCHANGE, name);
        let queue_type = self.read(setting::QUEUE_TYPE, |text| {
            one_of(
                text,
                &[
                    ("quorum", QueueType::Quorum),
                    ("classic", QueueType::Classic),
                ],
            )
        });
        let mode = self.read(setting::TOPOLOGY, |text| {
            one_of(
                text,
                &[
                    ("declare", TopologyMode::Declare),
                    ("check", TopologyMode::Check),
                    ("none", TopologyMode::None),
                ],
            )
        });
        let result_ttl = self.read(setting::RESULT_TTL, |text| {
            duration(text, Duration::from_secs(1), RESULT_TTL_MAX)
        });
        let topology = TopologySettings {
            request_queue: request_queue?,
            result_queue: result_queue?,
            dead_letter_queue: dead_letter_queue?,
            event_exchange: event_exchange?,
            queue_type: queue_type?,
            mode: mode?,
            result_ttl: result_ttl?,
        };
        self.check_names(&topology);
        Some(topology)
    }

    fn check_names(&mut self, topology: &TopologySettings) {
        let queues = [
            &topology.request_queue,
            &topology.result_queue,
            &topology.dead_letter_queue,
        ];
        if queues[0] == queues[1] || queues[0] == queues[2] || queues[1] == queues[2] {
            self.problems.push(
                "REQUEST_QUEUE, RESULT_QUEUE, DEAD_LETTER_QUEUE: must be three different names"
                    .to_owned(),
            );
        }
    }
}

/// RabbitMQ refuses more from version 4.3 on.
const QUORUM_PREFETCH_MAX: u16 = 2000;

/// RabbitMQ keeps a message's time to live in 32 bits of milliseconds.
const RESULT_TTL_MAX: Duration = Duration::from_millis(u32::MAX as u64);

/// `none`, or an address with a port.
fn admin_address(text: &str) -> Result<Option<SocketAddr>, String> {
    if text == "none" {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| {
        "must be an address with a port, such as 0.0.0.0:9464 or [::1]:9464, or none".to_owned()
    })
}

/// A share, from nothing to all.
fn ratio(text: &str) -> Result<f64, String> {
    let ratio = text
        .parse()
        .ok()
        .filter(|ratio| (0.0..=1.0).contains(ratio));
    ratio.ok_or_else(|| "must be a number from 0 to 1".to_owned())
}

/// The name of a queue or an exchange: an AMQP short string.
fn name(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > 255 || text.starts_with("amq.") {
        return Err(
            "must be a name of 1 to 255 bytes that does not begin with \"amq.\"".to_owned(),
        );
    }
    Ok(text.to_owned())
}

fn one_of<T: Copy>(text: &str, choices: &[(&str, T)]) -> Result<T, String> {
    let found = choices.iter().find(|(word, _)| *word == text);
    found.map(|(_, value)| *value).ok_or_else(|| {
        let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
        format!("must be one of {}", words.join(", "))
    })
}

fn count<T>(text: &str, min: T, max: T) -> Result<T, String>
where
    T: std::str::FromStr + PartialOrd + fmt::Display,
{
    let value = text
        .parse::<T>()
        .ok()
        .filter(|value| (&min..=&max).contains(&value));
    value.ok_or_else(|| format!("must be a whole number from {min} to {max}"))
}

fn size(text: &str, min: ByteSize, max: ByteSize) -> Result<u64, String> {
    let value = has_unit(text)
        .then(|| text.parse::<ByteSize>().ok())
        .flatten();
    let value = value.filter(|value| (min..=max).contains(value));
    value
        .map(|value| value.as_u64())
        .ok_or_else(|| format!("must be a size with a unit, such as 10MiB, from {min} to {max}"))
}

fn duration(text: &str, min: Duration, max: Duration) -> Result<Duration, String> {
    let value = humantime::parse_duration(text)
        .ok()
        .filter(|value| (min..=max).contains(value));
    value.ok_or_else(|| {
        let [min, max] = [min, max].map(|end| humantime::format_duration(end).to_string());
        format!("must be a duration with a unit, such as 30s, from {min} to {max}")
    })
}

fn has_unit(text: &str) -> bool {
    text.ends_with(|c: char| c.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    use super::*;

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
        crate::documents::has_table("settings.md", &table());
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
        let path =
            std::env::temp_dir().join(format!("profile-worker-{}-{name}", std::process::id()));
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
            wrong.starts_with(&format!("DATABASE_URL_FILE ({path}): "))
                && !wrong.contains("secret"),
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
}
