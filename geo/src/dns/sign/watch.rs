//! Reads the folder of keys at the start, and again when it changes.
//!
//! Invariant: keys that are wrong never take the place of those that sign.

use std::sync::Arc;

use anyhow::Context;
use tidegate_chassis::Process;

use super::{
    config::Config,
    key_file::Folder,
    keys::{Keys, KeysError},
    signer::Signer,
};

impl Signer {
    /// Signs with the keys of the folder that the settings name, and with newer ones when they are there; `None` when they
    /// name none.
    ///
    /// # Errors
    /// When the keys that are there cannot be used.
    pub fn watch(config: &Config, process: &Process) -> anyhow::Result<Option<Arc<Self>>> {
        let Some(path) = &config.keys else { return Ok(None) };
        let folder = Folder::new(path);
        let seen = folder.fingerprint().context("dnssec.keys")?;
        let keys = Keys::read(&folder).context("dnssec.keys")?;
        let signer = Arc::new(Self::new(config, keys, process.registry()));
        let (watched, drain, every) = (signer.clone(), process.drain(), config.look_every);
        process.spawn("dnssec keys", async move {
            let mut seen = seen;
            loop {
                tokio::select! {
                    () = drain.started() => return Ok(()),
                    () = tokio::time::sleep(every) => {}
                }
                let (folder, signer) = (folder.clone(), watched.clone());
                let look = move || signer.look(&folder, seen);
                seen = tokio::task::spawn_blocking(look).await?;
            }
        });
        Ok(Some(signer))
    }

    /// Reads the folder if it is not as it was seen, and says how it is now.
    fn look(&self, folder: &Folder, seen: Fingerprint) -> Fingerprint {
        let now = match folder.fingerprint() {
            Ok(now) if now == seen => return seen,
            Ok(now) => now,
            // Said once, until the folder can be looked at again.
            Err(_) if seen.is_empty() => return seen,
            Err(error) => {
                self.refuse(&error.into());
                return Fingerprint::new();
            }
        };
        match Keys::read(folder).and_then(|keys| self.keys.load().may_become(keys)) {
            Ok(keys) => {
                let zones = keys.zones().count();
                self.metrics.zones.set(zones as i64);
                self.keys.store(Arc::new(keys));
                tracing::info!(zones, "keys of zones read again");
            }
            Err(error) => self.refuse(&error),
        }
        now
    }

    fn refuse(&self, error: &KeysError) {
        self.metrics.reload_failures.inc();
        tracing::error!(%error, "changed keys are not taken, the old ones sign on");
    }
}

type Fingerprint = Vec<(std::path::PathBuf, i64, i64, u64)>;
