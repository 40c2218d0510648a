//! State on disk: one SQLite database, one writer thread with group commit, a few readers beside it.
//!
//! What is acknowledged has been fsynced: a write returns only after the commit that holds it.

mod open;
pub mod backup;
pub mod etcd;
mod sqlite_log;
mod sqlite_purges;
mod sqlite_lease;
mod sqlite_records;
mod memory_log;
mod tail;
mod secrets;
mod nodes;
mod registry;
mod writer;
mod readers;
mod schema;
mod log;
mod lease;
mod records;
mod error;

use std::{
    fs,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::Path,
    sync::Arc,
    time::Duration,
};

use rusqlite::Connection;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::metrics::Metrics;

pub use error::StoreError;
pub use lease::{Held, Lease};
pub use log::{AppendError, Appended, Entry, Log, NewPurge, Page, Replacement, TrimPolicy};
pub use memory_log::{Backup, MemoryLog};
pub use nodes::{NodeName, NodeRow};
pub use open::{StoreEnd, Stores};
pub use records::{
    AUDIT_FOLDER, COMMIT_BYTES_MAX, COMMIT_ENTRIES_MAX, Commit, CommitError, Expect, KEY_BYTES_MAX,
    Key, KeyError, Listing, Record, Records, Revision, VALUE_BYTES_MAX,
};
pub use registry::Registry;
pub use secrets::{Enrolled, EnrolmentTokenRow};
pub use sqlite_lease::SqliteLease;
pub use sqlite_log::SqliteLog;
pub use sqlite_records::SqliteRecords;
pub use writer::WriterEnd;

/// Settings of the store.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where the state lies: `sqlite:`, a database in the data folder, which one process alone uses; or
    /// `etcd:https://host:2379,https://host:2379`, where replicas share it.
    pub url: String,
    /// The way to etcd.
    pub etcd: etcd::Config,
    /// Writes that may wait for the writer; more are answered 503, so that memory stays bounded.
    pub queue_writes_max: usize,
    /// Writes of one commit: one fsync pays for all of them.
    pub commit_writes_max: usize,
    /// Connections for reads; each costs a file handle and a page cache.
    pub readers_max: usize,
    /// How long a statement waits for another process (an offline command) that writes.
    #[serde(with = "humantime_serde")]
    pub busy_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            url: "sqlite:".to_owned(),
            etcd: etcd::Config::default(),
            queue_writes_max: 4096,
            commit_writes_max: 512,
            readers_max: 4,
            busy_timeout: Duration::from_secs(5),
        }
    }
}

/// The SQLite database. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    writer: writer::Writer,
    readers: Arc<readers::Readers>,
    /// The newest revision of the records; every [`SqliteRecords`] of this database tells it.
    head: Arc<watch::Sender<Revision>>,
}

impl Store {
    /// Opens or creates the database in a folder and starts its writer. The second value ends when the
    /// writer does, which before the store is dropped is a failure.
    ///
    /// # Errors
    /// [`StoreError`] when the folder or the database cannot be used, or a newer program wrote it.
    pub fn open(
        data_dir: &Path,
        config: &Config,
        metrics: Metrics,
    ) -> Result<(Self, WriterEnd), StoreError> {
        make_private_folder(data_dir)?;
        let path = data_dir.join(DATABASE_FILE);
        let connection = connect(&path, config.busy_timeout)?;
        schema::migrate(&connection)?;
        restrict(&path)?;
        let head = Arc::new(watch::Sender::new(sqlite_records::revision(&connection)?));
        let (writer, end) = writer::Writer::start(connection, config, metrics)?;
        let readers = Arc::new(readers::Readers::new(path, config));
        Ok((Self { writer, readers, head }, end))
    }

    async fn read<T, E, F>(&self, work: F) -> Result<T, E>
    where
        F: FnOnce(&Connection) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        self.readers.read(work).await
    }
}

fn connect(path: &Path, busy_timeout: Duration) -> Result<Connection, StoreError> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(busy_timeout)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    // FULL: a commit is on disk before it returns. NORMAL would lose acknowledged purges with the power.
    connection.pragma_update(None, "synchronous", "full")?;
    Ok(connection)
}

/// Makes a folder that only its owner may enter; leaves an existing one as it is.
///
/// # Errors
/// [`StoreError::File`] with the folder's path.
pub(crate) fn make_private_folder(path: &Path) -> Result<(), StoreError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| StoreError::File { path: path.to_owned(), source })
}

fn restrict(path: &Path) -> Result<(), StoreError> {
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))
        .map_err(|source| StoreError::File { path: path.to_owned(), source })
}

pub(crate) const DATABASE_FILE: &str = "control.sqlite";
