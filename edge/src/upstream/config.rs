//! Section `[upstream]`: time limits, attempts and health of upstreams.
//!
//! Invariant: every wait on an upstream ends.

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

/// The settings of section `[upstream]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Time to connect, TLS included. Default 3s: a lost SYN is sent again after 1s, so two losses are survived.
    #[serde(with = "humantime_serde")]
    pub connect_timeout: Duration,
    /// Time from a request to the head of its answer. Default 30s: long polls of the origin answer before that.
    #[serde(with = "humantime_serde")]
    pub first_byte_timeout: Duration,
    /// Time between two pieces of an answer's body. Default 30s.
    #[serde(with = "humantime_serde")]
    pub read_timeout: Duration,
    /// Time between two pieces of a request that are taken. Default 30s.
    #[serde(with = "humantime_serde")]
    pub write_timeout: Duration,
    /// How long an unused connection is kept. Default 55s: below the 60s after which many servers close theirs.
    #[serde(with = "humantime_serde")]
    pub idle_timeout: Duration,
    /// Unused connections that are kept, over all upstreams. Default 1024.
    pub idle_connections_max: usize,
    /// Whether HTTP/2 is offered to upstreams with TLS, where a property does not say otherwise. Default true.
    pub h2: bool,
    /// Requests under way to one upstream at the same time, where a property does not say otherwise. Default 1024:
    /// above what an origin takes, below what makes this node run out of sockets.
    pub asks_max: u32,
    /// How long a request waits for another one to end at that limit. Default 500ms; as many may wait as may be
    /// under way.
    #[serde(with = "humantime_serde")]
    pub asks_wait_max: Duration,
    /// Upstreams that one exchange may ask, one after the other. Default 3.
    pub attempts_max: u32,
    /// Repeated requests in percent of first ones, over ten seconds and the node, so that a failing upstream is not
    /// hit by a multiple of its load. Default 20. A few are always allowed.
    pub retry_percent: u32,
    /// Failures in a row after which an upstream is not asked while there is another. Default 3.
    pub failures_max: u32,
    /// How long that holds, doubling up to eight times that while it goes on failing. Default 5s. Then one request
    /// tries it.
    #[serde(with = "humantime_serde")]
    pub eject_time: Duration,
    /// How much more than the mean of all shields one may have in flight before the next one is asked, in percent.
    /// Default 125.
    pub load_percent_max: u32,
    /// How long the addresses of a name are used. Default 10s.
    #[serde(with = "humantime_serde")]
    pub resolve_ttl: Duration,
    /// PEM file of the authorities for upstreams that name none. Default: the platform's.
    pub ca: Option<PathBuf>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(3),
            first_byte_timeout: Duration::from_secs(30),
            read_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(55),
            idle_connections_max: 1024,
            h2: true,
            asks_max: 1024,
            asks_wait_max: Duration::from_millis(500),
            attempts_max: 3,
            retry_percent: 20,
            failures_max: 3,
            eject_time: Duration::from_secs(5),
            load_percent_max: 125,
            resolve_ttl: Duration::from_secs(10),
            ca: None,
        }
    }
}

/// Why the settings cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A value of zero.
    #[error("upstream.{0} must be more than zero")]
    Zero(&'static str),
    /// A load limit below the mean.
    #[error("upstream.load_percent_max must be at least 100, it is {0}")]
    Load(u32),
}

impl Config {
    /// Checks what the types cannot.
    ///
    /// # Errors
    /// The first [`ConfigError`] found.
    pub fn check(&self) -> Result<(), ConfigError> {
        let values = [
            ("connect_timeout", self.connect_timeout.is_zero()),
            ("first_byte_timeout", self.first_byte_timeout.is_zero()),
            ("read_timeout", self.read_timeout.is_zero()),
            ("write_timeout", self.write_timeout.is_zero()),
            ("idle_timeout", self.idle_timeout.is_zero()),
            ("idle_connections_max", self.idle_connections_max == 0),
            ("asks_max", self.asks_max == 0),
            ("attempts_max", self.attempts_max == 0),
            ("failures_max", self.failures_max == 0),
            ("eject_time", self.eject_time.is_zero()),
            ("resolve_ttl", self.resolve_ttl.is_zero()),
        ];
        if let Some((name, _)) = values.into_iter().find(|(_, is_zero)| *is_zero) {
            return Err(ConfigError::Zero(name));
        }
        if self.load_percent_max < 100 {
            return Err(ConfigError::Load(self.load_percent_max));
        }
        Ok(())
    }
}
