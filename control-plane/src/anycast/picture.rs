//! A group as it is at one moment: its sites, how they are, what they carry, what they announce.
//!
//! Pure: made of resources, the group's record and the nodes' reports. Invariant: a site that nobody can tell anything
//! about is not counted on.

use std::collections::BTreeMap;

use tidegate_contract::{
    anycast::{AnycastGroup, Coordinates, Level, PopSite},
    id::{AnycastGroupId, PopId, PrefixId},
};

use super::state::GroupState;
use crate::health::{Health, Reports};

/// A group.
#[derive(Debug, Clone, PartialEq)]
pub struct Picture {
    /// Its prefixes.
    pub prefixes: Vec<PrefixId>,
    /// PoPs that always announce each prefix.
    pub min_announcing: u32,
    /// The most capacity that is withdrawn at a time.
    pub max_capacity_withdrawn_percent: u8,
    /// Whether nothing may be announced less.
    pub is_frozen: bool,
    /// Its PoPs.
    pub sites: BTreeMap<PopId, Site>,
}

/// A PoP of a group.
#[derive(Debug, Clone, PartialEq)]
pub struct Site {
    /// Where it is.
    pub place: Option<Coordinates>,
    /// What it can send.
    pub capacity_mbps: u64,
    /// What it sends.
    pub mbps: u64,
    /// Whether it serves.
    pub health: Health,
    /// Whether it is going, or gone, by a drain.
    pub is_going: bool,
    /// What it announces otherwise than normally, as it was told.
    pub levels: BTreeMap<PrefixId, Level>,
}

impl Site {
    /// What it announces a prefix as.
    #[must_use]
    pub fn level(&self, prefix: &PrefixId) -> &Level {
        self.levels.get(prefix).unwrap_or(&Level::Normal)
    }

    /// Whether others may count on it.
    #[must_use]
    pub fn takes_traffic(&self) -> bool {
        matches!(self.health, Health::Good | Health::Degraded) && !self.is_going
    }

    /// How full it is.
    #[must_use]
    pub fn percent(&self) -> u64 {
        self.mbps.saturating_mul(100) / self.capacity_mbps.max(1)
    }
}

/// A group as it is now.
#[must_use]
pub fn picture(
    id: &AnycastGroupId,
    group: &AnycastGroup,
    state: &GroupState,
    sites: &BTreeMap<PopId, PopSite>,
    reports: &Reports,
    now_unix_ms: u64,
) -> Picture {
    let fresh = reports.fresh(now_unix_ms);
    let site = |(pop, site): (&PopId, &PopSite)| {
        let mbps = fresh.iter().filter(|node| node.name.pop == *pop).map(|node| node.rates.mbps);
        let told = state.levels.get(pop).into_iter().flatten();
        let site = Site {
            place: site.place,
            capacity_mbps: site.capacity_mbps.unwrap_or(CAPACITY_MBPS),
            mbps: mbps.sum(),
            health: reports.state(pop).health,
            is_going: state.reserved.contains(pop),
            levels: told.map(|(prefix, told)| (prefix.clone(), told.level.clone())).collect(),
        };
        (pop.clone(), site)
    };
    let members = sites.iter().filter(|(_, site)| site.anycast_groups.contains(id));
    let set = &state.interlock;
    Picture {
        prefixes: group.prefixes.clone(),
        min_announcing: set.min_announcing.unwrap_or(group.min_announcing),
        max_capacity_withdrawn_percent: set
            .max_capacity_withdrawn_percent
            .unwrap_or(group.max_capacity_withdrawn_percent),
        is_frozen: set.is_frozen,
        sites: members.map(site).collect(),
    }
}

/// Of a PoP without a figure: so that all of them count alike.
const CAPACITY_MBPS: u64 = 10_000;

#[cfg(test)]
pub(super) mod testing {
    use super::*;

    pub(crate) fn pop(name: &str) -> PopId {
        PopId::parse(name).expect("a good id")
    }

    pub(crate) fn prefixes(count: usize) -> Vec<PrefixId> {
        (0..count).map(|n| PrefixId::parse(format!("p{n}")).expect("a good id")).collect()
    }

    /// Sites in a row along the equator, each with 1000 Mbit/s, and a load.
    pub(crate) fn row(loads: &[u64], slices: usize) -> Picture {
        let site = |(place, mbps): (usize, &u64)| {
            // Gaps that grow, so that everybody has one nearest.
            let longitude = (place * place) as f64 * 2.0;
            let site = Site {
                place: Some(Coordinates { latitude: 0.0, longitude }),
                capacity_mbps: 1000,
                mbps: *mbps,
                health: Health::Good,
                is_going: false,
                levels: BTreeMap::new(),
            };
            (pop(&format!("s{place}")), site)
        };
        Picture {
            prefixes: prefixes(slices),
            min_announcing: 2,
            max_capacity_withdrawn_percent: 20,
            is_frozen: false,
            sites: loads.iter().enumerate().map(site).collect(),
        }
    }
}
