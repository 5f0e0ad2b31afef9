//! Reference worker: one transaction, one confirmed reply and one ack for each request, 64 of them
//! side by side. How such a worker is usually written. `make bench` runs it.

#![expect(
    clippy::disallowed_methods,
    reason = "a program on its own: it reads its own environment"
)]
#![expect(clippy::print_stderr, reason = "tells the benchmark that it has begun")]

mod replying;
mod requests;

use deadpool_postgres::{Manager, ManagerConfig, Pool};
use futures_util::TryStreamExt;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions, ConfirmSelectOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ConnectionProperties};
use replying::{Form, added, check, new_id, reply};
use requests::{Request, email_taken};
use tokio_postgres::NoTls;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

const CONCURRENT: u16 = 64;

/// With 4 or 32 it is slower.
const CONNECTIONS: usize = 16;

const INSERT_PROFILE: &str = "
INSERT INTO profiles (id, db_id, email, first_name, last_name, city) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT DO NOTHING";

const INSERT_SUBSCRIPTION: &str = "
INSERT INTO subscriptions (profile_id, resource_id, channel, address) VALUES ($1, $2, $3, $4)";

#[tokio::main]
async fn main() -> Result<()> {
    let manager = Manager::from_config(
        std::env::var("DATABASE_URL")?.parse()?,
        NoTls,
        ManagerConfig::default(),
    );
    let pool = Pool::builder(manager).max_size(CONNECTIONS).build()?;
    let connection =
        Connection::connect(&std::env::var("AMQP_URL")?, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await?;
    channel
        .basic_qos(CONCURRENT, BasicQosOptions::default())
        .await?;
    let queue = std::env::var("REQUEST_QUEUE")?;
    let options = BasicConsumeOptions::default();
    let requests = channel
        .basic_consume(queue.into(), "".into(), options, FieldTable::default())
        .await?;
    eprintln!("taking requests");
    requests
        .err_into()
        .try_for_each_concurrent(usize::from(CONCURRENT), |request| {
            work(&pool, &channel, request)
        })
        .await
}

async fn work(pool: &Pool, channel: &Channel, delivery: Delivery) -> Result<()> {
    let request: Request = serde_json::from_slice(&delivery.data)?;
    let body = store(pool, &request).await?;
    check(
        reply(
            channel,
            &delivery,
            body.as_bytes(),
            Form::from_environment(),
        )
        .await?
        .await,
    )?;
    channel
        .basic_ack(delivery.delivery_tag, BasicAckOptions::default())
        .await?;
    Ok(())
}

async fn store(
    pool: &Pool,
    Request {
        db_id,
        data: profile,
    }: &Request,
) -> Result<String> {
    let mut client = pool.get().await?;
    let insert_profile = client.prepare_cached(INSERT_PROFILE).await?;
    let insert_subscription = client.prepare_cached(INSERT_SUBSCRIPTION).await?;
    let id = new_id();
    let transaction = client.transaction().await?;
    let added_rows = transaction
        .execute(
            &insert_profile,
            &[
                &id,
                db_id,
                &profile.email,
                &profile.first_name,
                &profile.last_name,
                &profile.city,
            ],
        )
        .await?;
    if added_rows == 0 {
        return Ok(email_taken(&profile.email));
    }
    for subscription in &profile.subscriptions {
        transaction
            .execute(
                &insert_subscription,
                &[
                    &id,
                    &subscription.resource_id,
                    &subscription.channel,
                    &subscription.email,
                ],
            )
            .await?;
    }
    transaction.commit().await?;
    Ok(added(&id))
}
