//! The order of pathways for a session.
//!
//! Pure: a policy, how the PoPs stand with the client, and what the session plays from go in, an order comes out.
//! Invariant: a session that plays from a pathway whose PoPs all take clients, one of which comes into question for it,
//! is never told to leave, whatever else changes; so nobody is sent back and forth.

use std::{collections::BTreeMap, net::IpAddr};

use serde::Serialize;
use tidegate_contract::{
    id::PopId,
    resource_spec::{Pathway, SteeringPolicySpec},
};

use crate::{
    fleet::{Fleet, PopState},
    world::World,
};

/// The most pathways that an answer names: a player tries no more before it gives up.
pub const PATHWAYS_NAMED_MAX: usize = 8;
/// A session whose best pathway is in doubt is asked to come back within so many seconds.
pub const TTL_DOUBTFUL_SECONDS: u64 = 10;

/// How the PoPs stand with one client.
#[derive(Debug, Clone)]
pub struct Standing<'a> {
    fleet: &'a Fleet,
    /// Those that come into question, best first.
    preference: Vec<u16>,
}

/// What a session is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order<'a> {
    /// Best first; never empty for a policy that has pathways.
    pub pathways: Vec<&'a Pathway>,
    /// When it shall ask again.
    pub ttl_seconds: u64,
    /// What became of it.
    pub outcome: Outcome,
}

/// A pathway as one client sees it, as shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PathwayView<'a> {
    /// Its id.
    pub id: &'a str,
    /// Its host; absent: manifests name it.
    pub host: Option<&'a str>,
    /// `whole`: wherever it leads is fine; `partly`: some of it is; `leaving`: it takes nobody new; `gone`: nothing serves.
    pub standing: &'static str,
    /// The best place of its PoPs among those that come into question for the client, from 0; absent: none does.
    pub rank: Option<usize>,
    /// Whether one of its PoPs is in trouble.
    pub is_troubled: bool,
    /// Its PoPs that are not up, and how they are.
    pub not_up: BTreeMap<PopId, PopState>,
}

/// What becomes of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It did not say what it plays from.
    Began,
    /// It stays where it is.
    Stayed,
    /// It is told to leave.
    Moved,
    /// No pathway has a PoP that serves; it is told all of them, for it may know better.
    Unserved,
}

impl<'a> Standing<'a> {
    /// How the PoPs stand with a client in a world: where DNS would send it, and what else was considered for it.
    #[must_use]
    pub fn of(world: &'a World, client: IpAddr) -> Self {
        let map = &world.map;
        let plan = map.plan(map.units().lookup().find(client).unit);
        let target = world.target(client);
        let chosen =
            target.into_iter().flat_map(|target| [Some(target.pop), target.next]).flatten();
        let shares = plan.shares.iter().map(|(pop, _)| *pop);
        let candidates = plan.candidates.iter().map(|candidate| candidate.pop);
        Self::new(map.fleet(), chosen.chain(shares).chain(candidates))
    }

    /// The same from an order of preference; what comes twice counts once.
    #[must_use]
    pub fn new(fleet: &'a Fleet, preferred: impl IntoIterator<Item = u16>) -> Self {
        let mut preference: Vec<u16> = Vec::new();
        for pop in preferred {
            if !preference.contains(&pop) {
                preference.push(pop);
            }
        }
        Self { fleet, preference }
    }

    fn rank(&self, pop: u16) -> Option<usize> {
        self.preference.iter().position(|preferred| *preferred == pop)
    }
}

impl Outcome {
    /// Its name in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Began => "began",
            Self::Stayed => "stayed",
            Self::Moved => "moved",
            Self::Unserved => "unserved",
        }
    }
}

/// Orders the pathways of a policy for a session.
#[must_use]
pub fn order<'a>(
    policy: &'a SteeringPolicySpec,
    standing: &Standing<'_>,
    current: Option<&str>,
) -> Order<'a> {
    let mut all: Vec<Seat<'a>> = policy
        .pathways
        .iter()
        .enumerate()
        .map(|(index, pathway)| Seat::new(index, pathway, standing))
        .collect();
    let is_current = |seat: &Seat<'_>| current == Some(seat.pathway.id.as_str());
    let is_served = all.iter().any(|seat| seat.tier != Tier::Gone);
    if is_served {
        all.retain(|seat| seat.tier != Tier::Gone);
        // Where it is may not be left for what is no better.
        let (tier, rank) = all
            .iter()
            .map(|seat| (seat.tier, seat.rank.is_none()))
            .min()
            .unwrap_or((Tier::Gone, true));
        let is_as_good = |seat: &Seat<'_>| seat.tier == tier && seat.rank.is_none() <= rank;
        all.sort_by_key(|seat| (!(is_current(seat) && is_as_good(seat)), seat.key()));
    }
    all.truncate(PATHWAYS_NAMED_MAX);
    let is_first_current = all.first().is_some_and(is_current);
    let outcome = match current {
        _ if !is_served => Outcome::Unserved,
        None => Outcome::Began,
        Some(_) if is_first_current => Outcome::Stayed,
        Some(_) => Outcome::Moved,
    };
    let is_doubtful = all.first().is_none_or(|seat| seat.tier != Tier::Whole || seat.is_troubled);
    let ttl_seconds = policy.ttl.as_secs().max(1);
    Order {
        pathways: all.into_iter().map(|seat| seat.pathway).collect(),
        ttl_seconds: if is_doubtful { ttl_seconds.min(TTL_DOUBTFUL_SECONDS) } else { ttl_seconds },
        outcome,
    }
}

/// How every pathway of a policy stands with a client, in the policy's own order.
#[must_use]
pub(super) fn views<'a>(
    policy: &'a SteeringPolicySpec,
    standing: &Standing<'_>,
) -> Vec<PathwayView<'a>> {
    let view = |(index, pathway): (usize, &'a Pathway)| {
        let seat = Seat::new(index, pathway, standing);
        let pops = standing.fleet.pops().iter();
        let members = pops.filter(|pop| pathway.pops.is_empty() || pathway.pops.contains(&pop.id));
        let not_up = members.filter(|pop| pop.state != PopState::Up);
        PathwayView {
            id: pathway.id.as_str(),
            host: pathway.host.as_deref(),
            standing: seat.tier.as_str(),
            rank: seat.rank,
            is_troubled: seat.is_troubled,
            not_up: not_up.map(|pop| (pop.id.clone(), pop.state)).collect(),
        }
    };
    policy.pathways.iter().enumerate().map(view).collect()
}

/// A pathway as one client sees it.
struct Seat<'a> {
    index: usize,
    pathway: &'a Pathway,
    tier: Tier,
    /// The best place of its PoPs in the client's preference.
    rank: Option<usize>,
    is_troubled: bool,
}

impl Tier {
    fn as_str(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Partly => "partly",
            Self::Leaving => "leaving",
            Self::Gone => "gone",
        }
    }
}

/// How far a pathway can be relied on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Tier {
    /// Wherever it leads is fine.
    Whole,
    /// Some of where it leads is fine. Which of its PoPs a session is at is not known, so it is better somewhere else.
    Partly,
    /// It takes nobody new, but whoever is there is served.
    Leaving,
    /// Nothing serves there.
    Gone,
}

impl<'a> Seat<'a> {
    fn new(index: usize, pathway: &'a Pathway, standing: &Standing<'_>) -> Self {
        let fleet = standing.fleet;
        let named = pathway.pops.iter().map(|id| fleet.index(id));
        let all = (0..fleet.pops().len()).map(|index| u16::try_from(index).ok());
        let members: Vec<Option<u16>> =
            if pathway.pops.is_empty() { all.collect() } else { named.collect() };
        let pop = |index: u16| &fleet.pops()[usize::from(index)];
        let known = || members.iter().flatten().copied();
        let open = || known().filter(|index| pop(*index).takes_clients());
        let open_count = open().count();
        let tier = if open_count == members.len() && open_count > 0 {
            Tier::Whole
        } else if open_count > 0 {
            Tier::Partly
        } else if known().any(|index| pop(index).state != PopState::Down) {
            Tier::Leaving
        } else {
            Tier::Gone
        };
        Self {
            index,
            pathway,
            tier,
            rank: open().filter_map(|index| standing.rank(index)).min(),
            is_troubled: open().any(|index| pop(index).state == PopState::Troubled),
        }
    }

    /// The policy's own order decides between pathways that lead to the same PoP, and among those that lead where the
    /// client has nothing to look for.
    fn key(&self) -> (Tier, usize, usize) {
        (self.tier, self.rank.unwrap_or(usize::MAX), self.index)
    }
}

#[cfg(test)]
mod tests;
