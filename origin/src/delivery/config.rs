//! Settings of the delivery.

use anyhow::Context;
use axum::http::HeaderValue;
use serde::{Deserialize, Serialize};

/// Section `[delivery]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Of segments, init segments and images, which never change.
    pub object_cache_control: String,
    /// Of manifests, which change while renditions are added, and are purged then.
    pub manifest_cache_control: String,
    /// Of what is not there: it may be a moment later.
    pub missing_cache_control: String,
}

impl Config {
    /// Checks what the types cannot.
    ///
    /// # Errors
    /// Names the setting.
    pub fn check(&self) -> anyhow::Result<()> {
        for (name, value) in [
            ("object_cache_control", &self.object_cache_control),
            ("manifest_cache_control", &self.manifest_cache_control),
            ("missing_cache_control", &self.missing_cache_control),
        ] {
            HeaderValue::from_str(value).with_context(|| format!("delivery.{name}"))?;
        }
        Ok(())
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            object_cache_control: "public, max-age=31536000, immutable".to_owned(),
            manifest_cache_control:
                "public, max-age=2, stale-while-revalidate=30, stale-if-error=86400".to_owned(),
            missing_cache_control: "public, max-age=1".to_owned(),
        }
    }
}
