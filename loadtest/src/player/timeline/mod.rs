//! The segments of one rendition with their times, small enough to keep one for each of thousands of players.
//!
//! A parsed list has whole URLs; here the part that they share is kept once, so that a segment takes some tens of bytes.
//! Times are from the beginning of the list. Invariant: starts never fall, and every object that is handed out is one
//! that the list named.

use std::time::Duration;

use url::Url;

use crate::manifest::{Object, Part, Segment, SegmentList, ServerControl, Start};

/// What a media playlist, or an MPD for one representation, says now.
#[derive(Debug, Clone, Default)]
pub(super) struct Timeline {
    /// What the URLs of all segments and parts begin with.
    shared: String,
    /// What they go on with, one after the other.
    rests: String,
    cells: Vec<Cell>,
    parts: Vec<PartCell>,
    ranges: Vec<(u64, Option<u64>)>,
    inits: Vec<Object>,
    keys: Vec<Object>,
    first_number: u64,
    end_us: u64,
    pub(super) is_ended: bool,
    pub(super) target_duration: Duration,
    pub(super) part_target: Option<Duration>,
    pub(super) server_control: ServerControl,
    pub(super) hint: Option<Part>,
    /// Where the one who made it wants viewers to begin.
    pub(super) begin: Option<Start>,
    /// DASH: how long the MPD serves, and when a template's next segment comes (milliseconds since 1970).
    pub(super) minimum_update: Option<Duration>,
    pub(super) next_unix_ms: Option<i64>,
    /// Milliseconds since 1970 at the list's beginning, by the last date that it names.
    pub(super) clock: Option<i64>,
}

#[derive(Debug, Clone, Copy)]
struct Cell {
    start_us: u64,
    number: u32,
    /// Where its URL's rest lies.
    rest: (u32, u32),
    range: u32,
    init: u32,
    key: u32,
    /// Where its parts begin; they end where those of the next cell begin.
    parts: u32,
    has_object: bool,
    is_gap: bool,
}

#[derive(Debug, Clone, Copy)]
struct PartCell {
    start_us: u64,
    end_us: u64,
    rest: (u32, u32),
    range: u32,
    is_independent: bool,
    is_gap: bool,
}

/// A segment or a part of one, by its place in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Spot {
    segment: usize,
    pub(super) part: Option<usize>,
}

/// What is to be fetched for a place in time.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Item {
    pub(super) number: u64,
    pub(super) part: Option<u32>,
    pub(super) object: Object,
    pub(super) init: Option<Object>,
    pub(super) key: Option<Object>,
    /// From the beginning of the list.
    pub(super) start: Duration,
    pub(super) duration: Duration,
    pub(super) is_gap: bool,
    /// Playing can begin with it.
    pub(super) is_independent: bool,
}

impl Timeline {
    /// The same as the list says, smaller. URLs that do not read back, which no parser makes, leave a gap.
    pub(super) fn of(list: &SegmentList) -> Self {
        let mut timeline = Self {
            shared: shared_beginning(list),
            first_number: list
                .segments
                .first()
                .map_or(list.media_sequence, |segment| segment.number),
            is_ended: list.is_ended,
            target_duration: list.target_duration,
            part_target: list.part_target,
            server_control: list.server_control,
            hint: list.preload_hint.clone(),
            begin: list.start,
            minimum_update: list.minimum_update,
            next_unix_ms: list.next_unix_ms,
            ..Self::default()
        };
        timeline.cells.reserve_exact(list.segments.len());
        let mut at = Duration::ZERO;
        for segment in &list.segments {
            if let Some(date) = segment.program_date_time {
                timeline.clock = Some(date.saturating_sub(at.as_millis() as i64));
            }
            timeline.add(segment, at);
            at += length(segment);
        }
        timeline.end_us = at.as_micros() as u64;
        timeline.rests.shrink_to_fit();
        timeline
    }

    /// The length of all of it.
    pub(super) fn duration(&self) -> Duration {
        Duration::from_micros(self.end_us)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    /// The mean length of a whole segment; `None` without segments.
    pub(super) fn mean_segment(&self) -> Option<Duration> {
        let whole = self.cells.iter().filter(|cell| cell.has_object).count();
        let end = self.cells.iter().position(|cell| !cell.has_object);
        let end_us = end.map_or(self.end_us, |at| self.cells[at].start_us);
        (whole > 0).then(|| Duration::from_micros(end_us / whole as u64))
    }

    /// Where a segment with this number begins.
    pub(super) fn start_of(&self, number: u64) -> Option<Duration> {
        let index = self.cells.partition_point(|cell| self.number(cell) < number);
        let cell = self.cells.get(index).filter(|cell| self.number(cell) == number)?;
        Some(Duration::from_micros(cell.start_us))
    }

    /// The numbers of the first segment and of the one after the last.
    pub(super) fn numbers(&self) -> (u64, u64) {
        let last = self.cells.last().map(|cell| self.number(cell).saturating_add(1));
        (self.first_number, last.unwrap_or(self.first_number))
    }

    /// What is to be fetched to play from this time on: a whole segment at its beginning, parts in the middle of one
    /// and where there is no whole one yet. A time that is almost the end of one means the next. `None` when that is
    /// not there yet.
    pub(super) fn find(&self, at: Duration, takes_parts: bool) -> Option<Spot> {
        let at_us = at.as_micros() as u64;
        let mut index = self.cells.partition_point(|cell| cell.start_us <= at_us).checked_sub(1)?;
        if at_us >= near_end(self.cells[index].start_us, self.cell_end_us(index)) {
            index += 1;
        }
        let cell = self.cells.get(index)?;
        let whole = cell.has_object.then_some(Spot { segment: index, part: None });
        if !takes_parts || (at_us <= cell.start_us && whole.is_some()) {
            return whole;
        }
        let (from, to) = self.parts_of(index);
        let inside = self.parts[from..to]
            .iter()
            .position(|part| at_us < near_end(part.start_us, part.end_us));
        inside.map(|part| Spot { segment: index, part: Some(part) }).or(whole)
    }

    /// The independent part or segment at or before this time where playing at the live edge may begin.
    pub(super) fn find_start(&self, at: Duration) -> Option<Spot> {
        let at_us = at.as_micros() as u64;
        let segment = self.cells.partition_point(|cell| cell.start_us <= at_us).checked_sub(1)?;
        let (from, to) = self.parts_of(segment);
        let parts = &self.parts[from..to];
        let before = parts.partition_point(|part| part.start_us <= at_us);
        let part = (0..before).rev().find(|part| parts[*part].is_independent);
        let whole = self.cells[segment].has_object;
        // The first part of a segment begins it; the whole one is as good then.
        match part {
            Some(0) | None if whole => Some(Spot { segment, part: None }),
            None => None,
            part => Some(Spot { segment, part }),
        }
    }

    /// What is at this place; `None` if its URL does not read back.
    pub(super) fn item(&self, spot: Spot) -> Option<Item> {
        let cell = self.cells.get(spot.segment)?;
        let init = self.inits.get(cell.init as usize).cloned();
        let key = self.keys.get(cell.key as usize).cloned();
        let number = self.number(cell);
        let whole = PartCell {
            start_us: cell.start_us,
            end_us: self.cell_end_us(spot.segment),
            rest: cell.rest,
            range: cell.range,
            is_independent: true,
            is_gap: cell.is_gap,
        };
        let piece = match spot.part {
            None => whole,
            Some(part) => *self.parts.get(self.parts_of(spot.segment).0 + part)?,
        };
        Some(Item {
            number,
            part: spot.part.map(|part| part as u32),
            object: self.object(piece.rest, piece.range)?,
            init,
            key,
            start: Duration::from_micros(piece.start_us),
            duration: Duration::from_micros(piece.end_us - piece.start_us),
            is_gap: cell.is_gap || piece.is_gap,
            is_independent: piece.is_independent,
        })
    }

    /// Media sequence number and part that a blocking reload waits for: the next that is not there.
    pub(super) fn next_to_come(&self) -> (u64, Option<u32>) {
        let Some(last) = self.cells.last() else { return (self.first_number, None) };
        let number = self.number(last);
        let (from, to) = self.parts_of(self.cells.len() - 1);
        match (self.part_target, last.has_object) {
            (None, _) => (number.saturating_add(1), None),
            (Some(_), true) => (number.saturating_add(1), Some(0)),
            (Some(_), false) => (number, Some((to - from) as u32)),
        }
    }

    /// Whether both lists end with the same segment and part.
    pub(super) fn ends_like(&self, other: &Self) -> bool {
        self.is_ended == other.is_ended
            && self.numbers() == other.numbers()
            && self.next_to_come() == other.next_to_come()
    }

    fn add(&mut self, segment: &Segment, at: Duration) {
        let start_us = at.as_micros() as u64;
        let init = place(&mut self.inits, segment.init.as_ref());
        let key = place(&mut self.keys, segment.key.as_ref());
        let (rest, range) = match &segment.object {
            Some(object) => self.keep(object),
            None => ((0, 0), NONE),
        };
        let parts = self.parts.len() as u32;
        let mut part_at = at;
        for part in &segment.parts {
            let (rest, range) = self.keep(&part.object);
            let start_us = part_at.as_micros() as u64;
            part_at += part.duration;
            let end_us = part_at.as_micros() as u64;
            let (is_independent, is_gap) = (part.is_independent, part.is_gap);
            self.parts.push(PartCell { start_us, end_us, rest, range, is_independent, is_gap });
        }
        self.cells.push(Cell {
            start_us,
            number: u32::try_from(segment.number.saturating_sub(self.first_number))
                .unwrap_or(u32::MAX),
            rest,
            range,
            init,
            key,
            parts,
            has_object: segment.object.is_some(),
            is_gap: segment.is_gap,
        });
    }

    /// Keeps where an object is; the answer is for `object()`.
    fn keep(&mut self, object: &Object) -> ((u32, u32), u32) {
        let rest = object.url.as_str().strip_prefix(self.shared.as_str()).unwrap_or_default();
        let from = self.rests.len() as u32;
        self.rests.push_str(rest);
        let range = match object.range {
            None => NONE,
            Some(range) => {
                self.ranges.push(range);
                self.ranges.len() as u32 - 1
            }
        };
        ((from, self.rests.len() as u32), range)
    }

    fn object(&self, (from, to): (u32, u32), range: u32) -> Option<Object> {
        let rest = self.rests.get(from as usize..to as usize)?;
        let url = Url::parse(&[self.shared.as_str(), rest].concat()).ok()?;
        Some(Object { url, range: self.ranges.get(range as usize).copied() })
    }

    fn number(&self, cell: &Cell) -> u64 {
        self.first_number.saturating_add(u64::from(cell.number))
    }

    fn cell_end_us(&self, index: usize) -> u64 {
        self.cells.get(index + 1).map_or(self.end_us, |next| next.start_us)
    }

    fn parts_of(&self, index: usize) -> (usize, usize) {
        let from = self.cells[index].parts as usize;
        let to = self.cells.get(index + 1).map_or(self.parts.len(), |next| next.parts as usize);
        (from, to)
    }
}

/// Where an object stands that most often is that of the segment before.
fn place(all: &mut Vec<Object>, object: Option<&Object>) -> u32 {
    let Some(object) = object else { return NONE };
    if all.last() != Some(object) {
        all.push(object.clone());
    }
    all.len() as u32 - 1
}

/// How long a segment is; one that is still being made is as long as its parts.
fn length(segment: &Segment) -> Duration {
    match segment.object {
        Some(_) => segment.duration,
        None => segment.parts.iter().map(|part| part.duration).sum(),
    }
}

/// From here on a time means the next segment: players look a quarter second ahead, because renditions of one
/// content end a few milliseconds apart.
fn near_end(start_us: u64, end_us: u64) -> u64 {
    end_us - ((end_us - start_us) / 4).min(LOOK_AHEAD_US)
}

/// What all URLs of the list begin with.
fn shared_beginning(list: &SegmentList) -> String {
    let objects = list.segments.iter().flat_map(|segment| {
        segment.object.iter().chain(segment.parts.iter().map(|part| &part.object))
    });
    let mut urls = objects.map(|object| object.url.as_str());
    let mut shared = urls.next().unwrap_or_default();
    for url in urls {
        let same = shared.bytes().zip(url.bytes()).take_while(|(a, b)| a == b).count();
        // A serialised URL is ASCII, so every byte ends a character.
        shared = &shared[..same];
    }
    shared.to_owned()
}

const NONE: u32 = u32::MAX;
const LOOK_AHEAD_US: u64 = 250_000;

#[cfg(test)]
mod tests;
