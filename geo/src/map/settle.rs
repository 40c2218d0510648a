//! From the plan in use to the wanted one, a bounded step at a time.
//!
//! A viewer who is moved fills another cache. So in one round no more than a share of all demand is moved for the sake
//! of a better round trip, the largest gains first, and nothing into a PoP that has no room for it yet. Moves that must
//! be are not counted against the share: away from a PoP that does not serve or has more than it can carry, and out of
//! the way of those. Nor are moves of units from which nobody asks: nobody is moved by them.

use super::allocate::Part;

/// The share of all demand that one round may move for the better.
pub const MOVED_SHARE_MAX: f64 = 0.05;

/// The share of what all PoPs may have that one round may move whatever the demand is: so little fills no cache, and a fleet
/// with next to no viewers need not wait for the rounds that many would take.
pub const LITTLE_SHARE: f64 = 0.001;

/// The demand of a unit from which nobody asks: it still has a place in the plan.
pub const IDLE: f64 = 1e-9;

/// What the last step was.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Moved {
    /// Demand that had to leave its PoP, or was none.
    pub forced: f64,
    /// Demand that was moved for the better.
    pub chosen: f64,
    /// Demand that would be better off elsewhere and waits for the next rounds.
    pub left: f64,
}

/// One possible move.
struct Move {
    unit: usize,
    from: u16,
    to: Part,
    amount: f64,
    gain_ms: f32,
    is_forced: bool,
}

/// Steps from `now` to `wanted`. Both have the parts of the same units with the same demand; in `now` the parts of PoPs
/// that serve no more have been kept, and `serves` says which do. `limits` is what a PoP may have when the step is
/// done.
pub fn settle(
    mut now: Vec<Vec<Part>>,
    wanted: &[Vec<Part>],
    limits: &[f64],
    serves: impl Fn(u16) -> bool,
) -> (Vec<Vec<Part>>, Moved) {
    let mut loads = vec![0.0; limits.len()];
    let mut total = 0.0;
    for part in now.iter().flatten() {
        loads[usize::from(part.pop)] += part.amount;
        total += part.amount;
    }
    let mut moves = Vec::new();
    for (unit, (now, wanted)) in now.iter().zip(wanted).enumerate() {
        moves.extend(moves_of(unit, now, wanted));
    }
    let must_shed = must_shed(&moves, &loads, limits, &serves);
    let is_idle = |parts: &[Part]| parts.iter().map(|part| part.amount).sum::<f64>() <= IDLE;
    for step in &mut moves {
        step.is_forced = must_shed[usize::from(step.from)] || is_idle(&now[step.unit]);
    }
    moves.sort_by(|one, other| {
        let by_need = other.is_forced.cmp(&one.is_forced);
        by_need.then(other.gain_ms.total_cmp(&one.gain_ms)).then(one.unit.cmp(&other.unit))
    });
    let mut budget = (total * MOVED_SHARE_MAX).max(limits.iter().sum::<f64>() * LITTLE_SHARE);
    let mut moved = Moved::default();
    // A move may make the room that another one waits for.
    for _ in 0..PASSES_MAX {
        let mut is_done = true;
        for step in &mut moves {
            let room =
                (limits[usize::from(step.to.pop)] - loads[usize::from(step.to.pop)]).max(0.0);
            // Who must leave a PoP that does not serve goes at once; the place was planned for them.
            let is_homeless = step.is_forced && !serves(step.from);
            let room = if is_homeless { f64::INFINITY } else { room };
            let allowed = if step.is_forced { f64::INFINITY } else { budget };
            let amount = step.amount.min(room).min(allowed);
            if amount <= CRUMB * total {
                continue;
            }
            shift(&mut now[step.unit], step, amount);
            loads[usize::from(step.from)] -= amount;
            loads[usize::from(step.to.pop)] += amount;
            step.amount -= amount;
            if step.is_forced {
                moved.forced += amount;
            } else {
                moved.chosen += amount;
                budget -= amount;
            }
            is_done = false;
        }
        if is_done {
            break;
        }
    }
    moved.left = moves.iter().map(|step| step.amount).sum();
    // Who sits where nobody serves and has nowhere to go is better told so.
    for parts in &mut now {
        parts.retain(|part| serves(part.pop));
    }
    (now, moved)
}

/// The PoPs whose moves must be: they do not serve, or have more than they can carry, or are to take in what such PoPs
/// shed and have to make room for it first.
fn must_shed(
    moves: &[Move],
    loads: &[f64],
    limits: &[f64],
    serves: impl Fn(u16) -> bool,
) -> Vec<bool> {
    let is_overfull = |pop: usize| loads[pop] > limits[pop] * OVERFULL;
    let mut must: Vec<bool> =
        (0..limits.len()).map(|pop| !serves(pop as u16) || is_overfull(pop)).collect();
    loop {
        let mut coming = loads.to_vec();
        for step in moves.iter().filter(|step| must[usize::from(step.from)]) {
            coming[usize::from(step.to.pop)] += step.amount;
        }
        let before = must.clone();
        for (pop, must) in must.iter_mut().enumerate() {
            *must |= coming[pop] > limits[pop] * OVERFULL;
        }
        if must == before {
            return must;
        }
    }
}

/// The moves that turn one unit's parts into the wanted ones: what is too much somewhere goes where something is missing.
fn moves_of(unit: usize, now: &[Part], wanted: &[Part]) -> Vec<Move> {
    let amount_in = |parts: &[Part], pop: u16| {
        parts.iter().find(|part| part.pop == pop).map_or(0.0, |part| part.amount)
    };
    let mut missing: Vec<Part> = wanted
        .iter()
        .map(|part| Part { amount: part.amount - amount_in(now, part.pop), ..*part })
        .filter(|part| part.amount > 0.0)
        .collect();
    let mut moves = Vec::new();
    for part in now {
        let mut surplus = part.amount - amount_in(wanted, part.pop);
        for target in &mut missing {
            let amount = surplus.min(target.amount);
            if amount <= 0.0 {
                continue;
            }
            surplus -= amount;
            target.amount -= amount;
            moves.push(Move {
                unit,
                from: part.pop,
                to: *target,
                amount,
                gain_ms: part.rtt_ms - target.rtt_ms,
                is_forced: false,
            });
        }
    }
    moves
}

fn shift(parts: &mut Vec<Part>, step: &Move, amount: f64) {
    if let Some(from) = parts.iter_mut().find(|part| part.pop == step.from) {
        from.amount -= amount;
    }
    match parts.iter_mut().find(|part| part.pop == step.to.pop) {
        Some(to) => to.amount += amount,
        None => parts.push(Part { amount, ..step.to }),
    }
    parts.retain(|part| part.amount > 0.0);
    parts.sort_by(|one, other| one.rtt_ms.total_cmp(&other.rtt_ms).then(one.pop.cmp(&other.pop)));
}

/// Rounding is no overload.
const OVERFULL: f64 = 1.000_001;
/// A smaller share of all demand is not worth a move.
const CRUMB: f64 = 1e-12;
/// Room is made and taken so often in one round; what is left waits for the next.
const PASSES_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn part(pop: u16, amount: f64, rtt_ms: f32) -> Part {
        Part { pop, amount, rtt_ms }
    }

    fn loads(plan: &[Vec<Part>], pops: usize) -> Vec<f64> {
        let mut loads = vec![0.0; pops];
        for part in plan.iter().flatten() {
            loads[usize::from(part.pop)] += part.amount;
        }
        loads
    }

    #[test]
    fn the_largest_gains_go_first_and_no_more_than_the_share() {
        let now: Vec<_> = (0..100).map(|_| vec![part(0, 1.0, 100.0)]).collect();
        let wanted: Vec<_> = (0..100).map(|unit| vec![part(1, 1.0, unit as f32)]).collect();
        let (after, moved) = settle(now, &wanted, &[200.0, 200.0], |_| true);
        assert!((moved.chosen - 5.0).abs() < 1e-9 && moved.forced == 0.0, "{moved:?}");
        assert!((moved.left - 95.0).abs() < 1e-9);
        for (unit, parts) in after.iter().enumerate() {
            assert_eq!(parts[0].pop, u16::from(unit < 5), "{unit}");
        }
    }

    #[test]
    fn who_sits_in_a_dead_pop_leaves_at_once_and_an_overfull_one_is_relieved_as_far_as_there_is_room()
     {
        let now =
            vec![vec![part(0, 50.0, 5.0)], vec![part(1, 40.0, 5.0)], vec![part(2, 10.0, 5.0)]];
        let wanted = vec![
            vec![part(2, 50.0, 9.0)],
            vec![part(1, 20.0, 5.0), part(2, 20.0, 9.0)],
            vec![part(2, 10.0, 5.0)],
        ];
        let (after, moved) = settle(now, &wanted, &[0.0, 20.0, 80.0], |pop| pop != 0);
        assert_eq!(loads(&after, 3), [0.0, 20.0, 80.0]);
        assert_eq!((moved.forced, moved.chosen, moved.left), (70.0, 0.0, 0.0));
    }

    #[test]
    fn two_that_want_to_change_places_between_full_pops_do_not_overfill_either() {
        let now = vec![vec![part(0, 10.0, 50.0)], vec![part(1, 10.0, 50.0)]];
        let wanted = vec![vec![part(1, 10.0, 5.0)], vec![part(0, 10.0, 5.0)]];
        let (after, moved) = settle(now.clone(), &wanted, &[10.0, 10.0], |_| true);
        assert_eq!((after, moved.chosen), (now, 0.0), "no room: it waits");
        let now = vec![vec![part(0, 10.0, 50.0)], vec![part(1, 10.0, 50.0)]];
        let (after, moved) = settle(now, &wanted, &[10.5, 10.5], |_| true);
        assert!((moved.chosen - 1.0).abs() < 1e-9, "a share of 5 %: {moved:?}");
        assert!(loads(&after, 2).iter().all(|load| *load <= 10.5 + 1e-9));
    }

    #[test]
    fn units_from_which_nobody_asks_are_where_they_shall_be_at_once() {
        let (near, far) = (|amount| part(0, amount, 10.0), |amount| part(1, amount, 90.0));
        let now = vec![vec![far(IDLE)], vec![far(50.0)]];
        let wanted = [vec![near(IDLE)], vec![near(50.0)]];
        let (then, moved) = settle(now, &wanted, &[100.0, 100.0], |_| true);
        assert_eq!(then[0], [near(IDLE)]);
        let is_near = |amount: f64, expected: f64| (amount - expected).abs() < 1e-6;
        assert!(is_near(then[1][0].amount, 2.5), "a twentieth");
        assert!(is_near(moved.chosen, 2.5) && moved.forced <= IDLE);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_rounds_come_to_rest(
            amounts in prop::collection::vec(0.1..10.0f64, 1..20), seed in any::<u64>(),
        ) {
            let pops = 4u16;
            let pick = |unit: usize, salt: u64| {
                ((seed ^ salt).wrapping_mul(unit as u64 * 2 + 0x9E37_79B9) >> 17) as u16 % pops
            };
            let plan = |salt: u64| -> Vec<Vec<Part>> {
                amounts.iter().enumerate()
                    .map(|(unit, amount)| vec![part(pick(unit, salt), *amount, f32::from(pick(unit, salt ^ 7)) * 9.0)])
                    .collect()
            };
            let (mut now, wanted) = (plan(1), plan(2));
            let total: f64 = amounts.iter().sum();
            let limits: Vec<f64> = vec![total; usize::from(pops)];
            for _ in 0..40 {
                let (after, moved) = settle(now, &wanted, &limits, |_| true);
                prop_assert!(moved.chosen <= total * MOVED_SHARE_MAX * 1.000_001);
                let sum: f64 = after.iter().flatten().map(|part| part.amount).sum();
                prop_assert!((sum - total).abs() < 1e-6);
                now = after;
            }
            for (now, wanted) in now.iter().zip(&wanted) {
                let stays = now.iter().find(|part| part.pop == wanted[0].pop).map_or(0.0, |part| part.amount);
                prop_assert!((stays - wanted[0].amount).abs() < 1e-6, "{now:?} {wanted:?}");
            }
        }
    }
}
