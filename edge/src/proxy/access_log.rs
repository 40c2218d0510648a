//! One line per exchange, and its numbers.
//!
//! Invariant: neither a query, nor a token, nor a full client address is written.

use std::net::IpAddr;

use pingora::proxy::Session;

use super::{cache_status::CacheStatus, exchange::Exchange, upstream::upstream_of};
use crate::{error::Failure, listener::Protocol, metrics::Metrics};

/// Counts an exchange that ended.
pub(super) fn count(
    session: &Session,
    exchange: &Exchange,
    cache: CacheStatus,
    failure: Option<Failure>,
    metrics: &Metrics,
) {
    let protocol = exchange.downstream.map_or(Protocol::Http1, |d| d.protocol).as_str();
    let status = status(session);
    metrics.requests.with_label_values(&[protocol, cache.as_str()]).inc();
    metrics.responses.with_label_values(&[class(status)]).inc();
    let seconds = exchange.started.elapsed().as_secs_f64();
    metrics.request_seconds.with_label_values(&[cache.as_str()]).observe(seconds);
    metrics.response_bytes.with_label_values(&[protocol]).inc_by(session.body_bytes_sent() as u64);
    let is_error = status >= 500 || failure.is_some_and(|failure| failure != Failure::GONE);
    metrics.count_exchange(cache.is_hit(), is_error);
}

/// Writes the line.
pub(super) fn write(
    session: &Session,
    exchange: &Exchange,
    cache: CacheStatus,
    failure: Option<Failure>,
) {
    let request = session.req_header();
    let upstream = exchange
        .route
        .as_ref()
        .zip(exchange.forward.current)
        .map(|(route, candidate)| upstream_of(route, candidate).authority.as_str());
    tracing::info!(
        target: "access",
        method = %request.method,
        host = exchange.route.as_ref().map(|route| route.host.as_str()),
        path = request.uri.path(),
        property = exchange.route.as_ref().map(|route| route.property().id.as_str()),
        status = status(session),
        protocol = exchange.downstream.map(|downstream| downstream.protocol.as_str()),
        client = exchange.downstream.map(|downstream| network(downstream.client.ip())),
        cache.status = cache.as_str(),
        bytes = session.body_bytes_sent(),
        duration_ms = u64::try_from(exchange.started.elapsed().as_millis()).unwrap_or(u64::MAX),
        upstream.authority = upstream,
        upstream.status = exchange.forward.status,
        upstream.attempts = exchange.forward.attempts,
        failure = failure.map(|failure| failure.kind),
        blame = failure.map(|failure| failure.blame.as_str()),
        request_id = exchange.id.as_str(),
        background = exchange.is_background,
        "exchange"
    );
}

/// The status that was sent, 0 for none.
fn status(session: &Session) -> u16 {
    session.response_written().map_or(0, |response| response.status.as_u16())
}

fn class(status: u16) -> &'static str {
    match status {
        100..=199 => "1xx",
        200..=299 => "2xx",
        300..=399 => "3xx",
        400..=499 => "4xx",
        500.. => "5xx",
        _ => "none",
    }
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
