//! Published schemas and worker agree: a body that a schema allows is accepted, and what is
//! accepted its schema allows. `tests/documents/generate.py` makes bodies from the schemas by
//! hypothesis-jsonschema, and judges ours.

use std::collections::BTreeMap;
use std::path::Path;

use arbtest::arbitrary::Unstructured;
use profile_worker::domain::outcome::Rejection;
use profile_worker::pipeline::decide::{Addition, Verdict};
use testkit::bad_input::check::Message;
use testkit::bad_input::generate::{Node, Scope, request, to_json, to_xml};
use testkit::random::Random;
use tokio::process::Command;

use crate::documents::{folder, pass, path, print};

/// Bodies of each format and direction.
const BODIES: usize = 10_000;

#[tokio::test]
#[ignore = "a program of others: `make test-foreign`"]
async fn what_a_schema_allows_is_accepted_and_what_it_refuses_is_not() {
    let folder = schemas_in("generated").await;
    generate(&folder, &BODIES.to_string()).await;
    let generated: Vec<(String, bool)> = read(&folder.join("generated.json")).await;
    assert_eq!(generated.len(), 2 * BODIES);
    let wrong = generated.iter().filter_map(|(body, is_valid)| {
        let refusal = refusal(body);
        let agrees = match &refusal {
            None => *is_valid,
            Some(text) => !is_valid || no_schema_knows(text),
        };
        (!agrees).then(|| (body.clone(), refusal))
    });
    none_of(wrong.collect());
}

#[tokio::test]
#[ignore = "a program of others: `make test-foreign`"]
async fn what_is_accepted_its_schema_allows() {
    let folder = schemas_in("decided").await;
    let mut bodies = Vec::new();
    let mut random = Random::new(25, 0);
    while bodies.len() < 2 * BODIES {
        let bytes: Vec<_> = (0..256).flat_map(|_| random.bits().to_le_bytes()).collect();
        let mut u = Unstructured::new(&bytes);
        let in_xml = bodies.len() % 2 == 1;
        let scope = if in_xml { Scope::Both } else { Scope::Json };
        let made = request(&mut u, scope)
            .map(as_iana_writes_zones)
            .and_then(|node| match in_xml {
                true => to_xml(&node, &mut u),
                false => Ok(to_json(&node)),
            });
        let Ok(body) = made else { continue };
        // XML Schema can't make the rules for subscriptions depend on what is to be skipped.
        if refusal(&body).is_none() && !(in_xml && skips(&body)) {
            bodies.push(body);
        }
    }
    let written = serde_json::to_vec(&bodies).expect("JSON");
    let decided = folder.join("decided.json");
    tokio::fs::write(decided, written).await.expect("written");
    generate(&folder, "--judge").await;
    let judged: Vec<bool> = read(&folder.join("judged.json")).await;
    assert_eq!(judged.len(), bodies.len());
    let wrong = bodies.into_iter().zip(judged);
    let wrong = wrong.filter(|(_, is_valid)| !is_valid);
    none_of(wrong.map(|(body, _)| (body, None)).collect());
}

/// The schemas have the names of time zones as IANA writes them, the worker takes them in any case.
fn as_iana_writes_zones(node: Node) -> Node {
    match node {
        Node::String(text) if text == "utc" => Node::String("UTC".to_owned()),
        Node::String(text) if text == "europe/kiev " => Node::String("Europe/Kiev".to_owned()),
        Node::Array(items) => Node::Array(items.into_iter().map(as_iana_writes_zones).collect()),
        Node::Object(fields) => {
            let fields = fields.into_iter();
            let fields = fields.map(|(name, node)| (name, as_iana_writes_zones(node)));
            Node::Object(fields.collect())
        }
        other => other,
    }
}

/// The first refusal of what a body asks for; none if all of it is accepted.
fn refusal(body: &str) -> Option<String> {
    let text = |rejection: Rejection| rejection.text;
    match Message::of(body.as_bytes()).decide().verdict {
        Verdict::Add(_) => None,
        Verdict::AddEntries(entries) => entries.into_iter().find_map(Result::err).map(text),
        Verdict::Refuse(rejection) | Verdict::DeadLetter(_, rejection) => Some(text(rejection)),
    }
}

/// Whether something of what a body asks for is left out.
fn skips(body: &str) -> bool {
    let skips = |addition: &Addition| !addition.skipped.is_empty();
    match Message::of(body.as_bytes()).decide().verdict {
        Verdict::Add(addition) => skips(&addition),
        Verdict::AddEntries(entries) => entries.iter().flatten().any(skips),
        Verdict::Refuse(_) | Verdict::DeadLetter(..) => false,
    }
}

/// What the schemas don't say, so that they allow more: how many digits a number has, how many
/// bytes a text, that two subscriptions are not the same, and what the texts in a custom field
/// hold.
fn no_schema_knows(refusal: &str) -> bool {
    refusal.contains("at most 1000 digits")
        || refusal.contains("at most 4096 bytes")
        || refusal.contains("as an earlier one")
        || refusal.contains("the character U+0000")
}

/// Fails if there is any; tells for each refusal how often it came, and the shortest body.
fn none_of(wrong: Vec<(String, Option<String>)>) {
    let mut groups: BTreeMap<Option<String>, (usize, &str)> = BTreeMap::new();
    for (body, refusal) in &wrong {
        let group = groups.entry(refusal.as_deref().map(without_places));
        let (count, shortest) = group.or_insert((0, body));
        *count += 1;
        if body.len() < shortest.len() {
            *shortest = body;
        }
    }
    assert!(wrong.is_empty(), "{} bodies: {groups:#?}", wrong.len());
}

/// A refusal without the numbers in it, which differ from body to body.
fn without_places(refusal: &str) -> String {
    refusal.chars().filter(|c| !c.is_ascii_digit()).collect()
}

/// A folder with the schemas.
async fn schemas_in(name: &str) -> std::path::PathBuf {
    let folder = folder(name).await;
    print(&["--format", "json-schema"], &folder.join("schema.json")).await;
    print(&["--format", "xsd"], &folder.join("request.xsd")).await;
    folder
}

async fn generate(folder: &Path, what: &str) {
    let mut python = Command::new("python3");
    python
        .arg(path("tests/documents/generate.py"))
        .arg(folder)
        .arg(what);
    python
        .env("PYTHONPATH", path(".local/validators/python"))
        .env("HYPOTHESIS_STORAGE_DIRECTORY", folder.join("hypothesis"));
    pass(&mut python).await;
}

async fn read<T: serde::de::DeserializeOwned>(file: &Path) -> T {
    let text = tokio::fs::read(file).await.expect("written by the program");
    serde_json::from_slice(&text).expect("JSON")
}
