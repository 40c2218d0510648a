//! The key files of a control plane: the authority's, the release key, the key that seals values.
//!
//! They never lie in a shared store, where every reader of a backup would have them: whoever sets a replica up copies
//! them into its data folder. What lies in the store is only a mark of the authority, so that a replica without the keys,
//! or with those of another control plane, does not begin to sign under a second name.

use std::{fs, path::Path};

use anyhow::{Context, bail, ensure};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    ca::files,
    store::{Commit, CommitError, Expect, Key, Stores, backup::KeyFile},
};

/// Whose state this is, under `authority`.
#[derive(Serialize, Deserialize)]
struct Mark {
    /// SHA-256 of the authority's certificate as PEM.
    ca_sha256: String,
}

/// What all replicas of one control plane have alike in their data folders.
pub const FILES: &[&str] = &["ca.key", "ca.pem", "release.key", "records.key"];

/// The key files of a data folder, as far as they are there.
///
/// # Errors
/// One cannot be read.
pub fn read(data_dir: &Path) -> anyhow::Result<Vec<KeyFile>> {
    let there = FILES.iter().filter(|name| data_dir.join(name).exists());
    let read = |name: &&str| {
        let path = data_dir.join(name);
        let content = fs::read(&path).with_context(|| path.display().to_string())?;
        Ok(((*name).to_owned(), content))
    };
    there.map(read).collect()
}

/// Writes key files that are not there yet; refuses where another one is in the place of one of them.
///
/// # Errors
/// That, or a file cannot be written.
pub fn write(data_dir: &Path, keys: &[KeyFile]) -> anyhow::Result<()> {
    let known = |name: &str| FILES.contains(&name);
    for (name, content) in keys.iter().filter(|(name, _)| known(name)) {
        let path = data_dir.join(name);
        if path.exists() {
            let same = fs::read(&path).with_context(|| path.display().to_string())? == *content;
            ensure!(
                same,
                "{} is another key than the backup's: move it away first",
                path.display()
            );
            continue;
        }
        let text = std::str::from_utf8(content).with_context(|| format!("{name} in the backup"))?;
        let mode = if name == "ca.pem" { 0o644 } else { 0o600 };
        files::write(&path, text, mode)?;
    }
    Ok(())
}

/// Refuses to begin where keys would be made anew although the shared state is somebody's already.
///
/// # Errors
/// A file is missing, or the store cannot be read.
pub async fn check(data_dir: &Path, stores: &Stores) -> anyhow::Result<()> {
    if !stores.is_shared() || stores.records.get(&mark_key()).await?.is_none() {
        return Ok(());
    }
    let missing: Vec<_> =
        FILES.iter().copied().filter(|name| !data_dir.join(name).exists()).collect();
    ensure!(
        missing.is_empty(),
        "{} lacks {}: the store belongs to a control plane that has them; copy {} from another \
         replica's data folder",
        data_dir.display(),
        missing.join(", "),
        FILES.join(", "),
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
