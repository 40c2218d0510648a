//! Settings of the delivery.

use anyhow::{Context, ensure};
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
    /// Who tells players, in the middle of a video, where to fetch from.
    pub steering: Steering,
}

/// Section `[delivery.steering]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Steering {
    /// URL of the steering manifest that manifests name; without it they name none.
    pub server_uri: Option<String>,
    /// What the place is called that manifests are fetched from: the id of a pathway without a host in the steering policy.
    pub pathway: String,
    /// Whether DASH players ask before they begin: what they then begin with is right, and later.
    pub query_before_start: bool,
}

impl Steering {
    fn check(&self) -> anyhow::Result<()> {
        let is_id = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
        ensure!(
            (1..=PATHWAY_BYTES_MAX).contains(&self.pathway.len())
                && self.pathway.bytes().all(is_id),
            "delivery.steering.pathway is an id of letters, digits, '-', '_' and '.'"
        );
        let Some(uri) = &self.server_uri else { return Ok(()) };
        // DASH players take it for what it is, whatever the MPD's own URL.
        let is_absolute = ["https://", "http://"].iter().any(|scheme| uri.starts_with(scheme));
        let is_plain = uri.bytes().all(|b| b.is_ascii_graphic() && b != b'"');
        ensure!(
            is_absolute && is_plain && uri.len() <= URI_BYTES_MAX,
            "delivery.steering.server_uri is no absolute URL: {uri:?}"
        );
        Ok(())
    }
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
        self.steering.check()
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            object_cache_control: "public, max-age=31536000, immutable".to_owned(),
            manifest_cache_control:
                "public, max-age=2, stale-while-revalidate=30, stale-if-error=86400".to_owned(),
            missing_cache_control: "public, max-age=1".to_owned(),
            steering: Steering::default(),
        }
    }
}

impl Default for Steering {
    fn default() -> Self {
        Self { server_uri: None, pathway: "main".to_owned(), query_before_start: false }
    }
}

/// As long as the name of a resource.
const PATHWAY_BYTES_MAX: usize = 128;
/// It stands in every manifest.
const URI_BYTES_MAX: usize = 2048;
