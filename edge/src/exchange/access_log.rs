//! One line per exchange, written together with others a moment later.
//!
//! Invariant: neither a query, nor a token, nor a full client address is written.

use std::net::IpAddr;

use tidegate_chassis::ACCESS;

use super::context::Exchange;
use crate::{error::Failure, listener::stream::Request};

/// Which exchanges get a line.
#[derive(Debug, Clone, Copy)]
pub struct LogPolicy {
    /// Whether any does.
    pub is_on: bool,
    /// One in how many; those that failed always do.
    pub every: u32,
}

impl LogPolicy {
    /// Whether an exchange gets a line.
    pub(super) fn wants(&self, exchange: &Exchange, failure: Option<Failure>) -> bool {
        let is_error = exchange.status.is_none_or(|status| status.is_server_error());
        self.is_on && (self.every <= 1 || failure.is_some() || is_error || self.is_drawn(exchange))
    }

    /// By the id, so that all programs that an exchange passes draw alike.
    fn is_drawn(&self, exchange: &Exchange) -> bool {
        let hash = exchange
            .id
            .as_bytes()
            .iter()
            .fold(FNV_BASIS, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(FNV_PRIME));
        hash % self.every == 0
    }
}

/// Writes the line.
pub(super) fn write(exchange: &Exchange, request: &Request, sent: u64, failure: Option<Failure>) {
    let route = exchange.route.as_ref();
    let forward = exchange.forward.as_ref();
    let upstream = route.zip(forward.and_then(|forward| forward.from)).map(|(route, from)| {
        let upstream = from.upstream(&route.policy, route.property);
        upstream.map_or(from.tier.as_str(), |upstream| upstream.authority.as_str())
    });
    let cmcd = exchange.cmcd.as_deref();
    let hex = |name: u64| format!("{name:016x}");
    tracing::info!(
        target: ACCESS,
        method = %request.method,
        host = route.map(|route| route.host.as_str()),
        path = request.target.path(),
        property = route.map(|route| route.property().id.as_str()),
        status = exchange.status.map_or(0, |status| status.as_u16()),
        protocol = exchange.downstream.protocol.as_str(),
        client = network(exchange.downstream.client.ip()),
        cache.status = exchange.handled.as_str(),
        bytes = sent,
        duration_ms = u64::try_from(exchange.arrived_at.elapsed().as_millis()).unwrap_or(u64::MAX),
        upstream.authority = upstream,
        upstream.status = forward.map(|forward| forward.status.as_u16()),
        upstream.attempts = forward.map(|forward| forward.attempts),
        failure = failure.map(|failure| failure.kind),
        blame = failure.map(|failure| failure.blame.as_str()),
        request_id = exchange.id(),
        token = exchange.token.map(|token| hex(u64::from_be_bytes(token))),
        cmcd.session = cmcd.and_then(|cmcd| cmcd.session).map(hex),
        cmcd.content = cmcd.and_then(|cmcd| cmcd.content).map(hex),
        cmcd.object = cmcd.and_then(|cmcd| cmcd.object).map(|object| object.as_str()),
        cmcd.bitrate_kbps = cmcd.and_then(|cmcd| cmcd.bitrate_kbps),
        cmcd.throughput_kbps = cmcd.and_then(|cmcd| cmcd.throughput_kbps),
        cmcd.buffer_ms = cmcd.and_then(|cmcd| cmcd.buffer_ms),
        cmcd.latency_ms = cmcd.and_then(|cmcd| cmcd.latency_ms),
        cmcd.starved = cmcd.map(|cmcd| cmcd.is_starved),
        cmcd.startup = cmcd.map(|cmcd| cmcd.is_startup),
        "exchange"
    );
}

/// A client's network: enough to see where requests come from, too little to know who sent them.
fn network(ip: IpAddr) -> String {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let [a, b, c, _] = ip.octets();
            format!("{a}.{b}.{c}.0/24")
        }
        IpAddr::V6(ip) => {
            let [a, b, c, ..] = ip.segments();
            format!("{a:x}:{b:x}:{c:x}::/48")
        }
    }
}

const FNV_BASIS: u32 = 0x811c_9dc5;
const FNV_PRIME: u32 = 0x0100_0193;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::testing::exchange;

    #[test]
    fn a_client_is_written_as_its_network() {
        for (ip, expected) in [
            ("192.0.2.77", "192.0.2.0/24"),
            ("::ffff:192.0.2.77", "192.0.2.0/24"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1::/48"),
        ] {
            assert_eq!(network(ip.parse().unwrap()), expected);
        }
    }

    #[test]
    fn a_share_of_the_good_ones_and_all_of_the_bad_ones_are_written() {
        let policy = LogPolicy { is_on: true, every: 10 };
        let mut exchanges: Vec<_> = (0..2000).map(|_| exchange()).collect();
        for exchange in &mut exchanges {
            exchange.status = Some(http::StatusCode::OK);
        }
        let written = exchanges.iter().filter(|exchange| policy.wants(exchange, None)).count();
        assert!((120..280).contains(&written), "{written}");
        assert!(policy.wants(&exchanges[0], Some(Failure::GONE)));
        exchanges[0].status = Some(http::StatusCode::BAD_GATEWAY);
        assert!(policy.wants(&exchanges[0], None));
        let off = LogPolicy { is_on: false, every: 1 };
        assert!(!off.wants(&exchanges[0], Some(Failure::GONE)));
    }
}
