//! Why a release was not made or not found.
//!
//! What a caller can do about it differs by variant; the API gives each its own answer.

use tidegate_contract::{id::Generation, release_compile::CompileError};

use super::{ReleaseKeyError, VaultError};
use crate::{
    change::{ChangeError, SetError},
    store::{CommitError, KeyError, StoreError},
};

/// Why a release was not made or not found.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// The change itself is refused.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// The change-set is past that.
    #[error(transparent)]
    Set(#[from] SetError),
    /// Something refers to what is not there.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// Another release is going out.
    #[error("version {0} is going out: promote it, wait for it or roll it back first")]
    UnderWay(Generation),
    /// No release is going out.
    #[error("no release is going out")]
    NothingUnderWay,
    /// There is no such release, or it is no longer kept.
    #[error("there is no version {0}, or it is no longer kept")]
    NotFound(Generation),
    /// There is no such change-set.
    #[error("there is no change-set {0}")]
    NoChange(String),
    /// Too much lies about.
    #[error("there are {0} change-sets that nobody published or abandoned")]
    TooManyDrafts(usize),
    /// Somebody else was faster, again and again.
    #[error("others publish at the same time; try again")]
    Contended,
    /// A node has a number that is not from here, and too far ahead.
    #[error("the node's version is too far ahead")]
    TooFarAhead,
    /// What is stored is not what was stored.
    #[error("{0}")]
    Damaged(String),
    /// A value does not open.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// There is no key to sign with.
    #[error(transparent)]
    Key(#[from] ReleaseKeyError),
    /// A name that cannot be a key of the records.
    #[error(transparent)]
    Name(#[from] KeyError),
    /// A record that does not read.
    #[error("a record does not read: {0}")]
    Syntax(#[from] serde_json::Error),
    /// A commit was refused.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The store cannot answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}
