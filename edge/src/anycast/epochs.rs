//! The newest epoch of a permit that was followed for each prefix, kept over the end of the process.
//!
//! Without it a node that begins anew would follow a permit that somebody took back before it ended. Only the number is
//! kept, never the level: what is announced after a restart is what the speaker says and what orders say. Invariant: a
//! number never falls, and it is on disk before the speaker is told.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use tidegate_contract::id::PrefixId;

/// The epochs.
#[derive(Debug, Default)]
pub(super) struct Epochs {
    newest: BTreeMap<PrefixId, u64>,
    file: Option<PathBuf>,
}

impl Epochs {
    /// The epochs of a file; none where there is no such file. One that does not read is said and left behind: a node
    /// that obeys nobody any more would be worse than one that may obey an old permit once.
    pub(super) fn open(file: PathBuf) -> Self {
        let newest = read(&file).unwrap_or_else(|error| {
            tracing::error!(file = %file.display(), %error, "the epochs of permits are lost");
            BTreeMap::new()
        });
        Self { newest, file: Some(file) }
    }

    /// The newest epoch of a prefix; 0 where none was followed.
    pub(super) fn newest(&self, prefix: &PrefixId) -> u64 {
        self.newest.get(prefix).copied().unwrap_or(0)
    }

    /// A permit of this epoch is followed.
    pub(super) async fn follow(&mut self, prefix: &PrefixId, epoch: u64) {
        if epoch <= self.newest(prefix) {
            return;
        }
        self.newest.insert(prefix.clone(), epoch);
        let Some(file) = self.file.clone() else { return };
        let text = serde_json::to_vec(&self.newest).expect("plain data");
        let written = tokio::task::spawn_blocking(move || write(&file, &text)).await;
        if let Err(error) = written.unwrap_or_else(|error| Err(io::Error::other(error))) {
            tracing::error!(%error, "the epoch of a permit is not kept");
        }
    }
}

fn read(path: &Path) -> io::Result<BTreeMap<PrefixId, u64>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        opened => opened?,
    };
    let mut text = Vec::new();
    file.take(FILE_BYTES_MAX).read_to_end(&mut text)?;
    serde_json::from_slice(&text).map_err(io::Error::from)
}

/// Replaces the file whole, durably.
fn write(path: &Path, text: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("new");
    let mut file = File::create(&beside)?;
    file.write_all(text)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

/// Some hundred prefixes; what is longer does not read.
const FILE_BYTES_MAX: u64 = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_epoch_outlives_the_process_and_never_falls() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("permits.json");
        let (a, b) = (PrefixId::parse("a").unwrap(), PrefixId::parse("b").unwrap());
        let mut epochs = Epochs::open(file.clone());
        epochs.follow(&a, 7).await;
        epochs.follow(&a, 6).await;
        epochs.follow(&b, 2).await;
        let again = Epochs::open(file.clone());
        assert_eq!((again.newest(&a), again.newest(&b)), (7, 2));
        fs::write(&file, "{\"a\":").unwrap();
        assert_eq!(Epochs::open(file).newest(&a), 0);
    }
}
