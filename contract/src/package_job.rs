//! What origin asks of a packager, and the answers.
//!
//! A packager leases a job, renews the lease while it works, publishes what is ready and ends with a last
//! publication or a failure. Every message carries the lease's epoch: origin refuses those of an older epoch, so
//! a packager that lost its lease can never overwrite what its successor published. The packager writes
//! immutable objects to the object store itself; manifests travel in [`Publication`] and are written by origin.
//!
//! ```text
//! POST /internal/v1/jobs/lease           LeaseRequest  → 200 PackageJob | 204 nothing to do
//! POST /internal/v1/jobs/{job}/renew     Renewal       → 200 LeaseReply | 409 lease lost
//! POST /internal/v1/jobs/{job}/publish   Publication   → 200 LeaseReply | 409 lease lost
//! POST /internal/v1/jobs/{job}/fail      Failure       → 204            | 409 lease lost
//! ```

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::{JobId, MediaId, RenditionId};

/// The largest manifest, in bytes.
pub const MANIFEST_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The most manifests of one publication.
pub const MANIFESTS_MAX: usize = 32;
/// The most renditions of one media.
pub const RENDITIONS_MAX: usize = 16;
/// The longest detail of a failure, in bytes.
pub const DETAIL_BYTES_MAX: usize = 1024;

/// A packager asks for work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseRequest {
    /// Who asks; appears in origin's logs and in the job's record.
    pub packager: String,
}

/// One job, leased.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageJob {
    /// The job.
    pub job: JobId,
    /// The lease's number; grows with every lease of this job.
    pub epoch: u64,
    /// How long the lease lasts without a renewal.
    #[serde(with = "humantime_serde")]
    pub lease: Duration,
    /// What is to be made.
    pub media: MediaId,
    /// Where the upload lies in the object store.
    pub source_key: String,
    /// Its length in bytes.
    pub source_bytes: u64,
    /// Its SHA-256, in lower-case hex.
    pub source_sha256: String,
}

/// A packager is still at it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renewal {
    /// The lease's number.
    pub epoch: u64,
    /// What it is doing.
    pub stage: JobStage,
    /// How far the whole job is, in thousandths.
    pub progress_permille: u16,
}

/// What a packager is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobStage {
    /// Looking at what the upload holds.
    Probing,
    /// Making renditions.
    Transcoding,
}

/// The lease goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseReply {
    /// How long it lasts from now without a renewal.
    #[serde(with = "humantime_serde")]
    pub lease: Duration,
}

/// What is ready now: everything that is to be published, not only what is new.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publication {
    /// The lease's number.
    pub epoch: u64,
    /// Whether this is the last publication of the job.
    pub complete: bool,
    /// Length of the presentation.
    #[serde(with = "humantime_serde")]
    pub duration: Duration,
    /// The renditions that the manifests name, in the order of the ladder.
    pub renditions: Vec<PublishedRendition>,
    /// Every manifest by its name in the URL layout (`main.m3u8`, `720p.m3u8`, `manifest.mpd`).
    pub manifests: Vec<PublishedManifest>,
    /// File names below `image/`: `thumb-1.jpg`, `sprite.jpg`, `sprite.vtt`.
    pub images: Vec<String>,
    /// Stills for feature extraction: how many, one a second, at `stills/{media}/{epoch}/{n:06}.jpg`.
    pub stills: u32,
}

/// One rendition as origin shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedRendition {
    /// Its id.
    pub id: RenditionId,
    /// Codec string (RFC 6381).
    pub codecs: String,
    /// Width in pixels; 0 for audio.
    pub width: u32,
    /// Height in pixels; 0 for audio.
    pub height: u32,
    /// Peak bits per second of a segment.
    pub bandwidth: u64,
    /// Number of segments.
    pub segments: u64,
    /// The encoder that made it (`libx264`, `h264_nvenc`).
    pub encoder: String,
}

/// One manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedManifest {
    /// Its name in the URL layout.
    pub name: String,
    /// Its text, at most [`MANIFEST_BYTES_MAX`].
    pub body: String,
}

/// A job ended without a result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The lease's number.
    pub epoch: u64,
    /// Why, for programs.
    pub reason: FailureReason,
    /// Why, for people; at most [`DETAIL_BYTES_MAX`].
    pub detail: String,
}

/// Why an upload cannot be made into a video.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureReason {
    /// Nothing was uploaded.
    Empty,
    /// No container format that is accepted: text, HTML, a playlist, an unknown format.
    UnsupportedContainer,
    /// No video track.
    NoVideo,
    /// A video codec that cannot be decoded here.
    UnsupportedCodec,
    /// Cut off or damaged so that no frame could be decoded.
    Damaged,
    /// Too small to be a video.
    TooSmall,
    /// More pixels than allowed.
    TooLarge,
    /// Longer than allowed.
    TooLong,
    /// More tracks than allowed.
    TooManyTracks,
    /// Encrypted.
    Encrypted,
    /// The time for the job ran out.
    Deadline,
    /// The sandboxed worker was killed: memory, CPU time or a forbidden call.
    WorkerKilled,
    /// Our own fault, may be tried again: disk, object store, bug.
    Internal,
}

impl FailureReason {
    /// The name in logs, metrics, the API and documentation.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::UnsupportedContainer => "unsupported_container",
            Self::NoVideo => "no_video",
            Self::UnsupportedCodec => "unsupported_codec",
            Self::Damaged => "damaged",
            Self::TooSmall => "too_small",
            Self::TooLarge => "too_large",
            Self::TooLong => "too_long",
            Self::TooManyTracks => "too_many_tracks",
            Self::Encrypted => "encrypted",
            Self::Deadline => "deadline",
            Self::WorkerKilled => "worker_killed",
            Self::Internal => "internal",
        }
    }

    /// Whether another attempt may end better; what the upload itself is to blame for is final.
    #[must_use]
    pub fn is_retryable(self) -> bool {
        matches!(self, Self::Internal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_has_one_name_everywhere() {
        for reason in [FailureReason::UnsupportedContainer, FailureReason::TooManyTracks] {
            let json = serde_json::to_string(&reason).expect("a plain enum");
            assert_eq!(json, format!("{:?}", reason.as_str()));
        }
    }

    #[test]
    fn durations_are_text() {
        let reply = LeaseReply { lease: Duration::from_secs(30) };
        assert_eq!(serde_json::to_string(&reply).expect("plain data"), r#"{"lease":"30s"}"#);
    }
}
