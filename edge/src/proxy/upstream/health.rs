//! Passive health: who failed several times in a row is asked last for a while.
//!
//! Invariant: nobody is ever excluded; when all fail, all are still asked. Entries of upstreams that no snapshot
//! names any more are dropped.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// What is known of every upstream, by authority.
pub(super) struct Health {
    failures_max: u32,
    eject_time: Duration,
    records: Mutex<HashMap<String, Record>>,
}

/// How an upstream stands now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Report {
    pub(super) in_flight: u64,
    pub(super) is_healthy: bool,
}

#[derive(Debug, Default)]
struct Record {
    in_flight: u64,
    failures: u32,
    ejections: u32,
    ejected_until: Option<Instant>,
}

impl Health {
    pub(super) fn new(failures_max: u32, eject_time: Duration) -> Self {
        Self { failures_max, eject_time, records: Mutex::default() }
    }

    pub(super) fn standing(&self, authority: &str, now: Instant) -> Report {
        match self.records().get(authority) {
            Some(record) => Report {
                in_flight: record.in_flight,
                is_healthy: record.ejected_until.is_none_or(|until| until <= now),
            },
            None => Report { in_flight: 0, is_healthy: true },
        }
    }

    /// A request is on its way.
    pub(super) fn began(&self, authority: &str) {
        let mut records = self.records();
        if records.len() >= RECORDS_MAX && !records.contains_key(authority) {
            records.retain(|_, record| record.in_flight > 0);
        }
        records.entry(authority.to_owned()).or_default().in_flight += 1;
    }

    /// It answers.
    pub(super) fn succeeded(&self, authority: &str) {
        if let Some(record) = self.records().get_mut(authority) {
            record.failures = 0;
            record.ejections = 0;
            record.ejected_until = None;
        }
    }

    /// A request that began is over.
    pub(super) fn ended(&self, authority: &str) {
        if let Some(record) = self.records().get_mut(authority) {
            record.in_flight = record.in_flight.saturating_sub(1);
        }
    }

    /// It failed; true when that puts it last.
    pub(super) fn failed(&self, authority: &str, now: Instant) -> bool {
        let mut records = self.records();
        let record = records.entry(authority.to_owned()).or_default();
        record.failures = record.failures.saturating_add(1);
        let is_out = record.ejected_until.is_some_and(|until| until > now);
        if record.failures < self.failures_max || is_out {
            return false;
        }
        let factor = 1 << record.ejections.min(EJECT_DOUBLINGS_MAX);
        record.ejections += 1;
        record.ejected_until = Some(now + self.eject_time * factor);
        true
    }

    fn records(&self) -> MutexGuard<'_, HashMap<String, Record>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Three doublings are eight times the first ejection.
const EJECT_DOUBLINGS_MAX: u32 = 3;
/// Upstreams that are remembered before idle ones are forgotten.
const RECORDS_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    const EJECT: Duration = Duration::from_secs(5);

    fn fail(health: &Health, times: u32, now: Instant) {
        for _ in 0..times {
            health.failed("a:1", now);
        }
    }

    #[test]
    fn failures_in_a_row_put_an_upstream_last_for_a_growing_while() {
        let health = Health::new(3, EJECT);
        let now = Instant::now();
        fail(&health, 2, now);
        assert!(health.standing("a:1", now).is_healthy);
        fail(&health, 1, now);
        assert!(!health.standing("a:1", now).is_healthy);
        assert!(health.standing("a:1", now + EJECT).is_healthy);
        assert!(health.standing("b:1", now).is_healthy);

        fail(&health, 1, now + EJECT);
        assert!(!health.standing("a:1", now + EJECT * 2).is_healthy, "twice as long");
        assert!(health.standing("a:1", now + EJECT * 3).is_healthy);
    }

    #[test]
    fn a_success_forgets_the_failures() {
        let health = Health::new(3, EJECT);
        let now = Instant::now();
        fail(&health, 2, now);
        health.began("a:1");
        health.succeeded("a:1");
        health.ended("a:1");
        fail(&health, 2, now);
        assert_eq!(health.standing("a:1", now), Report { in_flight: 0, is_healthy: true });
    }
}
