//! What a client gets, everybody gets whose address shares the bits of the answer's scope (RFC 7871 7.2.1).

use std::{net::IpAddr, sync::Arc};

use proptest::prelude::*;

use super::{Inputs, Map, Reason, Round};
use crate::{fleet::Fleet, latency::Latency, place::Place, unit::UnitsBuilder};

/// Two PoPs, of which the near one cannot carry one of three units, and a third that only distance speaks against.
const FLEET: &str = r#"
    [[pop]]
    id = "par"
    latitude = 48.9
    longitude = 2.4
    capacity = 20.0

    [[pop]]
    id = "fra"
    latitude = 50.1
    longitude = 8.7
    capacity = 100.0

    [[pop]]
    id = "syd"
    latitude = -33.9
    longitude = 151.2
    capacity = 100.0
"#;

fn map() -> Map {
    let mut units = UnitsBuilder::default();
    for (first, prefix, latitude, longitude) in [
        ("10.0.0.0", 12, 48.9, 2.4),
        ("10.16.0.0", 22, 50.1, 8.7),
        ("10.17.0.0", 16, -33.9, 151.2),
        ("2001:db8::", 32, 50.1, 8.7),
    ] {
        let place = Place::new(latitude, longitude).expect("a place");
        units.add(first.parse().expect("an address"), prefix, *b"XX", 0, place).expect("few");
    }
    let (units, fleet) =
        (Arc::new(units.build()), Arc::new(Fleet::from_toml(FLEET).expect("good")));
    let home = fleet.pops()[0].place;
    let latency = Latency::default();
    let demand = [30.0, 5.0, 5.0];
    let inputs = Inputs {
        units: &units,
        demand: &demand,
        fleet: &fleet,
        latency: &latency,
        home,
        previous: None,
    };
    Round::make(inputs).map
}

#[test]
fn what_is_shared_is_answered_by_subnet_and_the_rest_more_widely() {
    let map = map();
    let scopes = |first: &str, reason| {
        let first = u32::from(first.parse::<std::net::Ipv4Addr>().expect("an address"));
        let choices = (0..256u32).map(|n| map.choose(IpAddr::V4((first + (n << 8)).into()), 3));
        let choices: Vec<_> = choices.map(|choice| choice.expect("somebody serves")).collect();
        let of_reason = choices.into_iter().filter(|choice| choice.reason == reason);
        of_reason.map(|choice| choice.found.scope).collect::<Vec<_>>()
    };
    let shared = [scopes("10.1.0.0", Reason::Nearest), scopes("10.1.0.0", Reason::Balance)];
    assert!(shared.iter().all(|all| all.len() > 20 && all.iter().all(|scope| *scope == 24)));
    let whole = scopes("10.17.0.0", Reason::Nearest);
    let wide = whole.iter().filter(|scope| **scope == 20).count();
    assert!(wide > 128, "{wide} of {}", whole.len());
}

proptest! {
    #[test]
    fn an_answer_is_true_for_all_of_its_scope(
        bits in any::<u128>(), other in any::<u128>(), is_v4 in any::<bool>(), moment in 0u64..1000,
    ) {
        let map = map();
        let address = |bits: u128| match is_v4 {
            true => IpAddr::V4((0x0a00_0000 | bits as u32 & 0x003f_ffff).into()),
            false => IpAddr::V6((0x2001_0db8 << 96 | bits >> 31).into()),
        };
        let from = address(bits);
        let choice = map.choose(from, moment).expect("somebody serves");
        let scope = choice.found.scope;
        let inside = match from {
            IpAddr::V4(from) => IpAddr::V4((u32::from(from) ^ other as u32 & u32::MAX >> scope).into()),
            IpAddr::V6(from) => IpAddr::V6((u128::from(from) ^ other & u128::MAX >> scope).into()),
        };
        let same = map.choose(inside, moment).expect("somebody serves");
        prop_assert_eq!((same.pop, same.next, same.reason), (choice.pop, choice.next, choice.reason));
    }
}
