//! Numbers of queries and answers.
//!
//! Invariant: label values are words of this program; no name and no address.

use hickory_proto::{op::ResponseCode, rr::RecordType};
use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, Registry};
use tidegate_chassis::metrics::{counter, counter_vec, gauge, histogram_vec};

use crate::dns::{answer::Outcome, cookie::Shown, rate::Verdict, transport::Transport};

/// Handles on every metric; clones count into the same numbers.
#[derive(Debug, Clone)]
pub struct Metrics {
    queries: IntCounterVec,
    answers: IntCounterVec,
    outcomes: IntCounterVec,
    subnets: IntCounterVec,
    cookies: IntCounterVec,
    limited: IntCounterVec,
    seconds: HistogramVec,
    /// Answers that did not fit.
    pub truncated: IntCounter,
    /// Queries that got no answer, but for limits.
    pub unanswered: IntCounter,
    /// TCP connections.
    pub connections: IntGauge,
    refused: IntCounterVec,
}

impl Metrics {
    /// Declares them.
    #[must_use]
    pub fn register(registry: &Registry) -> Self {
        Self {
            queries: counter_vec(
                registry,
                "geo_queries_total",
                "Queries by transport, type of record and who answered: the fast path, or the handler of everything.",
                &["transport", "type", "by"],
            ),
            answers: counter_vec(
                registry,
                "geo_answers_total",
                "Answers by transport and response code.",
                &["transport", "rcode"],
            ),
            outcomes: counter_vec(
                registry,
                "geo_answer_kinds_total",
                "Answers by what they say: records, no_data, missing, referral, refused, failed.",
                &["kind"],
            ),
            subnets: counter_vec(
                registry,
                "geo_subnets_total",
                "Queries by the client's subnet that they tell: none, empty, ipv4, ipv6.",
                &["subnet"],
            ),
            cookies: counter_vec(
                registry,
                "geo_cookies_total",
                "Queries by cookie: none, of the client alone, one of ours.",
                &["cookie"],
            ),
            limited: counter_vec(
                registry,
                "geo_limited_total",
                "Answers over the rate limit by what became of them: dropped, cut short, or a cookie asked for.",
                &["action"],
            ),
            seconds: histogram_vec(
                registry,
                "geo_answer_seconds",
                "Time that the handler took for an answer.",
                &["transport"],
                &ANSWER_SECONDS,
            ),
            truncated: counter(
                registry,
                "geo_truncated_total",
                "Answers that did not fit a datagram and were cut short.",
            ),
            unanswered: counter(
                registry,
                "geo_unanswered_total",
                "Messages that got no answer, because they were no queries.",
            ),
            connections: gauge(registry, "geo_tcp_connections", "TCP connections that are open."),
            refused: counter_vec(
                registry,
                "geo_tcp_refused_total",
                "TCP connections that were closed at once, by the limit that they met: all, client.",
                &["limit"],
            ),
        }
    }

    /// Counts a query; `by` is `fast` or `handler`.
    pub fn query(&self, transport: Transport, kind: RecordType, by: &str) {
        self.of_query(transport, kind, by).inc();
    }

    /// The number of such queries.
    #[must_use]
    pub fn of_query(&self, transport: Transport, kind: RecordType, by: &str) -> IntCounter {
        self.queries.with_label_values(&[transport.as_str(), word(kind), by])
    }

    /// The number of such answers.
    #[must_use]
    pub fn of_answer(&self, transport: Transport, code: ResponseCode) -> IntCounter {
        self.answers.with_label_values(&[transport.as_str(), rcode(code)])
    }

    /// The number of answers that say such a thing.
    #[must_use]
    pub fn of_outcome(&self, outcome: Outcome) -> IntCounter {
        self.outcomes.with_label_values(&[outcome.as_str()])
    }

    /// Counts an answer.
    pub fn answer(&self, transport: Transport, code: ResponseCode, outcome: Option<Outcome>) {
        self.of_answer(transport, code).inc();
        if let Some(outcome) = outcome {
            self.of_outcome(outcome).inc();
        }
    }

    /// Counts what was told of the client's subnet: its family and prefix.
    pub fn subnet(&self, told: Option<(u16, u8)>) {
        self.of_subnet(told).inc();
    }

    /// The number of queries that tell such a subnet.
    #[must_use]
    pub fn of_subnet(&self, told: Option<(u16, u8)>) -> IntCounter {
        let word = match told {
            None => "none",
            Some((_, 0)) => "empty",
            Some((1, _)) => "ipv4",
            Some(_) => "ipv6",
        };
        self.subnets.with_label_values(&[word])
    }

    /// Counts a cookie.
    pub fn cookie(&self, shown: Shown) {
        self.of_cookie(shown).inc();
    }

    /// The number of queries that show such a cookie.
    #[must_use]
    pub fn of_cookie(&self, shown: Shown) -> IntCounter {
        let word = match shown {
            Shown::Nothing => "none",
            Shown::Own => "client",
            Shown::Ours => "ours",
        };
        self.cookies.with_label_values(&[word])
    }

    /// Counts an answer over the limit.
    pub fn limited(&self, verdict: Verdict, asks_cookie: bool) {
        let word = match verdict {
            Verdict::Pass => return,
            Verdict::Slip if asks_cookie => "cookie",
            Verdict::Slip => "truncated",
            Verdict::Drop => "dropped",
        };
        self.of_limited(word).inc();
    }

    /// The number of answers over the limit of which such a thing became.
    #[must_use]
    pub fn of_limited(&self, action: &str) -> IntCounter {
        self.limited.with_label_values(&[action])
    }

    /// The times of answers over a transport.
    #[must_use]
    pub fn seconds(&self, transport: Transport) -> Histogram {
        self.seconds.with_label_values(&[transport.as_str()])
    }

    /// Counts a TCP connection that was closed at once.
    pub fn refused(&self, limit: &str) {
        self.refused.with_label_values(&[limit]).inc();
    }
}

/// The types that are told apart.
fn word(kind: RecordType) -> &'static str {
    match kind {
        RecordType::A => "A",
        RecordType::AAAA => "AAAA",
        RecordType::HTTPS => "HTTPS",
        RecordType::SVCB => "SVCB",
        RecordType::CNAME => "CNAME",
        RecordType::SOA => "SOA",
        RecordType::NS => "NS",
        RecordType::TXT => "TXT",
        RecordType::MX => "MX",
        RecordType::CAA => "CAA",
        RecordType::DS => "DS",
        RecordType::DNSKEY => "DNSKEY",
        RecordType::ANY => "ANY",
        _ => "other",
    }
}

fn rcode(code: ResponseCode) -> &'static str {
    match code {
        ResponseCode::NoError => "NOERROR",
        ResponseCode::FormErr => "FORMERR",
        ResponseCode::ServFail => "SERVFAIL",
        ResponseCode::NXDomain => "NXDOMAIN",
        ResponseCode::NotImp => "NOTIMP",
        ResponseCode::Refused => "REFUSED",
        ResponseCode::BADVERS => "BADVERS",
        ResponseCode::BADCOOKIE => "BADCOOKIE",
        _ => "other",
    }
}

/// From a template that is copied to an answer that has to be signed.
const ANSWER_SECONDS: [f64; 9] = [2e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2.5e-4, 1e-3, 1e-2];
