//! What clients ask for most, on a screen or as a table.
//!
//! How many nodes told it stands in the first line: figures of half a fleet shall not be taken for all of it.

use ratatui::text::Line;

use super::{By, Content, Which};
use crate::{
    api::model::{TopItem, TopView},
    cli::{failure::Failure, output::Output},
};

/// Properties or paths.
pub(super) struct Busiest {
    of: &'static str,
    which: Which,
    view: TopView,
}

impl Busiest {
    /// `services` or `assets`.
    pub(super) fn of(of: &'static str, which: Which) -> Self {
        let view = TopView {
            nodes: 0,
            nodes_all: 0,
            low_by_requests_per_s: 0.0,
            low_by_mbps: 0.0,
            items: Vec::new(),
        };
        Self { of, which, view }
    }

    fn told(&self) -> String {
        let TopView { nodes, nodes_all, low_by_requests_per_s, low_by_mbps, .. } = self.view;
        let told = format!("as told by {nodes} of {nodes_all} nodes in the last minute");
        if low_by_requests_per_s > 0.0 || low_by_mbps > 0.0 {
            let (requests, mbps) = (low_by_requests_per_s, low_by_mbps);
            return format!(
                "{told}; a figure may be low by {requests:.1} requests/s, {mbps:.1} Mbit/s"
            );
        }
        told
    }
}

impl Content for Busiest {
    type Answer = TopView;

    fn path(&self) -> String {
        let by = match self.which.by {
            By::Requests => "requests",
            By::Bytes => "bytes",
        };
        let pop = self.which.pop.as_ref().map(|pop| format!("&pop={pop}")).unwrap_or_default();
        format!("/v1/top?of={}&by={by}{pop}", self.of)
    }

    fn take(&mut self, answer: TopView) {
        self.view = answer;
    }

    fn title(&self) -> String {
        let place = self.which.pop.as_ref().map_or("all PoPs", |pop| pop.as_str());
        format!("tidegate  {} of {place}, {}", self.of, self.told())
    }

    fn rows(&self) -> usize {
        self.view.items.len()
    }

    fn columns(&self, width: u16) -> Vec<(&'static str, u16)> {
        let figures = [("REQUESTS/S", 10), ("MBIT/S", 10), ("POPS", 5)];
        let figures = figures.into_iter().take(figures_of(width));
        // What is left is the name's: a path is long.
        let used: u16 = figures.clone().map(|(_, width)| width + 1).sum();
        figures.chain([("WHAT", width.saturating_sub(used))]).collect()
    }

    fn row(&self, at: usize, width: u16) -> Vec<Line<'static>> {
        let Some(item) = self.view.items.get(at) else { return Vec::new() };
        let [requests, mbps, pops, what] = row(item);
        let figures = [requests, mbps, pops].into_iter().take(figures_of(width));
        figures.chain([what]).map(Line::from).collect()
    }

    fn print(&self, out: &Output) -> Result<(), Failure> {
        out.note(&self.told());
        let header = ["WHAT", "REQUESTS/S", "MBIT/S", "POPS"];
        out.print(&self.view, header, |view| {
            let rows = view.items.iter().map(row);
            rows.map(|[requests, mbps, pops, what]| [what, requests, mbps, pops]).collect()
        })
    }
}

/// How many figures stand before the name.
fn figures_of(width: u16) -> usize {
    match width {
        0..40 => 1,
        40..60 => 2,
        _ => 3,
    }
}

fn row(item: &TopItem) -> [String; 4] {
    let path = item.path.as_deref().unwrap_or_default();
    [
        format!("{:.1}", item.requests_per_s),
        format!("{:.1}", item.mbps),
        item.pops.to_string(),
        format!("{}{path}", item.property),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{
        super::{Key, Screen, drawn},
        *,
    };

    #[test]
    fn figures_and_names_are_drawn_at_any_size_and_it_is_said_who_told_them() {
        let which = Which { pop: None, by: By::Bytes };
        let content = Busiest::of("assets", which);
        assert_eq!(content.path(), "/v1/top?of=assets&by=bytes");
        let mut screen = Screen { content, failure: None, first: 0 };
        let item = |path: &str| json!({"property": "demo", "path": path, "requests_per_s": 12.34, "mbps": 5.0, "pops": 2});
        let mut view =
            json!({"nodes": 3, "nodes_all": 4, "items": [item("/a.m4s"), item("/b.m4s")]});
        screen.take(serde_json::from_value(view.clone()).expect("a view"));
        assert!(!screen.content.told().contains("low"));
        view["low_by_requests_per_s"] = json!(2.5);
        screen.take(serde_json::from_value(view).expect("a view"));
        assert!(screen.content.told().ends_with("low by 2.5 requests/s, 0.0 Mbit/s"));
        let text = drawn(&screen, 100, 6);
        for word in ["told by 3 of 4 nodes", "12.3", "5.0", "demo/a.m4s", "POPS", "WHAT"] {
            assert!(text.contains(word), "{word}: {text}");
        }
        let narrow = drawn(&screen, 30, 6);
        assert!(narrow.contains("demo/a.m4s") && !narrow.contains("MBIT"), "{narrow}");
        for (width, height) in [(1, 1), (5, 2), (300, 90)] {
            drawn(&screen, width, height);
        }
        screen.turn(Key::Down);
        let turned = drawn(&screen, 100, 6);
        assert!(!turned.contains("/a.m4s") && turned.contains("/b.m4s"), "{turned}");
    }
}
