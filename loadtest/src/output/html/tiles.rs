//! The few numbers that say how it was for the viewers, large and in words.
//!
//! Invariant: a tile whose gate was breached says so.

use super::markup::escape;
use crate::{
    output::number,
    results::{
        Results,
        figure::{Figure, Unit},
        verdict::Verdict,
    },
};

/// One number, with what stands beside it.
struct Tile {
    title: &'static str,
    /// Figures: the large one, and the small ones with their words.
    main: &'static str,
    beside: &'static [(&'static str, &'static str)],
    words: &'static str,
}

pub(super) fn tiles(results: &Results) -> String {
    let tiles: String = TILES.iter().filter_map(|tile| markup(tile, results)).collect();
    if tiles.is_empty() {
        return String::new();
    }
    format!("<section id=\"quality\" class=\"tiles\" aria-label=\"Quality\">\n{tiles}</section>\n")
}

/// `None` where nothing was measured.
fn markup(tile: &Tile, results: &Results) -> Option<String> {
    let say = |name: &str| {
        let figure = Figure::of(name).expect("a test reads every tile");
        let value = figure.value(results).filter(|value| value.is_finite());
        value.map(|value| split(&number::value(Some(value), figure.unit), figure.unit))
    };
    let main = say(tile.main)?;
    let beside: String = tile
        .beside
        .iter()
        .filter_map(|(label, name)| {
            Some(format!("<span><b>{}</b> {}</span>", say(name)?, escape(label)))
        })
        .collect();
    let figures = || std::iter::once(tile.main).chain(tile.beside.iter().map(|(_, name)| *name));
    let is_valid = Verdict::of(results).is_valid();
    let breached = results.gates.iter().filter(|_| is_valid).find(|gate| {
        !gate.is_held && figures().any(|name| name == number::figure_name(&gate.gate))
    });
    let (class, note) = match breached {
        Some(gate) => {
            (" breached", format!("<p class=\"note\">✕ breached: {}</p>", escape(&gate.gate)))
        }
        None => ("", String::new()),
    };
    Some(format!(
        "<article class=\"tile{class}\"><h3>{}</h3><p class=\"main\">{main}</p><p class=\"beside\">{beside}</p>\
         {note}<p class=\"words\">{}</p></article>\n",
        escape(tile.title),
        escape(tile.words),
    ))
}

/// The unit smaller than the number.
fn split(text: &str, unit: Unit) -> String {
    match text.split_once(' ') {
        Some((number, rest)) if !matches!(unit, Unit::Count) => {
            format!("{}<small>\u{202f}{}</small>", escape(number), escape(rest))
        }
        _ => escape(text),
    }
}

const TILES: &[Tile] = &[
    Tile {
        title: "Startup time",
        main: "startup_p50",
        beside: &[("p95", "startup_p95"), ("p99", "startup_p99")],
        words: "From the wish to watch to the first frame. Half of the viewers waited less than the large number.",
    },
    Tile {
        title: "Rebuffering ratio",
        main: "rebuffer_ratio",
        beside: &[("stalls", "stalls_per_minute"), ("views without", "views_without_stall")],
        words: "Of the time after the first frame, the share in which the picture stood still.",
    },
    Tile {
        title: "Failed starts",
        main: "failed_starts",
        beside: &[("left before start", "exits_before_start"), ("broke off", "failed_playbacks")],
        words: "Views of which nothing could be shown; and those whose viewer left first, or which broke off later.",
    },
    Tile {
        title: "Average bitrate",
        main: "mean_bitrate",
        beside: &[("p5 of views", "bitrate_p5"), ("switches", "switches_per_minute")],
        words: "What was played, weighted by time. The worst twentieth of the views got less than the p5.",
    },
    Tile {
        title: "Live latency",
        main: "live_latency_p50",
        beside: &[("p95", "live_latency_p95"), ("p99", "live_latency_p99")],
        words: "How far behind the live edge viewers were.",
    },
    Tile {
        title: "Hit ratio",
        main: "hit_ratio",
        beside: &[("segment TTFB p50", "segment_ttfb_p50"), ("p99", "segment_ttfb_p99")],
        words: "Answers that came from a cache, of those that tell. TTFB: the wait for the first byte.",
    },
    Tile {
        title: "Errors",
        main: "error_rate",
        beside: &[("corrupt", "corrupt"), ("blocked", "blocked")],
        words: "Fetches that gave no object. Corrupt: not the bytes that were published. Blocked: sessions that could not begin in time.",
    },
    Tile {
        title: "Throughput",
        main: "throughput",
        beside: &[("requests", "request_rate"), ("views", "views")],
        words: "Bodies, over the whole run, its beginning and end included.",
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::fixture;

    #[test]
    fn every_tile_names_figures_that_are_there() {
        for tile in TILES {
            for name in std::iter::once(tile.main).chain(tile.beside.iter().map(|(_, name)| *name))
            {
                assert!(Figure::of(name).is_some(), "{name}");
            }
        }
    }

    #[test]
    fn a_breached_gate_is_said_on_its_tile() {
        let text = tiles(&fixture::results(7));
        assert_eq!(text.matches("tile breached").count(), 1);
        assert!(text.contains("✕ breached: rebuffer_ratio&lt;1%"), "{text}");
        let mut saturated = fixture::results(7);
        saturated.rig.saturated.push("loop lag".to_owned());
        assert_eq!(tiles(&saturated).matches("tile breached").count(), 0);
        assert_eq!(tiles(&Results::new("smoke", 1)).matches("<article").count(), 0);
    }
}
