//! Where traffic goes that a site gives away.
//!
//! Pure. Nobody knows the paths of the whole Internet; the nearest site that still announces better is the guess that the
//! interlock and the ladder work with. Invariant: a site without a figure of its load is taken for empty, never for full.

use std::collections::BTreeMap;

use tidegate_contract::{
    anycast::Level,
    id::{PopId, PrefixId},
};

use super::{picture::Picture, sites::distance_km};

/// What is expected of one site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// In Mbit/s.
    pub mbps: u64,
    /// In percent of its capacity.
    pub percent: u64,
}

/// The load of every site when a site announces some prefixes at a level. `None` when there is nowhere to go.
#[must_use]
pub fn predict(
    picture: &Picture,
    pop: &PopId,
    prefixes: &[PrefixId],
    level: &Level,
) -> Option<BTreeMap<PopId, Load>> {
    let mut mbps: BTreeMap<&PopId, u64> =
        picture.sites.iter().map(|(id, site)| (id, site.mbps)).collect();
    let slices = picture.prefixes.len().max(1) as u64;
    let from = picture.sites.get(pop)?;
    for prefix in prefixes {
        let is_less = level.rank() > from.level(prefix).rank();
        if !is_less {
            continue;
        }
        let to = lands_at(picture, pop, prefix, level)?;
        let moved = from.mbps / slices;
        *mbps.entry(pop).or_default() = mbps.get(pop).copied().unwrap_or(0).saturating_sub(moved);
        *mbps.entry(to).or_default() += moved;
    }
    let load = |(id, mbps): (&PopId, u64)| {
        let capacity = picture.sites.get(id).map_or(1, |site| site.capacity_mbps.max(1));
        (id.clone(), Load { mbps, percent: mbps.saturating_mul(100) / capacity })
    };
    Some(mbps.into_iter().map(load).collect())
}

/// The nearest other site that serves and announces a prefix better than `level`.
#[must_use]
pub fn lands_at<'a>(
    picture: &'a Picture,
    pop: &PopId,
    prefix: &PrefixId,
    level: &Level,
) -> Option<&'a PopId> {
    let from = picture.sites.get(pop)?;
    let others = picture.sites.iter().filter(|(id, site)| {
        *id != pop && site.takes_traffic() && site.level(prefix).rank() < level.rank()
    });
    let far = |site: &super::picture::Site| match (from.place, site.place) {
        (Some(a), Some(b)) => distance_km(a, b),
        // Unknown places are as far as it gets.
        _ => f64::MAX,
    };
    others.min_by(|(_, a), (_, b)| far(a).total_cmp(&far(b))).map(|(id, _)| id)
}

/// Whether two sites take over from one another: one is the nearest of the other.
#[must_use]
pub fn are_adjacent(picture: &Picture, a: &PopId, b: &PopId) -> bool {
    let nearest = |pop: &PopId, other: &PopId| {
        picture
            .prefixes
            .first()
            .and_then(|prefix| lands_at(picture, pop, prefix, &Level::Withdrawn))
            .is_some_and(|nearest| nearest == other)
    };
    a == b || nearest(a, b) || nearest(b, a)
}
