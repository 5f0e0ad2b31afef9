//! What a producer is told of that asks for it (`"warnings": true`): what is no error, and yet most
//! likely not what was meant.

use crate::domain::address;
use crate::domain::channel::Channel;
use crate::domain::complaint::Complaint;
use crate::domain::custom_field::CustomField;
use crate::domain::directory::Lookup;
use crate::domain::kind::{Field, Flaw};
use crate::domain::near_name::meant;
use crate::domain::value::{Object, Value};
use crate::domain::{profile, subscription};
use crate::wire::request::{self, DATA, Data, Request};

/// The most warnings of one request: the reply carries them.
const WARNINGS_MAX: usize = 100;

/// Looks through a request for names that nobody reads, or that are nearly those of a field.
pub(super) fn warnings(request: &Request<'_>, lookup: &Lookup<'_>) -> Vec<String> {
    let mut found = Found::default();
    for name in &request.ignored {
        found.ignored(name, request::NAMES.iter().copied(), "");
    }
    match &request.data {
        Data::One(profile) => found.in_profile(profile, request.db_id, lookup, DATA),
        Data::Many(profiles) if profiles.is_empty() => found.add(
            Flaw::from(
                "an array of no profiles adds none; an empty profile is an object, {} (in PHP \
                 `new stdClass`)",
            ),
            DATA,
        ),
        Data::Many(profiles) => {
            for (i, profile) in profiles.iter().enumerate() {
                if let Value::Object(profile) = profile {
                    found.in_profile(profile, request.db_id, lookup, &format!("{DATA}[{i}]"));
                }
                if found.is_full() {
                    break;
                }
            }
        }
    }
    found.told()
}

/// The warnings so far: one more than are told, if there are so many.
#[derive(Default)]
struct Found(Vec<String>);

impl Found {
    fn is_full(&self) -> bool {
        self.0.len() > WARNINGS_MAX
    }

    fn told(mut self) -> Vec<String> {
        if self.is_full() {
            self.0.truncate(WARNINGS_MAX);
            self.0.push("there are more".to_owned());
        }
        self.0
    }

    fn add(&mut self, warning: Flaw, path: &str) {
        if !self.is_full() {
            self.0.push(warning.at(path).text);
        }
    }

    /// Warns of a name that is looked at by nobody, in the object at `path`.
    fn ignored<'n>(&mut self, name: &str, known: impl Iterator<Item = &'n str>, path: &str) {
        let what: Complaint = match meant(name, known) {
            Some(known) => format!("is ignored; did you mean `{known}`?").into(),
            None => "is no field here, and ignored".into(),
        };
        self.add(Flaw::from(what).in_field(name), path);
    }

    fn in_profile(&mut self, profile: &Object<'_>, db_id: i64, lookup: &Lookup<'_>, path: &str) {
        for (name, value) in profile.iter() {
            if self.is_full() {
                return;
            }
            match value {
                Value::Null => {}
                Value::Array(items) if name == profile::SUBSCRIPTIONS => {
                    self.in_subscriptions(items, &format!("{path}.{name}"));
                }
                // One in XML, which needs no mark.
                Value::Object(_) if name == profile::SUBSCRIPTIONS => {
                    self.in_subscriptions(std::slice::from_ref(value), &format!("{path}.{name}"));
                }
                _ if profile::is_reserved(name) => {}
                _ if lookup.custom_field(db_id, name) != CustomField::Undefined => {}
                _ => {
                    let known = profile::names().chain(lookup.custom_fields(db_id));
                    if let Some(known) = meant(name, known) {
                        let what: Complaint =
                            format!("is stored as a custom field; did you mean `{known}`?").into();
                        self.add(Flaw::from(what).in_field(name), path);
                    }
                }
            }
        }
    }

    fn in_subscriptions(&mut self, items: &[Value<'_>], path: &str) {
        let fields = items.iter().enumerate().filter_map(|(i, item)| match item {
            Value::Object(object) => {
                let given = object.iter().filter(|(_, value)| **value != Value::Null);
                Some(given.map(move |(name, _)| (i, name)))
            }
            _ => None,
        });
        for (i, name) in fields.flatten() {
            if self.is_full() {
                return;
            }
            if subscription_names().all(|known| known != name) {
                self.ignored(name, subscription_names(), &format!("{path}[{i}]"));
            }
        }
    }
}

/// The names of what a subscription can hold, over whatever channel.
fn subscription_names() -> impl Iterator<Item = &'static str> {
    let addresses = Channel::ALL.into_iter().flat_map(|channel| {
        let parts = address::alternatives(channel).iter().copied().flatten();
        parts.filter_map(|part| part.path.first().copied())
    });
    let names = subscription::FIELDS.iter().map(|field: &Field| field.name);
    names.chain(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::custom_field::FieldType;
    use crate::domain::directory::{Database, Directory};
    use crate::wire::Format;

    fn told(body: &str) -> Vec<String> {
        let fields = [("loyalty_level".to_owned(), FieldType::Integer)];
        let database = Database {
            is_strict: false,
            fields: fields.into_iter().collect(),
        };
        let directory = Directory {
            databases: [(1, database)].into_iter().collect(),
            ..Directory::default()
        };
        let document = Format::of(None, body.as_bytes()).read(body.as_bytes());
        let request = Request::from_document(document.unwrap()).unwrap();
        warnings(&request, &Lookup::new(&directory))
    }

    fn of_data(data: &str) -> Vec<String> {
        told(&format!(r#"{{"db_id":1,"data":{data}}}"#))
    }

    /// Rows of reports: names of other systems, of forms and of other languages' habits.
    #[test]
    fn names_that_are_nearly_those_of_a_field_are_told() {
        for (data, warning) in [
            // An object of Altcraft's XML page.
            (
                r#"{"fname": "Jo"}"#,
                "data.fname: is stored as a custom field; did you mean `_fname`?",
            ),
            (
                r#"{"Email": "x"}"#,
                "data.Email: is stored as a custom field; did you mean `email`?",
            ),
            (
                r#"{" email": 1}"#,
                "data. email: is stored as a custom field; did you mean `email`?",
            ),
            (
                r#"{"Subscriptions": []}"#,
                "data.Subscriptions: is stored as a custom field; did you mean `subscriptions`?",
            ),
            (
                r#"{"loyaltyLevel": 1}"#,
                "data.loyaltyLevel: is stored as a custom field; did you mean `loyalty_level`?",
            ),
            (
                r#"{"subscriptions": [{"Status": 1}]}"#,
                "data.subscriptions[0].Status: is ignored; did you mean `status`?",
            ),
            (
                r#"{"subscriptions": [{}, {"language": "en"}]}"#,
                "data.subscriptions[1].language: is no field here, and ignored",
            ),
            (
                r#"[{}, {"_Fname": "Jo"}]"#,
                "data[1]._Fname: is stored as a custom field; did you mean `_fname`?",
            ),
        ] {
            assert_eq!(of_data(data), [warning], "{data}");
        }
        for data in [
            "{}",
            r#"{"email": "x", "loyalty_level": 1, "color": "red"}"#,
            r#"{"Email": null, "subscriptions": [{"language": null}]}"#,
            r#"{"subscriptions": [{"email_data": {}, "cc_data": {}, "channel": "sms", "ip": 1}]}"#,
        ] {
            assert_eq!(of_data(data), [""; 0], "{data}");
        }
    }

    #[test]
    fn what_nobody_reads_of_a_request_is_told() {
        let body = r#"{"db_id":1,"Data":{},"email":"x","skip-triggers":true,"token":"t"}"#;
        assert_eq!(
            told(body),
            [
                "Data: is ignored; did you mean `data`?",
                "email: is no field here, and ignored",
                "skip-triggers: is ignored; did you mean `skip_triggers`?",
            ]
        );
        let body =
            "<xml><db_id>1</db_id><data><subscriptions><Url>u</Url></subscriptions></data></xml>";
        assert_eq!(
            told(body),
            ["data.subscriptions[0].Url: is ignored; did you mean `url`?"]
        );
        assert_eq!(
            of_data("[]"),
            [
                "data: an array of no profiles adds none; an empty profile is an object, {} (in \
                 PHP `new stdClass`)"
            ]
        );
    }

    #[test]
    fn there_is_a_most_of_warnings() {
        let items = |count: usize, item: &str| vec![item; count].join(",");
        let profiles = format!("[{}]", items(WARNINGS_MAX, r#"{"Email":1}"#));
        assert_eq!(of_data(&profiles).len(), WARNINGS_MAX);
        let profiles = format!("[{}]", items(1000, r#"{"Email":1}"#));
        let many = of_data(&profiles);
        assert_eq!(many.len(), WARNINGS_MAX + 1);
        assert_eq!(many.last().map(String::as_str), Some("there are more"));
        let names = (0..1000).map(|i| format!(r#","a{i}":1"#));
        let body = format!(r#"{{"db_id":1{}}}"#, names.collect::<String>());
        assert_eq!(told(&body).len(), WARNINGS_MAX + 1);
    }
}
