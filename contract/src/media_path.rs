//! URL layout of manifests, init segments, segments and images: build and parse.
//!
//! ```text
//! /v/{video}/main.m3u8                        multivariant playlist   mutable
//! /v/{video}/{rendition}.m3u8                 media playlist          mutable
//! /v/{video}/manifest.mpd                     MPD                     mutable
//! /m/{media}/{epoch}/{rendition}/init.mp4     init segment            immutable
//! /m/{media}/{epoch}/{rendition}/{n}.m4s      segment, n from 1       immutable
//! /m/{media}/{epoch}/image/{name}             thumbnails, sprites     immutable
//! ```
//!
//! The epoch is that of the packaging attempt: a job that is taken over writes under a new epoch, so that two
//! attempts never write one object. Without its leading slash, an `/m/` path is also the key in the object store.
//! Manifests name segments relative to themselves (`../../m/…`), so that a whole tree can be served below a prefix.

use std::{fmt, str::FromStr};

use crate::id::{IdError, MediaId, RenditionId, VideoId};

/// The name of the multivariant playlist.
pub const MULTIVARIANT: &str = "main.m3u8";
/// The name of the MPD.
pub const MPD: &str = "manifest.mpd";
/// The name of an init segment.
pub const INIT: &str = "init.mp4";
/// What leads from a manifest to the root of the tree.
pub const ROOT_FROM_MANIFEST: &str = "../../";

/// One resource of the layout.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum MediaPath {
    /// Any manifest of a video.
    Manifest {
        /// Whose.
        video: VideoId,
        /// Which.
        name: ManifestName,
    },
    /// An immutable object of a media.
    Object {
        /// Whose.
        media: MediaId,
        /// The packaging attempt that wrote it.
        epoch: u64,
        /// Which.
        object: MediaObject,
    },
}

/// A manifest of a video.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ManifestName {
    /// The HLS multivariant playlist.
    Multivariant,
    /// The HLS media playlist of a rendition.
    Media(RenditionId),
    /// The DASH MPD.
    Mpd,
}

/// An immutable object of a media.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum MediaObject {
    /// The init segment of a rendition.
    Init(RenditionId),
    /// The n-th segment of a rendition, counted from 1.
    Segment(RenditionId, u64),
    /// A thumbnail, a sprite sheet or its WebVTT.
    Image(ImageName),
}

/// The file name of an image: 1 to 64 bytes of `a-z0-9-.`, beginning with a letter or digit, with one dot inside.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ImageName(String);

/// Why a path is not of the layout.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MediaPathError {
    /// One of the ids is wrong.
    #[error(transparent)]
    Id(#[from] IdError),
    /// The path has another shape.
    #[error("not a path of the media layout")]
    Shape,
}

impl ImageName {
    /// Checks a file name.
    ///
    /// # Errors
    /// [`MediaPathError::Shape`] when it is not one.
    pub fn parse(text: &str) -> Result<Self, MediaPathError> {
        let (stem, extension) = text.split_once('.').ok_or(MediaPathError::Shape)?;
        let is_plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let good = text.len() <= 64
            && stem.bytes().next().is_some_and(is_plain)
            && stem.bytes().all(|b| is_plain(b) || b == b'-')
            && !extension.is_empty()
            && extension.bytes().all(is_plain);
        if good { Ok(Self(text.to_owned())) } else { Err(MediaPathError::Shape) }
    }

    /// The file name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl MediaPath {
    /// The key in the object store; manifests have none, since a video only points at its media.
    #[must_use]
    pub fn object_key(&self) -> Option<String> {
        match self {
            Self::Manifest { .. } => None,
            Self::Object { .. } => Some(self.to_string()[1..].to_owned()),
        }
    }
}

impl fmt::Display for ManifestName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Multivariant => f.write_str(MULTIVARIANT),
            Self::Media(rendition) => write!(f, "{rendition}.m3u8"),
            Self::Mpd => f.write_str(MPD),
        }
    }
}

impl FromStr for ManifestName {
    type Err = MediaPathError;
    fn from_str(text: &str) -> Result<Self, MediaPathError> {
        match text {
            MULTIVARIANT => Ok(Self::Multivariant),
            MPD => Ok(Self::Mpd),
            _ => {
                let stem = text.strip_suffix(".m3u8").ok_or(MediaPathError::Shape)?;
                Ok(Self::Media(RenditionId::parse(stem)?))
            }
        }
    }
}

impl fmt::Display for MediaObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Init(rendition) => write!(f, "{rendition}/{INIT}"),
            Self::Segment(rendition, number) => write!(f, "{rendition}/{number}.m4s"),
            Self::Image(name) => write!(f, "image/{}", name.as_str()),
        }
    }
}

impl fmt::Display for MediaPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Manifest { video, name } => write!(f, "/v/{video}/{name}"),
            Self::Object { media, epoch, object } => write!(f, "/m/{media}/{epoch}/{object}"),
        }
    }
}

impl FromStr for MediaPath {
    type Err = MediaPathError;

    fn from_str(path: &str) -> Result<Self, MediaPathError> {
        let mut words = path.strip_prefix('/').ok_or(MediaPathError::Shape)?.split('/');
        let mut next = || words.next().ok_or(MediaPathError::Shape);
        let parsed = match next()? {
            "v" => Self::Manifest { video: VideoId::parse(next()?)?, name: next()?.parse()? },
            "m" => {
                let media = MediaId::parse(next()?)?;
                let epoch = number(next()?)?;
                let object = match (next()?, next()?) {
                    ("image", name) => MediaObject::Image(ImageName::parse(name)?),
                    (rendition, INIT) => MediaObject::Init(RenditionId::parse(rendition)?),
                    (rendition, file) => {
                        let n = file.strip_suffix(".m4s").ok_or(MediaPathError::Shape)?;
                        MediaObject::Segment(RenditionId::parse(rendition)?, number(n)?)
                    }
                };
                Self::Object { media, epoch, object }
            }
            _ => return Err(MediaPathError::Shape),
        };
        if words.next().is_some() { Err(MediaPathError::Shape) } else { Ok(parsed) }
    }
}

/// One resource has one path: no sign, no leading zero.
fn number(text: &str) -> Result<u64, MediaPathError> {
    let is_canonical = text == "0" || !text.starts_with(['0', '+']);
    text.parse().ok().filter(|_| is_canonical).ok_or(MediaPathError::Shape)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_of_the_layout_reads_as_it_was_written() {
        for path in [
            "/v/v1/main.m3u8",
            "/v/v1/720p.m3u8",
            "/v/v1/manifest.mpd",
            "/m/m1/3/720p/init.mp4",
            "/m/m1/3/hevc-720p/17.m4s",
            "/m/m1/3/image/sprite.vtt",
        ] {
            let parsed: MediaPath = path.parse().expect(path);
            assert_eq!(parsed.to_string(), path);
        }
    }

    #[test]
    fn only_immutable_objects_have_a_key() {
        let key = |path: &str| path.parse::<MediaPath>().expect(path).object_key();
        assert_eq!(key("/m/m1/3/720p/1.m4s").as_deref(), Some("m/m1/3/720p/1.m4s"));
        assert_eq!(key("/v/v1/main.m3u8"), None);
    }

    #[test]
    fn other_shapes_are_refused() {
        for path in [
            "",
            "/",
            "/v",
            "/v/v1",
            "/v/v1/x.txt",
            "/v/V1/main.m3u8",
            "/v/v1/main.m3u8/x",
            "/m/m1/x/720p/1.m4s",
            "/m/m1/1/720p/01.m4s",
            "/m/m1/1/720p/+1.m4s",
            "/m/../1/720p/1.m4s",
            "/m/m1/1/image/..",
            "/m/m1/1/image/a.b.c",
            "/x/y/z",
        ] {
            assert!(path.parse::<MediaPath>().is_err(), "{path}");
        }
    }
}
