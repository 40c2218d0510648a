//! The comparison as a page of the same kind as the report: a table whose intervals are drawn.
//!
//! Invariant: what is drawn beyond the plot's ends is cut at them, never left out.

use super::{Comparison, Estimate, Finding, Row, text};
use crate::output::{
    html::{Align, Cell, Table, escape, frame, section},
    number,
};

/// The page.
#[must_use]
pub fn page(comparison: &Comparison) -> String {
    let count = |finding| comparison.rows.iter().filter(|row| row.finding == finding).count();
    let (worse, better) = (count(Finding::Worse), count(Finding::Better));
    let (class, sign, sentence) = match (worse, better) {
        (0, 0) => ("measured", "=", "No difference that is more than chance.".to_owned()),
        (0, better) => ("held", "✓", format!("b is better in {better}, worse in none.")),
        (worse, 0) => ("breached", "✕", format!("b is worse in {worse}, better in none.")),
        (worse, better) => ("breached", "✕", format!("b is worse in {worse}, better in {better}.")),
    };
    let notes: String =
        comparison.notes.iter().map(|note| format!("<li>{}</li>", escape(note))).collect();
    let notes = match notes.as_str() {
        "" => String::new(),
        list => format!("<ul class=\"reasons\">{list}</ul>"),
    };
    let sides: String = [("a", &comparison.a), ("b", &comparison.b)]
        .into_iter()
        .map(|(name, side)| {
            format!(
                "<span>{name} <b>{}</b> {}</span>",
                escape(&text::said(side)),
                escape(&side.rig_version)
            )
        })
        .collect();
    let words = format!(
        "The bar is where b over a probably is: {:.0} of 100 such intervals hold the truth. To the left of the line b \
         is less, to the right more; the ends are a half and twice. How sure it is comes from each run alone: what \
         differs between two evenings is not in it.",
        comparison.confidence * 100.0
    );
    let body = format!(
        "<main>\n<header>\n<h1>Two runs</h1>\n<p class=\"run\">{sides}</p>\n<div class=\"verdict {class}\"><p>\
         <i aria-hidden=\"true\">{sign}</i><b>{}</b></p></div>\n</header>\n{notes}\n{}</main>",
        escape(&sentence),
        section("figures", "Figures", &words, &table(comparison).markup()),
    );
    frame("Two runs", &body, &comparison.json())
}

fn table(comparison: &Comparison) -> Table {
    let mut table = Table::new(&[
        ("Figure", Align::Text),
        ("Finding", Align::Text),
        ("a", Align::Number),
        ("b", Align::Number),
        ("b − a", Align::Number),
        ("b / a", Align::Number),
        ("", Align::Text),
        ("Interval", Align::Text),
    ]);
    for row in &comparison.rows {
        let ratio = row.ratio.map_or(number::DASH.to_owned(), |ratio| text::factor(ratio.value));
        table.row([
            Cell::Markup(format!(
                "<code title=\"{}\">{}</code>",
                escape(row.meaning),
                escape(&row.figure)
            )),
            finding(row.finding),
            number::value(row.a, row.of.unit).into(),
            number::value(row.b, row.of.unit).into(),
            difference(row).into(),
            ratio.into(),
            Cell::Markup(row.ratio.map_or(String::new(), |ratio| drawn(ratio, row.finding))),
            row.ratio.map_or(String::new(), text::range).into(),
        ]);
    }
    table
}

fn difference(row: &Row) -> String {
    match row.a.zip(row.b) {
        None => number::DASH.to_owned(),
        Some((a, b)) if a == b => "0".to_owned(),
        Some((a, b)) => {
            let sign = if b > a { "+" } else { "−" };
            let text = number::value(Some((b - a).abs()), row.of.unit);
            format!("{sign}{}", text.trim_start_matches(['<', '×']))
        }
    }
}

fn finding(finding: Finding) -> Cell {
    let text = escape(finding.as_str());
    Cell::Markup(match finding {
        Finding::Better => format!("<b class=\"held\">✓ {text}</b>"),
        Finding::Worse => format!("<b class=\"bad\">✕ {text}</b>"),
        _ => text,
    })
}

/// The interval around its middle, on a logarithmic scale from a half to twice.
fn drawn(ratio: Estimate, finding: Finding) -> String {
    let place = |value: f64| {
        let share = (value.max(f64::MIN_POSITIVE).log2() + 1.0) / 2.0;
        EDGE + share.clamp(0.0, 1.0) * (WIDTH - 2.0 * EDGE)
    };
    let class = match finding {
        Finding::Better => "c2",
        Finding::Worse => "c1",
        _ => "c5",
    };
    let (low, middle, high) = (place(ratio.low), place(ratio.value), place(ratio.high));
    format!(
        "<svg class=\"forest\" viewBox=\"0 0 {WIDTH} 18\" aria-hidden=\"true\"><line class=\"grid\" x1=\"{0}\" x2=\"{0}\" \
         y1=\"0\" y2=\"18\"/><rect class=\"area {class}\" x=\"{low:.1}\" y=\"5\" width=\"{1:.1}\" height=\"8\" rx=\"3\"/>\
         <circle class=\"{class}\" cx=\"{middle:.1}\" cy=\"9\" r=\"3.5\"/></svg>",
        WIDTH / 2.0,
        (high - low).max(2.0),
    )
}

const WIDTH: f64 = 180.0;
const EDGE: f64 = 6.0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::{compare::compare, fixture};

    #[test]
    fn the_page_counts_its_findings_and_escapes_what_it_was_given() {
        let mut b = fixture::slower(8, 2.0);
        b.scenario = "<script>".to_owned();
        let comparison = compare(&fixture::results(7), &b);
        let page = page(&comparison);
        assert!(page.contains("b is worse in"), "{page}");
        assert!(page.contains("the scenarios differ: flash-crowd and &lt;script&gt;"));
        assert_eq!(page.matches("<script").count(), 1);
        assert_eq!(
            page.matches("class=\"forest\"").count(),
            comparison.rows.iter().filter(|row| row.ratio.is_some()).count()
        );
        if let Some(dir) = std::env::var_os("TIDEGATE_LOAD_PAGES") {
            std::fs::write(std::path::Path::new(&dir).join("compare.html"), page).unwrap();
        }
    }

    #[test]
    fn an_interval_beyond_the_ends_is_cut_at_them() {
        let markup = drawn(Estimate { value: 9.0, low: 0.0, high: f64::MAX }, Finding::Worse);
        assert!(markup.contains("x=\"6.0\"") && markup.contains("width=\"168.0\""), "{markup}");
        assert!(markup.contains("cx=\"174.0\""), "{markup}");
    }
}
