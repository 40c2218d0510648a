//! The section `[encrypted]`.
//!
//! Invariant: a listener that could show no certificate is refused at start.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::ensure;
use serde::{Deserialize, Serialize};

/// Where encrypted queries are taken, and how many at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Addresses for DNS over TLS (RFC 7858), TCP; port 853 as a rule. Default none.
    pub dot: Vec<SocketAddr>,
    /// Addresses for DNS over HTTP/2 (RFC 8484), TCP; the path is /dns-query. Default none.
    pub doh: Vec<SocketAddr>,
    /// Addresses for DNS over QUIC (RFC 9250), UDP; port 853 as a rule. Default none.
    pub doq: Vec<SocketAddr>,
    /// Addresses for DNS over HTTP/3, UDP; the path is /dns-query. Default none.
    pub doh3: Vec<SocketAddr>,
    /// PEM file with the certificate chain, leaf first. Default none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<PathBuf>,
    /// PEM file with the private key of `certificate`. Default none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
    /// How often is looked whether the two files changed.
    #[serde(with = "humantime_serde")]
    pub look_every: Duration,
    /// Connections of each transport at one time.
    pub connections_max: usize,
    /// Connections of one client (/32 or /64) and each transport at one time.
    pub connections_per_client_max: usize,
    /// How long a handshake may take.
    #[serde(with = "humantime_serde")]
    pub handshake: Duration,
    /// How long a connection may stay without a query.
    #[serde(with = "humantime_serde")]
    pub idle: Duration,
    /// Queries of one connection at one time, where they have streams of their own.
    pub queries_at_once_max: u32,
    /// Queries of one connection; then it is closed.
    pub queries_max: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            dot: vec![],
            doh: vec![],
            doq: vec![],
            doh3: vec![],
            certificate: None,
            key: None,
            look_every: Duration::from_secs(10),
            connections_max: 4096,
            connections_per_client_max: 64,
            handshake: Duration::from_secs(5),
            idle: Duration::from_secs(30),
            queries_at_once_max: 100,
            queries_max: 10_000,
        }
    }
}

impl Config {
    /// Whether anything encrypted is listened for.
    #[must_use]
    pub fn is_on(&self) -> bool {
        [&self.dot, &self.doh, &self.doq, &self.doh3].iter().any(|addresses| !addresses.is_empty())
    }

    /// Whether the values make sense.
    ///
    /// # Errors
    /// What does not.
    pub fn check(&self) -> anyhow::Result<()> {
        let is_named = self.certificate.is_some();
        ensure!(
            is_named == self.key.is_some(),
            "encrypted.certificate and encrypted.key must be named together"
        );
        ensure!(
            is_named || !self.is_on(),
            "encrypted.dot, doh, doq and doh3 need encrypted.certificate and encrypted.key"
        );
        let counts = [self.connections_max, self.connections_per_client_max];
        let queries = [self.queries_at_once_max, self.queries_max];
        ensure!(
            counts.iter().all(|count| *count > 0) && queries.iter().all(|count| *count > 0),
            "encrypted: connections_max, connections_per_client_max, queries_at_once_max and queries_max are above 0"
        );
        ensure!(self.queries_at_once_max <= 10_000, "encrypted.queries_at_once_max is above 10000");
        let waits = [self.handshake, self.idle, self.look_every];
        ensure!(
            waits.iter().all(|wait| (MOMENT..=DAY).contains(wait)),
            "encrypted: handshake, idle and look_every are 10 ms to a day"
        );
        Ok(())
    }
}

const MOMENT: Duration = Duration::from_millis(10);
const DAY: Duration = Duration::from_secs(86_400);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_have_a_certificate_and_limits_are_above_zero() {
        let path = || Some(PathBuf::from("x"));
        let good = Config {
            dot: vec![([127, 0, 0, 1], 0).into()],
            certificate: path(),
            key: path(),
            ..Config::default()
        };
        assert!(good.check().is_ok() && good.is_on());
        assert!(Config::default().check().is_ok() && !Config::default().is_on());
        for bad in [
            Config { key: None, ..good.clone() },
            Config { certificate: None, key: None, ..good.clone() },
            Config { connections_max: 0, ..good.clone() },
            Config { queries_max: 0, ..good.clone() },
            Config { idle: Duration::ZERO, ..good },
        ] {
            assert!(bad.check().is_err(), "{bad:?}");
        }
    }
}
