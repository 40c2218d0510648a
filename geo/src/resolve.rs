//! What a client would be answered to a name, for those who ask without the DNS: operators, through the admin port or the
//! control plane.
//!
//! Invariant: it is decided where every answer is decided ([`crate::dns::answer`]); nothing is signed, counted or limited.

use std::{net::IpAddr, sync::Arc};

use hickory_proto::rr::Name;
use serde_json::{Value, json};
use tidegate_contract::{network::Network, zone};

use crate::{
    dns::{
        answer::{Answer, Query, answer},
        subnet::Subnet,
    },
    live::{Resolve, Resolved},
    world::Worlds,
    zone::{RecordSet, ZoneTable},
};

/// Answers from the newest zones and the newest world.
#[must_use]
pub fn resolve(zones: Arc<ZoneTable>, worlds: Arc<Worlds>) -> Resolve {
    Arc::new(move |name, record, client, subnet| {
        let kind = zone::kind(record).ok_or_else(|| format!("{record:?} is no type of record"))?;
        let mut name = Name::from_ascii(name).map_err(|error| format!("{name:?}: {error}"))?;
        name.set_fqdn(true);
        let subnet = subnet.map(carried);
        let query =
            Query { name: &name, kind, dnssec_ok: false, compact_ok: false, client, subnet };
        let answer = answer(&zones.newest(), &worlds.newest(), &query);
        let whom = subnet.and_then(|subnet| subnet.client()).unwrap_or(client);
        Ok(Resolved { answer: shown(&answer, subnet), whom })
    })
}

/// A subnet as a query carries it.
fn carried(subnet: Network) -> Subnet {
    let (address, source): (IpAddr, u8) = subnet.parts();
    Subnet { family: if address.is_ipv4() { 1 } else { 2 }, source, address }
}

/// The scope is the one that an answer to the subnet has.
fn shown(answer: &Answer, subnet: Option<Subnet>) -> Value {
    let lines = |sets: &[RecordSet]| -> Vec<String> {
        sets.iter().flat_map(RecordSet::records).map(|record| zone::line(&record)).collect()
    };
    json!({
        "code": answer.code.to_str(),
        "authoritative": answer.is_authoritative,
        "scope": subnet.map_or(answer.scope, |subnet| subnet.scope(answer.scope)),
        "answers": lines(&answer.answers),
        "authorities": lines(&answer.authorities),
        "additionals": lines(&answer.additionals),
    })
}
