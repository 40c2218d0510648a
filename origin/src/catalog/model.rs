//! Videos and media, and the rules by which a media moves forward. Values in, values out.

use serde::{Deserialize, Serialize};
use tidegate_contract::{
    id::{MediaId, VideoId},
    package_job::{FailureReason, JobStage, Publication, PublishedRendition},
};
use utoipa::ToSchema;

/// What a person uploaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Video {
    /// Its id.
    pub id: VideoId,
    /// What it shows.
    pub media: MediaId,
    /// Who uploaded it.
    pub client: String,
    /// The file's name at the client.
    pub filename: String,
    /// Its title.
    pub title: String,
    /// When it was added, in milliseconds since 1970.
    pub created_ms: i64,
}

/// One distinct content and what was made of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Media {
    /// Its id.
    pub id: MediaId,
    /// SHA-256 of the upload in lower-case hex.
    pub sha256: String,
    /// Where the upload lies in the object store.
    pub source_key: String,
    /// Its length.
    pub source_bytes: u64,
    /// How far it is.
    pub state: MediaState,
    /// How far the job is, in thousandths.
    pub progress_permille: u16,
    /// Why it ended early.
    pub failure: Option<MediaFailure>,
    /// Below which key its manifests lie; empty before the first publication.
    pub manifest_prefix: String,
    /// What was published last.
    pub published: Option<Published>,
    /// Grows with every change.
    pub version: i64,
}

/// How far a media is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MediaState {
    /// The upload is there, nobody looked at it yet.
    Uploaded,
    /// A packager looks at what it holds.
    Probing,
    /// A packager makes renditions.
    Transcoding,
    /// Some renditions can be played, more may come.
    Playable,
    /// All renditions are there.
    Complete,
    /// It could not be made into a video.
    Failed,
}

/// Why a media ended early.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaFailure {
    /// For programs.
    pub reason: FailureReason,
    /// For people.
    pub detail: String,
}

/// The last publication of a media, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// The packaging attempt whose objects the manifests name.
    pub epoch: u64,
    /// Length of the presentation in milliseconds.
    pub duration_ms: u64,
    /// The renditions, in the order of the ladder.
    pub renditions: Vec<PublishedRendition>,
    /// File names of thumbnails and sprites.
    pub images: Vec<String>,
    /// Number of stills.
    pub stills: u32,
}

impl MediaState {
    /// The name in the database, the API and the documentation.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Uploaded => "uploaded",
            Self::Probing => "probing",
            Self::Transcoding => "transcoding",
            Self::Playable => "playable",
            Self::Complete => "complete",
            Self::Failed => "failed",
        }
    }

    /// Reads a name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        use MediaState::{Complete, Failed, Playable, Probing, Transcoding, Uploaded};
        [Uploaded, Probing, Transcoding, Playable, Complete, Failed]
            .into_iter()
            .find(|state| state.as_str() == text)
    }
}

impl Media {
    /// A media nobody looked at yet. An empty upload needs no packager to be refused.
    #[must_use]
    pub fn new(id: MediaId, sha256: String, source_key: String, source_bytes: u64) -> Self {
        let failure = (source_bytes == 0).then(|| MediaFailure {
            reason: FailureReason::Empty,
            detail: "the upload has no bytes".to_owned(),
        });
        let state = if failure.is_some() { MediaState::Failed } else { MediaState::Uploaded };
        Self {
            id,
            sha256,
            source_key,
            source_bytes,
            state,
            progress_permille: 0,
            failure,
            manifest_prefix: String::new(),
            published: None,
            version: 1,
        }
    }

    /// Whether nothing more will come.
    #[must_use]
    pub fn is_final(&self) -> bool {
        match self.state {
            MediaState::Complete | MediaState::Failed => true,
            MediaState::Playable => self.failure.is_some(),
            _ => false,
        }
    }

    /// Whether a new upload of the same content is worth another attempt.
    #[must_use]
    pub fn is_worth_another_attempt(&self) -> bool {
        self.is_final() && self.failure.as_ref().is_some_and(|f| f.reason.is_retryable())
    }

    /// Begins anew after a failure that was our own fault; what can be played stays.
    pub fn begin_again(&mut self) {
        self.failure = None;
        self.progress_permille = 0;
        self.state = match self.published {
            Some(_) => MediaState::Playable,
            None => MediaState::Uploaded,
        };
    }

    /// A packager says what it is doing. What is playable stays so while it is made again.
    pub fn advance(&mut self, stage: JobStage, progress_permille: u16) {
        self.progress_permille = progress_permille.min(1000);
        self.state = match (self.state, stage) {
            (MediaState::Uploaded, JobStage::Probing) => MediaState::Probing,
            (MediaState::Uploaded | MediaState::Probing, JobStage::Transcoding) => {
                MediaState::Transcoding
            }
            (state, _) => state,
        };
    }

    /// A packager published; the manifests lie below the prefix.
    pub fn publish(&mut self, publication: &Publication, manifest_prefix: String) {
        self.manifest_prefix = manifest_prefix;
        self.failure = None;
        self.published = Some(Published {
            epoch: publication.epoch,
            duration_ms: u64::try_from(publication.duration.as_millis()).unwrap_or(u64::MAX),
            renditions: publication.renditions.clone(),
            images: publication.images.clone(),
            stills: publication.stills,
        });
        self.state = if publication.complete { MediaState::Complete } else { MediaState::Playable };
        if publication.complete {
            self.progress_permille = 1000;
        }
    }

    /// The job ended without all of its result. What can be played stays playable.
    pub fn fail(&mut self, reason: FailureReason, detail: String) {
        self.failure = Some(MediaFailure { reason, detail });
        if self.published.is_none() {
            self.state = MediaState::Failed;
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use tidegate_contract::id::RenditionId;

    use super::*;

    fn media() -> Media {
        let id = MediaId::parse("m1").unwrap();
        Media::new(id, "00".repeat(32), "upload/u1/source".into(), 10)
    }

    /// One rendition and its pictures.
    pub(in crate::catalog) fn publication(complete: bool) -> Publication {
        Publication {
            epoch: 2,
            complete,
            duration: Duration::from_millis(1500),
            renditions: vec![PublishedRendition {
                id: RenditionId::parse("360p").unwrap(),
                codecs: "avc1.64001e".into(),
                width: 360,
                height: 640,
                bandwidth: 800_000,
                segments: 1,
                encoder: "libx264".into(),
            }],
            manifests: Vec::new(),
            images: ["thumb-1.jpg", "thumb-1.webp", "sprite-1.jpg", "sprite.vtt"]
                .map(String::from)
                .to_vec(),
            stills: 1,
        }
    }

    #[test]
    fn a_media_only_moves_forward() {
        let mut media = media();
        let mut seen = vec![media.state];
        for (stage, permille) in
            [(JobStage::Probing, 0), (JobStage::Transcoding, 10), (JobStage::Probing, 0)]
        {
            media.advance(stage, permille);
            seen.push(media.state);
        }
        media.publish(&publication(false), "manifest/m1/2-x".into());
        media.advance(JobStage::Probing, 5000);
        seen.push(media.state);
        media.publish(&publication(true), "manifest/m1/2-y".into());
        seen.push(media.state);
        use MediaState::{Complete, Playable, Probing, Transcoding, Uploaded};
        assert_eq!(seen, [Uploaded, Probing, Transcoding, Transcoding, Playable, Complete]);
        assert_eq!(media.progress_permille, 1000);
    }

    #[test]
    fn a_failure_ends_a_media_but_takes_nothing_back() {
        let mut never_shown = media();
        never_shown.fail(FailureReason::Damaged, "no frame".into());
        assert_eq!((never_shown.state, never_shown.is_final()), (MediaState::Failed, true));
        assert!(!never_shown.is_worth_another_attempt());

        let mut shown = media();
        shown.publish(&publication(false), "p".into());
        assert!(!shown.is_final());
        shown.fail(FailureReason::Internal, "disk".into());
        assert_eq!((shown.state, shown.is_final()), (MediaState::Playable, true));
        assert!(shown.is_worth_another_attempt());
        shown.begin_again();
        assert_eq!((shown.state, shown.is_final()), (MediaState::Playable, false));
    }

    #[test]
    fn an_empty_upload_has_failed_before_anyone_looks() {
        let id = MediaId::parse("m1").unwrap();
        let media = Media::new(id, String::new(), String::new(), 0);
        assert_eq!(media.state, MediaState::Failed);
        assert_eq!(media.failure.unwrap().reason, FailureReason::Empty);
    }

    #[test]
    fn every_state_reads_as_it_was_written() {
        for name in ["uploaded", "probing", "transcoding", "playable", "complete", "failed"] {
            assert_eq!(MediaState::parse(name).map(MediaState::as_str), Some(name));
        }
        assert_eq!(MediaState::parse("deleted"), None);
    }
}
