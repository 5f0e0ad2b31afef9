//! `profile-worker try`: whether it works here, from the request to its reply.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::block_on;
use super::flags::TryFlags;
use super::output::{Failure, put_bytes, say};
use super::sender::{explain, random_id};
use crate::broker::connection::{Connection, Frames};
use crate::broker::requester::{ReceivedReply, RequestMessage, Requester};
use crate::domain::channel::Channel;
use crate::domain::token::{Scope, Secret};
use crate::store::pool::Store;
use crate::store::url::DatabaseUrl;

/// Make a database, a resource and a token, send a request, and print its reply.
///
/// For a first look, and after an installation: a worker must be running. What it makes stays; the
/// token opens that database alone, for an hour.
///
/// Exit codes: 0 the request was answered with error 0, 3 with another, 1 not answered.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// How long to wait for the reply. [default: 30s]
    #[arg(long, value_name = "DURATION", default_value = "30s", hide_default_value = true, value_parser = humantime::parse_duration)]
    timeout: Duration,
    #[command(flatten)]
    flags: TryFlags,
}

/// How long the token is good for.
const TOKEN_LASTS: SignedDuration = SignedDuration::from_hours(1);

/// It was refused.
const REFUSED: u8 = 3;

pub(super) fn run(arguments: Arguments) -> Result<(), Failure> {
    let (broker, queue, database) = arguments.flags.source().trial()?;
    block_on(async {
        // Before anything is made: what can't be published should leave nothing behind.
        let connection = Connection::open(&broker, "profile-worker try", Frames::Large)
            .await
            .map_err(Failure::new)?;
        let mut requester = Requester::open(&connection, true)
            .await
            .map_err(Failure::new)?;
        let (request, token) = prepare(&database).await?;
        let shown = request.replace(&token, "pw_…");
        publish(&mut requester, &queue, request).await?;
        say(format_args!(
            "Published to the queue {queue}:\n{shown}\nThe reply:"
        ));
        let reply = reply(&mut requester, arguments.timeout).await?;
        connection.close().await;
        put_bytes(&reply.body)?;
        if reply.error == Some(0) {
            Ok(())
        } else {
            Err(Failure::with_code(REFUSED, "the request was refused"))
        }
    })
}

/// A request that must be answered with error 0, with what it needs, and the token in it.
async fn prepare(database: &DatabaseUrl) -> Result<(String, String), Failure> {
    let store = Store::new(database, 1)?;
    let name = format!("Try {}", Timestamp::now());
    let db_id = store.create_database(&name, false).await?;
    let resource_id = store
        .create_resource(db_id, &[Channel::Email], "News")
        .await?;
    let mut random = [0; 32];
    getrandom::fill(&mut random).map_err(Failure::new)?;
    let secret = Secret::from_random(random);
    let expires_at = Timestamp::now() + TOKEN_LASTS;
    store
        .create_token(
            secret.hash(),
            &Scope::Databases(vec![db_id]),
            Some(expires_at),
            &name,
        )
        .await?;
    say(format_args!(
        "Made the database {name:?} ({db_id}), the resource \"News\" ({resource_id}) and a token for an hour"
    ));
    let subscription =
        json!({"resource_id": resource_id, "channel": "email", "email": "jane@example.com"});
    let data =
        json!({"email": "jane@example.com", "_fname": "Jane", "subscriptions": [subscription]});
    let token = secret.reveal();
    Ok((
        json!({"token": token, "db_id": db_id, "data": data}).to_string(),
        token.to_owned(),
    ))
}

async fn publish(requester: &mut Requester, queue: &str, request: String) -> Result<(), Failure> {
    let message = RequestMessage {
        body: request.into_bytes(),
        message_id: random_id()?,
        correlation_id: "1".to_owned(),
        content_type: Some("application/json".to_owned()),
        token: None,
    };
    requester
        .publish(queue, vec![message])
        .await
        .map_err(explain)
}

async fn reply(requester: &mut Requester, timeout: Duration) -> Result<ReceivedReply, Failure> {
    let reply = tokio::time::timeout(timeout, requester.next_reply()).await;
    let reply = reply.map_err(|_| {
        let timeout = humantime::format_duration(timeout);
        Failure::new(format_args!(
            "no reply within {timeout}; is a worker running, and can it reach its database?"
        ))
    })?;
    reply
        .map_err(Failure::new)?
        .ok_or_else(|| Failure::new("the broker closed the channel"))
}
