//! What is derived from the results: every figure that gates, reports and comparisons name is defined here, once.
//!
//! Invariant: a figure of nothing is `None`, never 0: where nobody watched, no gate about watching is held.

mod table;
mod values;
mod name;

use std::{borrow::Cow, cmp::Reverse, collections::BTreeMap};

use self::{
    name::KINDS,
    table::{SCALARS, SHOWN, Scalar, VALUES, ValuesEntry},
};
pub use self::{
    name::{class_name, kind_name, protocol_name},
    values::Values,
};
use super::{
    document::{Interval, Results},
    histogram::Histogram,
};
use crate::kind::{FailureClass, ObjectKind, Protocol};

/// One number about a run.
#[derive(Debug, Clone)]
pub struct Figure {
    /// As gates name it, like `startup_p95` or `segment_ttfb_p99@h3`.
    pub name: String,
    pub unit: Unit,
    pub better: Better,
    /// What it says, for people.
    pub meaning: &'static str,
    measure: Measure,
    /// Of the fetches and connections of this protocol alone.
    protocol: Option<Protocol>,
}

/// What a figure's value counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Milliseconds,
    /// A part of a whole, 0 to 1.
    Share,
    /// So many times something.
    Multiple,
    PerMinute,
    PerSecond,
    BitsPerSecond,
    Count,
}

/// Which way a figure is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    Lower,
    Higher,
    /// It says how much there was, not how good it was.
    Neither,
}

/// What a figure comes from, for those who want to know how sure it is.
#[derive(Debug, Clone)]
pub enum Sample<'a> {
    /// The value below which a share of the values lies.
    Quantile { of: Values, values: Cow<'a, Histogram>, share: f64, scale: f64 },
    /// The mean of the values.
    Mean { values: Cow<'a, Histogram>, scale: f64 },
    /// So many of so many, each for itself.
    Share { part: u64, whole: u64 },
    /// A ratio of sums over the run, and what one interval (of so many seconds) tells of it: how much it varies.
    Sums { total: Sums, trace: fn(&Interval, f64) -> Sums },
    /// A number of which nothing more is known.
    Number(Option<f64>),
}

/// A ratio, not yet divided: ratios of parts cannot be added, their sums can.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Sums {
    pub over: f64,
    pub under: f64,
}

/// How a figure is found.
#[derive(Debug, Clone, Copy)]
enum Measure {
    Quantile { values: Values, share: f64, scale: f64 },
    Mean { values: Values, scale: f64 },
    Share(fn(&Results) -> (u64, u64)),
    Sums { total: fn(&Results, Option<Protocol>) -> Sums, trace: Option<Trace> },
}

/// What an interval of so many seconds tells of a sum.
type Trace = fn(&Interval, f64) -> Sums;

impl Figure {
    /// The figure of a name; `None` when there is none of that name.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        let (plain, protocol) = match name.split_once('@') {
            Some((plain, "h1")) => (plain, Some(Protocol::H1)),
            Some((plain, "h2")) => (plain, Some(Protocol::H2)),
            Some((plain, "h3")) => (plain, Some(Protocol::H3)),
            Some(_) => return None,
            None => (name, None),
        };
        let (figure, is_by_protocol) = match SCALARS.iter().find(|scalar| scalar.name == plain) {
            Some(scalar) => (Self::of_scalar(scalar), scalar.is_by_protocol),
            None => Self::of_values(plain)?,
        };
        if protocol.is_some() && !is_by_protocol {
            return None;
        }
        Some(Self { name: name.to_owned(), protocol, ..figure })
    }

    /// Its value; `None` when nothing was measured of it.
    #[must_use]
    pub fn value(&self, results: &Results) -> Option<f64> {
        self.sample(results).value()
    }

    /// What its value comes from.
    #[must_use]
    pub fn sample<'a>(&self, results: &'a Results) -> Sample<'a> {
        match self.measure {
            Measure::Quantile { values, share, scale } => {
                let of = values;
                Sample::Quantile { of, values: of.find(results, self.protocol), share, scale }
            }
            Measure::Mean { values, scale } => {
                Sample::Mean { values: values.find(results, self.protocol), scale }
            }
            Measure::Share(of) => {
                let (part, whole) = of(results);
                Sample::Share { part, whole }
            }
            Measure::Sums { total, trace } => {
                let total = total(results, self.protocol);
                match trace {
                    // The intervals do not tell one protocol from another.
                    Some(trace) if self.protocol.is_none() => Sample::Sums { total, trace },
                    _ => Sample::Number(total.value()),
                }
            }
        }
    }

    fn of_scalar(scalar: &Scalar) -> Self {
        Self {
            name: scalar.name.to_owned(),
            unit: scalar.unit,
            better: scalar.better,
            meaning: scalar.meaning,
            measure: scalar.measure,
            protocol: None,
        }
    }

    /// `VALUES_p95`, `KIND_VALUES_p99.9`, `VALUES_mean`, `VALUES_max`; and whether it can be of one protocol.
    fn of_values(name: &str) -> Option<(Self, bool)> {
        let (name, statistic) = name.rsplit_once('_')?;
        let (kind, entry) = entry(name)?;
        let values = entry.values.of_kind(kind);
        let scale = entry.scale;
        let measure = match statistic {
            "mean" => Measure::Mean { values, scale },
            "max" => Measure::Quantile { values, share: 1.0, scale },
            _ => {
                let percent: f64 = statistic.strip_prefix('p')?.parse().ok()?;
                if !(percent > 0.0 && percent < 100.0) {
                    return None;
                }
                Measure::Quantile { values, share: percent / 100.0, scale }
            }
        };
        let (unit, better, meaning) = (entry.unit, entry.better, entry.meaning);
        let figure = Self { name: String::new(), unit, better, meaning, measure, protocol: None };
        Some((figure, values.is_by_protocol()))
    }
}

impl Sample<'_> {
    #[must_use]
    pub fn value(&self) -> Option<f64> {
        match self {
            Self::Quantile { values, share, scale, .. } => {
                Some(values.quantile(*share)? as f64 * scale)
            }
            Self::Mean { values, scale } => Some(values.mean()? * scale),
            Self::Share { part, whole } => ratio(*part as f64, *whole as f64),
            Self::Sums { total, .. } => total.value(),
            Self::Number(number) => *number,
        }
    }
}

impl Sums {
    #[must_use]
    pub fn value(self) -> Option<f64> {
        ratio(self.over, self.under)
    }
}

/// The figures that reports and comparisons show, in their order.
#[must_use]
pub fn shown() -> Vec<Figure> {
    SHOWN.iter().map(|name| Figure::of(name).expect("a test reads the list")).collect()
}

/// Every name that is understood, with its unit and what it means. `N` stands for a percentile (`p95`, `p99.9`),
/// `KIND` for a kind of object.
#[must_use]
pub fn patterns() -> Vec<(String, Unit, &'static str)> {
    let scalars = SCALARS.iter().map(|it| (it.name.to_owned(), it.unit, it.meaning));
    let values = VALUES.iter().flat_map(|it| {
        let kinds = it.values.is_by_kind().then(|| format!("KIND_{}_pN", it.name));
        let all = std::iter::once(format!("{}_pN", it.name)).chain(kinds);
        all.map(|name| (name, it.unit, it.meaning))
    });
    scalars.chain(values).collect()
}

/// Hits of all answers that tell.
#[must_use]
pub fn hit_ratio(hits: u64, misses: u64) -> Option<f64> {
    ratio(hits as f64, hits as f64 + misses as f64)
}

/// Failures of all fetches by class, the most frequent first.
#[must_use]
pub fn failures(results: &Results) -> Vec<(FailureClass, u64)> {
    let mut sums = BTreeMap::<FailureClass, u64>::new();
    for (class, count) in results.fetches.iter().flat_map(|fetches| &fetches.failures) {
        let sum = sums.entry(*class).or_default();
        *sum = sum.saturating_add(*count);
    }
    let mut all: Vec<_> = sums.into_iter().filter(|(_, count)| *count > 0).collect();
    all.sort_by_key(|(class, count)| (Reverse(*count), *class));
    all
}

/// `segment_ttfb` is the first bytes of segments, `ttfb` those of all.
fn entry(name: &str) -> Option<(Option<ObjectKind>, &'static ValuesEntry)> {
    let find = |name: &str| VALUES.iter().find(|entry| entry.name == name);
    if let Some(entry) = find(name) {
        return Some((None, entry));
    }
    let (kind, name) = name.split_once('_')?;
    let (kind, _) = KINDS.iter().find(|(_, known)| *known == kind)?;
    Some((Some(*kind), find(name).filter(|entry| entry.values.is_by_kind())?))
}

fn ratio(over: f64, under: f64) -> Option<f64> {
    (under > 0.0).then_some(over / under)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::{Pop, Quality};

    fn results() -> Results {
        let mut results = Results::new("steady", 7);
        for (protocol, ms) in [(Protocol::H1, 10), (Protocol::H3, 50)] {
            let fetches = results.fetches_of(ObjectKind::Segment, protocol);
            fetches.count = 100;
            fetches.hits = 90;
            fetches.misses = 10;
            fetches.failures.insert(FailureClass::Reset, 2);
            fetches.failures.insert(FailureClass::Rig, 3);
            fetches.first_byte_us.record_many(ms * 1_000, 100);
            fetches.bytes = 1_000_000;
            fetches.time_over_duration.record_many(250, 10);
        }
        results.fetches_of(ObjectKind::Playlist, Protocol::H3).first_byte_us.record(900_000);
        results.quality = Quality {
            views: 40,
            failed_starts: 4,
            views_without_stall: 30,
            played_s: 570.0,
            stalled_s: 30.0,
            stalls: 19,
            ..Quality::default()
        };
        results.quality.startup_ms.record_many(200, 40);
        results.quality.rebuffer_ratio.record(5_000);
        results.quality.bitrate_bps.record(1_000_000);
        results.quality.bitrate_bps.record(3_000_000);
        let mut pop = Pop::default();
        pop.first_fresh_ms.record(120);
        results.pops.insert("fra".to_owned(), pop);
        results.arrivals.scheduled = 50;
        results.arrivals.blocked = 5;
        results.duration_s = 10.0;
        results
    }

    #[test]
    fn figures_are_what_their_words_say() {
        let results = results();
        for (name, wanted) in [
            ("rebuffer_ratio", Some(0.05)),
            ("rebuffer_ratio_p50", Some(0.05)),
            ("stalls_per_minute", Some(1.9)),
            ("failed_starts", Some(0.1)),
            ("views_without_stall", Some(0.75)),
            ("blocked", Some(0.1)),
            ("hit_ratio", Some(0.9)),
            ("hit_ratio@h3", Some(0.9)),
            ("hit_ratio@h2", None),
            // The rig's own failures are no errors of the server.
            ("error_rate", Some(0.02)),
            ("throughput", Some(1_600_000.0)),
            ("throughput@h1", Some(800_000.0)),
            ("segment_ttfb_p50@h1", Some(10.0)),
            ("segment_ttfb_p99", Some(50.0)),
            ("segment_ttfb_mean", Some(30.0)),
            ("ttfb_max", Some(900.0)),
            ("segment_time_over_duration_p50", Some(0.25)),
            ("first_fresh_p99", Some(120.0)),
            ("mean_bitrate", Some(2e6)),
            ("bitrate_mean", Some(2e6)),
            ("startup_p95", Some(200.0)),
            ("live_latency_p95", None),
            ("views", Some(40.0)),
        ] {
            let value = Figure::of(name).unwrap_or_else(|| panic!("{name}")).value(&results);
            match (value, wanted) {
                (Some(value), Some(wanted)) => {
                    assert!((value / wanted - 1.0).abs() < 2e-3, "{name}: {value}");
                }
                (value, wanted) => assert_eq!(value, wanted, "{name}"),
            }
        }
    }

    #[test]
    fn a_name_that_means_nothing_is_no_figure() {
        for name in [
            "",
            "startup",
            "startup_p",
            "startup_p0",
            "startup_p100",
            "startup_pNaN",
            "startup_p-5",
            "segment_startup_p50",
            "nothing_p50",
            "startup_p50@h1",
            "hit_ratio@h4",
            "part_hit_ratio",
            "rebuffer_ratio@h1",
            "segment_p99",
        ] {
            assert!(Figure::of(name).is_none(), "{name}");
        }
    }

    #[test]
    fn every_shown_and_described_name_is_understood() {
        assert_eq!(shown().len(), SHOWN.len());
        for (name, ..) in patterns() {
            let name = name.replace("pN", "p99.9").replace("KIND", "segment");
            assert!(Figure::of(&name).is_some(), "{name}");
        }
    }

    #[test]
    fn of_nothing_no_figure_has_a_value() {
        for figure in shown().into_iter().filter(|figure| figure.unit != Unit::Count) {
            assert_eq!(figure.value(&Results::new("steady", 7)), None, "{}", figure.name);
        }
    }
}
