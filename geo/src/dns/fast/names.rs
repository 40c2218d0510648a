//! Zones, made into a table by name: what is the same for everybody as a template, and what depends on who asks as a shape.
//!
//! Made of `answer` for every name and every type that is common, so that nothing is decided here. Invariant: a name or a
//! type that is not in the table is the handler's.

use std::{
    cell::Cell,
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use hickory_proto::rr::{Name, RecordType};

use super::template::{Template, wire};
use crate::{
    dns::answer::{Answer, Outcome, Query, answer_for},
    world::World,
    zone::{Found, Node, Steered, Zone, Zones, find},
};

/// The most names of a table; those of zones beyond it are the handler's.
pub const NAMES_MAX: usize = 1 << 20;
/// The most shapes: zones times the options that their steered names have.
pub const SHAPES_MAX: usize = 1024;
/// The types that a steered name has from the map, in the order of [`Answers::Steered`].
pub const STEERED: [RecordType; 3] = [RecordType::A, RecordType::AAAA, RecordType::HTTPS];

/// What is known of names.
#[derive(Debug, Default)]
pub struct Names {
    by_name: HashMap<Box<[u8]>, Entry, BuildHasherDefault<NameHash>>,
    shapes: Vec<Shape>,
}

/// A way in which steered names are answered: all names of a zone with the same options share it.
#[derive(Debug, Clone)]
pub struct Shape {
    /// A name of it.
    pub name: Name,
    /// The zone.
    pub zone: Arc<Zone>,
    steered: Option<Arc<Steered>>,
}

/// What is known of a name.
#[derive(Debug, Default)]
pub struct Entry {
    /// By type; in their order.
    templates: Vec<(u16, Template)>,
    /// For the types that have none of their own.
    others: Option<Template>,
    shape: Option<u32>,
    /// At the apex of a zone.
    apex: Option<Apex>,
}

/// What is known of a zone.
#[derive(Debug)]
struct Apex {
    /// For names that are not there; absent when that takes more than a look.
    missing: Option<Template>,
}

/// How a question is answered.
#[derive(Debug, Clone, Copy)]
pub enum Answers<'a> {
    /// Everybody gets the same.
    Same(&'a Template),
    /// By shape and number of the type, as the map says.
    Steered(u32, usize),
}

impl Names {
    /// Makes the table.
    #[must_use]
    pub fn new(zones: &Zones, world: &World) -> Self {
        let mut names = Self::default();
        for zone in zones.all() {
            names.add_zone(zones, zone, world);
        }
        names
    }

    /// How a question is answered, if it is known.
    #[must_use]
    pub fn find(&self, name: &[u8], record_type: u16) -> Option<Answers<'_>> {
        if is_special(record_type) {
            return None;
        }
        let Some(entry) = self.by_name.get(name) else {
            return self.missing(name).map(Answers::Same);
        };
        if let Some(shape) = entry.shape
            && let Some(number) = STEERED.iter().position(|kind| u16::from(*kind) == record_type)
        {
            return Some(Answers::Steered(shape, number));
        }
        let own = entry.templates.iter().find(|(own, _)| *own == record_type);
        own.map(|(_, template)| template).or(entry.others.as_ref()).map(Answers::Same)
    }

    /// The shapes of steered names, by number.
    #[must_use]
    pub fn shapes(&self) -> &[Shape] {
        &self.shapes
    }

    /// How many names there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.by_name.len()
    }

    /// The answer to a question for a name that is not there, from the zone that it would be in.
    fn missing(&self, name: &[u8]) -> Option<&Template> {
        let mut rest = name;
        while let [label, ..] = rest
            && *label > 0
        {
            rest = rest.get(1 + usize::from(*label)..)?;
            if let Some(apex) = self.by_name.get(rest).and_then(|entry| entry.apex.as_ref()) {
                return apex.missing.as_ref();
            }
        }
        None
    }

    fn add_zone(&mut self, zones: &Zones, zone: &Arc<Zone>, world: &World) {
        let count = zone.names().count();
        let fits = self.by_name.len() + count <= NAMES_MAX;
        for (name, node) in zone.names() {
            let is_apex = name == zone.origin();
            if !(fits || is_apex) {
                continue;
            }
            // A name may be a zone of its own as well, and then it is that one's.
            let is_here = zones.find(name, RecordType::A).is_some_and(|own| Arc::ptr_eq(own, zone));
            if !is_here || !matches!(find(zone, name), Found::Here(_)) {
                continue;
            }
            let mut entry =
                if fits { self.entry(zones, zone, name, node, world) } else { Entry::default() };
            if is_apex {
                let missing = fits.then(|| missing(zones, zone, world)).flatten();
                entry.apex = Some(Apex { missing });
            }
            self.by_name.insert(wire(name).into(), entry);
        }
    }

    fn entry(
        &mut self,
        zones: &Zones,
        zone: &Arc<Zone>,
        name: &Name,
        node: &Node,
        world: &World,
    ) -> Entry {
        let template = |kind| {
            let answer = ask(zones, world, name, kind)?;
            is_same(&answer).then(|| Template::new(&answer, name, zone.origin())).flatten()
        };
        let is_alias = node.set(RecordType::CNAME).is_some();
        // What an alias leads to is another name's, by type.
        let wanted = if is_alias { COMMON.to_vec() } else { node.kinds().collect() };
        let mut templates: Vec<(u16, Template)> = wanted
            .into_iter()
            .filter_map(|kind| template(kind).map(|template| (u16::from(kind), template)))
            .collect();
        templates.sort_by_key(|(kind, _)| *kind);
        let lacks = |kind: &&RecordType| node.set(**kind).is_none() && !STEERED.contains(*kind);
        let absent = COMMON.iter().find(lacks).copied();
        // A type that it has and that is too large for a template must not be denied.
        let has = |kind| templates.iter().any(|(own, _)| *own == u16::from(kind));
        let is_led = is_alias && ask(zones, world, name, RecordType::A).is_none();
        let shape = match &node.steered {
            Some(steered) => self.shape(zone, name, Some(steered)),
            // An alias of a steered name: the alias is part of the answer, so nobody shares it.
            None if is_led => self.shape(zone, name, None),
            None => None,
        };
        let is_whole = node.kinds().all(has) && shape.is_some() == node.steered.is_some();
        let others = if is_alias || !is_whole { None } else { absent.and_then(template) };
        Entry { templates, others, shape, apex: None }
    }

    fn shape(
        &mut self,
        zone: &Arc<Zone>,
        name: &Name,
        steered: Option<&Arc<Steered>>,
    ) -> Option<u32> {
        // At the apex the owner of SOA is the name itself, elsewhere it is the name's end.
        let is_apex = |name: &Name| name == zone.origin();
        let is_same = |shape: &Shape| {
            let is_alike = Arc::ptr_eq(&shape.zone, zone) && shape.steered.as_ref() == steered;
            is_alike && steered.is_some() && is_apex(&shape.name) == is_apex(name)
        };
        let found = self.shapes.iter().position(is_same);
        if found.is_none() && self.shapes.len() == SHAPES_MAX {
            return None;
        }
        let found = found.unwrap_or_else(|| {
            let (name, zone, steered) = (name.clone(), Arc::clone(zone), steered.cloned());
            self.shapes.push(Shape { name, zone, steered });
            self.shapes.len() - 1
        });
        u32::try_from(found).ok()
    }
}

/// What everybody is told; `None` when it depends on who asks.
fn ask(zones: &Zones, world: &World, name: &Name, kind: RecordType) -> Option<Answer> {
    let client = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let query = Query { name, kind, dnssec_ok: false, compact_ok: false, client, subnet: None };
    let depends = Cell::new(false);
    let target = || {
        depends.set(true);
        None
    };
    let answer = answer_for(zones, world, &query, &target);
    (!depends.get()).then_some(answer)
}

/// Whether an answer may stand in a table.
fn is_same(answer: &Answer) -> bool {
    let is_plain = matches!(answer.outcome, Outcome::Records | Outcome::NoData | Outcome::Missing);
    is_plain && answer.is_authoritative
}

/// What is said of names that are not in a zone; `None` where a wildcard or a delegation may say something else.
fn missing(zones: &Zones, zone: &Arc<Zone>, world: &World) -> Option<Template> {
    let origin = zone.origin();
    let is_wild = |name: &Name| name.iter().next() == Some(b"*");
    let is_plain =
        zone.names().all(|(name, node)| !is_wild(name) && (name == origin || !node.is_cut()));
    // Zones below are delegated by the one above; but they need not be, where one server has both.
    let is_lowest =
        zones.all().all(|other| Arc::ptr_eq(other, zone) || !origin.zone_of(other.origin()));
    if !is_plain || !is_lowest {
        return None;
    }
    let name = (0..100u8)
        .filter_map(|number| origin.prepend_label(format!("missing-{number}")).ok())
        .find(|name| zone.node(name).is_none())?;
    let answer = ask(zones, world, &name, RecordType::A)?;
    let is_missing = is_same(&answer) && answer.outcome == Outcome::Missing;
    is_missing.then(|| Template::new(&answer, &name, origin)).flatten()
}

/// Types about which more is to be known than what a node has: of the zone above, of signatures, or no types at all.
fn is_special(record_type: u16) -> bool {
    matches!(record_type, 0 | 41 | 43 | 46..=48 | 50 | 51 | 59 | 60 | 62 | 128..=255)
}

/// Types that are asked for often.
const COMMON: [RecordType; 10] = [
    RecordType::A,
    RecordType::AAAA,
    RecordType::HTTPS,
    RecordType::TXT,
    RecordType::MX,
    RecordType::NS,
    RecordType::SOA,
    RecordType::CAA,
    RecordType::SRV,
    RecordType::CNAME,
];

/// Names are chosen by those who write zones, and who asks adds none: a plain hash is enough, and quick.
#[derive(Debug, Default)]
pub struct NameHash(u64);

impl Hasher for NameHash {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.mix(u64::from_ne_bytes(*word));
        }
        if !rest.is_empty() {
            let mut word = [0; 8];
            word[..rest.len()].copy_from_slice(rest);
            self.mix(u64::from_ne_bytes(word));
        }
    }

    fn write_usize(&mut self, number: usize) {
        self.mix(number as u64);
    }

    fn finish(&self) -> u64 {
        // A table takes upper and lower bits.
        self.0 ^ self.0 >> 32
    }
}

impl NameHash {
    fn mix(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(23) ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
}
