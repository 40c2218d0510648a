//! Two runs side by side: every figure, how much it differs, and whether that is more than chance.
//!
//! How sure a difference is comes from each run alone (see `bootstrap`): what differs between two evenings is not in
//! it. To judge a change, run each side several times.
//! Invariant: a difference is called better or worse only where its whole interval is on that side of nothing and it
//! is large enough to matter; comparing the same files gives the same words.

mod bootstrap;
mod page;
mod text;

use serde::Serialize;

use self::bootstrap::{Bootstrap, DRAWS};
pub use self::{page::page, text::table};
use crate::results::{
    Results, SCHEMA,
    figure::{self, Better, Figure},
    verdict::Verdict,
};

/// What two runs differ in. Written as JSON as it is.
#[derive(Debug, Clone, Serialize)]
pub struct Comparison {
    /// As that of the results.
    pub schema: u32,
    /// The share of such intervals that hold the truth.
    pub confidence: f64,
    pub a: Side,
    pub b: Side,
    /// Why the two cannot simply be compared; empty when they can.
    pub notes: Vec<String>,
    pub rows: Vec<Row>,
}

/// One of the runs.
#[derive(Debug, Clone, Serialize)]
pub struct Side {
    pub scenario: String,
    pub seed: u64,
    pub started_at: String,
    pub rig_version: String,
    pub duration_s: f64,
    pub verdict: &'static str,
}

/// One figure of both.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    pub figure: String,
    pub unit: &'static str,
    pub meaning: &'static str,
    pub a: Option<f64>,
    pub b: Option<f64>,
    /// b less a.
    pub difference: Option<Estimate>,
    /// b over a.
    pub ratio: Option<Estimate>,
    pub finding: Finding,
    #[serde(skip)]
    of: Figure,
}

/// A number, and the interval in which it probably is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Estimate {
    pub value: f64,
    pub low: f64,
    pub high: f64,
}

/// What a row says of b.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Finding {
    Better,
    Worse,
    /// More of something that is neither good nor bad.
    More,
    Less,
    /// No difference that is more than chance, or none that matters.
    Same,
    /// There is no saying how sure it is.
    Unsure,
    /// One of the two has no such figure.
    Missing,
}

impl Comparison {
    /// Whether b is worse in anything.
    #[must_use]
    pub fn is_worse(&self) -> bool {
        self.rows.iter().any(|row| row.finding == Finding::Worse)
    }

    /// The comparison as JSON, with a line break at its end.
    #[must_use]
    pub fn json(&self) -> Vec<u8> {
        let mut text = serde_json::to_vec_pretty(self).expect("a comparison has plain keys");
        text.push(b'\n');
        text
    }
}

impl Finding {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Better => "better",
            Self::Worse => "worse",
            Self::More => "more",
            Self::Less => "less",
            Self::Same => "no difference",
            Self::Unsure => "not judged",
            Self::Missing => "missing",
        }
    }
}

/// Compares run b with run a.
#[must_use]
pub fn compare(a: &Results, b: &Results) -> Comparison {
    let runs = (Bootstrap::new(a), Bootstrap::new(b));
    let rows = figure::shown().into_iter().enumerate();
    let row = |(index, figure)| row(index as u64, figure, (a, &runs.0), (b, &runs.1));
    let rows = rows.filter_map(row).collect();
    Comparison {
        schema: SCHEMA,
        confidence: CONFIDENCE,
        a: side(a),
        b: side(b),
        notes: notes(a, b),
        rows,
    }
}

/// `None` when neither has it.
fn row(
    index: u64,
    figure: Figure,
    (a, draws_of_a): (&Results, &Bootstrap<'_>),
    (b, draws_of_b): (&Results, &Bootstrap<'_>),
) -> Option<Row> {
    let (of_a, of_b) = (figure.sample(a), figure.sample(b));
    let (value_a, value_b) = (of_a.value(), of_b.value());
    if value_a.is_none() && value_b.is_none() {
        return None;
    }
    let draws = draws_of_a.draws(&of_a, 2 * index).zip(draws_of_b.draws(&of_b, 2 * index + 1));
    let estimate = |of: fn(f64, f64) -> f64| {
        let (draws_a, draws_b) = draws.as_ref()?;
        let value = of(value_a?, value_b?);
        let all = draws_a.iter().zip(draws_b).map(|(a, b)| of(*a, *b));
        interval(value, all.filter(|draw| draw.is_finite()).collect())
    };
    let difference = estimate(|a, b| b - a);
    let ratio = estimate(|a, b| b / a);
    let finding = match (value_a.zip(value_b), difference) {
        (None, _) => Finding::Missing,
        (Some((a, b)), _) if a == b => Finding::Same,
        (Some(_), None) => Finding::Unsure,
        (Some((a, _)), Some(difference)) => finding(figure.better, a, difference),
    };
    Some(Row {
        figure: figure.name.clone(),
        unit: unit_name(&figure),
        meaning: figure.meaning,
        a: value_a,
        b: value_b,
        difference,
        ratio,
        finding,
        of: figure,
    })
}

fn finding(better: Better, a: f64, difference: Estimate) -> Finding {
    let is_more = difference.low > 0.0;
    let is_less = difference.high < 0.0;
    let matters = difference.value.abs() >= a.abs() * MATTERS;
    match (better, is_more, is_less) {
        _ if !matters => Finding::Same,
        (_, false, false) => Finding::Same,
        (Better::Neither, true, _) => Finding::More,
        (Better::Neither, ..) => Finding::Less,
        (Better::Higher, true, _) | (Better::Lower, false, true) => Finding::Better,
        _ => Finding::Worse,
    }
}

/// The middle of the draws, but for as many at both ends as the confidence leaves.
fn interval(value: f64, mut draws: Vec<f64>) -> Option<Estimate> {
    if draws.len() < DRAWS / 2 || !value.is_finite() {
        return None;
    }
    draws.sort_by(f64::total_cmp);
    let at = |share: f64| draws[((draws.len() - 1) as f64 * share).round() as usize];
    let outside = (1.0 - CONFIDENCE) / 2.0;
    Some(Estimate { value, low: at(outside), high: at(1.0 - outside) })
}

fn side(results: &Results) -> Side {
    Side {
        scenario: results.scenario.clone(),
        seed: results.seed,
        started_at: results.started_at.clone(),
        rig_version: results.rig_version.clone(),
        duration_s: results.duration_s,
        verdict: Verdict::of(results).as_str(),
    }
}

fn notes(a: &Results, b: &Results) -> Vec<String> {
    let mut notes = Vec::new();
    if a.scenario != b.scenario {
        notes.push(format!("the scenarios differ: {} and {}", a.scenario, b.scenario));
    } else if a.scenario_text != b.scenario_text {
        notes.push("the scenario was changed between the runs".to_owned());
    }
    if a.rig_version != b.rig_version {
        notes.push(format!("the rigs differ: {} and {}", a.rig_version, b.rig_version));
    }
    if (a.duration_s - b.duration_s).abs() > 0.05 * a.duration_s.max(b.duration_s) {
        notes.push(format!("they lasted {:.0} s and {:.0} s", a.duration_s, b.duration_s));
    }
    for (name, results) in [("a", a), ("b", b)] {
        match Verdict::of(results) {
            Verdict::Saturated => notes.push(format!("the rig of {name} was saturated")),
            Verdict::Failed => notes.push(format!("run {name} went wrong")),
            _ if results.is_interrupted => notes.push(format!("run {name} was interrupted")),
            _ => {}
        }
    }
    notes
}

fn unit_name(figure: &Figure) -> &'static str {
    match figure.unit {
        figure::Unit::Milliseconds => "ms",
        figure::Unit::Share => "share",
        figure::Unit::Multiple => "multiple",
        figure::Unit::PerMinute => "per minute",
        figure::Unit::PerSecond => "per second",
        figure::Unit::BitsPerSecond => "bit/s",
        figure::Unit::Count => "count",
    }
}

/// Some thirty figures are compared: with 95 in 100, more than one of them would be called different by chance.
const CONFIDENCE: f64 = 0.99;
/// A hundredth: less than two runs of one program differ.
const MATTERS: f64 = 0.01;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::fixture;

    fn found(comparison: &Comparison, name: &str) -> Finding {
        comparison.rows.iter().find(|row| row.figure == name).unwrap().finding
    }

    #[test]
    fn a_slower_server_is_worse_and_the_same_one_is_not() {
        let (a, slow, again) = (fixture::results(7), fixture::slower(8, 2.0), fixture::results(9));
        let worse = compare(&a, &slow);
        for name in ["startup_p50", "startup_p95", "segment_ttfb_p50", "handshake_p50", "hit_ratio"]
        {
            assert_eq!(found(&worse, name), Finding::Worse, "{name}");
        }
        assert!(worse.is_worse());
        let better = compare(&slow, &a);
        assert_eq!(found(&better, "startup_p95"), Finding::Better);

        let same = compare(&a, &again);
        for name in ["startup_p50", "startup_p95", "mean_bitrate", "handshake_p50", "error_rate"] {
            assert_eq!(found(&same, name), Finding::Same, "{name}");
        }
        let startup = &same.rows[0];
        let (difference, ratio) = (startup.difference.unwrap(), startup.ratio.unwrap());
        assert!(difference.low < 0.0 && difference.high > 0.0, "{difference:?}");
        assert!(ratio.low < 1.0 && ratio.high > 1.0 && ratio.low > 0.8, "{ratio:?}");
        assert!(same.notes.is_empty(), "{:?}", same.notes);
    }

    #[test]
    fn what_only_one_has_is_missing_and_what_neither_has_is_not_there() {
        let mut b = fixture::results(7);
        b.quality.live_latency_ms = crate::results::Histogram::default();
        b.rig.saturated.push("loop lag".to_owned());
        b.scenario = "steady".to_owned();
        let comparison = compare(&fixture::results(7), &b);
        assert_eq!(found(&comparison, "live_latency_p95"), Finding::Missing);
        assert_eq!(comparison.notes.len(), 2, "{:?}", comparison.notes);
        assert!(compare(&Results::new("a", 1), &Results::new("a", 1)).rows.len() < 3);
    }

    #[test]
    fn json_says_all_and_the_same_runs_give_the_same() {
        let (a, b) = (fixture::results(7), fixture::slower(8, 2.0));
        let text = compare(&a, &b).json();
        assert_eq!(text, compare(&a, &b).json());
        let value: serde_json::Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(value["schema"], SCHEMA);
        assert_eq!(value["rows"][0]["figure"], "startup_p50");
        assert_eq!(value["rows"][0]["finding"], "worse");
        assert!(value["rows"][0]["ratio"]["low"].as_f64().unwrap() > 1.0);
    }
}
