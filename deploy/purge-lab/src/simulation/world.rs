//! The world: events in the order of their time, and what they do.
//!
//! One seed decides everything. Nothing here waits, and nothing here decides what production code decides.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use prost::Message;
use tidegate_chassis::Clock;
use tidegate_contract::{
    id::{PurgeId, StreamId},
    purge::{PurgeOrder, PurgeTarget},
};
use tidegate_control::{
    fleet,
    purge::{Limits, confirm, is_complete},
    store::{Backup, Entry, MemoryLog, NewPurge},
    sync::purge_cursor::{Cursor, Said, heartbeat},
    wire::{PurgeDown, PurgeUp, purge_up},
};
use tidegate_edge::control::wire;

use super::{
    Mistake, Report, Settings,
    path::{Direction, Path},
    pop::{LEASE, Pop, UNCERTAIN_AGE_MAX, key},
    random::Random,
    replica::{Far, KNOWLEDGE_MAX, Lane, Near, Replica, name},
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

    // -- purges

    /// Manifests change, and the operator purges them.
    fn purge(&mut self) {
        let burst = if self.random.chance(15) { self.random.between(2, 25) } else { 1 };
        for _ in 0..burst {
            self.purge_one();
        }
        self.after(50, 1500, Event::Purge);
    }

    fn purge_one(&mut self) {
        let replica = self.random.one_of(self.replicas.len());
        let (now_ms, is_linked) = (self.now_ms, self.is_linked(replica));
        if !is_linked {
            return; // not accepted, so nobody relies on it
        }
        let is_all = self.random.chance(3);
        let object = self.random.one_of(OBJECTS);
        let target = if is_all { PurgeTarget::All } else { PurgeTarget::Key { key: key(object) } };
        let changed = if is_all { 0..OBJECTS } else { object..object + 1 };
        let mut versions = BTreeMap::new();
        for object in changed {
            self.versions[object] += 1;
            versions.insert(object, self.versions[object]);
        }
        let order = PurgeOrder { target, soft: false };
        let entry = self.log.push(self.new_purge(order.clone(), now_ms));
        self.replicas[replica].head = entry.offset;
        self.report.purges += 1;
        let accepted_ms = now_ms;
        self.purges.push(Purged { entry, order, accepted_ms, versions, complete_ms: None });
        self.pump_all(replica);
    }

    fn new_purge(&self, order: PurgeOrder, accepted_unix_ms: u64) -> NewPurge {
        let id = PurgeId::parse(format!("p{}", self.events_made)).expect("a good id");
        NewPurge {
            id,
            order,
            replacement: None,
            replacement_digest: None,
            accepted_unix_ms,
            idempotency_key: None,
        }
    }

    /// Somebody who waits looks whether a purge is complete.
    fn look(&mut self) {
        let recent = self.purges.len().saturating_sub(30);
        if recent == self.purges.len() {
            return;
        }
        let chosen = recent + self.random.one_of(self.purges.len() - recent);
        let replica = self.random.one_of(self.replicas.len());
        let (is_alone, now_ms) = (self.replicas.len() == 1, self.now_ms);
        let (replica, purged) = (&self.replicas[replica], &mut self.purges[chosen]);
        if !replica.is_up(now_ms) || purged.complete_ms.is_some() {
            return;
        }
        let progress = replica.fleet.progress(purged.entry.offset);
        let limits =
            Limits { lease: LEASE + LEASE_MARGIN, uncertain_age_max: UNCERTAIN_AGE_MAX, is_alone };
        if is_complete(&confirm(&purged.entry, progress, now_ms, limits)) {
            purged.complete_ms = Some(now_ms);
            self.report.complete += 1;
        }
    }

    // -- clients and the origin

    fn answer(&mut self, pop: usize, object: usize, waited: bool) {
        let at = &mut self.pops[pop];
        if let Some(version) = at.served(object, waited) {
            self.report.hits += 1;
            if !at.lease.is_certain(self.clock.now()) {
                self.report.uncertain_hits += 1;
            }
            self.check(pop, object, version);
        } else if at.fetching.insert(object) {
            self.report.fetches += 1;
            let (born, life, asked_ms) = (at.purges.seq(), at.life, self.now_ms);
            self.after(5, 400, Event::AtOrigin(Fetch { pop, life, object, born, asked_ms }));
        }
    }

    fn arrived(&mut self, fetch: &Fetch, version: u64) {
        let Fetch { pop, life, object, born, asked_ms } = *fetch;
        let at = &mut self.pops[pop];
        if at.life != life {
            return;
        }
        at.fetching.remove(&object);
        let is_late = self.settings.mistake == Some(Mistake::BornOnArrival);
        let born = if is_late { at.purges.seq() } else { born };
        at.store(object, version, born, self.now_ms - asked_ms);
        self.answer(pop, object, true);
    }

    /// What must never be.
    fn check(&mut self, pop: usize, object: usize, version: u64) {
        let (now_ms, applied) = (self.now_ms, self.pops[pop].applied());
        let longest = (LEASE + UNCERTAIN_AGE_MAX + KNOWLEDGE_MAX).as_millis() as u64;
        let took_ms = self.pops[pop].objects.get(&object).map_or(0, |stored| stored.took_ms);
        for purged in self.purges.iter().rev() {
            if purged.versions.get(&object).is_none_or(|since| *since <= version) {
                continue;
            }
            let why = if applied >= purged.entry.offset {
                "after it had applied the purge"
            } else if now_ms > purged.accepted_ms + longest + took_ms {
                "long after the purge was accepted"
            } else if purged.complete_ms.is_some_and(|told_ms| now_ms >= told_ms + took_ms) {
                "after somebody was told that the purge is complete"
            } else {
                continue;
            };
            let (target, ago) = (purged.order.target.kind(), now_ms - purged.accepted_ms);
            let offset = purged.entry.offset;
            self.report.violation = Some(format!(
                "at {} ms pop-{pop}, which stands at {applied}, served version {version} of manifest {object} {why}: \
                 {target} at offset {offset}, accepted {ago} ms before",
                now_ms - EPOCH_MS
            ));
            return;
        }
    }

    // -- lanes, the node's side

    fn connect_all(&mut self, pop: usize) {
        for subscription in 0..self.replicas.len() as u32 {
            self.after(0, 500, Event::Connect { pop, subscription });
        }
    }

    fn connect(&mut self, pop: usize, subscription: u32) {
        // With as many endpoints as subscriptions each one stays at its own.
        let replica = subscription as usize;
        let now = self.clock.now();
        let (hello, heard) = self.pops[pop].follower.hello("simulated", subscription, now);
        let lane = self.lanes.len();
        self.lanes.push(Lane {
            pop,
            subscription,
            replica,
            up: Direction::default(),
            down: Direction::default(),
            near: Some(Near { heard, spoken_ms: self.now_ms }),
            far: None,
            in_flight: 0,
        });
        self.report.lanes += 1;
        self.say(lane, &hello);
        self.at(self.now_ms + SILENCE_MAX_MS + 1, Event::Silence(lane));
    }

    /// The node's side ends, and comes back after a while.
    fn give_up(&mut self, lane: usize) {
        if self.lanes[lane].near.take().is_some() {
            let Lane { pop, subscription, .. } = self.lanes[lane];
            self.after(0, 1500, Event::Connect { pop, subscription });
        }
    }

    fn silence(&mut self, lane: usize) {
        let Some(near) = &self.lanes[lane].near else { return };
        let due = near.spoken_ms + SILENCE_MAX_MS + 1;
        if due <= self.now_ms {
            self.give_up(lane);
        } else {
            self.at(due, Event::Silence(lane));
        }
    }

    fn down(&mut self, lane: usize, message: &[u8]) {
        let (mistake, now, now_ms) = (self.settings.mistake, self.clock.now(), self.now_ms);
        let open = &mut self.lanes[lane];
        open.in_flight -= 1;
        let Some(near) = &mut open.near else {
            open.far = None; // what is sent to a closed socket comes back as a reset
            return;
        };
        if let Some(far) = &mut open.far {
            far.moved_ms = now_ms;
        }
        near.spoken_ms = now_ms;
        let mut message = wire::PurgeDown::decode(message).expect("what we wrote");
        if let Some(wire::purge_down::Message::Heartbeat(beat)) = &mut message.message
            && mistake == Some(Mistake::LeaseFromArrival)
        {
            beat.answers = near.heard.questions.ask(now).number;
        }
        let is_answer = matches!(message.message, Some(wire::purge_down::Message::Heartbeat(_)));
        if matches!(message.message, Some(wire::purge_down::Message::Trimmed(_))) {
            self.report.trims += 1;
        }
        let pop = open.pop;
        let taken = self.pops[pop].follower.take(message, &mut near.heard, now);
        let ask = is_answer.then(|| near.heard.questions.ask(now));
        if taken.is_err() {
            self.give_up(lane);
            return;
        }
        for acknowledgement in self.pops[pop].follower.acknowledgements() {
            self.say(lane, &acknowledgement);
        }
        if let Some(ask) = ask {
            let ask = wire::purge_up::Message::Ask(ask);
            self.say(lane, &wire::PurgeUp { message: Some(ask) });
        }
        self.pump(lane);
    }

    fn say(&mut self, lane: usize, message: &wire::PurgeUp) {
        let message = PurgeUp::decode(message.encode_to_vec().as_slice()).expect("what we wrote");
        let open = &mut self.lanes[lane];
        let path = &self.paths[open.pop][open.replica];
        let arrival = path.arrival(&mut open.up, self.now_ms, &mut self.random);
        self.at(arrival, Event::Up { lane, message });
    }

    // -- lanes, the replica's side

    fn up(&mut self, lane: usize, message: PurgeUp) {
        match message.message {
            Some(purge_up::Message::Hello(hello)) => {
                self.open(lane, hello.applied.get(STREAM).copied());
            }
            Some(purge_up::Message::Applied(applied)) => {
                let open = &self.lanes[lane];
                let may_lag = self.replicas.len() > 1;
                if let Some(far) = &open.far
                    && (may_lag || applied.offset <= self.replicas[open.replica].head)
                {
                    far.guard.applied(applied.offset);
                }
            }
            Some(purge_up::Message::Ask(ask)) => {
                if let Some(far) = &mut self.lanes[lane].far {
                    far.asked = far.asked.max(ask.number);
                }
            }
            None => {}
        }
    }

    fn open(&mut self, lane: usize, applied: Option<u64>) {
        let Lane { pop, subscription, replica, .. } = self.lanes[lane];
        let now_ms = self.now_ms;
        let is_blind = self.settings.mistake == Some(Mistake::BlindReplica);
        let at = &self.replicas[replica];
        let (cursor, begun) = Cursor::begin(applied, at.head);
        let lags = self.replicas.len() > 1 && cursor.is_ahead_of(at.head);
        if !at.is_up(now_ms) || lags || !(at.is_current(now_ms) || is_blind) {
            self.give_up(lane);
            return;
        }
        for other in &mut self.lanes {
            let is_older =
                (other.pop, other.subscription, other.replica) == (pop, subscription, replica);
            if is_older && other.far.is_some() {
                other.far = None;
            }
        }
        let kind = fleet::Lane::Purges(fleet::Subscription::of(subscription));
        let guard = at.fleet.open_lane(&name(pop), kind, "simulated").expect("enrolled");
        guard.stands_at(begun.stands_at);
        guard.beat();
        let head = at.head;
        self.lanes[lane].far = Some(Far { cursor, guard, asked: 0, moved_ms: now_ms });
        self.tell(lane, &heartbeat(STREAM, head, 0, Default::default()));
        self.pump(lane);
        self.after(BEAT_MS, BEAT_MS, Event::Beat(lane));
    }

    fn beat(&mut self, lane: usize) {
        let now_ms = self.now_ms;
        let is_blind = self.settings.mistake == Some(Mistake::BlindReplica);
        let open = &mut self.lanes[lane];
        let Some(far) = &open.far else { return };
        if open.in_flight > 0 && now_ms > far.moved_ms + KEEPALIVE_MS {
            open.far = None;
            return;
        }
        let at = &self.replicas[open.replica];
        // A lane whose window is full says nothing.
        if (at.is_current(now_ms) || is_blind) && open.in_flight < WINDOW {
            far.guard.beat();
            let said = heartbeat(STREAM, at.head, far.asked, Default::default());
            self.tell(lane, &said);
        }
        self.after(BEAT_MS, BEAT_MS, Event::Beat(lane));
    }

    fn pump_all(&mut self, replica: usize) {
        for lane in 0..self.lanes.len() {
            if self.lanes[lane].replica == replica && self.lanes[lane].far.is_some() {
                self.pump(lane);
            }
        }
    }

    /// Says what the log holds, as far as the window allows.
    fn pump(&mut self, lane: usize) {
        loop {
            let open = &mut self.lanes[lane];
            let Some(far) = &mut open.far else { return };
            if open.in_flight >= WINDOW {
                return;
            }
            let at = &self.replicas[open.replica];
            let said = far.cursor.take(at.page(&self.log, far.cursor.after()));
            let Some(message) = said.message(STREAM) else { return };
            if let Said::Trimmed(head) = said
                && self.settings.mistake == Some(Mistake::UnsaidTrim)
                && self.pops[self.lanes[lane].pop].jump(head)
            {
                continue;
            }
            self.tell(lane, &message);
        }
    }

    fn tell(&mut self, lane: usize, message: &PurgeDown) {
        let open = &mut self.lanes[lane];
        open.in_flight += 1;
        let path = &self.paths[open.pop][open.replica];
        let arrival = path.arrival(&mut open.down, self.now_ms, &mut self.random);
        self.at(arrival, Event::Down { lane, message: message.encode_to_vec() });
    }

    fn learn(&mut self, replica: usize) {
        if self.is_linked(replica) {
            let newest = *tidegate_control::store::Log::head(&self.log).borrow();
            let at = &mut self.replicas[replica];
            at.heard_ms = self.now_ms;
            if newest != at.head {
                at.head = newest;
                self.pump_all(replica);
            }
        }
        self.after(10, 80, Event::Learn(replica));
    }

    fn is_linked(&self, replica: usize) -> bool {
        let at = &self.replicas[replica];
        at.is_up(self.now_ms) && self.now_ms >= at.cut_until_ms
    }

    // -- faults

    fn fault(&mut self) {
        self.report.faults += 1;
        let (pop, now_ms) = (self.random.one_of(POPS), self.now_ms);
        let replica = self.random.one_of(self.replicas.len());
        let length = self.random.between(100, 12_000);
        match self.random.between(0, 99) {
            0..25 => self.paths[pop][replica].cut(now_ms + length),
            25..45 => {
                for path in &mut self.paths[pop] {
                    path.cut(now_ms + length);
                }
            }
            45..65 => {
                let slow = self.random.between(100, 4500);
                self.paths[pop][replica].slow(now_ms + length, slow);
            }
            65..72 => self.crash_pop(pop),
            72..80 => self.crash_replica(replica, now_ms + length / 4),
            80..88 => {
                let at = &mut self.replicas[replica];
                at.cut_until_ms = now_ms + length;
            }
            88..94 => {
                let newest = *tidegate_control::store::Log::head(&self.log).borrow();
                let left = self.random.between(0, 6);
                self.log.trim_to(newest.saturating_sub(left));
            }
            94..97 => self.backup = Some((self.log.backup(), self.purges.len())),
            _ => self.restore(),
        }
    }

    fn crash_pop(&mut self, pop: usize) {
        let life = self.pops[pop].life + 1;
        self.pops[pop] = Pop::new(self.clock.clone(), life);
        for lane in &mut self.lanes {
            if lane.pop == pop {
                lane.near = None;
            }
        }
        self.connect_all(pop);
    }

    fn crash_replica(&mut self, replica: usize, until_ms: u64) {
        let newest = *tidegate_control::store::Log::head(&self.log).borrow();
        let mut anew = Replica::new(&self.clock, POPS, newest, self.now_ms);
        anew.down_until_ms = until_ms;
        // It learns where the log ends before it opens its ports.
        anew.heard_ms = until_ms;
        self.replicas[replica] = anew;
        for lane in 0..self.lanes.len() {
            if self.lanes[lane].replica == replica {
                self.lanes[lane].far = None;
                self.give_up(lane);
            }
        }
    }

    /// The machine with the log is lost; everything goes on from the last backup, and what came after it is gone.
    fn restore(&mut self) {
        let Some((backup, purges)) = self.backup.take() else { return };
        self.report.restores += 1;
        if self.settings.mistake == Some(Mistake::OffsetsGivenTwice) {
            let stream = StreamId::parse(STREAM).expect("a good id");
            self.log = MemoryLog::new(stream, TAIL_ENTRIES);
            for purged in &self.purges[..purges] {
                self.log.push(self.new_purge(purged.order.clone(), purged.accepted_ms));
            }
        } else {
            self.log.restore(&backup);
        }
        for replica in 0..self.replicas.len() {
            self.crash_replica(replica, self.now_ms + 200);
        }
    }

    // -- time

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
