//! The map of a node, without its sockets: what is heard and seen in, worlds out.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use tidegate_chassis::{Clock, Process};
use tidegate_contract::{
    anycast::Coordinates,
    geo_feed::{FleetView, PopCondition, PopView},
    id::PopId,
};
use tidegate_geo::{
    asked::above,
    live::{
        Answers, Hold, Live, Sections, State,
        config::{ControlConfig, FleetConfig, OwnConfig, PlacesConfig, ProbeConfig},
    },
    steer::{Named, Policies},
    world::Trust,
    zone::ZoneTable,
};

use super::{control::token_file, pop::FakePop};

/// What it is configured with.
#[derive(Default)]
pub(crate) struct Settings {
    pub(crate) control: ControlConfig,
    pub(crate) fleet: FleetConfig,
    pub(crate) places: PlacesConfig,
    pub(crate) own: OwnConfig,
    pub(crate) probe: ProbeConfig,
    pub(crate) policies: Named,
}

/// A node's map.
pub(crate) struct TestNode {
    pub(crate) process: Process,
    pub(crate) state: Arc<State>,
    pub(crate) hold: Hold,
    pub(crate) answers: Answers,
    pub(crate) clock: Clock,
    /// Whether the clock runs twenty times as fast while a test waits: what moves a share a round is seen to move.
    is_quick: bool,
}

impl Settings {
    /// Follows these replicas and keeps what it hears in a folder. Nothing is looked at.
    pub(crate) fn following(urls: &[String], folder: &Path) -> Self {
        let mut settings = Self::default();
        settings.control.urls = urls.to_vec();
        settings.control.token_file = Some(token_file(folder));
        settings.control.data = Some(folder.join("data"));
        settings.places.places = vec![places(folder, LINES)];
        settings.probe.enabled = false;
        settings
    }

    pub(crate) fn start(&self) -> TestNode {
        self.start_with(Clock::system())
    }

    /// As [`Settings::start`], on a clock that runs twenty times as fast while a test waits.
    pub(crate) fn start_quick(&self) -> TestNode {
        TestNode { is_quick: true, ..self.start_with(Clock::manual(SystemTime::now())) }
    }

    pub(crate) fn start_with(&self, clock: Clock) -> TestNode {
        let Self { control, fleet, places, own, probe, .. } = self;
        let sections = Sections { control, fleet, places, own, probe };
        let process = Process::for_test();
        let live = Live::open(sections, &process, clock.clone()).expect("good settings");
        let (state, hold) = (Arc::clone(live.state()), live.hold());
        let zones = ZoneTable::new();
        let refused = zones.take_feed(&[("v.example".to_owned(), ZONE.to_owned())].into());
        assert!(refused.is_empty(), "{refused:?}");
        let policies = Policies::new(self.policies.clone());
        let above = above(&zones, live.worlds(), &policies, None);
        let answers = live.start(sections, &process, above).expect("it starts");
        TestNode { process, state, hold, answers, clock, is_quick: false }
    }
}

impl TestNode {
    /// The PoP that a client gets.
    pub(crate) fn pop(&self, client: &str) -> Option<String> {
        let world = self.state.worlds().newest_full();
        let target = world.target(client.parse().expect("an address"))?;
        Some(world.map.pop(target.pop).to_string())
    }

    /// The addresses that a client gets.
    pub(crate) fn addresses(&self, client: &str) -> Vec<IpAddr> {
        self.state.explain(client.parse().expect("an address"), self.clock.now()).addresses
    }

    /// The addresses that the DNS answers a client.
    pub(crate) fn dns(&self, client: &str) -> Vec<String> {
        let client = client.parse().expect("an address");
        let answer =
            self.answers.resolve("www.v.example", "A", client, None).expect("a good question");
        let records = answer["answer"]["answers"].as_array().expect("a list");
        let address = |record: &serde_json::Value| {
            record.as_str().and_then(|text| text.split_whitespace().last()).map(str::to_owned)
        };
        records.iter().filter_map(address).collect()
    }

    pub(crate) fn trust(&self) -> Trust {
        self.state.worlds().newest().trust
    }

    /// Waits until something is true.
    pub(crate) async fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let begun = SystemTime::now();
        while !is_so(self) {
            let waited = begun.elapsed().unwrap_or_default();
            assert!(
                waited < WAIT_MAX,
                "{what}: not after {waited:?}: {:?}",
                self.state.map(self.clock.now())
            );
            if self.is_quick {
                self.clock.advance(Duration::from_millis(200));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub(crate) async fn until_pop(&self, client: &str, pop: &str) {
        let what = format!("{client} gets {pop}");
        self.until(&what, |node| node.pop(client).as_deref() == Some(pop)).await;
    }

    /// A number of a metric, by the beginning of its line.
    pub(crate) fn metric(&self, name: &str, label: &str) -> f64 {
        let families = self.process.registry().gather();
        let family = families
            .iter()
            .find(|family| family.name() == name)
            .map_or(&[][..], |family| family.get_metric());
        let of_label = |metric: &&prometheus::proto::Metric| {
            label.is_empty() || metric.get_label().iter().any(|pair| pair.value() == label)
        };
        let metric = family.iter().find(of_label);
        metric
            .map_or(0.0, |metric| metric.get_counter().get_value() + metric.get_gauge().get_value())
    }

    /// Waits for so many lines of the feed that tell the fleet.
    pub(crate) async fn until_told(&self, lines: f64) {
        let is_told = |node: &Self| node.metric("geo_feed_lines_total", "fleet") >= lines;
        self.until("the fleet is told", is_told).await;
    }

    /// Ends it in order, as a drain does.
    pub(crate) async fn stop(self, data: &Path) {
        let kept = data.join("units.ndjson");
        let written = || std::fs::metadata(&kept).and_then(|metadata| metadata.modified()).ok();
        let (before, begun) = (written(), SystemTime::now());
        self.process.drain().begin();
        while written() == before {
            assert!(begun.elapsed().unwrap_or_default() < WAIT_MAX, "nothing was kept");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// PoPs at 0, 40 and 80 degrees east, as many as there are, called a, b and c.
pub(crate) fn view(version: u64, pops: &[(IpAddr, u16)]) -> FleetView {
    let pop = |(number, (ip, port)): (usize, &(IpAddr, u16))| PopView {
        id: id(number),
        place: Coordinates { latitude: 0.0, longitude: 40.0 * number as f64 },
        capacity_mbps: 1000.0,
        weight: 1.0,
        state: PopCondition::Up,
        addresses: vec![*ip],
        port: *port,
        name: Some("localhost".to_owned()),
    };
    let pops = pops.iter().enumerate().map(pop).collect();
    FleetView { version, pops, ..FleetView::default() }
}

/// A view of PoPs that are there.
pub(crate) fn view_of(version: u64, pops: &[&FakePop]) -> FleetView {
    let pops: Vec<_> = pops.iter().map(|pop| (pop.ip(), pop.addr.port())).collect();
    view(version, &pops)
}

/// A view of PoPs that are nowhere.
pub(crate) fn view_of_none(version: u64, count: u8) -> FleetView {
    let pops: Vec<_> = (1..=count).map(|host| (IpAddr::from([192, 0, 2, host]), 443)).collect();
    view(version, &pops)
}

pub(crate) fn id(number: usize) -> PopId {
    PopId::parse(["a", "b", "c", "d"][number]).expect("good")
}

/// A file of places.
pub(crate) fn places(folder: &Path, lines: &str) -> PathBuf {
    let path = folder.join("places.mmdb");
    let bytes = tidegate_geo::locate::write::from_lines(lines, 1_700_000_000).expect("good lines");
    let beside = folder.join("places.new");
    std::fs::write(&beside, bytes).expect("writable");
    std::fs::rename(beside, &path).expect("writable");
    path
}

/// 10.0.0.0/16 is near a, 10.1.0.0/16 near b, 10.2.0.0/16 near c.
pub(crate) const LINES: &str = "\
10.0.0.0/16,AA,0.1,1.0,Alpha
10.1.0.0/16,BB,0.1,39.0,Beta
10.2.0.0/16,CC,0.1,79.0,Gamma
";
/// One steered name.
const ZONE: &str = "\
$ORIGIN v.example.
@ 3600 IN SOA ns1 hostmaster 1 7200 3600 1209600 60
@ 3600 IN NS ns1
ns1 3600 IN A 192.0.2.53
_steer.www 20 IN TXT \"alpn=h3,h2\"
";
/// Much longer than anything takes on a machine that has other things to do.
const WAIT_MAX: Duration = Duration::from_secs(120);
