//! The settings: name, default, unit and meaning of each, in the order of `--help`.

/// One setting: its names, what it takes, its default and its help.
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
            "API_TOKEN" => Some("API_TOKEN_FILE"),
            _ => None,
        }
    }
}

macro_rules! settings {
    ($(#[$about:meta])* $all:ident: $($constant:ident = $value:literal, $default:expr, $help:literal;)*) => {
        $(
            #[doc = $help]
            pub const $constant: Setting = Setting {
                name: stringify!($constant),
                value: $value,
                default: $default,
                help: $help,
            };
        )*
        $(#[$about])*
        pub const $all: &[Setting] = &[$($constant),*];
    };
}

settings! {
    /// All of a worker.
    ALL:
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

settings! {
    /// What only `send` reads. It is no flag: everybody on a machine can see its command lines.
    PRODUCER:
    API_TOKEN = "TOKEN", None,
        "API token of the requests that have none";
}

/// The settings as a table in Markdown.
pub fn table() -> String {
    let mut table = String::from("| setting | default | meaning |\n|---|---|---|\n");
    for setting in ALL {
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
