//! The labels of the metrics, each with its closed set of values.

use prometheus_client::encoding::{EncodeLabelSet, EncodeMetric, LabelSetEncoder};
use prometheus_client::metrics::counter::{Atomic as CounterAtomic, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{Atomic as GaugeAtomic, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::{MetricType, TypedMetric};
use prometheus_client::registry::Registry;
use std::fmt::Debug;
use std::hash::Hash;

use crate::domain::outcome::{Code, DeadLetterReason};

/// A label with all its values.
pub trait Label: Copy + Eq + Hash + Debug + Send + Sync + 'static {
    /// Its name.
    const NAME: &'static str;
    /// Its values.
    const ALL: &'static [Self];

    /// The value as it is written.
    fn value(self) -> &'static str;
}

macro_rules! labels {
    ($($(#[$about:meta])* $name:ident: $label:literal { $($(#[$what:meta])* $variant:ident = $value:expr),* $(,)? })*) => {$(
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$what])* $variant),* }

        impl Label for $name {
            const NAME: &'static str = $label;
            const ALL: &'static [Self] = &[$(Self::$variant),*];

            fn value(self) -> &'static str {
                match self { $(Self::$variant => $value),* }
            }
        }
    )*};
}

labels! {
    /// Whether the broker says that it delivered a request before.
    Redelivered: "redelivered" {
        /// The first time, as far as it knows.
        No = "false",
        /// At least once before.
        Yes = "true",
    }

    /// What became of a profile in the database.
    ProfileOutcome: "outcome" {
        /// A new row.
        Added = "added",
        /// It stands there since an earlier delivery of the same request.
        AddedBefore = "added_before",
        /// Another profile has its email.
        EmailTaken = "email_taken",
        /// The database refuses it.
        Unstorable = "unstorable",
    }

    /// The way of a reply.
    ReplyRoute: "way" {
        /// To where the producer wanted it.
        ReplyTo = "reply_to",
        /// To the result queue, as the producer named no other place, or one of ours.
        ResultQueue = "result_queue",
        /// To the result queue, as nobody is behind `reply_to`, or the queue there is full.
        Returned = "returned",
    }

    /// What a message that is deferred waits for.
    Destination: "destination" {
        /// A queue that requests named.
        Requester = "requester",
        /// The result queue.
        Results = "results",
        /// The dead-letter queue.
        DeadLetters = "dead_letters",
        /// A queue behind the exchange for events.
        Events = "events",
    }

    /// What a lane does.
    Stage: "stage" {
        /// It has no batch.
        Idle = "idle",
        /// Read and check.
        Decide = "decide",
        /// Write into the database.
        Store = "store",
        /// Wait for a database that is away or busy.
        Hold = "hold",
        /// Send replies, events and dead letters, until the broker has confirmed all.
        Publish = "publish",
        /// Acknowledge.
        Settle = "settle",
    }

    /// Why a session with the broker was lost.
    LossCause: "cause" {
        /// The connection broke.
        Lost = "lost",
        /// The broker said no.
        Refused = "refused",
        /// The broker ended the connection because of something that was sent over it.
        Fault = "fault",
        /// It did not answer in time.
        TimedOut = "timed_out",
        /// It ended the subscription.
        Cancelled = "cancelled",
        /// A queue or the exchange is gone.
        Unroutable = "unroutable",
    }

    /// How the database failed.
    FailureKind: "kind" {
        /// Away, full, or read-only.
        Unavailable = "unavailable",
        /// A statement ran out of time, or waited for a lock.
        Slow = "slow",
        /// Another transaction came first.
        Conflict = "conflict",
        /// It does not take the data.
        Refused = "refused",
        /// It is not there for us: login, permissions, schema.
        Setup = "setup",
    }

    /// The connections of the pool.
    Connections: "state" {
        /// Nobody uses it.
        Idle = "idle",
        /// In use.
        Busy = "busy",
    }

    /// What the directory holds.
    DirectoryEntries: "kind" {
        /// API tokens, revoked ones included.
        Tokens = "tokens",
        /// Databases.
        Databases = "databases",
        /// Resources.
        Resources = "resources",
        /// Custom fields that are defined.
        Fields = "fields",
    }

    /// Which build it is.
    Build: "version" {
        /// This one.
        This = env!("CARGO_PKG_VERSION"),
    }
}

impl Label for Code {
    const NAME: &'static str = "code";
    const ALL: &'static [Self] = &Code::ALL;

    fn value(self) -> &'static str {
        match self {
            Code::Added => "0",
            Code::Invalid => "400",
            Code::Unauthenticated => "401",
            Code::Forbidden => "403",
            Code::NotFound => "404",
            Code::EmailTaken => "409",
            Code::TooLarge => "413",
            Code::Failed => "500",
        }
    }
}

impl Label for DeadLetterReason {
    const NAME: &'static str = "reason";
    const ALL: &'static [Self] = &Self::ALL;

    fn value(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::Unstorable => "unstorable",
            Self::Panic => "panic",
            Self::EndedWorker => "ended_worker",
        }
    }
}

/// A label as the library writes it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct One<L>(L);

impl<L: Label> EncodeLabelSet for One<L> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> Result<(), std::fmt::Error> {
        [(L::NAME, self.0.value())].encode(encoder)
    }
}

/// A metric for each value of a label.
#[derive(Debug)]
pub struct Labelled<L, M> {
    family: Family<One<L>, M, fn() -> M>,
    /// In the order of the values, which are few: so recording takes neither a hash nor a lock on
    /// the family.
    each: Vec<M>,
}

impl<L: Label, M: Clone> Labelled<L, M> {
    /// All of them, made by `make`.
    pub fn new(make: fn() -> M) -> Self {
        let family = Family::new_with_constructor(make);
        let each = L::ALL
            .iter()
            .map(|label| family.get_or_create(&One(*label)).clone())
            .collect();
        Self { family, each }
    }

    /// The one of this value.
    pub fn of(&self, label: L) -> &M {
        let index = L::ALL.iter().position(|one| *one == label);
        // Every value is in ALL: the macro puts it there, and a test looks at the codes.
        &self.each[index.unwrap_or_default()]
    }
}

impl<L: Label> Labelled<L, Counter> {
    /// The sum over all values of the label.
    pub fn sum(&self) -> u64 {
        self.each.iter().map(Counter::get).sum()
    }
}

/// What can stand in the catalogue.
pub(super) trait Registered {
    /// As the text format calls it.
    const KIND: &'static str;

    /// The label and its values.
    fn label() -> Option<(&'static str, Vec<&'static str>)> {
        None
    }

    /// Puts it among those that are written out.
    fn register(&self, registry: &mut Registry, name: &str, help: &str);
}

const fn kind(metric: MetricType) -> &'static str {
    match metric {
        MetricType::Counter => "counter",
        MetricType::Gauge => "gauge",
        MetricType::Histogram => "histogram",
        _ => "unknown",
    }
}

/// The library adds the ending of a counter by itself.
fn bare(name: &str) -> &str {
    name.strip_suffix("_total").unwrap_or(name)
}

macro_rules! registered {
    ($($type:ty $(where $n:ident, $a:ident: $bound:path)?;)*) => {$(
        impl $(<$n, $a>)? Registered for $type
        $(where $n: Send + Sync + 'static + Debug, $a: $bound + Send + Sync + 'static + Debug, Self: EncodeMetric)?
        {
            const KIND: &'static str = kind(<Self as TypedMetric>::TYPE);

            fn register(&self, registry: &mut Registry, name: &str, help: &str) {
                registry.register(bare(name), help, self.clone());
            }
        }
    )*};
}

registered! {
    Counter<N, A> where N, A: CounterAtomic<N>;
    Gauge<N, A> where N, A: GaugeAtomic<N>;
    Histogram;
}

impl<L, M> Registered for Labelled<L, M>
where
    L: Label,
    M: EncodeMetric + TypedMetric + Clone + Debug + Send + Sync + 'static,
{
    const KIND: &'static str = kind(M::TYPE);

    fn label() -> Option<(&'static str, Vec<&'static str>)> {
        Some((L::NAME, L::ALL.iter().map(|label| label.value()).collect()))
    }

    fn register(&self, registry: &mut Registry, name: &str, help: &str) {
        registry.register(bare(name), help, self.family.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_of_a_label_is_its_number() {
        for code in Code::ALL {
            assert_eq!(code.value(), code.number().to_string());
        }
    }
}
