//! A zone, a world and a handler for tests.
//!
//! Invariant: clients of 10.0.0.0/16 are near PoP fra, those of 10.1.0.0/16 near syd, which has no IPv6.

use std::{collections::BTreeMap, sync::Arc, time::Duration, time::SystemTime};

use hickory_proto::rr::Name;
use prometheus::Registry;

use crate::{
    dns::{
        config::Answers,
        cookie::{self, Cookies},
        handler::{Handler, Parts},
        metrics::Metrics,
        query_log::QueryLog,
        rate::{self, Limiter},
    },
    fleet::Fleet,
    latency::Latency,
    map::{Inputs, Round},
    place::Place,
    unit::UnitsBuilder,
    world::{Trust, World, Worlds},
    zone::{ZoneTable, Zones},
};

pub(crate) const FLEET: &str = r#"
    [[pop]]
    id = "fra"
    latitude = 50.1
    longitude = 8.7
    capacity = 100.0
    addresses = ["192.0.2.1", "192.0.2.2", "2001:db8::1"]

    [[pop]]
    id = "syd"
    latitude = -33.9
    longitude = 151.2
    capacity = 100.0
    addresses = ["198.51.100.1"]
"#;

pub(crate) const ZONE: &str = r#"
$TTL 300
@ SOA ns1 hostmaster 7 3600 600 86400 60
@ NS ns1
@ NS ns.other.test.
@ CAA 0 issue "ca.test"
ns1 A 192.0.2.53
ns1 AAAA 2001:db8::53
_steer.www TXT "alpn=h3,h2"
_steer.v TXT "port=8443 alpn=h2"
v TXT "beside"
static A 192.0.2.80
static TXT "hello" "you"
a.b.deep A 192.0.2.81
*.wild A 192.0.2.82
host.wild TXT "own"
_steer.*.any TXT "port=443"
alias CNAME www
chain CNAME alias
other CNAME www.example.net.
there CNAME x.second.test.
nowhere CNAME missing
into CNAME x.sub
loop1 CNAME loop2
loop2 CNAME loop1
sub NS ns.sub
sub NS ns2.example.net.
ns.sub A 192.0.2.84
ns.sub AAAA 2001:db8::84
signed NS ns.signed
signed DS 60485 13 2 ( D4B7D520E7BB5F0F67674A0CCEB1E3E0
                       614B93C4F9E99B8383F6A1E4469DA50A )
ns.signed A 192.0.2.85
"#;

pub(crate) const SECOND: &str = r#"
@ 60 SOA ns1.example.test. hostmaster 1 3600 600 86400 300
@ 60 NS ns1.example.test.
x 30 TXT "there"
"#;

pub(crate) fn name(text: &str) -> Name {
    Name::from_ascii(text).expect("a name")
}

pub(crate) fn table() -> Arc<ZoneTable> {
    let table = ZoneTable::new();
    let zones = [("example.test", ZONE), ("second.test", SECOND)];
    let zones: BTreeMap<String, String> =
        zones.map(|(name, text)| (name.to_owned(), text.to_owned())).into();
    let wrong = table.take_feed(&zones);
    assert!(wrong.is_empty(), "{wrong:?}");
    table
}

pub(crate) fn zones() -> Arc<Zones> {
    table().newest_full()
}

pub(crate) fn world(fleet: &str) -> World {
    let mut units = UnitsBuilder::default();
    for (prefix, latitude, longitude) in [("10.0.0.0", 48.9, 2.4), ("10.1.0.0", -37.8, 145.0)] {
        let place = Place::new(latitude, longitude).expect("a place");
        units.add(prefix.parse().expect("an address"), 16, *b"XX", 0, place).expect("few");
    }
    let (units, fleet) =
        (Arc::new(units.build()), Arc::new(Fleet::from_toml(fleet).expect("good")));
    let home = fleet
        .pops()
        .first()
        .map_or_else(|| Place::new(0.0, 0.0).expect("a place"), |pop| pop.place);
    let latency = Latency::default();
    let inputs = Inputs {
        units: &units,
        demand: &[1.0, 1.0],
        fleet: &fleet,
        latency: &latency,
        home,
        previous: None,
    };
    let map = Round::make(inputs).map;
    World { map, trust: Trust::Current, round: 0, heard: SystemTime::UNIX_EPOCH }
}

pub(crate) fn handler(rate: &rate::Config) -> Handler {
    Handler::new(parts(rate))
}

pub(crate) fn parts(rate: &rate::Config) -> Parts {
    Parts {
        zones: table(),
        worlds: Worlds::new(world(FLEET)),
        answers: Answers { nsid: Some("fra-1".to_owned()), ..Answers::default() },
        idle: Duration::from_secs(10),
        cookies: Cookies::new(&cookie::Config::default()).expect("random numbers").map(Arc::new),
        signer: None,
        limiter: Limiter::new(rate).expect("random numbers").map(Arc::new),
        log: QueryLog::every(1),
        metrics: Metrics::register(&Registry::new()),
    }
}
