//! Medians over the rounds, each beside the best peer of the same run.

use std::collections::BTreeMap;

use crate::load::Protocol;

/// Every figure of every round.
pub(crate) struct Figures {
    peers: Vec<&'static str>,
    cells: BTreeMap<Cell, BTreeMap<&'static str, Vec<f64>>>,
}

/// One line of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Cell {
    what: What,
    protocol: Option<Protocol>,
    size: usize,
    quantile: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Hits,
    Handshakes,
    FirstByte,
    Waited,
    Idle,
    Resident,
}

impl Cell {
    pub(crate) const IDLE: Self = Self::of(What::Idle);
    pub(crate) const RESIDENT: Self = Self::of(What::Resident);

    const fn of(what: What) -> Self {
        Self { what, protocol: None, size: 0, quantile: "" }
    }

    pub(crate) fn hits(protocol: Protocol, size: usize) -> Self {
        Self { protocol: Some(protocol), size, ..Self::of(What::Hits) }
    }

    pub(crate) fn handshakes(protocol: Protocol) -> Self {
        Self { protocol: Some(protocol), ..Self::of(What::Handshakes) }
    }

    pub(crate) fn first_byte(protocol: Protocol, size: usize, quantile: &'static str) -> Self {
        Self { protocol: Some(protocol), size, quantile, ..Self::of(What::FirstByte) }
    }

    /// Beside the time to the first byte: what of it others on this machine may have caused.
    pub(crate) fn waited(protocol: Protocol, size: usize) -> Self {
        Self { protocol: Some(protocol), size, ..Self::of(What::Waited) }
    }

    fn title(self) -> String {
        let protocol = self.protocol.map_or("", Protocol::name);
        let size = format!("{} KiB", self.size / 1024);
        match self.what {
            What::Hits => format!("{protocol} {size}, hits per CPU s"),
            What::Handshakes => format!("{protocol} new connections per CPU s"),
            What::FirstByte => format!("{protocol} {size}, first byte {} ms", self.quantile),
            What::Waited => format!("{protocol} {size}, ms a second without a free CPU"),
            What::Idle => "KiB per idle TLS connection".to_owned(),
            What::Resident => "MiB in all with these".to_owned(),
        }
    }

    fn is_better_higher(self) -> bool {
        matches!(self.what, What::Hits | What::Handshakes)
    }

    fn show(self, value: f64) -> String {
        match self.what {
            #[allow(clippy::cast_precision_loss)]
            What::Hits if self.size > 64 * 1024 => {
                format!("{value:.0} ({:.2} GB)", value * self.size as f64 / 1e9)
            }
            What::Hits | What::Handshakes => format!("{value:.0}"),
            What::FirstByte => format!("{value:.2}"),
            What::Waited | What::Idle | What::Resident => format!("{value:.1}"),
        }
    }
}

impl Figures {
    pub(crate) fn of(peers: Vec<&'static str>) -> Self {
        Self { peers, cells: BTreeMap::new() }
    }

    pub(crate) fn add(&mut self, cell: Cell, peer: &'static str, value: f64) {
        self.cells.entry(cell).or_default().entry(peer).or_default().push(value);
    }
}

/// The table, in Markdown so that it can be quoted. The ratio is the edge to the best peer: above 1 is better.
pub(crate) fn print(figures: &Figures) {
    println!("| | {} | edge to best peer |", figures.peers.join(" | "));
    println!("|---|{}", "---|".repeat(figures.peers.len() + 1));
    for (cell, values) in &figures.cells {
        let medians: BTreeMap<_, _> =
            values.iter().map(|(peer, values)| (*peer, median(values))).collect();
        let shown = |peer| medians.get(peer).map_or_else(|| "–".to_owned(), |v| cell.show(*v));
        let columns: Vec<_> = figures.peers.iter().map(shown).collect();
        let ratio = ratio(*cell, &medians).map_or_else(|| "–".to_owned(), |r| format!("{r:.2}"));
        println!("| {} | {} | {ratio} |", cell.title(), columns.join(" | "));
    }
}

/// Every figure of every round.
pub(crate) fn json(figures: &Figures) -> String {
    let cells: BTreeMap<_, _> =
        figures.cells.iter().map(|(cell, values)| (cell.title(), values)).collect();
    serde_json::to_string_pretty(&cells).expect("text and numbers")
}

fn ratio(cell: Cell, medians: &BTreeMap<&str, f64>) -> Option<f64> {
    let edge = medians.get("edge").filter(|_| cell.what != What::Waited)?;
    let peers = medians.iter().filter(|(name, _)| **name != "edge").map(|(_, value)| *value);
    if cell.is_better_higher() {
        peers.reduce(f64::max).map(|best| edge / best)
    } else {
        peers.reduce(f64::min).map(|best| best / edge)
    }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}
