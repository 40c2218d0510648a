//! What an MPD says, as it is kept: periods, adaptation sets, representations, where they are and how their segments are
//! found. What many representations share is shared here too.

use std::{sync::Arc, time::Duration};

/// The document.
#[derive(Debug, Clone, Default)]
pub(super) struct Document {
    pub is_dynamic: bool,
    /// Milliseconds since 1970.
    pub availability_start: Option<i64>,
    pub duration: Option<Duration>,
    pub minimum_update: Option<Duration>,
    pub time_shift: Option<Duration>,
    /// `suggestedPresentationDelay`.
    pub delay: Option<Duration>,
    /// `Latency@target` of the service description.
    pub latency: Option<Duration>,
    pub location: Option<String>,
    pub steering: Option<ContentSteering>,
    pub places: Vec<Place>,
    /// In order of time.
    pub periods: Vec<Period>,
}

/// `ContentSteering`.
#[derive(Debug, Clone, Default)]
pub(super) struct ContentSteering {
    pub server: String,
    pub pathway: Option<String>,
    pub is_before_start: bool,
}

/// `BaseURL`.
#[derive(Debug, Clone, Default)]
pub(super) struct Place {
    /// `serviceLocation`, which steering calls a pathway.
    pub name: Option<String>,
    pub url: String,
    pub ahead: Ahead,
}

/// `availabilityTimeOffset`: how long before its end a segment may be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ahead {
    By(Duration),
    /// `INF`: all of them, always.
    Always,
}

impl Default for Ahead {
    fn default() -> Self {
        Self::By(Duration::ZERO)
    }
}

impl Ahead {
    pub(super) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::By(one), Self::By(other)) => Self::By(one.saturating_add(other)),
            _ => Self::Always,
        }
    }
}

#[derive(Debug, Clone, Default)]
pub(super) struct Period {
    /// As written, until the document is whole.
    pub said_start: Option<Duration>,
    pub start: Duration,
    /// `None` while it goes on.
    pub duration: Option<Duration>,
    pub places: Vec<Place>,
    pub sets: Vec<Set>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Set {
    pub kind: Kind,
    /// Its role is `main`.
    pub is_main: bool,
    pub places: Vec<Place>,
    pub representations: Vec<Representation>,
}

/// What an adaptation set is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Kind {
    /// Pictures, alone or with sound.
    Video,
    Audio,
    /// Subtitles, stills, trick modes: nothing that these viewers fetch.
    #[default]
    Other,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Representation {
    pub id: String,
    pub bandwidth: u64,
    pub resolution: Option<(u32, u32)>,
    pub codecs: Option<String>,
    /// In MP4, which plays only behind an init segment.
    pub is_mp4: bool,
    pub places: Vec<Place>,
    pub segments: Segments,
}

/// `SegmentTemplate`, `SegmentList` or `SegmentBase`, with what the levels above say where it does not.
#[derive(Debug, Clone, Default)]
pub(super) struct Segments {
    pub form: Option<Form>,
    /// Ticks a second.
    pub timescale: Option<u64>,
    /// `presentationTimeOffset`, in ticks.
    pub offset: Option<u64>,
    /// Of each segment, in ticks.
    pub duration: Option<u64>,
    pub start_number: Option<u64>,
    pub end_number: Option<u64>,
    pub ahead: Option<Ahead>,
    pub timeline: Option<Arc<[Run]>>,
    /// `media` of a template.
    pub media: Option<Arc<str>>,
    /// `initialization` of a template.
    pub init_template: Option<Arc<str>>,
    /// The element `Initialization`.
    pub init: Option<Arc<Piece>>,
    /// The elements `SegmentURL`.
    pub urls: Option<Arc<[Piece]>>,
    /// `indexRange`: first and last byte.
    pub index_range: Option<(u64, u64)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Template,
    List,
    Base,
}

/// `S`: one segment and how often it is repeated; less than nothing is until the next run or the end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    pub start: Option<u64>,
    pub duration: u64,
    pub repeat: i64,
}

/// A URL, the base itself when there is none, and its first and last byte.
#[derive(Debug, Clone, Default)]
pub(super) struct Piece {
    pub url: Option<String>,
    pub range: Option<(u64, u64)>,
}

impl Segments {
    /// With what the level above says. Another form takes nothing over.
    pub(super) fn over(self, above: &Self) -> Self {
        if self.form.is_some() && above.form.is_some() && self.form != above.form {
            return self;
        }
        let above = above.clone();
        Self {
            form: self.form.or(above.form),
            timescale: self.timescale.or(above.timescale),
            offset: self.offset.or(above.offset),
            duration: self.duration.or(above.duration),
            start_number: self.start_number.or(above.start_number),
            end_number: self.end_number.or(above.end_number),
            ahead: self.ahead.or(above.ahead),
            timeline: self.timeline.or(above.timeline),
            media: self.media.or(above.media),
            init_template: self.init_template.or(above.init_template),
            init: self.init.or(above.init),
            urls: self.urls.or(above.urls),
            index_range: self.index_range.or(above.index_range),
        }
    }
}
