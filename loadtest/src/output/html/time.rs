//! What happened when: plots over the run's time, with the faults marked on each.
//!
//! Invariant: where several intervals share a point, their counts are added and their percentiles are those of all
//! their values.

use super::{
    markup::section,
    plot::{Axis, Mark, Plot, Series},
};
use crate::results::{
    Histogram, Interval, Results,
    figure::{Unit, hit_ratio},
};

/// How it was for viewers and servers.
pub(super) fn section_of(results: &Results) -> String {
    let Some(timeline) = Timeline::of(results) else { return String::new() };
    let words = if timeline.marks.is_empty() {
        "What happened when. Under the pointer, or a finger, the values of a moment."
    } else {
        "What happened when. The numbers on top are the faults, listed below. Under the pointer, or a finger, the \
         values of a moment."
    };
    section(
        "time",
        "Over time",
        words,
        &format!("<div class=\"plots\">{}</div>", timeline.system()),
    )
}

/// How it was for the rig; markup without a section of its own.
pub(super) fn of_rig(results: &Results) -> String {
    let Some(timeline) = Timeline::of(results) else { return String::new() };
    format!("<div class=\"plots\">{}</div>", timeline.rig())
}

/// The run, in points.
struct Timeline {
    points: Vec<Point>,
    axis: Axis,
    marks: Vec<Mark>,
}

/// Some intervals in one.
struct Point {
    sum: Interval,
    count: f64,
    length_s: f64,
}

impl Timeline {
    /// `None` without intervals.
    fn of(results: &Results) -> Option<Self> {
        let length_s = results.interval_s()?;
        let each = results.intervals.len().div_ceil(POINTS_MAX).max(1);
        let points: Vec<Point> =
            results.intervals.chunks(each).map(|chunk| Point::of(chunk, length_s)).collect();
        let at_s = points.iter().map(|point| point.sum.at_s).collect();
        let axis = Axis::Time { at_s, length_s: length_s * each as f64 };
        Some(Self { points, axis, marks: marks(results) })
    }

    fn system(&self) -> String {
        let startup = |share| self.quantile(|it| &it.startup_ms, share, 1.0);
        let first_byte = |share| self.quantile(|it| &it.first_byte_us, share, 1e-3);
        let sessions = [
            Series::area("sessions", 0, self.means(|it| it.sessions)),
            Series::line("playing", 2, self.means(|it| it.playing)),
            Series::area("stalled", 1, self.means(|it| it.stalled)),
        ];
        let stalled = |it: &Point| {
            let watching = it.sum.playing as f64 + it.sum.stalled as f64;
            (watching > 0.0).then(|| it.sum.stalled as f64 / watching)
        };
        let stalled = [Series::area("stalled", 1, self.points.iter().map(stalled).collect())];
        let arrivals = [
            Series::line("sessions to begin", 0, self.rates(|it| it.arrivals as f64)),
            Series::line("blocked", 1, self.rates(|it| it.blocked as f64)),
        ];
        let startup = [
            Series::line("p50", 0, startup(0.5)),
            Series::line("p95", 3, startup(0.95)),
            Series::line("p99", 1, startup(0.99)),
        ];
        let first_byte = [
            Series::line("p50", 0, first_byte(0.5)),
            Series::line("p95", 3, first_byte(0.95)),
            Series::line("p99", 1, first_byte(0.99)),
        ];
        let bodies = [Series::area("bodies", 0, self.rates(|it| it.bytes as f64 * 8.0))];
        let requests = [Series::line("requests", 0, self.rates(|it| it.requests as f64))];
        let failures = [Series::area("failed fetches", 1, self.rates(|it| it.failures as f64))];
        let hits = self.points.iter().map(|it| hit_ratio(it.sum.hits, it.sum.misses)).collect();
        let hits = [Series::line("answers from a cache", 2, hits)];
        [
            self.plot("Sessions", Unit::Count, sessions.into()),
            self.plot("Stalled, of those who watch", Unit::Share, stalled.into()),
            self.plot("Arrivals", Unit::PerSecond, arrivals.into()),
            self.plot("Startup time", Unit::Milliseconds, startup.into()),
            self.plot("Time to first byte", Unit::Milliseconds, first_byte.into()),
            self.plot("Throughput", Unit::BitsPerSecond, bodies.into()),
            self.plot("Requests", Unit::PerSecond, requests.into()),
            self.plot("Failures", Unit::PerSecond, failures.into()),
            self.plot("Hit ratio", Unit::Share, hits.into()),
        ]
        .concat()
    }

    fn rig(&self) -> String {
        let lag = |share| self.quantile(|it| &it.loop_lag_us, share, 1e-3);
        let cpu = self.points.iter().map(|point| Some(point.sum.rig_cpu)).collect();
        let cpu = [Series::area("share of one core", 4, cpu)];
        let lag = [Series::line("p50", 0, lag(0.5)), Series::line("p99", 1, lag(0.99))];
        [
            self.plot("Busiest worker", Unit::Share, cpu.into()),
            self.plot("Timers fired late", Unit::Milliseconds, lag.into()),
        ]
        .concat()
    }

    /// Empty where nothing was measured.
    fn plot(&self, title: &str, unit: Unit, series: Vec<Series>) -> String {
        if !series.iter().any(|it| it.values.iter().any(Option::is_some)) {
            return String::new();
        }
        let (axis, marks) = (&self.axis, self.marks.as_slice());
        Plot { title, unit, is_log: false, axis, series, marks }.markup()
    }

    fn quantile(
        &self,
        of: fn(&Interval) -> &Histogram,
        share: f64,
        scale: f64,
    ) -> Vec<Option<f64>> {
        let value = |point: &Point| Some(of(&point.sum).quantile(share)? as f64 * scale);
        self.points.iter().map(value).collect()
    }

    /// Of what is counted in each second.
    fn rates(&self, of: fn(&Interval) -> f64) -> Vec<Option<f64>> {
        self.points.iter().map(|point| Some(of(&point.sum) / point.length_s)).collect()
    }

    /// Of what is there at a time.
    fn means(&self, of: fn(&Interval) -> u64) -> Vec<Option<f64>> {
        self.points.iter().map(|point| Some(of(&point.sum) as f64 / point.count)).collect()
    }
}

impl Point {
    fn of(chunk: &[Interval], length_s: f64) -> Self {
        let mut sum = chunk[0].clone();
        chunk[1..].iter().for_each(|interval| sum.merge(interval));
        let count = chunk.len() as f64;
        Self { sum, count, length_s: length_s * count }
    }
}

/// The faults, numbered; those beyond the limit have no number on the plots.
fn marks(results: &Results) -> Vec<Mark> {
    let faults = results.faults.iter().enumerate().take(MARKS_MAX);
    faults
        .map(|(index, fault)| Mark {
            at_s: fault.at_s,
            label: (index + 1).to_string(),
            name: fault.name.clone(),
        })
        .collect()
}

/// Two pixels for each.
const POINTS_MAX: usize = 200;
/// More of them would hide the lines.
const MARKS_MAX: usize = 30;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_that_share_a_point_are_added_and_what_stands_is_not() {
        let mut results = Results::new("steady", 1);
        for second in 0..600 {
            let mut interval = Interval { at_s: f64::from(second), ..Interval::default() };
            (interval.sessions, interval.requests, interval.bytes) = (50, 10, 1_000);
            interval.startup_ms.record(if second % 3 == 0 { 900 } else { 100 });
            results.intervals.push(interval);
        }
        let timeline = Timeline::of(&results).unwrap();
        assert_eq!(timeline.points.len(), 200);
        assert!(timeline.means(|it| it.sessions).iter().all(|value| *value == Some(50.0)));
        assert!(timeline.rates(|it| it.requests as f64).iter().all(|value| *value == Some(10.0)));
        let slow = timeline.quantile(|it| &it.startup_ms, 0.99, 1.0);
        assert!(slow.iter().all(|value| value.is_some_and(|ms| (ms / 900.0 - 1.0).abs() < 2e-3)));
        assert!(Timeline::of(&Results::new("steady", 1)).is_none());
    }
}
