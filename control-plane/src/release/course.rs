//! Which release every PoP shall run.

use std::sync::Arc;

use tidegate_contract::id::{Generation, PopId};

use super::record::Made;
use crate::{
    rollout::{self, NodeReport, Rollout, Stage},
    store::Revision,
    unix_time::millis,
};

/// Which release every PoP shall run.
#[derive(Debug)]
pub struct Course {
    /// The newest release; `None` before the first.
    pub head: Option<Arc<Made>>,
    /// What those run that the roll-out has not come to.
    pub base: Option<Arc<Made>>,
    /// The roll-out under way.
    pub rollout: Option<Rollout>,
    /// What the records said: of the newest release, and of the roll-out.
    pub(super) revisions: (Option<Revision>, Option<Revision>),
}

impl Course {
    pub(super) fn nothing() -> Self {
        Self { head: None, base: None, rollout: None, revisions: (None, None) }
    }

    /// The release that a PoP shall run; `None` when it is in none.
    #[must_use]
    pub fn release_for(&self, pop: &PopId) -> Option<&Arc<Made>> {
        let base = self.base.as_ref().filter(|base| base.state.has_pop(pop));
        let chosen = match (&self.rollout, base) {
            (Some(rollout), Some(base)) if !rollout.admits(pop) => Some(base),
            _ => self.head.as_ref(),
        };
        chosen.filter(|made| made.state.has_pop(pop))
    }

    /// The release that what steers shall go by, once caches have it as far as they must.
    #[must_use]
    pub fn release_for_steering(&self) -> Option<&Arc<Made>> {
        let is_behind = |rollout: &Rollout| !rollout.steering_first && rollout.stage != Stage::All;
        match (&self.rollout, &self.base) {
            (Some(rollout), Some(base)) if is_behind(rollout) => Some(base),
            _ => self.head.as_ref(),
        }
    }

    /// Whether that may be told now: what came is served by every node that is connected, or nodes were waited for since
    /// the last of them may have it. A node that does not answer holds nothing up for longer.
    #[must_use]
    pub fn is_steering_due(
        &self,
        reports: &[NodeReport],
        (since_unix_ms, now_unix_ms): (u64, u64),
        config: &rollout::Config,
    ) -> bool {
        let Some(release) = self.release_for_steering() else { return false };
        if self.rollout.as_ref().is_some_and(|rollout| rollout.steering_first) {
            return true;
        }
        let waited_ms = now_unix_ms.saturating_sub(since_unix_ms);
        let is_served = reports
            .iter()
            .filter(|report| report.is_connected)
            .all(|report| report.version >= release.version().0);
        is_served || waited_ms > millis(config.ack_timeout)
    }

    /// The newest version; 0 before the first.
    #[must_use]
    pub fn version(&self) -> Generation {
        self.head.as_ref().map_or(Generation(0), |head| head.version())
    }
}
