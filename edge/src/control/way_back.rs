//! The ways back to a release that was in use before: from one that does harm, and because somebody says so.
//!
//! What is taken back is never put to use again; a newer one is. Invariant: where there is nothing to go back to, or it
//! cannot be used, the one in use serves on.

use std::sync::Arc;

use tidegate_contract::id::PopId;
use tokio::task::spawn_blocking;

use super::{
    held::Held,
    intake::{Intake, OnTrial, RefusedError},
    kept::Refused,
};

impl Intake {
    /// Takes a release that does harm back.
    pub(super) fn give_up(&self, on_trial: &OnTrial, error: String) {
        let OnTrial { version, previous, pop, .. } = on_trial;
        let version = *version;
        let Some(previous) = previous else {
            self.trial.send_replace(None);
            tracing::error!(version, error, "a release does harm, and there is none before it");
            return;
        };
        if let Err(error) = self.go_back(Refused { version, error }, previous, pop, true) {
            tracing::error!(version, %error, "a release does harm and cannot be taken back");
        }
    }

    /// Goes back to the newest release on disk that is older than the one in use. Gives back what was in use and what is.
    pub(super) async fn fall_back(
        self: &Arc<Self>,
        why: &'static str,
    ) -> Result<(u64, u64), String> {
        let putting = Arc::clone(&self.putting).lock_owned().await;
        let intake = Arc::clone(self);
        let fall = move || {
            let _putting = putting;
            intake.fall_back_now(why)
        };
        spawn_blocking(fall).await.map_err(|error| error.to_string())?
    }

    fn fall_back_now(&self, why: &str) -> Result<(u64, u64), String> {
        let (in_use, journal) = {
            let state = self.lock();
            (state.in_use.clone(), state.journal.clone())
        };
        let version = in_use.map(|held| held.signed.header.version.0);
        let version = version.ok_or("no release of the control plane is in use")?;
        let pop = journal.pop.clone().ok_or("nobody knows which PoP this is")?;
        let readable = self.kept.load().filter_map(|bytes| match self.read(&bytes, &journal) {
            Ok(held) => Some(held),
            Err(error) => {
                tracing::error!(%error, "a kept release is unusable");
                None
            }
        });
        // The one in use is not there when it could not be written.
        let mut is_newest_on_disk = false;
        let mut older = readable.filter(|held| {
            let kept = held.signed.header.version.0;
            is_newest_on_disk |= kept == version;
            kept < version
        });
        let previous = older.next().ok_or("no older release is kept here")?;
        drop(older);
        let (error, to) = (why.to_owned(), previous.signed.header.version.0);
        self.go_back(Refused { version, error }, &Arc::new(previous), &pop, is_newest_on_disk)
            .map_err(|error| format!("version {to} cannot be used: {error}"))?;
        Ok((version, to))
    }

    /// Goes back to what was in use before.
    fn go_back(
        &self,
        refused: Refused,
        previous: &Arc<Held>,
        pop: &PopId,
        is_newest_on_disk: bool,
    ) -> Result<(), RefusedError> {
        self.trial.send_replace(None);
        self.policy.go_back(previous.compile(pop, Some(&self.sealing_key))?)?;
        let Refused { version, error } = &refused;
        tracing::error!(version, error, "a release is taken back");
        let journal = {
            let mut state = self.lock();
            state.in_use = Some(Arc::clone(previous));
            state.journal.trial = None;
            state.journal.refused = Some(refused.clone());
            state.journal.clone()
        };
        self.remember(&journal);
        if is_newest_on_disk && let Err(error) = self.kept.forget_newest() {
            tracing::error!(%error, "a release that was taken back would come back after a restart");
        }
        self.refused.send_replace(Some(refused));
        Ok(())
    }
}
