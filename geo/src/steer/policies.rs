//! The steering policies in use: this node's own, and those that the control plane tells.
//!
//! Invariant: a reader sees all of one set or all of another, and never waits.

use std::{collections::BTreeMap, sync::Arc};

use arc_swap::ArcSwap;
use tidegate_contract::{resource::ResourceName, resource_spec::SteeringPolicySpec};

/// Policies by name.
pub type Named = BTreeMap<ResourceName, SteeringPolicySpec>;

/// The policies in use.
#[derive(Debug)]
pub struct Policies {
    own: Named,
    newest: ArcSwap<Named>,
}

impl Policies {
    /// Begins with this node's own policies.
    #[must_use]
    pub fn new(own: Named) -> Arc<Self> {
        Arc::new(Self { newest: ArcSwap::from_pointee(own.clone()), own })
    }

    /// Takes what the control plane tells. A policy of this node's own stays: it was written for this place. Those that
    /// cannot be followed are left out and given back with the reason.
    #[must_use]
    pub fn replace(&self, told: &Named) -> Vec<(ResourceName, String)> {
        let mut all = Named::new();
        let mut refused = Vec::new();
        for (name, policy) in told {
            match policy.check() {
                Ok(()) => drop(all.insert(name.clone(), policy.clone())),
                Err(reason) => refused.push((name.clone(), reason)),
            }
        }
        all.extend(self.own.clone());
        self.newest.store(Arc::new(all));
        refused
    }

    /// All of them, as they are now.
    #[must_use]
    pub fn newest(&self) -> arc_swap::Guard<Arc<Named>> {
        self.newest.load()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tidegate_contract::resource_spec::Pathway;

    use super::*;

    fn named(policies: &[(&str, u64)]) -> Named {
        let main = Pathway {
            id: ResourceName::parse("main").expect("a name"),
            pops: Vec::new(),
            host: None,
        };
        let spec = |seconds| SteeringPolicySpec {
            ttl: Duration::from_secs(seconds),
            pathways: vec![main.clone()],
            reload_uri: None,
        };
        let one = |(name, seconds): &(&str, u64)| {
            (ResourceName::parse(*name).expect("a name"), spec(*seconds))
        };
        policies.iter().map(one).collect()
    }

    #[test]
    fn what_the_control_plane_tells_is_added_to_what_is_written_here() {
        let policies = Policies::new(named(&[("own", 10)]));
        assert!(policies.replace(&named(&[("own", 20), ("told", 20)])).is_empty());
        assert_eq!(**policies.newest(), named(&[("own", 10), ("told", 20)]));
        let refused = policies.replace(&named(&[("endless", 9_999_999)]));
        assert!(refused.len() == 1 && refused[0].1.contains("ttl"), "{refused:?}");
        assert_eq!(**policies.newest(), named(&[("own", 10)]));
    }
}
