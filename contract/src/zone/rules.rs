//! Records of a master file become a zone, if they keep the rules of one.
//!
//! What resolvers would trip over is refused here and not served: aliases beside other records, delegations without an
//! address, wildcards that delegate. Invariant: every set that leaves here has one TTL and no record twice.

use std::{collections::HashMap, sync::Arc};

use hickory_proto::rr::{Name, RData, RecordType};

use super::{
    error::{Reason, ZoneError},
    record_set::RecordSet,
    steered::Steered,
    tree::{Node, Zone},
};

/// A record as it was written.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Line {
    /// Its line, from 1.
    pub(super) number: usize,
    pub(super) owner: Name,
    pub(super) ttl: u32,
    pub(super) data: RData,
}

/// Checks records and makes a zone of them; or says what is wrong, and in which line if it is in one.
pub(super) fn zone(origin: Name, lines: Vec<Line>) -> Result<Zone, ZoneError> {
    let wrong = |line, reason: Reason| ZoneError { line, reason: reason.into() };
    let mut nodes: HashMap<Name, Node> = HashMap::new();
    // What is wrong with a name is said with the line where it was last.
    let mut seen: HashMap<Name, usize> = HashMap::new();
    let mut sets: HashMap<(Name, RecordType), (u32, Vec<RData>)> = HashMap::new();
    for Line { number, owner, ttl, data } in lines {
        let (owner, kind) = (owner.to_lowercase(), data.record_type());
        seen.insert(owner.clone(), number);
        let (least, all) = sets.entry((owner.clone(), kind)).or_insert((ttl, Vec::new()));
        check_line(&origin, owner, kind, all.len())
            .map_err(|reason| wrong(Some(number), reason))?;
        // Sets have one TTL (RFC 2181 5.2); the shortest is right for all of them.
        *least = ttl.min(*least);
        if !all.contains(&data) {
            all.push(data);
        }
    }
    let mut steering = Vec::new();
    for ((owner, kind), (ttl, data)) in sets {
        let set = RecordSet { owner, kind, ttl, data: data.into() };
        match steered_name(&set.owner) {
            Some(name) => steering.push((name, set)),
            None => nodes.entry(set.owner.clone()).or_default().sets.push(set),
        }
    }
    for (name, set) in steering {
        let line = seen.get(&set.owner).copied();
        let found = nodes.entry(name.clone()).or_default();
        if found.steered.is_some() {
            return Err(wrong(line, Reason::SteersNothing(set.owner)));
        }
        let steered = options(&name, &set).map_err(|reason| wrong(line, reason))?;
        found.steered = Some(Arc::new(steered));
        if !origin.zone_of(&name) {
            return Err(wrong(line, Reason::Outside(name)));
        }
    }
    let has_cuts = nodes.iter().any(|(name, node)| node.is_cut() && *name != origin);
    for (name, node) in &nodes {
        let wrong_here = |reason| wrong(seen.get(name).copied(), reason);
        check(&origin, name, node, &nodes).map_err(wrong_here)?;
        if has_cuts {
            below_cut(&origin, name, node, &nodes).map_err(wrong_here)?;
        }
    }
    for node in nodes.values_mut() {
        // In one order, however the table is made.
        node.sets.sort_by_key(|set| u16::from(set.kind));
    }
    let apex = nodes.get(&origin);
    if apex.is_some_and(|apex| apex.set(RecordType::SOA).is_some() && !apex.is_cut()) {
        return Err(wrong(None, Reason::NoServers));
    }
    Zone::new(origin.clone(), nodes).ok_or_else(|| wrong(None, Reason::NoSoa(origin)))
}

/// One record among those of its set so far.
fn check_line(origin: &Name, owner: Name, kind: RecordType, before: usize) -> Result<(), Reason> {
    if !origin.zone_of(&owner) {
        return Err(Reason::Outside(owner));
    }
    match kind {
        RecordType::SOA if owner != *origin => Err(Reason::SoaBelow(owner)),
        RecordType::SOA if before > 0 => Err(Reason::TwoSoas(owner)),
        RecordType::CNAME if before > 0 => Err(Reason::TwoCnames(owner)),
        _ if before >= SET_MAX => {
            Err(Reason::TooMuch { what: "records of one name and type", max: SET_MAX })
        }
        _ => Ok(()),
    }
}

/// The name that `_steer.NAME` steers.
fn steered_name(owner: &Name) -> Option<Name> {
    (owner.iter().next() == Some(STEER)).then(|| owner.base_name())
}

fn options(name: &Name, set: &RecordSet) -> Result<Steered, Reason> {
    let [RData::TXT(text)] = &*set.data else {
        return Err(Reason::SteersNothing(set.owner.clone()));
    };
    let strings: Option<Vec<&str>> =
        text.txt_data.iter().map(|part| str::from_utf8(part).ok()).collect();
    let strings = strings.ok_or_else(|| Reason::SteersNothing(set.owner.clone()))?;
    Steered::parse(strings).map_err(|error| Reason::Steered(name.clone(), error))
}

/// One name among the others.
fn check(
    origin: &Name,
    name: &Name,
    node: &Node,
    nodes: &HashMap<Name, Node>,
) -> Result<(), Reason> {
    if node.set(RecordType::CNAME).is_some() && node.sets.len() > 1 {
        return Err(Reason::CnameAndOthers(name.clone()));
    }
    let own = |kind| node.set(kind).is_some();
    if node.steered.is_some()
        && let Some(kind) = NOT_BESIDE_STEERING.into_iter().find(|kind| own(*kind))
        && !(kind == RecordType::NS && name == origin)
    {
        return Err(Reason::SteeredAnd(name.clone(), kind));
    }
    if name.iter().next() == Some(b"*")
        && let Some(kind) = [RecordType::NS, RecordType::DS].into_iter().find(|kind| own(*kind))
    {
        return Err(Reason::Wildcard(name.clone(), kind));
    }
    if own(RecordType::DS) && (name == origin || !node.is_cut()) {
        return Err(Reason::DsWithoutCut(name.clone()));
    }
    if let Some(servers) = node.set(RecordType::NS) {
        for server in &*servers.data {
            let RData::NS(server) = server else { continue };
            reachable(origin, &server.0, nodes)?;
        }
    }
    Ok(())
}

/// At and below a name that others serve there is only what leads to them.
fn below_cut(
    origin: &Name,
    name: &Name,
    node: &Node,
    nodes: &HashMap<Name, Node>,
) -> Result<(), Reason> {
    let is_cut = |name: &Name| name != origin && nodes.get(name).is_some_and(Node::is_cut);
    let mut allowed: &[RecordType] = &[];
    if is_cut(name) {
        allowed = &[RecordType::NS, RecordType::DS, RecordType::A, RecordType::AAAA];
    }
    let mut above = name.clone();
    while above != *origin && !above.is_root() {
        above = above.base_name();
        if is_cut(&above) {
            allowed = &[RecordType::A, RecordType::AAAA];
        }
    }
    if allowed.is_empty() {
        return Ok(());
    }
    let steered = node.steered.as_ref().map(|_| RecordType::HTTPS);
    match node.kinds().chain(steered).find(|kind| !allowed.contains(kind)) {
        Some(kind) => Err(Reason::BelowCut(name.clone(), kind)),
        None => Ok(()),
    }
}

/// A name server in the zone has an address there.
fn reachable(origin: &Name, server: &Name, nodes: &HashMap<Name, Node>) -> Result<(), Reason> {
    if !origin.zone_of(server) {
        return Ok(());
    }
    let node = nodes.get(server);
    if node.is_some_and(|node| node.set(RecordType::CNAME).is_some()) {
        return Err(Reason::ServerIsAlias(server.clone()));
    }
    let has = |kind| node.is_some_and(|node| node.set(kind).is_some());
    if has(RecordType::A) || has(RecordType::AAAA) {
        return Ok(());
    }
    Err(Reason::ServerWithoutAddress(server.clone()))
}

/// The label that steers the name below it.
const STEER: &[u8] = b"_steer";
/// What the map says of a steered name, and what leads elsewhere.
const NOT_BESIDE_STEERING: [RecordType; 5] =
    [RecordType::A, RecordType::AAAA, RecordType::HTTPS, RecordType::CNAME, RecordType::NS];
/// The most records of one name and type: more do not fit an answer over TCP, at 100 bytes each.
const SET_MAX: usize = 600;
