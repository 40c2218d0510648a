//! Which segments there are by time: runs of a timeline, or equal ones counted by a duration. Arithmetic only, so that a
//! repetition of a billion costs as much as one of two.

use super::{
    super::{error::Fault, work},
    model::Run,
};

/// Segments of equal length one behind the other; times in ticks of the media.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    /// Counted from 0 in the period.
    pub first: u64,
    pub start: u64,
    pub duration: u64,
    pub count: u64,
}

/// Times of a period, in ticks of the media.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bounds {
    pub begin: u64,
    /// `None` while it goes on.
    pub end: Option<u64>,
    /// Live: segments that end up to here may be asked for.
    pub edge: Option<u64>,
}

impl Span {
    pub(super) fn end(&self) -> u64 {
        self.start.saturating_add(self.duration.saturating_mul(self.count))
    }

    /// Leaves out the first ones.
    fn behind(self, left_out: u64) -> Self {
        let left_out = left_out.min(self.count);
        Self {
            first: self.first.saturating_add(left_out),
            start: self.start.saturating_add(self.duration.saturating_mul(left_out)),
            count: self.count - left_out,
            ..self
        }
    }
}

/// The segments of a timeline. In a live one those that have begun count: it lists what the server has.
pub(super) fn of_runs(runs: &[Run], bounds: Bounds) -> Result<Vec<Span>, Fault> {
    work::add(runs.len());
    let mut spans: Vec<Span> = Vec::with_capacity(runs.len());
    let (mut clock, mut first, mut begun) = (0, 0_u64, 0);
    for (index, run) in runs.iter().enumerate() {
        let start = run.start.unwrap_or(clock);
        if start < begun {
            return Err(Fault::invalid(
                "t of S, before that of the run before",
                &start.to_string(),
            ));
        }
        let next = runs.get(index + 1).and_then(|next| next.start);
        let count = match u64::try_from(run.repeat) {
            Ok(repeat) => repeat.saturating_add(1),
            Err(_) => open_count(start, run.duration, next, bounds)?,
        };
        let span = Span { first, start, duration: run.duration, count };
        (begun, clock) = (start, span.end());
        first = first.saturating_add(count);
        let count = match bounds.edge {
            Some(edge) => count.min(edge.saturating_sub(start).div_ceil(run.duration)),
            None => count,
        };
        spans.push(Span { count, ..span });
    }
    spans.retain(|span| span.count > 0);
    Ok(spans)
}

/// Equal segments from the beginning of the period on; live those that are whole.
pub(super) fn of_duration(duration: u64, bounds: Bounds) -> Result<Vec<Span>, Fault> {
    let until = |end: u64| end.saturating_sub(bounds.begin);
    let planned = bounds.end.map(|end| until(end).div_ceil(duration));
    let made = bounds.edge.map(|edge| until(edge) / duration);
    let count = match (planned, made) {
        (Some(planned), Some(made)) => planned.min(made),
        (Some(count), None) | (None, Some(count)) => count,
        (None, None) => return Err(Fault::Missing("the end of the last period")),
    };
    let span = Span { first: 0, start: bounds.begin, duration, count };
    Ok(if count > 0 { vec![span] } else { Vec::new() })
}

/// Leaves out what ends at `from` or before, and what begins at `to` or later.
pub(super) fn clip(spans: &mut Vec<Span>, from: u64, to: Option<u64>) {
    for span in spans.iter_mut() {
        *span = span.behind(from.saturating_sub(span.start) / span.duration);
        if let Some(to) = to {
            span.count = span.count.min(to.saturating_sub(span.start).div_ceil(span.duration));
        }
    }
    spans.retain(|span| span.count > 0);
}

/// Leaves so many of the newest.
pub(super) fn keep_newest(spans: &mut Vec<Span>, mut room: u64) {
    let mut keep = spans.len();
    while keep > 0 && room > 0 {
        keep -= 1;
        let span = &mut spans[keep];
        *span = span.behind(span.count.saturating_sub(room));
        room -= span.count;
    }
    spans.drain(..keep);
}

/// Leaves so many of the oldest.
pub(super) fn keep_oldest(spans: &mut Vec<Span>, mut room: u64) {
    for span in spans.iter_mut() {
        span.count = span.count.min(room);
        room -= span.count;
    }
    spans.retain(|span| span.count > 0);
}

/// All of them together.
pub(super) fn count(spans: &[Span]) -> u64 {
    spans.iter().fold(0, |sum, span| sum.saturating_add(span.count))
}

/// How often a run without an end of its own is repeated.
fn open_count(start: u64, duration: u64, next: Option<u64>, bounds: Bounds) -> Result<u64, Fault> {
    if let Some(next) = next {
        return Ok(next.saturating_sub(start).div_ceil(duration).max(1));
    }
    let planned = bounds.end.map(|end| end.saturating_sub(start).div_ceil(duration));
    let made = bounds.edge.map(|edge| edge.saturating_sub(start) / duration);
    match (planned, made) {
        (Some(planned), Some(made)) => Ok(planned.min(made)),
        (Some(count), None) | (None, Some(count)) => Ok(count),
        (None, None) => Err(Fault::Missing("the end of the last period")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn run(start: impl Into<Option<u64>>, duration: u64, repeat: i64) -> Run {
        Run { start: start.into(), duration, repeat }
    }

    fn bounds(end: Option<u64>, edge: Option<u64>) -> Bounds {
        Bounds { begin: 0, end, edge }
    }

    type Case<'a> = (&'a [Run], Bounds, &'a [(u64, u64)]);

    fn starts(spans: &[Span]) -> Vec<(u64, u64)> {
        let one = |span: &Span| {
            let Span { first, start, duration, .. } = *span;
            (0..span.count).map(move |k| (first + k, start + k * duration)).collect::<Vec<_>>()
        };
        spans.iter().flat_map(one).collect()
    }

    #[test]
    fn runs_become_segments() {
        let table: [Case<'_>; 8] = [
            (&[run(0, 4, 1), run(None, 2, 0)], bounds(None, None), &[(0, 0), (1, 4), (2, 8)]),
            // a gap between runs
            (&[run(10, 4, 0), run(20, 4, 0)], bounds(None, None), &[(0, 10), (1, 20)]),
            // open, until the next run, the end of the period, the edge
            (
                &[run(0, 4, -1), run(10, 5, 0)],
                bounds(None, None),
                &[(0, 0), (1, 4), (2, 8), (3, 10)],
            ),
            (&[run(0, 4, -1)], bounds(Some(9), None), &[(0, 0), (1, 4), (2, 8)]),
            (&[run(0, 4, -1)], bounds(None, Some(9)), &[(0, 0), (1, 4)]),
            (&[run(0, 4, -1)], bounds(Some(100), Some(9)), &[(0, 0), (1, 4)]),
            // live: listed and begun, but not those of tomorrow
            (&[run(0, 4, 100)], bounds(None, Some(9)), &[(0, 0), (1, 4), (2, 8)]),
            (&[run(0, 4, 0)], bounds(None, Some(0)), &[]),
        ];
        for (runs, bounds, expected) in table {
            assert_eq!(starts(&of_runs(runs, bounds).expect("sound")), expected, "{runs:?}");
        }
        assert!(of_runs(&[run(0, 4, -1)], bounds(None, None)).is_err(), "without an end");
        assert!(of_runs(&[run(9, 4, 0), run(5, 4, 0)], bounds(None, None)).is_err(), "backwards");
    }

    #[test]
    fn equal_segments_are_counted() {
        let table = [
            (bounds(Some(9), None), 3),
            (bounds(None, Some(9)), 2),
            (bounds(Some(4), Some(9)), 1),
            (bounds(None, Some(0)), 0),
            (bounds(None, Some(u64::MAX)), u64::MAX / 4),
        ];
        for (bounds, expected) in table {
            assert_eq!(count(&of_duration(4, bounds).expect("an end")), expected, "{bounds:?}");
        }
        assert!(of_duration(4, bounds(None, None)).is_err());
    }

    #[test]
    fn windows_are_cut_by_arithmetic() {
        let endless = of_runs(&[run(0, 4, i64::MAX)], bounds(None, None)).expect("sound");
        let mut newest = endless.clone();
        clip(&mut newest, 0, Some(1_000_000_000));
        keep_newest(&mut newest, 2);
        assert_eq!(starts(&newest), [(249_999_998, 999_999_992), (249_999_999, 999_999_996)]);
        let mut all = of_runs(&[run(0, 4, 2), run(None, 1, 9)], bounds(None, None)).expect("sound");
        clip(&mut all, 8, None);
        assert_eq!(starts(&all)[0], (2, 8));
        keep_newest(&mut all, 11);
        assert_eq!(starts(&all)[0], (2, 8));
        keep_newest(&mut all, 10);
        assert_eq!(starts(&all)[0], (3, 12));
        keep_oldest(&mut all, 4);
        assert_eq!(starts(&all), [(3, 12), (4, 13), (5, 14), (6, 15)]);
        keep_newest(&mut all, 0);
        assert!(all.is_empty());
    }

    proptest! {
        #[test]
        fn segments_never_go_back(
            runs in prop::collection::vec((prop::option::of(0u64..50), 1u64..9, -2i64..9), 0..8),
            end in prop::option::of(0u64..200),
            edge in prop::option::of(0u64..200),
            window in (0u64..100, 0u64..100, 0u64..20),
        ) {
            let runs: Vec<_> = runs.into_iter().map(|(t, d, r)| run(t, d, r)).collect();
            if let Ok(mut spans) = of_runs(&runs, bounds(end, edge)) {
                let all = starts(&spans);
                prop_assert!(all.windows(2).all(|pair| pair[0].0 < pair[1].0));
                prop_assert!(edge.is_none_or(|edge| all.iter().all(|(_, start)| *start < edge)));
                clip(&mut spans, window.0, Some(window.1));
                let kept: Vec<_> = starts(&spans);
                prop_assert!(kept.iter().all(|slot| all.contains(slot) && slot.1 < window.1));
                keep_newest(&mut spans, window.2);
                let newest = starts(&spans);
                let skip = kept.len().saturating_sub(window.2 as usize);
                prop_assert_eq!(&newest[..], &kept[skip..]);
            }
        }
    }
}
