//! The settings of connections: whom to trust, where names lead, how long to wait, how much to take ahead.
//!
//! Invariant: with the defaults a server is believed only with a certificate that the platform's authorities vouch for.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};

/// The settings of section `[net]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NetConfig {
    /// PEM files of authorities that are trusted beside the platform's.
    pub ca: Vec<PathBuf>,
    /// Whether the platform's authorities are trusted.
    pub system_roots: bool,
    /// Takes any certificate: for test machines only.
    pub insecure: bool,
    /// Where a name and port lead instead of what DNS says: `"video.example:443" = ["127.0.0.1:8443"]`. A key may
    /// also be `"*:443"` (every name) or `"*"` (everything).
    pub resolve: BTreeMap<String, Vec<SocketAddr>>,
    /// Own addresses that connections leave from, in turn; empty lets the system choose. One address has about
    /// 28,000 ports for one server's address.
    pub sources: Vec<IpAddr>,
    /// The longest that a look-up of a name may take.
    #[serde(with = "humantime_serde")]
    pub dns_timeout: Duration,
    /// How long an answer of DNS is used before it is asked again.
    #[serde(with = "humantime_serde")]
    pub dns_keep: Duration,
    /// The longest that making a TCP connection may take.
    #[serde(with = "humantime_serde")]
    pub connect_timeout: Duration,
    /// The longest that agreeing on TLS or QUIC may take.
    #[serde(with = "humantime_serde")]
    pub handshake_timeout: Duration,
    /// How long the next address of a name waits for the one before it.
    #[serde(with = "humantime_serde")]
    pub stagger: Duration,
    /// HTTP/1.1 connections of one session to one server, as browsers have.
    pub h1_connections: usize,
    /// What a server may send ahead on one HTTP/2 stream and connection.
    pub h2_window: ByteSize,
    /// What a server may send ahead on one HTTP/3 stream and connection.
    pub h3_window: ByteSize,
    /// UDP sockets of one worker, which its HTTP/3 sessions share.
    pub udp_sockets: usize,
    /// A QUIC connection that is silent for so long is over.
    #[serde(with = "humantime_serde")]
    pub quic_idle: Duration,
}

impl NetConfig {
    /// Takes one more place of `resolve`, written `host:port=address:port[,address:port…]`.
    pub fn add_override(&mut self, text: &str) -> Result<(), ConfigError> {
        let wrong = || ConfigError::Override(text.chars().take(TEXT_SHOWN).collect());
        let (name, places) = text.split_once('=').ok_or_else(wrong)?;
        let places: Result<Vec<SocketAddr>, _> = places.split(',').map(str::parse).collect();
        let places = places.map_err(|_| wrong())?;
        let port = name.rsplit_once(':').map(|(_, port)| port.parse::<u16>());
        if name != "*" && !matches!(port, Some(Ok(_))) {
            return Err(wrong());
        }
        self.resolve.insert(name.to_ascii_lowercase(), places);
        Ok(())
    }

    /// Whether the settings can work together.
    pub fn check(&self) -> Result<(), ConfigError> {
        let whole = |key, value: u64, from, to| match (from..=to).contains(&value) {
            true => Ok(()),
            false => Err(ConfigError::Range { key, from, to, value }),
        };
        whole("h1_connections", self.h1_connections as u64, 1, 64)?;
        whole("udp_sockets", self.udp_sockets as u64, 1, 64)?;
        whole("h2_window", self.h2_window.as_u64(), WINDOW_MIN, WINDOW_MAX)?;
        whole("h3_window", self.h3_window.as_u64(), WINDOW_MIN, WINDOW_MAX)?;
        whole("resolve", self.resolve.len() as u64, 0, 1000)?;
        whole("sources", self.sources.len() as u64, 0, 1000)?;
        let milliseconds = |wait: Duration| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        whole("dns_timeout", milliseconds(self.dns_timeout), 1, WAIT_MAX)?;
        whole("connect_timeout", milliseconds(self.connect_timeout), 1, WAIT_MAX)?;
        whole("handshake_timeout", milliseconds(self.handshake_timeout), 1, WAIT_MAX)?;
        whole("quic_idle", milliseconds(self.quic_idle), 1000, WAIT_MAX)?;
        whole("stagger", milliseconds(self.stagger), 1, WAIT_MAX)?;
        match self.resolve.iter().find(|(_, places)| places.is_empty()) {
            Some((name, _)) => Err(ConfigError::Override(name.clone())),
            None => Ok(()),
        }
    }
}

impl Default for NetConfig {
    fn default() -> Self {
        Self {
            ca: Vec::new(),
            system_roots: true,
            insecure: false,
            resolve: BTreeMap::new(),
            sources: Vec::new(),
            dns_timeout: Duration::from_secs(5),
            dns_keep: Duration::from_secs(60),
            connect_timeout: Duration::from_secs(10),
            handshake_timeout: Duration::from_secs(10),
            stagger: Duration::from_millis(250),
            h1_connections: 6,
            h2_window: ByteSize::mib(16),
            h3_window: ByteSize::mib(16),
            udp_sockets: 4,
            quic_idle: Duration::from_secs(30),
        }
    }
}

/// Why the settings cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A place of `resolve` that cannot be read.
    #[error("net.resolve: {0:?} is not host:port=address:port[,address:port…]")]
    Override(String),
    /// A number that makes no sense; waits are in milliseconds, windows in bytes.
    #[error("net.{key}: {value} is not within {from} and {to}")]
    Range { key: &'static str, from: u64, to: u64, value: u64 },
}

/// What HTTP/2 has without being asked, RFC 9113 section 6.9.2.
const WINDOW_MIN: u64 = 65_535;
/// What HTTP/2 can say, RFC 9113 section 6.9.1.
const WINDOW_MAX: u64 = (1 << 31) - 1;
/// Ten minutes: whoever waits longer has no viewers.
const WAIT_MAX: u64 = 600_000;
/// What an error repeats of a wrong text.
const TEXT_SHOWN: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_hold_and_certificates_are_checked() {
        let config = NetConfig::default();
        assert_eq!(config.check(), Ok(()));
        assert!(config.system_roots && !config.insecure);
    }

    #[test]
    fn an_override_is_a_name_a_port_and_places() {
        let mut config = NetConfig::default();
        config.add_override("Video.example:443=127.0.0.1:8443,[::1]:8443").unwrap();
        config.add_override("*=127.0.0.1:1").unwrap();
        assert_eq!(config.resolve["video.example:443"].len(), 2);
        assert_eq!(config.check(), Ok(()));
        for wrong in ["", "a", "a=127.0.0.1:1", "a:443=", "a:443=b", "a:x=127.0.0.1:1"] {
            assert!(config.add_override(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_cannot_work_is_refused_with_its_key() {
        let check = |change: fn(&mut NetConfig)| {
            let mut config = NetConfig::default();
            change(&mut config);
            config.check().unwrap_err().to_string()
        };
        assert!(check(|config| config.h1_connections = 0).contains("net.h1_connections"));
        assert!(check(|config| config.h2_window = ByteSize::gib(4)).contains("net.h2_window"));
        assert!(check(|config| config.connect_timeout = Duration::ZERO).contains("connect"));
        assert!(toml::from_str::<NetConfig>("unknown = 1").is_err());
    }
}
