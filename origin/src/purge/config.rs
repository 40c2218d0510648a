//! Settings of the purge outbox.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};
use url::Url;

/// Section `[purge]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Base URL of the control plane's API; without it nothing is ordered and edges rely on TTLs.
    pub control_plane: Option<String>,
    /// File that holds the bearer token.
    pub token_file: Option<PathBuf>,
    /// PEM file of the authority that issued the control plane's certificate.
    pub ca_file: Option<PathBuf>,
    /// How long one order may take.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
    /// Wait after a failed order; doubles each time.
    #[serde(with = "humantime_serde")]
    pub retry_backoff: Duration,
    /// The longest wait after a failed order.
    #[serde(with = "humantime_serde")]
    pub retry_backoff_max: Duration,
    /// Orders read and sent at once; equal ones among them are sent once.
    pub batch_max: u32,
    /// Orders that may wait; beyond it they are replaced by one purge of everything.
    pub orders_max: u32,
}

impl Config {
    /// Checks what the types cannot.
    ///
    /// # Errors
    /// Names the setting.
    pub fn check(&self) -> anyhow::Result<()> {
        ensure!(self.batch_max > 0, "purge.batch_max must be at least 1");
        ensure!(self.orders_max > 0, "purge.orders_max must be at least 1");
        self.purges_url()?;
        let is_complete = self.control_plane.is_none() || self.token_file.is_some();
        ensure!(is_complete, "purge.token_file is needed for purge.control_plane");
        Ok(())
    }

    /// Where purges are ordered.
    pub(super) fn purges_url(&self) -> anyhow::Result<Option<Url>> {
        let Some(base) = &self.control_plane else { return Ok(None) };
        let base = Url::parse(base).with_context(|| format!("purge.control_plane: {base:?}"))?;
        ensure!(matches!(base.scheme(), "http" | "https"), "purge.control_plane is no http(s) URL");
        Ok(Some(base.join("/v1/purges").context("purge.control_plane")?))
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            control_plane: None,
            token_file: None,
            ca_file: None,
            timeout: Duration::from_secs(5),
            retry_backoff: Duration::from_millis(200),
            retry_backoff_max: Duration::from_secs(30),
            batch_max: 100,
            orders_max: 10_000,
        }
    }
}
