//! What a session is told: the one way from a question to an order, for players and for operators who ask on their behalf.
//!
//! Pure: a policy, a world, who asks and how. Invariant: nothing else decides what a player is told.

use std::net::IpAddr;

use tidegate_contract::resource_spec::SteeringPolicySpec;

use super::{
    choose::{Order, PathwayView, Standing, order, views},
    request::current,
};
use crate::world::World;

/// What a session is told, and what it plays from by its own words.
#[must_use]
pub fn session<'a>(
    policy: &'a SteeringPolicySpec,
    world: &World,
    client: IpAddr,
    query: &str,
) -> (Order<'a>, Option<String>) {
    let current = current(query, |name| has(policy, name));
    let order = order(policy, &Standing::of(world, client), current.as_deref());
    (order, current)
}

/// How every pathway of the policy stands with the client, in the policy's own order.
#[must_use]
pub fn standing<'a>(
    policy: &'a SteeringPolicySpec,
    world: &World,
    client: IpAddr,
) -> Vec<PathwayView<'a>> {
    views(policy, &Standing::of(world, client))
}

/// Whether a policy has a pathway.
#[must_use]
pub fn has(policy: &SteeringPolicySpec, name: &str) -> bool {
    policy.pathways.iter().any(|pathway| pathway.id.as_str() == name)
}
