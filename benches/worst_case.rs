//! What `decide` takes for the worst bodies we could think of, each as large as `BODY_MAX` lets it
//! be, with a good token and without one: CPU time, peak memory beyond the body itself, and what
//! of that memory the process keeps. `cargo bench --bench worst_case` (Linux).
//!
//! It fails if a body takes more than it should (see [`Case::mebibytes_max`]): a worker has to stay
//! small whatever it is sent, and nobody without a token makes it build a tree.

#![expect(clippy::print_stdout, reason = "its purpose")]

use std::error::Error;
use std::fs;
use std::process::{Command, ExitCode};

use jiff::Timestamp;
use profile_worker::domain::channel::Channel;
use profile_worker::domain::directory::Directory;
use profile_worker::domain::identity::IdSource;
use profile_worker::domain::token::{Scope, Token, TokenHash};
use profile_worker::pipeline::decide::{Decision, Properties, Rules, Verdict, decide};
use testkit::packing::{SLOW, zstd};

const BODY_MAX: usize = 10 << 20;
/// The largest message of a broker with RabbitMQ 3's default settings.
const MESSAGE_MAX: usize = 128 << 20;

/// A body: what it begins with, what is repeated (`@` is a number that grows, `*` is 999 times
/// `,0`, `~` ten blanks), and what it ends with.
struct Case {
    name: &'static str,
    head: &'static str,
    repeated: &'static str,
    tail: &'static str,
    size: usize,
    /// Sent by zstd, which takes the most memory to unpack.
    is_packed: bool,
}

const fn json(
    name: &'static str,
    head: &'static str,
    repeated: &'static str,
    tail: &'static str,
) -> Case {
    Case {
        name,
        head,
        repeated,
        tail,
        size: BODY_MAX,
        is_packed: false,
    }
}

/// A token that opens database 1, and one that nobody was given.
const GOOD: &str = "good";
const BAD: &str = "bad";

/// Where the token stands in these.
const TOKEN: &str = "TOKEN";
/// The fields that every case has come first.
const JSON: &str = r#"{"token":"TOKEN","db_id":1,"skip_invalid_subscriptions":true,"#;
const XML: &str = "<xml><token>TOKEN</token><db_id>1</db_id><skip_invalid_subscriptions>true</skip_invalid_subscriptions>";

const CASES: &[Case] = &[
    json(
        "one long string",
        r#""data":{"x":""#,
        "0123456789",
        r#""}}"#,
    ),
    json(
        "one long string of escapes",
        r#""data":{"x":""#,
        r"\u0416",
        r#""}}"#,
    ),
    json("escaped quotes", r#""data":{"x":""#, r#"\""#, r#""}}"#),
    json("one long number", r#""data":{"x":1"#, "0123456789", "}}"),
    json("array of zeros", r#""data":{"x":[0"#, ",0", "]}}"),
    json(
        "array of large numbers",
        r#""data":{"x":[0"#,
        ",-12345678901234567890123.5e-17",
        "]}}",
    ),
    json(
        "array of empty strings",
        r#""data":{"x":[0"#,
        r#","""#,
        "]}}",
    ),
    json(
        "array of escaped strings",
        r#""data":{"x":[0"#,
        r#","\t""#,
        "]}}",
    ),
    json("array of {}", r#""data":{"x":[0"#, ",{}", "]}}"),
    json("array of []", r#""data":{"x":[0"#, ",[]", "]}}"),
    json("array of [0]", r#""data":{"x":[0"#, ",[0]", "]}}"),
    json(
        "array of objects of one field",
        r#""data":{"x":[0"#,
        r#",{"":0}"#,
        "]}}",
    ),
    json(
        "array of objects of nine fields",
        r#""data":{"x":[0"#,
        r#",{"a":1,"b":1,"c":1,"d":1,"e":1,"f":1,"g":1,"h":1,"i":1}"#,
        "]}}",
    ),
    json(
        "array of 60 times nested arrays",
        r#""data":{"x":[0"#,
        ",[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]",
        "]}}",
    ),
    json(
        "object of many names",
        r#""data":{"x":{"a":0"#,
        r#","@":0"#,
        "}}}",
    ),
    json(
        "object of many escaped names",
        r#""data":{"x":{"a":0"#,
        r#","\t@":"\t""#,
        "}}}",
    ),
    json(
        "object of one name, many times",
        r#""data":{"x":{"a":0"#,
        r#","":0"#,
        "}}}",
    ),
    json(
        "profile of many fields",
        r#""data":{"a":0"#,
        r#","@":0"#,
        "}}",
    ),
    json("many top-level fields", r#""a":0"#, r#","@":0"#, "}"),
    json(
        "one top-level field, many times",
        r#""a":0"#,
        r#","data":0"#,
        "}",
    ),
    json("many {} as profiles", r#""data":[{}"#, ",{}", "]}"),
    json("many null as profiles", r#""data":[null"#, ",null", "]}"),
    json(
        "many profiles of many zeros",
        r#""data":[{}"#,
        r#",{"x":[0*]}"#,
        "]}",
    ),
    json(
        "many null as subscriptions",
        r#""data":{"subscriptions":[null"#,
        ",null",
        "]}}",
    ),
    json(
        "many profiles of bad subscriptions",
        r#""data":[{}"#,
        r#",{"subscriptions":[0]}"#,
        "]}",
    ),
    json(
        "many profiles of many bad subscriptions",
        r#""data":[{}"#,
        r#",{"subscriptions":[0*]}"#,
        "]}",
    ),
    json(
        "many valid subscriptions",
        r#""data":[{}"#,
        r#",{"subscriptions":[{"resource_id":1,"channel":"telegram_bot","cc_data":{"id":1}}]}~~~"#,
        "]}",
    ),
    json(
        "just fewer values than allowed, subscriptions",
        r#""data":[{}"#,
        concat!(
            r#",{"subscriptions":[{"resource_id":1,"channel":"telegram_bot","cc_data":{"id":0}},{"resource_id":1,"channel":"telegram_bot","cc_data":{"id":1}}"#,
            r#",{"resource_id":1,"channel":"telegram_bot","cc_data":{"id":2}},{"resource_id":1,"channel":"telegram_bot","cc_data":{"id":3}}"#,
            r#",{"resource_id":1,"channel":"telegram_bot","cc_data":{"id":4}},{"resource_id":1,"channel":"telegram_bot","cc_data":{"id":5}}"#,
            r#",{"resource_id":1,"channel":"telegram_bot","cc_data":{"id":6}},{"resource_id":1,"channel":"telegram_bot","cc_data":{"id":7}}"#,
            r#",{"resource_id":1,"channel":"telegram_bot","cc_data":{"id":8}},{"resource_id":1,"channel":"telegram_bot","cc_data":{"id":9}}]}~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~"#,
        ),
        "]}",
    ),
    json(
        "just fewer values than allowed, numbers",
        r#""data":{"x":[0"#,
        ",~~0",
        "]}}",
    ),
    json(
        "just fewer values than allowed, fields",
        r#""data":{"x":{"":0"#,
        r#","@":0~~"#,
        "}}}",
    ),
    json(
        "the same, half of them twice",
        r#""data":{"x":{"":0"#,
        r#","@":0,"@":0~~~"#,
        "}}}",
    ),
    json(
        "just fewer values than allowed, small objects",
        r#""data":{"x":[0"#,
        r#",{"":0}~~~~"#,
        "]}}",
    ),
    json(
        "just fewer values than allowed, larger objects",
        r#""data":{"x":[0"#,
        r#",{"a":0,"b":0,"c":0,"d":0}~~~~~~~~"#,
        "]}}",
    ),
    json(
        "just fewer values than allowed, arrays",
        r#""data":{"x":[0"#,
        r#",[0]~~~~"#,
        "]}}",
    ),
    json(
        "many profiles, each with a bad field",
        r#""data":[{}"#,
        r#",{"_sex":[0*]}"#,
        "]}",
    ),
    json(
        "a long bad name",
        r#""data":{""#,
        "0123456789",
        r#"":"\u0000"}}"#,
    ),
    json("white space", "", " ", "\"a\":0}"),
    xml(
        "XML: empty elements",
        "<data><x>",
        "<a/>",
        "</x></data></xml>",
    ),
    xml(
        "XML: elements of one letter",
        "<data><x>",
        "<a>0</a>",
        "</x></data></xml>",
    ),
    xml(
        "XML: elements of many names",
        "<data><x>",
        "<a@/>",
        "</x></data></xml>",
    ),
    xml(
        "XML: nested elements",
        "<data><x>",
        "<a><a><a><a><a><a><a><a><a>0</a></a></a></a></a></a></a></a></a>",
        "</x></data></xml>",
    ),
    xml(
        "XML: arrays of arrays",
        "<data><x>",
        "<a array='true'><b array='true'><c array='true'>0</c></b></a>",
        "</x></data></xml>",
    ),
    xml(
        "XML: fields of a profile",
        "<data>",
        "<a@>0</a@>",
        "</data></xml>",
    ),
    xml("XML: many profiles", "", "<data array='true'/>", "</xml>"),
    xml("XML: many top-level fields", "", "<a@/>", "</xml>"),
    xml("XML: attributes", "<data><x", " a@=''", "/></data></xml>"),
    xml(
        "XML: just fewer values than allowed",
        "<data><x>",
        "<a@/>~~",
        "</x></data></xml>",
    ),
    xml(
        "XML: just fewer values than allowed, items",
        "<data><x>",
        "<a>0</a>~~",
        "</x></data></xml>",
    ),
    xml(
        "XML: just fewer values than allowed, objects",
        "<data><x>",
        "<a><b>0</b></a>~~~",
        "</x></data></xml>",
    ),
    xml("XML: references", "<data><x>", "&#9;", "</x></data></xml>"),
    xml("XML: tabs", "<data><x>a", "\t", "a</x></data></xml>"),
    xml(
        "XML: comments in a text",
        "<data><x>a",
        "a<!---->",
        "</x></data></xml>",
    ),
    xml(
        "XML: CDATA sections",
        "<data><x>a",
        "<![CDATA[a]]>",
        "</x></data></xml>",
    ),
    xml("XML: comments", "", "<!---->", "</xml>"),
    xml(
        "XML: ends of lines",
        "<data><x>a",
        "\r\n",
        "a</x></data></xml>",
    ),
    xml(
        "XML: a long name",
        "<data><a",
        "0123456789",
        "/></data></xml>",
    ),
    json(
        "half a surrogate pair, which is ignored, beside many fields",
        r#""x":"\ud83d","data":{"a":0"#,
        r#","@":0"#,
        "}}",
    ),
    packed(json(
        "packed: half a surrogate pair, which is ignored, beside many fields",
        r#""x":"\ud83d","data":{"a":0"#,
        r#","@":0"#,
        "}}",
    )),
    packed(json(
        "packed: profile of many fields",
        r#""data":{"a":0"#,
        r#","@":0"#,
        "}}",
    )),
    packed(json(
        "packed: just fewer values than allowed, fields",
        r#""data":{"x":{"":0"#,
        r#","@":0~~"#,
        "}}}",
    )),
    packed(xml(
        "packed: XML: elements of many names",
        "<data><x>",
        "<a@/>",
        "</x></data></xml>",
    )),
    large(json(
        "128 MiB, a top-level field many times",
        r#""a":0"#,
        r#","data":0"#,
        "}",
    )),
    large(json(
        "128 MiB, one top-level string",
        r#""feedback_id":""#,
        "0123456789",
        "\"}",
    )),
    large(json(
        "128 MiB, one top-level string of escapes",
        r#""feedback_id":""#,
        r"\t",
        "\"}",
    )),
    large(json(
        "128 MiB, array of zeros",
        r#""data":{"x":[0"#,
        ",0",
        "]}}",
    )),
    large(xml(
        "128 MiB, XML: a top-level field many times",
        "",
        "<data/>",
        "</xml>",
    )),
    large(xml(
        "128 MiB, XML: elements of one letter",
        "<data><x>",
        "<a>0</a>",
        "</x></data></xml>",
    )),
    large(xml(
        "128 MiB, XML: one top-level text of references",
        "<feedback_id>",
        "&#9;",
        "</feedback_id></xml>",
    )),
    large(xml(
        "128 MiB, XML: attributes",
        "<data><x",
        " a@=''",
        "/></data></xml>",
    )),
];

const fn xml(
    name: &'static str,
    head: &'static str,
    repeated: &'static str,
    tail: &'static str,
) -> Case {
    json(name, head, repeated, tail)
}

const fn packed(case: Case) -> Case {
    Case {
        is_packed: true,
        ..case
    }
}

const fn large(case: Case) -> Case {
    Case {
        size: MESSAGE_MAX,
        ..case
    }
}

impl Case {
    /// With a good token what `wire::VALUES_MAX` counts on. Else, and of a body that is too large,
    /// only texts at the top level are kept, and the places of one element's attributes.
    fn mebibytes_max(&self, token: &str) -> u64 {
        if token == GOOD && self.size <= BODY_MAX {
            // And the text that a packed body unpacks to.
            if self.is_packed { 130 } else { 120 }
        } else {
            5 * (self.size >> 20) as u64
        }
    }

    /// Far more than it takes: machines differ. What grows with the square of the size takes
    /// minutes.
    fn milliseconds_max(&self, token: &str) -> u64 {
        let each = if token == GOOD { 2000 } else { 500 };
        (self.size / BODY_MAX) as u64 * each
    }

    fn body(&self, token: &str) -> Vec<u8> {
        let text = self.text(token).into_bytes();
        if self.is_packed { zstd(&text) } else { text }
    }

    fn text(&self, token: &str) -> String {
        let first = if self.name.contains("XML") { XML } else { JSON };
        let first = first.replace(TOKEN, token);
        let (zeros, blanks) = (",0".repeat(999), " ".repeat(10));
        let mut body = String::with_capacity(self.size);
        body.push_str(&first);
        body.push_str(self.head);
        for i in 0_u32.. {
            let repeated = self
                .repeated
                .replace('@', &i.to_string())
                .replace('*', &zeros)
                .replace('~', &blanks);
            if body.len() + repeated.len() + self.tail.len() > self.size {
                break;
            }
            body.push_str(&repeated);
        }
        body.push_str(self.tail);
        body
    }
}

/// Database 1 with resource 1, which offers every channel, and one token.
fn directory() -> Directory {
    let token = Token {
        scope: Scope::Databases(vec![1]),
        expires_at: None,
        revoked: false,
    };
    Directory {
        version: 1,
        tokens: FromIterator::from_iter([(TokenHash::of(GOOD), token)]),
        databases: FromIterator::from_iter([(1, Default::default())]),
        resources: FromIterator::from_iter([((1, 1), Channel::ALL.into_iter().collect())]),
        ..Directory::default()
    }
}

/// A row of `/proc/self/status`, in KiB.
fn memory(row: &str) -> Result<u64, Box<dyn Error>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(row))
        .ok_or("no such row")?;
    Ok(line.trim_matches(|c: char| !c.is_ascii_digit()).parse()?)
}

fn outcome(decision: &Decision) -> String {
    match &decision.verdict {
        Verdict::Add(_) => "added".to_owned(),
        Verdict::AddEntries(each) => format!("{} profiles", each.len()),
        Verdict::Refuse(rejection) | Verdict::DeadLetter(_, rejection) => {
            let text: String = rejection.text.chars().take(60).collect();
            format!("{} {text}", rejection.code.number())
        }
    }
}

/// The time that this thread has had a processor, in milliseconds: others may be busy, too.
fn cpu_milliseconds() -> Result<u64, Box<dyn Error>> {
    let statistics = fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanoseconds = statistics.split(' ').next().ok_or("no statistics")?;
    Ok(nanoseconds.parse::<u64>()? / 1_000_000)
}

/// The longest that unpacking may take, whatever the body is.
const UNPACK_MILLISECONDS_MAX: u64 = 1500;

/// What one case took.
struct Taken {
    milliseconds: u64,
    /// Memory at the worst moment.
    peak: u64,
    /// Memory that the process still has when the decision is dropped.
    kept: u64,
    outcome: String,
}

/// One body, in a process of its own.
fn measure(body: &[u8], content_encoding: Option<&str>) -> Result<(), Box<dyn Error>> {
    let directory = directory();
    let ids = IdSource::from_random([7; 8]);
    let rules = Rules {
        directory: &directory,
        ids: &ids,
        now: Timestamp::now(),
        body_max: BODY_MAX as u64,
        warns: false,
    };
    let properties = Properties {
        message_id: Some(b"8b0a45f2-6d4e-4b0e-9a71-0f6f0b7a5a10"),
        content_encoding,
        ..Properties::default()
    };
    // Starts the peak anew.
    fs::write("/proc/self/clear_refs", "5")?;
    let before = memory("VmRSS:")?;
    let start = cpu_milliseconds()?;
    let decision = decide(body, &properties, &rules);
    let milliseconds = cpu_milliseconds()? - start;
    let peak = memory("VmHWM:")?.saturating_sub(before) / 1024;
    let outcome = outcome(&decision);
    drop(decision);
    let kept = memory("VmRSS:")?.saturating_sub(before) / 1024;
    println!("{milliseconds}\t{peak}\t{kept}\t{outcome}");
    Ok(())
}

/// Has the case of this name measured by another process.
fn measured(name: &str, token: &str) -> Result<Taken, Box<dyn Error>> {
    let output = Command::new(std::env::current_exe()?)
        .args(["--one", name, token])
        .output()?;
    let line = String::from_utf8(output.stdout)?;
    let [milliseconds, peak, kept, outcome] = line.trim_end().split('\t').collect::<Vec<_>>()[..]
    else {
        return Err(format!("{name}: {}", String::from_utf8_lossy(&output.stderr)).into());
    };
    Ok(Taken {
        milliseconds: milliseconds.parse()?,
        peak: peak.parse()?,
        kept: kept.parse()?,
        outcome: outcome.to_owned(),
    })
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    if let [flag, name, token] = arguments.as_slice()
        && flag == "--one"
    {
        if let Some(slow) = SLOW.iter().find(|slow| slow.name == name) {
            measure(&(slow.make)(slow.size_max), Some(slow.content_encoding))?;
            return Ok(ExitCode::SUCCESS);
        }
        let case = CASES.iter().find(|case| case.name == name);
        let case = case.ok_or("no such case")?;
        measure(&case.body(token), case.is_packed.then_some("zstd"))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut is_good = true;
    for token in [GOOD, BAD] {
        println!(
            "{:46} {:>8} {:>8} {:>8}  outcome",
            format!("10 MiB, {token} token"),
            "CPU",
            "peak",
            "kept"
        );
        for case in CASES {
            let Taken {
                milliseconds,
                peak,
                kept,
                outcome,
            } = measured(case.name, token)?;
            let is_within =
                peak <= case.mebibytes_max(token) && milliseconds <= case.milliseconds_max(token);
            is_good &= is_within;
            let note = if is_within { "" } else { "  TOO MUCH" };
            println!(
                "{:46} {milliseconds:>5} ms {peak:>4} MiB {kept:>4} MiB  {outcome}{note}",
                case.name
            );
        }
    }
    for slow in SLOW {
        let taken = measured(slow.name, BAD)?;
        let is_within = taken.milliseconds <= UNPACK_MILLISECONDS_MAX && taken.peak <= 20;
        is_good &= is_within;
        println!(
            "{:46} {:>5} ms {:>4} MiB {:>4} MiB  {}{}",
            slow.name,
            taken.milliseconds,
            taken.peak,
            taken.kept,
            taken.outcome,
            if is_within { "" } else { "  TOO MUCH" }
        );
    }
    Ok(if is_good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
