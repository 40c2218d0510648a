//! The settings of section `[anycast]`: the speaker, what it may announce, and its neighbours.
//!
//! The same settings write the speaker's configuration (`tidegate-edge bird-config`), so that both speak of the same
//! protocols. Invariant: names of protocols made of two settings never collide.

use std::{collections::BTreeSet, net::IpAddr, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};
use tidegate_contract::{
    id::{PeerId, PrefixId},
    network::Network,
};

use super::dead_man;

/// The settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// BIRD's control socket. Whoever may write to it decides what this site announces.
    pub socket: PathBuf,
    /// The longest that one command may take, connecting included.
    #[serde(with = "humantime_serde")]
    pub command_timeout: Duration,
    /// This site's AS number.
    pub local_as: u32,
    /// The router's id: an IPv4 address that no other speaker around has. For `bird-config` alone.
    pub router_id: Option<std::net::Ipv4Addr>,
    /// What may be announced.
    pub prefixes: Vec<PrefixConfig>,
    /// The BGP neighbours. For `bird-config` alone.
    pub peers: Vec<Peer>,
    /// How silence of a neighbour is noticed. For `bird-config` alone.
    pub bfd: Bfd,
    /// How long a neighbour is believed without a word where BFD does not run. For `bird-config` alone.
    #[serde(with = "humantime_serde")]
    pub hold_time: Duration,
    /// When the watch takes everything back.
    pub dead_man: dead_man::Config,
}

/// One prefix.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrefixConfig {
    /// Its id, as the control plane knows it.
    pub id: PrefixId,
    /// Its addresses.
    pub block: Network,
}

/// One BGP neighbour.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Peer {
    /// Its id: what `no-export:` names.
    pub id: PeerId,
    /// Its address.
    pub address: IpAddr,
    /// Its AS number.
    #[serde(rename = "as")]
    pub as_number: u32,
}

/// Bidirectional forwarding detection (RFC 5880).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Bfd {
    /// Whether it is asked for.
    pub is_on: bool,
    /// Between two packets. Below 300 ms a busy machine takes itself for dead.
    #[serde(with = "humantime_serde")]
    pub interval: Duration,
    /// How many may be missing.
    pub multiplier: u8,
}

/// Why the settings cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Too many of something.
    #[error("anycast.{0}: at most {1}")]
    TooMany(&'static str, usize),
    /// Two names that a protocol's name cannot tell apart.
    #[error("anycast.{0}: {1:?} is there twice, or differs from another only in - and _")]
    Twice(&'static str, String),
    /// A time or number of zero.
    #[error("anycast.{0} must be above zero")]
    Zero(&'static str),
}

impl Default for Config {
    fn default() -> Self {
        Self {
            socket: PathBuf::from("/run/bird/bird.ctl"),
            command_timeout: Duration::from_secs(2),
            local_as: 64512,
            router_id: None,
            prefixes: Vec::new(),
            peers: Vec::new(),
            bfd: Bfd::default(),
            hold_time: Duration::from_secs(9),
            dead_man: dead_man::Config::default(),
        }
    }
}

impl Default for Bfd {
    fn default() -> Self {
        Self { is_on: true, interval: Duration::from_millis(300), multiplier: 3 }
    }
}

impl Config {
    /// Checks what the types cannot.
    ///
    /// # Errors
    /// The first [`ConfigError`] found.
    pub fn check(&self) -> Result<(), ConfigError> {
        for (name, found, max) in [
            ("prefixes", self.prefixes.len(), PREFIXES_MAX),
            ("peers", self.peers.len(), PEERS_MAX),
        ] {
            if found > max {
                return Err(ConfigError::TooMany(name, max));
            }
        }
        distinct("prefixes", self.prefixes.iter().map(|prefix| prefix.id.as_str()))?;
        distinct("peers", self.peers.iter().map(|peer| peer.id.as_str()))?;
        for (name, is_zero) in [
            ("command_timeout", self.command_timeout.is_zero()),
            ("local_as", self.local_as == 0),
            ("hold_time", self.hold_time.as_secs() == 0),
            ("bfd.interval", self.bfd.interval.as_millis() == 0),
            ("bfd.multiplier", self.bfd.multiplier == 0),
            ("dead_man.interval", self.dead_man.interval.is_zero()),
            ("dead_man.failures", self.dead_man.failures == 0),
        ] {
            if is_zero {
                return Err(ConfigError::Zero(name));
            }
        }
        Ok(())
    }
}

fn distinct<'a>(
    what: &'static str,
    names: impl Iterator<Item = &'a str>,
) -> Result<(), ConfigError> {
    let mut seen = BTreeSet::new();
    for name in names {
        if !seen.insert(name.replace('-', "_")) {
            return Err(ConfigError::Twice(what, name.to_owned()));
        }
    }
    Ok(())
}

/// Every prefix is six protocols and one more for each peer.
const PREFIXES_MAX: usize = 64;
const PEERS_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(id: &str) -> PrefixConfig {
        let block = "192.0.2.0/24".parse().unwrap();
        PrefixConfig { id: PrefixId::parse(id).unwrap(), block }
    }

    #[test]
    fn names_that_a_protocol_cannot_tell_apart_are_refused() {
        let mut config =
            Config { prefixes: vec![prefix("a-1"), prefix("a-2")], ..Config::default() };
        assert_eq!(config.check(), Ok(()));
        config.prefixes.push(prefix("a_1"));
        assert_eq!(config.check(), Err(ConfigError::Twice("prefixes", "a_1".to_owned())));
        config.prefixes = (0..=PREFIXES_MAX).map(|number| prefix(&format!("p{number}"))).collect();
        assert_eq!(config.check(), Err(ConfigError::TooMany("prefixes", PREFIXES_MAX)));
    }
}
