//! From the plan in use to the wanted one, a bounded step at a time.
//!
//! A viewer who is moved fills another cache. So in one round no more than a share of all demand moves: first away from
//! PoPs that have more than is planned for them, then where it gains most. What must move is not counted: away from a PoP
//! that does not serve, and of one that has more than it can carry what is too much ([`relief`]). Invariant: nothing else
//! moves beyond the share, unless the whole fleet is idle; of units from which nobody asks nobody is moved.

mod relief; // what must leave PoPs that have more than they can carry

use super::allocate::Part;

/// The share of all demand that one round may move for the better.
pub const MOVED_SHARE_MAX: f64 = 0.05;

/// A fleet of which less than this share of what is planned with is asked for is idle: so little fills no caches, whoever
/// moves, and a PoP that comes to it need not wait for the rounds that many viewers would take.
pub const IDLE_FLEET_SHARE: f64 = 0.01;

/// The demand of a unit from which nobody asks: it still has a place in the plan.
pub const IDLE: f64 = 1e-9;

/// What PoPs may have when a step is done, by their index.
#[derive(Debug, Clone, Copy)]
pub struct Limits<'a> {
    /// What is planned for each; 0 where nobody is served.
    pub planned: &'a [f64],
    /// What each can carry, at least what is planned: what is beyond must leave.
    pub carried: &'a [f64],
}

/// What the last step was.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Moved {
    /// Demand that had to leave its PoP: it does not serve, or could not carry all that it had.
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
}

/// Why something moves, the most urgent first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Need {
    /// Where it is nobody serves.
    Homeless,
    /// Where it is there is more than can be carried.
    Relief,
    /// Where it is there is more than is planned.
    Headroom,
    /// It would be nearer elsewhere.
    Gain,
}

impl Limits<'_> {
    fn serves(&self, pop: u16) -> bool {
        self.planned[usize::from(pop)] > 0.0
    }
}

/// Steps from `now` to `wanted`. Both have the parts of the same units with the same demand; in `now` the parts of PoPs
/// that serve no more have been kept.
#[must_use]
pub fn settle(
    mut now: Vec<Vec<Part>>,
    wanted: &[Vec<Part>],
    limits: Limits<'_>,
) -> (Vec<Vec<Part>>, Moved) {
    let mut loads = vec![0.0; limits.planned.len()];
    let mut total = 0.0;
    for (now, wanted) in now.iter_mut().zip(wanted) {
        if !wanted.is_empty() && now.iter().map(|part| part.amount).sum::<f64>() <= IDLE {
            now.clone_from(wanted);
        }
        for part in now {
            loads[usize::from(part.pop)] += part.amount;
            total += part.amount;
        }
    }
    let mut moves = Vec::new();
    for (unit, (now, wanted)) in now.iter().zip(wanted).enumerate() {
        moves.extend(moves_of(unit, now, wanted));
    }
    moves.sort_by(|one, other| {
        other.gain_ms.total_cmp(&one.gain_ms).then(one.unit.cmp(&other.unit))
    });
    let must = relief::must_leave(&moves, &loads, limits);
    moves.sort_by_key(|step| need(step.from, &must, &loads, limits));

    let is_idle = total < limits.planned.iter().sum::<f64>() * IDLE_FLEET_SHARE;
    let budget = if is_idle { f64::INFINITY } else { total * MOVED_SHARE_MAX };
    let mut step = Step { loads, must, budget, crumb: total * CRUMB, moved: Moved::default() };
    // A move may make the room that another one waits for.
    for _ in 0..PASSES_MAX {
        if !step.pass(&mut moves, &mut now, limits) {
            break;
        }
    }
    let Step { mut moved, .. } = step;
    moved.left = moves.iter().map(|step| step.amount).sum();
    // Who sits where nobody serves and has nowhere to go is better told so.
    for parts in &mut now {
        parts.retain(|part| limits.serves(part.pop));
    }
    (now, moved)
}

/// One step as far as it is done.
struct Step {
    loads: Vec<f64>,
    /// What must leave each PoP yet.
    must: Vec<f64>,
    /// What may be moved for the better yet.
    budget: f64,
    /// So little is not worth a move.
    crumb: f64,
    moved: Moved,
}

impl Step {
    /// Makes what moves there is room for; whether there were any.
    fn pass(&mut self, moves: &mut [Move], now: &mut [Vec<Part>], limits: Limits<'_>) -> bool {
        let mut has_moved = false;
        for step in moves {
            let (from, to) = (usize::from(step.from), usize::from(step.to.pop));
            let forced = match limits.serves(step.from) {
                // The place was planned for them.
                false => step.amount,
                true => {
                    let room = (limits.carried[to] - self.loads[to]).max(0.0);
                    step.amount.min(self.must[from]).min(room)
                }
            };
            let room = (limits.planned[to] - self.loads[to] - forced).max(0.0);
            let chosen = (step.amount - forced).min(room).min(self.budget);
            let amount = forced + chosen;
            if amount <= self.crumb {
                continue;
            }
            shift(&mut now[step.unit], step, amount);
            self.loads[from] -= amount;
            self.loads[to] += amount;
            self.must[from] = (self.must[from] - amount).max(0.0);
            self.budget -= chosen;
            self.moved.forced += forced;
            self.moved.chosen += chosen;
            step.amount -= amount;
            has_moved = true;
        }
        has_moved
    }
}

fn need(from: u16, must: &[f64], loads: &[f64], limits: Limits<'_>) -> Need {
    let pop = usize::from(from);
    if !limits.serves(from) {
        Need::Homeless
    } else if must[pop] > 0.0 {
        Need::Relief
    } else if loads[pop] > limits.planned[pop] * OVERFULL {
        Need::Headroom
    } else {
        Need::Gain
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
            let gain_ms = part.rtt_ms - target.rtt_ms;
            moves.push(Move { unit, from: part.pop, to: *target, amount, gain_ms });
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
mod tests;
