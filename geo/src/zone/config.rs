//! The section `[zones]`.
//!
//! Invariant: a folder that is named is there when the node starts.

use std::{path::PathBuf, time::Duration};

use anyhow::ensure;
use serde::{Deserialize, Serialize};

/// Where zones come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Folder of master files, `*.zone`; those of the control plane come beside them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub folder: Option<PathBuf>,
    /// How often is looked whether a file changed.
    #[serde(with = "humantime_serde")]
    pub check_every: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self { folder: None, check_every: Duration::from_secs(1) }
    }
}

impl Config {
    /// Whether the values make sense.
    ///
    /// # Errors
    /// What does not.
    pub fn check(&self) -> anyhow::Result<()> {
        ensure!(!self.check_every.is_zero(), "zones.check_every is 0");
        Ok(())
    }
}
