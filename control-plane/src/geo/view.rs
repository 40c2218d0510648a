//! The fleet as steering sees it: where PoPs are, how they are, how much of each may be used.
//!
//! Pure. Invariant: a PoP of which this replica merely knows nothing is never called dead; whoever answers clients looks
//! for itself.

use std::collections::BTreeMap;

use tidegate_contract::{
    anycast::PopSite,
    geo_feed::{PopCondition, PopView},
    id::PopId,
};

use crate::{
    drain::{Drain, Stage, weight_percent},
    health::Health,
};

/// The PoPs that have a place, in the order of their ids. `health` is the verdict on a PoP, `is_ready` whether any replica
/// hears from a node of it that it serves.
pub(super) fn pops(
    sites: &BTreeMap<PopId, PopSite>,
    drains: &BTreeMap<PopId, Drain>,
    health: impl Fn(&PopId) -> Health,
    is_ready: impl Fn(&PopId) -> bool,
    now_unix_ms: u64,
) -> Vec<PopView> {
    let view = |(id, site): (&PopId, &PopSite)| {
        let drain = drains.get(id);
        let state = condition(drain, health(id), is_ready(id));
        // What drains is told by its state.
        let weight = match state {
            PopCondition::Draining => 1.0,
            _ => f64::from(weight(drain, now_unix_ms)) / 100.0,
        };
        Some(PopView {
            id: id.clone(),
            place: site.place?,
            capacity_mbps: site.capacity_mbps.unwrap_or(CAPACITY_MBPS) as f64,
            weight,
            state,
            addresses: site.addresses.clone(),
            port: site.port.unwrap_or(HTTPS),
            name: site.name.clone(),
        })
    };
    sites.iter().filter_map(view).collect()
}

fn condition(drain: Option<&Drain>, health: Health, is_ready: bool) -> PopCondition {
    let is_leaving = drain
        .is_some_and(|drain| drain.returns_since_unix_ms.is_none() && drain.stage >= Stage::Dns);
    match health {
        Health::Bad => PopCondition::Down,
        _ if is_leaving => PopCondition::Draining,
        Health::Good => PopCondition::Up,
        // Its nodes talk to another replica.
        Health::Unknown if is_ready => PopCondition::Up,
        Health::Unknown | Health::Degraded => PopCondition::Troubled,
    }
}

/// In steps, so that a slow start does not tell everything anew for each percent.
fn weight(drain: Option<&Drain>, now_unix_ms: u64) -> u8 {
    weight_percent(drain, now_unix_ms) / WEIGHT_STEP * WEIGHT_STEP
}

/// Of a PoP without a figure: so that all of them count alike.
const CAPACITY_MBPS: u64 = 10_000;
const HTTPS: u16 = 443;
const WEIGHT_STEP: u8 = 5;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drain::Target;

    fn drain(stage: Stage, returns_since_unix_ms: Option<u64>) -> Drain {
        Drain {
            pop: PopId::parse("a").expect("good"),
            stage,
            target: Target::Off,
            since_unix_ms: 0,
            begun_unix_ms: 0,
            deadline_unix_ms: 0,
            by: String::new(),
            reason: String::new(),
            returns_since_unix_ms,
            slow_start_ms: 600_000,
        }
    }

    #[test]
    fn a_pop_is_what_its_drain_and_its_verdict_say_and_silence_is_no_death() {
        use PopCondition::{Down, Draining, Troubled, Up};
        let (permit, dns) = (drain(Stage::Permit, None), drain(Stage::Dns, None));
        let (gone, back) = (drain(Stage::Withdrawn, None), drain(Stage::Withdrawn, Some(0)));
        for (drain, health, is_ready, expected) in [
            (None, Health::Good, false, Up),
            (None, Health::Degraded, true, Troubled),
            (None, Health::Bad, true, Down),
            (None, Health::Unknown, true, Up),
            (None, Health::Unknown, false, Troubled),
            (Some(&permit), Health::Good, true, Up),
            (Some(&dns), Health::Good, true, Draining),
            (Some(&dns), Health::Bad, true, Down),
            (Some(&gone), Health::Unknown, false, Draining),
            (Some(&back), Health::Good, true, Up),
        ] {
            assert_eq!(condition(drain, health, is_ready), expected, "{drain:?} {health:?}");
        }
    }

    #[test]
    fn a_pop_without_a_place_is_none_and_one_that_returns_has_a_share() {
        let site = |text: &str| serde_json::from_str::<PopSite>(text).expect("a site");
        let id = |text: &str| PopId::parse(text).expect("an id");
        let place = r#"{"place":{"latitude":1,"longitude":2},"addresses":["192.0.2.1"]}"#;
        let sites = [(id("a"), site(place)), (id("b"), site("{}")), (id("c"), site(place))];
        let drains = [(id("c"), drain(Stage::Withdrawn, Some(0)))];
        let all = pops(&sites.into(), &drains.into(), |_| Health::Good, |_| true, 94_000);
        let read: Vec<_> = all.iter().map(|pop| (pop.id.as_str(), pop.weight, pop.port)).collect();
        assert_eq!(read, [("a", 1.0, 443), ("c", 0.15, 443)]);
        assert_eq!(all[0].capacity_mbps, 10_000.0);
    }
}
