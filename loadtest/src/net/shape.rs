//! A last mile: how many bits pass at which time, over and over, and how far away the server seems.
//!
//! Invariant: the arithmetic is exact but for rounding up to a nanosecond, so the same bytes at the same times always
//! pass at the same times.

use std::{sync::Arc, time::Duration};

/// A link's rate over time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// How long which rate holds, in nanoseconds and bits per second; begins again at its end.
    steps: Arc<[(u64, u64)]>,
    /// Nanoseconds of one round.
    period: u64,
    /// Bits times 10^9 of one round.
    round: u128,
    /// Added to a round trip.
    pub rtt: Duration,
}

impl Shape {
    /// A link of rates, each for a duration.
    pub fn new(trace: Vec<(Duration, u64)>, rtt: Duration) -> Result<Self, ShapeError> {
        if trace.is_empty() || trace.len() > STEPS_MAX {
            return Err(ShapeError::Steps(trace.len()));
        }
        if rtt > RTT_MAX {
            return Err(ShapeError::Rtt);
        }
        let mut steps = Vec::with_capacity(trace.len());
        for (index, (duration, rate)) in trace.into_iter().enumerate() {
            if duration.is_zero() || duration > STEP_MAX || rate > RATE_MAX {
                return Err(ShapeError::Step { line: index + 1 });
            }
            let nanoseconds = u64::try_from(duration.as_nanos()).expect("below STEP_MAX");
            steps.push((nanoseconds, rate));
        }
        let round = steps.iter().map(|&(time, rate)| u128::from(time) * u128::from(rate)).sum();
        let period: u64 = steps.iter().map(|&(time, _)| time).sum();
        // A link on which a byte takes a day is a broken link.
        match round < u128::from(period) * RATE_MEAN_MIN {
            true => Err(ShapeError::Dead),
            false => Ok(Self { steps: steps.into(), period, round, rtt }),
        }
    }

    /// A link that never changes.
    pub fn constant(bits_per_second: u64, rtt: Duration) -> Result<Self, ShapeError> {
        Self::new(vec![(Duration::from_secs(1), bits_per_second)], rtt)
    }

    /// Reads a trace: lines of `seconds,bits per second`, `#` comments, and perhaps one line `rtt,milliseconds`.
    pub fn parse(text: &str) -> Result<Self, ShapeError> {
        let mut trace = Vec::new();
        let mut rtt = Duration::ZERO;
        for (index, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() {
                continue;
            }
            let wrong = || ShapeError::Line { line: index + 1 };
            let (left, right) = line.split_once(',').ok_or_else(wrong)?;
            let number = |text: &str| text.trim().parse::<f64>().ok().filter(|value| *value >= 0.0);
            let right = number(right).ok_or_else(wrong)?;
            if left.trim() == "rtt" {
                rtt = Duration::try_from_secs_f64(right / 1e3).map_err(|_| wrong())?;
                continue;
            }
            let left = number(left).ok_or_else(wrong)?;
            let duration = Duration::try_from_secs_f64(left).map_err(|_| wrong())?;
            if right > RATE_MAX as f64 || trace.len() == STEPS_MAX {
                return Err(wrong());
            }
            trace.push((duration, right as u64));
        }
        Self::new(trace, rtt)
    }

    /// When bytes have passed that begin to pass at `from`; both since the link's beginning.
    pub fn passed(&self, from: Duration, bytes: u64) -> Duration {
        let mut left = u128::from(bytes) * 8 * NANOSECONDS;
        let mut now = from.as_nanos();
        now += left / self.round * u128::from(self.period);
        left %= self.round;
        // At most two rounds: the rest of this one, and less than one more.
        let mut at = u64::try_from(now % u128::from(self.period)).expect("below a u64");
        let mut index = 0;
        while at >= self.steps[index].0 {
            at -= self.steps[index].0;
            index += 1;
        }
        while left > 0 {
            let (time, rate) = self.steps[index];
            let room = u128::from(time - at) * u128::from(rate);
            if left <= room {
                now += left.div_ceil(u128::from(rate));
                break;
            }
            left -= room;
            now += u128::from(time - at);
            at = 0;
            index = (index + 1) % self.steps.len();
        }
        nanoseconds(now)
    }

    /// What the fastest step passes in a time, in bytes.
    pub fn most_in(&self, time: Duration) -> u64 {
        let fastest = self.steps.iter().map(|&(_, rate)| rate).max().unwrap_or_default();
        let bytes = u128::from(fastest) * time.as_nanos() / NANOSECONDS / 8;
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }
}

/// Why a trace is none.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShapeError {
    /// No steps, or too many.
    #[error("a trace has 1 to {STEPS_MAX} steps, not {0}")]
    Steps(usize),
    /// A line that is not two numbers.
    #[error("line {line} is not \"seconds,bits per second\"")]
    Line { line: usize },
    /// A step that lasts no time or too long, or is too fast.
    #[error("step {line}: a step lasts up to a day, at no more than 100 Gbit/s")]
    Step { line: usize },
    /// Next to nothing passes.
    #[error("the mean rate is below {RATE_MEAN_MIN} bit/s")]
    Dead,
    /// A round trip that is none.
    #[error("a round trip takes at most a minute")]
    Rtt,
}

fn nanoseconds(count: u128) -> Duration {
    let seconds = u64::try_from(count / NANOSECONDS).unwrap_or(u64::MAX);
    let rest = u32::try_from(count % NANOSECONDS).expect("below 10^9");
    Duration::new(seconds, rest)
}

const NANOSECONDS: u128 = 1_000_000_000;
/// An hour of a trace of ten steps a second, and some.
const STEPS_MAX: usize = 100_000;
const STEP_MAX: Duration = Duration::from_secs(86_400);
const RATE_MAX: u64 = 100_000_000_000;
/// Bits per second.
const RATE_MEAN_MIN: u128 = 1_000;
const RTT_MAX: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seconds(count: f64) -> Duration {
        Duration::from_secs_f64(count)
    }

    #[test]
    fn bytes_pass_at_the_rate_of_their_time() {
        let shape = Shape::parse("1, 8000\n2, 0 # tunnel\n1, 16000\nrtt, 40\n").unwrap();
        assert_eq!(shape.rtt, Duration::from_millis(40));
        for (from, bytes, until) in [
            (0.0, 0, 0.0),
            (0.0, 500, 0.5),
            (0.0, 1000, 1.0),
            (0.0, 1001, 3.0005),
            (1.5, 1000, 3.5),
            (0.0, 3000, 4.0),
            (0.0, 3000 * 1000, 4000.0),
            (4.5, 500, 5.0),
            (3.5, 2000, 5.0),
        ] {
            assert_eq!(shape.passed(seconds(from), bytes), seconds(until), "{bytes} from {from}");
        }
        assert_eq!(shape.most_in(Duration::from_millis(500)), 1000);
    }

    #[test]
    fn a_trace_that_is_none_is_refused() {
        for (text, error) in [
            ("", ShapeError::Steps(0)),
            ("# nothing\n", ShapeError::Steps(0)),
            ("1,2,3", ShapeError::Line { line: 1 }),
            ("1,1000\n-1,5", ShapeError::Line { line: 2 }),
            ("1,NaN", ShapeError::Line { line: 1 }),
            ("1,inf", ShapeError::Line { line: 1 }),
            ("inf,1000", ShapeError::Line { line: 1 }),
            ("0,1000", ShapeError::Step { line: 1 }),
            ("100000,1000", ShapeError::Step { line: 1 }),
            ("1,0", ShapeError::Dead),
            ("1,5000\nrtt,100000", ShapeError::Rtt),
        ] {
            assert_eq!(Shape::parse(text), Err(error), "{text}");
        }
    }

    fn shapes() -> impl Strategy<Value = Shape> {
        let step = (1u64..5_000, prop_oneof![Just(0u64), 1_000u64..1_000_000_000]);
        prop::collection::vec(step, 1..20).prop_filter_map("dead", |steps| {
            let trace = steps.into_iter().map(|(time, rate)| (Duration::from_millis(time), rate));
            Shape::new(trace.collect(), Duration::ZERO).ok()
        })
    }

    proptest! {
        #[test]
        fn parts_pass_like_the_whole(shape in shapes(), from in 0u64..100_000_000_000,
            first in 0u64..10_000_000, second in 0u64..10_000_000) {
            let from = Duration::from_nanos(from);
            let whole = shape.passed(from, first + second);
            let parts = shape.passed(shape.passed(from, first), second);
            prop_assert!(parts >= whole);
            // Rounding up to a nanosecond may cost the bits of one, and at the slowest rate those take longest.
            let lost = parts - whole;
            let dead = shape.steps.iter().filter(|step| step.1 == 0).map(|step| step.0).sum::<u64>();
            prop_assert!(lost <= Duration::from_millis(2) + Duration::from_nanos(dead), "{lost:?}");
        }

        #[test]
        fn more_takes_longer_and_later_ends_later(shape in shapes(), from in 0u64..100_000_000_000,
            bytes in 0u64..10_000_000, more in 1u64..10_000, wait in 0u64..10_000_000_000) {
            let (from, wait) = (Duration::from_nanos(from), Duration::from_nanos(wait));
            let end = shape.passed(from, bytes);
            prop_assert!(end >= from);
            prop_assert!(shape.passed(from, bytes + more) > end);
            prop_assert!(shape.passed(from + wait, bytes) >= end);
        }
    }
}
