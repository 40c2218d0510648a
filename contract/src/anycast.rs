//! Anycast in words: prefixes, groups of them, how strongly a PoP announces one, and where a PoP is.
//!
//! A group is what an operator thinks of; its prefixes are slices of its load, so that a PoP can give away an eighth of
//! it. Invariant: a level is one of a fixed list, because a speaker has one prepared protocol for each of them.

use core::net::IpAddr;
use std::{collections::BTreeSet, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{
    id::{AnycastGroupId, PeerId, PrefixId},
    network::Network,
};

/// The most prefixes of a group.
pub const PREFIXES_PER_GROUP_MAX: usize = 16;
/// The most groups that one PoP announces.
pub const GROUPS_PER_POP_MAX: usize = 16;
/// The most public addresses of a PoP.
pub const ADDRESSES_PER_POP_MAX: usize = 64;
/// The most neighbours that one level names.
pub const NO_EXPORT_PEERS_MAX: usize = 16;
/// The most times that a PoP prepends its own number.
pub const PREPEND_MAX: u8 = 3;

/// How strongly a PoP announces a prefix, from most to least.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Level {
    /// As well as it can.
    Normal,
    /// Not to these neighbours.
    NoExport(BTreeSet<PeerId>),
    /// With the own number so many times more in the path: 1 to [`PREPEND_MAX`].
    Prepend(u8),
    /// With the community of RFC 8326, which asks neighbours to use anything else first.
    GracefulShutdown,
    /// Not at all.
    Withdrawn,
}

/// A text that names no level.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a level is normal, prepend-1 to prepend-{PREPEND_MAX}, gshut, withdrawn, or no-export:PEER,PEER with up to \
     {NO_EXPORT_PEERS_MAX} peers, not {0:?}"
)]
pub struct LevelError(String);

/// A prefix that can be announced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prefix {
    /// The addresses.
    pub block: Network,
}

/// Prefixes that the same PoPs announce.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnycastGroup {
    /// Its prefixes: the slices of its load.
    pub prefixes: Vec<PrefixId>,
    /// How many PoPs always announce each prefix, whatever an operator or a program wants.
    #[serde(default = "min_announcing")]
    pub min_announcing: u32,
    /// How much of the capacity of all PoPs of the group may be withdrawn at a time.
    #[serde(default = "max_capacity_withdrawn_percent")]
    pub max_capacity_withdrawn_percent: u8,
}

/// Where something is on Earth.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Coordinates {
    /// Degrees north, -90 to 90.
    pub latitude: f64,
    /// Degrees east, -180 to 180.
    pub longitude: f64,
}

/// What the world sees of a PoP.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PopSite {
    /// Where it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<Coordinates>,
    /// What it can send, in Mbit/s. A PoP without a figure counts as any other one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capacity_mbps: Option<u64>,
    /// Its own public addresses, not the anycast ones.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<IpAddr>,
    /// The port of HTTPS and HTTP/3 there. Absent: 443.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// A name that its certificate answers to, for those who look whether it is well. Absent: `localhost`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it announces.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub anycast_groups: Vec<AnycastGroupId>,
}

/// Why a group or a site is refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum AnycastError {
    /// More of something than allowed, or none where one is needed.
    #[error("{what}: 1 to {max}, not {found}")]
    Count {
        /// Of what.
        what: &'static str,
        /// The most.
        max: usize,
        /// How many there are.
        found: usize,
    },
    /// Something is there twice.
    #[error("{0} is there twice")]
    Twice(String),
    /// With that, one careless hand could take a group off the Internet.
    #[error("min_announcing must be at least 1")]
    NobodyAnnounces,
    /// Not a part of a hundred.
    #[error("max_capacity_withdrawn_percent must be at most 100, not {0}")]
    Percent(u8),
    /// Not a place on Earth.
    #[error("{0} {1} is no place on Earth")]
    Place(f64, f64),
}

impl Level {
    /// Its place on the way from most to least; two levels of the same rank draw about the same traffic.
    #[must_use]
    pub fn rank(&self) -> u8 {
        match self {
            Self::Normal => 0,
            Self::NoExport(_) => 1,
            Self::Prepend(times) => 1 + times,
            Self::GracefulShutdown => 2 + PREPEND_MAX,
            Self::Withdrawn => 3 + PREPEND_MAX,
        }
    }

    /// Whether neighbours hear of the prefix at all.
    #[must_use]
    pub fn is_announced(&self) -> bool {
        *self != Self::Withdrawn
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Normal => f.write_str("normal"),
            Self::NoExport(peers) => {
                f.write_str("no-export:")?;
                for (place, peer) in peers.iter().enumerate() {
                    f.write_str(if place == 0 { "" } else { "," })?;
                    f.write_str(peer.as_str())?;
                }
                Ok(())
            }
            Self::Prepend(times) => write!(f, "prepend-{times}"),
            Self::GracefulShutdown => f.write_str("gshut"),
            Self::Withdrawn => f.write_str("withdrawn"),
        }
    }
}

impl FromStr for Level {
    type Err = LevelError;

    fn from_str(text: &str) -> Result<Self, LevelError> {
        let bad = || LevelError(text.chars().take(64).collect());
        match text {
            "normal" => return Ok(Self::Normal),
            "gshut" => return Ok(Self::GracefulShutdown),
            "withdrawn" => return Ok(Self::Withdrawn),
            _ => {}
        }
        if let Some(times) = text.strip_prefix("prepend-") {
            let times = times.parse().map_err(|_| bad())?;
            return if (1..=PREPEND_MAX).contains(&times) {
                Ok(Self::Prepend(times))
            } else {
                Err(bad())
            };
        }
        let peers = text.strip_prefix("no-export:").ok_or_else(bad)?;
        if peers.split(',').count() > NO_EXPORT_PEERS_MAX {
            return Err(bad());
        }
        let peers: Result<BTreeSet<_>, _> = peers.split(',').map(PeerId::parse).collect();
        peers.map(Self::NoExport).map_err(|_| bad())
    }
}

impl TryFrom<String> for Level {
    type Error = LevelError;

    fn try_from(text: String) -> Result<Self, LevelError> {
        text.parse()
    }
}

impl From<Level> for String {
    fn from(level: Level) -> Self {
        level.to_string()
    }
}

impl AnycastGroup {
    /// Checks everything that can be told from the group alone.
    ///
    /// # Errors
    /// [`AnycastError`] names the first rule that it breaks.
    pub fn check(&self) -> Result<(), AnycastError> {
        count("prefixes", self.prefixes.len(), PREFIXES_PER_GROUP_MAX, 1)?;
        no_twice(&self.prefixes)?;
        if self.min_announcing == 0 {
            return Err(AnycastError::NobodyAnnounces);
        }
        if self.max_capacity_withdrawn_percent > 100 {
            return Err(AnycastError::Percent(self.max_capacity_withdrawn_percent));
        }
        Ok(())
    }
}

impl PopSite {
    /// Whether nothing is said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Checks everything that can be told from the site alone.
    ///
    /// # Errors
    /// [`AnycastError`] names the first rule that it breaks.
    pub fn check(&self) -> Result<(), AnycastError> {
        if let Some(Coordinates { latitude, longitude }) = self.place {
            let is_on_earth =
                (-90.0..=90.0).contains(&latitude) && (-180.0..=180.0).contains(&longitude);
            if !is_on_earth {
                return Err(AnycastError::Place(latitude, longitude));
            }
        }
        count("addresses", self.addresses.len(), ADDRESSES_PER_POP_MAX, 0)?;
        count("anycast_groups", self.anycast_groups.len(), GROUPS_PER_POP_MAX, 0)?;
        no_twice(&self.addresses)?;
        no_twice(&self.anycast_groups)
    }
}

fn count(what: &'static str, found: usize, max: usize, min: usize) -> Result<(), AnycastError> {
    if (min..=max).contains(&found) {
        Ok(())
    } else {
        Err(AnycastError::Count { what, max, found })
    }
}

fn no_twice<T: Ord + fmt::Display>(list: &[T]) -> Result<(), AnycastError> {
    let mut seen = BTreeSet::new();
    match list.iter().find(|one| !seen.insert(*one)) {
        Some(twice) => Err(AnycastError::Twice(twice.to_string())),
        None => Ok(()),
    }
}

/// One PoP may fail while another is withdrawn.
fn min_announcing() -> u32 {
    2
}

/// What the PoPs that stay can take over without a plan.
fn max_capacity_withdrawn_percent() -> u8 {
    20
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_written_as_it_is_read_and_the_list_goes_from_most_to_least() {
        let texts = ["normal", "no-export:as1,as2", "prepend-1", "prepend-3", "gshut", "withdrawn"];
        let levels: Vec<Level> = texts.iter().map(|text| text.parse().expect(text)).collect();
        for (level, text) in levels.iter().zip(texts) {
            assert_eq!(level.to_string(), text);
            assert_eq!(serde_json::to_string(level).expect("text"), format!("{text:?}"));
        }
        assert!(levels.windows(2).all(|pair| pair[0].rank() < pair[1].rank()));
        assert_eq!(levels.iter().filter(|level| level.is_announced()).count(), 5);
        let many = format!("no-export:{}", ["p"; NO_EXPORT_PEERS_MAX + 1].join(","));
        for bad in ["", "Normal", "prepend-0", "prepend-4", "prepend-", "no-export:", &many] {
            assert!(bad.parse::<Level>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_group_that_could_take_itself_off_the_internet_is_refused() {
        let read = |text: &str| serde_json::from_str::<AnycastGroup>(text).expect("json").check();
        assert_eq!(read(r#"{"prefixes":["a","b"]}"#), Ok(()));
        for bad in [
            r#"{"prefixes":[]}"#,
            r#"{"prefixes":["a","a"]}"#,
            r#"{"prefixes":["a"],"min_announcing":0}"#,
            r#"{"prefixes":["a"],"max_capacity_withdrawn_percent":101}"#,
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_site_is_somewhere_on_earth() {
        let read = |text: &str| serde_json::from_str::<PopSite>(text).expect("json").check();
        assert_eq!(read("{}"), Ok(()));
        assert_eq!(
            read(
                r#"{"place":{"latitude":52.3,"longitude":4.9},"addresses":["192.0.2.1","2001:db8::1"]}"#
            ),
            Ok(())
        );
        assert!(read(r#"{"place":{"latitude":91,"longitude":0}}"#).is_err());
        assert!(read(r#"{"anycast_groups":["g","g"]}"#).is_err());
    }
}
