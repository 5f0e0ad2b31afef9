//! The catalogue: what is done, and what must come of it.

use std::time::Duration;

use testkit::poisons::{self, DIRECT_REPLY_TO, Means, Poison};
use testkit::raw_amqp::{Props, bit};

/// One attack.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) ground: Ground,
    /// Between two messages.
    pub(crate) every: Duration,
    pub(crate) fate: Fate,
    /// How many profiles each message may be stored as at most.
    pub(crate) stored_max: i64,
    /// What takes long is the broker's own work, which grows with the square of a header's depth.
    pub(crate) is_brokers_time: bool,
    make: Make,
}

type Make = Box<dyn Fn(&Facts) -> Vec<Poison> + Send + Sync>;

/// Makes one message.
pub(crate) type MakeOne = fn(&Facts) -> Poison;

/// What an operator, or a requester, has done before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ground {
    Plain,
    /// A build that takes faults on demand (`x-fault`).
    DebugBuild,
    /// The dead-letter queue is full, by a policy, until the attack is over.
    DeadLettersFull,
    ResultsFull,
    /// A reply queue that neither confirms nor refuses, until the attack is over.
    SilentReplyQueue,
    /// The broker takes no message that is much larger than the request.
    SmallMessages,
    /// The worker may write to nothing but what the pattern names.
    Writes(&'static str),
    /// The worker may not write the routing keys of database 1 to the exchange for events.
    NoTopicRight,
}

/// What must come of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    DeadLetter,
    Answer,
    /// A dead letter or an answer.
    Either,
    /// No requester is there to be told whether it was answered.
    Done,
    /// It waits as long as the attack lasts, and is a dead letter then.
    DeadLetterLater,
    AnswerLater,
    /// There is none, and the neighbours wait: nobody can be answered before a right is given.
    AllWait,
    /// So many arbitrary ones, from a seed: each is a dead letter or answered, or both.
    Arbitrary {
        seed: u64,
        count: usize,
    },
}

/// What is known when the messages are made.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) means: Means,
    /// A direct reply-to that the broker has given out, and whose requester is gone.
    pub(crate) gone: String,
    /// The name of the reply queue of [`Ground::SilentReplyQueue`].
    pub(crate) silent: String,
}

impl Case {
    fn new(
        name: &'static str,
        fate: Fate,
        make: impl Fn(&Facts) -> Vec<Poison> + Send + Sync + 'static,
    ) -> Self {
        let (ground, every) = (Ground::Plain, Duration::ZERO);
        Self {
            name,
            ground,
            every,
            fate,
            stored_max: 1,
            is_brokers_time: false,
            make: Box::new(make),
        }
    }

    fn on(self, ground: Ground) -> Self {
        Self { ground, ..self }
    }

    fn every(self, milliseconds: u64) -> Self {
        Self {
            every: Duration::from_millis(milliseconds),
            ..self
        }
    }

    /// Requests with neither `message_id` nor email that end the process.
    fn stored_twice_at_most(self) -> Self {
        Self {
            stored_max: 2,
            ..self
        }
    }

    /// Neighbours wait for the broker, as it reads and writes each of these.
    fn in_brokers_time(self) -> Self {
        Self {
            is_brokers_time: true,
            ..self
        }
    }

    /// How often the process may end: a message over which it does is given up after the third
    /// time.
    pub(crate) fn ends_max(&self) -> u32 {
        if self.stored_max > 1 { 5 } else { 0 }
    }

    pub(crate) fn poisons(&self, facts: &Facts) -> Vec<Poison> {
        (self.make)(facts)
    }
}

/// Arbitrary messages from a seed.
pub(crate) fn arbitrary(seed: u64, count: usize) -> Case {
    Case::new(
        "arbitrary messages",
        Fate::Arbitrary { seed, count },
        |_| Vec::new(),
    )
}

/// What is put a hundred times into the middle of good requests, to see how much slower those get.
pub(crate) const ROWS: [(&str, MakeOne); 5] = [
    ("5,000 nested arrays", |_| poisons::arrays(5000)),
    ("direct reply-to `x.y`", |_| poisons::direct_reply_to("x.y")),
    ("correlation_id not UTF-8", |_| {
        poisons::no_text(bit::CORRELATION_ID)
    }),
    ("garbage with a header of 130,800 bytes", |_| {
        poisons::large_header()
    }),
    ("garbage", |_| Poison::garbage(Props::new())),
];

/// Several of the same.
fn times(count: usize, poison: impl Fn(usize) -> Poison) -> Vec<Poison> {
    (0..count).map(poison).collect()
}

/// Every case, those first that did most harm.
pub(crate) fn all() -> Vec<Case> {
    let mut all = nested();
    all.extend(direct_reply_to());
    all.extend(other_protocols());
    all.extend(no_text());
    all.extend(large());
    all.extend(queues());
    all.extend(faults());
    all.extend(setups());
    all.extend(rows());
    all
}

fn nested() -> Vec<Case> {
    vec![
        Case::new("header of 5,000 nested arrays", Fate::Either, |_| {
            vec![poisons::arrays(5000)]
        }),
        Case::new("header of 20,000 nested arrays", Fate::Either, |_| {
            vec![poisons::arrays(20_000)]
        }),
        Case::new("header of 5,000 nested tables", Fate::Either, |_| {
            vec![poisons::tables(5000)]
        }),
        Case::new("header of 18,000 nested tables", Fate::Either, |_| {
            vec![poisons::tables(18_000)]
        }),
        Case::new("the same, garbage", Fate::DeadLetter, |_| {
            vec![Poison {
                body: b"garbage".to_vec(),
                ..poisons::tables(18_000)
            }]
        }),
    ]
}

fn direct_reply_to() -> Vec<Case> {
    let no_token = |name, rest: &'static str| {
        Case::new(name, Fate::Answer, move |_| {
            vec![poisons::direct_reply_to(rest)]
        })
    };
    vec![
        no_token("direct reply-to `x.y`", "x.y"),
        no_token("direct reply-to `!!!.x`", "!!!.x"),
        no_token("direct reply-to `aaa.bbb`", "aaa.bbb"),
        no_token(
            "direct reply-to, base64 of nonsense",
            "bm9uc2Vuc2Ugb2YgYmFzZTY0.bm9uc2Vuc2U=",
        ),
        no_token("direct reply-to, nothing behind the dot", ""),
        Case::new(
            "direct reply-to, a real one in capitals",
            Fate::Answer,
            |facts| {
                let rest = facts.gone.replace(DIRECT_REPLY_TO, "").to_uppercase();
                vec![Poison::refused(
                    Props::new().reply_to(format!("{DIRECT_REPLY_TO}{rest}")),
                )]
            },
        ),
        Case::new(
            "direct reply-to, a real one, requester gone",
            Fate::Done,
            |facts| vec![Poison::refused(Props::new().reply_to(&facts.gone))],
        ),
        Case::new("direct reply-to, of an unknown node", Fate::Done, |facts| {
            vec![Poison::refused(
                Props::new().reply_to(poisons::of_unknown_node(&facts.gone)),
            )]
        }),
        Case::new(
            "direct reply-to, of an unknown node, with a token",
            Fate::Done,
            |facts| {
                let reply_to = poisons::of_unknown_node(&facts.gone);
                vec![Poison {
                    properties: Props::new().reply_to(reply_to),
                    body: facts.means.request(0),
                }]
            },
        ),
        Case::new(
            "direct reply-to `x.y`, with a token",
            Fate::Answer,
            |facts| vec![poisons::direct_reply_to_in_request("x.y", &facts.means)],
        ),
        Case::new("direct reply-to, gone, with a token", Fate::Done, |facts| {
            vec![Poison {
                properties: Props::new().reply_to(&facts.gone),
                body: facts.means.request(0),
            }]
        }),
    ]
}

fn other_protocols() -> Vec<Case> {
    vec![
        Case::new("topic that nobody has, small id", Fate::Answer, |_| {
            vec![poisons::of_other_protocols(16)]
        }),
        Case::new("30 of the same, ids of 60,000 bytes", Fate::Answer, |_| {
            times(30, |_| poisons::of_other_protocols(60_000))
        }),
        Case::new("address that means nobody's queue", Fate::Answer, |_| {
            vec![poisons::meaning("nobody.is.here")]
        }),
        Case::new(
            "address that means a direct reply-to of an unknown node",
            Fate::Done,
            |facts| vec![poisons::meaning(&poisons::of_unknown_node(&facts.gone))],
        ),
    ]
}

fn no_text() -> Vec<Case> {
    let property = |name, bit| Case::new(name, Fate::Either, move |_| vec![poisons::no_text(bit)]);
    vec![
        property("correlation_id not UTF-8", bit::CORRELATION_ID),
        property("message_id not UTF-8", bit::MESSAGE_ID),
        property("reply_to not UTF-8", bit::REPLY_TO),
        property("content_type not UTF-8", bit::CONTENT_TYPE),
        property("content_encoding not UTF-8", bit::CONTENT_ENCODING),
        property("app_id not UTF-8", bit::APP_ID),
        property("type not UTF-8", bit::TYPE),
        property("cluster_id not UTF-8", bit::CLUSTER_ID),
        Case::new("name of a header not UTF-8", Fate::Either, |_| {
            vec![poisons::no_text_as_name()]
        }),
        Case::new("name of an inner header not UTF-8", Fate::Either, |_| {
            vec![poisons::no_text_as_inner_name()]
        }),
        Case::new(
            "correlation_id not UTF-8, with a token",
            Fate::Answer,
            |facts| {
                vec![poisons::no_text_in_request(
                    bit::CORRELATION_ID,
                    &facts.means,
                )]
            },
        ),
        Case::new(
            "message_id not UTF-8, with a token",
            Fate::Answer,
            |facts| vec![poisons::no_text_in_request(bit::MESSAGE_ID, &facts.means)],
        ),
    ]
}

fn large() -> Vec<Case> {
    vec![
        Case::new("garbage with a header of 130,800 bytes", Fate::DeadLetter, |_| vec![poisons::large_header()]),
        Case::new("garbage with 10,000 headers", Fate::DeadLetter, |_| vec![poisons::many_headers()]),
        Case::new("12 XML bodies of 9.8 MB, no token", Fate::Answer, |_| times(12, |_| poisons::xml(990_000))),
        Case::new("20 XML bodies of 8.9 MB, no token", Fate::Answer, |_| times(20, |_| poisons::xml(900_000))),
        Case::new("max_message_size: the reply is larger", Fate::Answer, |facts| {
            let body = format!(
                r#"{{"token":"{}","db_id":1,"skip_triggers":true,"data":[{}{{"poison":0}}]}}"#,
                facts.means.token,
                "{},".repeat(2000)
            );
            vec![Poison { properties: Props::new().reply_to(&facts.means.reply_queue), body: body.into_bytes() }]
        })
        .on(Ground::SmallMessages),
        Case::new("max_message_size: the event is larger", Fate::Answer, |facts| {
            let subscription = |id| format!(r#"{{"resource_id":1,"channel":"telegram_bot","cc_data":{{"id":{id}}}}}"#);
            let subscriptions: Vec<_> = (1..=1000).map(subscription).collect();
            let body = format!(
                r#"{{"token":"{}","db_id":1,"data":{{"poison":0,"subscriptions":[{}]}}}}"#,
                facts.means.token,
                subscriptions.join(",")
            );
            vec![Poison { properties: Props::new().reply_to(&facts.means.reply_queue), body: body.into_bytes() }]
        })
        .on(Ground::SmallMessages),
        Case::new("max_message_size: reply larger, one every 300 ms", Fate::Answer, |facts| {
            let reply_to = facts.means.reply_queue.clone();
            let token = facts.means.token.clone();
            times(10, move |number| {
                let empty = "{},".repeat(2000);
                let body = format!(
                    r#"{{"token":"{token}","db_id":1,"skip_triggers":true,"data":[{empty}{{"poison":{number}}}]}}"#
                );
                Poison { properties: Props::new().reply_to(&reply_to), body: body.into_bytes() }
            })
        })
        .on(Ground::SmallMessages)
        .every(300),
    ]
}

fn queues() -> Vec<Case> {
    vec![
        Case::new(
            "8 replies to a queue that does not confirm",
            Fate::Answer,
            |facts| times(8, |_| Poison::refused(Props::new().reply_to(&facts.silent))),
        )
        .on(Ground::SilentReplyQueue)
        .every(500),
        Case::new("the same with a token, 40", Fate::Answer, |facts| {
            times(40, |number| Poison {
                properties: Props::new().reply_to(&facts.silent),
                body: facts.means.request(number),
            })
        })
        .on(Ground::SilentReplyQueue)
        .every(100),
        Case::new(
            "full dead-letter queue, garbage",
            Fate::DeadLetterLater,
            |_| times(40, |_| Poison::garbage(Props::new())),
        )
        .on(Ground::DeadLettersFull)
        .every(300),
        Case::new(
            "full result queue, requests without reply_to",
            Fate::AnswerLater,
            |facts| {
                times(40, |number| Poison {
                    properties: Props::new(),
                    body: facts.means.request(number),
                })
            },
        )
        .on(Ground::ResultsFull)
        .every(300),
        Case::new(
            "full result queue, garbage without reply_to",
            Fate::AnswerLater,
            |_| times(40, |_| Poison::garbage(Props::new())),
        )
        .on(Ground::ResultsFull)
        .every(300),
    ]
}

/// A message that makes a debug build do what a fault of our own would: `panic`, or `abort` the
/// process.
fn fault(kind: &str, number: usize, means: &Means) -> Poison {
    Poison {
        properties: Props::new().header("x-fault", kind),
        body: means.request(number),
    }
}

fn faults() -> Vec<Case> {
    vec![
        Case::new("our code panics over it", Fate::DeadLetter, |facts| {
            vec![fault("panic", 0, &facts.means)]
        })
        .on(Ground::DebugBuild),
        Case::new("the process ends over it", Fate::DeadLetter, |facts| {
            vec![fault("abort", 0, &facts.means)]
        })
        .on(Ground::DebugBuild)
        .stored_twice_at_most(),
    ]
}

fn setups() -> Vec<Case> {
    vec![
        Case::new(
            "no right to write to the event exchange",
            Fate::AllWait,
            |_| Vec::new(),
        )
        .on(Ground::Writes("^amq\\.default$")),
        Case::new("no right to write to amq.default", Fate::AllWait, |_| {
            Vec::new()
        })
        .on(Ground::Writes("\\.events$")),
        Case::new(
            "no right to the routing key of database 1",
            Fate::AnswerLater,
            |facts| {
                times(20, |number| Poison {
                    properties: Props::new(),
                    body: facts.means.request(number),
                })
            },
        )
        .on(Ground::NoTopicRight)
        .every(200),
    ]
}

fn rows() -> Vec<Case> {
    vec![
        Case::new("100 × 5,000 nested arrays", Fate::Either, |_| {
            times(100, |_| poisons::arrays(5000))
        })
        .in_brokers_time(),
        Case::new("100 × direct reply-to `x.y`", Fate::Answer, |_| {
            times(100, |_| poisons::direct_reply_to("x.y"))
        }),
        Case::new("100 × correlation_id not UTF-8", Fate::Either, |_| {
            times(100, |_| poisons::no_text(bit::CORRELATION_ID))
        }),
        Case::new(
            "100 × garbage with a header of 130,800 bytes",
            Fate::DeadLetter,
            |_| times(100, |_| poisons::large_header()),
        ),
        Case::new("100 × requester gone, with a token", Fate::Done, |facts| {
            times(100, |number| Poison {
                properties: Props::new().reply_to(&facts.gone),
                body: facts.means.request(number),
            })
        }),
    ]
}
