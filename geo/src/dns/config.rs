//! The sections `[listen]` and `[answers]`.
//!
//! Invariant: every limit is above zero.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use anyhow::ensure;
use serde::{Deserialize, Serialize};

/// Where queries are taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Listen {
    /// Addresses of UDP sockets.
    pub udp: Vec<SocketAddr>,
    /// Addresses of TCP sockets.
    pub tcp: Vec<SocketAddr>,
    /// TCP connections at one time.
    pub tcp_connections_max: usize,
    /// TCP connections of one client (/32 or /64) at one time.
    pub tcp_connections_per_client_max: usize,
    /// How long a TCP connection may stay without a query.
    #[serde(with = "humantime_serde")]
    pub tcp_idle: Duration,
    /// Queries of one TCP connection; then it is closed.
    pub tcp_queries_max: u32,
}

/// What is answered beside the records themselves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Answers {
    /// The largest answer over UDP, in bytes, also to clients that would take more.
    pub udp_bytes_max: u16,
    /// What this node calls itself to those who ask (NSID, RFC 5001). Default: nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nsid: Option<String>,
    /// One in how many queries is logged; 0: none.
    pub log_every: u32,
}

impl Default for Listen {
    fn default() -> Self {
        let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 5300));
        Self {
            udp: vec![local],
            tcp: vec![local],
            tcp_connections_max: 4096,
            tcp_connections_per_client_max: 64,
            tcp_idle: Duration::from_secs(10),
            tcp_queries_max: 1000,
        }
    }
}

impl Default for Answers {
    fn default() -> Self {
        Self { udp_bytes_max: 1232, nsid: None, log_every: 0 }
    }
}

impl Listen {
    /// Whether the values make sense.
    ///
    /// # Errors
    /// What does not.
    pub fn check(&self) -> anyhow::Result<()> {
        ensure!(self.tcp_connections_max > 0, "listen.tcp_connections_max is 0");
        ensure!(
            self.tcp_connections_per_client_max > 0,
            "listen.tcp_connections_per_client_max is 0"
        );
        ensure!(!self.tcp_idle.is_zero(), "listen.tcp_idle is 0");
        ensure!(self.tcp_queries_max > 0, "listen.tcp_queries_max is 0");
        Ok(())
    }
}

impl Answers {
    /// Whether the values make sense.
    ///
    /// # Errors
    /// What does not.
    pub fn check(&self) -> anyhow::Result<()> {
        ensure!(
            (512..=4096).contains(&self.udp_bytes_max),
            "answers.udp_bytes_max is {}: 512 to 4096",
            self.udp_bytes_max
        );
        let nsid = self.nsid.as_deref().unwrap_or("x");
        ensure!((1..=NSID_BYTES_MAX).contains(&nsid.len()), "answers.nsid has 1 to 128 bytes");
        Ok(())
    }
}

/// The longest name of a node: it is in every answer to those who ask for it.
const NSID_BYTES_MAX: usize = 128;
