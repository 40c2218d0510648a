//! Which release every PoP shall run.

use std::sync::Arc;

use tidegate_contract::id::{Generation, PopId};

use super::record::Made;
use crate::{rollout::Rollout, store::Revision};

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

    /// The newest version; 0 before the first.
    #[must_use]
    pub fn version(&self) -> Generation {
        self.head.as_ref().map_or(Generation(0), |head| head.version())
    }
}
