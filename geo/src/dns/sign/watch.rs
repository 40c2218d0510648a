//! Looks at the folder of keys at the start, and again and again.

use std::sync::Arc;

use tidegate_chassis::{Clock, Process};

use super::{config::Config, keeper::Keeper};

impl Keeper {
    /// Signs with the keys of the folder that the settings name, and with newer ones when they are there; `None` when they
    /// name none.
    ///
    /// # Errors
    /// When the keys that are there cannot be used.
    pub fn watch(config: &Config, process: &Process) -> anyhow::Result<Option<Arc<Self>>> {
        let opened = Self::open(config, process.registry(), Clock::system())?;
        let Some(keeper) = opened else { return Ok(None) };
        let keeper = Arc::new(keeper);
        let (watched, drain, every) = (keeper.clone(), process.drain(), config.look_every);
        process.spawn("dnssec keys", async move {
            loop {
                tokio::select! {
                    () = drain.started() => return Ok(()),
                    () = tokio::time::sleep(every) => {}
                }
                let watched = watched.clone();
                tokio::task::spawn_blocking(move || watched.look()).await?;
            }
        });
        Ok(Some(keeper))
    }
}
