//! DASH (ISO/IEC 23009-1): an MPD, and what it says of a representation at a time.
//!
//! The clock is handed in, so UTCTiming is not asked. What these viewers never fetch (subtitles, stills, trick modes) is
//! not in the model.

mod presentation; // choices
mod list; // segments of one representation now
mod view; // one representation in one period
mod object; // the URLs of segments
mod place; // which base URL
mod timeline; // which segments there are by time
mod template; // URLs by number and time
mod index; // sidx
mod tick; // arithmetic of timescales
mod read; // the document from its text
mod set;
mod addressing;
mod element; // XML
mod attribute;
mod model;

use std::{collections::HashMap, sync::Arc};

use url::Url;

use self::{index::Index, model::Document};
use super::{
    Object, Presentation, SegmentList,
    error::{Fault, ManifestError},
    limit, reference, text,
};

/// An MPD. A copy shares what it says with the one that it was made of.
#[derive(Debug, Clone)]
pub struct Mpd {
    document: Arc<Document>,
    /// Where it came from, which its references are against.
    url: Url,
    /// Where it is asked for again.
    update_url: Url,
    /// Indexes that were read, by where they stand.
    indexes: HashMap<Object, Arc<Index>>,
}

impl Mpd {
    /// Reads an MPD that came from `base`.
    pub fn parse(text: &[u8], base: &Url) -> Result<Self, ManifestError> {
        let text = text::decode(text)?;
        let document = read::document(&text)?;
        presentation::check(&document)?;
        let update_url = match &document.location {
            Some(location) => reference::join(base, "Location", location)?,
            None => base.clone(),
        };
        if let Some(steering) = &document.steering {
            reference::join(base, "ContentSteering", &steering.server)?;
        }
        Ok(Self {
            document: Arc::new(document),
            url: base.clone(),
            update_url,
            indexes: HashMap::new(),
        })
    }

    /// The choices. Bandwidths are those of the representations, without the sound that is played with them.
    #[must_use]
    pub fn presentation(&self) -> Presentation {
        presentation::of(&self.document, &self.url, &self.update_url)
    }

    /// Whether it changes.
    #[must_use]
    pub fn is_dynamic(&self) -> bool {
        self.document.is_dynamic
    }

    /// The segments of a representation at a time, in all periods: where a period has none of that name, the one of the
    /// same kind that is nearest in bandwidth. Live, those that may be asked for now and are in the window.
    pub fn segments(
        &self,
        representation: &str,
        now_unix_ms: i64,
    ) -> Result<SegmentList, ManifestError> {
        self.segments_on(representation, None, now_unix_ms)
    }

    /// The same from another pathway (`serviceLocation`).
    pub fn segments_on(
        &self,
        representation: &str,
        pathway: Option<&str>,
        now_unix_ms: i64,
    ) -> Result<SegmentList, ManifestError> {
        Ok(list::Source::new(self, pathway, now_unix_ms).list(representation)?)
    }

    /// A segment index that has to be fetched, and handed to [`Mpd::learn`], before [`Mpd::segments`] can answer: the
    /// on-demand profile keeps it in the media file.
    pub fn index(
        &self,
        representation: &str,
        pathway: Option<&str>,
    ) -> Result<Option<Object>, ManifestError> {
        Ok(list::Source::new(self, pathway, 0).missing_index(representation)?)
    }

    /// Takes the bytes that [`Mpd::index`] asked for.
    pub fn learn(&mut self, index: Object, bytes: &[u8]) -> Result<(), ManifestError> {
        if self.indexes.len() == limit::MAX_REPRESENTATIONS {
            return Err(Fault::too_many("indexes", limit::MAX_REPRESENTATIONS).into());
        }
        self.indexes.insert(index, Arc::new(index::read(bytes)?));
        Ok(())
    }
}

#[cfg(test)]
mod tests;
