//! The world: events in the order of their time, and what they do.
//!
//! One seed decides everything. Nothing here waits, and nothing here decides what production code decides.

mod purges; // manifests change, and somebody waits until all have heard
mod clients; // what they get, and whether they may
mod node_side; // lanes as nodes have them
mod replica_side; // lanes as replicas have them
mod faults; // what goes wrong

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tidegate_chassis::Clock;
use tidegate_contract::{id::StreamId, purge::PurgeOrder};
use tidegate_control::{
    store::{Backup, Entry, MemoryLog},
    wire::PurgeUp,
};

use super::{
    Report, Settings,
    path::Path,
    pop::{LEASE, Pop},
    random::Random,
    replica::{Lane, Replica},
};

pub(super) struct World {
    settings: Settings,
    random: Random,
    clock: Clock,
    now_ms: u64,
    events: BTreeMap<(u64, u64), Event>,
    events_made: u64,
    log: MemoryLog,
    backup: Option<(Backup, usize)>,
    pops: Vec<Pop>,
    replicas: Vec<Replica>,
    /// By PoP, then by replica.
    paths: Vec<Vec<Path>>,
    lanes: Vec<Lane>,
    /// The version of each manifest at the origin.
    versions: Vec<u64>,
    purges: Vec<Purged>,
    report: Report,
}

/// A purge that was accepted.
struct Purged {
    entry: Arc<Entry>,
    order: PurgeOrder,
    accepted_ms: u64,
    /// The version of each manifest that it concerns from which on it says nothing.
    versions: BTreeMap<usize, u64>,
    /// When somebody was told that it is complete.
    complete_ms: Option<u64>,
}

/// A question to the origin.
struct Fetch {
    pop: usize,
    life: u64,
    object: usize,
    born: u64,
    asked_ms: u64,
}

enum Event {
    Purge,
    Request(usize),
    AtOrigin(Fetch),
    Arrived { fetch: Fetch, version: u64 },
    Connect { pop: usize, subscription: u32 },
    Up { lane: usize, message: PurgeUp },
    Down { lane: usize, message: Vec<u8> },
    Beat(usize),
    Silence(usize),
    Learn(usize),
    Fault,
    Look,
}

impl World {
    pub(super) fn new(settings: Settings) -> Self {
        let mut random = Random::new(settings.seed);
        let clock = Clock::manual(SystemTime::UNIX_EPOCH + Duration::from_millis(EPOCH_MS));
        let log = MemoryLog::new(StreamId::parse(STREAM).expect("a good id"), TAIL_ENTRIES);
        let replicas = random.between(1, 2) as usize;
        let paths = (0..POPS).map(|_| (0..replicas).map(|_| Path::new(&mut random)).collect());
        let paths = paths.collect();
        let mut world = Self {
            settings,
            clock: clock.clone(),
            now_ms: EPOCH_MS,
            events: BTreeMap::new(),
            events_made: 0,
            log,
            backup: None,
            pops: (0..POPS).map(|_| Pop::new(clock.clone(), 0)).collect(),
            replicas: (0..replicas).map(|_| Replica::new(&clock, POPS, 0, EPOCH_MS)).collect(),
            paths,
            lanes: Vec::new(),
            versions: vec![1; OBJECTS],
            purges: Vec::new(),
            report: Report::default(),
            random,
        };
        world.begin();
        world
    }

    pub(super) fn run(mut self) -> Report {
        let end_ms = EPOCH_MS + self.settings.duration_ms;
        while let Some(((at_ms, _), event)) = self.events.pop_first() {
            if at_ms > end_ms || self.report.violation.is_some() {
                break;
            }
            self.clock.advance(Duration::from_millis(at_ms - self.now_ms));
            self.now_ms = at_ms;
            self.happen(event);
        }
        self.report
    }

    fn begin(&mut self) {
        for pop in 0..POPS {
            self.connect_all(pop);
            self.after(0, 100, Event::Request(pop));
        }
        for replica in 0..self.replicas.len() {
            self.after(0, 50, Event::Learn(replica));
        }
        self.after(1000, 2000, Event::Purge);
        self.after(1000, 4000, Event::Fault);
        self.after(1000, 1000, Event::Look);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Purge => self.purge(),
            Event::Request(pop) => {
                let object = self.random.one_of(OBJECTS);
                self.answer(pop, object, false);
                self.after(20, 150, Event::Request(pop));
            }
            Event::AtOrigin(fetch) => {
                let version = self.versions[fetch.object];
                let arrived = Event::Arrived { fetch, version };
                let way_ms = if self.random.chance(10) { 3000 } else { 200 };
                self.after(5, way_ms, arrived);
            }
            Event::Arrived { fetch, version } => self.arrived(&fetch, version),
            Event::Connect { pop, subscription } => self.connect(pop, subscription),
            Event::Up { lane, message } => self.up(lane, message),
            Event::Down { lane, message } => self.down(lane, &message),
            Event::Beat(lane) => self.beat(lane),
            Event::Silence(lane) => self.silence(lane),
            Event::Learn(replica) => self.learn(replica),
            Event::Fault => {
                self.fault();
                self.after(200, 3000, Event::Fault);
            }
            Event::Look => {
                self.look();
                self.after(20, 400, Event::Look);
            }
        }
    }

    fn at(&mut self, at_ms: u64, event: Event) {
        self.events_made += 1;
        self.events.insert((at_ms, self.events_made), event);
    }

    fn after(&mut self, low_ms: u64, high_ms: u64, event: Event) {
        let wait = self.random.between(low_ms, high_ms);
        self.at(self.now_ms + wait, event);
    }
}

const STREAM: &str = "main";
const POPS: usize = 4;
const OBJECTS: usize = 3;
const TAIL_ENTRIES: usize = 8;
/// Virtual time does not begin at zero, where every difference is the same.
const EPOCH_MS: u64 = 1_000_000_000;
/// As the edge has it: a lane is given up after a lease without a word.
const SILENCE_MAX_MS: u64 = LEASE.as_millis() as u64;
const BEAT_MS: u64 = 1000;
const KEEPALIVE_MS: u64 = 7000;
/// Messages on their way to one node: the queue of the lane and the windows of its connection.
const WINDOW: usize = 4;
const LEASE_MARGIN: Duration = Duration::from_secs(1);
