//! The face of the records: small values under keys, changed together or not at all.
//!
//! Everything of the control plane but the purge log lies in records, so that one engine has to do little: keep
//! bytes, compare revisions, commit a handful of writes in one step. A revision names one state of all records;
//! revisions only grow, and a change of another replica raises the head here as well.

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::watch;

use super::error::StoreError;

/// The longest key, in bytes.
pub const KEY_BYTES_MAX: usize = 512;
/// The largest value, in bytes. etcd takes 1.5 MiB in one request; what is larger is cut by its owner.
pub const VALUE_BYTES_MAX: usize = 1024 * 1024;
/// The most bytes of keys and values in one commit: with what surrounds them they fit into one request of etcd.
pub const COMMIT_BYTES_MAX: usize = 1_400_000;
/// The most expectations, and the most writes, of one commit. etcd's default is 128 operations.
pub const COMMIT_ENTRIES_MAX: usize = 100;

/// Names one state of all records; 0 before the first commit.
pub type Revision = u64;

/// The name of a record: a kind, a slash, and names that are parted by slashes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(String);

/// Not a key: empty, too long, or a byte that keys do not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a key has 1 to {KEY_BYTES_MAX} visible ASCII bytes without quotes and backslashes, not {0:?}"
)]
pub struct KeyError(String);

impl Key {
    /// Checks a key.
    ///
    /// # Errors
    /// [`KeyError`]
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let is_good = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\'' | b'\\');
        if text.is_empty() || text.len() > KEY_BYTES_MAX || !text.bytes().all(is_good) {
            return Err(KeyError(text.chars().take(64).collect()));
        }
        Ok(Self(text.to_owned()))
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A value as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its key.
    pub key: Key,
    /// What its owner wrote.
    pub value: Bytes,
    /// The commit that wrote it.
    pub revision: Revision,
}

/// Records that belong to one state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// In the order of their keys.
    pub records: Vec<Record>,
    /// The state's name.
    pub revision: Revision,
}

/// What must be true of a record for a commit to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// It is not there.
    Absent,
    /// Its last change was this one.
    At(Revision),
}

/// Writes that happen together, or not at all.
#[derive(Debug, Clone, Default)]
pub struct Commit {
    /// What must be true; at most [`COMMIT_ENTRIES_MAX`].
    pub expect: Vec<(Key, Expect)>,
    /// What is written; with `deletes` at most [`COMMIT_ENTRIES_MAX`], each key once.
    pub puts: Vec<(Key, Bytes)>,
    /// What is removed; that it is not there is no error.
    pub deletes: Vec<Key>,
}

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Somebody else changed a record in between.
    #[error("{key} was changed in between")]
    Conflict {
        /// Which.
        key: Key,
        /// Its last change; `None` when it is not there.
        found: Option<Revision>,
    },
    /// More or larger than one commit takes.
    #[error("a commit has at most {COMMIT_ENTRIES_MAX} writes of {VALUE_BYTES_MAX} bytes: {0}")]
    TooLarge(&'static str),
    /// The store cannot answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Commit {
    /// Whether it raises the head: all that writes more than rows of the audit log. Those come with every call, and nobody
    /// follows the records for them; a fleet's lanes would look at their orders a thousand times a second for nothing.
    #[must_use]
    pub fn is_followed(&self) -> bool {
        let keys = self.puts.iter().map(|(key, _)| key).chain(&self.deletes);
        keys.into_iter().any(|key| !key.as_str().starts_with(AUDIT_FOLDER))
    }

    /// Checks the limits, which hold on every engine.
    ///
    /// # Errors
    /// [`CommitError::TooLarge`]
    pub fn check(&self) -> Result<(), CommitError> {
        if self.expect.len() > COMMIT_ENTRIES_MAX {
            return Err(CommitError::TooLarge("too many expectations"));
        }
        if self.puts.len() + self.deletes.len() > COMMIT_ENTRIES_MAX {
            return Err(CommitError::TooLarge("too many writes"));
        }
        if self.puts.iter().any(|(_, value)| value.len() > VALUE_BYTES_MAX) {
            return Err(CommitError::TooLarge("too large a value"));
        }
        let puts = self.puts.iter().map(|(key, value)| key.0.len() + value.len());
        let deletes = self.deletes.iter().map(|key| key.0.len());
        if puts.chain(deletes).sum::<usize>() > COMMIT_BYTES_MAX {
            return Err(CommitError::TooLarge("too many bytes together"));
        }
        Ok(())
    }
}

/// The records of one control plane.
#[async_trait]
pub trait Records: Send + Sync {
    /// The newest revision, now and on every commit that [is followed](Commit::is_followed), whoever makes it.
    fn head(&self) -> watch::Receiver<Revision>;

    /// One record.
    async fn get(&self, key: &Key) -> Result<Option<Record>, StoreError>;

    /// All records whose keys begin with a text, of one state.
    async fn list(&self, prefix: &str) -> Result<Listing, StoreError>;

    /// Writes. Durable before it returns; a commit without writes raises nothing and returns the head.
    async fn commit(&self, commit: Commit) -> Result<Revision, CommitError>;
}

/// Where the audit log has its rows.
pub const AUDIT_FOLDER: &str = "audit/";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_plain_and_bounded() {
        for good in ["pop/ams-1", "property/demo", "node/ams-1/a", "release/00000007", "a:b@c*"] {
            assert_eq!(Key::parse(good).expect(good).as_str(), good);
        }
        let long = "k".repeat(KEY_BYTES_MAX + 1);
        for bad in ["", "a b", "a\nb", "é", "a'b", "a\\b", "a\"b", long.as_str()] {
            assert!(Key::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_commit_that_no_engine_would_take_is_refused_before_any_sees_it() {
        let key = |number: usize| Key::parse(&format!("k/{number}")).expect("good");
        let many = (0..=COMMIT_ENTRIES_MAX).map(key);
        let puts = many.clone().map(|key| (key, Bytes::new())).collect();
        let expect = many.clone().map(|key| (key, Expect::Absent)).collect();
        let large = vec![(key(1), Bytes::from(vec![0; VALUE_BYTES_MAX + 1]))];
        let half = Bytes::from(vec![0; COMMIT_BYTES_MAX / 2]);
        let together = vec![(key(1), half.clone()), (key(2), half)];
        let commits = [
            Commit { puts: together, ..Commit::default() },
            Commit { puts, ..Commit::default() },
            Commit { expect, ..Commit::default() },
            Commit { deletes: many.collect(), ..Commit::default() },
            Commit { puts: large, ..Commit::default() },
        ];
        for commit in commits {
            assert!(matches!(commit.check(), Err(CommitError::TooLarge(_))));
        }
    }
}
