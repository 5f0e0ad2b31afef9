//! What the reference workers read. No checks but those of the types.

use serde::Deserialize;

#[derive(Deserialize)]
pub(crate) struct Request {
    pub(crate) db_id: i64,
    pub(crate) data: Profile,
}

#[derive(Deserialize)]
pub(crate) struct Profile {
    pub(crate) email: String,
    #[serde(rename = "_fname")]
    pub(crate) first_name: Option<String>,
    #[serde(rename = "_lname")]
    pub(crate) last_name: Option<String>,
    #[serde(rename = "_city")]
    pub(crate) city: Option<String>,
    #[serde(default)]
    pub(crate) subscriptions: Vec<Subscription>,
}

#[derive(Deserialize)]
pub(crate) struct Subscription {
    pub(crate) resource_id: i64,
    pub(crate) channel: String,
    pub(crate) email: String,
}

pub(crate) fn email_taken(email: &str) -> String {
    format!(r#"{{"error":409,"error_text":"another profile has the email {email}"}}"#)
}
