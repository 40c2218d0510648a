//! The results document: what is written as JSON, and what every figure comes from.
//!
//! Invariant: a field holds counts, sums or histograms, of which those of parts can be added; never an average or a
//! percentile, of which they cannot.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::histogram::Histogram;
use crate::kind::{FailureClass, ObjectKind, Protocol};

/// The results document. `schema` grows when a reader of the old one would be misled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Results {
    pub schema: u32,
    /// Version and commit of the rig.
    pub rig_version: String,
    pub scenario: String,
    pub seed: u64,
    /// RFC 3339.
    pub started_at: String,
    /// Seconds from the first scheduled arrival to the end.
    pub duration_s: f64,
    pub is_interrupted: bool,
    pub arrivals: Arrivals,
    pub fetches: Vec<Fetches>,
    pub connections: BTreeMap<Protocol, Connections>,
    pub quality: Quality,
    /// By who answered; at most 256, the rest under `other`.
    pub pops: BTreeMap<String, Pop>,
    pub faults: Vec<Fault>,
    /// By time, for plots.
    pub intervals: Vec<Interval>,
    pub rig: Rig,
    pub gates: Vec<GateOutcome>,
    /// The knee search's steps, when the scenario has one.
    pub steps: Vec<Step>,
    /// The scenario as it was run, so that it can be run again; empty when it is not known. Never a secret.
    #[serde(default)]
    pub scenario_text: String,
    /// What went wrong with the run itself, like an agent that was lost; empty when nothing did.
    #[serde(default)]
    pub failed: Vec<String>,
}

/// Sessions that were to begin.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Arrivals {
    pub scheduled: u64,
    pub begun: u64,
    /// Could not begin in time.
    pub blocked: u64,
    /// Microseconds between the scheduled beginning and the real one.
    pub schedule_error_us: Histogram,
}

/// All fetches of one kind over one protocol.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fetches {
    pub kind: ObjectKind,
    pub protocol: Protocol,
    pub count: u64,
    pub bytes: u64,
    pub hits: u64,
    pub misses: u64,
    /// The answer does not tell.
    pub untold: u64,
    pub failures: BTreeMap<FailureClass, u64>,
    /// Microseconds from when the player wanted it.
    pub first_byte_us: Histogram,
    pub took_us: Histogram,
    /// Thousandths: time over media duration; segments and parts.
    pub time_over_duration: Histogram,
}

/// Connections of one protocol.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Connections {
    pub opened: u64,
    pub resumed: u64,
    pub early: u64,
    pub migrated: u64,
    pub failures: BTreeMap<FailureClass, u64>,
    pub dns_us: Histogram,
    pub connect_us: Histogram,
    pub handshake_us: Histogram,
}

/// How it was for the viewers, in the words of CTA-2066.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Quality {
    pub views: u64,
    pub failed_starts: u64,
    pub exits_before_start: u64,
    pub exits_in_stall: u64,
    pub failed_playbacks: u64,
    /// The run ended first.
    pub cut: u64,
    pub views_without_stall: u64,
    /// Milliseconds.
    pub startup_ms: Histogram,
    pub stall_ms: Histogram,
    /// Hundred-thousandths of (stalled over stalled and played), for each view.
    pub rebuffer_ratio: Histogram,
    /// Sums over all views, seconds.
    pub played_s: f64,
    pub stalled_s: f64,
    pub stalls: u64,
    /// Bits per second of each view.
    pub bitrate_bps: Histogram,
    pub switches_up: u64,
    pub switches_down: u64,
    pub seeks: u64,
    pub pathway_switches: u64,
    /// Milliseconds.
    pub live_latency_ms: Histogram,
    pub wasted_bytes: u64,
}

/// What one PoP answered.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Pop {
    pub count: u64,
    pub bytes: u64,
    pub hits: u64,
    pub misses: u64,
    pub failures: BTreeMap<FailureClass, u64>,
    pub first_byte_us: Histogram,
    /// Milliseconds from a purge's call to the first fresh answer.
    pub first_fresh_ms: Histogram,
}

/// A fault that was injected, or a purge.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fault {
    pub at_s: f64,
    pub name: String,
    /// Its command's exit status.
    pub exit: Option<i32>,
    pub took_s: f64,
}

/// One interval, a second by default.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Its beginning: a multiple of the interval's length, so that the intervals of all parts lie on one grid.
    pub at_s: f64,
    pub arrivals: u64,
    pub blocked: u64,
    /// Sessions, and those of them that play and stall, at its end.
    pub sessions: u64,
    pub playing: u64,
    pub stalled: u64,
    pub requests: u64,
    pub failures: u64,
    pub bytes: u64,
    pub hits: u64,
    pub misses: u64,
    pub startup_ms: Histogram,
    pub first_byte_us: Histogram,
    /// Share of one core, of the busiest worker.
    pub rig_cpu: f64,
    pub loop_lag_us: Histogram,
}

/// What the rig says of itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Rig {
    pub workers: u32,
    /// CPU seconds of the process.
    pub cpu_s: f64,
    /// Share of one core, of the busiest worker, over the run.
    pub cpu_max: f64,
    pub loop_lag_us: Histogram,
    /// Failures of class `rig`.
    pub socket_errors: u64,
    /// Of all machines together.
    pub memory_peak_bytes: u64,
    /// Milliseconds the server's `Date` is ahead, when it tells; a whole second is its grain.
    pub clock_skew_ms: Option<i64>,
    /// Why the figures are not worth anything; empty when they are.
    pub saturated: Vec<String>,
}

/// One threshold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GateOutcome {
    /// As it was written.
    pub gate: String,
    pub measured: Option<f64>,
    pub is_held: bool,
}

/// One step of a search for the knee.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Sessions a second.
    pub rate: f64,
    pub at_s: f64,
    pub is_held: bool,
    pub gates: Vec<GateOutcome>,
}

impl Results {
    /// Results of nothing yet.
    #[must_use]
    pub fn new(scenario: impl Into<String>, seed: u64) -> Self {
        Self { scenario: scenario.into(), seed, ..Self::default() }
    }

    /// The fetches of one kind over one protocol, to be added to.
    pub fn fetches_of(&mut self, kind: ObjectKind, protocol: Protocol) -> &mut Fetches {
        let key = |fetches: &Fetches| (fetches.kind, fetches.protocol);
        let place = match self.fetches.binary_search_by_key(&(kind, protocol), key) {
            Ok(place) => place,
            Err(place) => {
                self.fetches.insert(place, Fetches::new(kind, protocol));
                place
            }
        };
        &mut self.fetches[place]
    }

    /// Seconds of one interval; `None` without intervals.
    #[must_use]
    pub fn interval_s(&self) -> Option<f64> {
        let steps = self.intervals.windows(2).map(|pair| pair[1].at_s - pair[0].at_s);
        let shortest = steps.filter(|step| *step > 0.0).reduce(f64::min);
        shortest.or_else(|| self.intervals.first().map(|_| self.duration_s.max(1.0)))
    }
}

impl Fetches {
    #[must_use]
    pub fn new(kind: ObjectKind, protocol: Protocol) -> Self {
        Self {
            kind,
            protocol,
            count: 0,
            bytes: 0,
            hits: 0,
            misses: 0,
            untold: 0,
            failures: BTreeMap::new(),
            first_byte_us: Histogram::default(),
            took_us: Histogram::default(),
            time_over_duration: Histogram::default(),
        }
    }

    /// Failures of all classes.
    #[must_use]
    pub fn failed(&self) -> u64 {
        total(self.failures.values().copied())
    }
}

impl Default for Results {
    fn default() -> Self {
        Self {
            schema: SCHEMA,
            rig_version: String::new(),
            scenario: String::new(),
            seed: 0,
            started_at: String::new(),
            duration_s: 0.0,
            is_interrupted: false,
            arrivals: Arrivals::default(),
            fetches: Vec::new(),
            connections: BTreeMap::new(),
            quality: Quality::default(),
            pops: BTreeMap::new(),
            faults: Vec::new(),
            intervals: Vec::new(),
            rig: Rig::default(),
            gates: Vec::new(),
            steps: Vec::new(),
            scenario_text: String::new(),
            failed: Vec::new(),
        }
    }
}

/// The sum of counts that may come from a file: one beyond all others stays the largest.
pub(crate) fn total(counts: impl IntoIterator<Item = u64>) -> u64 {
    counts.into_iter().fold(0, u64::saturating_add)
}

/// The schema of `Results`.
pub const SCHEMA: u32 = 1;
/// PoPs that have figures of their own.
pub const POPS_MAX: usize = 256;
/// The PoPs beyond those.
pub const POP_OTHER: &str = "other";
/// Intervals of one run: more than a day of seconds.
pub const INTERVALS_MAX: usize = 100_000;
