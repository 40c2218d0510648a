//! Runs become figures: when traffic moved, how many packets were lost, and whether the clock was good enough to tell.
//!
//! Invariant: a run whose sender was held up, or that lost packets before anything happened, says nothing and is not
//! counted.

use std::fmt;

use super::flow::Packet;

/// One run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    /// From the event to the first packet that B answered, in milliseconds.
    pub(crate) moved_ms: Option<u64>,
    /// Packets lost after the event.
    pub(crate) lost: u64,
    /// Whether the run says anything.
    pub(crate) is_good: bool,
}

/// All runs of one event.
pub(crate) struct Figure {
    name: &'static str,
    lost_max: u64,
    runs: Vec<Run>,
    disturbed: usize,
}

impl Run {
    /// What packets say about an event.
    pub(crate) fn of(packets: &[Packet], event: u64) -> Self {
        let gaps = packets.windows(2).map(|pair| pair[1].0.saturating_sub(pair[0].0));
        let gap = gaps.max().unwrap_or(u64::MAX);
        let (before, after): (Vec<_>, Vec<_>) = packets.iter().partition(|(sent, _)| *sent < event);
        let is_at_home = |packet: &&&Packet| matches!(packet.1, Some(('A', _)));
        let stayed = before.iter().filter(is_at_home).count();
        let moved = after.iter().find(|(_, answer)| matches!(answer, Some(('B', _))));
        Self {
            moved_ms: moved.map(|(sent, _)| (sent - event) / 1000),
            lost: after.iter().filter(|(_, answer)| answer.is_none()).count() as u64,
            is_good: gap <= GAP_MAX_US && stayed == before.len() && !before.is_empty(),
        }
    }
}

impl Figure {
    pub(crate) fn new(name: &'static str, lost_max: u64) -> Self {
        Self { name, lost_max, runs: Vec::new(), disturbed: 0 }
    }

    pub(crate) fn wants_more(&self) -> bool {
        self.runs.len() < RUNS && self.disturbed < DISTURBED_MAX
    }

    pub(crate) fn add(&mut self, run: Run) {
        if run.is_good {
            println!("  {}: {run:?}", self.name);
            self.runs.push(run);
        } else {
            println!("  {}: a disturbed run, not counted: {run:?}", self.name);
            self.disturbed += 1;
        }
    }

    /// Whether the traffic moved, and no more was lost than may be. A machine too busy to measure on fails nobody.
    pub(crate) fn is_good(&self) -> bool {
        if self.runs.is_empty() {
            return true;
        }
        self.runs.iter().all(|run| run.moved_ms.is_some())
            && self.median(|run| run.lost) <= self.lost_max
    }

    fn median(&self, of: impl Fn(&Run) -> u64) -> u64 {
        let mut values: Vec<u64> = self.runs.iter().map(of).collect();
        values.sort_unstable();
        values.get(values.len() / 2).copied().unwrap_or(0)
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.runs.is_empty() {
            return write!(f, "{:<44}     0 (this machine is too busy to tell)", self.name);
        }
        let moved = self.median(|run| run.moved_ms.unwrap_or(u64::MAX));
        let lost = self.median(|run| run.lost);
        let verdict = if self.is_good() { "" } else { "  TOO MUCH" };
        let (name, runs) = (self.name, self.runs.len());
        write!(f, "{name:<44} {runs:>5} {moved:>12} {lost:>12}{verdict}")
    }
}

const RUNS: usize = 3;
/// Runs that say nothing, before this is given up.
const DISTURBED_MAX: usize = 6;
/// The longest that the sender may be held up.
const GAP_MAX_US: u64 = 60_000;
