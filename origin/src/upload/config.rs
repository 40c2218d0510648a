//! Settings of uploads: where they lie and every limit.

use std::{path::PathBuf, time::Duration};

use anyhow::ensure;
use bytesize::ByteSize;
use serde::{Deserialize, Serialize};

/// Section `[upload]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Uploads in progress; on the object store's file system a finished one is linked, not copied.
    pub spool_dir: PathBuf,
    /// The longest upload.
    pub upload_bytes_max: ByteSize,
    /// The longest body of one request.
    pub chunk_bytes_max: ByteSize,
    /// The chunk that is recommended to clients.
    pub chunk_bytes: ByteSize,
    /// Unfinished uploads of one token.
    pub uploads_per_client_max: u32,
    /// Unfinished uploads of all tokens.
    pub uploads_max: u32,
    /// An upload that got no bytes for so long is removed.
    #[serde(with = "humantime_serde")]
    pub expiry: Duration,
    /// A body that brings no byte for so long is cut off; what came before it counts.
    #[serde(with = "humantime_serde")]
    pub body_idle_timeout: Duration,
    /// Bytes of one request after which they are synced and count even if the process dies.
    pub checkpoint_bytes: ByteSize,
    /// Free space below which no more bytes are taken.
    pub disk_free_min: ByteSize,
    /// The longest `Upload-Metadata` header.
    pub metadata_bytes_max: ByteSize,
    /// How long a removed upload still answers 410 instead of 404.
    #[serde(with = "humantime_serde")]
    pub tombstone_age: Duration,
    /// How often expired uploads are looked for.
    #[serde(with = "humantime_serde")]
    pub sweep_interval: Duration,
}

impl Config {
    /// Checks what the types cannot.
    ///
    /// # Errors
    /// Names the setting.
    pub fn check(&self) -> anyhow::Result<()> {
        ensure!(!self.spool_dir.as_os_str().is_empty(), "upload.spool_dir must not be empty");
        ensure!(self.chunk_bytes_max.as_u64() > 0, "upload.chunk_bytes_max must not be 0");
        ensure!(self.chunk_bytes <= self.chunk_bytes_max, "upload.chunk_bytes is above the limit");
        ensure!(self.checkpoint_bytes.as_u64() > 0, "upload.checkpoint_bytes must not be 0");
        ensure!(self.uploads_per_client_max > 0, "upload.uploads_per_client_max must not be 0");
        // The header is kept as it was sent; its column has this width.
        ensure!(
            self.metadata_bytes_max <= METADATA_COLUMN_BYTES,
            "upload.metadata_bytes_max is above {METADATA_COLUMN_BYTES}"
        );
        Ok(())
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            spool_dir: "data/origin/spool".into(),
            upload_bytes_max: ByteSize::gib(4),
            chunk_bytes_max: ByteSize::gib(4),
            chunk_bytes: ByteSize::mib(5),
            uploads_per_client_max: 16,
            uploads_max: 1024,
            expiry: Duration::from_secs(24 * 60 * 60),
            body_idle_timeout: Duration::from_secs(30),
            checkpoint_bytes: ByteSize::mib(8),
            disk_free_min: ByteSize::gib(1),
            metadata_bytes_max: ByteSize::kib(4),
            tombstone_age: Duration::from_secs(7 * 24 * 60 * 60),
            sweep_interval: Duration::from_secs(60),
        }
    }
}

const METADATA_COLUMN_BYTES: ByteSize = ByteSize::kib(8);
