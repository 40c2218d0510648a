//! What is known of every upstream: whether it answers, how fast, and how much it has to do.
//!
//! Invariant: what a [`Permit`] took is given back when it is dropped, however the request ended. Upstreams that
//! nobody asks any more are forgotten.

mod breaker;
mod latency;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use tidegate_chassis::Clock;
use tokio::sync::Notify;

pub(super) use self::{breaker::Stand, latency::outliers};
use self::{
    breaker::{Breaker, Rules},
    latency::Latency,
};
use super::config::Config;

/// What is known, by authority.
pub(super) struct Standings {
    rules: Rules,
    clock: Clock,
    records: Mutex<HashMap<String, Arc<Record>>>,
}

/// How an upstream stands now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Report {
    /// Requests under way.
    pub(super) in_flight: u64,
    /// It may be asked, if only to try it.
    pub(super) is_healthy: bool,
    /// Most of what it says lately is that something is wrong.
    pub(super) is_bursting: bool,
    /// How long it takes to begin an answer, if that is known.
    pub(super) mean: Option<Duration>,
}

/// Whether an upstream may be asked now.
pub(super) enum Admission {
    /// It may.
    Admitted(Permit),
    /// It failed, and is left alone or tried by somebody else.
    Open,
    /// As many requests are under way as may be.
    Full,
}

/// One request under way to an upstream.
pub(super) struct Permit {
    record: Arc<Record>,
    rules: Rules,
    clock: Clock,
    began: Instant,
    is_trial: bool,
    is_answered: bool,
    is_over: bool,
    is_timed: bool,
}

/// How much an upstream is asked, and by whom.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    /// Requests that may be under way.
    pub(super) max: u32,
    /// Whether there is nobody else to ask, so that even one that fails is tried, by a few requests at a time.
    pub(super) is_last_resort: bool,
    /// Whether the time to its answer says something about it.
    pub(super) is_timed: bool,
}

#[derive(Default)]
struct Record {
    state: Mutex<State>,
    freed: Notify,
}

#[derive(Default)]
struct State {
    in_flight: u32,
    waiting: u32,
    is_tried: bool,
    breaker: Breaker,
    latency: Latency,
    check_failures: u32,
    is_down: bool,
}

impl Standings {
    pub(super) fn new(config: &Config, clock: Clock) -> Self {
        let rules = Rules { failures_max: config.failures_max, eject_time: config.eject_time };
        Self { rules, clock, records: Mutex::default() }
    }

    /// How an upstream stands.
    pub(super) fn report(&self, authority: &str) -> Report {
        let now = self.clock.now();
        let Some(record) = self.records().get(authority).cloned() else {
            return Report { is_healthy: true, ..Report::default() };
        };
        let state = record.state();
        Report {
            in_flight: state.in_flight.into(),
            is_healthy: match state.stand(now) {
                Stand::Closed => true,
                Stand::HalfOpen => !state.is_tried,
                Stand::Open => false,
            },
            is_bursting: state.breaker.is_bursting(now),
            mean: state.latency.mean(now),
        }
    }

    /// What 19 of 20 answers of an upstream take at most, if that is known.
    pub(super) fn p95(&self, authority: &str) -> Option<Duration> {
        let record = self.records().get(authority).cloned()?;
        record.state().latency.p95()
    }

    /// Asks whether a request may go to an upstream now.
    pub(super) fn admit(&self, authority: &str, load: Load) -> Admission {
        self.admit_to(&self.record(authority), load)
    }

    /// As [`Standings::admit`], and waits for a moment when there are too many.
    pub(super) async fn admit_waiting(
        &self,
        authority: &str,
        load: Load,
        wait_max: Duration,
    ) -> Admission {
        let record = self.record(authority);
        let Some(_waiting) = Waiting::begin(&record, load.max) else { return Admission::Full };
        let waiting = async {
            loop {
                // Before the look, so that a request that ends in between is noticed.
                let freed = record.freed.notified();
                match self.admit_to(&record, load) {
                    Admission::Full => freed.await,
                    admission => return admission,
                }
            }
        };
        tokio::time::timeout(wait_max, waiting).await.unwrap_or(Admission::Full)
    }

    /// A health check ended. True when that changes whether the upstream is asked.
    pub(super) fn checked(&self, authority: &str, is_well: bool) -> bool {
        let record = self.record(authority);
        let mut state = record.state();
        let was_down = state.is_down;
        if is_well {
            state.check_failures = 0;
            state.is_down = false;
            state.breaker.close();
        } else {
            state.check_failures = state.check_failures.saturating_add(1);
            state.is_down |= state.check_failures >= self.rules.failures_max;
        }
        was_down != state.is_down
    }

    /// An upstream is not checked any more.
    pub(super) fn unchecked(&self, authority: &str) {
        if let Some(record) = self.records().get(authority) {
            let mut state = record.state();
            state.check_failures = 0;
            state.is_down = false;
        }
    }

    /// How many known upstreams stand how.
    pub(super) fn count(&self) -> [(Stand, usize); 3] {
        let now = self.clock.now();
        let records = self.records();
        Stand::ALL.map(|stand| {
            let stands = |record: &&Arc<Record>| record.state().stand(now) == stand;
            (stand, records.values().filter(stands).count())
        })
    }

    /// Whether an upstream is not asked, or tried by one request at a time; `None` when nothing is known of it.
    pub(super) fn is_left_alone(&self, authority: &str) -> Option<bool> {
        let record = self.records().get(authority).cloned()?;
        let stand = record.state().stand(self.clock.now());
        Some(stand != Stand::Closed)
    }

    fn admit_to(&self, record: &Arc<Record>, load: Load) -> Admission {
        let now = self.clock.now();
        let mut state = record.state();
        let is_trial = match state.stand(now) {
            Stand::Closed => false,
            Stand::HalfOpen if !state.is_tried => true,
            Stand::HalfOpen | Stand::Open
                if load.is_last_resort && state.has_room_for_last_resort(now) =>
            {
                !state.is_tried
            }
            Stand::HalfOpen | Stand::Open => return Admission::Open,
        };
        if state.in_flight >= load.max {
            return Admission::Full;
        }
        state.in_flight += 1;
        state.is_tried |= is_trial;
        Admission::Admitted(Permit {
            record: record.clone(),
            rules: self.rules,
            clock: self.clock.clone(),
            began: Instant::now(),
            is_trial,
            is_answered: false,
            is_over: false,
            is_timed: load.is_timed,
        })
    }

    fn record(&self, authority: &str) -> Arc<Record> {
        let mut records = self.records();
        if let Some(record) = records.get(authority) {
            return record.clone();
        }
        if records.len() >= RECORDS_MAX {
            records.retain(|_, record| Arc::strong_count(record) > 1);
        }
        records.entry(authority.to_owned()).or_default().clone()
    }

    fn records(&self) -> MutexGuard<'_, HashMap<String, Arc<Record>>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Permit {
    /// The head of an answer came; gives back how long it took. `is_bad` says that something is wrong with the
    /// upstream, though it answers.
    pub(super) fn answered(&mut self, is_bad: bool) -> Duration {
        let (took, now) = (self.began.elapsed(), self.clock.now());
        self.is_answered = true;
        let mut state = self.record.state();
        state.breaker.answered(is_bad, now);
        if self.is_timed {
            state.latency.record(took, now);
        }
        if std::mem::take(&mut self.is_trial) {
            state.is_tried = false;
        }
        took
    }

    /// The answer was whole.
    pub(super) fn completed(&mut self) {
        if !std::mem::replace(&mut self.is_over, true) {
            self.record.state().breaker.completed();
        }
    }

    /// It failed; true when that is why the upstream is not asked any more.
    pub(super) fn failed(&mut self) -> bool {
        if std::mem::replace(&mut self.is_over, true) {
            return false;
        }
        self.record.state().breaker.failed(self.rules, self.clock.now())
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = self.record.state();
        state.in_flight = state.in_flight.saturating_sub(1);
        if self.is_trial {
            state.is_tried = false;
        }
        if self.is_timed && !self.is_answered && !self.is_over {
            state.latency.at_least(self.began.elapsed(), self.clock.now());
        }
        drop(state);
        self.record.freed.notify_one();
    }
}

impl Record {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn stand(&self, now: SystemTime) -> Stand {
        if self.is_down { Stand::Open } else { self.breaker.stand(now) }
    }

    /// Whether one more may try it while it fails and nobody else could be asked. One that answers most requests is
    /// not dead: some paths of it are, and the others go on as ever.
    fn has_room_for_last_resort(&self, now: SystemTime) -> bool {
        let is_dead = self.is_down || !self.breaker.is_answering(now);
        !is_dead || self.in_flight < LAST_RESORT_ASKS_MAX
    }
}

/// One that waits for room, so that no more wait than could be under way.
struct Waiting<'a>(&'a Record);

impl<'a> Waiting<'a> {
    fn begin(record: &'a Record, max: u32) -> Option<Self> {
        let mut state = record.state();
        if state.waiting >= max {
            return None;
        }
        state.waiting += 1;
        Some(Self(record))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.waiting = state.waiting.saturating_sub(1);
        let is_room_for_another = state.waiting > 0;
        drop(state);
        if is_room_for_another {
            // The wake-up that this one may have taken along when it gave up.
            self.0.freed.notify_one();
        }
    }
}

/// Upstreams that are remembered before idle ones are forgotten.
const RECORDS_MAX: usize = 4096;

/// Requests that try an upstream that hardly answers while there is nobody else to ask: enough to notice at once when
/// it does, and few for a server that is down.
const LAST_RESORT_ASKS_MAX: u32 = 16;

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    const LOAD: Load = Load { max: 2, is_last_resort: false, is_timed: true };
    const EJECT: Duration = Duration::from_secs(5);

    fn standings() -> (Standings, Clock) {
        let clock = Clock::manual(UNIX_EPOCH + Duration::from_secs(1_000_000));
        (Standings::new(&Config::default(), clock.clone()), clock)
    }

    fn permit(standings: &Standings, load: Load) -> Option<Permit> {
        match standings.admit("a:1", load) {
            Admission::Admitted(permit) => Some(permit),
            Admission::Open | Admission::Full => None,
        }
    }

    fn break_it(standings: &Standings) {
        for _ in 0..3 {
            permit(standings, LOAD).unwrap().failed();
        }
    }

    #[test]
    fn one_request_tries_an_upstream_that_failed() {
        let (standings, clock) = standings();
        assert_eq!(standings.is_left_alone("a:1"), None);
        break_it(&standings);
        assert!(!standings.report("a:1").is_healthy);
        assert!(permit(&standings, LOAD).is_none());
        assert_eq!(standings.is_left_alone("a:1"), Some(true));

        clock.advance(EJECT);
        assert!(standings.report("a:1").is_healthy);
        let trial = permit(&standings, LOAD).unwrap();
        assert!(permit(&standings, LOAD).is_none(), "one at a time");
        assert!(!standings.report("a:1").is_healthy);
        drop(trial);
        let mut trial = permit(&standings, LOAD).unwrap();
        trial.answered(false);
        assert!(permit(&standings, LOAD).is_some(), "it answers again");
        assert_eq!(standings.is_left_alone("a:1"), Some(false));
    }

    #[test]
    fn when_there_is_nobody_else_a_few_at_a_time_try_it_at_once() {
        let (standings, _clock) = standings();
        break_it(&standings);
        let last = Load { is_last_resort: true, max: 100, ..LOAD };
        let mut trials: Vec<_> =
            (0..LAST_RESORT_ASKS_MAX).map(|_| permit(&standings, last).unwrap()).collect();
        assert!(permit(&standings, last).is_none());
        trials.clear();
        permit(&standings, last).unwrap().answered(false);
        assert!(permit(&standings, LOAD).is_some());
    }

    #[test]
    fn when_there_is_nobody_else_paths_that_fail_do_not_take_others_with_them() {
        let (standings, clock) = standings();
        let last = Load { is_last_resort: true, max: 100, ..LOAD };
        (0..4).for_each(|_| _ = permit(&standings, last).unwrap().answered(true));
        break_it(&standings);
        assert!(!standings.report("a:1").is_healthy);
        let mut asked: Vec<_> = (0..50).map_while(|_| permit(&standings, last)).collect();
        assert_eq!(asked.len(), 50, "it answered four of seven");

        asked.iter_mut().take(3).for_each(|permit| _ = permit.failed());
        assert!(permit(&standings, last).is_none(), "it answered four of ten");
        drop(asked);
        clock.advance(2 * EJECT);
        let asked: Vec<_> = (0..50).map_while(|_| permit(&standings, last)).collect();
        assert_eq!(asked.len(), LAST_RESORT_ASKS_MAX as usize, "that it answered is long ago");
    }

    #[test]
    fn health_checks_take_an_upstream_out_and_back_in() {
        let (standings, _clock) = standings();
        assert_eq!([1, 2, 3].map(|_| standings.checked("a:1", false)), [false, false, true]);
        assert!(permit(&standings, LOAD).is_none());
        assert!(standings.checked("a:1", true));
        assert!(permit(&standings, LOAD).is_some());
        (0..3).for_each(|_| _ = standings.checked("a:1", false));
        standings.unchecked("a:1");
        assert!(permit(&standings, LOAD).is_some());
    }

    #[tokio::test]
    async fn a_full_upstream_is_waited_for_but_not_for_long() {
        let (standings, _clock) = standings();
        let wait = Duration::from_millis(20);
        let first = permit(&standings, LOAD).unwrap();
        let _second = permit(&standings, LOAD).unwrap();
        assert!(matches!(standings.admit("a:1", LOAD), Admission::Full));
        assert!(matches!(standings.admit_waiting("a:1", LOAD, wait).await, Admission::Full));
        let (admission, ()) =
            tokio::join!(standings.admit_waiting("a:1", LOAD, Duration::from_secs(20)), async {
                drop(first)
            });
        assert!(matches!(admission, Admission::Admitted(_)));
    }
}
