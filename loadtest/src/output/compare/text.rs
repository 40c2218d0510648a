//! The comparison as a table for a terminal.
//!
//! Invariant: one line for each figure, its finding last.

use super::{Comparison, Estimate, Finding, Side};
use crate::output::number;

/// The table, with a line break at its end.
#[must_use]
pub fn table(comparison: &Comparison) -> String {
    let mut text = String::new();
    for (name, side) in [("a", &comparison.a), ("b", &comparison.b)] {
        text += &format!("{name}  {}\n", said(side));
    }
    for note in &comparison.notes {
        text += &format!("!  {note}\n");
    }
    let percent = comparison.confidence * 100.0;
    text += &format!(
        "\n{:<32} {:>12} {:>12} {:>8}  {:<17} finding\n",
        "figure",
        "a",
        "b",
        "b/a",
        format!("({percent:.0} in 100)")
    );
    for row in &comparison.rows {
        let (ratio, interval) = match row.ratio {
            Some(ratio) => (factor(ratio.value), range(ratio)),
            None => (number::DASH.to_owned(), String::new()),
        };
        let sign = match row.finding {
            Finding::Worse => "WORSE",
            other => other.as_str(),
        };
        text += &format!(
            "{:<32} {:>12} {:>12} {ratio:>8}  {interval:<17} {sign}\n",
            row.figure,
            number::value(row.a, row.of.unit),
            number::value(row.b, row.of.unit),
        );
    }
    text
}

pub(super) fn said(side: &Side) -> String {
    format!(
        "{} seed {}, {}, {}, {}",
        side.scenario,
        side.seed,
        number::seconds(side.duration_s),
        side.started_at,
        side.verdict
    )
}

pub(super) fn factor(value: f64) -> String {
    if value < 100.0 { format!("{value:.3}") } else { number::digits(value) }
}

pub(super) fn range(estimate: Estimate) -> String {
    format!("{} … {}", factor(estimate.low), factor(estimate.high))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::{compare::compare, fixture};

    #[test]
    fn each_figure_has_a_line_that_ends_with_its_finding() {
        let mut b = fixture::slower(8, 2.0);
        b.is_interrupted = true;
        let comparison = compare(&fixture::results(7), &b);
        let text = table(&comparison);
        assert!(text.starts_with("a  flash-crowd seed 7, 5 min, "), "{text}");
        assert!(text.contains("!  run b was interrupted"), "{text}");
        let line = text.lines().find(|line| line.starts_with("startup_p95")).unwrap();
        assert!(line.ends_with(" WORSE") && line.contains(" … "), "{line}");
        let rows = text.lines().skip_while(|line| !line.starts_with("figure")).skip(1);
        assert_eq!(rows.count(), comparison.rows.len());
    }
}
