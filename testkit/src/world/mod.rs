//! What one test works with: a PostgreSQL database, queue names, a token, all of its own.

pub mod queues;
mod removal;

use std::sync::atomic::{AtomicU32, Ordering};

use profile_worker::domain::channel::Channel;
use profile_worker::domain::token::{Scope, Secret};
use profile_worker::store::migrate;
use profile_worker::store::pool::Store;
use profile_worker::store::url::DatabaseUrl;
use tokio_postgres::NoTls;

use crate::client::Client;
use crate::servers::Servers;
use crate::worker::Worker;

/// Database 1 with resource 1 (every channel) and 2 (email only), and a token for database 1.
pub struct World {
    pub servers: Servers,
    pub database_url: String,
    /// Begins the names of this test's queues and of its exchange.
    pub name: String,
    pub token: String,
    pub store: Store,
}

static COUNT: AtomicU32 = AtomicU32::new(0);

impl World {
    pub async fn new() -> Self {
        Self::on(Servers::shared()).await
    }

    pub async fn on(servers: Servers) -> Self {
        Self::with(servers, "").await
    }

    /// One whose PostgreSQL database is made with these options.
    pub async fn with(servers: Servers, options: &str) -> Self {
        let name = format!(
            "pw_test_{}_{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let admin = connect(&servers.database_url).await;
        admin
            .batch_execute(&format!("CREATE DATABASE {name} {options}"))
            .await
            .expect("a new database");
        let database_url = with_database(&servers.database_url, &name);
        let store =
            Store::new(&DatabaseUrl::parse(&database_url).expect("a URL"), 2).expect("a pool");
        migrate::run(&store, || {}).await.expect("the schema");
        let mut world = Self {
            servers,
            database_url,
            name,
            token: String::new(),
            store,
        };
        world.make_first_database().await;
        world
    }

    async fn make_first_database(&mut self) {
        let db_id = self
            .store
            .create_database("one", false)
            .await
            .expect("a database");
        assert_eq!(db_id, 1);
        self.store
            .create_resource(1, &Channel::ALL, "all")
            .await
            .expect("a resource");
        self.store
            .create_resource(1, &[Channel::Email], "mail")
            .await
            .expect("a resource");
        self.token = self.new_token(&Scope::Databases(vec![1])).await.1;
    }

    /// Gives it the schema from before emails had hashes, with the same database, resources and
    /// another token.
    pub async fn make_older(&mut self) {
        let files = [
            (
                "create_schema",
                include_str!("../../../migrations/0001_create_schema.sql"),
            ),
            (
                "define_fields",
                include_str!("../../../migrations/0002_define_fields.sql"),
            ),
            (
                "keep_suspects",
                include_str!("../../../migrations/0003_keep_suspects.sql"),
            ),
        ];
        self.execute(
            "DROP SCHEMA public CASCADE; CREATE SCHEMA public;
             CREATE TABLE schema_migrations (number integer PRIMARY KEY, name text NOT NULL, checksum bytea NOT NULL,
                                             run_at timestamptz NOT NULL DEFAULT now())",
        )
        .await;
        for (number, (name, sql)) in (1..).zip(files) {
            self.execute(sql).await;
            let note = "INSERT INTO schema_migrations (number, name, checksum) VALUES ($1, $2, sha256(convert_to($3, 'UTF8')))";
            let number: i32 = number;
            connect(&self.database_url)
                .await
                .execute(note, &[&number, &name, &sql])
                .await
                .expect("noted");
        }
        self.make_first_database().await;
    }

    /// The id and the secret of a new token.
    pub async fn new_token(&self, scope: &Scope) -> (i64, String) {
        let mut random = [0; 32];
        getrandom::fill(&mut random).expect("random bytes");
        let secret = Secret::from_random(random);
        let id = self
            .store
            .create_token(secret.hash(), scope, None, "test")
            .await
            .expect("a token");
        (id, secret.reveal().to_owned())
    }

    pub fn request_queue(&self) -> String {
        format!("{}.add", self.name)
    }

    pub fn result_queue(&self) -> String {
        format!("{}.results", self.name)
    }

    pub fn dead_letter_queue(&self) -> String {
        format!("{}.dead", self.name)
    }

    /// For a producer that has a durable queue of its own.
    pub fn reply_queue(&self) -> String {
        format!("{}.replies", self.name)
    }

    pub fn event_exchange(&self) -> String {
        format!("{}.events", self.name)
    }

    /// The settings of a worker of this world.
    pub fn settings(&self) -> Vec<(&'static str, String)> {
        vec![
            ("AMQP_URL", self.servers.amqp_url.clone()),
            ("DATABASE_URL", self.database_url.clone()),
            ("REQUEST_QUEUE", self.request_queue()),
            ("RESULT_QUEUE", self.result_queue()),
            ("DEAD_LETTER_QUEUE", self.dead_letter_queue()),
            ("EVENT_EXCHANGE", self.event_exchange()),
            // Many workers run side by side.
            ("ADMIN_ADDR", "127.0.0.1:0".to_owned()),
        ]
    }

    /// A running worker that takes requests.
    pub async fn worker(&self) -> Worker {
        self.worker_with(&[]).await
    }

    /// The same, with some settings of its own.
    pub async fn worker_with(&self, settings: &[(&'static str, &str)]) -> Worker {
        let mut worker = self.start_worker(settings);
        worker.until_said("taking requests").await;
        worker
    }

    /// A worker that may not have begun yet.
    pub fn start_worker(&self, settings: &[(&'static str, &str)]) -> Worker {
        let mut all = self.settings();
        all.extend(
            settings
                .iter()
                .map(|(name, value)| (*name, (*value).to_owned())),
        );
        Worker::start(&all)
    }

    pub async fn client(&self) -> Client {
        Client::connect(self).await
    }

    /// A request body of the token of this world.
    pub fn request(&self, rest: &str) -> String {
        format!(
            r#"{{"token":"{}","db_id":1{}{rest}}}"#,
            self.token,
            if rest.is_empty() { "" } else { "," }
        )
    }

    /// Makes PostgreSQL refuse profiles whose email begins with "poison". The trigger stands for
    /// whatever may be the reason.
    pub async fn refuse_poison(&self) {
        self.execute(
            "CREATE FUNCTION no_poison() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN
                 IF NEW.email LIKE 'poison%' THEN RAISE EXCEPTION 'poison: %', NEW.email; END IF;
                 RETURN NEW;
             END $$;
             CREATE TRIGGER no_poison BEFORE INSERT ON profiles FOR EACH ROW EXECUTE FUNCTION no_poison()",
        )
        .await;
    }

    /// The first column of each row.
    pub async fn texts(&self, sql: &str) -> Vec<String> {
        let rows = connect(&self.database_url)
            .await
            .query(sql, &[])
            .await
            .expect("rows");
        rows.iter().map(|row| row.get(0)).collect()
    }

    pub async fn number(&self, sql: &str) -> i64 {
        connect(&self.database_url)
            .await
            .query_one(sql, &[])
            .await
            .expect("a row")
            .get(0)
    }

    pub async fn execute(&self, sql: &str) {
        connect(&self.database_url)
            .await
            .batch_execute(sql)
            .await
            .expect("a statement");
    }
}

/// A connection to PostgreSQL for a test's own questions.
pub async fn connect(url: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls)
        .await
        .expect("PostgreSQL answers");
    #[expect(clippy::disallowed_methods, reason = "ends with the client")]
    tokio::spawn(connection);
    client
}

/// The URL of another database of the same server.
fn with_database(url: &str, name: &str) -> String {
    let mut url = url::Url::parse(url).expect("a URL");
    url.set_path(name);
    url.into()
}
