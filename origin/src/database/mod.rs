//! The relational store: one pool to read, one connection to write.
//!
//! All queries are portable SQL with `?` in place of values, so that the same code will speak MySQL; what is
//! special to SQLite stands in this file alone. **Invariant.** A committed transaction is on disk (WAL with
//! `synchronous=FULL`) before the caller hears of it.

use std::{path::Path, str::FromStr, time::Duration};

use sqlx::{
    Pool, Sqlite, Transaction,
    migrate::Migrator,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

/// The engine; the one place that names it for queries.
pub type Engine = Sqlite;
/// A row that was read.
pub type EngineRow = sqlx::sqlite::SqliteRow;
/// A transaction that writes.
pub type Write = Transaction<'static, Engine>;

/// Handle to the database; clones share the pools.
#[derive(Debug, Clone)]
pub struct Database {
    read: Pool<Engine>,
    write: Pool<Engine>,
}

/// Why the database could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Not a URL of an engine that is built in.
    #[error("a database URL begins with sqlite: and names a file, this one does not: {0:?}")]
    Url(String),
    /// The folder of the file cannot be made.
    #[error("cannot make the folder of the database: {0}")]
    Folder(#[from] std::io::Error),
    /// The engine refuses.
    #[error("cannot open the database: {0}")]
    Engine(#[from] sqlx::Error),
    /// The schema cannot be brought up to date.
    #[error("cannot migrate the database: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
}

impl Database {
    /// Opens the database of a URL and brings its schema up to date.
    ///
    /// # Errors
    /// [`OpenError`] says at which step.
    pub async fn open(url: &str) -> Result<Self, OpenError> {
        let options = options(url)?;
        if let Some(folder) = options.get_filename().parent().filter(|f| *f != Path::new("")) {
            std::fs::create_dir_all(folder)?;
        }
        let pool = |connections| {
            SqlitePoolOptions::new().max_connections(connections).acquire_timeout(ACQUIRE_TIMEOUT)
        };
        let write = pool(1).connect_with(options.clone()).await?;
        MIGRATIONS.run(&write).await?;
        let read = pool(READ_CONNECTIONS_MAX).connect_with(options).await?;
        Ok(Self { read, write })
    }

    /// To read what is committed.
    #[must_use]
    pub fn read(&self) -> &Pool<Engine> {
        &self.read
    }

    /// To write one statement.
    #[must_use]
    pub fn write(&self) -> &Pool<Engine> {
        &self.write
    }

    /// To write several statements or none. SQLite has one writer, so its transactions wait here in line.
    ///
    /// # Errors
    /// When no connection is free in time, or the engine refuses.
    pub async fn begin(&self) -> sqlx::Result<Write> {
        self.write.begin().await
    }

    /// Closes all connections, which also folds the write-ahead log into the file.
    pub async fn close(&self) {
        self.read.close().await;
        self.write.close().await;
    }
}

/// Whether a URL names a database that can be opened.
#[must_use]
pub fn is_url(url: &str) -> bool {
    options(url).is_ok()
}

fn options(url: &str) -> Result<SqliteConnectOptions, OpenError> {
    let bad = || OpenError::Url(url.to_owned());
    let file = url.strip_prefix("sqlite:").ok_or_else(bad)?;
    if file.trim_start_matches('/').is_empty() || file.contains(['?', ':']) {
        return Err(bad());
    }
    Ok(SqliteConnectOptions::from_str("sqlite:")?
        .filename(file.strip_prefix("//").unwrap_or(file))
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(false)
        .busy_timeout(BUSY_TIMEOUT))
}

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");
const READ_CONNECTIONS_MAX: u32 = 8;
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_file_of_a_known_engine_is_a_database() {
        for good in ["sqlite:a.db", "sqlite:/var/a.db", "sqlite:///var/a.db"] {
            assert!(is_url(good), "{good}");
        }
        for bad in
            ["", "sqlite:", "sqlite://", "mysql://h/db", "sqlite::memory:", "sqlite:a?mode=ro"]
        {
            assert!(!is_url(bad), "{bad}");
        }
    }
}
