//! The producer, and the reader of all that comes back. Both speak to the broker directly and come
//! back whenever it does.

pub mod ledger;
pub mod plan;
pub mod request;
pub mod tenants;
pub mod truth;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions,
    ConfirmSelectOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::load::ledger::{Ledger, Source};
use crate::load::plan::Plan;
use crate::load::request::{ReplyTo, Request};
use crate::raw_amqp::RawClient;

/// Where requests are taken from.
pub const REQUEST_QUEUE: &str = "profiles.add";

/// Nobody is behind this.
pub const GONE: &str = "chaos.gone";

/// Nobody was given this.
pub const FORGED: &str = "amq.rabbitmq.reply-to.x.y";

/// Most messages that wait for the broker's confirm.
const UNCONFIRMED_MAX: usize = 500;

/// Orders that wait for the producer: far more than a step has.
const ORDERS_MAX: usize = 1000;

/// How long the broker may take to answer before the connection is given up.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// The same for a confirm, which a memory alarm holds up.
const CONFIRM_MAX: Duration = Duration::from_secs(20);

/// Between two attempts to connect.
const PAUSE: Duration = Duration::from_millis(100);

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

/// Connects to the first that answers of the servers in a URL.
pub async fn connect(url: &str) -> lapin::Result<Connection> {
    let mut servers = servers(url).peekable();
    loop {
        let server = servers.next().unwrap_or_default();
        let connected = Connection::connect(&server, Default::default()).await;
        if connected.is_ok() || servers.peek().is_none() {
            return connected;
        }
    }
}

/// A URL for each of the servers in one such as `amqp://user:password@one:1,two:2/%2f`. Not by the
/// worker's own code, which is what is tested.
fn servers(url: &str) -> impl Iterator<Item = String> {
    let (before, rest) = url.split_once('@').unwrap_or(("", url));
    let (hosts, after) = rest.split_once('/').unwrap_or((rest, ""));
    hosts
        .split(',')
        .map(move |host| format!("{before}@{host}/{after}"))
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
    client.try_confirmed().await?;
    match client.refused() {
        0 => Ok(()),
        _ => Err("the broker refused it".to_owned()),
    }
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

/// The queue that a request names for its reply.
pub const fn reply_queue(reply_to: ReplyTo) -> Option<&'static str> {
    match reply_to {
        ReplyTo::Steady => Some(Source::Steady.queue()),
        ReplyTo::Fleeting => Some(Source::Fleeting.queue()),
        ReplyTo::Gone => Some(GONE),
        ReplyTo::Forged => Some(FORGED),
        ReplyTo::Nowhere => None,
    }
}

/// Most messages of one queue that are on their way to us.
const PREFETCH: u16 = 500;

/// Reads every queue into the ledger until it is dropped.
pub struct Readers {
    _tasks: JoinSet<()>,
}

impl Readers {
    pub fn start(url: &str, ledger: &Arc<Ledger>) -> Self {
        let mut tasks = JoinSet::new();
        for source in Source::ALL {
            let (url, ledger) = (url.to_owned(), ledger.clone());
            tasks.spawn(async move {
                let mut attempts = interval(PAUSE);
                attempts.set_missed_tick_behavior(MissedTickBehavior::Delay);
                loop {
                    attempts.tick().await;
                    // The broker is away, or the queue is.
                    read(&url, source, &ledger).await.ok();
                }
            });
        }
        Self { _tasks: tasks }
    }
}

/// Reads one queue as long as that works. A message that could not be acknowledged comes again, and
/// counts as said twice.
async fn read(
    url: &str,
    source: Source,
    ledger: &Ledger,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let connection = timeout(ANSWER_MAX, connect(url)).await??;
    let opening = async {
        let channel = connection.create_channel().await?;
        channel
            .basic_qos(PREFETCH, BasicQosOptions::default())
            .await?;
        let options = BasicConsumeOptions::default();
        channel
            .basic_consume(
                source.queue().into(),
                "".into(),
                options,
                FieldTable::default(),
            )
            .await
    };
    let mut messages = timeout(ANSWER_MAX, opening).await??;
    while let Some(message) = messages.next().await {
        let mut last = message?;
        ledger.take(source, &last);
        while let Some(Some(message)) = messages.next().now_or_never() {
            last = message?;
            ledger.take(source, &last);
        }
        timeout(ANSWER_MAX, last.ack(BasicAckOptions { multiple: true })).await??;
    }
    Ok(())
}
