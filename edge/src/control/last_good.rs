//! The last good snapshots on disk, from which a node starts without asking anybody.
//!
//! Two are kept: should the newest be unreadable, the one before it serves. A file is one line with the hash of
//! what follows, then the snapshot's bytes; it holds the tier key, so only its owner may read it.

use std::{
    io,
    path::{Path, PathBuf},
};

use tidegate_contract::snapshot::{SNAPSHOT_BYTES_MAX, Snapshot, SnapshotError, digest_of};

use super::private_file;

/// Where the snapshots are kept.
#[derive(Debug, Clone)]
pub(super) struct LastGood {
    newest: PathBuf,
    previous: PathBuf,
}

/// A snapshot and the hash that names its bytes.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) snapshot: Snapshot,
    pub(super) digest: [u8; 32],
}

/// Why a file gave no snapshot.
#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error("cannot read: {0}")]
    Io(#[from] io::Error),
    #[error("the first line is not a hash")]
    Syntax,
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
}

impl LastGood {
    /// Names the files in a node's state folder.
    pub(super) fn new(state_dir: &Path) -> Self {
        Self { newest: state_dir.join("snapshot"), previous: state_dir.join("snapshot-previous") }
    }

    /// The newest snapshot that can be read, if any. A damaged one is logged and passed over: a node with an older
    /// configuration serves, one without any does not.
    pub(super) fn load(&self) -> Option<Kept> {
        [&self.newest, &self.previous].into_iter().find_map(|path| match read(path) {
            Ok(kept) => kept,
            Err(error) => {
                tracing::error!(file = %path.display(), %error, "a kept snapshot is unusable");
                None
            }
        })
    }

    /// Keeps a snapshot durably, and the one before it. Keeping the newest again changes nothing: two copies of
    /// one snapshot would be no second chance.
    pub(super) fn keep(&self, body: &[u8]) -> io::Result<()> {
        if let Ok(Some(kept)) = read(&self.newest)
            && kept.digest == digest_of(body)
        {
            return Ok(());
        }
        let mut content = hex::encode(digest_of(body)).into_bytes();
        content.push(b'\n');
        content.extend_from_slice(body);
        private_file::replace_keeping(&self.newest, &self.previous, &content)
    }
}

fn read(path: &Path) -> Result<Option<Kept>, ReadError> {
    let Some(content) = private_file::read(path, SNAPSHOT_BYTES_MAX + HASH_LINE_BYTES)? else {
        return Ok(None);
    };
    let (line, body) = content.split_at_checked(HASH_LINE_BYTES).ok_or(ReadError::Syntax)?;
    let mut digest = [0; 32];
    hex::decode_to_slice(line.strip_suffix(b"\n").ok_or(ReadError::Syntax)?, &mut digest)
        .map_err(|_| ReadError::Syntax)?;
    let snapshot = Snapshot::from_bytes_with_digest(body, &digest)?;
    Ok(Some(Kept { snapshot, digest }))
}

/// 32 bytes in hex and the end of the line.
const HASH_LINE_BYTES: usize = 65;

#[cfg(test)]
mod tests {
    use std::fs;

    use tidegate_contract::{
        id::{Generation, PopId},
        snapshot::PopRole,
        tier::TierKey,
    };

    use super::*;

    fn snapshot(generation: u64) -> Snapshot {
        Snapshot {
            generation: Generation(generation),
            pop: PopId::parse("fra").unwrap(),
            role: PopRole::Edge,
            properties: vec![],
            tier_key: TierKey::new([1; 32]),
            shields: vec![],
            certificates: vec![],
        }
    }

    fn generation_of(store: &LastGood) -> Option<u64> {
        store.load().map(|kept| kept.snapshot.generation.0)
    }

    #[test]
    fn the_newest_is_loaded_and_the_one_before_it_when_it_is_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let store = LastGood::new(folder.path());
        assert_eq!(generation_of(&store), None);
        store.keep(&snapshot(1).to_bytes()).unwrap();
        store.keep(&snapshot(2).to_bytes()).unwrap();
        store.keep(&snapshot(2).to_bytes()).unwrap();
        assert_eq!(generation_of(&store), Some(2));

        let mut content = fs::read(folder.path().join("snapshot")).unwrap();
        let last = content.len() - 2;
        content[last] ^= 1;
        for damaged in [&content[..], &content[..70], &content[..10], b""] {
            fs::write(folder.path().join("snapshot"), damaged).unwrap();
            assert_eq!(generation_of(&store), Some(1), "{} bytes", damaged.len());
        }
        fs::remove_file(folder.path().join("snapshot")).unwrap();
        assert_eq!(generation_of(&store), Some(1), "a crash between the two renames");
    }
}
