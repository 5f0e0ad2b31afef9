//! What must be the same of a request, however it is written. The bytes that requests are made of
//! come from `arbtest`, or from the fuzz target `request`.

use arbtest::arbitrary::{Result, Unstructured};
use profile_worker::domain::identity::ProfileId;
use profile_worker::domain::outcome::Code;
use profile_worker::domain::value::Value;
use profile_worker::pipeline::decide::{Addition, Decision, Properties, Verdict};
use profile_worker::wire::Format;
use serde_json::Value as Json;

use crate::bad_input::check::{Message, check};
use crate::bad_input::generate::{
    Node, Scope, request, shuffled, to_json, to_strange_json, to_xml,
};

/// Among other things: what is stored is what was sent.
pub fn requests_obey_the_contract(u: &mut Unstructured<'_>) -> Result<()> {
    let properties = *u.choose(&[
        "",
        "#||\n",
        "#application/json||m\n",
        "#text/plain|Bearer {token}|crd\n",
        "#||s\n",
    ])?;
    let scope = if u.arbitrary()? {
        Scope::Json
    } else {
        Scope::Both
    };
    let request = request(u, scope)?;
    let body = if scope == Scope::Both && !properties.contains("json") && u.arbitrary()? {
        to_xml(&request, u)?
    } else {
        to_strange_json(&request, u)?
    };
    check(format!("{properties}{body}").as_bytes());
    Ok(())
}

pub fn valid_requests_are_accepted(u: &mut Unstructured<'_>) -> Result<()> {
    let body = to_strange_json(&request(u, Scope::Valid)?, u)?;
    let authorization = Some("Bearer {token for all databases}");
    let message = Message::of(body.as_bytes());
    let message = Message {
        properties: Properties {
            authorization,
            ..message.properties
        },
        ..message
    };
    match message.decide().verdict {
        Verdict::Add(addition) => assert_eq!(addition.skipped, [], "{body}"),
        Verdict::AddEntries(each) => assert!(
            each.iter().flatten().count() == each.len(),
            "{each:?}\n{body}"
        ),
        other => panic!("{other:?}\n{body}"),
    }
    Ok(())
}

pub fn what_is_read_and_written_again_is_the_same(u: &mut Unstructured<'_>) -> Result<()> {
    let request = request(u, Scope::Json)?;
    let body = to_strange_json(&request, u)?;
    let tree = read(&body);
    same_tree(&tree, &request);
    let written = serde_json::to_string(&tree).expect("what was read can be written");
    assert_eq!(
        written,
        serde_json::to_string(&read(&to_json(&request))).expect("as that")
    );
    assert_eq!(read(&written), tree, "{body}");
    Ok(())
}

fn read(body: &str) -> Value<'_> {
    Value::Object(
        Format::Json
            .read(body.as_bytes())
            .unwrap_or_else(|flaw| panic!("{flaw}: {body}")),
    )
}

fn same_tree(read: &Value<'_>, sent: &Node) {
    match (read, sent) {
        (Value::Null, Node::Null) => {}
        (Value::Bool(a), Node::Bool(b)) => assert_eq!(a, b),
        (Value::Number(a), Node::Number(b)) | (Value::String(a), Node::String(b)) => {
            assert_eq!(a, b)
        }
        (Value::Array(a), Node::Array(b)) => {
            assert_eq!(a.len(), b.len());
            a.iter().zip(b).for_each(|(a, b)| same_tree(a, b));
        }
        (Value::Object(a), Node::Object(b)) => {
            assert_eq!(
                a.iter().map(|(name, _)| name).collect::<Vec<_>>(),
                b.iter().map(|(name, _)| name).collect::<Vec<_>>()
            );
            a.iter().zip(b).for_each(|((_, a), (_, b))| same_tree(a, b));
        }
        other => panic!("{other:?}"),
    }
}

pub fn blanks_and_escapes_mean_nothing(u: &mut Unstructured<'_>) -> Result<()> {
    let request = request(u, Scope::Json)?;
    let (plain, strange) = (to_json(&request), to_strange_json(&request, u)?);
    assert_eq!(decided(&plain), decided(&strange), "{plain}\n{strange}");
    Ok(())
}

/// Which of several flaws is told is another matter.
pub fn the_order_of_names_means_nothing(u: &mut Unstructured<'_>) -> Result<()> {
    let request = request(u, Scope::Json)?;
    let (plain, other) = (to_json(&request), to_json(&shuffled(&request, u)?));
    let [a, b] = [&plain, &other].map(|body| gist(&Message::of(body.as_bytes()).decide(), false));
    assert_eq!(a, b, "{plain}\n{other}");
    Ok(())
}

pub fn json_and_xml_say_the_same(u: &mut Unstructured<'_>) -> Result<()> {
    let request = request(u, Scope::Both)?;
    let (json, xml) = (to_json(&request), to_xml(&request, u)?);
    let [a, b] = [&json, &xml].map(|body| gist(&Message::of(body.as_bytes()).decide(), true));
    assert_eq!(a, b, "{json}\n{xml}");
    Ok(())
}

/// Everything but the ids, which are made of the bytes, and how many there are.
fn decided(body: &str) -> String {
    let mut decision = Message::of(body.as_bytes()).decide();
    decision.text_bytes = 0;
    let additions: Vec<&mut Addition> = match &mut decision.verdict {
        Verdict::Add(addition) => vec![addition],
        Verdict::AddEntries(each) => each.iter_mut().flatten().collect(),
        _ => vec![],
    };
    for addition in additions {
        addition.profile.id = ProfileId::parse("000000000000000000000000").expect("an id");
        addition.profile.request_id = None;
    }
    format!("{decision:?}")
}

/// What a decision comes to, without the order of what has none, and without the ids. Paths only
/// where it is said which flaw is told; not the words, in which the formats have other types.
fn gist(decision: &Decision, with_paths: bool) -> (Option<String>, Vec<String>) {
    let flaw = |text: &str| {
        let path = text.split(": ").next().unwrap_or_default();
        if with_paths {
            path.to_owned()
        } else {
            String::new()
        }
    };
    let refused = |code: Code, text: &str| {
        format!(
            "{code:?} {}",
            if code == Code::Invalid {
                flaw(text)
            } else {
                text.to_owned()
            }
        )
    };
    let added = |addition: &Addition| {
        let Addition {
            profile,
            skipped,
            skip_triggers,
        } = addition;
        let json = |text: &str| serde_json::from_str::<Json>(text).expect("JSON");
        let subscriptions = profile
            .subscriptions
            .iter()
            .map(|each| json(&serde_json::to_string(each).expect("JSON")).to_string());
        let subscriptions: Vec<_> = subscriptions.collect();
        let skipped: Vec<_> = skipped
            .iter()
            .map(|each| (each.index, flaw(&each.error_text)))
            .collect();
        let data = json(profile.data.as_str());
        format!(
            "{} {:?} {data} {subscriptions:?} {skipped:?} {skip_triggers}",
            profile.db_id, profile.email
        )
    };
    let entries = match &decision.verdict {
        Verdict::Add(addition) => vec!["one".to_owned(), added(addition)],
        Verdict::AddEntries(each) => each
            .iter()
            .map(|entry| match entry {
                Ok(addition) => added(addition),
                Err(rejection) => refused(rejection.code, &rejection.text),
            })
            .collect(),
        Verdict::Refuse(rejection) => vec![
            "refused".to_owned(),
            refused(rejection.code, &rejection.text),
        ],
        Verdict::DeadLetter(_, rejection) => vec!["unreadable".to_owned(), rejection.text.clone()],
    };
    (decision.feedback_id.clone(), entries)
}
