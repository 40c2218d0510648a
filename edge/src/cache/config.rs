//! Section `[cache]`: sizes, and how long things are waited for or believed.
//!
//! Invariant: everything that the cache can grow is limited here.

use std::time::Duration;

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};

use super::disk;

/// The settings of section `[cache]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Bytes of the memory tier, heads included. Default 1GiB.
    pub memory: ByteSize,
    /// Bytes that all fills in flight may hold together; a response that finds no room passes through without
    /// being stored. Default 256MiB.
    pub in_flight: ByteSize,
    /// The largest body that is stored, where a property does not say less. Default 256MiB.
    pub object_max: ByteSize,
    /// The longest time that an object is served after it was fetched, however fresh. Default 30d: purges are
    /// remembered as long.
    #[serde(with = "humantime_serde")]
    pub keep_max: Duration,
    /// Names whose purge is remembered; at the limit everything is fetched again once. Default 1000000, at about
    /// 70 bytes each.
    pub purged_names_max: usize,
    /// For how long after its last confirmation a mutable object is served while a purge may have been missed.
    /// Default 2s.
    #[serde(with = "humantime_serde")]
    pub uncertain_age_max: Duration,
    /// For how long a softly purged object may be served while it is revalidated, where it allows no more itself.
    /// Default 60s.
    #[serde(with = "humantime_serde")]
    pub soft_purge_window: Duration,
    /// How long a request waits for the head of somebody else's fill before it asks upstream itself. Default 10s.
    #[serde(with = "humantime_serde")]
    pub collapse_wait_max: Duration,
    /// Resources that are remembered as not storable, so that requests for them do not wait for one another.
    /// Default 65536, at about 64 bytes each.
    pub unstorable_max: usize,
    /// How long a request of another node waits for a purge that the other node knows already. Default 50ms; then
    /// it is answered past the cache.
    #[serde(with = "humantime_serde")]
    pub purge_wait_max: Duration,
    /// What is kept on disk.
    pub disk: disk::Config,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            memory: ByteSize::gib(1),
            in_flight: ByteSize::mib(256),
            object_max: ByteSize::mib(256),
            keep_max: Duration::from_secs(30 * 24 * 3600),
            purged_names_max: 1_000_000,
            uncertain_age_max: Duration::from_secs(2),
            soft_purge_window: Duration::from_secs(60),
            collapse_wait_max: Duration::from_secs(10),
            unstorable_max: 65_536,
            purge_wait_max: Duration::from_millis(50),
            disk: disk::Config::default(),
        }
    }
}

/// Why the settings cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A value of zero.
    #[error("cache.{0} must be more than zero")]
    Zero(&'static str),
    /// One body would not fit into the room that all of them share.
    #[error("cache.object_max is more than cache.in_flight or more than 4GiB")]
    ObjectMax,
    /// What waits to be written could take most of the memory.
    #[error("cache.disk.write_queue is more than a quarter of cache.memory")]
    WriteQueue,
    /// A setting of the disk tier that it cannot work with.
    #[error("cache.disk.{0} is too small, or more than the disk tier can use")]
    Disk(&'static str),
}

impl Config {
    /// Checks what the types cannot.
    ///
    /// # Errors
    /// The first [`ConfigError`] found.
    pub fn check(&self) -> Result<(), ConfigError> {
        let values = [
            ("memory", self.memory.as_u64() == 0),
            ("in_flight", self.in_flight.as_u64() == 0),
            ("object_max", self.object_max.as_u64() == 0),
            ("keep_max", self.keep_max.is_zero()),
            ("purged_names_max", self.purged_names_max == 0),
            ("collapse_wait_max", self.collapse_wait_max.is_zero()),
            ("unstorable_max", self.unstorable_max == 0),
        ];
        if let Some((name, _)) = values.into_iter().find(|(_, is_zero)| *is_zero) {
            return Err(ConfigError::Zero(name));
        }
        let largest = self.object_max.as_u64();
        // The memory tier counts an object's weight in 32 bits.
        if largest > self.in_flight.as_u64() || largest >= u64::from(u32::MAX) {
            return Err(ConfigError::ObjectMax);
        }
        // What waits to be written is held in memory.
        let has_disk = self.disk.path.is_some();
        if has_disk && self.disk.write_queue.as_u64() > self.memory.as_u64() / 4 {
            return Err(ConfigError::WriteQueue);
        }
        self.disk.too_small().map_or(Ok(()), |name| Err(ConfigError::Disk(name)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_fit_together_and_nonsense_does_not() {
        assert_eq!(Config::default().check(), Ok(()));
        let nothing = Config { memory: ByteSize(0), ..Config::default() };
        assert_eq!(nothing.check(), Err(ConfigError::Zero("memory")));
        let large = Config { object_max: ByteSize::gib(1), ..Config::default() };
        assert_eq!(large.check(), Err(ConfigError::ObjectMax));
        let disk = disk::Config { bytes: ByteSize::mib(1), ..disk::Config::default() };
        let small = Config { disk, ..Config::default() };
        assert_eq!(small.check(), Err(ConfigError::Disk("bytes")));
    }
}
