//! What an operator does to the broker: policies, rights, limits, a queue that stands still. All of
//! it through `rabbitmqctl`.

use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

/// How long one command may take: an Erlang machine of its own is started for it.
const COMMAND_MAX: Duration = Duration::from_secs(120);

/// How `rabbitmqctl` is run.
#[derive(Debug, Clone)]
pub struct Operator(Vec<String>);

impl Operator {
    /// Of a command in words, such as `docker exec rabbit rabbitmqctl`.
    pub fn new(command: &str) -> Option<Self> {
        let words: Vec<_> = command.split_whitespace().map(str::to_owned).collect();
        (!words.is_empty()).then_some(Self(words))
    }

    async fn tell(&self, arguments: &[&str]) -> Result<String, String> {
        let mut command = Command::new(&self.0[0]);
        command
            .args(&self.0[1..])
            .args(arguments)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let output = timeout(COMMAND_MAX, command.output()).await;
        let output = output
            .map_err(|_| format!("rabbitmqctl {arguments:?} takes more than {COMMAND_MAX:?}"))?;
        let output = output.map_err(|error| format!("rabbitmqctl can't be run: {error}"))?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            let words = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(format!("rabbitmqctl {arguments:?} fails: {said}{words}"));
        }
        Ok(said)
    }

    /// The broker's version.
    pub async fn version(&self) -> Result<String, String> {
        let said = self.tell(&["eval", "rabbit_misc:version()."]).await?;
        Ok(said.trim().trim_matches('"').to_owned())
    }

    /// A policy by which a queue holds one message and refuses all others. It has the queue's name.
    pub async fn fill(&self, queue: &str) -> Result<(), String> {
        let pattern = format!("^{}$", queue.replace('.', "[.]"));
        let definition = r#"{"max-length":1,"overflow":"reject-publish"}"#;
        self.tell(&[
            "set_policy",
            queue,
            &pattern,
            definition,
            "--apply-to",
            "queues",
        ])
        .await
        .map(drop)
    }

    pub async fn make_room(&self, queue: &str) -> Result<(), String> {
        self.tell(&["clear_policy", queue]).await.map(drop)
    }

    /// A classic queue whose process stands still: it neither confirms nor refuses, as a quorum
    /// queue without its majority.
    pub async fn suspend(&self, queue: &str) -> Result<(), String> {
        self.on_process(queue, "suspend").await
    }

    pub async fn resume(&self, queue: &str) -> Result<(), String> {
        self.on_process(queue, "resume").await
    }

    async fn on_process(&self, queue: &str, what: &str) -> Result<(), String> {
        let code = format!(
            r#"{{ok,Q}}=rabbit_amqqueue:lookup(rabbit_misc:r(<<"/">>,queue,<<"{queue}">>)), sys:{what}(amqqueue:get_pid(Q))."#
        );
        self.tell(&["eval", &code]).await.map(drop)
    }

    /// The largest body that the broker takes; the one before.
    pub async fn set_max_message_size(&self, bytes: u64) -> Result<u64, String> {
        // RabbitMQ remembers it besides, to read it faster.
        let code = format!(
            "{{ok,B}}=application:get_env(rabbit,max_message_size), application:set_env(rabbit,max_message_size,{bytes}), \
             persistent_term:put(max_message_size,{bytes}), B."
        );
        let said = self.tell(&["eval", &code]).await?;
        said.trim()
            .parse()
            .map_err(|_| format!("max_message_size is {said}"))
    }

    /// How many connections there may be at most; those that are there stay. Any number with -1.
    pub async fn limit_connections(&self, most: i64) -> Result<(), String> {
        let definition = format!(r#"{{"max-connections":{most}}}"#);
        self.tell(&["set_vhost_limits", &definition])
            .await
            .map(drop)
    }

    /// A message as RabbitMQ 3.x keeps it for an AMQP 1.0 client whose ids are numbers: delivered
    /// by AMQP 0-9-1, its properties can't be encoded, and the broker ends the connection.
    pub async fn publish_what_can_not_be_delivered(&self, queue: &str) -> Result<(), String> {
        let properties = "{'P_basic',undefined,undefined,[],2,undefined,12345,undefined,undefined,777,undefined,\
                          undefined,undefined,undefined,undefined}";
        let exchange = r#"rabbit_misc:r(<<"/">>,exchange,<<>>)"#;
        let code = format!(
            r#"ok = rabbit_basic:publish({exchange}, <<"{queue}">>, {properties}, <<"{{}}">>)."#
        );
        self.tell(&["eval", &code]).await.map(drop)
    }

    /// A user that may do nothing yet.
    pub async fn make_user(&self, name: &str, password: &str) -> Result<(), String> {
        self.tell(&["add_user", name, password]).await.map(drop)
    }

    /// What a user may write to, by a pattern for exchanges.
    pub async fn let_write(&self, user: &str, pattern: &str) -> Result<(), String> {
        self.tell(&["set_permissions", user, ".*", pattern, ".*"])
            .await
            .map(drop)
    }

    /// What a user may configure, write to and read from.
    pub async fn set_permissions(
        &self,
        user: &str,
        configure: &str,
        write: &str,
        read: &str,
    ) -> Result<(), String> {
        self.tell(&["set_permissions", user, configure, write, read])
            .await
            .map(drop)
    }

    /// Ends what a user has open: a channel remembers what it was allowed once.
    pub async fn close_connections(&self, user: &str) -> Result<(), String> {
        self.tell(&["close_all_user_connections", user, "rights have changed"])
            .await
            .map(drop)
    }

    /// Which routing keys a user may write to a topic exchange.
    pub async fn let_write_topic(
        &self,
        user: &str,
        exchange: &str,
        pattern: &str,
    ) -> Result<(), String> {
        self.tell(&["set_topic_permissions", user, exchange, pattern, ".*"])
            .await
            .map(drop)
    }

    pub async fn remove_user(&self, name: &str) -> Result<(), String> {
        self.tell(&["delete_user", name]).await.map(drop)
    }
}
