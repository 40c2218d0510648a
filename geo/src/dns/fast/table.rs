//! What is answered from a packet alone: zones and a world, made into templates.
//!
//! Which PoPs a client gets is looked up in the world's map (two reads for IPv4); the answer that names them was made when
//! the table was. Invariant: a table answers from one world and one state of the zones, never from parts of two.

use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

use super::{
    names::{Answers, Names, STEERED},
    template::Template,
};
use crate::{
    dns::answer::{Query, answer_for},
    map::{Map, NEIGHBOUR_ABOVE, Reason},
    world::{Target, Trust, World},
    zone::Zones,
};

/// The most templates of steered names: shapes times three types times pairs of PoPs. What is beyond is the handler's.
pub const TEMPLATES_MAX: usize = 1 << 18;

/// The table.
#[derive(Debug)]
pub struct Table {
    names: Arc<Names>,
    world: Arc<World>,
    is_signing: bool,
    /// By PoP: who is named after it, and the number of the pair.
    pairs: Vec<Vec<(Option<u16>, u32)>>,
    pairs_count: usize,
    /// By shape, type, pair.
    templates: Vec<Option<Template>>,
}

/// An answer, and for how many bits of the client's address it is the same.
#[derive(Debug, Clone, Copy)]
pub struct Found<'a> {
    /// The answer.
    pub template: &'a Template,
    /// 0: for everybody.
    pub scope: u8,
}

impl Table {
    /// Makes the table of names, which were made of the same zones, and a world. With `is_signing` those who want signatures
    /// are the handler's.
    #[must_use]
    pub fn new(names: Arc<Names>, zones: &Zones, world: Arc<World>, is_signing: bool) -> Self {
        let all = pairs(&world);
        let mut pairs = vec![Vec::new(); world.map.fleet().pops().len()];
        for (number, (pop, next)) in (0u32..).zip(&all) {
            pairs[usize::from(*pop)].push((*next, number));
        }
        let mut templates = Vec::new();
        for shape in names.shapes() {
            if templates.len() + STEERED.len() * all.len() > TEMPLATES_MAX {
                break;
            }
            for kind in STEERED {
                templates.extend(all.iter().map(|(pop, next)| {
                    let ttl_seconds = world.map.ttl_seconds(*pop);
                    let (pop, next, reason) = (*pop, *next, Reason::Nearest);
                    let target = Target { scope: 1, pop, next, reason, ttl_seconds };
                    let client = IpAddr::from([0; 4]);
                    let name = &shape.name;
                    let query = Query {
                        name,
                        kind,
                        dnssec_ok: false,
                        compact_ok: false,
                        client,
                        subnet: None,
                    };
                    let answer = answer_for(zones, &world, &query, &|| Some(target));
                    Template::new(&answer, name, shape.zone.origin())
                }));
            }
        }
        Self { names, world, is_signing, pairs, pairs_count: all.len(), templates }
    }

    /// The answer for a name on the wire in lower case, a type, and who asks or for whom.
    #[must_use]
    pub fn find(&self, name: &[u8], record_type: u16, client: IpAddr) -> Option<Found<'_>> {
        match self.names.find(name, record_type)? {
            Answers::Same(template) => Some(Found { template, scope: 0 }),
            Answers::Steered(shape, kind) => {
                let Target { scope, pop, next, .. } = self.world.target(client)?;
                let of_pop = self.pairs.get(usize::from(pop))?;
                let (_, pair) = of_pop.iter().find(|(other, _)| *other == next)?;
                let row = shape as usize * STEERED.len() + kind;
                let template = self.templates.get(row * self.pairs_count + *pair as usize)?;
                template.as_ref().map(|template| Found { template, scope })
            }
        }
    }

    /// Whether answers may have signatures, which are not in the table.
    #[must_use]
    pub fn is_signing(&self) -> bool {
        self.is_signing
    }

    /// The names that it was made of.
    #[must_use]
    pub fn names(&self) -> &Arc<Names> {
        &self.names
    }

    /// The world that it was made of.
    #[must_use]
    pub fn world(&self) -> &Arc<World> {
        &self.world
    }

    /// How many templates it has for steered names.
    #[must_use]
    pub fn templates(&self) -> usize {
        self.templates.len()
    }
}

/// Every PoP that a client may get, with the one that is named after it.
fn pairs(world: &World) -> BTreeSet<(u16, Option<u16>)> {
    let map = &world.map;
    let mut pairs = BTreeSet::new();
    if let Trust::Alone { own, .. } = world.trust {
        pairs.insert((own, None));
    }
    let is_full = |pop: u16| map.utilisation()[usize::from(pop)] > NEIGHBOUR_ABOVE;
    let mut last: Option<(&[_], &[_])> = None;
    for plan in map.plans().iter().chain([map.plan(None)]) {
        // Neighbouring units are alike as a rule.
        if last == Some((&plan.shares, &plan.candidates)) {
            continue;
        }
        last = Some((&plan.shares, &plan.candidates));
        let candidates = || plan.candidates.iter().map(|one| one.pop);
        for pop in plan.shares.iter().map(|(pop, _)| *pop).chain(candidates()) {
            let next = || candidates().find(|other| *other != pop && !is_full(*other));
            pairs.insert((pop, is_full(pop).then(next).flatten()));
        }
    }
    debug_assert!(pairs.iter().all(|(pop, _)| is_of(map, *pop)));
    pairs
}

fn is_of(map: &Map, pop: u16) -> bool {
    usize::from(pop) < map.fleet().pops().len()
}

#[cfg(test)]
mod tests {
    use hickory_proto::rr::RecordType;

    use super::*;
    use crate::dns::{
        answer::Outcome,
        fast::template::wire,
        testing::{FLEET, name, world, zones},
    };

    fn table(fleet: &str) -> Table {
        let (zones, world) = (zones(), Arc::new(world(fleet)));
        Table::new(Arc::new(Names::new(&zones, &world)), &zones, world, false)
    }

    fn found(table: &Table, asked: &str, kind: RecordType, client: &str) -> Option<(Outcome, u8)> {
        let client = client.parse().expect("an address");
        let found = table.find(&wire(&name(asked)), kind.into(), client)?;
        Some((found.template.outcome(), found.scope))
    }

    #[test]
    fn what_is_common_is_found_and_the_rest_is_left_to_the_handler() {
        let table = table(FLEET);
        let here = |asked, kind| found(&table, asked, kind, "10.1.0.1");
        for (asked, kind, outcome) in [
            ("www.example.test.", RecordType::A, Some((Outcome::Records, 20))),
            ("WWW.example.test.", RecordType::HTTPS, Some((Outcome::Records, 20))),
            ("www.example.test.", RecordType::AAAA, Some((Outcome::NoData, 20))),
            ("www.example.test.", RecordType::TXT, Some((Outcome::NoData, 0))),
            ("v.example.test.", RecordType::TXT, Some((Outcome::Records, 0))),
            ("b.deep.example.test.", RecordType::A, Some((Outcome::NoData, 0))),
            ("other.example.test.", RecordType::A, Some((Outcome::Records, 0))),
            ("there.example.test.", RecordType::TXT, Some((Outcome::Records, 0))),
            ("no.second.test.", RecordType::A, Some((Outcome::Missing, 0))),
            ("no.such.second.test.", RecordType::A, Some((Outcome::Missing, 0))),
            ("chain.example.test.", RecordType::A, Some((Outcome::Records, 20))),
            ("alias.example.test.", RecordType::AAAA, Some((Outcome::Records, 20))),
            ("alias.example.test.", RecordType::CNAME, Some((Outcome::Records, 0))),
            // Wildcards and delegations make names that are in no table.
            ("x.wild.example.test.", RecordType::A, None),
            ("no.example.test.", RecordType::A, None),
            ("sub.example.test.", RecordType::A, None),
            ("x.sub.example.test.", RecordType::A, None),
            ("www.example.test.", RecordType::ANY, None),
            ("example.test.", RecordType::DNSKEY, None),
            ("example.test.", RecordType::DS, None),
            ("example.org.", RecordType::A, None),
            (".", RecordType::A, None),
        ] {
            assert_eq!(here(asked, kind), outcome, "{asked} {kind}");
        }
    }

    #[test]
    fn names_of_one_zone_with_the_same_options_share_templates() {
        let table = table(FLEET);
        assert_eq!(table.names().shapes().len(), 4, "www and *.any; v; alias; chain");
        assert_eq!(table.templates(), 4 * STEERED.len() * table.pairs_count);
    }

    #[test]
    fn where_no_pop_serves_only_the_handler_answers_for_steered_names() {
        let table = table("");
        assert_eq!(found(&table, "www.example.test.", RecordType::A, "10.0.0.1"), None);
        let other = found(&table, "static.example.test.", RecordType::A, "10.0.0.1");
        assert_eq!(other, Some((Outcome::Records, 0)));
    }
}
