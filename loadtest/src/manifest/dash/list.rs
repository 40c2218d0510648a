//! The segments of one representation at one time, over all periods.

use std::time::Duration;

use super::{
    super::{
        Object, Segment, SegmentList, ServerControl,
        error::{self, Fault},
        limit,
        reference::References,
    },
    Mpd,
    model::{Ahead, Form, Kind, Period, Representation, Set},
    tick::{add_millis, millis},
    timeline::{self, Span},
    view::View,
};

/// A representation in a period.
type Chosen<'a> = (&'a Period, &'a Set, &'a Representation);

/// Where lists come from.
pub(super) struct Source<'a> {
    mpd: &'a Mpd,
    pathway: Option<&'a str>,
    now_unix_ms: i64,
}

impl<'a> Source<'a> {
    pub(super) fn new(mpd: &'a Mpd, pathway: Option<&'a str>, now_unix_ms: i64) -> Self {
        Self { mpd, pathway, now_unix_ms }
    }

    pub(super) fn list(&self, id: &str) -> Result<SegmentList, Fault> {
        let document = &self.mpd.document;
        let chosen = self.chosen(id)?;
        let mut list = SegmentList {
            segments: match document.is_dynamic {
                true => self.live(&chosen)?,
                false => self.whole(&chosen)?,
            },
            is_ended: !document.is_dynamic || self.is_over(),
            server_control: ServerControl {
                hold_back: document.latency.or(document.delay),
                ..ServerControl::default()
            },
            next_unix_ms: self.next(&chosen)?,
            ..SegmentList::default()
        };
        let longest = list.segments.iter().map(|segment| segment.duration).max();
        list.target_duration = longest.unwrap_or(Duration::from_secs(1));
        list.media_sequence = list.segments.first().map_or(0, |segment| segment.number);
        list.minimum_update = document.minimum_update.filter(|_| document.is_dynamic).map(
            // None at all means with every segment.
            |update| if update.is_zero() { list.target_duration } else { update },
        );
        Ok(list)
    }

    /// The first index that is not known yet.
    pub(super) fn missing_index(&self, id: &str) -> Result<Option<Object>, Fault> {
        for chosen in self.chosen(id)? {
            let view = self.view(chosen)?;
            if view.representation.segments.form == Some(Form::Base) {
                let object = view.index_object()?;
                if !self.mpd.indexes.contains_key(&object) {
                    return Ok(Some(object));
                }
            }
        }
        Ok(None)
    }

    /// The representation in each period: by its name, else the nearest of its kind.
    fn chosen(&self, id: &str) -> Result<Vec<Chosen<'a>>, Fault> {
        let members = |period: &'a Period| {
            period.sets.iter().flat_map(|set| set.representations.iter().map(move |one| (set, one)))
        };
        let named = |period: &'a Period| members(period).find(|(_, one)| one.id == id);
        let periods = &self.mpd.document.periods;
        let (set, model) = periods
            .iter()
            .find_map(named)
            .ok_or_else(|| Fault::UnknownRepresentation(error::excerpt(id)))?;
        let (kind, bandwidth): (Kind, u64) = (set.kind, model.bandwidth);
        let nearest = |period: &'a Period| {
            let alike = members(period).filter(|(set, _)| set.kind == kind);
            alike.min_by_key(|(_, one)| one.bandwidth.abs_diff(bandwidth))
        };
        let chosen = periods.iter().filter_map(|period| {
            let (set, one) = named(period).or_else(|| nearest(period))?;
            Some((period, set, one))
        });
        Ok(chosen.collect())
    }

    /// All segments, numbered on from those of the first period.
    fn whole(&self, chosen: &[Chosen<'_>]) -> Result<Vec<Segment>, Fault> {
        let mut segments = Vec::new();
        let mut references = References::new(&self.mpd.url);
        let first = chosen.first().and_then(|(_, _, one)| one.segments.start_number).unwrap_or(1);
        for (sequence, chosen) in (0..).zip(chosen) {
            let view = self.view(*chosen)?;
            let spans = view.spans()?;
            let room = limit::MAX_SEGMENTS - segments.len();
            if timeline::count(&spans) > room as u64 {
                return Err(Fault::too_many("segments", limit::MAX_SEGMENTS));
            }
            view.fill(&spans, sequence, &mut references, &mut segments)?;
        }
        for (number, segment) in (first..).zip(&mut segments) {
            segment.number = number;
        }
        Ok(segments)
    }

    /// The segments of the window, those nearest to the edge if there are too many.
    fn live(&self, chosen: &[Chosen<'_>]) -> Result<Vec<Segment>, Fault> {
        let mut newest_first: Vec<Vec<Segment>> = Vec::new();
        let mut references = References::new(&self.mpd.url);
        let mut room = limit::MAX_LIVE_SEGMENTS as u64;
        let mut window = None;
        for chosen in chosen.iter().rev() {
            let view = self.view(*chosen)?;
            let start = view.period.start;
            let mut spans = view.spans()?;
            let Some(last) = spans.last() else { continue };
            let newest = start.saturating_add(view.since_begin(last.end()));
            let from = *window.get_or_insert_with(|| {
                newest.saturating_sub(self.mpd.document.time_shift.unwrap_or(Duration::MAX))
            });
            timeline::clip(&mut spans, view.tick_after(from.saturating_sub(start)), None);
            timeline::keep_newest(&mut spans, room);
            room -= timeline::count(&spans);
            if spans.is_empty() {
                break;
            }
            let mut segments = Vec::new();
            view.fill(&spans, millis(start), &mut references, &mut segments)?;
            newest_first.push(segments);
        }
        let mut segments: Vec<Segment> = newest_first.into_iter().rev().flatten().collect();
        let mut next = 0;
        for segment in &mut segments {
            segment.number = segment.number.max(next);
            next = segment.number + 1;
        }
        Ok(segments)
    }

    /// Live: all that will be is there.
    fn is_over(&self) -> bool {
        let document = &self.mpd.document;
        let last = document.periods.last();
        let end = last.and_then(|last| last.start.checked_add(last.duration?));
        let end = end.zip(document.availability_start);
        document.minimum_update.is_none()
            && end.is_some_and(|(end, start)| self.now_unix_ms >= add_millis(start, end))
    }

    /// When the next of equal segments comes.
    fn next(&self, chosen: &[Chosen<'_>]) -> Result<Option<i64>, Fault> {
        let Some(chosen) = chosen.last() else { return Ok(None) };
        let view = self.view(*chosen)?;
        let segments = &view.representation.segments;
        let (Some(duration), None, Some(begin)) =
            (segments.duration, &segments.timeline, view.begin_unix_ms)
        else {
            return Ok(None);
        };
        let made = timeline::of_duration(duration, view.bounds)?;
        let begin_next = made.last().map_or(view.bounds.begin, Span::end);
        if view.bounds.end.is_some_and(|end| begin_next >= end) {
            return Ok(None);
        }
        let end_next = add_millis(begin, view.since_begin(begin_next.saturating_add(duration)));
        let ahead = match view.ahead {
            Ahead::By(ahead) => i64::try_from(ahead.as_millis()).unwrap_or(i64::MAX),
            Ahead::Always => 0,
        };
        // Rounded up, since a fraction before it is too early.
        Ok(Some(end_next.saturating_sub(ahead).saturating_add(1)))
    }

    fn view<'b>(&self, chosen: Chosen<'b>) -> Result<View<'b>, Fault>
    where
        'a: 'b,
    {
        View::new(self.mpd, chosen, self.pathway, self.now_unix_ms)
    }
}
