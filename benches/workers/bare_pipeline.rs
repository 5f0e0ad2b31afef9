//! Reference worker: takes what is ready, stores it with one statement, answers it. No tokens, no
//! checks, no events, nothing for the day on which a server is away: what the main path costs with
//! these libraries at least. `make bench` runs it.
//!
//! With FORM=contract it stores in our tables and its replies have the properties of the contract:
//! what those cost the servers, whoever asks them.

#![expect(
    clippy::disallowed_methods,
    reason = "a program on its own: it reads its own environment"
)]
#![expect(clippy::print_stderr, reason = "tells the benchmark that it has begun")]

mod batches;
mod replying;
mod requests;

use std::collections::HashSet;

use batches::{LANES, Lane};
use replying::{Form, added, new_id};
use requests::{Request, email_taken};
use tokio::task::JoinSet;
use tokio_postgres::{Client, NoTls, Statement};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Returns the ids of those left out, which are few.
const INSERT: &str = "
WITH input AS MATERIALIZED (
    SELECT * FROM unnest($1::text[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[])
        AS i (id, db_id, email, first_name, last_name, city)
),
added AS (
    INSERT INTO profiles (id, db_id, email, first_name, last_name, city) SELECT * FROM input
    ON CONFLICT DO NOTHING
    RETURNING id
),
subscribed AS (
    INSERT INTO subscriptions (profile_id, resource_id, channel, address)
    SELECT * FROM unnest($7::text[], $8::bigint[], $9::text[], $10::text[])
        AS s (profile_id, resource_id, channel, address)
    WHERE (profile_id IN (SELECT id FROM added)) IS TRUE
)
SELECT id FROM input WHERE (id IN (SELECT id FROM added)) IS NOT TRUE";

/// The same into our own tables.
const INSERT_AS_CONTRACT: &str = "
WITH input AS MATERIALIZED (
    SELECT * FROM unnest($1::text[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[])
        AS i (id, db_id, email, first_name, last_name, city)
),
added AS (
    INSERT INTO profiles (db_id, id, email, email_hash, data, request_id)
    SELECT db_id, id, email, hash_of_email(email), jsonb_build_object('_fname', first_name, '_lname', last_name, '_city', city),
           decode(id, 'hex')
    FROM input
    ON CONFLICT DO NOTHING
    RETURNING id
),
subscribed AS (
    INSERT INTO subscriptions (db_id, profile_id, position, resource_id, channel, address, status)
    SELECT 1, profile_id, position, resource_id, channel, address, 'subscribed'
    FROM unnest($7::text[], $8::bigint[], $9::text[], $10::text[])
        WITH ORDINALITY AS s (profile_id, resource_id, channel, address, position)
    WHERE (profile_id IN (SELECT id FROM added)) IS TRUE
)
SELECT id FROM input WHERE (id IN (SELECT id FROM added)) IS NOT TRUE";

#[tokio::main]
async fn main() -> Result<()> {
    let form = Form::from_environment();
    let insert = match form {
        Form::Plain => INSERT,
        Form::Contract => INSERT_AS_CONTRACT,
    };
    let mut tasks = JoinSet::new();
    let mut opened = Vec::new();
    for _ in 0..LANES {
        let (client, connection) =
            tokio_postgres::connect(&std::env::var("DATABASE_URL")?, NoTls).await?;
        tasks.spawn(async { Ok(connection.await?) });
        let insert = client.prepare(insert).await?;
        opened.push((client, insert, Lane::open(form).await?));
    }
    eprintln!("taking requests");
    for (client, insert, lane) in opened {
        tasks.spawn(work(client, insert, lane));
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(())
}

async fn work(client: Client, insert: Statement, mut lane: Lane) -> Result<()> {
    loop {
        let batch = lane.batch().await?;
        let requests = batch
            .iter()
            .map(|request| serde_json::from_slice(&request.data));
        let requests: Vec<Request> = requests.collect::<std::result::Result<_, _>>()?;
        let ids: Vec<_> = requests.iter().map(|_| new_id()).collect();
        let left_out = store(&client, &insert, &requests, &ids).await?;
        let answer = |(request, id): (&Request, &String)| match left_out.contains(id) {
            false => added(id),
            true => email_taken(&request.data.email),
        };
        let bodies: Vec<_> = requests.iter().zip(&ids).map(answer).collect();
        lane.answer(&batch, &bodies).await?;
    }
}

async fn store(
    client: &Client,
    insert: &Statement,
    requests: &[Request],
    ids: &[String],
) -> Result<HashSet<String>> {
    let mut order: Vec<_> = requests.iter().zip(ids).collect();
    // The same in both lanes, or two that insert the same emails lock each other out.
    order.sort_unstable_by_key(|(request, _)| (request.db_id, request.data.email.as_str()));
    let profiles = || order.iter().map(|(request, _)| &request.data);
    let subscriptions = || {
        order
            .iter()
            .flat_map(|(request, id)| request.data.subscriptions.iter().map(move |s| (s, id)))
    };
    let rows = client
        .query(
            insert,
            &[
                &order.iter().map(|(_, id)| id.as_str()).collect::<Vec<_>>(),
                &order
                    .iter()
                    .map(|(request, _)| request.db_id)
                    .collect::<Vec<_>>(),
                &profiles()
                    .map(|profile| profile.email.as_str())
                    .collect::<Vec<_>>(),
                &profiles()
                    .map(|profile| profile.first_name.as_deref())
                    .collect::<Vec<_>>(),
                &profiles()
                    .map(|profile| profile.last_name.as_deref())
                    .collect::<Vec<_>>(),
                &profiles()
                    .map(|profile| profile.city.as_deref())
                    .collect::<Vec<_>>(),
                &subscriptions()
                    .map(|(_, id)| id.as_str())
                    .collect::<Vec<_>>(),
                &subscriptions()
                    .map(|(subscription, _)| subscription.resource_id)
                    .collect::<Vec<_>>(),
                &subscriptions()
                    .map(|(subscription, _)| subscription.channel.as_str())
                    .collect::<Vec<_>>(),
                &subscriptions()
                    .map(|(subscription, _)| subscription.email.as_str())
                    .collect::<Vec<_>>(),
            ],
        )
        .await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}
