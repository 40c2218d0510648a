//! Settings of the catalog.

use std::time::Duration;

use anyhow::ensure;
use serde::{Deserialize, Serialize};

/// Section `[catalog]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The most videos of one page.
    pub page_videos_max: u32,
    /// Event streams open at once.
    pub event_streams_max: usize,
    /// A comment goes out after so long without an event, so that proxies keep the stream open.
    #[serde(with = "humantime_serde")]
    pub heartbeat_interval: Duration,
    /// Changes made by another process are seen so much later.
    #[serde(with = "humantime_serde")]
    pub poll_interval: Duration,
    /// A stream ends after so long; clients connect again.
    #[serde(with = "humantime_serde")]
    pub event_stream_age_max: Duration,
    /// How often the objects of deleted media are removed.
    #[serde(with = "humantime_serde")]
    pub sweep_interval: Duration,
    /// How long the objects of a deleted media stay: a packager may still be writing, viewers still reading.
    #[serde(with = "humantime_serde")]
    pub garbage_age: Duration,
}

impl Config {
    /// Checks what the types cannot.
    ///
    /// # Errors
    /// Names the setting.
    pub fn check(&self) -> anyhow::Result<()> {
        ensure!(self.page_videos_max > 0, "catalog.page_videos_max must be at least 1");
        ensure!(self.event_streams_max > 0, "catalog.event_streams_max must be at least 1");
        ensure!(!self.poll_interval.is_zero(), "catalog.poll_interval must not be 0");
        Ok(())
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            page_videos_max: 100,
            event_streams_max: 1024,
            heartbeat_interval: Duration::from_secs(15),
            poll_interval: Duration::from_secs(2),
            event_stream_age_max: Duration::from_secs(60 * 60),
            sweep_interval: Duration::from_secs(30),
            garbage_age: Duration::from_secs(10 * 60),
        }
    }
}
