//! Publishes changes, and what is left of them to be taken away behind.
//!
//! What was seen of a resource is checked again each time that is tried anew. While a release goes out nothing is published.

use tidegate_contract::id::Generation;

use super::{
    Course, ReleaseError, Releases,
    make::{ATTEMPTS_MAX, Draft},
};
use crate::{
    change::{Act, ChangeSet, Step, Wish, plan},
    rollout::{NodeReport, Pace, Rollout, Split, split},
    store::Revision,
};

/// A change to publish.
pub struct Publish<'a> {
    /// What shall be different.
    pub wish: &'a Wish,
    /// Who gets it at first.
    pub pace: Pace,
    /// Who asks: the label of a token.
    pub author: &'a str,
    /// Why.
    pub reason: &'a str,
    /// The change-set that it is.
    pub set: Option<(&'a ChangeSet, Revision)>,
    /// Whether anything tells clients where to go: what goes away leaves that first.
    pub steers: bool,
    /// Whether it is only checked.
    pub is_dry: bool,
    /// What nodes report now: the yardstick of the roll-out.
    pub reports: &'a [NodeReport],
}

/// What came of it.
#[derive(Debug, Clone)]
pub struct Published {
    /// The version afterwards.
    pub version: Generation,
    /// What is different.
    pub steps: Vec<Step>,
}

impl Published {
    /// Whether anything is different.
    #[must_use]
    pub fn is_change(&self) -> bool {
        !self.steps.is_empty()
    }

    /// Whether the one thing that was asked for is new.
    #[must_use]
    pub fn is_creation(&self) -> bool {
        self.steps.iter().any(|step| step.act == Act::Create)
    }
}

impl Releases {
    /// Publishes a change.
    ///
    /// # Errors
    /// [`ReleaseError`]
    pub async fn publish(&self, publish: Publish<'_>) -> Result<Published, ReleaseError> {
        let _one_at_a_time = self.inner.publishing.lock().await;
        for _ in 0..ATTEMPTS_MAX {
            self.refresh().await?;
            let course = self.course();
            let head = self.head()?;
            let version = Generation(head.version().0 + 1);
            let planned = plan(&head.state, publish.wish, version)?;
            let (steps, mut state) = (planned.steps, planned.state);
            if steps.is_empty() {
                let version = head.version();
                return Ok(Published { version, steps });
            }
            if course.rollout.is_some() {
                return Err(ReleaseError::UnderWay(head.version()));
            }
            if publish.is_dry {
                return Ok(Published { version, steps });
            }
            let (base, target) = (head.version().0, version.0);
            let now = self.now_unix_ms();
            let canary = self.inner.rollout.canary.as_ref();
            let mut split = split(&steps, publish.steers);
            if !split.then.is_empty() {
                let mut wish = publish.wish.clone();
                wish.deletes.retain(|key| !split.then.contains(key));
                match plan(&head.state, &wish, version) {
                    Ok(additions) => state = additions.state,
                    // Old and new cannot stand side by side: one host in two properties, say.
                    Err(_) => split = Split::default(),
                }
            }
            let pops = state.pops().collect();
            let begun =
                Rollout::begin((base, target), publish.pace, pops, canary, now, publish.reports);
            let rollout = begun.in_turns(split).unless_over().filter(|one| !one.order.is_empty());
            let draft = Draft {
                version,
                state,
                rollout,
                author: publish.author,
                reason: publish.reason,
                set: publish.set,
                repeats: None,
                pace: publish.pace,
            };
            if self.make(draft, &course).await? {
                return Ok(Published { version, steps });
            }
        }
        Err(ReleaseError::Contended)
    }

    /// Takes away what a roll-out that everybody runs has left for the next release; what steers gets it first.
    ///
    /// # Errors
    /// [`ReleaseError`]
    pub async fn publish_rest(
        &self,
        course: &Course,
        rollout: &Rollout,
        reports: &[NodeReport],
    ) -> Result<Generation, ReleaseError> {
        let _one_at_a_time = self.inner.publishing.lock().await;
        let head = course.head.as_ref().ok_or(ReleaseError::NotFound(Generation(0)))?;
        let version = Generation(head.version().0 + 1);
        let deletes = rollout.then.iter().filter(|key| head.state.entries.contains_key(*key));
        let wish = Wish { deletes: deletes.cloned().collect(), ..Wish::default() };
        let state = plan(&head.state, &wish, version)?.state;
        let pops = state.pops().collect();
        let canary = self.inner.rollout.canary.as_ref();
        let (between, now) = ((head.version().0, version.0), self.now_unix_ms());
        let next = Rollout::begin(between, rollout.pace, pops, canary, now, reports);
        let next = next.in_turns(Split { steering_first: true, then: Vec::new() });
        let draft = Draft {
            version,
            state,
            rollout: Some(next),
            author: &head.record.author,
            reason: &head.record.reason,
            set: None,
            repeats: None,
            pace: rollout.pace,
        };
        // Whoever was faster has changed what is to be done.
        self.make(draft, course).await?;
        Ok(version)
    }
}
