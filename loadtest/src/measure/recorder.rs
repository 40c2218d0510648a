//! What one worker met, as results.
//!
//! Invariant: a latency begins when the player wanted the object, not when the rig came to ask for it.

use std::{collections::BTreeMap, time::Duration};

use super::{
    interval::{Current, Gauges, Health},
    quality::add_view,
    skew::Skew,
};
use crate::{
    kind::{FailureClass, ObjectKind, Protocol},
    net::Fetched,
    player::View,
    results::{Interval, POP_OTHER, POPS_MAX, Pop, Results},
};

/// Takes samples, gives results. Times are since the beginning of the run, with its warm-up.
#[derive(Debug)]
pub struct Recorder {
    results: Results,
    current: Current,
    skew: Skew,
    /// What began before is not measured.
    warm_up: Duration,
}

/// One fetch that is over, or was given up.
#[derive(Debug, Clone, Copy)]
pub struct Met {
    pub kind: ObjectKind,
    pub protocol: Protocol,
    /// When the player wanted it.
    pub wanted_at: Duration,
    /// How much later the rig asked for it.
    pub asked_after: Duration,
    /// Media time of a segment or part.
    pub media: Option<Duration>,
    /// When its end had come, in milliseconds since 1970.
    pub came_unix_ms: i64,
}

impl Recorder {
    #[must_use]
    pub fn new(warm_up: Duration) -> Self {
        Self {
            results: Results::default(),
            current: Current::default(),
            skew: Skew::default(),
            warm_up,
        }
    }

    /// A session was to begin, and began so much later.
    pub fn arrival(&mut self, scheduled_at: Duration, error: Duration) {
        self.current.arrival();
        if scheduled_at >= self.warm_up {
            self.results.arrivals.scheduled += 1;
            self.results.arrivals.begun += 1;
            self.results.arrivals.schedule_error_us.record(error.as_micros() as u64);
        }
    }

    /// A session was to begin and could not.
    pub fn blocked(&mut self, scheduled_at: Duration) {
        self.current.blocked();
        if scheduled_at >= self.warm_up {
            self.results.arrivals.scheduled += 1;
            self.results.arrivals.blocked += 1;
        }
    }

    /// Bytes of bodies came.
    pub fn bytes(&mut self, bytes: u64) {
        self.current.bytes(bytes);
    }

    /// A view showed its first frame.
    pub fn startup(&mut self, startup: Duration) {
        self.current.startup(startup);
    }

    /// A timer was so late.
    pub fn lag(&mut self, lag: Duration) {
        self.current.lag(lag);
        self.results.rig.loop_lag_us.record(lag.as_micros() as u64);
    }

    /// A fetch is over.
    pub fn fetch(&mut self, met: &Met, fetched: &Fetched) {
        let first_byte = fetched.first_byte.map(|time| time + met.asked_after);
        self.current.fetch(fetched, first_byte);
        if let Some(date) = fetched.facts.date {
            let asked = met.came_unix_ms - fetched.took.as_millis() as i64;
            self.skew.see(date, fetched.facts.age, asked, met.came_unix_ms);
        }
        if met.wanted_at < self.warm_up {
            return;
        }
        self.connection(met.protocol, fetched);
        self.pop(fetched, first_byte);
        let fetches = self.results.fetches_of(met.kind, met.protocol);
        fetches.count += 1;
        fetches.bytes += fetched.bytes;
        let failure = match &fetched.outcome {
            Ok(_) => None,
            Err(failure) => Some(failure.class),
        };
        if let Some(class) = failure {
            *fetches.failures.entry(class).or_default() += 1;
            self.results.rig.socket_errors += u64::from(class == FailureClass::Rig);
            return;
        }
        match fetched.facts.is_hit {
            Some(true) => fetches.hits += 1,
            Some(false) => fetches.misses += 1,
            None => fetches.untold += 1,
        }
        let took = fetched.took + met.asked_after;
        fetches.took_us.record(took.as_micros() as u64);
        if let Some(first_byte) = first_byte {
            fetches.first_byte_us.record(first_byte.as_micros() as u64);
        }
        if let Some(media) = met.media.filter(|media| !media.is_zero()) {
            let thousandths = took.as_secs_f64() / media.as_secs_f64() * 1_000.0;
            fetches.time_over_duration.record(thousandths as u64);
        }
    }

    /// A fetch was given up by the player after so many bytes: no failure, but they came.
    pub fn given_up(
        &mut self,
        kind: ObjectKind,
        protocol: Protocol,
        wanted_at: Duration,
        bytes: u64,
    ) {
        if wanted_at >= self.warm_up {
            self.results.fetches_of(kind, protocol).bytes += bytes;
        }
    }

    /// A view of a session is over.
    pub fn view(&mut self, scheduled_at: Duration, view: &View) {
        if scheduled_at >= self.warm_up {
            add_view(&mut self.results.quality, view);
        }
    }

    /// Connections that went on from another address.
    pub fn migrated(&mut self, protocol: Protocol, count: u64) {
        if count > 0 {
            self.results.connections.entry(protocol).or_default().migrated += count;
        }
    }

    /// Ends the current interval.
    pub fn interval(&mut self, at_s: f64, gauges: Gauges, health: Health) -> Interval {
        self.current.take(at_s, gauges, health)
    }

    /// What was met so far.
    #[must_use]
    pub fn so_far(&self) -> &Results {
        &self.results
    }

    /// All that was met, without intervals.
    #[must_use]
    pub fn into_results(mut self) -> Results {
        self.results.rig.clock_skew_ms = self.skew.estimate();
        self.results
    }

    fn connection(&mut self, protocol: Protocol, fetched: &Fetched) {
        if let Some(made) = &fetched.connection {
            let connections = self.results.connections.entry(made.protocol).or_default();
            connections.opened += 1;
            connections.resumed += u64::from(made.is_resumed);
            connections.early += u64::from(made.is_early);
            let times = [
                (made.dns, &mut connections.dns_us),
                (made.connect, &mut connections.connect_us),
                (made.handshake, &mut connections.handshake_us),
            ];
            for (time, histogram) in times {
                if let Some(time) = time {
                    histogram.record(time.as_micros() as u64);
                }
            }
        }
        if let Err(failure) = &fetched.outcome
            && matches!(
                failure.class,
                FailureClass::Dns | FailureClass::Connect | FailureClass::Handshake
            )
        {
            let connections = self.results.connections.entry(protocol).or_default();
            *connections.failures.entry(failure.class).or_default() += 1;
        }
    }

    fn pop(&mut self, fetched: &Fetched, first_byte: Option<Duration>) {
        let Some(name) = &fetched.facts.pop else { return };
        let pop = pop_of(&mut self.results.pops, name);
        pop.count += 1;
        pop.bytes += fetched.bytes;
        match &fetched.outcome {
            Ok(_) => {
                match fetched.facts.is_hit {
                    Some(true) => pop.hits += 1,
                    Some(false) => pop.misses += 1,
                    None => {}
                }
                if let Some(first_byte) = first_byte {
                    pop.first_byte_us.record(first_byte.as_micros() as u64);
                }
            }
            Err(failure) => *pop.failures.entry(failure.class).or_default() += 1,
        }
    }
}

/// The figures of a PoP, or of all those beyond the limit.
fn pop_of<'a>(pops: &'a mut BTreeMap<String, Pop>, name: &str) -> &'a mut Pop {
    let has_room = pops.len() + 1 < POPS_MAX;
    let name = if has_room || pops.contains_key(name) { name } else { POP_OTHER };
    if !pops.contains_key(name) {
        pops.insert(name.to_owned(), Pop::default());
    }
    pops.get_mut(name).expect("it was put in if it was missing")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{Answer, Connected, Facts, Failure};

    fn met(wanted_ms: u64, asked_after_ms: u64) -> Met {
        Met {
            kind: ObjectKind::Segment,
            protocol: Protocol::H2,
            wanted_at: Duration::from_millis(wanted_ms),
            asked_after: Duration::from_millis(asked_after_ms),
            media: Some(Duration::from_secs(2)),
            came_unix_ms: 1_800_000_000_000,
        }
    }

    fn answered(first_byte_ms: u64, took_ms: u64, pop: &str) -> Fetched {
        let url = url::Url::parse("http://a.test/1.m4s").unwrap();
        Fetched {
            outcome: Ok(Answer { status: 200, url, body: None, blake3: None }),
            connection: None,
            first_byte: Some(Duration::from_millis(first_byte_ms)),
            took: Duration::from_millis(took_ms),
            bytes: 1_000,
            facts: Facts { pop: Some(pop.to_owned()), is_hit: Some(true), ..Facts::default() },
        }
    }

    #[test]
    fn latency_begins_when_the_player_wanted_it() {
        let mut recorder = Recorder::new(Duration::ZERO);
        recorder.fetch(&met(0, 1_500), &answered(500, 1_000, "fra"));
        let interval = recorder.interval(0.0, Gauges::default(), Health::default());
        assert_eq!(interval.first_byte_us.quantile(1.0).unwrap() / 10_000, 200);
        let results = recorder.into_results();
        let fetches = &results.fetches[0];
        assert_eq!(fetches.first_byte_us.quantile(1.0).unwrap() / 10_000, 200);
        assert_eq!(fetches.took_us.quantile(1.0).unwrap() / 10_000, 250);
        assert_eq!(fetches.time_over_duration.quantile(1.0).unwrap() / 10, 125);
        assert_eq!((fetches.hits, results.pops["fra"].hits), (1, 1));
    }

    #[test]
    fn the_warm_up_is_seen_but_not_measured() {
        let mut recorder = Recorder::new(Duration::from_secs(10));
        recorder.arrival(Duration::from_secs(9), Duration::ZERO);
        recorder.blocked(Duration::from_secs(9));
        recorder.fetch(&met(9_999, 0), &answered(1, 2, "fra"));
        recorder.view(Duration::from_secs(9), &View::default());
        let interval = recorder.interval(9.0, Gauges::default(), Health::default());
        assert_eq!((interval.arrivals, interval.blocked, interval.requests), (1, 1, 1));
        recorder.arrival(Duration::from_secs(10), Duration::from_millis(1));
        recorder.fetch(&met(10_000, 0), &answered(1, 2, "fra"));
        let results = recorder.into_results();
        assert_eq!((results.arrivals.scheduled, results.arrivals.blocked), (1, 0));
        assert_eq!((results.fetches[0].count, results.quality.views), (1, 0));
    }

    #[test]
    fn failures_count_where_they_belong() {
        let mut recorder = Recorder::new(Duration::ZERO);
        for class in [FailureClass::Connect, FailureClass::Rig, FailureClass::ServerError] {
            let failure = Failure { class, detail: "".into() };
            recorder.fetch(&met(0, 0), &Fetched { outcome: Err(failure), ..answered(1, 2, "x") });
        }
        let made = Connected {
            protocol: Protocol::H2,
            dns: None,
            connect: Some(Duration::from_millis(3)),
            handshake: Some(Duration::from_millis(5)),
            is_resumed: true,
            is_early: false,
        };
        let with = Fetched { connection: Some(made), ..answered(1, 2, "x") };
        recorder.fetch(&met(0, 0), &with);
        let results = recorder.into_results();
        let connections = &results.connections[&Protocol::H2];
        assert_eq!((connections.opened, connections.resumed, connections.early), (1, 1, 0));
        assert_eq!(connections.failures[&FailureClass::Connect], 1);
        assert_eq!((results.rig.socket_errors, results.fetches[0].failed()), (1, 3));
        assert_eq!((results.fetches[0].count, results.fetches[0].hits), (4, 1));
    }

    #[test]
    fn a_server_that_invents_pops_fills_one_place() {
        let mut recorder = Recorder::new(Duration::ZERO);
        for index in 0..1_000 {
            recorder.fetch(&met(0, 0), &answered(1, 2, &format!("pop-{index}")));
        }
        let results = recorder.into_results();
        assert_eq!(results.pops.len(), POPS_MAX);
        assert_eq!(results.pops.values().map(|pop| pop.count).sum::<u64>(), 1_000);
    }
}
