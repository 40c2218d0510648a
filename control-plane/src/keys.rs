//! The key files of a control plane: the authority's, the release key, the key that seals values.
//!
//! They never lie in a shared store, where every reader of a backup would have them: whoever sets a replica up copies
//! them into its data folder. What lies in the store is only a mark of the authority, so that a replica without the keys,
//! or with those of another control plane, does not begin to sign under a second name.

use std::path::Path;

use anyhow::{Context, bail, ensure};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::store::{Commit, CommitError, Expect, Key, Stores};

/// Whose state this is, under `authority`.
#[derive(Serialize, Deserialize)]
struct Mark {
    /// SHA-256 of the authority's certificate as PEM.
    ca_sha256: String,
}

/// Refuses to begin where keys would be made anew although the shared state is somebody's already.
///
/// # Errors
/// A file is missing, or the store cannot be read.
pub async fn check(data_dir: &Path, stores: &Stores, files: &[&str]) -> anyhow::Result<()> {
    if !stores.is_shared() || stores.records.get(&mark_key()).await?.is_none() {
        return Ok(());
    }
    let missing: Vec<_> =
        files.iter().copied().filter(|name| !data_dir.join(name).exists()).collect();
    ensure!(
        missing.is_empty(),
        "{} lacks {}: the store belongs to a control plane that has them; copy {} from another \
         replica's data folder",
        data_dir.display(),
        missing.join(", "),
        files.join(", "),
    );
    Ok(())
}

/// Marks the state as this authority's, or checks that it is.
///
/// # Errors
/// It is another one's, or the store cannot be used.
pub async fn keep(data_dir: &Path, stores: &Stores, ca_pem: &str) -> anyhow::Result<()> {
    let ca_sha256 = hex::encode(Sha256::digest(ca_pem.as_bytes()));
    let value = serde_json::to_vec(&Mark { ca_sha256: ca_sha256.clone() }).expect("plain data");
    let commit = Commit {
        expect: vec![(mark_key(), Expect::Absent)],
        puts: vec![(mark_key(), value.into())],
        deletes: Vec::new(),
    };
    match stores.records.commit(commit).await {
        Ok(_) => return Ok(()),
        Err(CommitError::Conflict { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    let found = stores.records.get(&mark_key()).await?.context("the authority's mark is gone")?;
    let found: Mark = serde_json::from_slice(&found.value).context("the authority's mark")?;
    if found.ca_sha256 != ca_sha256 {
        bail!(
            "{} holds another authority than the state was made under: copy the key files of a \
             replica, or of the backup",
            data_dir.display()
        );
    }
    Ok(())
}

fn mark_key() -> Key {
    Key::parse("authority").expect("a good key")
}
