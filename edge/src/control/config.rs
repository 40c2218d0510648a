//! The agent's settings: where the control plane is, who we are, and how long we wait.
//!
//! All waits concern the link alone; no client exchange ever waits for any of them.

use std::{path::PathBuf, time::Duration};

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};
use tidegate_chassis::recent;
use tidegate_contract::id::NodeId;

/// The settings of section `[control]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where the control plane listens for PoPs, as `https://host:port`; tried in turn, beginning anywhere, so
    /// that the nodes of a fleet spread over its replicas.
    pub endpoints: Vec<String>,
    /// PEM file of the authority that signed the control plane's certificate. Its own, never the platform's:
    /// nobody else may speak for the control plane.
    pub ca: PathBuf,
    /// The name that the control plane's certificate must carry; absent means the endpoint's host.
    pub server_name: Option<String>,
    /// Where this node keeps its identity and the last good snapshots. Readable by its owner alone.
    pub state_dir: PathBuf,
    /// The node's name, asked for at enrolment; afterwards the certificate says it. One name per node of a PoP.
    pub node: NodeId,
    /// The file that holds the one-time token for the first enrolment, or for another one after an identity ran
    /// out. Not needed once the node has an identity.
    pub enrolment_token_file: Option<PathBuf>,
    /// How long the node believes that it knows of every purge after the last word of the control plane: the
    /// longest that a purge may go unnoticed by a node that was cut off. Five heartbeats.
    #[serde(with = "humantime_serde")]
    pub lease: Duration,
    /// The longest that one attempt to connect may take, TLS included.
    #[serde(with = "humantime_serde")]
    pub connect_timeout: Duration,
    /// How often a silent connection is probed. Purges count in seconds, so a dead path must show in seconds.
    #[serde(with = "humantime_serde")]
    pub keepalive_interval: Duration,
    /// How long the answer to a probe may take.
    #[serde(with = "humantime_serde")]
    pub keepalive_timeout: Duration,
    /// The bound of the first wait before another attempt to connect; the wait is drawn below it.
    #[serde(with = "humantime_serde")]
    pub backoff_min: Duration,
    /// The bound of the longest wait before another attempt: about as long as a purge may be late for a node
    /// whose control plane is back.
    #[serde(with = "humantime_serde")]
    pub backoff_max: Duration,
    /// How often the node reports its health.
    #[serde(with = "humantime_serde")]
    pub health_interval: Duration,
    /// Whether the node tells, by subnet, how far its clients are and what is sent to them: from this the DNS knows which
    /// PoP is best for whom. Nothing finer than a /24 or a /48 is kept or told.
    pub round_trips: bool,
    /// How often it tells that.
    #[serde(with = "humantime_serde")]
    pub round_trips_interval: Duration,
    /// How often the control plane is told which properties and paths clients ask for most; 0s: never. Paths are told without
    /// queries.
    #[serde(with = "humantime_serde")]
    pub demand_interval: Duration,
    /// How many lines of its own log a node keeps in memory, for operators who ask the control plane (`tidegate pop logs`):
    /// some minutes of a busy node, days of a quiet one; 0: none, and nobody is told. The access log is not among them.
    pub log_lines_max: usize,
    /// The most memory that they take.
    pub log_bytes_max: ByteSize,
    /// How long a release is watched after it was put to use; one that does harm within that time is taken back.
    #[serde(with = "humantime_serde")]
    pub probation: Duration,
    /// The program that judges releases in a process of its own; absent: this one.
    pub checker: Option<PathBuf>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            endpoints: Vec::new(),
            ca: PathBuf::from("/etc/tidegate/control-ca.pem"),
            server_name: None,
            state_dir: PathBuf::from("/var/lib/tidegate-edge"),
            node: NodeId::parse("node-1").expect("a plain id"),
            enrolment_token_file: None,
            lease: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(3),
            keepalive_interval: Duration::from_secs(2),
            keepalive_timeout: Duration::from_secs(3),
            backoff_min: Duration::from_millis(100),
            backoff_max: Duration::from_secs(5),
            health_interval: Duration::from_secs(1),
            round_trips: true,
            round_trips_interval: Duration::from_secs(10),
            demand_interval: Duration::from_secs(10),
            log_lines_max: 4000,
            log_bytes_max: ByteSize::mib(2),
            probation: Duration::from_secs(30),
            checker: None,
        }
    }
}

/// Why the settings cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// No endpoint, or more than [`ENDPOINTS_MAX`].
    #[error("control.endpoints: 1 to {ENDPOINTS_MAX} are needed, there are {0}")]
    Endpoints(usize),
    /// An endpoint that is not `https://host:port`.
    #[error("control.endpoints: {0:?} is not https://host:port")]
    Endpoint(String),
    /// More of the log than is ever kept.
    #[error(
        "control.log_lines_max and log_bytes_max: at most {LOG_LINES_MAX} lines and {LOG_BYTES_MAX}, not {0} and {1}"
    )]
    Log(usize, ByteSize),
    /// A wait of zero.
    #[error("control.{0} must be longer than zero")]
    Zero(&'static str),
}

impl Config {
    /// How much of the log is kept.
    #[must_use]
    pub fn recent_log(&self) -> recent::Limits {
        let bytes = usize::try_from(self.log_bytes_max.as_u64()).unwrap_or(usize::MAX);
        recent::Limits { lines: self.log_lines_max, bytes }
    }

    /// Checks what the types cannot.
    ///
    /// # Errors
    /// The first [`ConfigError`] found.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.endpoints.is_empty() || self.endpoints.len() > ENDPOINTS_MAX {
            return Err(ConfigError::Endpoints(self.endpoints.len()));
        }
        for endpoint in &self.endpoints {
            let uri: Option<http::Uri> = endpoint.parse().ok();
            let is_good = uri.is_some_and(|uri| {
                uri.scheme_str() == Some("https")
                    && uri.port_u16().is_some_and(|port| port > 0)
                    && uri.path() == "/"
            });
            if !is_good {
                return Err(ConfigError::Endpoint(endpoint.clone()));
            }
        }
        if self.log_lines_max > LOG_LINES_MAX || self.log_bytes_max > LOG_BYTES_MAX {
            return Err(ConfigError::Log(self.log_lines_max, self.log_bytes_max));
        }
        let waits = [
            ("lease", self.lease),
            ("connect_timeout", self.connect_timeout),
            ("keepalive_interval", self.keepalive_interval),
            ("keepalive_timeout", self.keepalive_timeout),
            ("backoff_min", self.backoff_min),
            ("backoff_max", self.backoff_max),
            ("health_interval", self.health_interval),
            ("round_trips_interval", self.round_trips_interval),
        ];
        match waits.iter().find(|(_, wait)| wait.is_zero()) {
            Some((name, _)) => Err(ConfigError::Zero(name)),
            None => Ok(()),
        }
    }
}

/// The most lines of a log in memory, and their bytes: a question looks through all of them.
const LOG_LINES_MAX: usize = 100_000;
const LOG_BYTES_MAX: ByteSize = ByteSize::mib(64);
/// The most endpoints of one control plane.
const ENDPOINTS_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn with_endpoint(endpoint: &str) -> Config {
        Config { endpoints: vec![endpoint.to_owned()], ..Config::default() }
    }

    #[test]
    fn an_endpoint_is_https_with_a_port_and_nothing_else() {
        for good in ["https://localhost:7443", "https://127.0.0.1:1", "https://[::1]:9/"] {
            assert_eq!(with_endpoint(good).check(), Ok(()), "{good}");
        }
        for bad in ["", "http://a:1", "https://a", "https://a:0", "https://a:1/x", "a:1"] {
            let expected = Err(ConfigError::Endpoint(bad.to_owned()));
            assert_eq!(with_endpoint(bad).check(), expected, "{bad}");
        }
    }

    #[test]
    fn no_endpoint_and_no_wait_are_refused() {
        assert_eq!(Config::default().check(), Err(ConfigError::Endpoints(0)));
        let never = Config { lease: Duration::ZERO, ..with_endpoint("https://a:1") };
        assert_eq!(never.check(), Err(ConfigError::Zero("lease")));
        let much = Config { log_bytes_max: ByteSize::gib(1), ..with_endpoint("https://a:1") };
        assert!(matches!(much.check(), Err(ConfigError::Log(4000, _))));
    }
}
