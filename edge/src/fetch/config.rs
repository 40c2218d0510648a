//! Section `[fetch]`: what is fetched without anybody waiting for it, and how long things are remembered or waited for.
//!
//! Invariant: everything that this node asks of upstream on its own account is limited here.

use std::time::Duration;

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};

/// The settings of section `[fetch]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How many bytes a fill that nobody reads any more may still bring; it goes on beyond that only when more than
    /// half of it is there. Default 8MiB: two segments of a good rendition.
    pub finish_alone: ByteSize,
    /// The slowest that a fill may come, in bytes a second over `fill_rate_time`; then another upstream is asked for the
    /// rest, or the fill has failed. 0: any. Default 1KiB: below the poorest live audio, and nobody can watch at that rate.
    pub fill_rate_min: ByteSize,
    /// Over which time that is measured. Default 30s: longer than a segment takes that is sent while it is made.
    #[serde(with = "humantime_serde")]
    pub fill_rate_time: Duration,
    /// How long a resource is remembered as not storable. Default 60s; then one request tries again for all.
    #[serde(with = "humantime_serde")]
    pub unstorable_time: Duration,
    /// How long a playlist that is asked for before it exists (`_HLS_msn`) may be held back by the origin, where its
    /// target duration is not known. Default 30s; three target durations where it is.
    #[serde(with = "humantime_serde")]
    pub hold_max: Duration,
    /// How long an origin whose live playlist stood still is asked last for that playlist. Default 30s.
    #[serde(with = "humantime_serde")]
    pub stalled_time: Duration,
    /// Live playlists whose progress is followed. Default 16384, at about 200 bytes each.
    pub playlists_max: usize,
    /// Segments whose successor is known, for prefetching. Default 65536, at about 200 bytes each.
    pub successors_max: usize,
    /// Prefetches at the same time, over the node; one that finds no place is left out. Default 16: with segments of
    /// a few megabytes a small share of what fills in flight may hold.
    pub prefetches_max: usize,
    /// How long a prefetched segment is given to be asked for before it counts as wasted. Default 60s.
    #[serde(with = "humantime_serde")]
    pub prefetch_patience: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            finish_alone: ByteSize::mib(8),
            fill_rate_min: ByteSize::kib(1),
            fill_rate_time: Duration::from_secs(30),
            unstorable_time: Duration::from_secs(60),
            hold_max: Duration::from_secs(30),
            stalled_time: Duration::from_secs(30),
            playlists_max: 16_384,
            successors_max: 65_536,
            prefetches_max: 16,
            prefetch_patience: Duration::from_secs(60),
        }
    }
}

/// Why the settings cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A value of zero.
    #[error("fetch.{0} must be more than zero")]
    Zero(&'static str),
}

impl Config {
    /// Checks what the types cannot.
    ///
    /// # Errors
    /// The first [`ConfigError`] found.
    pub fn check(&self) -> Result<(), ConfigError> {
        let values = [
            ("fill_rate_time", self.fill_rate_time.is_zero()),
            ("unstorable_time", self.unstorable_time.is_zero()),
            ("hold_max", self.hold_max.is_zero()),
            ("stalled_time", self.stalled_time.is_zero()),
            ("playlists_max", self.playlists_max == 0),
            ("successors_max", self.successors_max == 0),
            ("prefetch_patience", self.prefetch_patience.is_zero()),
        ];
        match values.into_iter().find(|(_, is_zero)| *is_zero) {
            Some((name, _)) => Err(ConfigError::Zero(name)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_can_be_used_and_nonsense_cannot() {
        assert_eq!(Config::default().check(), Ok(()));
        let never = Config { hold_max: Duration::ZERO, ..Config::default() };
        assert_eq!(never.check(), Err(ConfigError::Zero("hold_max")));
    }
}
