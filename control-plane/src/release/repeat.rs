//! Releases the content of an older version again: to go back, to stay good, to be above what a node has.
//!
//! Versions only grow; nothing is ever released under an old number.

use tidegate_contract::id::Generation;

use super::{
    Made, ReleaseError, Releases,
    make::{ATTEMPTS_MAX, Draft, OWN_LABEL},
};
use crate::{
    resource::State,
    rollout::{Pace, Rollout},
};

impl Releases {
    /// Releases the content of an older version again, to everybody at once; ends the roll-out that may be under way.
    ///
    /// # Errors
    /// [`ReleaseError`]
    pub async fn roll_back(
        &self,
        to: Generation,
        author: &str,
        reason: &str,
    ) -> Result<Generation, ReleaseError> {
        let state = self.version(to).await?.state.clone();
        self.repeat(to, &state, author, reason).await
    }

    /// Releases the newest content again: it would expire, or the key is another.
    ///
    /// # Errors
    /// [`ReleaseError`]
    pub async fn reissue(&self, reason: &str) -> Result<Generation, ReleaseError> {
        let head = self.head()?;
        self.repeat(head.version(), &head.state, OWN_LABEL, reason).await
    }

    /// Releases the newest content again under a number above one that a node has: the records were restored from a
    /// backup. A jump of more than a million is refused, so that no node can use the numbers up.
    ///
    /// # Errors
    /// [`ReleaseError::TooFarAhead`]
    pub async fn raise_above(&self, seen: Generation) -> Result<Generation, ReleaseError> {
        let _one_at_a_time = self.inner.publishing.lock().await;
        for _ in 0..ATTEMPTS_MAX {
            self.refresh().await?;
            let (course, head) = (self.course(), self.head()?);
            if seen < head.version() {
                return Ok(head.version());
            }
            if seen.0 - head.version().0 > JUMP_MAX {
                return Err(ReleaseError::TooFarAhead);
            }
            let version = Generation(seen.0 + 1);
            let mut draft = draft_of(version, &head, "a node has a number that is not from here");
            // What was going out goes on under its new number.
            draft.rollout =
                course.rollout.clone().map(|rollout| Rollout { target: version.0, ..rollout });
            if self.make(draft, &course).await? {
                return Ok(version);
            }
        }
        Err(ReleaseError::Contended)
    }

    async fn repeat(
        &self,
        of: Generation,
        state: &State,
        author: &str,
        reason: &str,
    ) -> Result<Generation, ReleaseError> {
        let _one_at_a_time = self.inner.publishing.lock().await;
        for _ in 0..ATTEMPTS_MAX {
            self.refresh().await?;
            let course = self.course();
            let version = Generation(self.head()?.version().0 + 1);
            let draft = Draft {
                version,
                state: state.clone(),
                rollout: None,
                author,
                reason,
                set: None,
                repeats: Some(of.0),
                pace: Pace::Fast,
            };
            if self.make(draft, &course).await? {
                return Ok(version);
            }
        }
        Err(ReleaseError::Contended)
    }
}

fn draft_of<'a>(version: Generation, of: &Made, reason: &'a str) -> Draft<'a> {
    Draft {
        version,
        state: of.state.clone(),
        rollout: None,
        author: OWN_LABEL,
        reason,
        set: None,
        repeats: Some(of.version().0),
        pace: Pace::Fast,
    }
}

/// The largest step of `raise_above`.
const JUMP_MAX: u64 = 1_000_000;
