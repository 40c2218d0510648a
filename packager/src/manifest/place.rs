//! Where the objects of one packaging attempt are, seen from a manifest.

use tidegate_contract::{
    id::{MediaId, RenditionId},
    media_path::{MediaObject, MediaPath, ROOT_FROM_MANIFEST},
};

/// The objects of one packaging attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    media: MediaId,
    epoch: u64,
}

impl Place {
    /// The objects of an attempt.
    #[must_use]
    pub fn new(media: MediaId, epoch: u64) -> Self {
        Self { media, epoch }
    }

    /// A relative reference to an object.
    pub(super) fn reference(&self, object: MediaObject) -> String {
        let path = MediaPath::Object { media: self.media.clone(), epoch: self.epoch, object };
        let path = path.to_string();
        format!("{ROOT_FROM_MANIFEST}{}", path.trim_start_matches('/'))
    }

    /// A relative reference to all segments of a rendition, with `$Number$` in the number's place.
    pub(super) fn template(&self, rendition: &RenditionId) -> String {
        let any = self.reference(MediaObject::Segment(rendition.clone(), 0));
        let folder = any.strip_suffix("0.m4s").expect("the layout ends a segment in its number");
        format!("{folder}$Number$.m4s")
    }
}
