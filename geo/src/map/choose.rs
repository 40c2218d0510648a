//! A map: what each unit's clients get, looked up by address.
//!
//! An address is looked up, a hash decides among the parts of its unit. Invariant: one subnet gets the same PoP as long as
//! nothing changes, whoever asks for it and wherever.

use std::{net::IpAddr, sync::Arc};

use tidegate_contract::id::PopId;

use super::{
    draw::{self, Turn},
    score::Score,
};
use crate::{
    fleet::{Fleet, PopState},
    unit::{Match, UnitIndex, Units},
};

/// Above this share of its capacity a PoP's answers name the next PoP too.
pub const NEIGHBOUR_ABOVE: f64 = 0.70;

/// Which PoP serves which part of the Internet.
#[derive(Debug, Clone)]
pub struct Map {
    pub(super) units: Arc<Units>,
    pub(super) fleet: Arc<Fleet>,
    /// Shared, so that a map that differs in its PoPs alone costs nothing.
    pub(super) plans: Arc<Vec<Plan>>,
    /// For addresses that belong to no unit.
    pub(super) unlocated: Plan,
    /// The planned load of each PoP over its capacity.
    pub(super) utilisation: Vec<f64>,
}

/// What one unit's clients get.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Plan {
    /// The candidates, best first.
    pub candidates: Vec<Candidate>,
    /// Who gets how much: PoP, and the share of the unit up to and including it. Empty when no PoP serves.
    pub shares: Vec<(u16, f64)>,
    /// Whether it has so much demand that a hundredth of it may look elsewhere.
    pub is_explored: bool,
}

/// A PoP that comes into question.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// The PoP.
    pub pop: u16,
    /// How far it is.
    pub score: Score,
}

/// Why a client gets the PoP it gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// It is the nearest that serves.
    Nearest,
    /// A nearer one has no room, or the client stays where it was for now.
    Balance,
    /// To learn how far it is.
    Exploration,
    /// Nobody knows where the client is.
    Unlocated,
    /// Nothing was heard for long, and this is the PoP of the node that answers.
    Alone,
}

/// What a client gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    /// The unit, and for which addresses this is true.
    pub found: Match,
    /// The PoP.
    pub pop: u16,
    /// A PoP to be named after it, when the first is nearly full.
    pub next: Option<u16>,
    /// Why.
    pub reason: Reason,
}

impl Map {
    /// What a client gets; `None` when no PoP serves. `moment` changes what is explored: the number of the round, or
    /// of the minute. One subnet gets the same PoP as long as nothing changes.
    #[must_use]
    pub fn choose(&self, address: IpAddr, moment: u64) -> Option<Choice> {
        let found = self.units.lookup().find(address);
        let plan = self.plan(found.unit);
        let turn = plan.is_explored.then(|| draw::turn(address, moment));
        let (pop, reason) = match found.unit {
            None => (plan.drawn(address)?, Reason::Unlocated),
            Some(_) => match turn.and_then(|turn| plan.explored(turn)) {
                Some(pop) => (pop, Reason::Exploration),
                None => {
                    let pop = plan.drawn(address)?;
                    let is_best = plan.candidates.first().is_some_and(|best| best.pop == pop);
                    (pop, if is_best { Reason::Nearest } else { Reason::Balance })
                }
            },
        };
        let of_shares = if plan.shares.len() > 1 { draw::subnet_bits(address) } else { 0 };
        let scope = found.scope.max(of_shares).max(turn.map_or(0, |turn| turn.scope));
        let found = Match { scope, ..found };
        let is_nearly_full = self.utilisation[usize::from(pop)] > NEIGHBOUR_ABOVE;
        let next = is_nearly_full.then(|| self.neighbour(plan, pop)).flatten();
        Some(Choice { found, pop, next, reason })
    }

    /// Whether a client is of a share of all, 0 to 1, that is the same clients from round to round.
    #[must_use]
    pub fn is_shed(&self, address: IpAddr, share: f32) -> bool {
        draw::shed(address) < f64::from(share)
    }

    /// The plan of a unit, or of the addresses that belong to none.
    #[must_use]
    pub fn plan(&self, unit: Option<UnitIndex>) -> &Plan {
        unit.and_then(|unit| self.plans.get(unit as usize)).unwrap_or(&self.unlocated)
    }

    /// All plans, by unit.
    #[must_use]
    pub fn plans(&self) -> &[Plan] {
        &self.plans
    }

    /// The fleet that it was made for.
    #[must_use]
    pub fn fleet(&self) -> &Arc<Fleet> {
        &self.fleet
    }

    /// The units that it was made for.
    #[must_use]
    pub fn units(&self) -> &Arc<Units> {
        &self.units
    }

    /// The planned load of each PoP over what it can carry.
    #[must_use]
    pub fn utilisation(&self) -> &[f64] {
        &self.utilisation
    }

    /// A PoP's id.
    #[must_use]
    pub fn pop(&self, index: u16) -> &PopId {
        &self.fleet.pops()[usize::from(index)].id
    }

    /// What a client gets who is not to get one PoP; `None` when there is no other.
    #[must_use]
    pub fn choose_but(&self, address: IpAddr, moment: u64, but: u16) -> Option<Choice> {
        let choice = self.choose(address, moment)?;
        if choice.pop != but {
            return Some(choice);
        }
        let plan = self.plan(choice.found.unit);
        let any = || plan.candidates.iter().map(|one| one.pop).find(|other| *other != but);
        let pop = self.neighbour(plan, but).or_else(any)?;
        Some(Choice { pop, next: None, reason: Reason::Balance, ..choice })
    }

    /// How long an answer with this PoP may be kept, in seconds.
    #[must_use]
    pub fn ttl_seconds(&self, pop: u16) -> u32 {
        match self.fleet.pops()[usize::from(pop)].state {
            PopState::Up => TTL_SECONDS,
            PopState::Troubled | PopState::Draining | PopState::Down => TTL_TROUBLED_SECONDS,
        }
    }

    fn neighbour(&self, plan: &Plan, pop: u16) -> Option<u16> {
        let mut others = plan.candidates.iter().map(|one| one.pop).filter(|other| *other != pop);
        others.find(|other| self.utilisation[usize::from(*other)] <= NEIGHBOUR_ABOVE)
    }
}

impl Plan {
    /// Who gets how much.
    pub fn each_share(&self) -> impl Iterator<Item = (u16, f64)> {
        let mut before = 0.0;
        self.shares.iter().map(move |(pop, up_to)| {
            let share = up_to - before;
            before = *up_to;
            (*pop, share)
        })
    }

    fn drawn(&self, address: IpAddr) -> Option<u16> {
        let (last, _) = self.shares.last()?;
        if self.shares.len() == 1 {
            return Some(*last);
        }
        let point = draw::share(address);
        let found = self.shares.iter().find(|(_, up_to)| point < *up_to);
        Some(found.map_or(*last, |(pop, _)| *pop))
    }

    fn explored(&self, turn: Turn) -> Option<u16> {
        let others = self.candidates.len().saturating_sub(1).min(2) as u64;
        let number = 1 + turn.explores?.checked_rem(others)?;
        self.candidates.get(number as usize).map(|other| other.pop)
    }
}

impl Reason {
    /// Its name in explanations and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Nearest => "nearest",
            Self::Balance => "balance",
            Self::Exploration => "exploration",
            Self::Unlocated => "unlocated",
            Self::Alone => "alone",
        }
    }
}

/// Long enough that resolvers ask rarely, short enough that clients follow within half a minute.
const TTL_SECONDS: u32 = 20;
const TTL_TROUBLED_SECONDS: u32 = 5;
