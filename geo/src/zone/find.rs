//! What a zone knows of a name (RFC 1034 4.3.2, RFC 4592).
//!
//! Pure. Invariant: at and below a name that others serve, nothing is found but the way to them.

use hickory_proto::rr::{Name, RData, RecordType};
use tidegate_contract::zone::{Node, RecordSet, Zone};

/// What a zone knows of a name.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Found<'a> {
    /// It is there, or stands in the place of a wildcard.
    Here(&'a Node),
    /// It is below, or at, a name that others serve.
    Delegated(&'a Node),
    /// It is not there.
    Missing,
}

/// What a zone knows of a name that lies in it.
#[must_use]
pub fn find<'a>(zone: &'a Zone, name: &Name) -> Found<'a> {
    let below = name.iter().len().saturating_sub(zone.origin().iter().len());
    let mut encloser = None;
    for cut in (0..=below).rev() {
        let ancestor = name.trim_to(name.iter().len() - cut);
        let Some(node) = zone.node(&ancestor) else { break };
        if node.is_cut() && ancestor != *zone.origin() {
            return Found::Delegated(node);
        }
        if cut == 0 {
            return Found::Here(node);
        }
        encloser = Some(ancestor);
    }
    let wildcard = encloser.and_then(|encloser| encloser.prepend_label("*").ok());
    match wildcard.and_then(|wildcard| zone.node(&wildcard)) {
        Some(node) => Found::Here(node),
        None => Found::Missing,
    }
}

/// The addresses of name servers that a zone knows.
pub fn glue<'a>(zone: &'a Zone, servers: &'a RecordSet) -> impl Iterator<Item = &'a RecordSet> {
    let hosts = servers.data.iter().filter_map(|data| match data {
        RData::NS(host) => zone.node(&host.0),
        _ => None,
    });
    hosts.flat_map(|node| {
        [RecordType::A, RecordType::AAAA].into_iter().filter_map(|kind| node.set(kind))
    })
}
