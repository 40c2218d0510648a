//! The current second: what happened in it, for whoever watches and for plots.
//!
//! Invariant: intervals lie on a grid of whole steps, so that those of workers and machines can be added.

use std::time::Duration;

use crate::{net::Fetched, results::Interval};

/// What is counted at the end of an interval.
#[derive(Debug, Clone, Copy, Default)]
pub struct Gauges {
    pub sessions: u64,
    pub playing: u64,
    pub stalled: u64,
}

/// What the worker says of itself for an interval.
#[derive(Debug, Clone, Copy, Default)]
pub struct Health {
    /// Share of one core.
    pub cpu: f64,
}

/// The interval that is being filled.
#[derive(Debug, Default)]
pub(super) struct Current {
    interval: Interval,
}

impl Current {
    pub(super) fn arrival(&mut self) {
        self.interval.arrivals += 1;
    }

    pub(super) fn blocked(&mut self) {
        self.interval.blocked += 1;
    }

    pub(super) fn bytes(&mut self, bytes: u64) {
        self.interval.bytes += bytes;
    }

    pub(super) fn startup(&mut self, startup: Duration) {
        self.interval.startup_ms.record(startup.as_millis() as u64);
    }

    pub(super) fn lag(&mut self, lag: Duration) {
        self.interval.loop_lag_us.record(lag.as_micros() as u64);
    }

    pub(super) fn fetch(&mut self, fetched: &Fetched, first_byte: Option<Duration>) {
        self.interval.requests += 1;
        if fetched.outcome.is_err() {
            self.interval.failures += 1;
            return;
        }
        match fetched.facts.is_hit {
            Some(true) => self.interval.hits += 1,
            Some(false) => self.interval.misses += 1,
            None => {}
        }
        if let Some(first_byte) = first_byte {
            self.interval.first_byte_us.record(first_byte.as_micros() as u64);
        }
    }

    /// Ends it; a new one begins.
    pub(super) fn take(&mut self, at_s: f64, gauges: Gauges, health: Health) -> Interval {
        let taken = std::mem::take(&mut self.interval);
        Interval {
            at_s,
            sessions: gauges.sessions,
            playing: gauges.playing,
            stalled: gauges.stalled,
            rig_cpu: health.cpu,
            ..taken
        }
    }
}
