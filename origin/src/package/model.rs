//! What a job is, when it may be leased, and which publications are accepted. Values in, values out.

use std::{collections::HashSet, time::Duration};

use tidegate_contract::{
    id::{JobId, MediaId, RenditionId},
    media_path::{ImageName, MPD, MULTIVARIANT, ManifestName, MediaObject, MediaPath},
    package_job::{
        MANIFEST_BYTES_MAX, MANIFESTS_MAX, Publication, PublishedManifest, RENDITIONS_MAX,
    },
};

use crate::package::config::Config;

/// One job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// What is to be packaged.
    pub media: MediaId,
    /// Where it stands.
    pub state: JobState,
    /// Number of the last lease; 0 before the first.
    pub epoch: u64,
    /// Leases since the job began, or began again.
    pub attempts: u32,
    /// From when it may be leased, in milliseconds since 1970; for a leased job the end of the lease.
    pub ready_ms: i64,
}

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobState {
    /// Nobody works on it.
    Waiting,
    /// A packager works on it, or did until it died.
    Leased,
    /// It ended with its whole result.
    Done,
    /// It ended without.
    Failed,
}

/// What a packager that shows an epoch may do with a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It holds the lease.
    Holder,
    /// It held the last lease, and the job is done.
    Finished,
    /// It lost the lease, or never had it.
    Fenced,
}

/// Why a publication is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublicationError {
    /// A list is empty or too long.
    #[error("{what}: {count} is not between {min} and {max}")]
    Count {
        /// Of what.
        what: &'static str,
        /// How many there are.
        count: u64,
        /// The least.
        min: u64,
        /// The most.
        max: u64,
    },
    /// A name that is not of the URL layout.
    #[error("{0:?} is not a name of the URL layout")]
    Name(String),
    /// A name that stands there twice.
    #[error("{0:?} stands there twice")]
    Twice(String),
    /// A playlist of a rendition that is not published.
    #[error("playlist {0:?} belongs to no published rendition")]
    Orphan(String),
    /// One of the two manifests that every video has is not there.
    #[error("{0:?} is missing")]
    Missing(&'static str),
    /// A text that is too long.
    #[error("{what} of {name:?} has {bytes} bytes, at most {max} are taken")]
    Length {
        /// Of what.
        what: &'static str,
        /// Whose.
        name: String,
        /// How long it is.
        bytes: usize,
        /// How long it may be.
        max: usize,
    },
}

impl JobState {
    /// The name in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Leased => "leased",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }

    /// Reads a name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Waiting, Self::Leased, Self::Done, Self::Failed]
            .into_iter()
            .find(|state| state.as_str() == text)
    }
}

impl Job {
    /// What a packager may do that shows an epoch. A lease that ran out still stands until somebody else takes
    /// the job: work that is done is not thrown away for a late renewal.
    #[must_use]
    pub fn standing(&self, epoch: u64) -> Standing {
        match self.state {
            JobState::Leased if self.epoch == epoch => Standing::Holder,
            JobState::Done if self.epoch == epoch => Standing::Finished,
            _ => Standing::Fenced,
        }
    }
}

/// How long a job waits after a failed attempt, counted from 1.
#[must_use]
pub fn retry_pause(config: &Config, attempts: u32) -> Duration {
    let doublings = attempts.saturating_sub(1).min(DOUBLINGS_MAX);
    config.retry_backoff.saturating_mul(2_u32.saturating_pow(doublings))
}

/// Checks everything about a publication that can be told without the object store.
///
/// # Errors
/// The first thing that is wrong.
pub fn check_publication(
    publication: &Publication,
    images_max: usize,
) -> Result<(), PublicationError> {
    let renditions = &publication.renditions;
    check_count("renditions", renditions.len(), 1, RENDITIONS_MAX)?;
    check_count("manifests", publication.manifests.len(), 1, MANIFESTS_MAX)?;
    check_count("images", publication.images.len(), 0, images_max)?;
    check_unique(renditions.iter().map(|r| r.id.as_str()))?;
    check_unique(publication.manifests.iter().map(|m| m.name.as_str()))?;
    check_unique(publication.images.iter().map(String::as_str))?;
    for rendition in renditions {
        let segments = usize::try_from(rendition.segments).unwrap_or(usize::MAX);
        check_count("segments of a rendition", segments, 1, SEGMENTS_MAX)?;
        check_length("codecs", rendition.id.as_str(), rendition.codecs.len(), TEXT_BYTES_MAX)?;
        check_length("encoder", rendition.id.as_str(), rendition.encoder.len(), TEXT_BYTES_MAX)?;
    }
    let ids: HashSet<&RenditionId> = renditions.iter().map(|r| &r.id).collect();
    for manifest in &publication.manifests {
        check_length("the text", &manifest.name, manifest.body.len(), MANIFEST_BYTES_MAX)?;
        if let ManifestName::Media(rendition) = manifest_name(manifest)?
            && !ids.contains(&rendition)
        {
            return Err(PublicationError::Orphan(manifest.name.clone()));
        }
    }
    for name in [MULTIVARIANT, MPD] {
        if !publication.manifests.iter().any(|m| m.name == name) {
            return Err(PublicationError::Missing(name));
        }
    }
    for image in &publication.images {
        ImageName::parse(image).map_err(|_| PublicationError::Name(image.clone()))?;
    }
    Ok(())
}

/// Keys of objects that must be there before a publication is taken: the first and the last of each rendition,
/// and every image.
#[must_use]
pub fn keys_to_check(media: &MediaId, publication: &Publication) -> Vec<String> {
    let key = |object| {
        let path = MediaPath::Object { media: media.clone(), epoch: publication.epoch, object };
        path.object_key().expect("an object has a key")
    };
    let renditions = publication.renditions.iter().flat_map(|r| {
        [MediaObject::Init(r.id.clone()), MediaObject::Segment(r.id.clone(), r.segments)]
    });
    let images = publication.images.iter();
    let images = images.filter_map(|name| ImageName::parse(name).ok()).map(MediaObject::Image);
    renditions.chain(images).map(key).collect()
}

/// Manifests in the order in which they are written: what is named comes before what names it.
#[must_use]
pub fn in_order_of_writing(manifests: &[PublishedManifest]) -> Vec<&PublishedManifest> {
    let mut ordered: Vec<_> = manifests.iter().collect();
    ordered.sort_by_key(|manifest| matches!(manifest.name.as_str(), MULTIVARIANT | MPD));
    ordered
}

fn manifest_name(manifest: &PublishedManifest) -> Result<ManifestName, PublicationError> {
    manifest.name.parse().map_err(|_| PublicationError::Name(manifest.name.clone()))
}

fn check_count(
    what: &'static str,
    count: usize,
    min: usize,
    max: usize,
) -> Result<(), PublicationError> {
    if (min..=max).contains(&count) {
        return Ok(());
    }
    Err(PublicationError::Count { what, count: count as u64, min: min as u64, max: max as u64 })
}

fn check_length(
    what: &'static str,
    name: &str,
    bytes: usize,
    max: usize,
) -> Result<(), PublicationError> {
    if bytes <= max {
        return Ok(());
    }
    Err(PublicationError::Length { what, name: name.to_owned(), bytes, max })
}

fn check_unique<'a>(names: impl Iterator<Item = &'a str>) -> Result<(), PublicationError> {
    let mut seen = HashSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(PublicationError::Twice(name.to_owned()));
        }
    }
    Ok(())
}

/// Two weeks of one-second segments.
const SEGMENTS_MAX: usize = 1_209_600;
const TEXT_BYTES_MAX: usize = 128;
const DOUBLINGS_MAX: u32 = 10;

#[cfg(test)]
mod tests {
    use tidegate_contract::package_job::PublishedRendition;

    use super::*;

    fn manifest(name: &str) -> PublishedManifest {
        PublishedManifest { name: name.to_owned(), body: "#EXTM3U\n".to_owned() }
    }

    fn publication() -> Publication {
        Publication {
            epoch: 3,
            complete: false,
            duration: Duration::from_secs(4),
            renditions: vec![PublishedRendition {
                id: RenditionId::parse("360p").unwrap(),
                codecs: "avc1.64001e".into(),
                width: 360,
                height: 640,
                bandwidth: 1,
                segments: 2,
                encoder: "libx264".into(),
            }],
            manifests: ["main.m3u8", "360p.m3u8", "manifest.mpd"].map(manifest).to_vec(),
            images: vec!["thumb-1.jpg".into()],
            stills: 0,
        }
    }

    fn check(change: impl FnOnce(&mut Publication)) -> Result<(), PublicationError> {
        let mut publication = publication();
        change(&mut publication);
        check_publication(&publication, 2)
    }

    #[test]
    fn a_publication_is_taken_whole_or_not() {
        assert_eq!(check(|_| ()), Ok(()));
        assert!(matches!(check(|p| p.renditions.clear()), Err(PublicationError::Count { .. })));
        assert!(matches!(
            check(|p| p.renditions[0].segments = 0),
            Err(PublicationError::Count { .. })
        ));
        assert!(matches!(
            check(|p| p.renditions = vec![p.renditions[0].clone(); 17]),
            Err(PublicationError::Count { .. })
        ));
        assert!(matches!(
            check(|p| p.images = vec!["a.jpg".into(), "b.jpg".into(), "c.jpg".into()]),
            Err(PublicationError::Count { .. })
        ));
        assert!(matches!(
            check(|p| p.manifests[0].body = "x".repeat(MANIFEST_BYTES_MAX + 1)),
            Err(PublicationError::Length { .. })
        ));
        for (name, error) in [
            ("../main.m3u8", PublicationError::Name("../main.m3u8".into())),
            ("720p.m3u8", PublicationError::Orphan("720p.m3u8".into())),
            ("360p.m3u8", PublicationError::Twice("360p.m3u8".into())),
        ] {
            assert_eq!(check(|p| p.manifests.push(manifest(name))), Err(error), "{name}");
        }
        assert_eq!(
            check(|p| p.manifests.truncate(2)),
            Err(PublicationError::Missing("manifest.mpd"))
        );
        let image = PublicationError::Name("../x".into());
        assert_eq!(check(|p| p.images = vec!["../x".into()]), Err(image));
    }

    #[test]
    fn what_is_named_is_written_before_what_names_it() {
        let manifests = ["main.m3u8", "360p.m3u8", "manifest.mpd", "audio.m3u8"].map(manifest);
        let names: Vec<_> = in_order_of_writing(&manifests).iter().map(|m| &m.name).collect();
        assert_eq!(names, ["360p.m3u8", "audio.m3u8", "main.m3u8", "manifest.mpd"]);
    }

    #[test]
    fn the_ends_of_each_rendition_must_be_there() {
        let keys = keys_to_check(&MediaId::parse("m1").unwrap(), &publication());
        assert_eq!(keys, ["m/m1/3/360p/init.mp4", "m/m1/3/360p/2.m4s", "m/m1/3/image/thumb-1.jpg"]);
    }

    #[test]
    fn only_the_last_lease_counts() {
        let job = |state, epoch| Job {
            id: JobId::parse("j1").unwrap(),
            media: MediaId::parse("m1").unwrap(),
            state,
            epoch,
            attempts: 1,
            ready_ms: 0,
        };
        for (state, shown, standing) in [
            (JobState::Leased, 3, Standing::Holder),
            (JobState::Leased, 2, Standing::Fenced),
            (JobState::Waiting, 3, Standing::Fenced),
            (JobState::Done, 3, Standing::Finished),
            (JobState::Done, 2, Standing::Fenced),
            (JobState::Failed, 3, Standing::Fenced),
        ] {
            assert_eq!(job(state, 3).standing(shown), standing, "{state:?} {shown}");
        }
    }

    #[test]
    fn pauses_double_and_never_overflow() {
        let config = Config::default();
        assert_eq!(retry_pause(&config, 1), config.retry_backoff);
        assert_eq!(retry_pause(&config, 3), config.retry_backoff * 4);
        assert!(retry_pause(&config, u32::MAX) > retry_pause(&config, 5));
    }
}
