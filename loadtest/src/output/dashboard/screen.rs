//! What the dashboard draws: pure, from one interval, the totals and a short history.
//!
//! Invariant: it draws on any size without failing; at 80 columns by 24 rows nothing is cut off.

use std::{collections::VecDeque, time::Duration};

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style, Stylize as _},
    text::{Line, Span},
    widgets::{Block, BorderType, Paragraph, Sparkline},
};

use crate::{
    output::number,
    results::{
        Histogram, Interval, Results,
        figure::{self, Figure, Unit, class_name},
    },
};

/// The history, and what is known of the run from its beginning.
pub(super) struct Screen {
    planned: Option<Duration>,
    points: VecDeque<Point>,
    last_at_s: Option<f64>,
    length_s: f64,
}

/// One interval in the curves.
#[derive(Debug, Clone, Copy)]
struct Point {
    sessions: u64,
    kilobits: u64,
    first_byte_us: u64,
}

impl Screen {
    pub(super) fn new(planned: Option<Duration>) -> Self {
        Self { planned, points: VecDeque::new(), last_at_s: None, length_s: 1.0 }
    }

    pub(super) fn push(&mut self, interval: &Interval) {
        if let Some(length_s) = self.last_at_s.map(|last| interval.at_s - last)
            && length_s > 0.0
        {
            self.length_s = length_s;
        }
        self.last_at_s = Some(interval.at_s);
        if self.points.len() == POINTS_MAX {
            self.points.pop_front();
        }
        self.points.push_back(Point {
            sessions: interval.sessions,
            kilobits: (interval.bytes as f64 * 8e-3 / self.length_s) as u64,
            first_byte_us: interval.first_byte_us.quantile(0.99).unwrap_or(0),
        });
    }

    pub(super) fn draw(&self, frame: &mut Frame<'_>, interval: &Interval, totals: &Results) {
        let rows = Layout::vertical([
            Constraint::Length(1),
            Constraint::Length(8),
            Constraint::Fill(1),
            Constraint::Length(6),
            Constraint::Length(1),
        ]);
        let [title, top, middle, curves, foot] = rows.areas(frame.area());
        frame.render_widget(self.title(interval, totals), title);
        let [a, b, c] = thirds(top);
        frame.render_widget(rows_in("Viewers", self.viewers(interval), a), a);
        frame.render_widget(rows_in("Quality so far", quality(totals), b), b);
        frame.render_widget(rows_in("The rig itself", rig(interval, totals), c), c);
        let [a, b, c] = thirds(middle);
        frame.render_widget(rows_in("Delivery", self.delivery(interval), a), a);
        frame.render_widget(rows_in("Failures so far", failures(totals), b), b);
        frame.render_widget(rows_in("PoPs: hits, TTFB p99", pops(totals, c), c), c);
        self.curves(frame, curves);
        let keys = " q or Ctrl-C stops the run and writes its report";
        frame.render_widget(Paragraph::new(keys).dim(), foot);
    }

    fn title(&self, interval: &Interval, totals: &Results) -> Paragraph<'static> {
        let now = number::seconds((interval.at_s + self.length_s).round());
        let of = self.planned.map(|planned| number::seconds(planned.as_secs_f64().round()));
        let of = of.map_or_else(String::new, |of| format!(" of {of}"));
        let health = match totals.rig.saturated.first() {
            None => Span::styled(" rig ok ", Style::new().fg(Color::Black).bg(Color::Green)),
            Some(_) => {
                Span::styled(" RIG SATURATED ", Style::new().fg(Color::White).bg(Color::Red).bold())
            }
        };
        let scenario: String = totals.scenario.chars().take(SCENARIO_WIDTH).collect();
        Paragraph::new(Line::from(vec![
            Span::styled(format!(" {scenario} "), Style::new().add_modifier(Modifier::REVERSED)),
            Span::raw(format!("  {now}{of}  seed {}  ", totals.seed)),
            health,
        ]))
    }

    fn viewers(&self, interval: &Interval) -> Vec<Row> {
        let stalled = ratio(interval.stalled, interval.sessions);
        let is_bad = stalled.is_some_and(|share| share > 0.02);
        vec![
            Row::new("sessions", number::count(interval.sessions)),
            Row::new("playing", number::count(interval.playing)),
            Row::new("stalled", number::count(interval.stalled)).bad_if(is_bad),
            Row::new("arrivals", self.rate(interval.arrivals)),
            Row::new("blocked", number::count(interval.blocked)).bad_if(interval.blocked > 0),
            Row::new("startup p95", quantile(&interval.startup_ms, 0.95, 1.0)),
        ]
    }

    fn delivery(&self, interval: &Interval) -> Vec<Row> {
        let bits = interval.bytes as f64 * 8.0 / self.length_s;
        let hits = figure::hit_ratio(interval.hits, interval.misses);
        vec![
            Row::new("throughput", number::value(Some(bits), Unit::BitsPerSecond)),
            Row::new("requests", self.rate(interval.requests)),
            Row::new("failures", self.rate(interval.failures)).bad_if(interval.failures > 0),
            Row::new("hit ratio", number::value(hits, Unit::Share)),
            Row::new("TTFB p50", quantile(&interval.first_byte_us, 0.5, 1e-3)),
            Row::new("TTFB p95", quantile(&interval.first_byte_us, 0.95, 1e-3)),
            Row::new("TTFB p99", quantile(&interval.first_byte_us, 0.99, 1e-3)),
        ]
    }

    fn rate(&self, count: u64) -> String {
        number::value(Some(count as f64 / self.length_s), Unit::PerSecond)
    }

    fn curves(&self, frame: &mut Frame<'_>, area: Rect) {
        let curves: [Curve; 3] = [
            ("Sessions", |point| point.sessions, Color::Blue, number::count),
            (
                "Traffic",
                |point| point.kilobits,
                Color::Cyan,
                |kilobits| number::value(Some(kilobits as f64 * 1e3), Unit::BitsPerSecond),
            ),
            (
                "TTFB p99",
                |point| point.first_byte_us,
                Color::Magenta,
                |us| number::milliseconds(us as f64 / 1e3),
            ),
        ];
        for ((name, of, color, say), area) in curves.into_iter().zip(thirds(area)) {
            let width = usize::from(area.width.saturating_sub(2));
            let skipped = self.points.len().saturating_sub(width);
            let points: Vec<u64> = self.points.iter().skip(skipped).map(of).collect();
            let most = points.iter().copied().max().unwrap_or(0);
            let title = format!("{name}, max {}", say(most));
            frame.render_widget(
                Sparkline::default().data(&points).style(color).block(block(title)),
                area,
            );
        }
    }
}

/// A name, what it draws, its colour, and how its largest value is said.
type Curve = (&'static str, fn(&Point) -> u64, Color, fn(u64) -> String);

/// A name and a value, each at its edge.
struct Row {
    name: String,
    value: String,
    is_bad: bool,
}

impl Row {
    fn new(name: impl Into<String>, value: String) -> Self {
        Self { name: name.into(), value, is_bad: false }
    }

    fn bad_if(self, is_bad: bool) -> Self {
        Self { is_bad, ..self }
    }

    fn line(self, width: usize) -> Line<'static> {
        let taken = self.value.chars().count() + 1;
        let name: String = self.name.chars().take(width.saturating_sub(taken)).collect();
        let gap = width.saturating_sub(name.chars().count() + taken - 1);
        let style =
            if self.is_bad { Style::new().fg(Color::Red).bold() } else { Style::new().bold() };
        Line::from(vec![
            Span::raw(name),
            Span::raw(" ".repeat(gap)),
            Span::styled(self.value, style),
        ])
    }
}

fn quality(totals: &Results) -> Vec<Row> {
    let say = |name: &str, label: &str| {
        let figure = Figure::of(name).expect("a test draws it");
        Row::new(label, number::value(figure.value(totals), figure.unit))
    };
    vec![
        say("startup_p50", "startup p50"),
        say("startup_p95", "startup p95"),
        say("startup_p99", "startup p99"),
        say("rebuffer_ratio", "rebuffering"),
        say("failed_starts", "failed starts"),
        say("mean_bitrate", "mean bitrate"),
    ]
}

fn rig(interval: &Interval, totals: &Results) -> Vec<Row> {
    let lag = interval.loop_lag_us.quantile(0.99);
    let late = totals.arrivals.schedule_error_us.quantile(0.99);
    let errors = totals.rig.socket_errors;
    vec![
        Row::new("busiest worker", number::value(Some(interval.rig_cpu), Unit::Share))
            .bad_if(interval.rig_cpu > 0.9),
        Row::new("workers", number::count(totals.rig.workers.into())),
        Row::new("loop lag p99", micro(lag)).bad_if(lag.is_some_and(|lag| lag > 10_000)),
        Row::new("starts late p99", micro(late)).bad_if(late.is_some_and(|late| late > 10_000)),
        Row::new("socket errors", number::count(errors)).bad_if(errors > 0),
        Row::new("memory peak", number::bytes(totals.rig.memory_peak_bytes)),
    ]
}

fn failures(totals: &Results) -> Vec<Row> {
    let failures = figure::failures(totals);
    if failures.is_empty() {
        return vec![Row::new("none", String::new())];
    }
    let rows = failures.into_iter();
    rows.map(|(class, count)| Row::new(class_name(class), number::count(count)).bad_if(true))
        .collect()
}

/// The busiest ones that there is room for.
fn pops(totals: &Results, area: Rect) -> Vec<Row> {
    let mut pops: Vec<_> = totals.pops.iter().collect();
    pops.sort_by_key(|(_, pop)| std::cmp::Reverse(pop.count));
    let room = usize::from(area.height.saturating_sub(2)).max(1);
    let rest = pops.len().saturating_sub(room);
    let shown = if rest > 0 { room - 1 } else { room };
    let mut rows: Vec<Row> = pops
        .iter()
        .take(shown)
        .map(|(name, pop)| {
            let hits = number::value(figure::hit_ratio(pop.hits, pop.misses), Unit::Share);
            let first_byte = quantile(&pop.first_byte_us, 0.99, 1e-3);
            Row::new(printable(name), format!("{hits:>7} {first_byte:>7}"))
        })
        .collect();
    if rest > 0 {
        rows.push(Row::new(format!("and {} more", pops.len() - shown), String::new()));
    }
    rows
}

/// A server names itself: nothing of that may steer the terminal.
fn printable(name: &str) -> String {
    name.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

fn quantile(values: &Histogram, share: f64, scale: f64) -> String {
    let value = values.quantile(share).map(|value| value as f64 * scale);
    number::value(value, Unit::Milliseconds)
}

fn micro(value: Option<u64>) -> String {
    number::value(value.map(|value| value as f64 / 1e3), Unit::Milliseconds)
}

fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

fn rows_in(title: &'static str, rows: Vec<Row>, area: Rect) -> Paragraph<'static> {
    let width = usize::from(area.width.saturating_sub(2));
    let lines: Vec<Line<'_>> = rows.into_iter().map(|row| row.line(width)).collect();
    Paragraph::new(lines).block(block(title.to_owned()))
}

fn block(title: String) -> Block<'static> {
    Block::bordered()
        .border_type(BorderType::Rounded)
        .border_style(Style::new().fg(Color::DarkGray))
        .title(Span::styled(title, Style::new().fg(Color::Reset).bold()))
}

fn thirds(area: Rect) -> [Rect; 3] {
    Layout::horizontal([Constraint::Fill(1), Constraint::Fill(1), Constraint::Fill(1)]).areas(area)
}

/// More than the columns of any terminal's third.
const POINTS_MAX: usize = 600;
/// Columns that a scenario's name may take of the title.
const SCENARIO_WIDTH: usize = 24;

#[cfg(test)]
mod tests {
    use ratatui::{Terminal, backend::TestBackend};

    use super::*;
    use crate::output::fixture;

    fn drawn(width: u16, height: u16, totals: &Results) -> String {
        let mut screen = Screen::new(Some(Duration::from_secs(300)));
        totals.intervals.iter().for_each(|interval| screen.push(interval));
        let last = totals.intervals.last().cloned().unwrap_or_default();
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| screen.draw(frame, &last, totals)).unwrap();
        let buffer = terminal.backend().buffer();
        let symbols: Vec<&str> = buffer.content.iter().map(|cell| cell.symbol()).collect();
        symbols.chunks(usize::from(width)).map(|row| row.concat() + "\n").collect()
    }

    #[test]
    fn eighty_by_twenty_four_shows_everything() {
        let totals = fixture::results(7);
        let text = drawn(80, 24, &totals);
        for part in [
            " flash-crowd   5 min of 5 min  seed 7   rig ok",
            "sessions",
            "playing",
            "stalled",
            "arrivals",
            "startup p99",
            "rebuffering",
            "mean bitrate",
            "failed starts",
            "busiest worker",
            "starts late p99",
            "socket errors",
            "hit ratio",
            "TTFB p99",
            "timeout",
            "server-error",
            "ams-1",
            "sjc-1",
            "Sessions, max",
            "Traffic, max",
            "q or Ctrl-C stops",
        ] {
            assert!(text.contains(part), "{part:?} is missing in\n{text}");
        }
    }

    #[test]
    fn any_size_is_drawn_and_a_sick_rig_is_said() {
        let mut totals = fixture::results(7);
        totals.rig.saturated.push("loop lag".to_owned());
        totals.pops.insert("\u{1b}[2Jevil".to_owned(), totals.pops["fra-1"].clone());
        for (width, height) in [(1, 1), (20, 5), (79, 23), (120, 40), (300, 100)] {
            let text = drawn(width, height, &totals);
            assert!(!text.contains('\u{1b}'));
            if width >= 79 {
                assert!(text.contains("RIG SATURATED"), "{text}");
            }
            if height >= 40 {
                assert!(text.contains("?[2Jevil"), "{text}");
            }
        }
        drawn(80, 24, &Results::new("smoke", 1));
    }
}
