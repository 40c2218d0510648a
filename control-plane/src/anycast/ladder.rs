//! Sheds the load of sites that are too full: one step at a time, from gentle to hard, and back again.
//!
//! Pure. A site is shed from 85 % on and taken back below 65 %; each round takes at most one step per site, never at two
//! sites that take over from one another, and only where the interlock sees room. Invariant: every step is one that the
//! interlock allows.

use tidegate_contract::{anycast::Level, id::PrefixId};

use super::{
    interlock::{self, Change},
    landing::are_adjacent,
    picture::{Picture, Site},
};

/// The steps of one round, for sites in the order of how full they are.
#[must_use]
pub fn round(picture: &Picture) -> Vec<Change> {
    let mut sites: Vec<_> = picture.sites.iter().filter(|(_, site)| site.takes_traffic()).collect();
    sites.sort_by_key(|(_, site)| std::cmp::Reverse(site.percent()));
    let before = picture;
    let mut picture = picture.clone();
    let mut steps: Vec<Change> = Vec::new();
    for (pop, site) in sites {
        let step = match site.percent() {
            ENTER_PERCENT.. => down(site, &picture.prefixes),
            0..LEAVE_PERCENT => up(site, &picture.prefixes),
            _ => None,
        };
        let Some((prefix, level)) = step else { continue };
        if steps.iter().any(|other| are_adjacent(before, pop, &other.pop)) {
            continue;
        }
        let change = Change { pop: pop.clone(), prefixes: vec![prefix.clone()], level };
        let Ok(after) = interlock::check(&picture, &change) else { continue };
        // What this step moves, and what it announces, is there for the sites that come after it.
        for (pop, load) in after {
            if let Some(site) = picture.sites.get_mut(&pop) {
                site.mbps = load.mbps;
            }
        }
        if let Some(site) = picture.sites.get_mut(pop) {
            site.levels.insert(prefix, change.level.clone());
        }
        steps.push(change);
    }
    steps
}

/// The next slice that gives, one rung further.
fn down(site: &Site, prefixes: &[PrefixId]) -> Option<(PrefixId, Level)> {
    prefixes.iter().find_map(|prefix| {
        let next = RUNGS.iter().find(|rung| rung.rank() > site.level(prefix).rank())?;
        Some((prefix.clone(), next.clone()))
    })
}

/// The slice that gave last, one rung back.
fn up(site: &Site, prefixes: &[PrefixId]) -> Option<(PrefixId, Level)> {
    prefixes.iter().rev().find_map(|prefix| {
        let rank = site.level(prefix).rank();
        if rank == 0 {
            return None;
        }
        let back = RUNGS.iter().rev().find(|rung| rung.rank() < rank);
        Some((prefix.clone(), back.cloned().unwrap_or(Level::Normal)))
    })
}

/// From this on a site sheds.
pub const ENTER_PERCENT: u64 = 85;
/// Below this it takes back.
pub const LEAVE_PERCENT: u64 = 65;
const RUNGS: [Level; 5] = [
    Level::Prepend(1),
    Level::Prepend(2),
    Level::Prepend(3),
    Level::GracefulShutdown,
    Level::Withdrawn,
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        super::picture::testing::{pop, row},
        *,
    };

    fn steps(picture: &Picture) -> Vec<String> {
        let text = |c: &Change| format!("{} {} {}", c.pop, c.prefixes[0], c.level);
        round(picture).iter().map(text).collect()
    }

    #[test]
    fn a_full_site_takes_one_step_after_the_other_and_goes_back_when_it_is_empty() {
        let mut picture = row(&[900, 0, 0, 0, 0], 2);
        for expected in [
            "p0 prepend-1",
            "p0 prepend-2",
            "p0 prepend-3",
            "p0 gshut",
            "p0 withdrawn",
            "p1 prepend-1",
        ] {
            let steps = round(&picture);
            assert_eq!(steps.len(), 1);
            assert_eq!(format!("{} {}", steps[0].prefixes[0], steps[0].level), expected);
            let site = picture.sites.get_mut(&pop("s0")).expect("there");
            site.levels.insert(steps[0].prefixes[0].clone(), steps[0].level.clone());
        }
        for (mbps, expected) in [(840, vec![]), (650, vec![]), (640, vec!["s0 p1 normal"])] {
            picture.sites.get_mut(&pop("s0")).expect("there").mbps = mbps;
            assert_eq!(steps(&picture), expected, "{mbps}");
        }
    }

    #[test]
    fn two_neighbours_never_step_in_one_round() {
        let mut picture = row(&[0, 900, 0, 0, 0], 4);
        let p0 = picture.prefixes[0].clone();
        let gave = |level| [(p0.clone(), level)].into();
        picture.sites.get_mut(&pop("s0")).expect("there").levels = gave(Level::Prepend(1));
        picture.sites.get_mut(&pop("s4")).expect("there").levels = gave(Level::Prepend(1));
        assert_eq!(steps(&picture), ["s1 p0 prepend-1", "s4 p0 normal"]);
        // Both sides of a pair have nowhere else to go.
        assert!(steps(&row(&[900, 900], 1)).is_empty());
    }

    proptest! {
        #[test]
        fn every_round_is_small_allowed_and_pushes_nobody_over(
            loads in prop::collection::vec(0u64..1000, 2..9), slices in 1usize..5, rounds in 1usize..20,
        ) {
            let mut picture = row(&loads, slices);
            for _ in 0..rounds {
                let steps = round(&picture);
                for (place, step) in steps.iter().enumerate() {
                    let site = &picture.sites[&step.pop];
                    let is_less = step.level.rank() > site.level(&step.prefixes[0]).rank();
                    prop_assert!(site.percent() >= ENTER_PERCENT || site.percent() < LEAVE_PERCENT);
                    prop_assert_eq!(is_less, site.percent() >= ENTER_PERCENT);
                    for other in &steps[..place] {
                        prop_assert!(other.pop != step.pop);
                        prop_assert!(!are_adjacent(&picture, &other.pop, &step.pop));
                    }
                }
                for step in steps {
                    let site = picture.sites.get_mut(&step.pop).expect("there");
                    site.levels.insert(step.prefixes[0].clone(), step.level);
                }
                for prefix in &picture.prefixes {
                    let on = picture.sites.values().filter(|s| s.level(prefix).is_announced()).count();
                    prop_assert!(on >= 2.min(loads.len()));
                }
            }
        }
    }
}
