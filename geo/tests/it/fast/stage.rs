//! Zones, a world and a handler of them, for the fast path and for what it is compared with.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use prometheus::Registry;
use tidegate_contract::id::PopId;
use tidegate_geo::{
    dns::{
        config::Answers,
        cookie::{self, Cookies},
        fast::{
            batch::ANSWER_BYTES_MAX,
            engine::{Engine, Verdict},
            names::Names,
            table::Table,
        },
        handler::{Handler, Parts},
        metrics::Metrics,
        query_log::QueryLog,
        rate::{self, Limiter},
        transport::Transport,
    },
    fleet::{Fleet, Pop, PopState},
    latency::Latency,
    map::{Inputs, Round},
    place::Place,
    unit::UnitsBuilder,
    world::{Trust, World, Worlds},
    zone::ZoneTable,
};

/// What both answer from.
pub(super) struct Stage {
    pub(super) zones: Arc<ZoneTable>,
    pub(super) worlds: Arc<Worlds>,
}

/// A PoP, as far as answers tell them apart.
#[derive(Debug, Clone)]
pub(super) struct PopPlan {
    pub(super) capacity: f64,
    pub(super) state: PopState,
    pub(super) v4: u8,
    pub(super) v6: u8,
}

impl PopPlan {
    pub(super) fn roomy() -> Self {
        Self { capacity: 1000.0, state: PopState::Up, v4: 1, v6: 1 }
    }
}

impl Stage {
    pub(super) fn new(zones: &[(&str, String)], world: World) -> Self {
        let table = ZoneTable::new();
        let texts: BTreeMap<String, String> =
            zones.iter().map(|(name, text)| ((*name).to_owned(), text.clone())).collect();
        table.take_feed(&texts);
        Self { zones: table, worlds: Worlds::new(world) }
    }

    pub(super) fn handler(&self, limits: Option<&rate::Config>, has_cookies: bool) -> Arc<Handler> {
        let cookies = cookie::Config { enabled: has_cookies, secret_file: None };
        Arc::new(Handler::new(Parts {
            zones: Arc::clone(&self.zones),
            worlds: Arc::clone(&self.worlds),
            answers: Answers::default(),
            idle: Duration::from_secs(10),
            cookies: Cookies::new(&cookies).expect("good").map(Arc::new),
            signer: None,
            limiter: limits.and_then(|limits| Limiter::new(limits).expect("good")).map(Arc::new),
            log: QueryLog::every(0),
            metrics: Metrics::register(&Registry::new()),
        }))
    }
}

/// The fast path over a handler.
pub(super) struct Fast {
    engine: Engine,
    handler: Arc<Handler>,
}

impl Fast {
    pub(super) fn new(handler: &Arc<Handler>) -> Self {
        let parts = handler.parts();
        let (zones, world) = (parts.zones.newest_full(), parts.worlds.newest_full());
        let names = Arc::new(Names::new(&zones, &world));
        let table = Table::new(names, &zones, world, parts.signer.is_some());
        let table = Arc::new(ArcSwap::from_pointee(table));
        Self { engine: Engine::new(table, Arc::clone(handler)), handler: Arc::clone(handler) }
    }

    /// The answer; `None`: it is the handler's.
    pub(super) fn answer(&mut self, packet: &[u8], client: SocketAddr) -> Option<Vec<u8>> {
        let mut out = [0xaa; ANSWER_BYTES_MAX];
        let now = self.handler.limiter_now();
        match self.engine.answer(packet, client, now, &mut out) {
            Verdict::Answered(length) => Some(out[..length].to_vec()),
            Verdict::NotMine => None,
            Verdict::Dropped => panic!("nothing is dropped here"),
        }
    }

    /// How long the answer is that the fast path writes; 0: it is the handler's.
    #[allow(dead_code)]
    pub(super) fn length(&mut self, packet: &[u8], client: SocketAddr) -> usize {
        let mut out = [0; ANSWER_BYTES_MAX];
        match self.engine.answer(packet, client, 0, &mut out) {
            Verdict::Answered(length) => length,
            Verdict::NotMine | Verdict::Dropped => 0,
        }
    }

    /// The handler's own answer.
    pub(super) fn slow(&self, packet: &[u8], client: SocketAddr) -> Option<Vec<u8>> {
        self.handler.answer_bytes(packet, client, Transport::Udp)
    }
}

/// A world of PoPs on a line around the earth, whose clients are 10.N.0.0/16 and 2001:db8:N::/48 beside PoP N; 10.0.N.0/24
/// have units of their own.
pub(super) fn world(pops: &[PopPlan], trust: Trust, demand: f64, round: u64) -> World {
    let place = |number: usize| Place::new(0.0, number as f64 * 50.0 - 170.0).expect("good");
    let made = pops.iter().enumerate().map(|(number, plan)| {
        let address = |last: u8| IpAddr::from([192, 0, 2, number as u8 * 16 + last]);
        let wide =
            |last: u8| IpAddr::from([0x2001, 0xdb8, 0xf, 0, 0, 0, number as u16, last.into()]);
        Pop {
            id: PopId::parse(format!("p{number}")).expect("good"),
            place: place(number),
            capacity: plan.capacity,
            weight: 1.0,
            state: plan.state,
            addresses: (0..plan.v4).map(address).chain((0..plan.v6).map(wide)).collect(),
        }
    });
    let fleet = Arc::new(Fleet::new(made.collect()).expect("good"));
    let mut units = UnitsBuilder::default();
    for number in 0..6u8 {
        let place = place(usize::from(number));
        let asn = u32::from(number);
        units.add([10, number, 0, 0].into(), 16, *b"XX", asn, place).expect("good");
        units.add([10, 0, number, 0].into(), 24, *b"YY", asn, place).expect("good");
        let wide = IpAddr::from([0x2001, 0xdb8, number.into(), 0, 0, 0, 0, 0]);
        units.add(wide, 48, *b"XX", asn, place).expect("good");
    }
    let units = Arc::new(units.build());
    let demand = vec![demand; units.all().len()];
    let home = place(0);
    let inputs = Inputs {
        units: &units,
        demand: &demand,
        fleet: &fleet,
        latency: &Latency::default(),
        home,
        previous: None,
    };
    World { map: Round::make(inputs).map, trust, round, heard: SystemTime::UNIX_EPOCH }
}
