//! One track of a video while it plays: which rendition it takes, what its playlist says, what is being fetched, and
//! what is buffered. The main track is the picture, or all there is; the other one is alternate audio.
//!
//! Invariant: at most one object is fetched for a track at a time, and what was pushed into the buffer ends where the
//! next object begins.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use url::Url;

use super::{
    buffer::{Buffer, Chunk},
    documents::Media,
    event::FetchId,
    timeline::{Item, Timeline},
};
use crate::manifest::{Object, SegmentList};

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Main,
    Audio,
}

/// The state of a track.
#[derive(Debug, Default)]
pub(super) struct Track {
    /// Its place among the presentation's variants or audio renditions.
    pub(super) source: usize,
    pub(super) list: Option<List>,
    /// Lists of other renditions that cannot change any more.
    pub(super) others: Vec<(usize, List)>,
    /// The last list of another rendition, for placing the first one of this.
    pub(super) before: Option<List>,
    pub(super) document: Document,
    /// A first list that came before that of the main track, by which it is placed.
    pub(super) unplaced: Option<Media>,
    /// Init segments that were fetched.
    pub(super) inits: VecDeque<Object>,
    /// Keys that were fetched.
    pub(super) keys: VecDeque<Object>,
    /// Where the next object begins, on the media's axis.
    pub(super) next: Duration,
    pub(super) loading: Option<Loading>,
    /// A hinted part that came before the playlist named it.
    pub(super) hinted: Option<(Object, u64)>,
    /// A hint that could not be had.
    pub(super) refused_hint: Option<Object>,
    pub(super) buffer: Buffer,
    /// Everything up to the end was fetched.
    pub(super) is_complete: bool,
    /// The rendition of the next segment is decided.
    pub(super) is_chosen: bool,
    pub(super) retry_at: Option<Duration>,
    pub(super) failures: u32,
    /// Media objects that came.
    pub(super) fetched: u32,
    /// The buffer ran out since the last request.
    pub(super) was_starved: bool,
    /// Bytes of downloads that were given up or of no use.
    pub(super) lost_bytes: u64,
    /// How many bytes a second of media the last whole segment had, and of which source it was.
    pub(super) bytes_per_second: Option<(usize, f64)>,
}

/// A timeline at its place on the media's axis.
#[derive(Debug, Clone)]
pub(super) struct List {
    pub(super) timeline: Arc<Timeline>,
    /// Where its beginning lies.
    pub(super) origin: Duration,
    /// For delta updates.
    pub(super) whole: Option<Arc<SegmentList>>,
}

/// The fetches of a document that may be asked for again.
#[derive(Debug, Default)]
pub(super) struct Document {
    pub(super) pending: Option<FetchId>,
    /// What was asked for, without what the player adds.
    pub(super) url: Option<Url>,
    pub(super) asked_at: Duration,
    pub(super) loaded_at: Duration,
    /// DASH: what is asked for is this segment index.
    pub(super) index: Option<Object>,
    pub(super) due: Option<Duration>,
    pub(super) failures: u32,
}

/// A media object that is under way.
#[derive(Debug)]
pub(super) struct Loading {
    pub(super) id: FetchId,
    pub(super) what: What,
    /// The source it belongs to.
    pub(super) source: usize,
    pub(super) start: Duration,
    pub(super) duration: Duration,
    pub(super) asked_at: Duration,
    pub(super) bytes: u64,
    pub(super) first_byte: Option<Duration>,
    /// When it is looked at again whether it comes in time.
    pub(super) check_at: Option<Duration>,
    /// When it is given up for another source.
    pub(super) abandon: Option<(Duration, usize)>,
    /// There when it is asked for while it is made.
    pub(super) growth: Option<Growth>,
}

/// What of a segment that is being made is in the buffer already.
#[derive(Debug, Clone, Copy)]
pub(super) struct Growth {
    /// How many bytes a second of it is thought to have.
    pub(super) bytes_per_second: f64,
    pub(super) pushed: Duration,
    pub(super) pushed_bytes: u64,
    /// The link was measured by it.
    pub(super) is_sampled: bool,
}

/// What is under way.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum What {
    Init(Object),
    Key(Object),
    Segment,
    Part,
    /// A part that the server said would come; what it is, the playlist will tell.
    Hint(Object),
}

impl Track {
    /// Whether this init segment has to be fetched.
    pub(super) fn needs(&self, init: Option<&Object>) -> bool {
        init.is_some_and(|init| !self.inits.contains(init))
    }

    /// Whether this key has to be fetched.
    pub(super) fn needs_key(&self, key: Option<&Object>) -> bool {
        key.is_some_and(|key| !self.keys.contains(key))
    }

    /// An init segment came.
    pub(super) fn keep_init(&mut self, init: Object) {
        keep(&mut self.inits, init, INITS_MAX);
    }

    /// A key came.
    pub(super) fn keep_key(&mut self, key: Object) {
        keep(&mut self.keys, key, KEYS_MAX);
    }

    /// What is to be fetched next; `None` when it is not there yet or nothing more comes.
    pub(super) fn next_item(&self, takes_parts: bool) -> Option<Item> {
        let list = self.list.as_ref()?;
        let at = self.next.checked_sub(list.origin)?;
        list.timeline.item(list.timeline.find(at, takes_parts)?)
    }

    /// Whether there is something to be fetched next.
    pub(super) fn has_next(&self, takes_parts: bool) -> bool {
        let found = self
            .list
            .as_ref()
            .and_then(|list| list.timeline.find(self.next.checked_sub(list.origin)?, takes_parts));
        found.is_some()
    }

    /// Media came, or is known not to come.
    pub(super) fn push(&mut self, start: Duration, duration: Duration, bytes: u64, bitrate: u64) {
        let (start, end) = (start.max(self.next_start()), start + duration);
        self.fill_to(start);
        if end > start {
            let played = Duration::ZERO;
            self.buffer.push(Chunk { start, end, bytes, bitrate, is_gap: false, played });
            self.next = end;
        } else {
            self.lost_bytes += bytes;
        }
    }

    /// There is nothing until then.
    pub(super) fn fill_to(&mut self, to: Duration) {
        if to > self.next {
            self.buffer.push(Chunk::gap(self.next, to));
            self.next = to;
        }
    }

    /// Begins anew at another place.
    pub(super) fn move_to(&mut self, position: Duration) {
        self.buffer.clear();
        self.next = position;
        self.is_complete = false;
        self.is_chosen = false;
        self.retry_at = None;
        self.failures = 0;
        if let Some((_, bytes)) = self.hinted.take() {
            self.lost_bytes += bytes;
        }
    }

    /// Takes another rendition from the next object on. Answers the fetch of a playlist that does not matter any more.
    pub(super) fn switch(&mut self, source: usize, now: Duration) -> Option<FetchId> {
        let list = self.list.take();
        if let Some(list) = list {
            if list.timeline.is_ended {
                self.others.retain(|(of, _)| *of != self.source);
                self.others.push((self.source, list.clone()));
            }
            self.before = Some(list);
        }
        self.source = source;
        self.list = self.others.iter().find(|(of, _)| *of == source).map(|(_, list)| list.clone());
        if let Some((_, bytes)) = self.hinted.take() {
            self.lost_bytes += bytes;
        }
        let pending = self.document.pending.take();
        let due = self.list.is_none().then_some(now);
        self.document = Document { due, ..Document::default() };
        pending
    }

    /// Takes what is under way out; what came of it so far is lost.
    pub(super) fn give_up(&mut self) -> Option<FetchId> {
        let loading = self.loading.take()?;
        let pushed = loading.growth.map_or(0, |growth| growth.pushed_bytes);
        self.lost_bytes += loading.bytes.saturating_sub(pushed);
        self.is_chosen = false;
        Some(loading.id)
    }

    /// Bytes that came and were of no use, when nothing more is played.
    pub(super) fn wasted_bytes(&mut self) -> u64 {
        self.give_up();
        self.buffer.clear();
        let hinted = self.hinted.take().map_or(0, |(_, bytes)| bytes);
        self.buffer.wasted_bytes() + self.lost_bytes + hinted
    }

    /// Segments of two renditions end a little apart; what was played already does not come again.
    fn next_start(&self) -> Duration {
        if self.buffer.end().is_some() { self.next } else { Duration::ZERO }
    }
}

impl List {
    /// Where it ends on the media's axis.
    pub(super) fn end(&self) -> Duration {
        self.origin + self.timeline.duration()
    }

    /// A later version of this list, or one of another rendition of the same content, at its place: by segment numbers
    /// if it is the same rendition, by dates if both have them, else by numbers, else end to end.
    pub(super) fn place(&self, timeline: &Timeline, is_same_rendition: bool) -> Duration {
        let by_date = || {
            let (mine, its) = (self.timeline.clock?, timeline.clock?);
            let ahead = Duration::from_millis(its.abs_diff(mine));
            if its >= mine { Some(self.origin + ahead) } else { self.origin.checked_sub(ahead) }
        };
        let by_number = || {
            let number = self.timeline.numbers().0.max(timeline.numbers().0);
            let mine = self.timeline.start_of(number)?;
            (self.origin + mine).checked_sub(timeline.start_of(number)?)
        };
        let placed = if is_same_rendition {
            by_number().or_else(by_date)
        } else {
            by_date().or_else(by_number)
        };
        let placed = placed.unwrap_or_else(|| {
            if is_same_rendition {
                // All of it is new: it goes on where the one before ended.
                self.end()
            } else {
                self.end().saturating_sub(timeline.duration())
            }
        });
        placed.min(AXIS_MAX)
    }
}

fn keep(kept: &mut VecDeque<Object>, object: Object, most: usize) {
    if kept.len() >= most {
        kept.pop_front();
    }
    kept.push_back(object);
}

/// Where the media's axis ends: after the year 30,000. Dates that jump about lead nowhere beyond.
const AXIS_MAX: Duration = Duration::from_secs(1_000_000_000_000);
/// Init segments that a player keeps; it has one for each rendition, and after discontinuities.
const INITS_MAX: usize = 64;
/// Keys that a player keeps: those of a stream that changes them now and then.
const KEYS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Segment;

    #[test]
    fn lists_are_placed_by_number_by_date_or_end_to_end() {
        let list = |first, count, date| Arc::new(timeline(first, count, date));
        let mine = List { timeline: list(10, 4, Some(50_000)), origin: secs(100), whole: None };
        // First number, date at the beginning, same rendition; then the origin.
        let table = [
            (12, Some(58_000), true, 108),
            (12, Some(99_000), true, 108), // numbers are surer within a rendition
            (12, Some(57_000), false, 107),
            (12, None, false, 108),
            (20, Some(90_000), true, 140),
            (20, None, true, 116),
            (90, None, false, 100),
            (9, None, true, 96),
        ];
        for (first, date, is_same, want) in table {
            let placed = mine.place(&timeline(first, 4, date), is_same);
            assert_eq!(placed, secs(want), "{first} {date:?} {is_same}");
        }
    }

    #[test]
    fn what_is_pushed_touches_what_was_there() {
        let mut track = Track::default();
        track.push(secs(0), secs(4), 10, 1);
        track.push(Duration::from_millis(3_990), secs(4), 10, 1); // overlaps a little
        assert_eq!(
            (track.next, track.buffer.end()),
            (Duration::from_millis(7_990), Some(Duration::from_millis(7_990)))
        );
        track.push(secs(9), secs(1), 10, 1); // a hole
        assert_eq!(track.buffer.ahead(secs(0)), Duration::from_millis(8_990));
        track.push(secs(2), secs(1), 7, 1); // behind
        assert_eq!((track.next, track.lost_bytes), (secs(10), 7));
        track.move_to(secs(20));
        assert_eq!(track.buffer.end(), None);
        track.push(secs(19), secs(4), 10, 1);
        assert_eq!(track.buffer.ahead(secs(20)), secs(3), "a seek lands inside of a segment");
        assert_eq!(track.wasted_bytes(), 47);
    }

    #[test]
    fn a_switch_keeps_lists_that_cannot_change() {
        let mut ended = timeline(0, 2, None);
        ended.is_ended = true;
        let list = |timeline| List { timeline: Arc::new(timeline), origin: secs(0), whole: None };
        let mut track = Track { list: Some(list(ended)), ..Track::default() };
        track.switch(1, secs(5));
        assert!(track.list.is_none() && track.document.due == Some(secs(5)));
        track.list = Some(list(timeline(0, 2, None)));
        track.switch(0, secs(6));
        assert!(track.list.is_some() && track.document.due.is_none());
        track.switch(1, secs(7));
        assert!(track.list.is_none(), "a live list is asked for anew");
    }

    fn timeline(first: u64, count: u64, date: Option<i64>) -> Timeline {
        let segment = |index| Segment {
            number: first + index,
            discontinuity_sequence: 0,
            object: Some(Object { url: Url::parse("https://a.example/s").unwrap(), range: None }),
            duration: secs(4),
            init: None,
            key: None,
            parts: Vec::new(),
            program_date_time: date.filter(|_| index == 0),
            is_gap: false,
        };
        Timeline::of(&SegmentList {
            segments: (0..count).map(segment).collect(),
            ..SegmentList::default()
        })
    }

    fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }
}
