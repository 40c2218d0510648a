//! Nodes that take steps told to them, and what validators make of them meanwhile.
//!
//! The control plane is a variable here: it passes on what a node proposes to whom it likes, late, twice or not at all.

use std::sync::atomic::AtomicUsize;

use proptest::prelude::*;
use tidegate_contract::zone_keys::GONE_MAX;

use super::*;
use crate::dns::sign::rollover::scheme;

const ZONE: &str = "cdn.example.";
/// Seconds: of DNSKEY, of the DS, of data, and the margin. The DS is held longest, so that forgetting it would be seen.
const HOLDING: (u64, u64, u64, u64) = (20, 90, 25, 10);

fn zone() -> Name {
    Name::from_ascii(ZONE).expect("a name")
}

fn config(path: &std::path::Path) -> Config {
    let (dnskey_ttl, ds_ttl, ttl_max, margin) = HOLDING;
    let seconds = Duration::from_secs;
    Config {
        keys: Some(path.to_owned()),
        dnskey_ttl: seconds(dnskey_ttl),
        ds_ttl: seconds(ds_ttl),
        ttl_max: seconds(ttl_max),
        margin: seconds(margin),
        ..Config::default()
    }
}

/// A node: its folder, and what runs on it.
struct Node {
    place: tempfile::TempDir,
    clock: Clock,
    keeper: Option<Keeper>,
}

impl Node {
    fn begin(place: tempfile::TempDir, clock: &Clock) -> Self {
        let mut node = Self { place, clock: clock.clone(), keeper: None };
        node.restart();
        node
    }

    fn restart(&mut self) {
        let config = config(self.place.path());
        let opened = Keeper::open(&config, &Registry::new(), self.clock.clone());
        self.keeper = Some(opened.expect("every crash leaves keys that sign").expect("a folder"));
    }

    fn keeper(&self) -> &Keeper {
        self.keeper.as_ref().expect("it runs")
    }

    fn take(&self, set: &ProvenSet) {
        self.keeper().take(&BTreeMap::from([(ZONE.to_owned(), set.clone())]));
    }

    /// Takes a set on a machine that dies after so many changes of files; whether it did.
    fn take_and_die(&mut self, set: &ProvenSet, changes: usize) -> bool {
        let mut folder = Folder::new(self.place.path());
        folder.changes_left = Some(Arc::new(AtomicUsize::new(changes)));
        let is_dead = take_one(&folder, ZONE, set).is_err();
        self.keeper = None;
        is_dead
    }

    fn propose(&self, kind: Option<Kind>, ds_seen: bool, revision: u64) -> Option<Due> {
        let zone = zone();
        let wish = Wish { zone: &zone, kind, ds_seen, revision };
        match self.keeper().propose(&wish) {
            Ok(Proposed::Due(due)) => Some(due),
            Ok(Proposed::NotYet(..)) | Err(_) => None,
        }
    }

    fn lives(&self) -> Vec<Life> {
        let keys = self.keeper().signer().keys();
        let zone = keys.zone(&zone()).expect("it is signed");
        let mut lives: Vec<Life> = zone.keys().iter().map(|key| key.life).collect();
        lives.sort_by_key(|life| life.tag);
        lives
    }

    fn why_refused(&self) -> Option<String> {
        self.keeper().standing(&zone()).1.map(|refused| refused.why)
    }

    fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.place.path()).expect("there");
        let name = |entry: std::io::Result<std::fs::DirEntry>| {
            entry.expect("readable").file_name().into_string().expect("text")
        };
        let mut names: Vec<String> = entries.map(name).collect();
        names.sort();
        names
    }
}

/// Nodes that begin with copies of one folder.
fn nodes<const N: usize>(kinds: &[Kind], clock: &Clock) -> [Node; N] {
    let first = tempfile::tempdir().expect("a folder");
    let folder = Folder::new(first.path());
    let mut taken = vec![];
    for kind in kinds {
        let times = Times { active: Some(clock.now()), ..Times::published(clock.now()) };
        taken.push(folder.generate(&zone(), *kind, times, &taken).expect("made").life.tag);
    }
    std::array::from_fn(|_| Node::begin(copy(first.path()), clock))
}

fn copy(from: &std::path::Path) -> tempfile::TempDir {
    let to = tempfile::tempdir().expect("a folder");
    for entry in std::fs::read_dir(from).expect("there") {
        let entry = entry.expect("readable");
        std::fs::copy(entry.path(), to.path().join(entry.file_name())).expect("copied");
    }
    to
}

fn clock() -> Clock {
    Clock::manual(UNIX_EPOCH + Duration::from_secs(1_800_000_000))
}

/// Takes the next step from a node's keys as soon as it is due, at all these nodes.
fn roll(nodes: &[&Node], clock: &Clock, revision: u64) -> ProvenSet {
    for ds_seen in [false, true].into_iter().cycle().take(400) {
        if let Some(due) = nodes[0].propose(None, ds_seen, revision) {
            nodes.iter().for_each(|node| node.take(&due.set));
            return due.set;
        }
        clock.advance(Duration::from_secs(1));
    }
    panic!("a step is due some time")
}

#[test]
fn a_whole_roll_over_is_taken_by_all_and_by_who_was_away_at_its_end() {
    let clock = clock();
    let [one, two, away] = nodes(&[Kind::Csk], &clock);
    let first = one.lives()[0].tag;
    let mut newest = None;
    for revision in 0..4 {
        newest = Some(roll(&[&one, &two], &clock, revision));
        assert_eq!(one.lives(), two.lives());
        assert_eq!(one.keeper().standing(&zone()), (revision + 1, None));
    }
    let [key] = one.lives()[..] else { panic!("{:?}", one.lives()) };
    assert!(key.tag != first && key.times.state() == State::Active);
    assert_eq!(away.lives()[0].tag, first);
    away.take(&newest.expect("four steps"));
    assert_eq!(away.lives(), one.lives());
    let name = format!("cdn.example-csk-{:05}", key.tag);
    let files = [format!("{name}.pem"), format!("{name}.toml"), "cdn.example.keyset".to_owned()];
    assert_eq!(away.files(), files, "nothing of the old key is left");
    let modes = away.files().into_iter().map(|name| {
        use std::os::unix::fs::PermissionsExt;
        let metadata = std::fs::metadata(away.place.path().join(name)).expect("there");
        metadata.permissions().mode() & 0o777
    });
    assert!(modes.into_iter().all(|mode| mode == 0o600));
    // The same private key, and not only the same tag.
    let pem = |node: &Node| std::fs::read(node.place.path().join(&files[0])).expect("there");
    assert_eq!(pem(&away), pem(&one));
}

#[test]
fn who_was_away_for_too_long_keeps_its_keys_and_says_why() {
    let clock = clock();
    let [one, away] = nodes(&[Kind::Ksk, Kind::Zsk], &clock);
    let before = away.lives();
    let mut revision = 0;
    for _ in 0..=GONE_MAX {
        for _ in 0..3 {
            let due = loop {
                clock.advance(Duration::from_secs(40));
                if let Some(due) = one.propose(Some(Kind::Zsk), false, revision) {
                    break due;
                }
            };
            one.take(&due.set);
            revision += 1;
            if revision == 3 * GONE_MAX as u64 {
                // As many keys went as are still named.
                let [late] = [Node::begin(copy(away.place.path()), &clock)];
                late.take(&due.set);
                assert_eq!(late.lives(), one.lives());
            }
        }
    }
    let newest = one.propose(Some(Kind::Zsk), false, revision).expect("due").set;
    away.take(&newest);
    assert_eq!(away.lives(), before);
    let why = away.why_refused().expect("it is refused");
    assert!(why.contains("the set does not know it"), "{why}");
}

#[test]
fn what_does_not_fit_is_refused_and_changes_no_file() {
    let clock = clock();
    let [one, two, other] = nodes(&[Kind::Csk], &clock);
    let [stranger] = nodes(&[Kind::Csk], &clock);
    let due = one.propose(None, false, 0).expect("due");
    let files = two.files();
    let refused = |node: &Node, set: &ProvenSet, words: &str| {
        let before = node.lives();
        node.take(set);
        let why = node.why_refused().expect(words);
        assert!(why.contains(words), "{words}: {why}");
        assert_eq!((node.lives(), node.keeper().standing(&zone()).0), (before, 0));
    };
    let change = |from: &str, to: &str| {
        let text = due.set.text.replace(from, to);
        assert_ne!(text, due.set.text);
        ProvenSet { text, ..due.set.clone() }
    };
    refused(&stranger, &due.set, "the set does not know it");
    refused(&two, &change("\"revision\":1", "\"revision\":9"), "not proven");
    refused(&two, &change("\"published_unix_s\":18", "\"published_unix_s\":17"), "further here");
    refused(&two, &change("active_unix_s", "active"), "0 active keys");
    let proof = stranger.propose(None, false, 0).expect("due").set.proof;
    refused(&two, &ProvenSet { proof, ..due.set.clone() }, "not proven");
    let tag = due.new.expect("a new key");
    let taken_out = change(&format!("\"tag\":{tag}"), &format!("\"tag\":{}", tag ^ 1));
    refused(&two, &taken_out, "not proven");
    refused(&two, &ProvenSet { text: "{".into(), proof: String::new() }, "cannot be read");
    assert_eq!(two.files(), files);
    // What nobody tells any more is refused no more, and what is told of no zone is nothing.
    let odd = BTreeMap::from([("no zone".to_owned(), due.set.clone())]);
    two.keeper().take(&odd);
    assert_eq!((two.why_refused(), two.files()), (None, files));
    // Somebody took a step by hand at one node.
    let folder = Folder::new(other.place.path());
    let by_hand = folder.generate(&zone(), Kind::Csk, Times::published(clock.now()), &[tag]);
    let by_hand = by_hand.expect("made").life.tag;
    other.keeper().look();
    other.take(&due.set);
    let why = other.why_refused().expect("refused");
    assert!(why.starts_with(&format!("key {by_hand} is here")), "{why}");
    // What all refuse holds nobody up, and the next set begins with what is there.
    let again =
        other.propose(None, true, 1).expect("the key that was made by hand waits for its DS");
    let set = again.set.read().expect("good");
    assert_eq!((set.revision, set.keys.len()), (2, 2));
    other.take(&again.set);
    assert_eq!((other.keeper().standing(&zone()), other.why_refused()), ((2, None), None));
    // The good one is still taken, and no other one of its revision after it.
    two.take(&due.set);
    assert_eq!((two.lives().len(), two.why_refused()), (2, None));
    let fork = one.propose(None, false, 0).expect("due").set;
    two.take(&fork);
    assert!(two.why_refused().expect("refused").contains("another set of revision 1"));
}

#[test]
fn a_folder_that_cannot_be_written_is_tried_again() {
    let clock = clock();
    let [one, two] = nodes(&[Kind::Csk], &clock);
    let set = one.propose(None, false, 0).expect("due").set;
    // A folder where the note is to be written first: also root cannot write a file over it.
    let obstacle = two.place.path().join("cdn.example.keyset.new");
    std::fs::create_dir(&obstacle).expect("writable");
    two.take(&set);
    assert!(two.why_refused().expect("refused").contains("cdn.example.keyset"));
    assert_eq!(two.lives().len(), 1);
    std::fs::remove_dir(&obstacle).expect("ours");
    two.keeper().look();
    assert_eq!((two.lives().len(), two.keeper().standing(&zone())), (2, (1, None)));
}

#[test]
fn whatever_a_crash_leaves_the_next_start_has_the_keys_of_before_or_after() {
    let clock = clock();
    let [one, _] = nodes(&[Kind::Csk], &clock);
    for revision in 0..4 {
        let before = copy(one.place.path());
        let set = roll(&[&one], &clock, revision);
        let old = Node::begin(copy(before.path()), &clock).lives();
        for changes in 0.. {
            let mut node = Node::begin(copy(before.path()), &clock);
            let is_dead = node.take_and_die(&set, changes);
            node.restart();
            // Before the note nothing has begun; after it everything is done to its end.
            let is_noted = node.lives() == one.lives();
            assert!(is_noted || changes < 2 && node.lives() == old, "{changes}");
            node.take(&set);
            assert_eq!((node.lives(), node.why_refused()), (one.lives(), None));
            assert_eq!(node.files(), one.files(), "after {changes} changes");
            if !is_dead {
                break;
            }
        }
    }
}

/// What may happen.
#[derive(Debug, Clone)]
enum Event {
    /// So many seconds go by.
    Wait(u64),
    /// An operator takes the next step: at the node that proposes it, of which kind, whether for the DS.
    Step(usize, bool, bool),
    /// A node is told the newest set.
    Tell(usize),
    /// A node is told it and dies after so many changes of files; it comes back at once.
    Die(usize, usize),
    /// A node answers nobody from now on, and hears nothing.
    Leave(usize),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => (1u64..30).prop_map(Event::Wait),
        4 => (0usize..3, any::<bool>(), any::<bool>()).prop_map(|(node, ds, zsk)| Event::Step(node, ds, zsk)),
        4 => (0usize..3).prop_map(Event::Tell),
        2 => (0usize..3, 0usize..14).prop_map(|(node, changes)| Event::Die(node, changes)),
        1 => (0usize..3).prop_map(Event::Leave),
    ]
}

/// What somebody could get, from when until when: keys that a node served, or the DS records of the parent.
#[derive(Debug, Clone, PartialEq)]
struct Span {
    from: u64,
    until: u64,
    /// Tags of all keys, of those that sign the keys, of the one that signs data.
    keys: (Vec<u16>, Vec<u16>, u16),
}

/// A fleet, its parent, and what validators may hold of both.
struct World {
    clock: Clock,
    nodes: [Node; 3],
    is_away: [bool; 3],
    newest: Option<ProvenSet>,
    revision: u64,
    /// When the newest was told first.
    since: u64,
    parent: Vec<u16>,
    served: Vec<(usize, Span)>,
    vouched: Vec<(u64, u64, Vec<u16>)>,
}

impl World {
    fn new(kinds: &[Kind]) -> Self {
        let clock = clock();
        let nodes = nodes(kinds, &clock);
        let vouches = |life: &Life| life.kind.signs_keys().then_some(life.tag);
        let parent = nodes[0].lives().iter().filter_map(vouches).collect();
        let world = Self {
            clock,
            nodes,
            is_away: [false; 3],
            newest: None,
            revision: 0,
            since: 0,
            parent,
            served: vec![],
            vouched: vec![],
        };
        Self { since: world.now(), ..world }
    }

    fn now(&self) -> u64 {
        self.clock.now().duration_since(UNIX_EPOCH).expect("after it").as_secs()
    }

    fn has_newest(&self, node: usize) -> bool {
        self.nodes[node].keeper().standing(&zone()).0 >= self.revision
    }

    fn take(&mut self, node: usize, dies_after: Option<usize>) {
        let Some(set) = self.newest.clone() else { return };
        if let Some(changes) = dies_after {
            self.nodes[node].take_and_die(&set, changes);
            self.nodes[node].restart();
        }
        self.nodes[node].take(&set);
    }

    fn happen(&mut self, event: &Event) {
        match *event {
            Event::Wait(seconds) => {
                for _ in 0..seconds {
                    // Nobody who answers is told later than the margin allows.
                    if self.now() - self.since + 1 >= HOLDING.3 {
                        let present = (0..3).filter(|node| !self.is_away[*node]);
                        present
                            .collect::<Vec<_>>()
                            .into_iter()
                            .for_each(|node| self.take(node, None));
                    }
                    self.note();
                    self.clock.advance(Duration::from_secs(1));
                }
            }
            Event::Step(node, ds_seen, is_zsk) => self.step(node, ds_seen, is_zsk),
            Event::Tell(node) if !self.is_away[node] => self.take(node, None),
            Event::Die(node, changes) if !self.is_away[node] => self.take(node, Some(changes)),
            // One at least stays.
            Event::Leave(node) if self.is_away == [false; 3] => self.is_away[node] = true,
            // It answers nobody before it has heard what is new.
            Event::Leave(node) | Event::Tell(node) | Event::Die(node, _) => {
                if self.is_away[node] {
                    self.take(node, None);
                    assert!(self.has_newest(node), "{:?}", self.nodes[node].why_refused());
                    self.is_away[node] = false;
                }
            }
        }
        self.note();
    }

    fn step(&mut self, node: usize, ds_seen: bool, is_zsk: bool) {
        // What the control plane asks of everybody before it asks one.
        let is_ready = (0..3).all(|node| self.is_away[node] || self.has_newest(node));
        if self.is_away[node] || !is_ready {
            return;
        }
        let kinds: Vec<Kind> = self.nodes[node].lives().iter().map(|life| life.kind).collect();
        let kind = match (kinds.contains(&Kind::Csk), is_zsk) {
            (true, _) => Kind::Csk,
            (false, true) => Kind::Zsk,
            (false, false) => Kind::Ksk,
        };
        if ds_seen {
            // The parent publishes before the operator says so.
            let waits = |life: &Life| {
                life.kind == kind && kind.signs_keys() && life.times.state() == State::Published
            };
            let new = self.nodes[node].lives().into_iter().find(waits);
            let old = new.filter(|life| !self.parent.contains(&life.tag));
            self.parent.extend(old.map(|life| life.tag));
            self.note();
        }
        let Some(due) = self.nodes[node].propose(Some(kind), ds_seen, self.revision) else {
            return;
        };
        let set = due.set.read().expect("a good set");
        assert_eq!((set.revision, set.zone.as_str()), (self.revision + 1, ZONE));
        if let Act::Activate { old, .. } = due.act {
            self.parent.retain(|tag| *tag != old);
        }
        (self.newest, self.revision, self.since) = (Some(due.set), set.revision, self.now());
    }

    /// Notes what everybody could get now.
    fn note(&mut self) {
        let now = self.now();
        for node in 0..3 {
            if self.is_away[node] || self.nodes[node].keeper.is_none() {
                continue;
            }
            let lives = self.nodes[node].lives();
            assert_eq!(scheme(&lives), Ok(()));
            let tags = |is: fn(&&Life) -> bool| -> Vec<u16> {
                lives.iter().filter(is).map(|life| life.tag).collect()
            };
            let signs = lives
                .iter()
                .find(|life| life.kind.signs_data() && life.times.state() == State::Active);
            let signs = signs.expect("somebody signs").tag;
            let keys = (tags(|_| true), tags(|life| life.kind.signs_keys()), signs);
            match self.served.iter_mut().rev().find(|(of, _)| *of == node) {
                Some((_, span)) if span.keys == keys && now <= span.until + 1 => span.until = now,
                _ => self.served.push((node, Span { from: now, until: now, keys })),
            }
        }
        match self.vouched.last_mut() {
            Some((_, until, tags)) if *tags == self.parent => *until = now,
            _ => self.vouched.push((now, now, self.parent.clone())),
        }
    }

    /// Whatever a validator holds of one node, what it gets of another one fits.
    fn check(&self) -> Result<(), TestCaseError> {
        let (dnskey_ttl, ds_ttl, ttl_max, _) = HOLDING;
        for (_, keys) in &self.served {
            for (_, data) in &self.served {
                let meet =
                    keys.from <= data.until + ttl_max && data.from <= keys.until + dnskey_ttl;
                let is_good = keys.keys.0.contains(&data.keys.2);
                prop_assert!(!meet || is_good, "{keys:?} cannot check {data:?}");
            }
            for (from, until, tags) in &self.vouched {
                let meet = keys.from <= until + ds_ttl && *from <= keys.until + dnskey_ttl;
                let is_good = tags.iter().any(|tag| keys.keys.1.contains(tag));
                prop_assert!(!meet || is_good, "{tags:?} vouch for none of {keys:?}");
            }
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn validators_can_check_whatever_nodes_crash_on_or_hear_late(
        has_csk in any::<bool>(), events in prop::collection::vec(event(), 60..120),
    ) {
        let kinds: &[Kind] = if has_csk { &[Kind::Csk] } else { &[Kind::Ksk, Kind::Zsk] };
        let mut world = World::new(kinds);
        events.iter().for_each(|event| world.happen(event));
        world.check()?;
    }
}
