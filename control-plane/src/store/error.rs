//! Why the store cannot answer.
//!
//! None of these is the caller's fault: the API answers all of them with 5xx, and only [`StoreError::Full`] is
//! worth an immediate retry.

use std::{io, path::PathBuf};

/// Why the store cannot answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// More writes wait than allowed.
    #[error("the store's queue is full")]
    Full,
    /// The writer has ended; the process is about to.
    #[error("the store's writer has ended")]
    Closed,
    /// The commit that held the write failed; nothing of it was kept.
    #[error("commit failed: {0}")]
    Commit(String),
    /// SQLite refused a statement.
    #[error("database: {0}")]
    Database(#[from] rusqlite::Error),
    /// etcd refused a call, or no member answered in time.
    #[error("etcd: {0}")]
    Etcd(String),
    /// An address of the store cannot be used.
    #[error("{address:?} is no address of a store: {detail}")]
    Address {
        /// What was given.
        address: String,
        /// Why not.
        detail: String,
    },
    /// A stored value does not have its type's form.
    #[error("stored {what} is damaged: {detail}")]
    Damaged {
        /// Which value.
        what: &'static str,
        /// What its reader says.
        detail: String,
    },
    /// A newer program wrote the database.
    #[error("the database has schema {found}, this program knows {known}")]
    Newer {
        /// The database's schema version.
        found: i64,
        /// The newest known.
        known: i64,
    },
    /// A file or folder cannot be used.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl StoreError {
    /// A stored value that its reader refuses.
    pub(crate) fn damaged(what: &'static str, detail: impl ToString) -> Self {
        Self::Damaged { what, detail: detail.to_string() }
    }
}
