//! Publishes requests until the broker has confirmed each of them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::ledger::Ledger;
use super::plan::Plan;
use super::request::Request;
use super::{ANSWER_MAX, PAUSE, REQUEST_QUEUE, connect, reply_queue, servers};
use crate::raw_amqp::RawClient;

/// Most messages that wait for the broker's confirm.
const UNCONFIRMED_MAX: usize = 500;

/// Orders that wait for the producer: far more than a step has.
const ORDERS_MAX: usize = 1000;

/// How long a confirm may take, which a memory alarm holds up.
const CONFIRM_MAX: Duration = Duration::from_secs(20);

/// Requests to publish at some moment.
struct Order {
    at: Instant,
    requests: Vec<usize>,
}

/// Publishes requests until the broker has confirmed each of them.
pub struct Producer {
    orders: mpsc::Sender<Order>,
    _task: JoinSet<()>,
}

impl Producer {
    pub fn start(url: &str, plan: Arc<Plan>, ledger: Arc<Ledger>) -> Self {
        let (orders, ordered) = mpsc::channel(ORDERS_MAX);
        let mut task = JoinSet::new();
        task.spawn(produce(url.to_owned(), plan, ledger, ordered));
        Self {
            orders,
            _task: task,
        }
    }

    pub async fn publish(&self, at: Instant, requests: Vec<usize>) {
        // It takes orders at all times, and ends with us only.
        self.orders.send(Order { at, requests }).await.ok();
    }
}

async fn produce(
    url: String,
    plan: Arc<Plan>,
    ledger: Arc<Ledger>,
    mut orders: mpsc::Receiver<Order>,
) {
    let mut later: Vec<Order> = Vec::new();
    let mut due: VecDeque<usize> = VecDeque::new();
    let mut line: Option<(Connection, Channel)> = None;
    // Counts the connections: what comes late from an earlier one says nothing of this one.
    let mut generation = 0;
    let mut confirms = FuturesUnordered::new();
    loop {
        if line.is_none() && !due.is_empty() {
            generation += 1;
            line = timeout(ANSWER_MAX, open_with_confirms(&url))
                .await
                .ok()
                .and_then(Result::ok);
        }
        if let Some((_, channel)) = &line {
            while confirms.len() < UNCONFIRMED_MAX
                && let Some(request) = due.pop_front()
            {
                ledger.publish(request);
                confirms.push(confirmed(
                    channel.clone(),
                    url.clone(),
                    plan.clone(),
                    request,
                    generation,
                ));
            }
        }
        let next = later.iter().map(|order| order.at).min();
        let wake = if line.is_none() && !due.is_empty() {
            Instant::now() + PAUSE
        } else {
            Instant::now() + ANSWER_MAX
        };
        tokio::select! {
            order = orders.recv() => match order {
                Some(order) => later.push(order),
                None => return,
            },
            () = tokio::time::sleep_until(next.map_or(wake, |next| next.min(wake))) => {
                let now = Instant::now();
                for order in later.extract_if(.., |order| order.at <= now) {
                    due.extend(order.requests);
                }
            }
            Some((request, of, is_confirmed)) = confirms.next(), if !confirms.is_empty() => {
                if is_confirmed {
                    ledger.seen().confirmed.insert(request);
                } else {
                    // It may be there all the same: a producer can't know.
                    ledger.seen().published_again += 1;
                    due.push_back(request);
                    if of == generation {
                        line = None;
                    }
                }
            }
        }
    }
}

async fn open_with_confirms(url: &str) -> lapin::Result<(Connection, Channel)> {
    let connection = connect(url).await?;
    let channel = connection.create_channel().await?;
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await?;
    Ok((connection, channel))
}

async fn confirmed(
    channel: Channel,
    url: String,
    plan: Arc<Plan>,
    request: usize,
    generation: u64,
) -> (usize, u64, bool) {
    if let Some(raw) = &plan.requests[request].raw {
        // Over a connection of its own, whose end says nothing of ours.
        let properties = raw.bytes();
        let publishing = publish_raw(&url, &properties, &plan.requests[request].body);
        let is_confirmed = timeout(CONFIRM_MAX, publishing)
            .await
            .is_ok_and(|published| published.is_ok());
        return (request, 0, is_confirmed);
    }
    let Request { body, .. } = &plan.requests[request];
    let publishing = async {
        let options = BasicPublishOptions {
            mandatory: true,
            ..Default::default()
        };
        let properties = properties(&plan.requests[request]);
        channel
            .basic_publish("".into(), REQUEST_QUEUE.into(), options, body, properties)
            .await?
            .await
    };
    let is_confirmed = match timeout(CONFIRM_MAX, publishing).await {
        Ok(Ok(confirm)) => confirm.is_ack() && confirm.take_message().is_none(),
        _ => false,
    };
    (request, generation, is_confirmed)
}

async fn publish_raw(url: &str, properties: &[u8], body: &[u8]) -> Result<(), String> {
    let mut connected = Err("there is no server".to_owned());
    for server in servers(url) {
        connected = RawClient::try_connect(&server).await;
        if connected.is_ok() {
            break;
        }
    }
    let mut client = connected?;
    let published = client
        .try_publish("", REQUEST_QUEUE.as_bytes(), properties, body)
        .await;
    published.map_err(|error| error.to_string())?;
    client.try_confirmed().await
}

fn properties(request: &Request) -> BasicProperties {
    let mut properties = BasicProperties::default().with_delivery_mode(2);
    if let Some(id) = &request.message_id {
        properties = properties.with_message_id(id.as_str().into());
    }
    if let Some(id) = &request.correlation_id {
        properties = properties.with_correlation_id(id.as_str().into());
    }
    if let Some(queue) = reply_queue(request.reply_to) {
        properties = properties.with_reply_to(queue.into());
    }
    if let Some(content_type) = request.content_type {
        properties = properties.with_content_type(content_type.into());
    }
    if let Some(value) = &request.authorization {
        let mut headers = FieldTable::default();
        headers.insert(
            "authorization".into(),
            AMQPValue::LongString(value.as_str().into()),
        );
        properties = properties.with_headers(headers);
    }
    properties
}
