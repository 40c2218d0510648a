//! The fleet as the control plane tells it, in the words of the map, and what there is to look at.

use std::net::{IpAddr, SocketAddr};

use tidegate_contract::{
    geo_feed::{FleetView, PopCondition},
    id::PopId,
};

use super::config::ProbeConfig;
use crate::{
    fleet::{Fleet, FleetError, Pop, PopState},
    place::Place,
};

/// The most addresses of one PoP that are looked at.
const WATCHED_PER_POP_MAX: usize = 8;
/// The most addresses that are looked at.
const WATCHED_MAX: usize = 4096;

/// An address of a PoP to look at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Watched {
    pub(super) pop: PopId,
    pub(super) address: SocketAddr,
    pub(super) name: String,
}

/// The fleet that is told.
pub(super) fn fleet(view: &FleetView) -> Result<Fleet, FleetError> {
    let pop = |pop: &tidegate_contract::geo_feed::PopView| {
        let place = Place::new(pop.place.latitude, pop.place.longitude)
            .map_err(|error| FleetError::Place(pop.id.clone(), error))?;
        Ok(Pop {
            id: pop.id.clone(),
            place,
            capacity: pop.capacity_mbps,
            weight: pop.weight,
            state: match pop.state {
                PopCondition::Up => PopState::Up,
                PopCondition::Troubled => PopState::Troubled,
                PopCondition::Draining => PopState::Draining,
                PopCondition::Down => PopState::Down,
            },
            addresses: pop.addresses.clone(),
        })
    };
    Fleet::new(view.pops.iter().map(pop).collect::<Result<_, _>>()?)
}

/// What there is to look at in a fleet that is told. A PoP that is told to be down says nothing of what this node can see.
pub(super) fn watched(view: &FleetView, config: &ProbeConfig) -> Vec<Watched> {
    let up = view.pops.iter().filter(|pop| pop.state != PopCondition::Down);
    let pops = up.map(|pop| {
        let name = pop.name.as_ref().unwrap_or(&config.name);
        (&pop.id, pop.addresses.as_slice(), pop.port, name.as_str())
    });
    watched_of(pops)
}

/// What there is to look at in a fleet of a file.
pub(super) fn watched_in(fleet: &Fleet, config: &ProbeConfig) -> Vec<Watched> {
    let pops = fleet.pops().iter().filter(|pop| pop.state != PopState::Down);
    watched_of(
        pops.map(|pop| (&pop.id, pop.addresses.as_slice(), config.port, config.name.as_str())),
    )
}

fn watched_of<'a>(
    pops: impl Iterator<Item = (&'a PopId, &'a [IpAddr], u16, &'a str)>,
) -> Vec<Watched> {
    let of_pop = |(pop, addresses, port, name): (&PopId, &'a [IpAddr], u16, &str)| {
        let (pop, name) = (pop.clone(), name.to_owned());
        addresses.iter().take(WATCHED_PER_POP_MAX).map(move |address| Watched {
            pop: pop.clone(),
            address: SocketAddr::new(*address, port),
            name: name.clone(),
        })
    };
    let mut all: Vec<_> = pops.flat_map(of_pop).take(WATCHED_MAX).collect();
    all.sort();
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    const VIEW: &str = r#"{"version":3,"pops":[{"id":"syd","place":{"latitude":-33.9,"longitude":151.2},
        "capacity_mbps":100.0,"weight":0.5,"state":"draining","addresses":["192.0.2.1","2001:db8::1"],"port":8443,
        "name":"v.example"}]}"#;

    #[test]
    fn a_view_is_a_fleet_and_says_where_to_look() {
        let view: FleetView = serde_json::from_str(VIEW).expect("a view");
        let fleet = fleet(&view).expect("good");
        let [syd] = fleet.pops() else { panic!("one") };
        assert_eq!(
            (syd.usable(), syd.state, syd.takes_clients()),
            (50.0, PopState::Draining, false)
        );
        let config = ProbeConfig::default();
        let at = |all: Vec<Watched>| -> Vec<String> {
            all.iter().map(|one| format!("{} {} {}", one.pop, one.address, one.name)).collect()
        };
        assert_eq!(
            at(watched(&view, &config)),
            ["syd 192.0.2.1:8443 v.example", "syd [2001:db8::1]:8443 v.example"]
        );
        assert_eq!(at(watched_in(&fleet, &config))[0], "syd 192.0.2.1:443 localhost");
        let mut down = view;
        down.pops[0].state = PopCondition::Down;
        assert!(watched(&down, &config).is_empty());
    }

    #[test]
    fn a_view_that_is_no_fleet_is_refused_with_the_reason() {
        for (change, with, reason) in
            [("-33.9", "-93.9", "PoP syd: latitude"), ("100.0", "-1.0", "not negative")]
        {
            let view = serde_json::from_str(&VIEW.replace(change, with)).expect("a view");
            let error = fleet(&view).expect_err(reason).to_string();
            assert!(error.contains(reason), "{error}");
        }
    }
}
