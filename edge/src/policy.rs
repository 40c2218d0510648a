//! What the control plane last told us: one whole snapshot, swapped at once.
//!
//! Readers take an `Arc` and never wait; a reader that began under one snapshot ends under it.
//! Invariant: the generation in use only grows, but where the node itself takes a release back that did harm.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use arc_swap::ArcSwapOption;
use tidegate_contract::{
    id::Generation,
    property::Property,
    snapshot::{Snapshot, SnapshotError},
};
use tokio::sync::watch;

/// A cheap handle on the policy in use; all clones see the same one.
#[derive(Clone)]
pub struct PolicyHandle {
    shared: Arc<Shared>,
}

struct Shared {
    current: ArcSwapOption<Policy>,
    /// Installing is rare; one at a time keeps "only grows" true.
    installing: Mutex<()>,
    generation: watch::Sender<Option<Generation>>,
}

/// A snapshot with its hosts indexed.
#[derive(Debug)]
pub struct Policy {
    /// The snapshot as it came.
    pub snapshot: Snapshot,
    property_by_host: HashMap<String, usize>,
}

/// Why a snapshot was not installed.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// Its generation is not above the one in use.
    #[error("generation {offered} is not above {current}, which is in use")]
    Generation {
        /// The generation in use.
        current: Generation,
        /// The generation of the refused snapshot.
        offered: Generation,
    },
    /// It breaks a rule of snapshots.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
}

impl PolicyHandle {
    /// The policy in use; `None` until the first one is installed.
    #[must_use]
    pub fn current(&self) -> Option<Arc<Policy>> {
        self.shared.current.load_full()
    }

    /// Checks a snapshot and puts it in use for every exchange that begins from now on.
    ///
    /// # Errors
    /// [`PolicyError`]; the policy in use stays.
    pub fn install(&self, snapshot: Snapshot) -> Result<(), PolicyError> {
        snapshot.check()?;
        let policy = Policy::new(snapshot);
        let offered = policy.snapshot.generation;
        let _one_at_a_time = self.shared.installing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(used) = self.current() {
            let current = used.snapshot.generation;
            if offered <= current {
                return Err(PolicyError::Generation { current, offered });
            }
        }
        self.shared.current.store(Some(Arc::new(policy)));
        self.shared.generation.send_replace(Some(offered));
        Ok(())
    }

    /// Goes back to what was in use before: what is in use did harm. The one way in which the generation falls.
    ///
    /// # Errors
    /// [`PolicyError`]; the policy in use stays.
    pub fn go_back(&self, snapshot: Snapshot) -> Result<(), PolicyError> {
        snapshot.check()?;
        let policy = Policy::new(snapshot);
        let generation = policy.snapshot.generation;
        let _one_at_a_time = self.shared.installing.lock().unwrap_or_else(PoisonError::into_inner);
        self.shared.current.store(Some(Arc::new(policy)));
        self.shared.generation.send_replace(Some(generation));
        Ok(())
    }

    /// Tells of every generation that is put in use, the one in use now first.
    #[must_use]
    pub fn generations(&self) -> watch::Receiver<Option<Generation>> {
        let mut generations = self.shared.generation.subscribe();
        generations.mark_changed();
        generations
    }

    /// Returns once any policy is in use.
    pub async fn installed(&self) {
        let mut generation = self.shared.generation.subscribe();
        // The sender lives as long as `self`, so this ends only with a policy.
        let _ = generation.wait_for(Option::is_some).await;
    }
}

impl Policy {
    fn new(snapshot: Snapshot) -> Self {
        let hosts = |(place, property): (usize, &Property)| {
            property.hosts.iter().map(move |host| (host.clone(), place)).collect::<Vec<_>>()
        };
        let property_by_host = snapshot.properties.iter().enumerate().flat_map(hosts).collect();
        Self { snapshot, property_by_host }
    }

    /// The property that serves a host (lower case, without port): its own, else that of `*`.
    #[must_use]
    pub fn property_for(&self, host: &str) -> Option<&Property> {
        self.snapshot.properties.get(self.place_for(host)?)
    }

    /// The place of that property in the snapshot.
    #[must_use]
    pub fn place_for(&self, host: &str) -> Option<usize> {
        self.property_by_host.get(host).or_else(|| self.property_by_host.get("*")).copied()
    }
}

impl Default for PolicyHandle {
    fn default() -> Self {
        Self {
            shared: Arc::new(Shared {
                current: ArcSwapOption::empty(),
                installing: Mutex::new(()),
                generation: watch::Sender::new(None),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use tidegate_contract::{
        id::{PopId, PropertyId},
        property::Upstream,
        snapshot::PopRole,
        tier::TierKey,
    };

    use super::*;

    fn snapshot(generation: u64, hosts: &[&str]) -> Snapshot {
        let property = |(n, host): (usize, &&str)| {
            Property::new(
                PropertyId::parse(format!("p{n}")).unwrap(),
                vec![(*host).to_owned()],
                vec![Upstream { authority: "127.0.0.1:1".into(), tls: None, host: None }],
            )
        };
        Snapshot {
            generation: Generation(generation),
            pop: PopId::parse("fra").unwrap(),
            role: PopRole::Edge,
            properties: hosts.iter().enumerate().map(property).collect(),
            tier_key: TierKey::new([7; 32]),
            shields: vec![],
            certificates: vec![],
        }
    }

    #[test]
    fn a_host_finds_its_own_property_before_the_one_for_all() {
        let handle = PolicyHandle::default();
        handle.install(snapshot(1, &["a.org", "*"])).unwrap();
        let policy = handle.current().unwrap();
        assert_eq!(policy.property_for("a.org").unwrap().id.as_str(), "p0");
        assert_eq!(policy.property_for("b.org").unwrap().id.as_str(), "p1");

        handle.install(snapshot(2, &["a.org"])).unwrap();
        assert!(handle.current().unwrap().property_for("b.org").is_none());
    }

    #[test]
    fn a_generation_that_does_not_grow_is_refused_and_the_old_policy_stays() {
        let handle = PolicyHandle::default();
        assert!(handle.current().is_none());
        handle.install(snapshot(5, &["a.org"])).unwrap();
        for generation in [4, 5] {
            let refused = handle.install(snapshot(generation, &["b.org"]));
            assert!(matches!(refused, Err(PolicyError::Generation { .. })), "{generation}");
        }
        assert!(handle.install(snapshot(6, &["a.org", "a.org"])).is_err());
        assert_eq!(handle.current().unwrap().snapshot.generation, Generation(5));
    }

    #[tokio::test]
    async fn whoever_waits_for_a_policy_gets_on_with_the_first() {
        let handle = PolicyHandle::default();
        let waiting = tokio::spawn({
            let handle = handle.clone();
            async move { handle.installed().await }
        });
        handle.install(snapshot(1, &["*"])).unwrap();
        waiting.await.unwrap();
    }
}
