//! Settings of the job API.

use std::{path::PathBuf, time::Duration};

use anyhow::ensure;
use bytesize::ByteSize;
use serde::{Deserialize, Serialize};

/// Section `[package]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// File that holds the token packagers show; without it no packager is let in.
    pub token_file: Option<PathBuf>,
    /// A packager that is not heard of for so long loses its job.
    #[serde(with = "humantime_serde")]
    pub lease: Duration,
    /// Leases of one job before it is given up.
    pub attempts_max: u32,
    /// Wait after a failure that may be tried again; doubles with every attempt.
    #[serde(with = "humantime_serde")]
    pub retry_backoff: Duration,
    /// The longest publication.
    pub publication_bytes_max: ByteSize,
    /// The most images of one publication.
    pub images_max: usize,
    /// How often jobs without attempts left are looked for.
    #[serde(with = "humantime_serde")]
    pub sweep_interval: Duration,
}

impl Config {
    /// Checks what the types cannot.
    ///
    /// # Errors
    /// Names the setting.
    pub fn check(&self) -> anyhow::Result<()> {
        ensure!(self.lease >= LEASE_MIN, "package.lease must be at least {LEASE_MIN:?}");
        ensure!(self.attempts_max > 0, "package.attempts_max must be at least 1");
        Ok(())
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            token_file: None,
            lease: Duration::from_secs(30),
            attempts_max: 5,
            retry_backoff: Duration::from_secs(5),
            publication_bytes_max: ByteSize::mib(16),
            images_max: 512,
            sweep_interval: Duration::from_secs(10),
        }
    }
}

/// A packager renews after a third of the lease; below this, a busy machine loses leases for nothing.
const LEASE_MIN: Duration = Duration::from_millis(300);
