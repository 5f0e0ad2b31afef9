//! The directory of tokens, databases and resources: loaded as a whole, kept fresh by
//! notifications and, where those do not get through, by a timer.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::TryStreamExt;
use jiff::Timestamp;
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;
use tokio_postgres::AsyncMessage;

use super::error::StoreError;
use super::lease::Lease;
use super::limits::within;
use super::pool::Store;
use super::time::timestamp;
use crate::domain::channel::{Channel, Channels};
use crate::domain::custom_field::FieldType;
use crate::domain::directory::Directory;
use crate::domain::token::{Scope, Token, TokenHash};

/// How often the version is compared if nothing is announced.
const CHECK_EVERY: Duration = Duration::from_secs(2);

/// How old a picture may be that requests are judged by. What was revoked stops within this time
/// and the time of one check: five seconds is what we promise.
const AGE_MAX: Duration = Duration::from_secs(4);

/// Raised by the triggers of the schema on every change.
const NOTIFICATIONS: &str = "profile_worker_directory";

/// The directory as it is now. Cheap to clone; all clones see the same.
#[derive(Debug, Clone)]
pub struct DirectoryKeeper {
    store: Store,
    current: watch::Sender<Picture>,
    /// One check at a time is enough for all lanes.
    checking: Arc<Mutex<()>>,
    /// Why the last check failed, if it did.
    failure: watch::Sender<Option<Arc<str>>>,
}

/// What the worker knows of who may do what, in numbers.
#[derive(Debug, Clone, Copy)]
pub struct DirectoryState {
    /// Time since it was known to be true.
    pub age: Duration,
    /// API tokens, revoked ones included.
    pub tokens: usize,
    /// Databases.
    pub databases: usize,
    /// Resources.
    pub resources: usize,
    /// Custom fields that are defined.
    pub fields: usize,
}

#[derive(Debug, Clone)]
struct Picture {
    directory: Arc<Directory>,
    /// The directory was true at this moment.
    checked_at: Instant,
}

impl DirectoryKeeper {
    /// Loads the directory.
    pub async fn load(store: &Store) -> Result<Self, StoreError> {
        let checked_at = Instant::now();
        let directory = store.explained(load_all(store).await).await?;
        let (current, _) = watch::channel(Picture {
            directory,
            checked_at,
        });
        Ok(Self {
            store: store.clone(),
            current,
            checking: Arc::default(),
            failure: watch::Sender::default(),
        })
    }

    /// What it holds, and how old it is.
    pub fn state(&self) -> DirectoryState {
        let Picture {
            directory,
            checked_at,
        } = self.current.borrow().clone();
        DirectoryState {
            age: checked_at.elapsed(),
            tokens: directory.tokens.len(),
            databases: directory.databases.len(),
            resources: directory.resources.len(),
            fields: directory
                .databases
                .values()
                .map(|database| database.fields.len())
                .sum(),
        }
    }

    /// Why the last comparison with the database failed; `None` if it did not.
    pub fn failure(&self) -> Option<Arc<str>> {
        self.failure.borrow().clone()
    }

    /// A directory that was true a moment ago, at most a few seconds old.
    pub async fn recent(&self) -> Result<Arc<Directory>, StoreError> {
        let picture = self.current.borrow().clone();
        if picture.checked_at.elapsed() < AGE_MAX {
            return Ok(picture.directory);
        }
        self.true_since(picture.checked_at + AGE_MAX).await
    }

    /// A directory that was true at `moment` or later.
    pub async fn true_since(&self, moment: Instant) -> Result<Arc<Directory>, StoreError> {
        let _one_at_a_time = self.checking.lock().await;
        let picture = self.current.borrow().clone();
        if picture.checked_at >= moment {
            return Ok(picture.directory);
        }
        let checked_at = Instant::now();
        let newer = load_if_newer(&self.store, picture.directory.version).await;
        let directory = self
            .store
            .explained(newer)
            .await?
            .unwrap_or(picture.directory);
        self.current.send_replace(Picture {
            directory: directory.clone(),
            checked_at,
        });
        self.failure.send_replace(None);
        Ok(directory)
    }

    /// Keeps the directory fresh, until dropped. Faults of the database are waited out: whoever
    /// needs a recent directory meanwhile gets the error from [`Self::recent`].
    pub async fn run(self) {
        loop {
            if let Err(error) = self.listen().await {
                tracing::debug!(%error, "not listening for changes of the directory");
                // What ended here may be no primary any more, and others may be connected to it,
                // too.
                self.store.forget_idle();
            }
            // Perhaps there is no connection to listen on, but one of the pool.
            if let Err(error) = self.true_since(Instant::now()).await {
                tracing::debug!(%error, "the directory can't be compared");
                self.failure.send_replace(Some(error.to_string().into()));
            }
            tokio::time::sleep(CHECK_EVERY).await;
        }
    }

    /// Listens on a connection of its own, outside the pool, until it is lost.
    async fn listen(&self) -> Result<(), StoreError> {
        let (client, mut connection) = self.store.servers().connect().await?;
        // The connection does its work only while it is polled, the answer to LISTEN included.
        let (announce, mut announced) = watch::channel(());
        let drive = async {
            while let Some(message) = poll_fn(|cx| connection.poll_message(cx)).await {
                if let AsyncMessage::Notification(_) = message? {
                    announce.send_replace(());
                }
            }
            Ok::<(), StoreError>(())
        };
        let refresh = async {
            within(
                "listen",
                client.batch_execute(&format!("LISTEN {NOTIFICATIONS}")),
            )
            .await?;
            loop {
                self.true_since(Instant::now()).await?;
                // Either way it is time to look.
                let _announced_or_not =
                    tokio::time::timeout(CHECK_EVERY, announced.changed()).await;
                if self.store.url().needs_read_write() {
                    still_takes_writes(&client).await?;
                }
            }
        };
        tokio::select! {
            ended = drive => ended,
            failed = refresh => failed,
        }
    }
}

/// A server may be made read-only without a connection being lost, when another one takes its
/// place. It would announce nothing any more, and what it says would grow old.
async fn still_takes_writes(client: &tokio_postgres::Client) -> Result<(), StoreError> {
    let row = within(
        "read-only",
        client.query_one("SHOW transaction_read_only", &[]),
    )
    .await?;
    match row.get(0) {
        "off" => Ok(()),
        _ => Err(StoreError::Unavailable(
            "the server takes no writes any more".to_owned(),
        )),
    }
}

/// The directory, if it is not of this version.
async fn load_if_newer(store: &Store, known: i64) -> Result<Option<Arc<Directory>>, StoreError> {
    let lease = store.lease().await?;
    if version(&lease).await? == known {
        lease.give_back();
        return Ok(None);
    }
    let newer = load(&lease).await?;
    lease.give_back();
    // To contract the schema raises the version, too.
    store.look_at_uniqueness().await?;
    Ok(Some(Arc::new(newer)))
}

async fn load_all(store: &Store) -> Result<Arc<Directory>, StoreError> {
    let lease = store.lease().await?;
    let directory = load(&lease).await?;
    lease.give_back();
    Ok(Arc::new(directory))
}

async fn version(lease: &Lease) -> Result<i64, StoreError> {
    let statement = lease
        .prepare("SELECT version FROM directory_version")
        .await?;
    Ok(lease
        .query_one("directory version", &statement, &[])
        .await?
        .get(0))
}

/// One statement, so that all of it is true at one moment.
const LOAD: &str = "
SELECT 'version', version, NULL::bigint, NULL::bytea, NULL::boolean, NULL::bigint[], NULL::timestamptz, NULL::boolean, NULL::text[],
       NULL::text, NULL::text
FROM directory_version
UNION ALL
SELECT 'database', id, NULL, NULL, NULL, NULL, NULL, strict, NULL, NULL, NULL FROM databases
UNION ALL
SELECT 'field', db_id, NULL, NULL, NULL, NULL, NULL, NULL, NULL, name, type FROM fields
UNION ALL
SELECT 'resource', id, db_id, NULL, NULL, NULL, NULL, NULL, channels, NULL, NULL FROM resources
UNION ALL
SELECT 'token', id, NULL, token_hash, all_databases,
       ARRAY(SELECT d.db_id FROM api_token_databases d WHERE d.token_id = id ORDER BY d.db_id),
       expires_at, revoked_at IS NOT NULL, NULL, NULL, NULL
FROM api_tokens";

async fn load(lease: &Lease) -> Result<Directory, StoreError> {
    let statement = lease.prepare(LOAD).await?;
    // Row by row: all of them at once would be several times what is kept of them.
    let rows = lease
        .rows("directory", &statement, std::iter::empty::<i64>())
        .await?;
    let mut rows = std::pin::pin!(rows);
    let mut directory = Directory::default();
    while let Some(row) = within("directory", rows.try_next()).await? {
        let kind: &str = row.get(0);
        let number: i64 = row.get(1);
        match kind {
            "version" => directory.version = number,
            "database" => {
                directory.databases.entry(number).or_default().is_strict = row.get(7);
            }
            "field" => {
                // A type that this version does not know: the field is not checked.
                if let Some(field_type) = FieldType::parse(row.get(10)) {
                    let database = directory.databases.entry(number).or_default();
                    database.fields.insert(row.get(9), field_type);
                }
            }
            "resource" => {
                let names: Vec<&str> = row.get(8);
                let channels: Channels = names.into_iter().filter_map(Channel::parse).collect();
                directory.resources.insert((row.get(2), number), channels);
            }
            _ => {
                directory.tokens.extend(token(&row));
            }
        }
    }
    Ok(directory)
}

fn token(row: &tokio_postgres::Row) -> Option<(TokenHash, Token)> {
    let hash = <[u8; 32]>::try_from(row.get::<_, &[u8]>(3)).ok()?;
    let scope = if row.get(4) {
        Scope::AllDatabases
    } else {
        Scope::Databases(row.get(5))
    };
    let expires_at: Option<SystemTime> = row.get(6);
    // A moment that is out of the calendar's range is taken for the past: it opens nothing.
    let expires_at = expires_at.map(|end| timestamp(end).unwrap_or(Timestamp::UNIX_EPOCH));
    let token = Token {
        scope,
        expires_at,
        revoked: row.get(7),
    };
    Some((TokenHash(hash), token))
}
