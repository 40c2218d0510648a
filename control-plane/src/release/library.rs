//! Contents by their hash, in the records.
//!
//! A content is written before the release that names it, and never changes; one that no release came to name is
//! harmless. What is larger than a record is cut. Everything is sealed.

use std::{collections::BTreeSet, sync::Arc};

use bytes::Bytes;
use tidegate_contract::release::{Hash, hash_of};

use super::{ReleaseError, vault::Vault};
use crate::store::{Commit, Key, Records};

/// Contents of one control plane.
pub(super) struct Library {
    pub(super) records: Arc<dyn Records>,
    pub(super) vault: Arc<Vault>,
}

impl Library {
    /// Keeps contents durably.
    pub(super) async fn keep(&self, contents: &[(Hash, Bytes)]) -> Result<(), ReleaseError> {
        let (mut puts, mut bytes) = (Vec::new(), 0);
        for (hash, body) in contents {
            for (key, part) in self.parts(hash, body)? {
                if bytes + part.len() > COMMIT_BYTES_MAX || puts.len() >= COMMIT_PARTS_MAX {
                    self.write(std::mem::take(&mut puts)).await?;
                    bytes = 0;
                }
                bytes += part.len();
                puts.push((key, part));
            }
        }
        if puts.is_empty() { Ok(()) } else { self.write(puts).await }
    }

    /// A content.
    pub(super) async fn get(&self, hash: &Hash) -> Result<Bytes, ReleaseError> {
        let name = hex::encode(hash);
        let missing = || ReleaseError::Damaged(format!("content {name} is missing"));
        let mut sealed = Vec::new();
        let mut part = 0;
        loop {
            let record = self.records.get(&part_key(&name, part)?).await?.ok_or_else(missing)?;
            let (&more, body) = record.value.split_first().ok_or_else(missing)?;
            sealed.extend_from_slice(body);
            part += 1;
            if more == LAST {
                break;
            }
        }
        let plain = self.vault.unseal(&name, &sealed)?;
        if hash_of(&plain) == *hash {
            Ok(plain.into())
        } else {
            Err(ReleaseError::Damaged(format!("content {name} has another hash")))
        }
    }

    /// Forgets every content but these; how many records went.
    pub(super) async fn retain(&self, named: &BTreeSet<String>) -> Result<usize, ReleaseError> {
        let listing = self.records.list("content/").await?;
        let is_named = |key: &Key| {
            let name = key.as_str().split('/').nth(1);
            name.is_some_and(|name| named.contains(name))
        };
        let gone: Vec<_> = listing
            .records
            .into_iter()
            .map(|record| record.key)
            .filter(|key| !is_named(key))
            .collect();
        for deletes in gone.chunks(COMMIT_PARTS_MAX) {
            let commit = Commit { deletes: deletes.to_vec(), ..Commit::default() };
            self.records.commit(commit).await?;
        }
        Ok(gone.len())
    }

    fn parts(&self, hash: &Hash, body: &[u8]) -> Result<Vec<(Key, Bytes)>, ReleaseError> {
        let name = hex::encode(hash);
        let sealed = self.vault.seal(&name, body);
        let count = sealed.len().div_ceil(PART_BYTES);
        let part = |(at, part): (usize, &[u8])| {
            let more = if at + 1 == count { LAST } else { MORE };
            Ok((part_key(&name, at)?, Bytes::from([&[more], part].concat())))
        };
        sealed.chunks(PART_BYTES).enumerate().map(part).collect()
    }

    async fn write(&self, puts: Vec<(Key, Bytes)>) -> Result<(), ReleaseError> {
        self.records.commit(Commit { puts, ..Commit::default() }).await?;
        Ok(())
    }
}

fn part_key(name: &str, part: usize) -> Result<Key, ReleaseError> {
    Ok(Key::parse(&format!("content/{name}/{part}"))?)
}

const LAST: u8 = 0;
const MORE: u8 = 1;
/// Below what one record may have.
const PART_BYTES: usize = 512 * 1024;
/// Below what etcd takes in one request.
const COMMIT_BYTES_MAX: usize = 1024 * 1024;
const COMMIT_PARTS_MAX: usize = 50;
