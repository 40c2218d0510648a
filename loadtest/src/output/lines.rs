//! The run as plain lines: one for each interval where there is no terminal, and a summary at its end.
//!
//! Invariant: a line says the same figures in the same columns, so that `grep` and `awk` can follow it.

use super::number;
use crate::results::{
    Interval, Results,
    figure::{self, class_name},
    verdict::Verdict,
};

/// One interval, without a line break. `length_s` is its length, for rates.
#[must_use]
pub fn line(interval: &Interval, length_s: f64) -> String {
    let length_s = if length_s > 0.0 { length_s } else { 1.0 };
    let per_second = |count: u64| number::digits(count as f64 / length_s);
    let milliseconds = |value: Option<u64>, unit: f64| {
        value.map_or(number::DASH.to_owned(), |v| number::milliseconds(v as f64 * unit))
    };
    let bits = interval.bytes as f64 * 8.0 / length_s;
    let hits = figure::hit_ratio(interval.hits, interval.misses);
    format!(
        "{:>8}  sessions {:>6} ({} stalled)  arrivals {}/s  blocked {}  requests {}/s  {}  failures {}  hits {}  \
         startup p95 {}  ttfb p50 {} p99 {}  rig {} cpu, lag p99 {}",
        number::seconds(interval.at_s),
        number::count(interval.sessions),
        number::count(interval.stalled),
        per_second(interval.arrivals),
        interval.blocked,
        per_second(interval.requests),
        number::value(Some(bits), figure::Unit::BitsPerSecond),
        interval.failures,
        number::value(hits, figure::Unit::Share),
        milliseconds(interval.startup_ms.quantile(0.95), 1.0),
        milliseconds(interval.first_byte_us.quantile(0.5), 1e-3),
        milliseconds(interval.first_byte_us.quantile(0.99), 1e-3),
        number::value(Some(interval.rig_cpu), figure::Unit::Share),
        milliseconds(interval.loop_lag_us.quantile(0.99), 1e-3),
    )
}

/// The whole run, in lines, with a line break at its end.
#[must_use]
pub fn summary(results: &Results) -> String {
    let verdict = Verdict::of(results);
    let mut text = format!(
        "{}: {} (seed {}, {})\n",
        results.scenario,
        verdict.sentence(results),
        results.seed,
        number::seconds(results.duration_s),
    );
    for gate in &results.gates {
        let word = match (verdict.is_valid(), gate.is_held) {
            (false, _) => "not valid",
            (true, true) => "held",
            (true, false) => "BREACHED",
        };
        text += &format!("  {word:<9} {:<34} measured {}\n", gate.gate, number::measured(gate));
    }
    for step in &results.steps {
        let word = if step.is_held { "held" } else { "breached" };
        text += &format!("  step {:>9}/s  {word}\n", number::digits(step.rate));
    }
    for figure in figure::shown() {
        if let Some(value) = figure.value(results) {
            let value = number::value(Some(value), figure.unit);
            text += &format!("  {:<32} {value:>14}\n", figure.name);
        }
    }
    for (class, count) in figure::failures(results) {
        let name = format!("failures {}", class_name(class));
        text += &format!("  {name:<32} {:>14}\n", number::count(count));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::fixture;

    #[test]
    fn a_line_says_rates_of_its_own_length() {
        let mut interval = Interval {
            at_s: 12.0,
            sessions: 1_500,
            stalled: 3,
            arrivals: 40,
            requests: 2_000,
            bytes: 1_000_000,
            hits: 9,
            misses: 1,
            rig_cpu: 0.5,
            ..Interval::default()
        };
        interval.first_byte_us.record(2_500);
        let text = line(&interval, 2.0);
        for part in [
            "12 s",
            "sessions  1,500 (3 stalled)",
            "arrivals 20/s",
            "requests 1,000/s",
            "4 Mbit/s",
            "hits 90 %",
            "startup p95 –",
            "ttfb p50 2.5 ms",
            "rig 50 % cpu, lag p99 –",
        ] {
            assert!(text.contains(part), "{part} is missing in {text}");
        }
        assert!(!text.contains('\n'));
    }

    #[test]
    fn the_summary_says_the_verdict_first_and_no_figure_of_nothing() {
        let text = summary(&fixture::results(7));
        assert!(text.starts_with("flash-crowd: 1 of 4 gates breached."), "{text}");
        assert!(text.contains("  BREACHED  rebuffer_ratio<1%"), "{text}");
        assert!(text.contains("startup_p95") && text.contains("failures timeout"), "{text}");
        assert!(!summary(&Results::new("smoke", 1)).contains("startup_p95"));
    }
}
