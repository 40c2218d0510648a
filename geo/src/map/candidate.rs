//! Which PoPs come into question for a unit.
//!
//! The nearest few by place, since measuring everything from everywhere is not to be had, and beside them whatever was
//! measured to be about as good as the best: routes do not follow the globe, and the nearest PoP by place is the
//! nearest by round trip in only about half of all cases.

use crate::{fleet::Pop, place::Place};

/// How many of the nearest PoPs are looked at. On public measurements 3 leave 4 to 6 % of clients more than 25 ms
/// worse off than they could be, 5 leave 2 to 4 %, and 8 gain little more.
pub const NEAREST: usize = 5;
/// A PoP further away that was measured within so many ms of the best one comes into question too.
pub const ALSO_WITHIN_MS: f64 = 10.0;
/// The most that come into question; a bound for the plans.
pub const CANDIDATES_MAX: usize = 12;

/// The indices of the nearest PoPs that take clients, nearest first; fewer than [`NEAREST`] when there are fewer.
#[must_use]
pub fn nearest(place: &Place, pops: &[Pop]) -> Vec<u16> {
    let mut best: Vec<(f64, u16)> = Vec::with_capacity(NEAREST + 1);
    for (index, pop) in pops.iter().enumerate().filter(|(_, pop)| pop.takes_clients()) {
        let nearness = place.nearness(&pop.place);
        if best.len() == NEAREST && best[NEAREST - 1].0 >= nearness {
            continue;
        }
        let at = best.partition_point(|(other, _)| *other >= nearness);
        best.insert(at, (nearness, index as u16));
        best.truncate(NEAREST);
    }
    best.into_iter().map(|(_, index)| index).collect()
}

/// All PoPs that take clients, in the order of their distance: where a unit goes on looking when its candidates are
/// full.
#[must_use]
pub fn all_by_distance(place: &Place, pops: &[Pop]) -> Vec<u16> {
    let takes = pops.iter().enumerate().filter(|(_, pop)| pop.takes_clients());
    let mut all: Vec<_> =
        takes.map(|(index, pop)| (place.nearness(&pop.place), index as u16)).collect();
    all.sort_by(|one, other| other.0.total_cmp(&one.0).then(one.1.cmp(&other.1)));
    all.into_iter().map(|(_, index)| index).collect()
}

#[cfg(test)]
mod tests {
    use std::cmp::Reverse;

    use tidegate_contract::id::PopId;

    use super::*;
    use crate::fleet::PopState;

    fn pop(number: usize, latitude: f64, longitude: f64) -> Pop {
        Pop {
            id: PopId::parse(format!("p{number:03}")).expect("good"),
            place: Place::new(latitude, longitude).expect("a place"),
            capacity: 1.0,
            weight: 1.0,
            state: PopState::Up,
            addresses: Vec::new(),
        }
    }

    #[test]
    fn the_nearest_are_the_first_of_all_by_distance_and_the_dead_are_not_among_them() {
        let mut pops: Vec<_> = (0..40)
            .map(|n| pop(n, f64::from(n as u32) * 4.0 - 80.0, (n * 53 % 360) as f64 - 180.0))
            .collect();
        pops[3].state = PopState::Down;
        pops[7].state = PopState::Draining;
        pops[9].capacity = 0.0;
        let here = Place::new(20.0, 10.0).expect("a place");
        let all = all_by_distance(&here, &pops);
        assert_eq!(all.len(), 37);
        assert_eq!(nearest(&here, &pops), all[..NEAREST]);
        assert!(all.is_sorted_by_key(|index| {
            Reverse((here.nearness(&pops[usize::from(*index)].place) * 1e12) as i64)
        }));
        assert!(nearest(&here, &pops[..2]).len() == 2);
    }
}
