//! Whether an upstream is asked: closed while it answers, open once it failed several times in a row, and after a
//! while half open, when one request tries it.
//!
//! Pure. Invariant: only an answer closes it.

use std::time::{Duration, SystemTime};

/// How an upstream did lately.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    open_until: Option<SystemTime>,
    failures: u32,
    openings: u32,
    window: Window,
}

/// How it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::upstream) enum Stand {
    /// It is asked.
    Closed,
    /// One request may try it.
    HalfOpen,
    /// It is not asked.
    Open,
}

/// When it opens and for how long.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    pub(super) failures_max: u32,
    pub(super) eject_time: Duration,
}

/// Answers in this and in the last few seconds.
#[derive(Debug, Default)]
struct Window {
    began: Option<SystemTime>,
    now: Count,
    before: Count,
}

#[derive(Debug, Default, Clone, Copy)]
struct Count {
    all: u32,
    /// Said that something is wrong, or failed.
    bad: u32,
    failed: u32,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Good,
    Bad,
    Failed,
}

impl Stand {
    /// The word in labels.
    pub(in crate::upstream) fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half_open",
            Self::Open => "open",
        }
    }

    /// All of them.
    pub(in crate::upstream) const ALL: [Self; 3] = [Self::Closed, Self::HalfOpen, Self::Open];
}

impl Breaker {
    pub(super) fn stand(&self, now: SystemTime) -> Stand {
        match self.open_until {
            None => Stand::Closed,
            Some(until) if until <= now => Stand::HalfOpen,
            Some(_) => Stand::Open,
        }
    }

    /// Whether most of what it answered lately says that something is wrong with it (5xx): it is asked after others.
    pub(super) fn is_bursting(&self, now: SystemTime) -> bool {
        if !self.is_recent(now) {
            return false;
        }
        let Count { all, bad, .. } = self.window.sum();
        all >= BURST_MIN && bad > all / 2
    }

    /// Whether most requests of late had an answer, whatever it said: then only a part of it fails.
    pub(super) fn is_answering(&self, now: SystemTime) -> bool {
        let Count { all, failed, .. } = self.window.sum();
        self.is_recent(now) && failed < all.div_ceil(2)
    }

    /// The head of an answer came.
    pub(super) fn answered(&mut self, is_bad: bool, now: SystemTime) {
        self.window.count(if is_bad { Outcome::Bad } else { Outcome::Good }, now);
        self.open_until = None;
    }

    /// An answer was whole.
    pub(super) fn completed(&mut self) {
        self.failures = 0;
        self.openings = 0;
    }

    /// It failed; true when that opens it.
    pub(super) fn failed(&mut self, rules: Rules, now: SystemTime) -> bool {
        self.window.count(Outcome::Failed, now);
        self.failures = self.failures.saturating_add(1);
        if self.failures < rules.failures_max || self.stand(now) == Stand::Open {
            return false;
        }
        let factor = 1 << self.openings.min(DOUBLINGS_MAX);
        self.openings += 1;
        self.open_until = Some(now + rules.eject_time * factor);
        true
    }

    fn is_recent(&self, now: SystemTime) -> bool {
        let began = self.window.began;
        began.is_some_and(|began| now.duration_since(began).is_ok_and(|age| age < 2 * HALF))
    }

    /// A health check says that it is well.
    pub(super) fn close(&mut self) {
        self.open_until = None;
        self.completed();
    }
}

impl Window {
    fn count(&mut self, outcome: Outcome, now: SystemTime) {
        let age =
            self.began.map_or(Duration::MAX, |began| now.duration_since(began).unwrap_or_default());
        if age >= HALF {
            self.before = if age < 2 * HALF { self.now } else { Count::default() };
            self.now = Count::default();
            self.began = Some(now);
        }
        self.now.all = self.now.all.saturating_add(1);
        self.now.bad = self.now.bad.saturating_add((outcome != Outcome::Good).into());
        self.now.failed = self.now.failed.saturating_add((outcome == Outcome::Failed).into());
    }

    fn sum(&self) -> Count {
        Count {
            all: self.now.all.saturating_add(self.before.all),
            bad: self.now.bad.saturating_add(self.before.bad),
            failed: self.now.failed.saturating_add(self.before.failed),
        }
    }
}

/// Three doublings are eight times the first opening.
const DOUBLINGS_MAX: u32 = 3;
/// Answers are counted over one to two of these.
const HALF: Duration = Duration::from_secs(5);
/// Fewer answers say nothing.
const BURST_MIN: u32 = 20;

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    const RULES: Rules = Rules { failures_max: 3, eject_time: Duration::from_secs(5) };

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_000_000 + seconds)
    }

    #[test]
    fn failures_in_a_row_open_it_for_a_growing_while() {
        let mut breaker = Breaker::default();
        let fails = |breaker: &mut Breaker, seconds| breaker.failed(RULES, at(seconds));
        assert_eq!([0, 0, 0].map(|s| fails(&mut breaker, s)), [false, false, true]);
        assert_eq!(breaker.stand(at(4)), Stand::Open);
        assert!(!fails(&mut breaker, 4), "what was under way fails too");
        assert_eq!(breaker.stand(at(5)), Stand::HalfOpen);

        assert!(fails(&mut breaker, 5));
        assert_eq!(breaker.stand(at(14)), Stand::Open, "twice as long");
        assert_eq!(breaker.stand(at(15)), Stand::HalfOpen);
        for time in [15, 40, 100, 200] {
            fails(&mut breaker, time);
        }
        assert_eq!(breaker.stand(at(239)), Stand::Open);
        assert_eq!(breaker.stand(at(240)), Stand::HalfOpen, "eight times as long at most");
    }

    #[test]
    fn an_answer_closes_it_and_only_a_whole_one_forgets_the_failures() {
        let mut breaker = Breaker::default();
        (0..3).for_each(|_| _ = breaker.failed(RULES, at(0)));
        breaker.answered(false, at(6));
        assert_eq!(breaker.stand(at(6)), Stand::Closed);
        assert!(breaker.failed(RULES, at(6)), "its body broke off");
        breaker.answered(false, at(60));
        breaker.completed();
        assert!(!breaker.failed(RULES, at(60)));
    }

    #[test]
    fn many_bad_answers_put_it_behind_others_for_a_while() {
        let mut breaker = Breaker::default();
        (0..30).for_each(|n| breaker.answered(n % 3 != 0, at(1)));
        assert!(breaker.is_bursting(at(2)));
        assert_eq!(breaker.stand(at(2)), Stand::Closed);
        assert!(!breaker.is_bursting(at(12)), "long ago");
        (0..30).for_each(|n| breaker.answered(n % 3 == 0, at(20)));
        assert!(!breaker.is_bursting(at(20)));
        let mut quiet = Breaker::default();
        (0..19).for_each(|_| quiet.answered(true, at(0)));
        assert!(!quiet.is_bursting(at(0)), "too few to say");
    }
}
