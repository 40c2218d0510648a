//! The PoPs on a screen, the worst first.
//!
//! What needs somebody stands first; a column that a narrow screen has no room for is left out.

use ratatui::{
    style::{Color, Stylize as _},
    text::Line,
};

use super::Content;
use crate::{
    api::model::{PopList, PopView},
    cli::{
        failure::Failure,
        output::{Output, or_dash},
        pop,
    },
};

/// The PoPs.
#[derive(Default)]
pub(super) struct Pops(Vec<PopView>);

impl Content for Pops {
    type Answer = PopList;

    fn path(&self) -> String {
        "/v1/pops".to_owned()
    }

    fn take(&mut self, answer: PopList) {
        self.0 = answer.pops;
        self.0.sort_by(|a, b| (rank(&a.state), &a.pop).cmp(&(rank(&b.state), &b.pop)));
    }

    fn title(&self) -> String {
        let up = self.0.iter().filter(|pop| pop.state == "up").count();
        let purges = self.0.iter().map(|pop| pop.purge_head).max().unwrap_or(0);
        format!("tidegate  {up}/{} PoPs up  purge head {purges}", self.0.len())
    }

    fn rows(&self) -> usize {
        self.0.len()
    }

    fn columns(&self, width: u16) -> Vec<(&'static str, u16)> {
        columns(width).map(|column| (column.title, column.width)).collect()
    }

    fn row(&self, at: usize, width: u16) -> Vec<Line<'static>> {
        self.0
            .get(at)
            .into_iter()
            .flat_map(|pop| columns(width).map(|column| (column.cell)(pop)))
            .collect()
    }

    fn print(&self, out: &Output) -> Result<(), Failure> {
        pop::print_list(&self.0, out)
    }
}

/// One column, and how much of a screen is needed before it is shown.
struct Column {
    title: &'static str,
    width: u16,
    needs: u16,
    cell: fn(&PopView) -> Line<'static>,
}

/// The columns that a screen of some width has room for.
fn columns(width: u16) -> impl Iterator<Item = &'static Column> {
    COLUMNS.iter().filter(move |column| column.needs <= width)
}

fn state(pop: &PopView) -> Line<'static> {
    let color = match pop.state.as_str() {
        "up" => Color::Green,
        "down" => Color::Red,
        _ => Color::Yellow,
    };
    Line::from(pop.state.clone()).fg(color)
}

fn nodes(pop: &PopView) -> Line<'static> {
    let up = pop.nodes.iter().filter(|node| node.state == "up").count();
    format!("{up}/{}", pop.nodes.len()).into()
}

fn generation(pop: &PopView) -> Line<'static> {
    let oldest = pop.nodes.iter().map(|node| node.generation).min();
    format!("{}/{}", or_dash(oldest), pop.generation).into()
}

fn purge_lag(pop: &PopView) -> Line<'static> {
    or_dash(pop.nodes.iter().filter_map(|node| node.purge_lag).max()).into()
}

fn hit_ratio(pop: &PopView) -> Line<'static> {
    let health = || pop.nodes.iter().filter_map(|node| node.health.as_ref());
    let requests: u64 = health().map(|health| health.requests_total).sum();
    let hits: u64 = health().map(|health| health.hits_total).sum();
    let ratio = (requests > 0).then(|| format!("{:.1} %", hits as f64 * 100.0 / requests as f64));
    or_dash(ratio).into()
}

/// What needs somebody stands first.
fn rank(state: &str) -> u8 {
    match state {
        "down" => 0,
        "uncertain" => 1,
        "not_ready" => 2,
        "draining" => 3,
        "empty" => 4,
        _ => 5,
    }
}

#[rustfmt::skip]
const COLUMNS: [Column; 7] = [
    Column { title: "POP", width: 18, needs: 0, cell: |pop| pop.pop.to_string().into() },
    Column { title: "ROLE", width: 8, needs: 80, cell: |pop| pop.role.as_str().into() },
    Column { title: "STATE", width: 10, needs: 0, cell: state },
    Column { title: "NODES", width: 7, needs: 38, cell: nodes },
    Column { title: "GENERATION", width: 12, needs: 80, cell: generation },
    Column { title: "PURGE LAG", width: 10, needs: 50, cell: purge_lag },
    Column { title: "HIT RATIO", width: 10, needs: 61, cell: hit_ratio },
];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{
        super::{Key, Screen, drawn},
        *,
    };

    fn pop(name: &str, state: &str) -> PopView {
        serde_json::from_value(json!({
            "pop": name, "role": "edge", "state": state, "generation": 5, "purge_head": 9,
            "nodes": [{
                "node": "n1", "state": state, "connected": true, "build": "x", "generation": 4,
                "purge_applied": 9, "purge_lag": 3, "heard_unix_ms": 1,
                "certificate_expires_unix_ms": 1,
                "health": {
                    "ready": true, "draining": false, "requests_total": 8, "hits_total": 6,
                    "errors_total": 0, "cache_bytes": 0, "started_unix_ms": 0
                },
            }],
        }))
        .expect("a PoP")
    }

    #[test]
    fn the_worst_stands_first_and_any_size_is_drawn() {
        let mut screen = Screen { content: Pops::default(), failure: None, first: 0 };
        let pops = vec![pop("ams", "up"), pop("fra", "down"), pop("bom", "draining")];
        screen.take(PopList { pops });
        let text = drawn(&screen, 80, 10);
        let at = |name: &str| text.find(name).unwrap_or_else(|| panic!("{name}: {text}"));
        assert!(at("fra") < at("bom") && at("bom") < at("ams"), "{text}");
        assert!(text.contains("1/3 PoPs up") && text.contains("75.0 %") && text.contains("4/5"));
        screen.failure = Some("gone".into());
        assert!(drawn(&screen, 80, 10).contains("last known; gone"));
        let narrow = drawn(&screen, 40, 10);
        assert!(narrow.contains("draining") && narrow.contains("NODES"), "{narrow}");
        assert!(!narrow.contains("GENERATION"), "{narrow}");
        for (width, height) in [(1, 1), (20, 3), (200, 2)] {
            drawn(&screen, width, height);
        }
        screen.turn(Key::Down);
        assert!(!drawn(&screen, 80, 10).contains("fra"));
    }
}
