//! What one thread counts: in numbers of its own, which are added to those of all once a batch.
//!
//! Invariant: every query that is answered or dropped here is counted as the handler would have, by `fast`.

use prometheus::IntCounter;

use hickory_proto::{op::ResponseCode, rr::RecordType};

use crate::dns::{
    answer::Outcome, cookie::Shown, metrics::Metrics, rate::Verdict, subnet::Subnet,
    transport::Transport,
};

/// Numbers of one thread.
#[derive(Debug)]
pub struct Tally {
    types: [Number; TYPES.len() + 1],
    codes: [Number; 2],
    outcomes: [Number; 3],
    subnets: [Number; 4],
    cookies: [Number; 3],
    limited: [Number; 3],
}

#[derive(Debug)]
struct Number {
    count: u64,
    shared: IntCounter,
}

impl Tally {
    /// Numbers that are added to the handler's.
    #[must_use]
    pub fn new(metrics: &Metrics) -> Self {
        let udp = Transport::Udp;
        let number = |shared| Number { count: 0, shared };
        let types = |at: usize| TYPES.get(at).copied().unwrap_or(RecordType::NULL);
        Self {
            types: std::array::from_fn(|at| number(metrics.of_query(udp, types(at), "fast"))),
            codes: [ResponseCode::NoError, ResponseCode::NXDomain]
                .map(|code| number(metrics.of_answer(udp, code))),
            outcomes: [Outcome::Records, Outcome::NoData, Outcome::Missing]
                .map(|outcome| number(metrics.of_outcome(outcome))),
            subnets: [None, Some((1, 0)), Some((1, 24)), Some((2, 48))]
                .map(|told| number(metrics.of_subnet(told))),
            cookies: [Shown::Nothing, Shown::Own, Shown::Ours]
                .map(|shown| number(metrics.of_cookie(shown))),
            limited: ["dropped", "truncated", "cookie"]
                .map(|action| number(metrics.of_limited(action))),
        }
    }

    /// A query.
    pub fn query(&mut self, record_type: u16, subnet: Option<Subnet>, shown: Shown) {
        let at = TYPES.iter().position(|kind| u16::from(*kind) == record_type);
        self.types[at.unwrap_or(TYPES.len())].count += 1;
        let told = match subnet {
            None => 0,
            Some(Subnet { source: 0, .. }) => 1,
            Some(Subnet { family: 1, .. }) => 2,
            Some(_) => 3,
        };
        self.subnets[told].count += 1;
        let cookie = match shown {
            Shown::Nothing => 0,
            Shown::Own => 1,
            Shown::Ours => 2,
        };
        self.cookies[cookie].count += 1;
    }

    /// An answer.
    pub fn answered(&mut self, code: u8, outcome: Outcome) {
        self.codes[usize::from(code != 0)].count += 1;
        let outcome = match outcome {
            Outcome::NoData => 1,
            Outcome::Missing => 2,
            _ => 0,
        };
        self.outcomes[outcome].count += 1;
    }

    /// An answer over the limit.
    pub fn limited(&mut self, verdict: Verdict, asks_cookie: bool) {
        let at = match verdict {
            Verdict::Drop => 0,
            _ if asks_cookie => 2,
            _ => 1,
        };
        self.limited[at].count += 1;
    }

    /// Adds what was counted to the numbers of all.
    pub fn flush(&mut self) {
        let Self { types, codes, outcomes, subnets, cookies, limited } = self;
        let all = types
            .iter_mut()
            .chain(codes)
            .chain(outcomes)
            .chain(subnets)
            .chain(cookies)
            .chain(limited);
        for number in all.filter(|number| number.count > 0) {
            number.shared.inc_by(std::mem::take(&mut number.count));
        }
    }
}

/// The types that are asked for most; others are counted together.
const TYPES: [RecordType; 9] = [
    RecordType::A,
    RecordType::AAAA,
    RecordType::HTTPS,
    RecordType::NS,
    RecordType::SOA,
    RecordType::TXT,
    RecordType::MX,
    RecordType::CAA,
    RecordType::CNAME,
];
