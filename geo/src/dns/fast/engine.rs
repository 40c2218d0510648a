//! A packet in, an answer out: what one thread does with what it receives.
//!
//! No lock is taken, and nothing is allocated but for a cookie. Cookies and limits are the handler's own. Invariant: what is
//! written is what the handler would have said, or nothing is written and nothing counted.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::SystemTime,
};

use arc_swap::{ArcSwap, Cache};

use super::{
    batch::ANSWER_BYTES_MAX,
    parse::{
        CHECKING_DISABLED, DNSSEC_OK, HEADER_BYTES, LowerName, OPTION_COOKIE, OPTION_SUBNET, Query,
        RECURSION_DESIRED, TYPE_OPT,
    },
    table::{Found, Table},
    tally::Tally,
};
use crate::dns::{
    answer::Outcome,
    cookie::Shown,
    handler::Handler,
    rate::{Kind, Verdict as Limited},
};

/// What became of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is answered, in so many bytes.
    Answered(usize),
    /// It gets no answer.
    Dropped,
    /// It is for the handler.
    NotMine,
}

/// What one thread answers with.
#[derive(Debug)]
pub struct Engine {
    table: Cache<Arc<ArcSwap<Table>>, Arc<Table>>,
    handler: Arc<Handler>,
    name: LowerName,
    tally: Tally,
}

/// What goes into an answer beside the template.
struct Reply<'a> {
    query: &'a Query<'a>,
    found: Found<'a>,
    cookie: Option<Vec<u8>>,
    udp_bytes_max: u16,
}

/// How an answer that is over the limit looks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Slipped {
    /// Cut short: ask again over TCP.
    Truncated,
    /// Ask again with the cookie in it.
    BadCookie,
}

impl Engine {
    /// Answers from the newest table, with the cookies, limits and numbers of the handler.
    #[must_use]
    pub fn new(table: Arc<ArcSwap<Table>>, handler: Arc<Handler>) -> Self {
        let tally = Tally::new(&handler.parts().metrics);
        Self { table: Cache::new(table), handler, name: LowerName::new(), tally }
    }

    /// Answers a packet, if it is a common query. `now` is of the limiter's clock.
    pub fn answer(
        &mut self,
        packet: &[u8],
        peer: SocketAddr,
        now: u64,
        out: &mut [u8; ANSWER_BYTES_MAX],
    ) -> Verdict {
        if peer.port() == 0 || peer.ip().is_unspecified() || peer.ip().is_multicast() {
            // Nobody asks from there.
            return Verdict::Dropped;
        }
        self.try_answer(packet, peer.ip().to_canonical(), now, out).unwrap_or(Verdict::NotMine)
    }

    /// Tells what was counted since it was told last.
    pub fn flush(&mut self) {
        self.tally.flush();
    }

    fn try_answer(
        &mut self,
        packet: &[u8],
        peer: IpAddr,
        now: u64,
        out: &mut [u8; ANSWER_BYTES_MAX],
    ) -> Option<Verdict> {
        let table = self.table.load();
        let parts = self.handler.parts();
        let query = Query::read(packet, &mut self.name)?;
        let name = self.name.as_bytes();
        let edns = query.edns;
        let subnet = edns.and_then(|edns| edns.subnet);
        if edns.is_some_and(|edns| edns.dnssec_ok) && table.is_signing() || !parts.log.passes() {
            return None;
        }
        let told = subnet.and_then(|(subnet, _)| subnet.client());
        let found = table.find(name, query.record_type, told.unwrap_or(peer))?;
        let udp_bytes_max = parts.answers.udp_bytes_max;
        let mut reply = Reply { query: &query, found, cookie: None, udp_bytes_max };
        let cookie = edns.and_then(|edns| edns.cookie).zip(parts.cookies.as_ref());
        // As large as it may become, before anything is counted.
        let cookie_bytes = if cookie.is_some() { COOKIE_BYTES_MAX } else { 0 };
        if reply.bytes(found.template.length(), cookie_bytes) > reply.room() {
            return None;
        }
        let mut shown = Shown::Nothing;
        if let Some((option, cookies)) = cookie {
            (shown, reply.cookie) = cookies.judge(Some(option), peer, SystemTime::now());
        }
        let limited = match &parts.limiter {
            Some(limiter) if shown != Shown::Ours => {
                let kind = match found.template.outcome() {
                    Outcome::Missing => Kind::Missing,
                    _ => Kind::Answer,
                };
                // Names count without the root at their end.
                let own = &name[..name.len() - 1];
                limiter.check(peer, kind, found.template.limited_as().unwrap_or(own), now)
            }
            _ => Limited::Pass,
        };
        let tally = &mut self.tally;
        tally.query(query.record_type, subnet.map(|(subnet, _)| subnet), shown);
        let slipped = match (limited, shown) {
            (Limited::Drop, _) => {
                tally.limited(limited, false);
                return Some(Verdict::Dropped);
            }
            (Limited::Slip, Shown::Own) => Some(Slipped::BadCookie),
            (Limited::Slip, _) => Some(Slipped::Truncated),
            (Limited::Pass, _) => None,
        };
        let length = match slipped {
            None => {
                tally.answered(found.template.code(), found.template.outcome());
                reply.write(out)
            }
            Some(slipped) => {
                tally.limited(limited, slipped == Slipped::BadCookie);
                reply.write_slipped(out, slipped)
            }
        };
        Some(Verdict::Answered(length))
    }
}

impl Reply<'_> {
    fn head(&self) -> usize {
        self.query.head.len()
    }

    /// How large it is with so many bytes of records and of a cookie's option.
    fn bytes(&self, records: usize, cookie: usize) -> usize {
        let opt = |edns: super::parse::Edns<'_>| {
            OPT_BYTES + edns.subnet.map_or(0, |(_, content)| OPTION_BYTES + content.len()) + cookie
        };
        self.head() + records + self.query.edns.map_or(0, opt)
    }

    /// How large it may be.
    fn room(&self) -> usize {
        let taken = self.query.edns.map_or(PLAIN_BYTES_MAX, |edns| edns.payload_bytes);
        usize::from(taken.max(PLAIN_BYTES_MAX).min(self.udp_bytes_max)).min(ANSWER_BYTES_MAX)
    }

    fn write(&self, out: &mut [u8; ANSWER_BYTES_MAX]) -> usize {
        out[..self.head()].copy_from_slice(self.query.head);
        let end = self.found.template.write(out, self.head(), self.kept());
        self.write_opt(out, end, 0)
    }

    fn write_slipped(&self, out: &mut [u8; ANSWER_BYTES_MAX], slipped: Slipped) -> usize {
        let (flag, code, upper_code) = match slipped {
            Slipped::Truncated => (TRUNCATED, self.found.template.code(), 0),
            Slipped::BadCookie => (0, BAD_COOKIE & 0x0f, BAD_COOKIE >> 4),
        };
        out[..self.head()].copy_from_slice(self.query.head);
        let kept = self.kept();
        (out[2], out[3]) = (IS_ANSWER | flag | kept[0], kept[1] | code);
        out[6..HEADER_BYTES].fill(0);
        self.write_opt(out, self.head(), upper_code)
    }

    /// What of the query's flags stands in its answer.
    fn kept(&self) -> [u8; 2] {
        [self.query.head[2] & RECURSION_DESIRED, self.query.head[3] & CHECKING_DISABLED]
    }

    /// Writes OPT where the records end.
    fn write_opt(
        &self,
        out: &mut [u8; ANSWER_BYTES_MAX],
        records_end: usize,
        upper_code: u8,
    ) -> usize {
        let Some(edns) = self.query.edns else { return records_end };
        // There are few additionals, so that no carry is lost.
        out[11] += 1;
        let [payload_high, payload_low] = self.udp_bytes_max.to_be_bytes();
        let flags = if edns.dnssec_ok { DNSSEC_OK } else { 0 };
        let mut end = records_end + OPT_BYTES;
        out[records_end..end].copy_from_slice(&[
            0,
            0,
            TYPE_OPT,
            payload_high,
            payload_low,
            upper_code,
            0,
            flags,
            0,
            0,
            0,
        ]);
        let mut option = |code: [u8; 2], content: &[u8]| {
            out[end..end + 2].copy_from_slice(&code);
            out[end + 2..end + 4].copy_from_slice(&(content.len() as u16).to_be_bytes());
            let first = end + OPTION_BYTES;
            end = first + content.len();
            out[first..end].copy_from_slice(content);
            first
        };
        if let Some((_, content)) = edns.subnet {
            option(OPTION_SUBNET, content);
        }
        if let Some(cookie) = &self.cookie {
            option(OPTION_COOKIE, cookie);
        }
        if let Some((subnet, _)) = edns.subnet {
            // The fourth byte of the first option.
            out[records_end + OPT_BYTES + OPTION_BYTES + 3] = subnet.scope(self.found.scope);
        }
        // Two options of few bytes.
        out[records_end + OPT_BYTES - 1] = (end - records_end - OPT_BYTES) as u8;
        end
    }
}

/// What everybody takes who says nothing (RFC 1035, 4.2.1).
const PLAIN_BYTES_MAX: u16 = 512;
/// An OPT without options.
const OPT_BYTES: usize = 11;
/// Code and length of an option.
const OPTION_BYTES: usize = 4;
/// The option of a cookie, that of the server as long as it may be.
const COOKIE_BYTES_MAX: usize = OPTION_BYTES + 40;
const IS_ANSWER: u8 = 0x80;
const TRUNCATED: u8 = 0x02;
/// RFC 7873, 8: an extended code, of which the upper bits stand in OPT.
const BAD_COOKIE: u8 = 23;
