//! What is never done, whoever asks: the last sites of a group stay, and traffic only goes where there is room.
//!
//! Pure: a picture of a group and a change go in, what would happen or a refusal comes out. Invariant: announcing more
//! is never refused, so that there is always a way back.

use std::collections::BTreeMap;

use tidegate_contract::{
    anycast::Level,
    id::{PopId, PrefixId},
};

use super::{
    landing::{self, Load},
    picture::Picture,
};

/// A change that somebody wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Where.
    pub pop: PopId,
    /// Which prefixes.
    pub prefixes: Vec<PrefixId>,
    /// What they shall be.
    pub level: Level,
}

/// Why a change is not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The PoP does not announce the group, or the group has no such prefix.
    #[error("{0} is not in the group")]
    NotInGroup(String),
    /// Somebody has frozen the group.
    #[error("the group is frozen: nothing is announced less")]
    Frozen,
    /// Too few would be left.
    #[error("{prefix} would be announced by {left} healthy PoPs, and {min} is the least")]
    MinAnnouncing {
        /// The prefix.
        prefix: PrefixId,
        /// How many would be left.
        left: u32,
        /// The least.
        min: u32,
    },
    /// Too much would be gone.
    #[error("{percent} % of the group's capacity would be withdrawn, and {max} % is the most")]
    Capacity {
        /// How much would be gone.
        percent: u64,
        /// The most.
        max: u8,
    },
    /// Whoever takes over cannot.
    #[error("{pop} would be at {percent} % of its capacity, and {HEADROOM_PERCENT} % is the most")]
    NoRoom {
        /// Who takes over.
        pop: PopId,
        /// How full it would be.
        percent: u64,
    },
    /// There is nobody to take over.
    #[error("no other healthy PoP announces it better: the traffic has nowhere to go")]
    Nowhere,
}

/// Checks a change; gives back the load of every site after it.
///
/// # Errors
/// [`Refusal`] names the first rule that it breaks.
pub fn check(picture: &Picture, change: &Change) -> Result<BTreeMap<PopId, Load>, Refusal> {
    let Change { pop, prefixes, level } = change;
    let Some(site) = picture.sites.get(pop) else {
        return Err(Refusal::NotInGroup(pop.to_string()));
    };
    if let Some(other) = prefixes.iter().find(|prefix| !picture.prefixes.contains(prefix)) {
        return Err(Refusal::NotInGroup(other.to_string()));
    }
    let is_less = prefixes.iter().any(|prefix| level.rank() > site.level(prefix).rank());
    let after = landing::predict(picture, pop, prefixes, level);
    if !is_less {
        return Ok(after.unwrap_or_default());
    }
    if picture.is_frozen {
        return Err(Refusal::Frozen);
    }
    if *level == Level::Withdrawn {
        for prefix in prefixes {
            let left = announcing_without(picture, pop, prefix);
            let min = picture.min_announcing;
            if left < min {
                return Err(Refusal::MinAnnouncing { prefix: prefix.clone(), left, min });
            }
        }
        let percent = withdrawn_percent(picture, change);
        let max = picture.max_capacity_withdrawn_percent;
        if percent > u64::from(max) {
            return Err(Refusal::Capacity { percent, max });
        }
    }
    let after = after.ok_or(Refusal::Nowhere)?;
    let grows =
        |pop: &PopId, load: &Load| picture.sites.get(pop).is_some_and(|s| load.mbps > s.mbps);
    match after.iter().find(|(pop, load)| load.percent > HEADROOM_PERCENT && grows(pop, load)) {
        Some((pop, load)) => Err(Refusal::NoRoom { pop: pop.clone(), percent: load.percent }),
        None => Ok(after),
    }
}

/// Healthy sites that announce a prefix and are not going, besides one.
fn announcing_without(picture: &Picture, pop: &PopId, prefix: &PrefixId) -> u32 {
    let announces = |(id, site): &(&PopId, &super::picture::Site)| {
        *id != pop && site.takes_traffic() && site.level(prefix).is_announced()
    };
    u32::try_from(picture.sites.iter().filter(announces).count()).unwrap_or(u32::MAX)
}

/// How much of the capacity of all sites is withdrawn after a change, rounded up.
fn withdrawn_percent(picture: &Picture, change: &Change) -> u64 {
    let slices = picture.prefixes.len().max(1) as u64;
    let (mut gone, mut all) = (0u64, 0u64);
    for (id, site) in &picture.sites {
        all += site.capacity_mbps * slices;
        let is_gone = |prefix: &&PrefixId| {
            site.is_going
                || (*id == change.pop && change.prefixes.contains(prefix))
                || !site.level(prefix).is_announced()
        };
        gone += site.capacity_mbps * picture.prefixes.iter().filter(is_gone).count() as u64;
    }
    (gone * 100).div_ceil(all.max(1))
}

/// Above this a site sheds load by itself, so nothing may push it there.
pub const HEADROOM_PERCENT: u64 = 85;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        super::picture::testing::{pop, prefixes, row},
        *,
    };
    use crate::health::Health;

    fn change(pop_name: &str, prefixes: Vec<PrefixId>, level: &str) -> Change {
        Change { pop: pop(pop_name), prefixes, level: level.parse().expect("a level") }
    }

    #[test]
    fn a_withdrawal_moves_the_load_to_the_nearest_site() {
        let picture = row(&[100, 200, 300, 0, 0], 2);
        let after = check(&picture, &change("s0", prefixes(2), "withdrawn")).expect("allowed");
        assert_eq!(after[&pop("s0")].mbps, 0);
        assert_eq!(after[&pop("s1")], Load { mbps: 300, percent: 30 });
    }

    #[test]
    fn the_last_ones_stay() {
        let picture = row(&[0; 3], 1);
        let all = change("s0", prefixes(1), "withdrawn");
        assert!(matches!(check(&picture, &all), Err(Refusal::Capacity { percent: 34, max: 20 })));
        let mut picture = row(&[0; 3], 1);
        picture.max_capacity_withdrawn_percent = 100;
        assert!(check(&picture, &all).is_ok());
        // One of the others is ill, or going, or unknown: then two are not left.
        for spoil in [0, 1, 2] {
            let mut picture = picture.clone();
            let site = picture.sites.get_mut(&pop("s1")).expect("there");
            match spoil {
                0 => site.health = Health::Bad,
                1 => site.is_going = true,
                _ => site.health = Health::Unknown,
            }
            let refused = check(&picture, &all);
            assert!(
                matches!(refused, Err(Refusal::MinAnnouncing { left: 1, min: 2, .. })),
                "{refused:?}"
            );
        }
    }

    #[test]
    fn nobody_is_pushed_above_its_headroom_and_nothing_goes_nowhere() {
        let picture = row(&[300, 600, 0, 0, 0, 0], 1);
        let refused = check(&picture, &change("s0", prefixes(1), "gshut"));
        assert_eq!(refused, Err(Refusal::NoRoom { pop: pop("s1"), percent: 90 }));
        let alone = row(&[300], 1);
        assert_eq!(check(&alone, &change("s0", prefixes(1), "prepend-1")), Err(Refusal::Nowhere));
    }

    #[test]
    fn a_frozen_group_can_still_announce_more() {
        let mut picture = row(&[10; 6], 1);
        picture.is_frozen = true;
        assert_eq!(check(&picture, &change("s0", prefixes(1), "prepend-1")), Err(Refusal::Frozen));
        let site = picture.sites.get_mut(&pop("s0")).expect("there");
        site.levels = [(prefixes(1)[0].clone(), Level::Withdrawn)].into();
        assert!(check(&picture, &change("s0", prefixes(1), "normal")).is_ok());
        assert!(check(&picture, &change("s0", prefixes(1), "gshut")).is_ok());
    }

    proptest! {
        #[test]
        fn whatever_is_asked_in_whatever_order_the_least_number_of_sites_announces(
            sites in 2usize..9,
            slices in 1usize..4,
            asked in prop::collection::vec((0usize..9, 0usize..4, 0usize..4), 0..60),
        ) {
            let mut picture = row(&vec![10; sites], slices);
            for (site, slice, level) in asked {
                let level = ["withdrawn", "gshut", "prepend-2", "normal"][level];
                let prefix = picture.prefixes[slice % slices].clone();
                let change = change(&format!("s{}", site % sites), vec![prefix.clone()], level);
                if check(&picture, &change).is_ok() {
                    let site = picture.sites.get_mut(&change.pop).expect("there");
                    site.levels.insert(prefix, change.level.clone());
                }
                let mut gone = 0;
                for prefix in &picture.prefixes {
                    let announcing =
                        picture.sites.values().filter(|s| s.level(prefix).is_announced()).count();
                    prop_assert!(announcing >= 2.min(sites), "{announcing} announce {prefix}");
                    gone += sites - announcing;
                }
                prop_assert!(gone * 100 <= 20 * sites * slices, "{gone} slices are gone");
            }
        }
    }
}
