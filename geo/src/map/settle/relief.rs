//! What must leave PoPs that have more than they can carry.
//!
//! Whoever leaves one needs room at another, which may have to let somebody go first; so need goes from PoP to PoP along
//! the moves that lead to the wanted plan. Invariant: no PoP has to let go more than what it has, and what must come to
//! it, is beyond what it can carry.

use super::{Limits, Move, OVERFULL};

/// By PoP, how much must leave it beyond what is moved for the better. `moves` stand in the order in which they are made.
pub(super) fn must_leave(moves: &[Move], loads: &[f64], limits: Limits<'_>) -> Vec<f64> {
    let mut must = vec![0.0; loads.len()];
    // Each pass hands need on by one PoP; what a chain of more would need waits for the next round.
    for _ in 0..CHAIN_MAX {
        let mut coming = loads.to_vec();
        let mut leaving = must.clone();
        for step in moves {
            let leaving = &mut leaving[usize::from(step.from)];
            let amount = match limits.serves(step.from) {
                false => step.amount,
                true => step.amount.min(*leaving),
            };
            *leaving -= amount;
            coming[usize::from(step.to.pop)] += amount;
        }
        let mut has_grown = false;
        for (pop, must) in must.iter_mut().enumerate() {
            let carried = limits.carried[pop];
            let excess = coming[pop] - carried;
            if limits.planned[pop] > 0.0 && coming[pop] > carried * OVERFULL && excess > *must {
                has_grown |= excess > *must * OVERFULL;
                *must = excess;
            }
        }
        if !has_grown {
            break;
        }
    }
    must
}

/// The longest chain of PoPs that make room for one another in one round.
const CHAIN_MAX: usize = 64;
