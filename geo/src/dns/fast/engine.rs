//! A packet in, an answer out: what one thread does with what it receives.
//!
//! No lock is taken and nothing is allocated. Invariant: what is written is what the handler would have said, or nothing is
//! written.

use std::{net::IpAddr, sync::Arc};

use arc_swap::{ArcSwap, Cache};

use super::{
    batch::ANSWER_BYTES_MAX,
    parse::{
        CHECKING_DISABLED, DNSSEC_OK, Edns, LowerName, OPTION_SUBNET, Query, RECURSION_DESIRED,
        TYPE_OPT,
    },
    table::Table,
};

/// What an engine keeps to.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The largest answer over UDP, in bytes.
    pub udp_bytes_max: u16,
    /// Whether zones may be signed: who wants signatures then gets them from the handler.
    pub is_signing: bool,
}

/// What became of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is answered, in so many bytes.
    Answered(usize),
    /// It is for the handler.
    NotMine,
}

/// What one thread answers with.
#[derive(Debug)]
pub struct Engine {
    table: Cache<Arc<ArcSwap<Table>>, Arc<Table>>,
    limits: Limits,
    name: LowerName,
}

impl Engine {
    /// Answers from the newest table.
    #[must_use]
    pub fn new(table: Arc<ArcSwap<Table>>, limits: Limits) -> Self {
        Self { table: Cache::new(table), limits, name: LowerName::new() }
    }

    /// Answers a packet, if it is a common query.
    pub fn answer(
        &mut self,
        packet: &[u8],
        peer: IpAddr,
        out: &mut [u8; ANSWER_BYTES_MAX],
    ) -> Verdict {
        let table = self.table.load();
        let Self { limits, name, .. } = self;
        let Some(query) = Query::read(packet, name) else { return Verdict::NotMine };
        answer(table, *limits, &query, name.as_bytes(), peer, out)
            .map_or(Verdict::NotMine, Verdict::Answered)
    }
}

/// Writes the answer to a query; `None` when it is for the handler.
fn answer(
    table: &Table,
    limits: Limits,
    query: &Query<'_>,
    name: &[u8],
    peer: IpAddr,
    out: &mut [u8; ANSWER_BYTES_MAX],
) -> Option<usize> {
    let subnet = query.edns.and_then(|edns| edns.subnet);
    if query.edns.is_some_and(|edns| edns.cookie.is_some() || edns.dnssec_ok && limits.is_signing) {
        return None;
    }
    let told = subnet.and_then(|(subnet, _)| subnet.client());
    let found = table.find(name, query.record_type, told.unwrap_or(peer))?;
    let head = query.head.len();
    let opt_bytes = query.edns.map_or(0, |edns| opt_bytes(&edns));
    let room = query.edns.map_or(PLAIN_BYTES_MAX, |edns| edns.payload_bytes.max(PLAIN_BYTES_MAX));
    let room = usize::from(room.min(limits.udp_bytes_max)).min(ANSWER_BYTES_MAX);
    if head + found.template.length() + opt_bytes > room {
        return None;
    }
    out[..head].copy_from_slice(query.head);
    let kept = [query.head[2] & RECURSION_DESIRED, query.head[3] & CHECKING_DISABLED];
    let end = found.template.write(out, head, kept);
    let Some(edns) = query.edns else { return Some(end) };
    // There are few additionals, so that no carry is lost.
    out[11] += 1;
    let opt = &mut out[end..end + opt_bytes];
    let [payload_high, payload_low] = limits.udp_bytes_max.to_be_bytes();
    let flags = if edns.dnssec_ok { DNSSEC_OK } else { 0 };
    let options = (opt_bytes - OPT_BYTES) as u8;
    opt[..OPT_BYTES].copy_from_slice(&[
        0,
        0,
        TYPE_OPT,
        payload_high,
        payload_low,
        0,
        0,
        flags,
        0,
        0,
        options,
    ]);
    if let Some((subnet, content)) = edns.subnet {
        let option = &mut opt[OPT_BYTES..];
        option[..2].copy_from_slice(&OPTION_SUBNET);
        option[2..4].copy_from_slice(&(content.len() as u16).to_be_bytes());
        option[4..].copy_from_slice(content);
        option[7] = subnet.scope(found.scope);
    }
    Some(end + opt_bytes)
}

/// How long the OPT of an answer is.
fn opt_bytes(edns: &Edns<'_>) -> usize {
    OPT_BYTES + edns.subnet.map_or(0, |(_, content)| 4 + content.len())
}

/// What everybody takes who says nothing (RFC 1035, 4.2.1).
const PLAIN_BYTES_MAX: u16 = 512;
/// An OPT without options.
const OPT_BYTES: usize = 11;
