//! What is answered: records, a denial, a referral, or that this is not ours (RFC 1034 4.3.2, RFC 2308, RFC 4592).
//!
//! Pure: zones, a world and a query in, an answer out; nothing of the message that carries it. Invariant: an answer that
//! depends on who asks says how many bits made the difference, and one that does not says 0.

use std::{net::IpAddr, sync::Arc};

use hickory_proto::{
    op::ResponseCode,
    rr::{
        Name, RData, RecordType,
        rdata::{
            A, AAAA, HTTPS, SVCB,
            svcb::{Alpn, IpHint, SvcParamKey, SvcParamValue},
        },
    },
};

use crate::{
    dns::{extended_error::ExtendedError, subnet::Subnet},
    world::{Target, World},
    zone::{Found, Node, RecordSet, Steered, Zone, Zones, find, glue},
};

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub struct Query<'a> {
    /// The name, as it was written.
    pub name: &'a Name,
    /// The type.
    pub kind: RecordType,
    /// Whether whoever asks wants signatures (DO).
    pub dnssec_ok: bool,
    /// Whether whoever asks knows compact denials, and wants to see what is missing as such (CO, RFC 9824 5).
    pub compact_ok: bool,
    /// Who asks.
    pub client: IpAddr,
    /// For whom it asks.
    pub subnet: Option<Subnet>,
}

/// What is answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// How it went.
    pub code: ResponseCode,
    /// Whether it is of a zone that this node serves (AA).
    pub is_authoritative: bool,
    /// What was asked for.
    pub answers: Vec<RecordSet>,
    /// Who knows, or why there is nothing.
    pub authorities: Vec<RecordSet>,
    /// Addresses that go with it.
    pub additionals: Vec<RecordSet>,
    /// What has to be proved about a name; absent: nothing is denied.
    pub denial: Option<Denial>,
    /// Resolvers may give it to all clients that share so many first bits; 0: to everybody.
    pub scope: u8,
    /// The kind of it.
    pub outcome: Outcome,
    /// Why there is nothing better.
    pub why: Option<ExtendedError>,
    /// Whether it denies compactly to somebody who knows that (CO, RFC 9824 5.1).
    pub is_compact: bool,
    /// The name that it shares with the answers to other names: the zone of what is missing or made from a wildcard, what
    /// is delegated. Absent: it is of its name alone.
    pub common: Option<Name>,
}

/// What is denied.
#[derive(Debug, Clone, PartialEq)]
pub struct Denial {
    /// The zone that says so.
    pub zone: Arc<Zone>,
    /// The name that does not have it, as it was asked for; of a referral, the name that is delegated.
    pub name: Name,
    /// The types that it has, for whoever asked, in no order; none of those that signing adds.
    pub kinds: Vec<RecordType>,
    /// How long it may be kept.
    pub ttl: u32,
}

/// The kinds of answers, as limits and numbers tell them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Records.
    Records,
    /// The name has no such records.
    NoData,
    /// There is no such name.
    Missing,
    /// Others know.
    Referral,
    /// Not ours, or not done here.
    Refused,
    /// No PoP serves.
    Failed,
}

/// What an answer needs to know of a question beyond the name.
struct Asked<'a> {
    world: &'a World,
    kind: RecordType,
    target: &'a dyn Fn() -> Option<Target>,
}

/// What zones and world say.
#[must_use]
pub fn answer(zones: &Zones, world: &World, query: &Query<'_>) -> Answer {
    let told = query.subnet.and_then(|subnet| subnet.client());
    answer_for(zones, world, query, &|| world.target(told.unwrap_or(query.client)))
}

/// What zones and world say to somebody of whom it is known, or can be found out, where to send them.
#[must_use]
pub fn answer_for(
    zones: &Zones,
    world: &World,
    query: &Query<'_>,
    target: &dyn Fn() -> Option<Target>,
) -> Answer {
    if let Some((code, why)) = never(query.kind) {
        return Answer::bare(code, Outcome::Refused).because(why);
    }
    let Some(zone) = zones.find(query.name, query.kind) else {
        let answer = Answer::bare(ResponseCode::Refused, Outcome::Refused);
        return answer.because(ExtendedError::NotAuthoritative);
    };
    let mut answer = Answer::bare(ResponseCode::NoError, Outcome::Records);
    answer.is_authoritative = true;
    let (mut zone, mut name) = (zone, query.name.clone());
    for _ in 0..CHAIN_MAX {
        match find(zone, &name) {
            Found::Delegated(cut) => return answer.delegated(zone, cut, &name, query),
            Found::Missing => return answer.missing(zone, name),
            Found::Here(node) => {
                let Some(alias) = node.set(RecordType::CNAME).filter(|_| follows(query.kind))
                else {
                    return answer.here(
                        zone,
                        node,
                        name,
                        &Asked { world, kind: query.kind, target },
                    );
                };
                answer.note_wildcard(zone, &name);
                answer.answers.push(alias.owned_by(&name));
                let Some(RData::CNAME(target)) = alias.data.first() else { return answer };
                let Some(next) = zones.find(&target.0, query.kind) else { return answer };
                let is_seen = |set: &RecordSet| set.owner == target.0;
                if answer.answers.iter().any(is_seen) {
                    return answer;
                }
                (zone, name) = (next, target.0.clone());
            }
        }
    }
    answer
}

impl Answer {
    /// An answer without records.
    #[must_use]
    pub fn bare(code: ResponseCode, outcome: Outcome) -> Self {
        Self {
            code,
            is_authoritative: false,
            answers: Vec::new(),
            authorities: Vec::new(),
            additionals: Vec::new(),
            denial: None,
            scope: 0,
            outcome,
            why: None,
            is_compact: false,
            common: None,
        }
    }

    /// The same, and why.
    #[must_use]
    pub fn because(self, why: ExtendedError) -> Self {
        Self { why: Some(why), ..self }
    }

    /// The name is there.
    fn here(mut self, zone: &Arc<Zone>, node: &Node, name: Name, asked: &Asked<'_>) -> Self {
        self.note_wildcard(zone, &name);
        if let Some(steered) = &node.steered
            && STEERED.contains(&asked.kind)
        {
            return self.steered(zone, node, steered, name, asked);
        }
        match node.set(asked.kind) {
            Some(set) => {
                self.answers.push(set.owned_by(&name));
                self
            }
            None => {
                let mut kinds: Vec<RecordType> = node.kinds().collect();
                if node.steered.is_some() {
                    kinds.extend(STEERED);
                }
                self.no_data(zone, name, kinds, u32::MAX)
            }
        }
    }

    /// The name is there, and what it has depends on who asks.
    fn steered(
        mut self,
        zone: &Arc<Zone>,
        node: &Node,
        steered: &Steered,
        name: Name,
        asked: &Asked<'_>,
    ) -> Self {
        let Asked { world, kind, .. } = *asked;
        let Some(target) = (asked.target)() else {
            // Resolvers go on with what they have (RFC 8767); a denial would make them forget it.
            let failed = Self::bare(ResponseCode::ServFail, Outcome::Failed);
            return failed.because(ExtendedError::NoPop);
        };
        self.scope = target.scope;
        match steered_set(world, target, steered, &name, kind) {
            Some(set) => {
                self.answers.push(set);
                self
            }
            None => {
                let has =
                    |kind: &RecordType| steered_set(world, target, steered, &name, *kind).is_some();
                let kinds = node.kinds().chain(STEERED.into_iter().filter(has)).collect();
                // Another PoP may have it.
                self.no_data(zone, name, kinds, target.ttl_seconds)
            }
        }
    }

    fn no_data(
        mut self,
        zone: &Arc<Zone>,
        name: Name,
        kinds: Vec<RecordType>,
        ttl_max: u32,
    ) -> Self {
        if self.answers.is_empty() {
            self.outcome = Outcome::NoData;
        }
        self.deny(zone, name, kinds, ttl_max)
    }

    fn note_wildcard(&mut self, zone: &Zone, name: &Name) {
        if zone.node(name).is_none() {
            self.common = Some(zone.origin().clone());
        }
    }

    fn missing(mut self, zone: &Arc<Zone>, name: Name) -> Self {
        self.code = ResponseCode::NXDomain;
        self.outcome = Outcome::Missing;
        self.common = Some(zone.origin().clone());
        self.deny(zone, name, Vec::new(), u32::MAX)
    }

    fn deny(mut self, zone: &Arc<Zone>, name: Name, kinds: Vec<RecordType>, ttl_max: u32) -> Self {
        let soa = zone.denial();
        let ttl = soa.ttl.min(ttl_max);
        self.authorities.push(soa.with_ttl(ttl));
        self.denial = Some(Denial { zone: zone.clone(), name, kinds, ttl });
        self
    }

    /// The name is at or below one that others serve.
    fn delegated(mut self, zone: &Arc<Zone>, cut: &Node, name: &Name, query: &Query<'_>) -> Self {
        let Some(servers) = cut.set(RecordType::NS) else { return self };
        let signer = cut.set(RecordType::DS);
        let kinds = || vec![RecordType::NS];
        if query.kind == RecordType::DS && *name == servers.owner {
            return match signer {
                Some(set) => {
                    self.answers.push(set.owned_by(name));
                    self
                }
                None => self.no_data(zone, name.clone(), kinds(), u32::MAX),
            };
        }
        if !self.answers.is_empty() {
            // Whoever asked finds the way from the alias.
            return self;
        }
        self.is_authoritative = false;
        self.outcome = Outcome::Referral;
        self.common = Some(servers.owner.clone());
        self.authorities.push(servers.clone());
        self.additionals.extend(glue(zone, servers).cloned());
        if query.dnssec_ok {
            match signer {
                Some(set) => self.authorities.push(set.clone()),
                None => {
                    let ttl = zone.denial().ttl;
                    let (zone, name) = (zone.clone(), servers.owner.clone());
                    self.denial = Some(Denial { zone, name, kinds: kinds(), ttl });
                }
            }
        }
        self
    }
}

impl Outcome {
    /// As labels of metrics say it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Records => "records",
            Self::NoData => "no_data",
            Self::Missing => "missing",
            Self::Referral => "referral",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

/// Types that are not answered at all: transfers and all that is there (refused), and what no question can be about.
fn never(kind: RecordType) -> Option<(ResponseCode, ExtendedError)> {
    match u16::from(kind) {
        // OPT, NXNAME (RFC 9824 3.5).
        0 | 41 | 128 => Some((ResponseCode::FormErr, ExtendedError::InvalidQueryType)),
        // RRSIG by itself is all signatures there are (RFC 8482 7); 129 to 255 are no types of data (RFC 6895 3.1).
        46 | 129..=255 => Some((ResponseCode::Refused, ExtendedError::NotSupported)),
        _ => None,
    }
}

/// Whether an alias is followed for a type.
fn follows(kind: RecordType) -> bool {
    !matches!(kind, RecordType::CNAME | RecordType::NSEC)
}

/// The records of a steered name; `None` when the PoP has none of the type.
fn steered_set(
    world: &World,
    target: Target,
    steered: &Steered,
    name: &Name,
    kind: RecordType,
) -> Option<RecordSet> {
    let data: Vec<RData> = match kind {
        RecordType::A | RecordType::AAAA => {
            world.addresses(target, kind == RecordType::AAAA).map(RData::from).collect()
        }
        _ => https(world, target, steered).into_iter().collect(),
    };
    let owner = name.clone();
    (!data.is_empty()).then(|| RecordSet {
        owner,
        kind,
        ttl: target.ttl_seconds,
        data: data.into(),
    })
}

/// How the PoP is spoken to (RFC 9460), with its own addresses alone: hints of another would take clients there.
fn https(world: &World, target: Target, steered: &Steered) -> Option<RData> {
    let only = Target { next: None, ..target };
    let (mut fours, mut sixes) = (Vec::new(), Vec::new());
    for address in world.addresses(only, false).chain(world.addresses(only, true)) {
        match address {
            IpAddr::V4(address) => fours.push(A(address)),
            IpAddr::V6(address) => sixes.push(AAAA(address)),
        }
    }
    if fours.is_empty() && sixes.is_empty() {
        return None;
    }
    let mut params = vec![(SvcParamKey::Alpn, SvcParamValue::Alpn(Alpn(steered.alpn.clone())))];
    if steered.port != HTTPS_PORT {
        params.push((SvcParamKey::Port, SvcParamValue::Port(steered.port)));
    }
    if !fours.is_empty() {
        params.push((SvcParamKey::Ipv4Hint, SvcParamValue::Ipv4Hint(IpHint(fours))));
    }
    if !sixes.is_empty() {
        params.push((SvcParamKey::Ipv6Hint, SvcParamValue::Ipv6Hint(IpHint(sixes))));
    }
    Some(RData::HTTPS(HTTPS(SVCB::new(1, Name::root(), params))))
}

/// The types that a steered name has from the map.
const STEERED: [RecordType; 3] = [RecordType::A, RecordType::AAAA, RecordType::HTTPS];
/// The most aliases in a row: more than anybody needs, and a ring of zones ends.
const CHAIN_MAX: usize = 8;
/// The port that need not be said.
const HTTPS_PORT: u16 = 443;

#[cfg(test)]
mod tests;
