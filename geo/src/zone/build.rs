//! Records of a master file become a zone, if they keep the rules of one.
//!
//! What resolvers would trip over is refused here and not served: aliases beside other records, delegations without an
//! address, wildcards that delegate. Invariant: every set that leaves here has one TTL and no record twice.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use hickory_proto::rr::{DNSClass, Name, RData, RecordSet as Parsed, RecordType, RrKey};

use crate::zone::{
    error::Reason,
    record_set::RecordSet,
    steered::Steered,
    tree::{Node, Zone},
};

/// Checks records and makes a zone of them.
pub(super) fn build(origin: Name, parsed: BTreeMap<RrKey, Parsed>) -> Result<Zone, Reason> {
    let mut nodes: HashMap<Name, Node> = HashMap::new();
    let mut steering = Vec::new();
    let mut records = 0;
    for set in parsed.into_values() {
        records += set.records_count();
        if records > RECORDS_MAX {
            return Err(Reason::TooMuch { what: "records of a zone", max: RECORDS_MAX });
        }
        let set = checked(&origin, &set)?;
        match steered_name(&set.owner) {
            Some(name) => steering.push((name, set)),
            None => nodes.entry(set.owner.clone()).or_default().sets.push(set),
        }
    }
    for (name, set) in steering {
        let steered = Some(Arc::new(options(&name, &set)?));
        if !origin.zone_of(&name) {
            return Err(Reason::Outside(name));
        }
        nodes.entry(name).or_default().steered = steered;
    }
    for (name, node) in &nodes {
        check(&origin, name, node, &nodes)?;
    }
    let apex = nodes.get(&origin);
    if apex.is_some_and(|apex| apex.set(RecordType::SOA).is_some() && !apex.is_cut()) {
        return Err(Reason::NoServers);
    }
    Zone::new(origin.clone(), nodes).ok_or(Reason::NoSoa(origin))
}

/// One set, by itself.
fn checked(origin: &Name, set: &Parsed) -> Result<RecordSet, Reason> {
    let (owner, kind) = (set.name().to_lowercase(), set.record_type());
    if !origin.zone_of(&owner) {
        return Err(Reason::Outside(owner));
    }
    if !SERVED.contains(&kind) {
        return Err(Reason::Kind(owner, kind));
    }
    if kind == RecordType::SOA && owner != *origin {
        return Err(Reason::SoaBelow(owner));
    }
    let mut ttl = TTL_MAX;
    let mut data: Vec<RData> = Vec::new();
    for record in set.records_without_rrsigs() {
        if record.dns_class != DNSClass::IN {
            return Err(Reason::Class(owner));
        }
        if record.ttl > TTL_MAX {
            return Err(Reason::Ttl(owner));
        }
        // Sets have one TTL (RFC 2181 5.2); the shortest is right for all of them.
        ttl = ttl.min(record.ttl);
        if !data.contains(&record.data) {
            data.push(record.data.clone());
        }
        if data.len() > SET_MAX {
            return Err(Reason::TooMuch { what: "records of one name and type", max: SET_MAX });
        }
    }
    Ok(RecordSet { owner, kind, ttl, data: data.into() })
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
    if node.set(RecordType::CNAME).is_some_and(|set| set.data.len() > 1) {
        return Err(Reason::TwoCnames(name.clone()));
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
    below_cut(origin, name, node, nodes)?;
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
/// The types that are served from files; what belongs to signatures is made, not written.
const SERVED: [RecordType; 20] = [
    RecordType::A,
    RecordType::AAAA,
    RecordType::CAA,
    RecordType::CERT,
    RecordType::CNAME,
    RecordType::CSYNC,
    RecordType::DS,
    RecordType::HINFO,
    RecordType::HTTPS,
    RecordType::MX,
    RecordType::NAPTR,
    RecordType::NS,
    RecordType::OPENPGPKEY,
    RecordType::PTR,
    RecordType::SMIMEA,
    RecordType::SOA,
    RecordType::SRV,
    RecordType::SSHFP,
    RecordType::TLSA,
    RecordType::TXT,
];
/// What the map says of a steered name, and what leads elsewhere.
const NOT_BESIDE_STEERING: [RecordType; 5] =
    [RecordType::A, RecordType::AAAA, RecordType::HTTPS, RecordType::CNAME, RecordType::NS];
/// The highest bit of a TTL is not used (RFC 2181 8).
const TTL_MAX: u32 = i32::MAX as u32;
/// The most records of a zone: what ZONE_BYTES_MAX of text holds, about.
const RECORDS_MAX: usize = 250_000;
/// The most records of one name and type: more do not fit an answer over TCP, at 100 bytes each.
const SET_MAX: usize = 600;
