//! The key files of a control plane: the authority's, the release key, the key that seals values.
//!
//! They never lie open in a shared store, where every reader of a backup would have them: whoever sets a replica up copies
//! them into its data folder. What lies in the store is only a mark of the authority, so that a replica without the keys,
//! or with those of another control plane, does not begin to sign under a second name.

use std::{fs, path::Path};

use anyhow::{Context, bail, ensure};

use crate::{
    ca::{Authority, CaError, files, held},
    release::Vault,
    rotation::{Mark, RotationError, believe, mark_key},
    store::{Commit, CommitError, Expect, Stores, backup::KeyFile},
};

/// What all replicas of one control plane have alike in their data folders, before the first rotation of the authority.
pub const FILES: &[&str] = &["ca.key", "ca.pem", "release.key", "records.key"];

/// The key files of a data folder, as far as they are there.
///
/// # Errors
/// One cannot be read.
pub fn read(data_dir: &Path) -> anyhow::Result<Vec<KeyFile>> {
    let others = FILES.iter().filter(|name| !held::is_name(name)).map(|name| (*name).to_owned());
    let names = held::names(data_dir)?.into_iter().chain(others);
    let read = |name: String| {
        let path = data_dir.join(&name);
        let content = fs::read(&path).with_context(|| path.display().to_string())?;
        Ok((name, content))
    };
    names.filter(|name| data_dir.join(name).exists()).map(read).collect()
}

/// Writes key files that are not there yet; refuses where another one is in the place of one of them.
///
/// # Errors
/// That, or a file cannot be written.
pub fn write(data_dir: &Path, keys: &[KeyFile]) -> anyhow::Result<()> {
    let known = |name: &str| FILES.contains(&name) || held::is_name(name);
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
        let mode = if name.ends_with(".pem") { 0o644 } else { 0o600 };
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
    // Which authority it must be is checked against the mark; here, that there is one.
    let has_authority = !held::names(data_dir)?.is_empty();
    let is_missing =
        |name: &&str| !(data_dir.join(name).exists() || has_authority && held::is_name(name));
    let missing: Vec<_> = FILES.iter().copied().filter(is_missing).collect();
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

/// Marks the state as this authority's, or lets those be believed whom the mark names.
///
/// # Errors
/// It is another one's, or the store cannot be used.
pub async fn keep(data_dir: &Path, stores: &Stores, authority: &Authority) -> anyhow::Result<()> {
    let mark = Mark::steady(authority.believed().signs.sha256.clone());
    let value = serde_json::to_vec(&mark).expect("plain data");
    let commit = Commit {
        expect: vec![(mark_key(), Expect::Absent)],
        puts: vec![(mark_key(), value.into())],
        deletes: Vec::new(),
    };
    let records = stores.records.as_ref();
    match records.commit(commit).await {
        Ok(_) => {
            authority.believe(&mark.ca_sha256, &[])?;
            return Ok(());
        }
        Err(CommitError::Conflict { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    let found = records.get(&mark_key()).await?.context("the authority's mark is gone")?;
    let mark: Mark = serde_json::from_slice(&found.value).context("the authority's mark")?;
    match believe(authority, &mark, records, &Vault::open(data_dir)?).await {
        Ok(_) => Ok(()),
        Err(RotationError::Ca(CaError::Unknown(_))) => bail!(
            "{} holds another authority than the state was made under: copy the key files of a \
             replica, or of the backup",
            data_dir.display()
        ),
        Err(error) => Err(error.into()),
    }
}
