//! The numbers of exchanges, with every label looked up once.
//!
//! Invariant: a hit looks nothing up by name.

use http::StatusCode;
use prometheus::{Histogram, IntCounter};

use super::{cache_status::Handled, context::Exchange};
use crate::{error::Failure, listener::Protocol, metrics::Metrics};

/// Handles on the numbers of exchanges.
pub(super) struct Counts {
    requests: Vec<[IntCounter; Handled::WORDS.len()]>,
    seconds: [Histogram; Handled::WORDS.len()],
    responses: [IntCounter; CLASSES.len()],
    bytes: Vec<IntCounter>,
}

impl Counts {
    pub(super) fn new(metrics: &Metrics) -> Self {
        let protocols = PROTOCOLS.iter().map(|protocol| protocol.as_str());
        Self {
            requests: protocols
                .clone()
                .map(|protocol| {
                    Handled::WORDS.map(|word| metrics.requests.with_label_values(&[protocol, word]))
                })
                .collect(),
            seconds: Handled::WORDS.map(|word| metrics.request_seconds.with_label_values(&[word])),
            responses: CLASSES.map(|class| metrics.responses.with_label_values(&[class])),
            bytes: protocols
                .map(|protocol| metrics.response_bytes.with_label_values(&[protocol]))
                .collect(),
        }
    }

    /// Counts an exchange that ended.
    pub(super) fn count(
        &self,
        exchange: &Exchange,
        sent: u64,
        failure: Option<Failure>,
        metrics: &Metrics,
    ) {
        let protocol = match exchange.downstream.protocol {
            Protocol::Http1 => 0,
            Protocol::Http2 => 1,
            Protocol::Http3 => 2,
        };
        let word = exchange.handled.index();
        self.requests[protocol][word].inc();
        self.bytes[protocol].inc_by(sent);
        self.responses[class(exchange.status)].inc();
        self.seconds[word].observe(exchange.arrived_at.elapsed().as_secs_f64());
        let is_refused = exchange.status.is_some_and(|status| status.is_server_error());
        let is_error = is_refused || failure.is_some_and(|failure| failure != Failure::GONE);
        metrics.count_exchange(exchange.handled.is_hit(), is_error);
    }
}

/// The place of a status' class.
fn class(status: Option<StatusCode>) -> usize {
    status.map_or(0, |status| usize::from(status.as_u16() / 100).min(CLASSES.len() - 1))
}

const PROTOCOLS: [Protocol; 3] = [Protocol::Http1, Protocol::Http2, Protocol::Http3];
const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_has_the_class_of_its_first_digit() {
        for (status, expected) in [(None, "none"), (Some(206), "2xx"), (Some(599), "5xx")] {
            let status = status.map(|status| StatusCode::from_u16(status).unwrap());
            assert_eq!(CLASSES[class(status)], expected);
        }
        assert_eq!(CLASSES[class(StatusCode::from_u16(999).ok())], "5xx");
    }
}
