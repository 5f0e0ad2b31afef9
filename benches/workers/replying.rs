//! How the reference workers answer: persistent, mandatory, confirmed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use lapin::message::Delivery;
use lapin::options::BasicPublishOptions;
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation};

use crate::Result;

/// What replies are like.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Form {
    /// As little as will do.
    Plain,
    /// With all properties of the contract.
    Contract,
}

impl Form {
    pub(crate) fn from_environment() -> Self {
        if std::env::var("FORM").is_ok_and(|form| form == "contract") {
            Self::Contract
        } else {
            Self::Plain
        }
    }
}

/// Resolves when the reply is on its way; the result resolves when the broker has it safe.
pub(crate) async fn reply(
    channel: &Channel,
    request: &Delivery,
    body: &[u8],
    form: Form,
) -> lapin::Result<impl Future<Output = lapin::Result<Confirmation>> + use<>> {
    let mut properties = BasicProperties::default()
        .with_content_type("application/json".into())
        .with_delivery_mode(2);
    if let Some(id) = request.properties.correlation_id() {
        properties = properties.with_correlation_id(id.clone());
    }
    if let Form::Contract = form {
        let mut headers = FieldTable::default();
        headers.insert("error".into(), AMQPValue::LongInt(0));
        let seconds = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |time| time.as_secs());
        properties = properties
            .with_message_id(new_id().into())
            .with_timestamp(seconds)
            .with_type("profiles.add.result".into())
            .with_app_id("profile-worker".into())
            .with_headers(headers);
    }
    let reply_to = request.properties.reply_to().clone().unwrap_or_default();
    let options = BasicPublishOptions {
        mandatory: true,
        ..Default::default()
    };
    channel
        .basic_publish("".into(), reply_to, options, body, properties)
        .await
}

/// Whether the broker took the reply and had somewhere to put it.
pub(crate) fn check(confirmation: lapin::Result<Confirmation>) -> Result<()> {
    match confirmation? {
        Confirmation::Ack(None) => Ok(()),
        other => Err(format!("a reply was not delivered: {other:?}").into()),
    }
}

/// In the layout of the contract: the time, then what makes it unique.
pub(crate) fn new_id() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let seconds = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| time.as_secs());
    format!("{seconds:08x}{:016x}", NEXT.fetch_add(1, Ordering::Relaxed))
}

pub(crate) fn added(id: &str) -> String {
    format!(r#"{{"error":0,"error_text":"","profile_id":"{id}"}}"#)
}
