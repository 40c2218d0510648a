//! One plot as SVG: lines over an axis, with the words and marks around them.
//!
//! Colours are classes of the page's style sheet; every series also has its own dash, so that colour is never the
//! only difference. Invariant: what is not a number is a gap in the line, never 0.

use super::{
    markup::escape,
    scale::{Scale, round_up, time_step},
};
use crate::{output::number, results::figure::Unit};

/// A line.
pub(super) struct Series {
    pub(super) name: String,
    /// One for each place of the axis.
    pub(super) values: Vec<Option<f64>>,
    /// Which of the colours, 0 to 5.
    pub(super) colour: usize,
    /// Whether the area below it is filled.
    pub(super) is_area: bool,
}

/// What lies at the foot.
pub(super) enum Axis {
    /// Seconds, ascending.
    Time { at_s: Vec<f64>, length_s: f64 },
    /// Shares below which values lie, drawn by the number of nines.
    Percentiles(Vec<f64>),
}

/// Something that happened.
pub(super) struct Mark {
    pub(super) at_s: f64,
    pub(super) label: String,
    pub(super) name: String,
}

/// A plot, to be drawn.
pub(super) struct Plot<'a> {
    pub(super) title: &'a str,
    pub(super) unit: Unit,
    pub(super) is_log: bool,
    pub(super) axis: &'a Axis,
    pub(super) series: Vec<Series>,
    pub(super) marks: &'a [Mark],
}

impl Series {
    pub(super) fn line(name: &str, colour: usize, values: Vec<Option<f64>>) -> Self {
        Self { name: name.to_owned(), values, colour, is_area: false }
    }

    pub(super) fn area(name: &str, colour: usize, values: Vec<Option<f64>>) -> Self {
        Self { is_area: true, ..Self::line(name, colour, values) }
    }
}

impl Plot<'_> {
    /// The plot with its heading and legend.
    pub(super) fn markup(&self) -> String {
        let (low, high) = self.range();
        let y = if self.is_log {
            Scale::log((low, high), (BOTTOM, TOP))
        } else {
            let end = match self.unit {
                // A whole is all there is.
                Unit::Share if (0.4..=1.0).contains(&high) => 1.0,
                _ => round_up(high, Y_TICKS),
            };
            Scale::linear((0.0, end), (BOTTOM, TOP))
        };
        let x = self.x_scale();
        let mut svg = String::new();
        self.draw_y(&mut svg, y);
        self.draw_x(&mut svg, x);
        self.draw_marks(&mut svg, x);
        for series in &self.series {
            self.draw_series(&mut svg, series, x, y);
        }
        let legend: String = self
            .series
            .iter()
            .map(|series| {
                format!(
                    "<button type=\"button\" aria-pressed=\"true\" data-series=\"{0}\"><svg viewBox=\"0 0 22 6\" \
                     aria-hidden=\"true\"><line class=\"line c{0}\" x1=\"0\" y1=\"3\" x2=\"22\" y2=\"3\"/></svg>{1}</button>",
                    series.colour,
                    escape(&series.name)
                )
            })
            .collect();
        format!(
            "<figure class=\"plot\">\n<figcaption>{0}</figcaption>\n<div class=\"legend\">{legend}</div>\n\
             <svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{0}\" data-x=\"{1}\">\n{svg}\
             <line class=\"cursor\" x1=\"0\" x2=\"0\" y1=\"{TOP}\" y2=\"{BOTTOM}\"/>\n</svg>\n\
             <output class=\"readout\"></output>\n</figure>\n",
            escape(self.title),
            escape(&self.x_words(x)),
        )
    }

    fn values(&self) -> impl Iterator<Item = f64> + '_ {
        let values = self.series.iter().flat_map(|series| series.values.iter().flatten());
        values.map(|value| value.min(VALUE_MAX))
    }

    fn range(&self) -> (f64, f64) {
        let high = self.values().fold(0.0, f64::max);
        let low = self.values().filter(|value| *value > 0.0).fold(f64::INFINITY, f64::min);
        match low.is_finite() {
            true if self.is_log => (low * 0.9, high * 1.1),
            true => (low, high),
            false => (0.1, 1.0),
        }
    }

    fn x_scale(&self) -> Scale {
        let places = (LEFT, RIGHT);
        match self.axis {
            Axis::Time { at_s, length_s } => {
                let last = at_s.last().copied().unwrap_or(0.0) + length_s;
                Scale::linear((0.0, last), places)
            }
            Axis::Percentiles(shares) => {
                let last = shares.last().copied().unwrap_or(0.99);
                Scale::linear((0.0, nines(last).max(1.0)), places)
            }
        }
    }

    /// The middle of an interval, so that a line is not half of one early.
    fn x_of(&self, index: usize, x: Scale) -> f64 {
        match self.axis {
            Axis::Time { at_s, length_s } => {
                let step = at_s.get(index + 1).map_or(*length_s, |next| next - at_s[index]);
                x.place(at_s[index] + step / 2.0)
            }
            Axis::Percentiles(shares) => x.place(nines(shares[index])),
        }
    }

    fn draw_y(&self, svg: &mut String, y: Scale) {
        for tick in y.ticks(Y_TICKS) {
            let (at, text) = (y.place(tick), number::value(Some(tick), self.unit));
            svg.push_str(&format!(
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{RIGHT}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
                 <text class=\"y\" x=\"{}\" y=\"{:.1}\">{}</text>\n",
                LEFT - 6.0,
                at + 4.0,
                escape(&text)
            ));
        }
    }

    fn draw_x(&self, svg: &mut String, x: Scale) {
        let ticks: Vec<(f64, String)> = match self.axis {
            Axis::Time { at_s, length_s } => {
                let last = at_s.last().copied().unwrap_or(0.0) + length_s;
                let step = time_step(last, X_TICKS);
                let ticks = (0..=(last / step) as u32).map(|number| f64::from(number) * step);
                ticks.map(|tick| (x.place(tick), clock(tick))).collect()
            }
            Axis::Percentiles(shares) => {
                let last = shares.last().copied().unwrap_or(0.99);
                let known = NINES.iter().filter(|(share, _)| *share <= last + 1e-9);
                known.map(|(share, text)| (x.place(nines(*share)), (*text).to_owned())).collect()
            }
        };
        for (at, text) in ticks {
            svg.push_str(&format!(
                "<line class=\"tick\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{BOTTOM}\" y2=\"{}\"/>\
                 <text class=\"x\" x=\"{at:.1}\" y=\"{}\">{}</text>\n",
                BOTTOM + 4.0,
                BOTTOM + 18.0,
                escape(&text)
            ));
        }
    }

    fn draw_marks(&self, svg: &mut String, x: Scale) {
        for mark in self.marks {
            let at = x.place(mark.at_s);
            svg.push_str(&format!(
                "<g class=\"mark\"><title>{}</title><line x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{BOTTOM}\"/>\
                 <circle cx=\"{at:.1}\" cy=\"{}\" r=\"7.5\"/><text x=\"{at:.1}\" y=\"{}\">{}</text></g>\n",
                escape(&mark.name),
                TOP - 8.0,
                TOP - 4.5,
                escape(&mark.label)
            ));
        }
    }

    fn draw_series(&self, svg: &mut String, series: &Series, x: Scale, y: Scale) {
        let points: Vec<Option<(f64, f64)>> = series
            .values
            .iter()
            .enumerate()
            .map(|(index, value)| value.map(|value| (self.x_of(index, x), y.place(value))))
            .collect();
        let colour = series.colour;
        let mut dots = String::new();
        let mut line = String::new();
        let mut area = String::new();
        for run in points.split(Option::is_none).filter(|run| !run.is_empty()) {
            let run: Vec<(f64, f64)> = run.iter().flatten().copied().collect();
            let path: Vec<String> = run.iter().map(|(x, y)| format!("{x:.1} {y:.1}")).collect();
            line.push_str(&format!("M{}", path.join("L")));
            if let ([(only, height)], 1) = (run.as_slice(), run.len()) {
                dots.push_str(&format!(
                    "<circle class=\"dot c{colour}\" cx=\"{only:.1}\" cy=\"{height:.1}\" r=\"2\"/>"
                ));
            }
            let (first, last) = (run[0].0, run[run.len() - 1].0);
            area.push_str(&format!("M{first:.1} {BOTTOM}L{}L{last:.1} {BOTTOM}Z", path.join("L")));
        }
        let words: Vec<String> =
            series.values.iter().map(|v| number::value(*v, self.unit)).collect();
        svg.push_str(&format!("<g data-series=\"{colour}\">"));
        if series.is_area {
            svg.push_str(&format!("<path class=\"area c{colour}\" d=\"{area}\"/>"));
        }
        svg.push_str(&format!(
            "<path class=\"line c{colour}\" d=\"{line}\" data-name=\"{}\" data-values=\"{}\"/>{dots}</g>\n",
            escape(&series.name),
            escape(&words.join("|"))
        ));
    }

    /// Places and words of the foot, for the pointer.
    fn x_words(&self, x: Scale) -> String {
        let count = match self.axis {
            Axis::Time { at_s, .. } => at_s.len(),
            Axis::Percentiles(shares) => shares.len(),
        };
        let say = |index: usize| match self.axis {
            Axis::Time { at_s, .. } => number::seconds(at_s[index]),
            Axis::Percentiles(shares) => format!("p{}", percent(shares[index])),
        };
        let words: Vec<String> =
            (0..count).map(|index| format!("{:.1}:{}", self.x_of(index, x), say(index))).collect();
        words.join("|")
    }
}

/// 0.9 is one nine, 0.99 two.
pub(super) fn nines(share: f64) -> f64 {
    -(1.0 - share).max(1e-9).log10()
}

fn percent(share: f64) -> String {
    let text = format!("{:.4}", share * 100.0);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Minutes and seconds, or hours and minutes.
fn clock(seconds: f64) -> String {
    let whole = seconds as u64;
    match (whole / 3_600, whole / 60 % 60, whole % 60) {
        (0, 0, rest) if seconds.fract() > 0.0 => {
            format!("{}", f64::from(rest as u32) + seconds.fract())
        }
        (0, minutes, rest) => format!("{minutes}:{rest:02}"),
        (hours, minutes, 0) => format!("{hours}:{minutes:02} h"),
        (hours, minutes, rest) => format!("{hours}:{minutes:02}:{rest:02}"),
    }
}

/// Beyond what a histogram holds; an axis must have an end.
const VALUE_MAX: f64 = 1e19;
const WIDTH: f64 = 480.0;
const HEIGHT: f64 = 240.0;
const LEFT: f64 = 66.0;
const RIGHT: f64 = 468.0;
const TOP: f64 = 22.0;
const BOTTOM: f64 = 212.0;
const Y_TICKS: usize = 4;
const X_TICKS: usize = 5;
const NINES: [(f64, &str); 7] = [
    (0.0, "0 %"),
    (0.5, "50"),
    (0.9, "90"),
    (0.99, "99"),
    (0.999, "99.9"),
    (0.9999, "99.99"),
    (0.99999, "99.999"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn plot(values: Vec<Option<f64>>, is_log: bool) -> String {
        let at_s = (0..values.len()).map(|second| second as f64).collect();
        let series = Series { name: "p<99".to_owned(), values, colour: 2, is_area: true };
        let mark = Mark { at_s: 1.0, label: "1".to_owned(), name: "kill <pop>".to_owned() };
        Plot {
            title: "T & T",
            unit: Unit::Milliseconds,
            is_log,
            axis: &Axis::Time { at_s, length_s: 1.0 },
            series: vec![series],
            marks: &[mark],
        }
        .markup()
    }

    #[test]
    fn a_gap_breaks_the_line_and_a_lonely_point_is_a_dot() {
        let text = plot(vec![Some(1.0), Some(2.0), None, Some(4.0)], false);
        let line = text.split("class=\"line c2\" d=\"").nth(1).unwrap();
        let path = line.split('"').next().unwrap();
        assert_eq!(path.matches('M').count(), 2, "{path}");
        assert!(text.contains("class=\"dot c2\""));
        assert!(text.contains("data-values=\"1 ms|2 ms|–|4 ms\""), "{text}");
        assert!(
            text.contains("kill &lt;pop&gt;")
                && text.contains("p&lt;99")
                && text.contains("T &amp; T")
        );
    }

    #[test]
    fn nothing_to_draw_still_draws_axes() {
        for is_log in [false, true] {
            for values in [vec![], vec![None], vec![Some(0.0)], vec![Some(f64::MAX)]] {
                let text = plot(values, is_log);
                assert!(text.contains("class=\"grid\"") && !text.contains("NaN"), "{text}");
                assert!(!text.contains("inf"), "{text}");
            }
        }
    }

    #[test]
    fn clocks_say_minutes_and_hours() {
        for (seconds, text) in [(0.0, "0:00"), (90.0, "1:30"), (7_200.0, "2:00 h"), (0.5, "0.5")] {
            assert_eq!(clock(seconds), text);
        }
        assert!((nines(0.999) - 3.0).abs() < 1e-9);
    }
}
