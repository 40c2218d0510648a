//! One representation in one period: its times, and its segments out of them.

use std::{sync::Arc, time::Duration};

use url::Url;

use super::{
    super::{Object, Segment, error::Fault, limit, reference::References},
    Mpd,
    index::Index,
    model::{Ahead, Form, Period, Representation, Set},
    object::{Objects, init},
    place,
    tick::{self, add_millis, millis},
    timeline::{self, Bounds, Span},
};

/// A representation in a period, and what its segments are counted by.
pub(super) struct View<'a> {
    pub period: &'a Period,
    pub representation: &'a Representation,
    pub base: Url,
    pub bounds: Bounds,
    /// Milliseconds since 1970 of the beginning of the period; live only.
    pub begin_unix_ms: Option<i64>,
    pub ahead: Ahead,
    timescale: u64,
    /// Of a `SegmentBase`, once it was read.
    index: Option<&'a Index>,
}

impl<'a> View<'a> {
    pub(super) fn new(
        mpd: &'a Mpd,
        (period, set, representation): (&'a Period, &Set, &'a Representation),
        pathway: Option<&str>,
        now_unix_ms: i64,
    ) -> Result<Self, Fault> {
        let document = &mpd.document;
        let levels = (period, set, representation);
        let (base, ahead) = place::base(&mpd.url, document, levels, pathway)?;
        let segments = &representation.segments;
        let mut view = Self {
            period,
            representation,
            base,
            bounds: Bounds { begin: segments.offset.unwrap_or(0), end: None, edge: None },
            begin_unix_ms: document
                .availability_start
                .filter(|_| document.is_dynamic)
                .map(|start| add_millis(start, period.start)),
            ahead: ahead.and(segments.ahead.unwrap_or_default()),
            timescale: segments.timescale.unwrap_or(1),
            index: None,
        };
        if segments.form == Some(Form::Base) {
            view.index = mpd.indexes.get(&view.index_object()?).map(Arc::as_ref);
        }
        // The file knows its own timescale better.
        if let Some(index) = view.index {
            let begin = view.bounds.begin;
            view.bounds.begin = tick::rescale(begin, view.timescale, index.timescale);
            view.timescale = index.timescale;
        }
        view.bounds.end = period.duration.map(|duration| view.tick_after(duration));
        view.bounds.edge = view.begin_unix_ms.map(|begin| view.edge(now_unix_ms, begin));
        Ok(view)
    }

    /// The time of the media up to which segments may be asked for.
    fn edge(&self, now_unix_ms: i64, begin_unix_ms: i64) -> u64 {
        let elapsed = u64::try_from(now_unix_ms.saturating_sub(begin_unix_ms));
        match (elapsed.map(Duration::from_millis), self.ahead, self.bounds.end) {
            (_, Ahead::Always, Some(end)) => end,
            (Ok(elapsed), Ahead::By(ahead), _) => self.tick_after(elapsed.saturating_add(ahead)),
            (Ok(elapsed), Ahead::Always, None) => self.tick_after(elapsed),
            (Err(_), _, _) => self.bounds.begin,
        }
    }

    /// Which segments there are.
    pub(super) fn spans(&self) -> Result<Vec<Span>, Fault> {
        let segments = &self.representation.segments;
        let bounds = self.bounds;
        let mut spans = match (segments.form, &segments.timeline, segments.duration) {
            (Some(Form::Base), _, _) => self.index.ok_or(Fault::NeedsIndex)?.spans(),
            (_, Some(runs), _) => timeline::of_runs(runs, bounds)?,
            (_, None, Some(duration)) => timeline::of_duration(duration, bounds)?,
            // One segment is the whole period.
            (_, None, None) => {
                let end = bounds.end.ok_or(Fault::Missing("the duration of segments"))?;
                timeline::of_duration((end - bounds.begin).max(1), bounds)?
            }
        };
        if let Some(last) = segments.end_number {
            let first = segments.start_number.unwrap_or(1);
            timeline::keep_oldest(&mut spans, (last + 1).saturating_sub(first));
        }
        if let (Some(Form::List), Some(urls)) = (segments.form, &segments.urls) {
            timeline::keep_oldest(&mut spans, urls.len() as u64);
        }
        timeline::clip(&mut spans, bounds.begin, bounds.end);
        Ok(spans)
    }

    /// Adds the segments of these spans.
    pub(super) fn fill(
        &self,
        spans: &[Span],
        discontinuity_sequence: u64,
        references: &mut References<'_>,
        out: &mut Vec<Segment>,
    ) -> Result<(), Fault> {
        let objects = Objects::of(self, self.index)?;
        let init = init(self, references)?;
        for span in spans {
            for k in 0..span.count {
                let start = span.start.saturating_add(span.duration.saturating_mul(k));
                let begin = self.since_begin(start);
                let object = objects.object(span.first.saturating_add(k), start, references)?;
                out.push(Segment {
                    number: millis(self.period.start.saturating_add(begin)),
                    discontinuity_sequence,
                    object: Some(object),
                    duration: self.duration(start, start.saturating_add(span.duration))?,
                    init: init.as_ref().map(|init| references.copy(init)).transpose()?,
                    key: None,
                    parts: Vec::new(),
                    program_date_time: self.date(start),
                    is_gap: false,
                });
            }
        }
        Ok(())
    }

    /// The index of a `SegmentBase`.
    pub(super) fn index_object(&self) -> Result<Object, Fault> {
        let range = self.representation.segments.index_range;
        let (first, last) = range.ok_or(Fault::Missing("indexRange of a SegmentBase"))?;
        let length = last - first + 1;
        if length > limit::MAX_INDEX_BYTES as u64 {
            return Err(Fault::too_many("bytes of an index", limit::MAX_INDEX_BYTES));
        }
        Ok(Object { url: self.base.clone(), range: Some((first, Some(length))) })
    }

    /// From the beginning of the period to a time of the media.
    pub(super) fn since_begin(&self, tick: u64) -> Duration {
        tick::time(tick.saturating_sub(self.bounds.begin), self.timescale)
    }

    /// The time of the media so long after the beginning of the period.
    pub(super) fn tick_after(&self, time: Duration) -> u64 {
        self.bounds.begin.saturating_add(tick::of_time(time, self.timescale))
    }

    /// Of the difference, so that the durations of all add up. Equal segments end with their period.
    fn duration(&self, start: u64, end: u64) -> Result<Duration, Fault> {
        let is_equal = self.representation.segments.timeline.is_none();
        let end = self.bounds.end.filter(|bound| is_equal && *bound < end).unwrap_or(end);
        let duration =
            tick::time(end, self.timescale).saturating_sub(tick::time(start, self.timescale));
        if duration.is_zero() || duration.as_secs() > limit::MAX_SEGMENT_SECONDS {
            return Err(Fault::invalid("the duration of a segment", &format!("{duration:?}")));
        }
        Ok(duration)
    }

    /// When a segment begins, also one that begins a little before its period.
    fn date(&self, start: u64) -> Option<i64> {
        let early = tick::time(self.bounds.begin.saturating_sub(start), self.timescale);
        let date = add_millis(self.begin_unix_ms?, self.since_begin(start));
        Some(date.saturating_sub_unsigned(millis(early)))
    }
}
