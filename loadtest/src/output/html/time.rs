//! What happened when: plots over the run's time, with the faults marked on each.
//!
//! Invariant: where several intervals share a point, their counts are added and their percentiles are those of all
//! their values.

use super::{
    markup::section,
    plot::{Axis, Mark, Plot, Series},
};
use crate::results::{
    Interval, Results,
    figure::{Unit, hit_ratio},
};

pub(super) fn plots(results: &Results) -> String {
    let Some(length_s) = results.interval_s() else { return String::new() };
    let each = results.intervals.len().div_ceil(POINTS_MAX).max(1);
    let points: Vec<Point> =
        results.intervals.chunks(each).map(|chunk| Point::of(chunk, length_s)).collect();
    let axis = Axis::Time {
        at_s: points.iter().map(|point| point.sum.at_s).collect(),
        length_s: length_s * each as f64,
    };
    let marks = marks(results);
    let plot = |title: &str, unit: Unit, series: Vec<Series>| {
        let has_values = series.iter().any(|it| it.values.iter().any(Option::is_some));
        let plot = Plot { title, unit, is_log: false, axis: &axis, series, marks: &marks };
        has_values.then(|| plot.markup()).unwrap_or_default()
    };
    let line = |name: &str, colour: usize, of: &dyn Fn(&Point) -> Option<f64>| Series {
        name: name.to_owned(),
        values: points.iter().map(of).collect(),
        colour,
        is_area: false,
    };
    let area = |name: &str, colour, of: &dyn Fn(&Point) -> Option<f64>| Series {
        is_area: true,
        ..line(name, colour, of)
    };
    let startup = |share: f64| {
        move |point: &Point| point.sum.startup_ms.quantile(share).map(|value| value as f64)
    };
    let first_byte = |share: f64| {
        move |point: &Point| point.sum.first_byte_us.quantile(share).map(|us| us as f64 / 1e3)
    };
    let lag = |share: f64| {
        move |point: &Point| point.sum.loop_lag_us.quantile(share).map(|us| us as f64 / 1e3)
    };
    let body = [
        plot(
            "Sessions",
            Unit::Count,
            vec![
                area("sessions", 0, &|point| Some(point.mean(|it| it.sessions))),
                line("playing", 2, &|point| Some(point.mean(|it| it.playing))),
                area("stalled", 1, &|point| Some(point.mean(|it| it.stalled))),
            ],
        ),
        plot(
            "Arrivals",
            Unit::PerSecond,
            vec![
                line("sessions to begin", 0, &|point| Some(point.rate(point.sum.arrivals))),
                line("blocked", 1, &|point| Some(point.rate(point.sum.blocked))),
            ],
        ),
        plot(
            "Startup time",
            Unit::Milliseconds,
            vec![
                line("p50", 0, &startup(0.5)),
                line("p95", 3, &startup(0.95)),
                line("p99", 1, &startup(0.99)),
            ],
        ),
        plot(
            "Time to first byte",
            Unit::Milliseconds,
            vec![
                line("p50", 0, &first_byte(0.5)),
                line("p95", 3, &first_byte(0.95)),
                line("p99", 1, &first_byte(0.99)),
            ],
        ),
        plot(
            "Throughput",
            Unit::BitsPerSecond,
            vec![area("bodies", 0, &|point| Some(point.rate(point.sum.bytes) * 8.0))],
        ),
        plot(
            "Requests",
            Unit::PerSecond,
            vec![line("requests", 0, &|point| Some(point.rate(point.sum.requests)))],
        ),
        plot(
            "Failures",
            Unit::PerSecond,
            vec![area("failed fetches", 1, &|point| Some(point.rate(point.sum.failures)))],
        ),
        plot(
            "Hit ratio",
            Unit::Share,
            vec![line("answers from a cache", 2, &|point| {
                hit_ratio(point.sum.hits, point.sum.misses)
            })],
        ),
        plot(
            "The rig: busiest worker",
            Unit::Share,
            vec![area("share of one core", 4, &|point| Some(point.sum.rig_cpu))],
        ),
        plot(
            "The rig: timers fired late",
            Unit::Milliseconds,
            vec![line("p50", 0, &lag(0.5)), line("p99", 1, &lag(0.99))],
        ),
    ]
    .concat();
    let words = if marks.is_empty() {
        "What happened when. Under the pointer, or a finger, the values of a moment."
    } else {
        "What happened when. The numbers on top are the faults, listed below. Under the pointer, or a finger, the \
         values of a moment."
    };
    section("time", "Over time", words, &format!("<div class=\"plots\">{body}</div>"))
}

/// One point of the plots: some intervals in one.
struct Point {
    sum: Interval,
    count: f64,
    length_s: f64,
}

impl Point {
    fn of(chunk: &[Interval], length_s: f64) -> Self {
        let mut sum = chunk[0].clone();
        chunk[1..].iter().for_each(|interval| sum.merge(interval));
        let count = chunk.len() as f64;
        Self { sum, count, length_s: length_s * count }
    }

    /// Of what is counted in each second.
    fn rate(&self, sum: u64) -> f64 {
        sum as f64 / self.length_s
    }

    /// Of what is there at a time.
    fn mean(&self, of: fn(&Interval) -> u64) -> f64 {
        of(&self.sum) as f64 / self.count
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
pub(super) const MARKS_MAX: usize = 30;
